"""How figures are written: three significant digits, units outside, never a 0 for what is absent."""

from __future__ import annotations

import math

ABSENT = "–"  # not measured
SHARES = ("accuracy", "auc")  # metrics that are parts of one
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None) -> str:
    """0.98124 -> "98.12"."""
    return ABSENT if share is None else f"{100 * share:.2f}"


def told(score: float | None, metric: str) -> str:
    """A score in the unit of its metric: shares (accuracy, area under a curve) in %, errors as they are, with
    four significant digits."""
    if metric in SHARES or score is None:
        return percent(score)
    return f"{score:#.4g}" if abs(score) < 1e4 else f"{score:.3e}"


def unit(metric: str) -> str:
    """What stands behind the word score: "%" or the error's name."""
    return "%" if metric in SHARES else metric.upper()


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
