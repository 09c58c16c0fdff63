"""What a cell costs, measured apart from its training: one seed, after a warm-up, nothing beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from creditbench.suite.counting.operations import count_operations
from creditbench.suite.evaluate import with_statistics
from creditbench.suite.learner import Learner
from creditbench.suite.memory import LiveBytes
from creditbench.suite.provenance import machine
from creditbench.suite.record import Cost
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, learner
from creditbench.suite.types import Batch

WARM_UP = 10  # steps
BUDGET = 1.0  # [s] for timing steps, and again for timing inference
FEWEST, MOST = 30, 1000  # steps timed, whatever the budget


def measure(cell: Cell, spec: Spec) -> Cost:
    """Time, memory and operations of one training step and of inference at the spec's batch size.

    A step is everything from a batch on the device to changed weights, optimizer included. Each kind
    of figure is taken in a pass of its own, so none disturbs another."""
    model, batches = learner(cell, [spec], steps=10**6)
    batch = next(batches.epoch())
    samples = batch.targets.shape[1]
    for _ in range(WARM_UP):
        model.step(batch)
    steps = _times(lambda: model.step(batch), cell.device)

    @torch.no_grad()
    def infer() -> None:
        model.rule.predict(model.network, batch.inputs, model.state)

    with torch.no_grad():
        model.network = with_statistics(model.network, cell.task, cell.splits.train)
    inference = _times(infer, cell.device)
    with torch.no_grad(), count_operations() as inferring:
        infer()
    model, batches = learner(cell, [spec], steps=10**6)
    model.step(batch)  # optimizer state exists from the first step on
    with count_operations() as training:
        model.step(batch)
    low, middle, high = statistics.quantiles(steps, n=4)
    return Cost(
        spec=spec,
        machine=machine(cell.device),
        step_seconds=middle,
        step_seconds_quartiles=(low, high),
        steps_timed=len(steps),
        inference_seconds_per_sample=statistics.median(inference) / samples,
        peak_bytes=_peak(model, batch),
        parameters=sum(p.numel() for _, p in model.network.named_parameters()),
        learned_parameters=sum(t.numel() for t in model.state.learned.values()),
        train_macs_per_sample=training.macs / samples,
        inference_macs_per_sample=inferring.macs / samples,
        uncounted_operations=dict(training.unknown + inferring.unknown),
    )


def _times(run: Callable[[], object], device: torch.device) -> list[float]:
    """Seconds of single calls, until the budget is spent."""
    times: list[float] = []
    while len(times) < FEWEST or (sum(times) < BUDGET and len(times) < MOST):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return times


def _peak(model: Learner, batch: Batch) -> int:
    """Most bytes alive at one time in a step: parameters, optimizer state, rule state, batch,
    activities and temporaries."""
    there = [*model.tensors().values(), *model.state.carried.values(), batch.inputs, batch.targets]
    for held in model.optimizer.optimizer.state.values():
        there += [value for value in held.values() if isinstance(value, torch.Tensor)]
    with LiveBytes(there) as memory:
        model.step(batch)
    return int(memory.peak)
