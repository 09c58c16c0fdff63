"""Energy modelled from counts: counts times a table of prices. A proxy, never a measurement.

A table is a TOML file: `name`, `node`, `source`, `note`, and a section per operation with `pj` [pJ],
`range` [pJ, pJ], `kind` (measured, derived, assumed) and `source`. An operation that was counted and has no
section makes the totals NaN and is named in `missing`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError, unknown_name

TABLES = Path(__file__).with_name("energy_tables")
KINDS = ("measured", "derived", "assumed")

# What is paid for each count: a MAC is one multiplication and one addition, so spelling never matters.
PAID: Mapping[str, tuple[str, ...]] = {
    "macs": ("multiply", "add"),
    "acs": ("accumulate",),
    "adds": ("add",),
    "multiplies": ("multiply",),
    "divisions": ("division",),
    "comparisons": ("comparison",),
    "transcendentals": ("transcendental",),
    "random_draws": ("random_draw",),
    "parameter_writes": ("parameter_write",),
}
OPERATIONS = frozenset(key for keys in PAID.values() for key in keys) | {"memory_access"}


@dataclass(frozen=True)
class Price:
    """Of one operation, or of one access to `bits` of memory."""

    pj: float
    range: tuple[float, float]
    kind: str
    source: str
    bits: int = 64


@dataclass(frozen=True)
class Table:
    name: str
    node: str
    source: str
    prices: Mapping[str, Price]


@dataclass(frozen=True)
class Energy:
    """Modelled energy [pJ]. Lower: outside memory moved once, at the lower end of its price; upper: every
    operator's reads and writes, at the upper end."""

    table: str
    arithmetic_pj: float
    with_memory_lower_pj: float
    with_memory_upper_pj: float
    missing: tuple[str, ...] = ()  # why a total is NaN: operations that the table has no price for
    by_phase: Mapping[str, Energy] = field(default_factory=dict)


def energy(counts: Mapping[str, Any], by_phase: Mapping[str, Mapping[str, Any]], table: str | Path) -> Energy:
    """counts: by the names of `Counts`. Raises CreditbenchError for an unknown or broken table."""
    prices = read_table(str(table))
    phases = {name: _energy(own, prices, {}) for name, own in by_phase.items()}
    return _energy(counts, prices, phases)


def _energy(counts: Mapping[str, Any], table: Table, phases: Mapping[str, Energy]) -> Energy:
    missing: list[str] = []
    arithmetic = 0.0
    for count, keys in PAID.items():
        for key in keys:
            if counts[count] and key not in table.prices:
                missing.append(f"'{table.name}' has no price for '{key}' ({counts[count]} {count})")
                arithmetic = math.nan
            elif counts[count]:
                arithmetic += counts[count] * table.prices[key].pj
    unpriced = sum(counts.get("unknown", {}).values())
    if unpriced:
        missing.append(f"unknown operators, not counted: {', '.join(sorted(counts['unknown']))}")
        arithmetic = math.nan
    access = table.prices.get("memory_access")
    eager = counts["bytes_read"] + counts["bytes_written"]
    if access is None:
        if eager:
            missing.append(f"'{table.name}' has no price for 'memory_access' ({eager} bytes)")
        lower = upper = math.nan if eager else arithmetic
    else:
        lower = arithmetic + counts["compulsory_bytes"] * 8 / access.bits * access.range[0]
        upper = arithmetic + eager * 8 / access.bits * access.range[1]
    return Energy(table.name, arithmetic, lower, upper, tuple(dict.fromkeys(missing)), phases)


@lru_cache(maxsize=32)
def read_table(name: str) -> Table:
    """A table by its name here, or by the path of a TOML file."""
    known = {path.stem: path for path in TABLES.glob("*.toml")}
    path = known.get(name, Path(name))
    if not path.is_file():
        if path.suffix == ".toml":
            raise CreditbenchError(f"There is no energy table at {path}.")
        raise unknown_name("energy table", name, known)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        prices = {key: _price(key, entry) for key, entry in data.items() if isinstance(entry, dict)}
        return Table(data["name"], data["node"], data["source"], prices)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise CreditbenchError(
            f"{path} is no energy table: {error}. See {TABLES}/cmos45-fp32.toml."
        ) from error


def _price(key: str, entry: Mapping[str, Any]) -> Price:
    low, high = entry["range"]
    price = Price(float(entry["pj"]), (low, high), entry["kind"], entry["source"], entry.get("bits", 64))
    if key not in OPERATIONS:
        raise ValueError(f"'{key}' is none of {', '.join(sorted(OPERATIONS))}")
    if price.kind not in KINDS:
        raise ValueError(f"kind of '{key}' is '{price.kind}', which is none of {', '.join(KINDS)}")
    if not 0 <= low <= price.pj <= high:
        raise ValueError(f"range of '{key}' does not hold its {price.pj} pJ")
    return price
