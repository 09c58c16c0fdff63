"""One side's figures as JSON of other tools, so that people keep their dashboards.

What a tool asks for and no record holds is not made up: the cell is left out there, and the caller is told.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from creditbench.reports.gate.sides import Cell, Side
from creditbench.reports.statistics.intervals import student
from creditbench.suite.errors import CreditbenchError

Written = tuple[str, list[str]]  # the JSON, and a sentence for each cell that is not in it


def pytest_benchmark(side: Side) -> Written:
    """Step times, as `pytest --benchmark-json` writes them and `py.test-benchmark compare` reads them."""
    listed, left_out = [], []
    for name, cell in _named(side):
        if not cell.spread or cell.quartiles is None or cell.seconds is None:
            left_out.append(f"{name}: its record has no least and greatest step time")
            continue
        low, high = cell.quartiles
        spread = cell.spread
        stats = {
            "min": spread["min"], "max": spread["max"], "mean": spread["mean"], "stddev": spread["std"],
            "rounds": cell.rounds, "median": cell.seconds, "iqr": high - low, "q1": low, "q3": high,
            "ops": 1 / spread["mean"], "total": spread["mean"] * cell.rounds, "iterations": 1,
            # Not recorded, and asked for by its tables: as text, which they show as it is.
            "outliers": "-",
        }  # fmt: skip
        extra = {**cell.exact, **cell.counted}
        listed.append({
            "group": f"{cell.task}/{cell.network}", "name": name, "fullname": f"creditbench::{name}",
            "params": None, "param": None, "extra_info": extra, "options": {}, "stats": stats,
        })  # fmt: skip
    commit, finished = _stamp(side)
    told = {
        "machine_info": {"device": _latest(side, "device")},
        "commit_info": {"id": commit, "time": finished, "dirty": commit.endswith("-dirty")},
        "benchmarks": listed,
        "datetime": finished,
        "version": "5.0.0",  # of pytest-benchmark, whose form this is
    }
    return _json(told), left_out


def github_action_smaller(side: Side) -> Written:
    """For github-action-benchmark's `customSmallerIsBetter`: step times, calibrated times, bytes, MACs."""
    listed: list[dict[str, Any]] = []
    for name, cell in _named(side):
        extra = cell.full_name
        if cell.seconds is not None:
            own = {"name": f"{name}: step", "unit": "ms", "value": 1e3 * cell.seconds, "extra": extra}
            if cell.quartiles is not None:
                own["range"] = "{:.4g} to {:.4g}".format(*(1e3 * bound for bound in cell.quartiles))
            listed.append(own)
        if cell.timing is not None:
            bounds = f"{cell.timing.low:.4g} to {cell.timing.high:.4g}"
            own = {"name": f"{name}: calibrated step", "unit": "kernels", "value": cell.timing.ratio}
            listed.append(own | {"range": bounds, "extra": extra})
        for figure, unit in (("peak bytes", "B"), ("train MACs", "MACs per sample")):
            if figure in cell.exact:
                own = {"name": f"{name}: {figure}", "unit": unit, "value": cell.exact[figure]}
                listed.append(own | {"extra": extra})
    return _json(listed), []


def github_action_bigger(side: Side) -> Written:
    """For its `customBiggerIsBetter`: mean test scores with Student's 95 % interval."""
    listed, left_out = [], []
    for name, cell in _named(side):
        scores = _scores(cell)
        if not scores:
            left_out.append(f"{name}: no score")
            continue
        found = student(scores)
        own: dict[str, Any] = {"name": f"{name}: score", "unit": _metric(cell), "value": found.estimate}
        if found.low is not None and found.high is not None:
            own["range"] = f"{found.low:.4f} to {found.high:.4f}"
        listed.append(own | {"extra": f"{len(scores)} seeds; {cell.full_name}"})
    return _json(listed), left_out


def bencher(side: Side) -> Written:
    """Bencher Metric Format: benchmark -> measure -> value with bounds. `latency` is in nanoseconds there."""
    told: dict[str, dict[str, dict[str, float]]] = {}
    for name, cell in _named(side):
        measures: dict[str, dict[str, float]] = {}
        if cell.seconds is not None:
            measures["latency"] = {"value": 1e9 * cell.seconds}
            if cell.quartiles is not None:
                low, high = cell.quartiles
                measures["latency"] |= {"lower_value": 1e9 * low, "upper_value": 1e9 * high}
        if cell.timing is not None:
            own = cell.timing
            measures["calibrated-step"] = {
                "value": own.ratio, "lower_value": own.low, "upper_value": own.high,
            }  # fmt: skip
        for figure in ("peak bytes", "train MACs", "parameters"):
            if figure in cell.exact:
                measures[figure.lower().replace(" ", "-")] = {"value": float(cell.exact[figure])}
        if scores := _scores(cell):
            found = student(scores)
            measures["score"] = {"value": found.estimate}
            if found.low is not None and found.high is not None:
                measures["score"] |= {"lower_value": found.low, "upper_value": found.high}
        if measures:
            told[name] = measures
    return _json(told), [f"{name}: no figure" for name, _ in _named(side) if name not in told]


def asv(side: Side) -> Written:
    """A result file of airspeed velocity (version 2), for RESULTS/MACHINE/COMMIT-creditbench.json."""
    results: dict[str, list[Any]] = {}
    for name, cell in _named(side):
        key = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")
        if cell.seconds is not None:
            quartiles = cell.quartiles or (None, None)
            row = [[cell.seconds], [], "1", None, None, None, None, [quartiles[0]], [quartiles[1]]]
            results[f"creditbench.time_step_{key}"] = row
        for figure, kind in (("peak bytes", "peakmem"), ("train MACs", "track_macs")):
            if figure in cell.exact:
                results[f"creditbench.{kind}_{key}"] = [[cell.exact[figure]], [], "1"]
        if scores := _scores(cell):
            results[f"creditbench.track_score_{key}"] = [[student(scores).estimate], [], "1"]
    commit, finished = _stamp(side)
    milliseconds = 0
    if finished:
        milliseconds = int(datetime.datetime.fromisoformat(finished).timestamp() * 1000)
    told = {
        "version": 2,
        "commit_hash": commit.removesuffix("-dirty"),
        "env_name": "creditbench",
        "date": milliseconds,
        "params": {"machine": _latest(side, "device"), "python": _latest(side, "python")},
        "python": _latest(side, "python"),
        "requirements": {},
        "env_vars": {},
        "result_columns": [
            "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
            "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
        ],
        "results": results,
        "durations": {},
    }  # fmt: skip
    return _json(told), []


DASHBOARDS: Mapping[str, Callable[[Side], Written]] = {
    "pytest-benchmark": pytest_benchmark,
    "github-action-benchmark-smaller": github_action_smaller,
    "github-action-benchmark-bigger": github_action_bigger,
    "bencher": bencher,
    "asv": asv,
}


def dashboard(wanted: str) -> tuple[Callable[[Side], Written], Path]:
    """What "TOOL=FILE" means: what writes, and where to."""
    tool, _, path = wanted.partition("=")
    if tool not in DASHBOARDS or not path:
        raise CreditbenchError(f"'{wanted}' is no TOOL=FILE; the tools are {', '.join(DASHBOARDS)}.")
    return DASHBOARDS[tool], Path(path)


def _named(side: Side) -> Iterator[tuple[str, Cell]]:
    """Cells by a name that no other has and that stays the same as long as settings do."""
    short = [cell.name for cell in side.cells.values()]
    for cell in sorted(side.cells.values(), key=lambda cell: cell.full_name):
        yield (cell.name if short.count(cell.name) == 1 else cell.full_name), cell


def _scores(cell: Cell) -> list[float]:
    """Of a cell all of whose seeds were scored: a mean over the others would flatter."""
    scores = [run.score for run in cell.runs.values()]
    return [score for score in scores if score is not None] if None not in scores else []


def _metric(cell: Cell) -> str:
    return next(run.metric for run in cell.runs.values())


def _stamp(side: Side) -> tuple[str, str]:
    return _latest(side, "commit") or "unknown", _latest(side, "finished")


def _latest(side: Side, name: str) -> str:
    """Of the cost that was measured last."""
    stamps = [cell.stamp for cell in side.cells.values() if cell.stamp]
    return max(stamps, key=lambda own: own.get("finished", "")).get(name, "") if stamps else ""


def _json(told: Any) -> str:
    return json.dumps(told, indent=1, allow_nan=False)
