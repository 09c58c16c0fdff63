"""Methods x problems: every cell that was asked for with how it ended, none left out, none averaged away.

A *problem* is a task, a network and a budget; a *method* is a rule, its settings chosen as one track does.
The two anchors of a problem are the mean scores of last-layer and bp on it. They are taken from all records
that are there, so that no choice of rules to show moves them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from creditbench.reports.board import BUDGET, TRACKS
from creditbench.reports.rows import plain_rows
from creditbench.reports.statistics.intervals import FEW, Array

if TYPE_CHECKING:
    import pandas as pd

FLOOR, CEILING = "last-layer", "bp"
# ok: every seed was scored. partly: some. ended: none, all diverged, failed or ran out. skipped: the rule
# refuses the problem. untuned: it was run, but with settings of another track. missing: nothing is there.
State = Literal["ok", "partly", "ended", "skipped", "untuned", "missing"]
UNKNOWN: tuple[State, ...] = ("skipped", "untuned", "missing")  # nothing is known about the score

Row = dict[str, Any]


@dataclass(frozen=True, order=True)
class Problem:
    """What methods are compared on."""

    task: str
    network: str
    task_version: int = 1
    budget: str = ""  # "epochs=10, batch_size=128, ..."
    higher_is_better: bool = field(default=True, compare=False)

    @property
    def name(self) -> str:
        return f"{self.task}/{self.network}"

    @property
    def sign(self) -> int:
        return 1 if self.higher_is_better else -1


@dataclass(frozen=True)
class Entry:
    """A method on a problem. `scores` are test scores after the last epoch, in the task's metric."""

    state: State
    scores: Mapping[int, float] = field(default_factory=dict)  # seed -> score, of those that were scored
    failed: tuple[int, ...] = ()  # seeds that diverged, failed, ran out of time or memory
    words: str = ""  # of anything but ok: what became of it
    cell: str | None = None  # the cell's id; its records bear it

    @property
    def values(self) -> Array:
        """[seeds], by rising seed"""
        return np.array([self.scores[seed] for seed in sorted(self.scores)])

    @property
    def few(self) -> bool:
        return len(self.scores) < FEW


@dataclass(frozen=True)
class Anchors:
    """The scores that are called 0 and 1 on a problem; None where a reference has no complete result."""

    floor: float | None
    ceiling: float | None
    words: str = ""  # why scores cannot be normalised, if so


@dataclass(frozen=True)
class Grid:
    methods: tuple[str, ...]  # by name: an order that says nothing
    problems: tuple[Problem, ...]
    entries: Mapping[tuple[str, Problem], Entry]  # one for each method and problem
    anchors: Mapping[Problem, Anchors]
    notes: tuple[str, ...] = ()  # what a reader must be told beside any figure

    def entry(self, method: str, problem: Problem) -> Entry:
        return self.entries[method, problem]

    def only(self, methods: Iterable[str]) -> Grid:
        """The same with fewer methods; problems and anchors stay."""
        wanted = set(methods)
        kept = {place: own for place, own in self.entries.items() if place[0] in wanted}
        names = tuple(name for name in self.methods if name in wanted)
        return Grid(names, self.problems, kept, self.anchors, self.notes)


def grid(frame: pd.DataFrame, track: str | None = "tuned") -> Grid:
    """A frame of `load_results` as methods x problems, on one track.

    Problems are those of the track. A rule that has records on other tracks alone is `untuned` there. Where a
    rule has several cells on a problem (a recipe was renewed), the one finished last stands and a note says
    so; on the track by-hand every setting is a method of its own, since it was somebody's choice."""
    rows = _last(plain_rows(frame))
    cells: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        cells.setdefault(row["cell"], []).append(row)
    own = [seeds for seeds in cells.values() if seeds[0]["track"] == track]
    problems = tuple(sorted({_problem(seeds[0]) for seeds in own}))
    found: dict[tuple[str, Problem], list[list[Row]]] = {}
    for seeds in own:
        found.setdefault((_method(seeds[0]), _problem(seeds[0])), []).append(seeds)
    elsewhere = {
        (seeds[0]["rule"], _problem(seeds[0])): seeds[0]["track"]
        for seeds in cells.values()
        if seeds[0]["track"] != track
    }
    methods = tuple(sorted({method for method, _ in found}))
    entries, notes = {}, []
    for method in methods:
        for problem in problems:
            rivals = sorted(found.get((method, problem), []), key=_finished)
            if rivals:
                entries[method, problem] = _entry(rivals[-1])
                if len(rivals) > 1:
                    older = ", ".join(str(seeds[0]["cell"]) for seeds in rivals[:-1])
                    notes.append(f"{method} on {problem.name}: the cell finished last stands, not {older}")
            elif (method, problem) in elsewhere:
                other = TRACKS.get(elsewhere[method, problem], "")
                entries[method, problem] = Entry("untuned", words=f"only with {other}")
            else:
                entries[method, problem] = Entry("missing", words="not run")
    references: dict[tuple[str, Problem], list[list[Row]]] = {}
    for seeds in cells.values():
        if seeds[0]["rule"] in (FLOOR, CEILING):
            references.setdefault((seeds[0]["rule"], _problem(seeds[0])), []).append(seeds)
    anchors = {problem: _anchors(problem, references) for problem in problems}
    notes += [f"{problem.name}: {own.words}" for problem, own in anchors.items() if own.words]
    return Grid(methods, problems, entries, anchors, tuple(notes))


def _last(rows: Iterable[Row]) -> list[Row]:
    """A run that lies in two folders at once counts once: the one finished last."""
    kept: dict[str, Row] = {}
    for row in sorted(rows, key=lambda r: (r["finished"] or "", r["machine"] or "", r["status"])):
        kept[row["key"]] = row
    return list(kept.values())


def _problem(row: Row) -> Problem:
    budget = ", ".join(f"{name}={row[name]}" for name in BUDGET if row[name] is not None)
    higher = row["higher_is_better"]
    return Problem(row["task"], row["network"], int(row["task_version"]), budget, higher is not False)


def _method(row: Row) -> str:
    if row["track"] != "by-hand":
        return str(row["rule"])
    rate = "" if row["learning_rate"] is None else f"lr={row['learning_rate']:g}"
    chosen = ",".join(filter(None, (rate, row["network_choices"], row["hyperparameters"])))
    return f"{row['rule']}:{chosen}" if chosen else str(row["rule"])


def _finished(seeds: list[Row]) -> tuple[str, str]:
    return max(row["finished"] or "" for row in seeds), seeds[0]["cell"]


def _entry(seeds: list[Row]) -> Entry:
    scores = {int(row["seed"]): float(row["score"]) for row in seeds if _scored(row)}
    cell = str(seeds[0]["cell"])
    ended = [row for row in seeds if not _scored(row)]
    if not ended:
        return Entry("ok", scores, cell=cell)
    statuses = sorted({str(row["status"]) for row in ended})
    words = f"{len(ended)} of {len(seeds)} seeds {', '.join(statuses)}"
    if not scores and statuses == ["skipped"]:
        return Entry("skipped", words=str(ended[0]["reason"] or "the rule refuses it"), cell=cell)
    failed = tuple(int(row["seed"]) for row in ended)
    return Entry("partly" if scores else "ended", scores, failed, words, cell)


def _scored(row: Row) -> bool:
    return row["status"] == "ok" and row["score"] is not None


def _anchors(problem: Problem, references: Mapping[tuple[str, Problem], list[list[Row]]]) -> Anchors:
    """Of each reference's cell whose settings were chosen with the most care; of several, the last one."""
    careful = list(TRACKS)
    found: list[float | None] = []
    for rule in (FLOOR, CEILING):
        own = references.get((rule, problem), [])
        own = sorted(own, key=lambda seeds: (-careful.index(seeds[0]["track"]), *_finished(seeds)))
        entry = _entry(own[-1]) if own else Entry("missing")
        found.append(float(entry.values.mean()) if entry.state == "ok" else None)
    floor, ceiling = found
    missing = [name for name, own in zip((FLOOR, CEILING), found, strict=True) if own is None]
    if floor is None or ceiling is None:
        return Anchors(
            floor, ceiling, f"no complete result of {' and '.join(missing)}, so nothing to normalise by"
        )
    if problem.sign * (ceiling - floor) <= 0:
        return Anchors(floor, ceiling, f"{CEILING} is no better than {FLOOR}, so nothing to normalise by")
    return Anchors(floor, ceiling)
