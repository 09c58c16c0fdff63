"""Tuning a suite: the same number of trials for every rule, on validation data, on a budget cut short.

What the suite's `tuning_*` settings say is the budget of every trial; none is cut shorter for looking bad. A
seed that no suite uses draws weights and batches. Trials that differ in learning rate alone ride in one
pass along the seed axis where that pays. Each finished trial is in the study's journal before the next
begins, so that a night that is cut short goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from creditbench.suite import recipes, registry
from creditbench.suite.driver import choose_device, files_of, seeds_at_once
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.fingerprint import fingerprint
from creditbench.suite.plan import Planned, Suite, load_rule, load_task, own_choices, plan
from creditbench.suite.provenance import commit
from creditbench.suite.specification import Spec, canonical_json, format_label, parse_label
from creditbench.suite.tuning.space import Point, Space, declared
from creditbench.suite.tuning.study import Journal, library, points
from creditbench.suite.tuning.trial import Tried, try_out
from creditbench.suite.work import Group

SEED = 1_000_003  # no suite reports it
STUDIES = "studies"  # the folder of journals, beside the recipes

CarryOut = Callable[[Iterable[Group]], Iterable[tuple[Group, list[Tried]]]]


def inline(groups: Iterable[Group]) -> Iterator[tuple[Group, list[Tried]]]:
    """Does the groups in this process, one after the other."""
    for group in groups:
        yield group, try_out(group)


@dataclass
class Study:
    """One rule on one task and network: what is asked, and what is known so far."""

    cell: Planned
    spec: Spec  # of a trial, before its settings
    space: Space
    points: list[Point]
    code: str  # fingerprint of what the scores depend on
    path: Path  # of the journal
    done: dict[tuple[float | None, str], Tried] = field(default_factory=dict)

    @property
    def left(self) -> list[Point]:
        return [point for point in self.points if _key(point) not in self.done]

    @property
    def tried(self) -> list[tuple[Point, Tried]]:
        return [(point, self.done[_key(point)]) for point in self.points]

    @property
    def name(self) -> str:
        rule = format_label(self.spec.rule, self.cell.variant)
        return f"{rule} on {self.spec.task}, {self.spec.network}"

    @cached_property
    def journal(self) -> Journal:
        higher = load_task(self.cell.origin.task).higher_is_better
        return Journal(self.path, self.path.stem, self.space, higher)


def tune(suite: Suite, trials: int, folder: Path, device: str, carry_out: CarryOut = inline) -> Iterator[str]:
    """Tunes every rule on every cell of a suite; yields a line for each and writes folder/RULE.toml.

    What the folder already holds with the same trials, budget and search space is not tuned again."""
    if trials < 1:
        raise CreditbenchError(f"--trials is {trials} and must be at least 1.")
    place = choose_device(device)
    studies: dict[str, Study] = {}  # by the key of every specification that is to be tried
    groups: list[Group] = []
    for study in asked(suite, trials, folder):
        if is_tuned(study, trials, folder):
            other = stored(study, folder)["provenance"].get("fingerprint") != study.code
            yield f"{study.name}: tuned already" + (
                f", by other code; delete {_file(study, folder)} to tune again" if other else ""
            )
            continue
        if not study.left:
            yield _finish(study, trials, folder)
            continue
        for group in groups_of(study, place):
            groups.append(group)
            studies |= dict.fromkeys((spec.key for spec in group.specs), study)
    for group, results in carry_out(groups):
        study = studies[group.specs[0].key]
        waiting = {point.of(study.spec).key: point for point in study.left}
        for spec, tried in zip(group.specs, results, strict=True):
            study.journal.put(waiting[spec.key], tried)
            study.done[_key(waiting[spec.key])] = tried
        if not study.left:
            yield _finish(study, trials, folder)


def asked(suite: Suite, trials: int, folder: Path) -> Iterator[Study]:
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
            identity = canonical_json([spec.as_dict(), space.as_data(), code])
            digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
            name = f"{spec.task}-{parse_label(spec.network)[0]}-{digest}.jsonl"
            path = folder / STUDIES / Path(recipes.file_name(spec.rule)).stem / name
            study = Study(cell, spec, space, points(space, trials), code, path)
            if path.exists():
                study.done = study.journal.finished()
            yield study


def is_tuned(study: Study, trials: int, folder: Path) -> bool:
    """Whether the folder has the recipe that this study would make."""
    return _budget(stored(study, folder)) == _budget(_entry(study, trials, []))


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
    return [
        Group("train", tuple(specs[start : start + size]), origin, device.type, study.code)
        for specs in alike.values()
        for start in range(0, len(specs), size)
    ]


def _finish(study: Study, trials: int, folder: Path) -> str:
    """Writes the recipe of a finished study; returns a line about it."""
    point, best = max(study.tried, key=lambda pair: pair[1].merit)
    if best.status != "ok":
        return f"{study.name}: no trial ended well, so there is no recipe: {best.status}: {best.reason}"
    path = _file(study, folder)
    entry = _entry(study, trials, study.tried)
    others = [own for own in recipes.entries_of(path) if recipes.place_of(own) != _place(study)]
    recipes.write(path, [*others, entry])
    rate = "its own step size" if point.learning_rate is None else f"learning rate {point.learning_rate:.2g}"
    return (
        f"{study.name}: {', '.join(filter(None, (rate, point.words)))}:"
        f" {100 * (best.validation_score or 0):.2f} % on validation, {entry['provenance']['seconds']:.3g} s"
    )


def _entry(study: Study, trials: int, tried: Sequence[tuple[Point, Tried]]) -> dict[str, Any]:
    spec, network = study.spec, parse_label(study.spec.network)[0]
    provenance: dict[str, Any] = {
        "trials": trials,
        "chosen_on": recipes.CHOSEN_ON,
        "epochs": spec.epochs,
        "train_samples": spec.train_samples or "all",
        "batch_size": spec.batch_size,
        "seed": spec.seed,
        "space": study.space.as_data(),
    }
    place: dict[str, Any] = {"task": spec.task, "network": network}
    if study.cell.variant:
        place["variant"] = study.cell.variant
    if not tried:
        return place | {"provenance": provenance}
    best = max(tried, key=lambda pair: pair[1].merit)[0].of(spec)
    macs = [own.macs for _, own in tried if own.macs is not None]
    complete = all(own.macs_complete for _, own in tried)
    return place | {
        "learning_rate": best.learning_rate or recipes.DEFAULT_LEARNING_RATE,
        "network_choices": dict(best.network_choices),
        "hyperparameters": dict(best.hyperparameters),
        "provenance": provenance
        | {
            "sampler": library() if len(tried) == trials else "every setting once",
            "study": study.path.name,
            "seconds": float(f"{sum(own.seconds or 0.0 for _, own in tried):.4g}"),
            "macs": float(f"{sum(macs):.4g}"),
        }
        | ({} if complete else {"macs_are": "a lower bound: some operators have no price"})
        | {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit() or "none",
            "fingerprint": study.code,
            "tried": [_line(point, own) for point, own in tried],
        },
    }


def _line(point: Point, tried: Tried) -> dict[str, Any]:
    rate = {} if point.learning_rate is None else {"learning_rate": point.learning_rate}
    score = tried.status if tried.validation_score is None else round(tried.validation_score, 5)
    return {**rate, **point.choices, "validation_score": score}


def _budget(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a study was given, as its provenance says it; recipes from before spaces were told have none."""
    told = entry.get("provenance", {})
    return tuple(told.get(key) for key in ("trials", "epochs", "train_samples", "batch_size", "space"))


def _file(study: Study, folder: Path) -> Path:
    return folder / recipes.file_name(study.spec.rule)


def _place(study: Study) -> tuple[str, str, Mapping[str, Any]]:
    return study.spec.task, parse_label(study.spec.network)[0], study.cell.variant


def _key(point: Point) -> tuple[float | None, str]:
    return point.learning_rate, point.words
