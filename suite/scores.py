"""How a score is written: shares in %, errors as they are. No torch here."""

from __future__ import annotations

ABSENT = "–"  # not measured
SHARES = ("accuracy", "auc")  # metrics that are parts of one; the others are errors


def percent(share: float | None, decimals: int = 2) -> str:
    """0.98124 -> "98.12"."""
    return ABSENT if share is None else f"{100 * share:.{decimals}f}"


def told(score: float | None, metric: str, decimals: int = 2) -> str:
    """A score in the unit of its metric: shares (accuracy, area under a curve) in %, with so many decimals;
    errors as they are, with four significant digits."""
    if metric in SHARES or score is None:
        return percent(score, decimals)
    return f"{score:#.4g}" if abs(score) < 1e4 else f"{score:.3e}"


def unit(metric: str) -> str:
    """What stands behind the word score: "%" or the error's name."""
    return "%" if metric in SHARES else metric.upper()
