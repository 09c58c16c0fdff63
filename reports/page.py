"""The board as one HTML page that stands alone: no network, no fonts, records escaped everywhere."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from creditbench.reports.board import REFERENCE, BoardRow, tables
from creditbench.reports.figures import exact, percent, prefixed, rounded
from creditbench.reports.legend import LEGEND, NOT_MEASURED, footnotes, machines, origins
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.store import replacing

TITLE = "creditbench leaderboard"
STEPS = (1, 2, 5, 10, 20)  # [%] between the ends of an axis and the numbers they may be
LEFT, RIGHT = 4.0, 146.0  # [px] of an axis


@dataclass(frozen=True)
class Axis:
    """Of the scores in one table, in %."""

    low: float
    high: float
    reference: float | None  # [px] where bp is

    def place(self, score: float) -> float:
        """[px] from the left for a score in [0, 1]; what lies outside ends at the edge."""
        share = (100 * score - self.low) / (self.high - self.low)
        return round(LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0), 2)


def page(rows: Sequence[BoardRow], title: str = TITLE, notes: Sequence[str] = ()) -> str:
    """The page as text; `notes` are paragraphs of plain text above the tables."""
    import jinja2
    from markupsafe import Markup

    templates = files("creditbench.reports") / "templates"
    style, script, text = (
        (templates / f"leaderboard.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")
    )
    script = f"\n{script}"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": percent, "rounded": rounded, "prefixed": prefixed, "exact": exact
    }  # fmt: skip
    parts = [{"rows": part, "axis": _axis(part), "first": part[0]} for part in tables(rows)]
    tasks: dict[tuple[str, int], list[object]] = {}
    for part, own in zip(parts, tables(rows), strict=True):
        tasks.setdefault((own[0].task, own[0].task_version), []).append(part)
    return environment.from_string(text).render(
        title=title,
        notes=notes,
        tasks=tasks,
        machines=machines(rows),
        origins=origins(rows),
        footnotes=footnotes(rows),
        legend=LEGEND,
        not_measured=NOT_MEASURED,
        style=Markup(style),
        script=Markup(script),
        # Nothing but this script runs, whatever a record should smuggle in.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write_page(
    rows: Sequence[BoardRow], path: Path, title: str = TITLE, notes: Sequence[str] = ()
) -> Path:
    """Writes the page, which appears under its name only when it is whole; returns `path`."""
    text = page(rows, title, notes).encode()
    try:
        with replacing(path) as file:
            file.write(text)
    except OSError as error:
        raise CreditbenchError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error
    return path


def _axis(rows: Sequence[BoardRow]) -> Axis | None:
    """From the lowest to the highest score of a table, spreads included, at round numbers."""
    ends = [100 * score for row in rows for score in row.scores]
    for row in rows:
        if row.score is not None and row.score_std is not None:
            ends += [100 * (row.score - row.score_std), 100 * (row.score + row.score_std)]
    if not ends:
        return None
    low, high = max(min(ends), 0.0), min(max(ends), 100.0)
    step = next((step for step in STEPS if high - low <= 6 * step), STEPS[-1])
    low, high = step * math.floor(low / step), step * math.ceil(high / step)
    axis = Axis(low, high if high > low else low + step, None)
    known = [row.score for row in rows if row.rule == REFERENCE and row.score is not None]
    return Axis(axis.low, axis.high, axis.place(known[0])) if known else axis
