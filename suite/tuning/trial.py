"""A trial: settings in, a validation score out. Pure data both ways, so that it can be done anywhere."""

from __future__ import annotations

import math
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache

import torch

from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.plan import load_task
from creditbench.suite.record import Run, Status
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, learner, train
from creditbench.suite.types import Split, Splits
from creditbench.suite.work import Group, Skip, assemble


@dataclass(frozen=True)
class Tried:
    """What became of one trial. There is no place here for a test score, so none can be chosen by."""

    status: Status
    reason: str | None
    validation_score: float | None  # after the last epoch
    validation_loss: float | None
    higher_is_better: bool
    seconds: float | None  # [s], its share of what its group took, scoring included
    macs: float | None  # of its training steps
    macs_complete: bool  # False: some operators have no formula, so the count is a lower bound

    @property
    def merit(self) -> tuple[float, float]:
        """What is maximised: the score, and among equals the lower loss."""
        if self.status != "ok" or self.validation_score is None:
            return (-math.inf, 0.0)
        sign = 1 if self.higher_is_better else -1
        return (
            sign * self.validation_score,
            -(math.inf if self.validation_loss is None else self.validation_loss),
        )


def try_out(group: Group) -> list[Tried]:
    """Trains the settings of a group together, under the seal; one result per specification, in order.

    What goes wrong ends as a trial that says so; only a misspelt study (a missing task, a rule that
    cannot be imported) raises."""
    learning_splits(group.origin.task, torch.device(group.device))  # reading has to pass the test split by
    steps, started = _Steps(), time.perf_counter()
    with sealed_test_data():
        try:
            cell, _ = assemble(group, lambda task, device: (learning_splits(task, device), ""))
            runs = [trained.run for trained in train(cell, group.specs, steps, test=False)]
            macs, complete = _macs_per_step(cell, group.specs[0])
        except Skip as skip:
            return [_without("skipped", str(skip))] * len(group.specs)
        except (MemoryError, torch.OutOfMemoryError) as error:
            return [_without("out-of-memory", str(error) or "no memory left")] * len(group.specs)
        except Exception as error:
            return [_without("failed", _said(error))] * len(group.specs)
    seconds = (time.perf_counter() - started) / len(group.specs)
    return [_tried(run, seconds, macs * steps.done, complete) for run in runs]


@lru_cache(maxsize=2)
def learning_splits(task: str, device: torch.device) -> Splits:
    """A task's training and validation data. In place of the test split there is an empty one."""
    splits = load_task(task).read()
    nothing = Split(splits.train.inputs[:0].clone(), splits.train.targets[:0].clone())
    return Splits(splits.train.to(device), splits.validation.to(device), nothing.to(device))


def _tried(run: Run, seconds: float, macs: float, complete: bool) -> Tried:
    loss = run.curve[-1].validation_loss if run.curve else None
    return Tried(
        run.status, run.reason, run.validation_score, loss, run.higher_is_better, seconds, macs, complete
    )


def _without(status: Status, reason: str) -> Tried:
    return Tried(status, reason, None, None, True, None, None, True)


def _said(error: Exception) -> str:
    if isinstance(error, CreditbenchError):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename.rpartition('/')[2]}, line {frame.lineno})"


def _macs_per_step(cell: Cell, spec: Spec) -> tuple[float, bool]:
    """Multiply-accumulates of one step of one seed, and whether all of them have a price."""
    model, batches = learner(cell, [spec])
    batch = next(batches.epoch())
    with count_operations() as counted:
        model.step(batch)
    return float(counted.macs), not counted.unknown


class _Steps:
    """Told by `train` how far it is."""

    def __init__(self) -> None:
        self.done = 0

    def __call__(self, steps: int, of: int, validation_score: float | None) -> None:
        self.done = steps
