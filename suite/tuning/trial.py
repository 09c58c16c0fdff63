"""A trial: settings in, a validation score out. Pure data both ways, so that it can be done anywhere."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from creditbench.suite.counting.operations import count_operations
from creditbench.suite.plan import load_task
from creditbench.suite.record import Run
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, Progress, learner, train
from creditbench.suite.tuning.tried import PRUNED, Tried
from creditbench.suite.types import Split, Splits
from creditbench.suite.work import Group, assemble


def try_out(group: Group, progress: Progress | None = None) -> list[Tried]:
    """Trains the settings of a group together, under the seal; one result per specification, in order.

    Where the group has floors, its one setting is stopped after the epoch in which it lies below. Raises
    whatever goes wrong: `work.perform` makes it a trial that says so."""
    learning_splits(group.origin.task, torch.device(group.device))  # reading has to pass the test split by
    started = time.perf_counter()
    with sealed_test_data():
        cell, _ = assemble(group, lambda task, device: (learning_splits(task, device), ""))
        steps = _Steps(progress, group.floors, 1 if cell.task.higher_is_better else -1)
        runs: list[Run] | None = None
        try:
            runs = [trained.run for trained in train(cell, group.specs, steps, test=False)]
        except _Stopped:
            assert len(group.specs) == 1, "trials that are pruned train one by one"
        macs, complete = _macs_per_step(cell, group.specs[0])
    seconds = (time.perf_counter() - started) / len(group.specs)
    cost = (cell.task.higher_is_better, seconds, macs * steps.done, complete, group.company)
    if runs is None:
        return [Tried(PRUNED, steps.words, None, None, *cost, tuple(steps.course))]
    return [
        Tried(
            run.status,
            run.reason,
            run.validation_score,
            run.curve[-1].validation_loss if run.curve else None,
            *cost,
            tuple(point.validation_score or 0.0 for point in run.curve),
        )
        for run in runs
    ]


@lru_cache(maxsize=2)
def learning_splits(task: str, device: torch.device) -> Splits:
    """A task's training and validation data. In place of the test split there is an empty one."""
    splits = load_task(task).read()
    nothing = Split(splits.train.inputs[:0].clone(), splits.train.targets[:0].clone())
    return Splits(splits.train.to(device), splits.validation.to(device), nothing.to(device))


def _macs_per_step(cell: Cell, spec: Spec) -> tuple[float, bool]:
    """Multiply-accumulates of one step of one seed, and whether all of them have a price."""
    model, batches = learner(cell, [spec])
    batch = next(batches.epoch())
    with count_operations() as counted:
        model.step(batch)
    return float(counted.macs), not counted.unknown


class _Stopped(Exception):
    """A trial is below its floor."""


class _Steps:
    """Told by `train` how far it is; passes it on, and stops what lies below the floor of an epoch.

    As in Optuna's median pruner it is the best score so far that counts."""

    def __init__(self, progress: Progress | None, floors: tuple[float, ...], sign: int) -> None:
        self.progress, self.floors, self.sign = progress, floors, sign
        self.done, self.course, self.words = 0, list[float](), ""

    def __call__(self, steps: int, of: int, validation_score: float | None) -> None:
        self.done = steps
        if self.progress is not None:
            self.progress(steps, of, validation_score)
        if validation_score is None:
            return
        self.course.append(validation_score)
        epoch, best = len(self.course), max(self.sign * score for score in self.course)
        if epoch <= len(self.floors) and best < self.sign * self.floors[epoch - 1]:
            median = f"the median of {self.floors[epoch - 1]:.5f}"
            self.words = f"stopped after epoch {epoch}: its best score was worse than {median}"
            raise _Stopped
