"""Tuned hyperparameters: one TOML file per rule, each entry with its provenance. No torch here."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.specification import parse_label

DEFAULT_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Recipe:
    """What tuning chose, on validation, for one rule on one task and network."""

    learning_rate: float = DEFAULT_LEARNING_RATE
    network_choices: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "default"  # "task/network" that it was tuned on, or "published" by the rule's authors


def folder() -> Traversable:
    return files("creditbench.baselines") / "recipes"


def entries_of(path: Traversable) -> list[dict[str, Any]]:
    """All recipes of a file; none if it does not exist."""
    if not path.is_file():
        return []
    try:
        return list(tomllib.loads(path.read_text(encoding="utf-8"))["recipe"])
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise CreditbenchError(
            f"The recipes {path} cannot be read: {error}; restore the file or tune again."
        ) from None


def recipe(rule: str, task: str, network: str) -> Recipe:
    """The recipe for a task and network (a variant such as mlp:depth=4 gets mlp's), else defaults."""
    name = parse_label(network)[0]
    for entry in entries_of(folder() / f"{rule}.toml"):
        if (entry["task"], entry["network"]) == (task, name):
            return Recipe(
                entry["learning_rate"],
                entry.get("network_choices", {}),
                entry.get("hyperparameters", {}),
                "published" if "published" in entry["provenance"] else f"{task}/{name}",
            )
    return Recipe()
