"""How figures are written: three significant digits, units outside, never a 0 for what is absent."""

from __future__ import annotations

import math

from creditbench.suite.scores import ABSENT

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def rounded(value: float | None, scale: float = 1.0) -> str:
    """Three significant digits, no exponent: 0.012345 -> "0.0123", 1234.5 -> "1230"."""
    if value is None:
        return ABSENT
    value = _significant(value * scale)
    decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(decimals, 0)}f}"


def prefixed(value: float | None) -> str:
    """Three significant digits with a prefix: 1_614_000 -> "1.61 M", 999_900 -> "1.00 M"."""
    if value is None:
        return ABSENT
    value = _significant(value)
    for size, prefix in PREFIXES:
        if abs(value) >= size:
            return f"{rounded(value / size)} {prefix}"
    return f"{value:g}"


def exact(value: float | None) -> str:
    """Every digit, for a reader who asks: 1614000.0 -> "1,614,000"."""
    if value is None:
        return "not measured"
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"


def _significant(value: float) -> float:
    return float(f"{value:.3g}")
