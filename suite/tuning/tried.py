"""What became of a trial: plain data, so that it may come from anywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from creditbench.suite.record import Status
from creditbench.suite.specification import Spec

PRUNED: Literal["pruned"] = "pruned"  # stopped early because it looked bad, where a study is told to


@dataclass(frozen=True)
class Tried:
    """What became of one trial. There is no place here for a test score, so none can be chosen by."""

    status: Status | Literal["pruned"]
    reason: str | None
    validation_score: float | None  # after the last epoch
    validation_loss: float | None
    higher_is_better: bool
    seconds: float | None  # [s], its share of what its group took, scoring included
    macs: float | None  # of its training steps
    macs_complete: bool  # False: some operators have no formula, so the count is a lower bound
    company: int = 0  # groups that may have run beside it: its seconds compare with nothing then
    course: tuple[float, ...] = ()  # validation score after each epoch, where trials are pruned by it

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

    @classmethod
    def without(cls, status: Status, reason: str, higher_is_better: bool) -> Tried:
        """A trial that came to no score."""
        return cls(status, reason, None, None, higher_is_better, None, None, True)


@dataclass(frozen=True)
class Trial:
    """A specification that was tried, and what became of it: what an executor hands back."""

    spec: Spec
    tried: Tried
