"""The board across problems: the statistics' anchored score, as the lines of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from creditbench.reports.board import TRACKS
from creditbench.reports.statistics.grid import Grid, Problem, grid
from creditbench.reports.statistics.standings import Ranks, Standing, ranks, standings

if TYPE_CHECKING:
    import pandas as pd

LEFT, RIGHT = 20.0, 120.0  # [px] of a bar: where last-layer and bp are
WIDE = 140.0  # [px]
MOST_COLUMNS = 16  # problems that still fit beside one another


@dataclass(frozen=True)
class Standings:
    """One track: methods in the order of their anchored score."""

    track: str
    lines: list[Standing]
    ranks: Mapping[str, Ranks]
    problems: tuple[Problem, ...]  # those with a column of their own; none where they are too many
    scaled: int  # problems that have a scale
    names: Mapping[Problem, str]
    grid: Grid
    few: bool


def all_standings(frame: pd.DataFrame) -> list[Standings]:
    """A table for each track on which some problem has both references."""
    found = []
    here = set(frame["track"].map(lambda track: track if isinstance(track, str) else None))
    for track, words in TRACKS.items():
        if track not in here:
            continue
        cells = grid(frame, track)
        lines = standings(cells)
        if not lines:
            continue
        scaled = [problem for problem in cells.problems if problem in lines[0].by_problem]
        names = _names(cells.problems)
        columns = tuple(scaled) if len(scaled) <= MOST_COLUMNS else ()
        few = any(line.few for line in lines)
        found.append(Standings(words, lines, ranks(cells), columns, len(scaled), names, cells, few))
    return found


def _names(problems: tuple[Problem, ...]) -> dict[Problem, str]:
    """Task and network; with the budget where two problems share them."""
    shared = [problem.name for problem in problems]
    return {
        problem: problem.name if shared.count(problem.name) == 1 else f"{problem.name} ({problem.budget})"
        for problem in problems
    }


def signed(value: float | None) -> str:
    """A normalised score, 0 at last-layer and 1 at bp: two decimals, a real minus sign."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: there is no minus zero


def bar(line: Standing) -> Markup:
    """The score and its interval between the two references; what lies beyond ends at the edge."""

    def place(value: float) -> str:
        return f"{min(max(LEFT + (RIGHT - LEFT) * value, 2.0), WIDE - 2.0):.1f}"

    known = line.mean is not None
    low, high = (line.mean.low, line.mean.high) if line.mean is not None else (line.low, line.high)
    whisker = (
        "" if low is None or high is None else f'<path class="whisker" d="M{place(low)} 10H{place(high)}"/>'
    )
    score = line.mean.estimate if line.mean is not None else line.low
    return Markup(
        f'<svg class="bar" width="{WIDE:g}" height="20" viewBox="0 0 {WIDE:g} 20" aria-hidden="true">'
        f'<path class="track" d="M2 10H{WIDE - 2:g}"/><path class="ends" d="M{LEFT:g} 3V17M{RIGHT:g} 3V17"/>'
        + whisker
        + (f'<circle class="point" cx="{place(score)}" cy="10" r="4"/>' if known else "")
        + "</svg>"
    )
