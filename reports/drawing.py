"""The board as one drawing, an SVG file that stands alone: scores of every seed, and what a step costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import escape

from creditbench.reports.board import REFERENCE, TRACKS, BoardRow, tables
from creditbench.reports.figures import percent, rounded
from creditbench.reports.page import LEFT, RIGHT, Axis, axis_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.store import replacing

WIDTH, LINE, NAMES, PLOT = 760, 24, 170, 400  # [px]
STYLE = (
    "text{font:13px sans-serif;fill:#222}.h{font-weight:bold}.n{fill:#666}.own{font-weight:bold;fill:#0a58ca}"
    "circle{fill:#555;fill-opacity:.55}.own circle{fill:#0a58ca}path{stroke:#555;stroke-width:1.5;fill:none}"
    ".own path{stroke:#0a58ca}.bp{stroke-dasharray:2 3}.track{stroke:#ddd}"
)


def drawing(rows: Sequence[BoardRow], own: str = "") -> str:
    """A table under another: a line for each rule, a dot for each seed; the rule `own` stands out."""
    parts: list[str] = []
    y = 10
    for table in tables(rows):
        lines = _table(table, own, y)
        parts += lines
        y += LINE * (len(table) + 3)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
        f' role="img"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def write_drawing(rows: Sequence[BoardRow], path: Path, own: str = "") -> Path:
    """Writes the drawing, which appears under its name only when it is whole; returns `path`."""
    try:
        with replacing(path) as file:
            file.write(drawing(rows, own).encode(errors="replace"))
    except OSError as error:
        raise CreditbenchError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error
    return path


def _table(rows: Sequence[BoardRow], own: str, top: int) -> list[str]:
    first, axis = rows[0], axis_of(rows)
    title = f"{first.task}, {first.network}, {TRACKS[first.track]}"
    parts = [
        _text(10, top + LINE, title, "h"),
        _text(NAMES + PLOT + 20, top + LINE, "score, %; step", "n"),
    ]
    middle = top + LINE + LINE // 2
    for row in rows:
        middle += LINE
        words = percent(row.score) + (f" ±{percent(row.score_std)}" if row.score_std is not None else "")
        if row.score is None:
            words = row.status
        elif row.step_ratio is not None:
            words += f", {rounded(row.step_ratio)} × {REFERENCE}"
        name = f"{row.rule} ({row.variant})" if row.variant else row.rule
        parts += [
            f'<g class="{"own" if row.rule == own else "other"}">',
            _text(
                10, middle + 4, name if len(name) < 24 else name[:22] + "…", "own" if row.rule == own else ""
            ),
            *(_marks(row, axis, middle) if axis is not None else []),
            _text(NAMES + PLOT + 20, middle + 4, words, "own" if row.rule == own else ""),
            "</g>",
        ]
    if axis is not None:
        foot = middle + LINE
        if axis.reference is not None:
            x = NAMES + (axis.reference - LEFT) / (RIGHT - LEFT) * PLOT
            parts.append(f'<path class="bp" d="M{x:.1f} {top + LINE + 12}V{foot - 8}"/>')
        parts += [
            _text(NAMES, foot, f"{axis.low:g}", "n"),
            _text(NAMES + PLOT - 34, foot, f"{axis.high:g} %", "n"),
        ]
        if axis.reference is not None:
            parts.append(_text(NAMES + PLOT // 2 - 60, foot, f"dotted: {REFERENCE}'s mean", "n"))
    return parts


def _marks(row: BoardRow, axis: Axis, y: int) -> list[str]:
    """The axis of one row, a dot for each seed and a stroke for their mean; an arrow if it lies below."""
    parts = [f'<path class="track" d="M{NAMES} {y}h{PLOT}"/>']
    if row.score is None:
        return parts
    if axis.misses(row.score):
        return [*parts, f'<path d="M{NAMES + 8} {y - 4}l-8 4l8 4"/>']
    dots = [f'<circle cx="{_x(axis, score):.1f}" cy="{y}" r="4"/>' for score in row.scores]
    return [*parts, *dots, f'<path d="M{_x(axis, row.score):.1f} {y - 8}v16"/>']


def _x(axis: Axis, score: float) -> float:
    return NAMES + (axis.place(score) - LEFT) / (RIGHT - LEFT) * PLOT


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    clean = "".join(letter if letter.isprintable() else " " for letter in words)
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(clean)}</text>'
