"""A group on its way to another process: a rule given as a class goes by where it is defined."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass, replace

from creditbench.suite import registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.plan import Origin
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.types import LearningRule
from creditbench.suite.work import Group


@dataclass(frozen=True)
class Parcel:
    """A group of plain data alone."""

    group: Group
    rule: tuple[str, str, str] | None  # module, file and name of a class


def packed(group: Group) -> Parcel:
    """Raises CreditbenchError for a class that no other process can find."""
    rule = group.origin.rule
    if isinstance(rule, str):
        return Parcel(group, None)
    if "<" in rule.__qualname__:  # as in "function.<locals>.Mine"
        raise CreditbenchError(
            f"Rule '{rule.name}' is defined inside a function, where a worker process cannot find it; define"
            " it at the top level of a file, or use the inline executor."
        )
    origin = Origin(group.origin.task, group.origin.network, "")
    where = (rule.__module__, inspect.getfile(rule), rule.__qualname__)
    return Parcel(replace(group, origin=origin), where)


def unpacked(parcel: Parcel) -> Group:
    if parcel.rule is None:
        return parcel.group
    # Where settings are chosen a rule's file is imported under the seal, in every process.
    with sealed_test_data() if parcel.group.work == "trial" else contextlib.nullcontext():
        rule: type[LearningRule] = registry.load_class(*parcel.rule)
    return replace(parcel.group, origin=replace(parcel.group.origin, rule=rule))
