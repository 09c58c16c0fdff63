"""Choosing hyperparameters: on validation data, the same number of trials for every rule.

Trials are quasi-random: learning rates on a logarithmic scale, and whatever else the rule's `search`
names (activation is the network's, the rest are the rule's fields). Every rule has the same budget, cut
short as the suite's `tuning_*` settings say; the test split is never scored. A seed that no suite uses
draws weights and batches.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import qmc

from creditbench.suite.driver import choose_device, seeds_at_once
from creditbench.suite.plan import Origin, Planned, load_rule, narrowed, plan, read_suite
from creditbench.suite.provenance import commit
from creditbench.suite.recipes import Recipe, entries_of
from creditbench.suite.record import Run
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.train import train
from creditbench.suite.work import Group, assemble

SEED = 1_000_003  # no suite reports it
RATES = (2e-4, 2e-2)  # learning rates tried
NETWORK_OPTIONS = ("activation", "normalisation")  # the rest of a search space are fields of the rule


def tune(
    suite: str,
    tasks: Sequence[str],
    networks: Sequence[str],
    rules: Sequence[str],
    trials: int,
    folder: Path,
    device: str,
) -> Iterator[str]:
    """Tunes every rule on every cell of a suite; yields a line for each and writes folder/RULE.toml.

    What the folder already holds with the same trials and budget is not tuned again."""
    chosen = narrowed(read_suite(suite), tasks, networks, rules)
    folder.mkdir(parents=True, exist_ok=True)
    for part in chosen.parts:
        for cell in plan(dataclasses.replace(chosen, parts=(part,))):
            spec = cell.specs[0]
            path = folder / f"{spec.rule}.toml"
            stored = {(entry["task"], entry["network"]): entry for entry in entries_of(path)}
            place = (spec.task, parse_label(spec.network)[0])
            spec = dataclasses.replace(
                spec,
                seed=SEED,
                epochs=part.tuning_epochs or part.epochs,
                train_samples=part.tuning_samples,
                network_choices={},
                hyperparameters={},
            )
            if place in stored and _budget(stored[place]["provenance"]) == _asked(spec, trials):
                yield f"{spec.rule} on {spec.task}, {spec.network}: tuned already"
                continue
            started = time.perf_counter()
            runs = _study(cell, spec, trials, choose_device(device))
            seconds = time.perf_counter() - started
            best = max(runs, key=_merit)
            stored[place] = _entry(spec, best, runs, seconds)
            _write(path, list(stored.values()))
            rate = best.spec.learning_rate
            yield (
                f"{spec.rule} on {spec.task}, {spec.network}: learning rate {rate:.2g}"
                f" {dict(best.spec.network_choices)} {dict(best.spec.hyperparameters)}:"
                f" {100 * (best.validation_score or 0):.2f} % on validation, {seconds:.0f} s"
            )


def trial_specs(spec: Spec, search: Mapping[str, Sequence[Any]], trials: int) -> list[Spec]:
    """The settings to try: a Halton sequence over learning rate and combinations of choices."""
    combinations = list(itertools.product(*search.values()))
    points = qmc.Halton(2, scramble=False).random(trials + 1)[1:]  # the first point is the corner
    low, high = (math.log(rate) for rate in RATES)
    specs = []
    for along, across in points:
        own = dict(zip(search, combinations[int(across * len(combinations))], strict=True))
        rate = float(f"{math.exp(low + (high - low) * along):.3g}")
        choices = {key: own.pop(key) for key in NETWORK_OPTIONS if key in own}
        specs.append(
            dataclasses.replace(
                spec,
                learning_rate=None if spec.learning_rate is None else rate,
                network_choices=choices,
                hyperparameters=own,
            )
        )
    return specs


def _study(cell: Planned, spec: Spec, trials: int, device: torch.device) -> list[Run]:
    """All trials of one cell. Those that differ in learning rate alone ride in one pass where it pays."""
    specs = trial_specs(spec, load_rule(cell.origin.rule).search, trials)
    groups: dict[str, list[Spec]] = {}
    for own in specs:
        words = json.dumps([dict(own.network_choices), dict(own.hyperparameters)], sort_keys=True)
        groups.setdefault(words, []).append(own)
    size = seeds_at_once(cell, device)
    runs = []
    for together in groups.values():
        for start in range(0, len(together), size):
            part = tuple(together[start : start + size])
            group = Group("train", part, _plain(cell.origin), device.type, "")
            runs += [trained.run for trained in train(assemble(group)[0], part, test=False)]
    return runs


def _plain(origin: Origin) -> Origin:
    """The origin without options in the rule's label: a study sets them."""
    if not isinstance(origin.rule, str):
        return origin
    return dataclasses.replace(origin, rule=parse_label(origin.rule)[0])


def _asked(spec: Spec, trials: int) -> tuple[Any, ...]:
    """What a study was given, as its provenance says it."""
    return (trials, spec.epochs, spec.train_samples or "all", spec.batch_size)


def _budget(provenance: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(provenance.get(key) for key in ("trials", "epochs", "train_samples", "batch_size"))


def _merit(run: Run) -> tuple[float, float]:
    if run.status != "ok" or run.validation_score is None:
        return (-math.inf, 0.0)
    loss = run.curve[-1].validation_loss
    return (run.validation_score, -(math.inf if loss is None else loss))


def _entry(spec: Spec, best: Run, runs: Sequence[Run], seconds: float) -> dict[str, Any]:
    chosen = best.spec
    tried = [
        {
            "learning_rate": run.spec.learning_rate or 0.0,
            **run.spec.network_choices,
            **run.spec.hyperparameters,
            "validation_score": run.status
            if run.validation_score is None
            else round(run.validation_score, 5),
        }
        for run in runs
    ]
    return {
        "task": spec.task,
        "network": parse_label(spec.network)[0],
        "learning_rate": chosen.learning_rate or Recipe().learning_rate,
        "network_choices": dict(chosen.network_choices),
        "hyperparameters": dict(chosen.hyperparameters),
        "provenance": {
            "trials": len(runs),
            "chosen_on": "validation score of the last epoch",
            "epochs": spec.epochs,
            "train_samples": spec.train_samples or "all",
            "batch_size": spec.batch_size,
            "seed": spec.seed,
            "seconds": round(seconds, 1),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "commit": commit() or "none",
            "tried": tried,
        },
    }


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    """A recipe file: plain TOML, sorted, one trial a line."""
    lines = [
        "# Written by `creditbench tune`: chosen on validation data, never on test data. An entry whose",
        "# provenance says `published` was not tuned here but taken from the rule's authors.",
    ]
    for entry in sorted(entries, key=lambda entry: (entry["task"], entry["network"])):
        provenance = dict(entry["provenance"])
        tried = provenance.pop("tried", None)
        lines += ["", "[[recipe]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in entry.items() if key != "provenance"]
        lines += ["", "[recipe.provenance]"]
        lines += [f"{key} = {_toml(value)}" for key, value in provenance.items()]
        if tried is not None:
            lines += ["tried = [", *(f"    {_toml(trial)}," for trial in tried), "]"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return json.dumps(value, ensure_ascii=False)
