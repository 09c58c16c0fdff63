"""What a change may do to figures before the gate says no."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError, unknown_name


@dataclass(frozen=True)
class Limits:
    """Of one cell. In TOML these are tables: [exact], [scores], [times], [cells]."""

    exact_gate: bool = True  # a changed count fails
    exact_less: bool = False  # a smaller one does not
    exact_data_dependent: float = 0.01  # relative, for counts that depend on values: zeros, spikes
    scores_gate: bool = True
    scores_margin: float = 0.01  # in the task's metric
    scores_level: float = 0.95  # of the interval of the mean difference
    scores_seeds: int = 5  # fewer decide nothing
    times_gate: bool = True
    times_margin: float = 0.3  # relative: 0.3 lets a step take 30 % longer
    cells_missing: bool = True  # a cell or seed that is no longer there fails


@dataclass(frozen=True)
class Override:
    """Other limits where task, network and rule are the named ones; None stands for any."""

    task: str | None
    network: str | None
    rule: str | None
    changes: Mapping[str, Any]

    def holds(self, task: str, network: str, rule: str) -> bool:
        own = ((self.task, task), (self.network, network), (self.rule, rule))
        return all(wanted in (None, found) for wanted, found in own)


@dataclass(frozen=True)
class Tolerances:
    """Limits for all cells; later overrides come after earlier ones."""

    default: Limits = Limits()
    overrides: tuple[Override, ...] = ()

    def of(self, task: str, network: str, rule: str) -> Limits:
        limits = self.default
        for override in self.overrides:
            if override.holds(task, network, rule):
                limits = replace(limits, **override.changes)
        return limits


def read_limits(path: Path) -> Tolerances:
    """A TOML file. Raises CreditbenchError for what cannot be read or is no limit."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CreditbenchError(f"The limits {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CreditbenchError(f"The limits {path} are not TOML: {error}.") from None
    listed = data.pop("override", [])
    if not isinstance(listed, list) or not all(isinstance(own, dict) for own in listed):
        raise CreditbenchError(f"In {path} write [[override]] in two pairs of brackets.")
    overrides = []
    for own in listed:
        who = [own.pop(name, None) for name in ("task", "network", "rule")]
        if not all(name is None or isinstance(name, str) for name in who):
            raise CreditbenchError(f"An override in {path} names its task, network and rule as words.")
        overrides.append(Override(who[0], who[1], who[2], _changes(own, path)))
    return Tolerances(replace(Limits(), **_changes(data, path)), tuple(overrides))


def _changes(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    known = {item.name: type(item.default) for item in fields(Limits)}
    tables = {name.partition("_")[0] for name in known}
    changes: dict[str, Any] = {}
    for table, settings in data.items():
        if table not in tables:
            raise unknown_name(f"table in {path.name} called", table, tables)
        if not isinstance(settings, dict):
            raise CreditbenchError(
                f"'{table}' in {path.name} is a table: write [{table}] on a line of its own."
            )
        for name, value in settings.items():
            full = f"{table}_{name}"
            if full not in known:
                own = [key.partition("_")[2] for key in known if key.startswith(f"{table}_")]
                raise unknown_name(f"setting in [{table}] of {path.name} called", name, own)
            changes[full] = _checked(value, known[full], f"{name} in [{table}] of {path.name}")
    return changes


def _checked(value: Any, kind: type[Any], what: str) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    good = type(value) is kind and (kind is bool or (math.isfinite(value) and value >= 0))
    if good and what.startswith("level "):
        good = 0 < value < 1
    if good and what.startswith("seeds "):
        good = value >= 2
    if not good:
        raise CreditbenchError(f"{what} is {value!r}, which is no {kind.__name__} that makes sense there.")
    return value
