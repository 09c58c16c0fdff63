"""The board as one drawing, an SVG file that stands alone: scores of every seed, and what a step costs.

Attributes instead of a style sheet, since not every program that shows SVG reads one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import escape

from creditbench.reports.board import REFERENCE, TRACKS, BoardRow, tables
from creditbench.reports.figures import rounded
from creditbench.reports.page import LEFT, RIGHT, Axis, axis_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.scores import told, unit
from creditbench.suite.store import replacing

WIDTH, LINE, NAMES, PLOT = 780, 24, 180, 390  # [px]
WORDS = NAMES + PLOT + 20  # [px] where a row's figures begin
INK, FAINT, PALE, OWN = "#222222", "#666666", "#dddddd", "#0a58ca"
LONGEST = 24  # letters of a name


def drawing(rows: Sequence[BoardRow], own: str = "") -> str:
    """A table under another: a line for each rule, a dot for each seed; the rule `own` stands out."""
    parts: list[str] = []
    height = 10
    for table in tables(rows):
        parts += _table(table, own, height)
        height += LINE * (len(table) + 3)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
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
    head, y = top + LINE, top + LINE + LINE // 2
    parts = [
        _text(10, head, f"{first.task}, {first.network}, {TRACKS[first.track]}", INK, bold=True),
        _text(WORDS, head, f"score, {unit(first.metric)}; step", FAINT),
    ]
    for row in rows:
        y += LINE
        colour = OWN if row.rule == own else INK
        name = f"{row.rule} ({row.variant})" if row.variant else row.rule
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        parts.append(_text(10, y + 4, short, colour, bold=row.rule == own))
        parts += [] if axis is None else _marks(row, axis, y, colour)
        parts.append(_text(WORDS, y + 4, _figures(row), colour, bold=row.rule == own))
    if axis is None:
        return parts
    foot = y + LINE
    parts.append(_text(NAMES, foot, f"{axis.low:g}", FAINT))
    parts.append(_text(NAMES + PLOT - 34, foot, f"{axis.high:g} {unit(first.metric)}", FAINT))
    if axis.reference is not None:
        x = NAMES + (axis.reference - LEFT) / (RIGHT - LEFT) * PLOT
        parts.append(_line(f"M{x:.1f} {head + 12}V{foot - 12}", FAINT, ' stroke-dasharray="2 3"'))
        parts.append(_text(NAMES + PLOT // 2 - 60, foot, f"line: {REFERENCE}'s mean", FAINT))
    return parts


def _figures(row: BoardRow) -> str:
    """ "96.78 ±0.38; 0.845 × bp", or what became of the rule."""
    if row.score is None:
        return row.status
    spread = "" if row.score_std is None else f" ±{told(row.score_std, row.metric)}"
    step = "" if row.step_ratio is None else f"; {rounded(row.step_ratio)} × {REFERENCE}"
    return f"{told(row.score, row.metric)}{spread}{step}"


def _marks(row: BoardRow, axis: Axis, y: int, colour: str) -> list[str]:
    """The axis of one row, a dot for each seed and a stroke for their mean; an arrow if it lies below."""
    track = _line(f"M{NAMES} {y}h{PLOT}", PALE)
    if row.score is None:
        return [track]
    if axis.misses(row.score):
        return [track, _line(f"M{NAMES + 8} {y - 4}l-8 4l8 4", colour)]
    dots = [
        f'<circle cx="{_x(axis, score):.1f}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.5"/>'
        for score in row.scores
    ]
    return [track, *dots, _line(f"M{_x(axis, row.score):.1f} {y - 8}v16", colour)]


def _x(axis: Axis, score: float) -> float:
    return NAMES + (axis.place(score) - LEFT) / (RIGHT - LEFT) * PLOT


def _line(path: str, colour: str, more: str = "") -> str:
    return f'<path d="{path}" stroke="{colour}" stroke-width="1.5" fill="none"{more}/>'


def _text(x: float, y: float, words: str, colour: str, bold: bool = False) -> str:
    clean = "".join(letter if letter.isprintable() else " " for letter in words)
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{colour}"{weight}>{escape(clean)}</text>'
