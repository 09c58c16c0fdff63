"""Tuned hyperparameters: one TOML file per rule, each entry with its provenance. No torch here."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.specification import parse_label
from creditbench.suite.store import replacing

DEFAULT_LEARNING_RATE = 1e-3
DEFAULT, PUBLISHED, BY_HAND = "default", "published", "by-hand"  # origins of settings that were not tuned
CHOSEN_ON = "validation score of the last epoch"
COST = ("trials", "seconds", "macs")  # what a recipe says of its tuning's price
# Of studies that did not go about it as all others: what a recipe says for `search`, with its track.
SEARCHES = {"tpe": "tuned-tpe", "halton+median": "tuned-pruned", "tpe+median": "tuned-tpe-pruned"}


@dataclass(frozen=True)
class Recipe:
    """What tuning chose, on validation, for one rule on one task and network."""

    learning_rate: float = DEFAULT_LEARNING_RATE
    network_choices: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    origin: str = DEFAULT  # "task/network" it was tuned on, with ", search" if unusual; or "published"
    variant: Mapping[str, Any] = field(default_factory=dict)  # the rule's options that it was tuned for
    cost: Mapping[str, Any] = field(default_factory=dict)  # trials, seconds [s] and MACs of its tuning


def track(origin: str | None) -> str | None:
    """In which track a record with settings of this origin stands: "tuned", or how else they were chosen."""
    if origin in (None, DEFAULT, PUBLISHED, BY_HAND):
        return origin
    search = origin.partition(", ")[2]
    return SEARCHES.get(search) if search else "tuned"


def folder() -> Traversable:
    """The recipes that come with the package."""
    return files("creditbench.baselines") / "recipes"


def file_name(rule: str) -> str:
    """Of a rule's recipes, whatever it calls itself."""
    return f"{re.sub(r'[^A-Za-z0-9._=-]+', '-', rule).strip('.-') or 'unnamed'}.toml"


def entries_of(path: Traversable) -> list[dict[str, Any]]:
    """All recipes of a file; none if it does not exist. Refuses what was not chosen on validation."""
    if not path.is_file():
        return []
    try:
        entries = list(tomllib.loads(path.read_text(encoding="utf-8"))["recipe"])
        for entry in entries:
            _check(entry, path)
        return entries
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise CreditbenchError(
            f"The recipes {path} cannot be read: {error}; restore the file or tune again."
        ) from None


def _check(entry: Mapping[str, Any], path: Traversable) -> None:
    provenance, place = entry["provenance"], f"{entry['task']}, {entry['network']}"
    if not isinstance(entry["learning_rate"], (int, float)):
        raise CreditbenchError(f"The recipe for {place} in {path} has no number for its learning rate.")
    if "published" not in provenance and not str(provenance.get("chosen_on")).startswith("validation"):
        raise CreditbenchError(
            f"The recipe for {place} in {path} was chosen on {provenance.get('chosen_on')!r}; only what was"
            " chosen on validation, or published by a rule's authors, is a recipe."
        )


def recipe(
    rule: str,
    task: str,
    network: str,
    folders: Sequence[Traversable] = (),
    variant: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe for a task and network (a variant such as mlp:depth=4 gets mlp's), else defaults.

    folders: of the user's own recipes; the first that has one counts, the package's come last.
    variant: options of the rule that are given; without a recipe tuned for just these, the rule's own."""
    name = parse_label(network)[0]
    for wanted in (variant, {}) if variant else ({},):
        for place in (*folders, folder()):
            for entry in entries_of(place / file_name(rule)):
                if place_of(entry) == (task, name, wanted):
                    told = entry["provenance"]
                    return Recipe(
                        entry["learning_rate"],
                        entry.get("network_choices", {}),
                        entry.get("hyperparameters", {}),
                        PUBLISHED if "published" in told else ", ".join([f"{task}/{name}", *_search(told)]),
                        wanted,
                        {key: told[key] for key in COST if key in told},
                    )
    return Recipe()


def place_of(entry: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    """What an entry is for: task, network, and options of the rule that were given and not tuned."""
    return entry["task"], entry["network"], entry.get("variant", {})


def _search(provenance: Mapping[str, Any]) -> list[str]:
    return [str(provenance["search"])] if "search" in provenance else []


def write(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """A recipe file: plain TOML, sorted, one trial a line; it appears when it is whole."""
    lines = [
        "# Written by `creditbench tune`: chosen on validation data, never on test data. An entry whose",
        "# provenance says `published` was not tuned here but taken from the rule's authors.",
    ]
    for entry in sorted(entries, key=_order):
        provenance = dict(entry["provenance"])
        tried = provenance.pop("tried", None)
        lines += ["", "[[recipe]]"]
        lines += [f"{key} = {_toml(value)}" for key, value in entry.items() if key != "provenance"]
        lines += ["", "[recipe.provenance]"]
        lines += [f"{key} = {_toml(value)}" for key, value in provenance.items()]
        if tried is not None:
            lines += ["tried = [", *(f"    {_toml(trial)}," for trial in tried), "]"]
    try:
        with replacing(path) as file:
            file.write(("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise CreditbenchError(f"Cannot write {path}: {error.strerror}. Choose another folder.") from error


def _order(entry: Mapping[str, Any]) -> tuple[str, str, bool, str]:
    task, network, variant = place_of(entry)
    return task, network, bool(variant), _toml(variant)  # the rule's own first


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return json.dumps(value, ensure_ascii=False)
