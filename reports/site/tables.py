"""Board rows as the data of a page's table: one array per row, a value and its text for each column.

The text is made here, by the same functions as in the terminal, so that no page rounds in a way of its own.
A value that was not measured is null and its text a dash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from creditbench.reports.board import TRACKS, BoardRow, tables
from creditbench.reports.figures import prefixed, rounded
from creditbench.reports.legend import tuning_words
from creditbench.reports.page import axis_of
from creditbench.reports.site.places import slug, task_name
from creditbench.suite.scores import ABSENT, SHARES, told, unit
from creditbench.suite.specification import Spec, format_label

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """kind: "words" are sorted as text, "figure" as numbers. shown: before the reader picks others."""

    key: str
    title: str
    kind: str
    shown: bool
    value: Callable[[BoardRow], Value]
    text: Callable[[BoardRow], str]


def _figure(
    key: str, title: str, value: Callable[[BoardRow], float | None], text: Callable[[float | None], str],
    shown: bool = False,
) -> Column:  # fmt: skip
    return Column(key, title, "figure", shown, value, lambda row: text(value(row)))


def _cost(
    key: str, title: str, name: str, text: Callable[[float | None], str], shown: bool = False
) -> Column:
    return _figure(key, title, lambda row: row.costs[name], text, shown)


def _words(key: str, title: str, value: Callable[[BoardRow], str], shown: bool = False) -> Column:
    return Column(key, title, "words", shown, value, value)


def scaled(scale: float) -> Callable[[float | None], str]:
    return lambda value: rounded(value, scale)


def _seeds(row: BoardRow) -> str:
    ended, asked = len(row.scores), len(row.seeds)
    return str(ended) if ended == asked else f"{ended} of {asked}"


def _told(score: float | None, row: BoardRow) -> str:
    """Shares in per cent, as the column says; an error as it is, with its name."""
    own = "" if score is None or row.metric in SHARES else f" {unit(row.metric)}"
    return told(score, row.metric) + own


def _score(row: BoardRow) -> str:
    spread = "" if row.score_std is None else f" ±{told(row.score_std, row.metric)}"
    return _told(row.score, row) + spread + ("*" if row.few else "")


def _share(key: str, title: str, value: Callable[[BoardRow], float | None], shown: bool = False) -> Column:
    return Column(key, title, "figure", shown, value, lambda row: _told(value(row), row))


def _macs(row: BoardRow) -> str:
    bound = "" if row.macs_complete or row.train_macs is None else ">"
    return bound + prefixed(row.train_macs)


COLUMNS = (
    _words("task", "task", lambda row: task_name(row.task, row.task_version), True),
    _words("network", "network", lambda row: row.network, True),
    _words("rule", "rule", lambda row: row.rule, True),
    Column("score", "score, %", "figure", True, lambda row: row.score, _score),
    _words("spread", "seeds' scores", lambda row: " ".join(told(x, row.metric) for x in row.scores), True),
    Column("seeds", "seeds", "figure", True, lambda row: len(row.scores), _seeds),
    _share("best", "test at best epoch, %", lambda row: row.best_score),
    _share("validation", "validation, %", lambda row: row.validation_score, True),
    _figure("ratio", "step, × bp", lambda row: row.step_ratio, rounded, True),
    _figure("step", "step, ms", lambda row: row.step_seconds, scaled(1e3), True),
    _cost("latency", "inference at batch 1, ms", "latency_seconds", scaled(1e3)),
    _figure("memory", "peak memory, MB", lambda row: row.peak_bytes, scaled(1e-6), True),
    _cost("activations", "of it activations, MB", "peak_activations_bytes", scaled(1e-6)),
    _cost("process", "process at peak, MB", "peak_process_bytes", scaled(1e-6)),
    Column("macs", "training MACs / sample", "figure", True, lambda row: row.train_macs, _macs),
    _figure("inference", "inference MACs / sample", lambda row: row.inference_macs, prefixed),
    _cost("path", "critical path, MACs / sample", "critical_path_macs", prefixed),
    _cost("energy", "training nJ / sample, modelled", "train_energy_pj", scaled(1e-3), True),
    _cost("energy-low", "with memory, at least", "train_energy_lower_pj", scaled(1e-3)),
    _cost("energy-high", "with memory, at most", "train_energy_upper_pj", scaled(1e-3)),
    _cost("inference-energy", "inference nJ / sample, modelled", "inference_energy_pj", scaled(1e-3)),
    _cost("joules", "step, J measured", "step_joules", rounded),
    _cost("epochs-to-target", "epochs to target", "epochs_to_target", rounded),
    _cost("seconds-to-target", "seconds to target", "seconds_to_target", rounded),
    _cost("energy-to-target", "mJ to target, modelled", "energy_to_target_pj", scaled(1e-9)),
    _figure("parameters", "parameters", lambda row: row.parameters, prefixed),
    _figure("learned", "+ of the rule", lambda row: row.learned_parameters, prefixed),
    Column(
        "tuning", "cost of tuning", "figure", False,
        lambda row: row.tuning_seconds, lambda row: tuning_words(row) or ABSENT,
    ),
    _words("track", "track", lambda row: TRACKS[row.track]),
    _words("budget", "budget", lambda row: row.budget),
    _words("device", "trained on", lambda row: "; ".join(row.devices) or ABSENT),
    _words("cost-device", "timed on", lambda row: row.cost_device or ABSENT),
    _words("status", "status", lambda row: row.status, True),
)  # fmt: skip


def heads(hidden: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The columns as a page's script reads them; `hidden` are those that say nothing on this page."""
    apart = set(hidden)
    return [
        {"key": own.key, "title": own.title, "kind": own.kind, "shown": own.shown and own.key not in apart}
        for own in COLUMNS
    ]


def table_rows(rows: Sequence[BoardRow]) -> list[dict[str, Any]]:
    """For each row its values, their texts where these differ, and what else its page draws of it."""
    axes = {}
    for part in tables(rows):
        if axis := axis_of(part):
            reference = next((row.score for row in part if row.rule == "bp" and row.score is not None), None)
            axes[_table(part[0])] = (axis.low, axis.high, reference)
    return [_row(row, axes.get(_table(row))) for row in rows]


def _table(row: BoardRow) -> tuple[Any, ...]:
    return row.task, row.task_version, row.network, row.track


def _row(row: BoardRow, axis: tuple[Any, ...] | None) -> dict[str, Any]:
    values = [column.value(row) for column in COLUMNS]
    texts = [column.text(row) for column in COLUMNS]
    return {
        "v": values,
        "t": [None if text == value else text for value, text in zip(values, texts, strict=True)],
        "cell": row.cell,
        "group": group(row),
        "variant": row.variant,
        "settings": row.settings,
        "reasons": list(row.reasons),
        "scores": list(row.scores),
        "std": row.score_std,
        "axis": axis,
        "share": row.metric in SHARES,
        "machine": row.cost_machine,
        "complete": row.macs_complete,
        "pages": [slug(task_name(row.task, row.task_version)), slug(row.rule)],
    }


def missing_row(specs: Sequence[Spec], track: str | None) -> dict[str, Any]:
    """A cell that a suite asks for and nobody has run."""
    spec = specs[0]
    values: dict[str, Value] = {
        "task": task_name(spec.task, spec.task_version),
        "network": spec.network,
        "rule": spec.rule,
        "seeds": 0,
        "track": TRACKS[track],
        "status": "missing",
    }
    texts = {"seeds": f"0 of {len(specs)}"}
    return {
        "v": [values.get(column.key) for column in COLUMNS],
        "t": [
            texts.get(column.key, None if column.key in values else ABSENT if column.kind == "figure" else "")
            for column in COLUMNS
        ],
        "cell": None,
        "group": group_name(spec.task, spec.task_version, spec.network),
        "variant": format_label("", spec.hyperparameters).lstrip(":"),
        "settings": "",
        "reasons": [],
        "scores": [],
        "std": None,
        "axis": None,
        "share": True,
        "machine": None,
        "complete": True,
        "pages": [None, None],
    }


def group(row: BoardRow) -> str:
    """Whose scores may stand in one chart: a task and a network."""
    return group_name(row.task, row.task_version, row.network)


def group_name(task: str, version: int, network: str) -> str:
    return f"{task_name(task, version)} · {network}"


def plain_cells(rows: Sequence[BoardRow]) -> list[dict[str, Value]]:
    """Rows for download: every column by its key, exact, with what tells a cell from its neighbours."""
    return [
        {"cell": row.cell, "variant": row.variant, "settings": row.settings}
        | {"score_std": row.score_std, "scores": " ".join(map(repr, row.scores))}
        | {"reasons": "; ".join(row.reasons)}
        | {column.key: column.value(row) for column in COLUMNS if column.key != "spread"}
        for row in rows
    ]  # fmt: skip


def embedded(data: Mapping[str, Any] | Sequence[Any]) -> Markup:
    """JSON that can stand inside a script element and inside JavaScript: nothing in it ends the element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for letter in "<>&'":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)
