"""The board as one HTML page that stands alone: no script, no network, records escaped everywhere.

It is what a run leaves beside its records, to look at and to mail. What can be sorted, filtered and charted
is the site of `creditbench report leaderboard` (`reports.site`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from creditbench.reports.board import REFERENCE, TRACKS, BoardRow, tables
from creditbench.reports.figures import exact, prefixed, rounded
from creditbench.reports.legend import (
    LEGEND,
    footnotes,
    machines,
    not_measured,
    origins,
    tuning_words,
)
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.scores import SHARES, told, unit
from creditbench.suite.store import replacing

TITLE = "creditbench leaderboard"
STEPS = (1, 2, 5, 10, 20)  # [%] between the ends of an axis and the numbers they may be
LEFT, RIGHT = 4.0, 146.0  # [px] of an axis


@dataclass(frozen=True)
class Axis:
    """Of the scores in one table, in % or, of errors, as they are."""

    low: float
    high: float
    reference: float | None  # [px] where bp is
    scale: float = 100.0  # of the axis to a score

    def misses(self, score: float) -> bool:
        """Whether a score lies below the axis."""
        return self.scale * score < self.low

    def place(self, score: float) -> float:
        """[px] from the left for a score; what lies outside ends at the edge."""
        share = (self.scale * score - self.low) / (self.high - self.low)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 2)


def page(rows: Sequence[BoardRow], title: str = TITLE, notes: Sequence[str] = ()) -> str:
    """The page as text; `notes` are paragraphs of plain text above the tables."""
    import jinja2
    from markupsafe import Markup

    templates = files("creditbench.reports") / "templates"
    style, text = (
        (templates / f"leaderboard.{kind}").read_text(encoding="utf-8") for kind in ("css", "html")
    )
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "told": told, "unit": unit, "rounded": rounded, "prefixed": prefixed, "exact": exact
    }  # fmt: skip
    tasks: dict[tuple[str, int], list[Mapping[str, object]]] = {}
    for part in tables(rows):
        first = part[0]
        own = {"rows": part, "axis": axis_of(part), "first": first, "track": TRACKS[first.track]}
        tasks.setdefault((first.task, first.task_version), []).append(own)
    return environment.from_string(text).render(
        title=title,
        notes=notes,
        tasks=tasks,
        machines=machines(rows),
        origins=origins(rows),
        footnotes=footnotes(rows),
        legend=LEGEND,
        not_measured=not_measured(rows),
        tuning_words=tuning_words,
        style=Markup(style),
    )


def write_page(rows: Sequence[BoardRow], path: Path, title: str = TITLE, notes: Sequence[str] = ()) -> Path:
    """Writes the page, which appears under its name only when it is whole; returns `path`."""
    text = page(rows, title, notes).encode(errors="replace")
    try:
        with replacing(path) as file:
            file.write(text)
    except OSError as error:
        raise CreditbenchError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error
    return path


def axis_of(rows: Sequence[BoardRow]) -> Axis | None:
    """Over the scores of a table, spreads included, ending at round numbers.

    Where the lowest quarter of the rows would squeeze the rest into half of the axis, it is left
    out, and an arrow shows that it lies below."""
    scored = sorted((row for row in rows if row.score is not None), key=lambda row: -(row.score or 0.0))
    if not scored:
        return None
    if scored[0].metric not in SHARES:
        return _of_errors(scored)
    ends, best = _ends(scored), _ends(scored[: len(scored) - len(scored) // 4])
    low, high = best if ends[1] - ends[0] > 2 * (best[1] - best[0]) else ends
    step = next((step for step in STEPS if high - low <= 6 * step), STEPS[-1])
    low, high = step * math.floor(low / step), step * math.ceil(high / step)
    axis = Axis(low, high if high > low else low + step, None)
    reference = next((row.score for row in scored if row.rule == REFERENCE), None)
    if reference is None or axis.misses(reference):
        return axis
    return Axis(axis.low, axis.high, axis.place(reference))


def _of_errors(scored: Sequence[BoardRow]) -> Axis:
    """From 0 to a round number behind the greatest error; all of them lie on it."""
    highest = max(score for row in scored for score in row.scores)
    size = 10.0 ** math.floor(math.log10(highest)) if highest > 0 else 1.0
    axis = Axis(0.0, size * math.ceil(highest / size), None, scale=1.0)
    reference = next((row.score for row in scored if row.rule == REFERENCE), None)
    return axis if reference is None else replace(axis, reference=axis.place(reference))


def _ends(rows: Sequence[BoardRow]) -> tuple[float, float]:
    """Lowest and highest of all seeds, and of mean ± spread, in %."""
    shares = [score for row in rows for score in row.scores]
    for row in rows:
        if row.score is not None and row.score_std is not None:
            shares += [row.score - row.score_std, row.score + row.score_std]
    return max(100 * min(shares), 0.0), min(100 * max(shares), 100.0)
