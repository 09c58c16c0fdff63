"""Where groups of runs are carried out. So far: here, one after the other."""

from collections.abc import Iterable, Iterator

from creditbench.suite.train import Progress
from creditbench.suite.work import Group, Outcome, perform


def inline(groups: Iterable[Group], progress: Progress | None = None) -> Iterator[tuple[Group, Outcome]]:
    """Does the groups in this process, in order; outcomes come as they are ready."""
    for group in groups:
        for outcome in perform(group, progress):
            yield group, outcome
