"""One group after the other, in this process: nothing to set up, and what a rule prints is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from creditbench.suite.executors import Watch
from creditbench.suite.work import Group, perform

if TYPE_CHECKING:
    from creditbench.suite.executors import Outcomes


@dataclass(frozen=True)
class Inline:
    alone: bool = True

    def __call__(self, groups: Sequence[Group], watch: Watch) -> Outcomes:
        for group in groups:
            watch.started(group)
            for outcome in perform(group, partial(watch.progress, group), watch.complained):
                yield group, outcome
            watch.ended(group)
