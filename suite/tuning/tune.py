"""Tuning a suite: the same number of trials for every rule, on validation data, on a budget cut short.

What the suite's `tuning_*` settings say is the budget of every trial; none is cut shorter for looking bad,
unless pruning is asked for. A seed that no suite uses draws weights and batches. Trials that differ in
learning rate alone ride in one pass along the seed axis where that pays. Executors carry trials as they carry
runs; the driver alone writes, and each finished trial is in the study's journal before anyone is told of it,
so that a night that is cut short goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from creditbench.suite import recipes, registry
from creditbench.suite.driver import SilentObserver, files_of, seeds_at_once
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Executor, Watch
from creditbench.suite.executors.inline import Inline
from creditbench.suite.fingerprint import fingerprint
from creditbench.suite.lock import locked
from creditbench.suite.plan import Planned, Suite, load_rule, load_task, own_choices, plan
from creditbench.suite.provenance import commit
from creditbench.suite.scores import told, unit
from creditbench.suite.shards import WHOLE
from creditbench.suite.specification import Spec, canonical_json, format_label, parse_label
from creditbench.suite.tuning.search import HALTON, Key, Search, floors, key, laid, library, round_of
from creditbench.suite.tuning.space import Point, Space, declared
from creditbench.suite.tuning.study import Journal
from creditbench.suite.tuning.tried import PRUNED, Trial, Tried
from creditbench.suite.work import Group

SEED = 1_000_003  # no suite reports it
STUDIES = "studies"  # the folder of journals, beside the recipes


@dataclass
class Study:
    """One rule on one task and network: what is asked, and what is known so far."""

    cell: Planned
    spec: Spec  # of a trial, before its settings
    space: Space
    trials: int
    search: Search
    code: str  # fingerprint of what the scores depend on
    path: Path  # of the journal
    done: dict[Key, Tried] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)  # as far as they are laid

    def __post_init__(self) -> None:
        self.lay()

    def lay(self) -> None:
        """Lays the points of the next round, where the last one is done."""
        if not self.left:
            self.points = laid(self.space, self.trials, self.search, self.done)

    @property
    def left(self) -> list[Point]:
        return [point for point in self.points if key(point) not in self.done]

    @property
    def tried(self) -> list[tuple[Point, Tried]]:
        return [(point, self.done[key(point)]) for point in self.points]

    @property
    def floors(self) -> tuple[float, ...]:
        """Below which the trials of this round are stopped."""
        if self.search.pruner == "none":
            return ()
        before = self.points[: round_of(self.points, self.trials)]
        return floors(self.spec.epochs, [self.done[key(point)] for point in before])

    def put(self, point: Point, tried: Tried) -> None:
        """Writes a trial down."""
        self.journal.put(point, tried)
        self.done[key(point)] = tried
        self.lay()

    @property
    def name(self) -> str:
        rule = format_label(self.spec.rule, self.cell.variant)
        return f"{rule} on {self.spec.task}, {self.spec.network}"

    @cached_property
    def journal(self) -> Journal:
        higher = load_task(self.cell.origin.task).higher_is_better
        return Journal(self.path, self.path.stem, self.space, higher)


def tune(
    suite: Suite,
    trials: int,
    folder: Path,
    device: torch.device,
    executor: Executor | None = None,
    watch: Watch | None = None,
    search: Search = HALTON,
) -> Iterator[str]:
    """Tunes every rule on every cell of a suite; yields a line for each and writes folder/RULE.toml.

    What the folder already holds with the same trials, budget, search and search space is not tuned again."""
    if trials < 1:
        raise CreditbenchError(f"--trials is {trials} and must be at least 1.")
    executor, watch = executor or Inline(), watch or SilentObserver()
    with locked(folder, WHOLE):
        open_: dict[Path, Study] = {}
        for study in asked(suite, trials, folder, search):
            if is_tuned(study, folder):
                other = stored(study, folder)["provenance"].get("fingerprint") != study.code
                yield f"{study.name}: tuned already" + (
                    f", by other code; delete {_file(study, folder)} to tune again" if other else ""
                )
            elif not study.left:
                yield _finish(study, folder)
            else:
                open_[study.path] = study
        while open_:  # once; where a search goes by results, once for each of its rounds
            groups = [group for study in open_.values() for group in groups_of(study, device)]
            waiting = {
                point.of(study.spec).key: (study, point) for study in open_.values() for point in study.left
            }
            with contextlib.closing(executor(groups, watch)) as outcomes:
                for _, outcome in outcomes:
                    assert isinstance(outcome, Trial)
                    study, point = waiting[outcome.spec.key]
                    study.put(point, outcome.tried)
                    if not study.left:
                        yield _finish(open_.pop(study.path), folder)


def asked(suite: Suite, trials: int, folder: Path, search: Search = HALTON) -> Iterator[Study]:
    """The studies of a suite, one for each cell, with what is known of them so far."""
    for part in suite.parts:
        for cell in plan(dataclasses.replace(suite, parts=(part,))):
            kind, builder = load_rule(cell.origin.rule), registry.load("network", cell.origin.network)
            spec = dataclasses.replace(
                cell.specs[0],
                seed=SEED,
                epochs=part.tuning_epochs or part.epochs,
                train_samples=part.tuning_samples or part.train_samples,
                network_choices=own_choices(kind, builder, cell.specs[0].network),
                hyperparameters=cell.variant,  # given, so part of what is tuned
                learning_rate=None,
            )
            space = declared(kind, builder, parse_label(spec.network)[1], cell.variant)
            code = fingerprint(files_of(cell.origin), torch.__version__)
            identity = canonical_json([spec.as_dict(), space.as_data(), code, *filter(None, [search.name])])
            if search.name:  # its rounds depend on how many trials there are
                identity += str(trials)
            digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
            name = f"{spec.task}-{parse_label(spec.network)[0]}-{digest}.jsonl"
            path = folder / STUDIES / Path(recipes.file_name(spec.rule)).stem / name
            study = Study(cell, spec, space, trials, search, code, path)
            if path.exists():
                study.done = study.journal.finished()
                study.lay()
            yield study


def is_tuned(study: Study, folder: Path) -> bool:
    """Whether the folder has the recipe that this study would make."""
    return _budget(stored(study, folder)) == _budget(_entry(study, []))


def stored(study: Study, folder: Path) -> Mapping[str, Any]:
    """The entry that a folder of recipes has for the study's place; empty if there is none."""
    entries = recipes.entries_of(_file(study, folder))
    return next((entry for entry in entries if recipes.place_of(entry) == _place(study)), {})


def groups_of(study: Study, device: torch.device) -> list[Group]:
    """What is left of a study: trials that differ in learning rate alone ride in one pass where it pays."""
    alike: dict[str, list[Spec]] = {}
    for point in study.left:
        alike.setdefault(point.words, []).append(point.of(study.spec))
    size, origin = seeds_at_once(study.cell, device), study.cell.origin
    size = 1 if study.search.pruner != "none" else size  # none is stopped with another
    return [
        Group(
            "trial", tuple(specs[start : start + size]), origin, device.type, study.code, floors=study.floors
        )
        for specs in alike.values()
        for start in range(0, len(specs), size)
    ]


def _finish(study: Study, folder: Path) -> str:
    """Writes the recipe of a finished study; returns a line about it."""
    point, best = max(study.tried, key=lambda pair: pair[1].merit)
    if best.status != "ok":
        return f"{study.name}: no trial ended well, so there is no recipe: {best.status}: {best.reason}"
    path = _file(study, folder)
    entry = _entry(study, study.tried)
    others = [own for own in recipes.entries_of(path) if recipes.place_of(own) != _place(study)]
    recipes.write(path, [*others, entry])
    metric = load_task(study.cell.origin.task).metric
    score = f"{told(best.validation_score, metric)} {unit(metric)}"
    rate = "its own step size" if point.learning_rate is None else f"learning rate {point.learning_rate:.2g}"
    return (
        f"{study.name}: {', '.join(filter(None, (rate, point.words)))}:"
        f" {score} on validation, {entry['provenance']['seconds']:.3g} s"
    )


def _entry(study: Study, tried: Sequence[tuple[Point, Tried]]) -> dict[str, Any]:
    spec, network = study.spec, parse_label(study.spec.network)[0]
    provenance: dict[str, Any] = {
        "trials": study.trials,
        "chosen_on": recipes.CHOSEN_ON,
        "epochs": spec.epochs,
        "train_samples": spec.train_samples or "all",
        "batch_size": spec.batch_size,
        "seed": spec.seed,
        "space": study.space.as_data(),
    } | ({"search": study.search.name} if study.search.name else {})
    place: dict[str, Any] = {"task": spec.task, "network": network}
    if study.cell.variant:
        place["variant"] = study.cell.variant
    if not tried:
        return place | {"provenance": provenance}
    best = max(tried, key=lambda pair: pair[1].merit)[0].of(spec)
    macs = [own.macs for _, own in tried if own.macs is not None]
    complete, company = all(own.macs_complete for _, own in tried), max(own.company for _, own in tried)
    return place | {
        "learning_rate": best.learning_rate or recipes.DEFAULT_LEARNING_RATE,
        "network_choices": dict(best.network_choices),
        "hyperparameters": dict(best.hyperparameters),
        "provenance": provenance
        | {
            "sampler": library(study.search) if len(tried) == study.trials else "every setting once",
            "study": study.path.name,
            "seconds": float(f"{sum(own.seconds or 0.0 for _, own in tried):.4g}"),
            "macs": float(f"{sum(macs):.4g}"),
        }
        | ({} if complete else {"macs_are": "a lower bound: some operators have no price"})
        | ({} if not company else {"seconds_are": f"of trials with up to {company} others beside them"})
        | _pruning(study, tried)
        | {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit() or "none",
            "fingerprint": study.code,
            "tried": [_line(point, own) for point, own in tried],
        },
    }


def _pruning(study: Study, tried: Sequence[tuple[Point, Tried]]) -> dict[str, Any]:
    """What makes the budget of a pruned study another than that of its neighbour."""
    if study.search.pruner == "none":
        return {}
    stopped = [own for _, own in tried if own.status == PRUNED]
    done = sum(len(own.course) for _, own in tried)
    return {"pruner": "median", "pruned": len(stopped), "epochs_trained": done}


def _line(point: Point, tried: Tried) -> dict[str, Any]:
    rate = {} if point.learning_rate is None else {"learning_rate": point.learning_rate}
    score = tried.status if tried.validation_score is None else round(tried.validation_score, 5)
    return {**rate, **point.choices, "validation_score": score}


def _budget(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a study was given, as its provenance says it; recipes from before spaces were told have none."""
    told = entry.get("provenance", {})
    return tuple(
        told.get(key) for key in ("trials", "epochs", "train_samples", "batch_size", "space", "search")
    )


def _file(study: Study, folder: Path) -> Path:
    return folder / recipes.file_name(study.spec.rule)


def _place(study: Study) -> tuple[str, str, Mapping[str, Any]]:
    return study.spec.task, parse_label(study.spec.network)[0], study.cell.variant
