"""What a cell costs, measured apart from its training: one seed, after a warm-up, nothing beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from creditbench.suite.counting.operations import Counts, Operations, count_operations
from creditbench.suite.counting.pipeline import stages
from creditbench.suite.evaluate import with_statistics
from creditbench.suite.learner import Learner
from creditbench.suite.meters.calibration import calibrated
from creditbench.suite.meters.joules import joules
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.meters.process import cuda_peak, process_peak
from creditbench.suite.provenance import machine
from creditbench.suite.record import OPERATIONS, PHASES, Cost
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, learner
from creditbench.suite.types import Batch

WARM_UP = 10  # steps
BUDGET = 1.0  # [s] for timing steps, and again for timing each kind of inference
FEWEST, MOST = 30, 1000  # calls timed, whatever the budget


def measure(cell: Cell, spec: Spec) -> Cost:
    """Time, memory, operations and energy of one training step and of inference, on a single seed.

    A step is everything from a batch on the device to changed weights, optimizer included. Each kind
    of figure is taken in a pass of its own, so none disturbs another; what does not depend on the machine
    (counts, live bytes) is taken on the CPU, wherever the rest runs."""
    model, batch = _fresh(cell, spec)
    for _ in range(WARM_UP):
        model.step(batch)
    device = cell.device
    steps = _times(lambda: model.step(batch), device)
    low, middle, high = statistics.quantiles(steps, n=4)
    calibration = calibrated(lambda: model.step(batch), device, BUDGET / 2)
    resident = process_peak(lambda: _repeat(lambda: model.step(batch)))
    on_device = cuda_peak(lambda: _repeat(lambda: model.step(batch)), device)
    energy = joules(lambda: model.step(batch), middle, device)
    with torch.no_grad():
        model.network = with_statistics(model.network, cell.task, cell.splits.train)
    inference = _times(lambda: _infer(model, batch.inputs), device)
    latency = _times(lambda: _infer(model, batch.inputs[:, :1]), device)

    exact = replace(cell, splits=cell.splits.to(torch.device("cpu")))
    samples = batch.targets.shape[1]
    training, inferring = count(exact, spec)
    memory = step_memory(*_fresh(exact, spec, steps=1))
    return Cost(
        spec=spec,
        machine=machine(device),
        step_seconds=middle,
        step_seconds_quartiles=(low, high),
        steps_timed=len(steps),
        step_seconds_spread={
            "min": min(steps),
            "max": max(steps),
            "mean": statistics.fmean(steps),
            "std": statistics.stdev(steps),
        },
        calibration_seconds=calibration.kernel_seconds,
        relative_step=calibration.ratio,
        relative_step_interval=calibration.interval,
        inference_seconds_per_sample=statistics.median(inference) / samples,
        latency_seconds=statistics.median(latency),
        peak_bytes=memory.peak,
        peak_bytes_by_kind=memory.at_peak,
        peak_process_bytes=resident,
        cuda_peak_allocated_bytes=on_device and on_device[0],
        cuda_peak_reserved_bytes=on_device and on_device[1],
        parameters=sum(p.numel() for _, p in model.network.named_parameters()),
        learned_parameters=sum(t.numel() for t in model.state.learned.values()),
        train_macs_per_sample=training.macs / samples,
        inference_macs_per_sample=inferring.macs / samples,
        operations={
            **{name: _per_sample(training.by_phase[name], samples) for name in PHASES},
            "inference": _per_sample(inferring, samples),
        },
        critical_path_macs=training.critical_path_macs,
        pipeline_interval_macs=training.pipeline_interval_macs,
        coverage=training.coverage,
        inference_coverage=inferring.coverage,
        uncounted_operations=dict(training.unknown + inferring.unknown),
        step_joules=energy.per_call,
        joules_source=energy.source,
    )


def count(cell: Cell, spec: Spec) -> tuple[Operations, Operations]:
    """Operations of one training step and of inference on one batch, for a cell on the CPU."""
    model, batch = _fresh(cell, spec, steps=1)
    parts, samples = stages(model.network, model.state), batch.targets.shape[1]
    parameters = model.tensors().values()
    with count_operations(parameters=parameters, samples=samples, stages=parts) as training:
        model.step(batch)
    with torch.no_grad():
        model.network = with_statistics(model.network, cell.task, cell.splits.train)
    with count_operations() as inferring:
        _infer(model, batch.inputs)
    return training, inferring


def _fresh(cell: Cell, spec: Spec, steps: int = 0) -> tuple[Learner, Batch]:
    """A learner from its seed, some steps on (optimizer state exists from the first one), and a batch."""
    model, batches = learner(cell, [spec], steps=10**6)
    batch = next(batches.epoch())
    for _ in range(steps):
        model.step(batch)
    return model, batch


@torch.no_grad()
def _infer(model: Learner, inputs: Tensor) -> None:
    model.rule.predict(model.network, inputs, model.state)


def _per_sample(counts: Counts, samples: int) -> Mapping[str, float]:
    """What was counted, by kind; kinds that did not occur are left out."""
    found = {name: getattr(counts, name) for name in OPERATIONS}
    return {name: value / samples for name, value in found.items() if value}


def _repeat(run: Callable[[], object]) -> None:
    for _ in range(WARM_UP):
        run()


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
