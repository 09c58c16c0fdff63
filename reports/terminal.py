"""The board as text of a fixed width: the same in a terminal, in a file and in the README."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from creditbench.reports.board import TRACKS, BoardRow, tables
from creditbench.reports.figures import prefixed, rounded
from creditbench.reports.legend import (
    FEW_MARK,
    footnotes,
    machines,
    not_measured,
    origins,
    tuning_cost,
)
from creditbench.suite.scores import ABSENT, told, unit

WIDTH, NAME = 110, 20  # characters of a line, and of its first column
# Of rich's boxes none is a plain rule of hyphens, which every encoding and font has.
RULE = "    \n    \n -- \n    \n    \n    \n    \n    \n"
SHORT = (
    "score: test after the last epoch, mean ±standard deviation over the seeds that ended ok, %. val: mean "
    "on validation. step: median training step, × bp on the same machine, and ms. peak: live tensors in a "
    "training step. MACs: per sample, counted at operator dispatch. params: network + learned by the rule."
)


def terminal(rows: Sequence[BoardRow], width: int = WIDTH) -> str:
    """A table per task and network, and what the columns mean. Every line fits `width` characters."""
    rows = list(rows)
    if not rows:
        return "No results."
    marks = {machine: mark for machine, (mark, _) in machines(rows).items()}
    parts = [_table(part, marks, width) for part in tables(rows)]
    notes = [f"{mark} {meaning}" for mark, meaning in footnotes(rows)]
    if any(unit(row.metric) != "%" for row in rows):
        notes.append("MSE: the test error as it is, not in %; less is better.")
    footer = [*notes, SHORT, f"Not in these records: {not_measured(rows)}.", " ".join(origins(rows))]
    parts.append("\n".join(wrapped(clean(line), width) for line in footer))
    return "\n\n".join(parts)


def clean(text: str) -> str:
    """Text from a record without what a terminal would obey: control codes, reordering."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _table(rows: Sequence[BoardRow], marks: dict[str, str], width: int) -> str:
    score = "score" if unit(rows[0].metric) == "%" else unit(rows[0].metric)
    heads = ["rule", score, "val", "seeds", "step\n× bp", "step\nms", "peak\nMB", "MACs\ntrain",
             "MACs\ninfer", "params", "status"]  # fmt: skip
    lines = []
    for row, score in zip(rows, _scores(rows), strict=True):
        status = clean(row.status).replace(", ", ",\n")
        lines.append((row_name(row), score, *_figures(row, marks), status))
    troubles = [
        wrapped(clean(f"{_full_name(row)}: {row.status}: {reason}"), width)
        for row in rows
        for reason in row.reasons
    ]
    return "\n".join(
        [
            table_title(rows, width),
            grid(heads, lines, width, words=("rule", "status")),
            *troubles,
            *(wrapped(clean(line), width) for line in tuning_cost(rows)),
        ]
    )


def table_title(rows: Sequence[BoardRow], width: int) -> str:
    first = rows[0]
    version = f" (version {first.task_version})" if first.task_version != 1 else ""
    title = f"{first.task}{version}, {first.network}, {TRACKS[first.track]}: {first.budget}"
    return wrapped(clean(title), width)


def grid(
    heads: Sequence[str], lines: Sequence[Sequence[str]], width: int, words: Sequence[str] = ("rule",)
) -> str:
    """Columns under heads of one or two lines; those named in `words` hold words, the others figures."""
    from rich.box import Box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=Box(RULE, ascii=True), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for place, head in enumerate(heads):
        title = head if "\n" in head else f"\n{head}"
        if head in words:
            table.add_column(title, overflow="fold", min_width=NAME if place == 0 else None)
        else:
            table.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(word) for word in line))
    # No terminal is asked for its size or colours, so that the text is the same everywhere.
    page = io.StringIO()
    console = Console(
        file=page, width=width, height=100, color_system=None, force_terminal=False,
        force_jupyter=False, legacy_windows=False, _environ={},
    )  # fmt: skip
    console.print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def row_name(row: BoardRow) -> str:
    """The rule, and below it what tells it from its neighbours."""
    lines = textwrap.wrap(clean(row.rule), NAME)
    for choice in row.variant.split(", ") if row.variant else ():
        lines += textwrap.wrap(clean(choice), NAME, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def _full_name(row: BoardRow) -> str:
    return f"{row.rule} ({row.variant})" if row.variant else row.rule


def _scores(rows: Sequence[BoardRow]) -> list[str]:
    """Aligned at the ±, whatever the width of the spreads."""
    spreads = [f"±{told(row.score_std, row.metric)}" for row in rows]
    room = max(len(spread) for spread in spreads)
    return [
        ABSENT + " " * (room + 2)
        if row.score is None
        else f"{told(row.score, row.metric)} {spread + FEW_MARK * row.few:<{room + 1}}"
        for row, spread in zip(rows, spreads, strict=True)
    ]


def _figures(row: BoardRow, marks: dict[str, str]) -> tuple[str, ...]:
    seeds, asked = len(row.scores), len(row.seeds)
    machine = f" {marks[row.cost_machine]}" if row.cost_machine and marks[row.cost_machine] else ""
    bound = "" if row.macs_complete else ">"
    learned = f"+{short(row.learned_parameters)}" if row.learned_parameters else ""
    return (
        told(row.validation_score, row.metric),
        str(seeds) if seeds == asked else f"{seeds}/{asked}",
        rounded(row.step_ratio),
        rounded(row.step_seconds, 1e3) + machine,
        rounded(row.peak_bytes, 1e-6),
        ABSENT if row.train_macs is None else bound + short(row.train_macs),
        ABSENT if row.inference_macs is None else short(row.inference_macs),
        short(row.parameters) + learned,
    )


def short(value: float | None) -> str:
    return prefixed(value).replace(" ", "")


def wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
