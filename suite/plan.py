"""From a suite, or what the command line asks for, to the list of runs."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from creditbench.suite import registry, suites
from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.recipes import BY_HAND, recipe
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.specification import Spec, format_label, parse_label
from creditbench.suite.types import LearningRule, Task, check_rule

Label = str | type[LearningRule]


@dataclass(frozen=True)
class Part:
    """A block of a suite: every rule on every network on every task, under one budget."""

    tasks: tuple[str, ...]
    networks: tuple[str, ...] = ("mlp",)
    rules: tuple[Label, ...] = ("all",)
    without: tuple[str, ...] = ()  # rules left out where all are meant
    seeds: int = 3
    epochs: int = 10
    batch_size: int = 128
    schedule: str = "linear"
    augmentation: str | None = None
    train_samples: int | None = None
    tuning_epochs: int | None = None  # what a trial of `creditbench tune` gets; None: as above
    tuning_samples: int | None = None


@dataclass(frozen=True)
class Suite:
    name: str
    summary: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Origin:
    """Where the things of a Spec are to be found: names, paths, or a rule's class itself."""

    task: str
    network: str
    rule: Label


@dataclass(frozen=True)
class Planned:
    """A cell to be trained: its seeds' specs and where its things come from."""

    specs: tuple[Spec, ...]
    origin: Origin
    recipe: str  # what its hyperparameters were tuned on, "default", "published" or "by-hand"
    variant: Mapping[str, Any] = field(default_factory=dict)  # options that the rule's label gave
    tuning: Mapping[str, Any] = field(default_factory=dict)  # what tuning them cost, as the recipe says


def read_suite(name: str) -> Suite:
    """A built-in suite, or the user's own by the path of its TOML file."""
    path = Path(name) if name.endswith(".toml") else suites.paths().get(name)
    if path is None:
        raise unknown_name("suite", name, suites.paths())
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        parts, summary = data.pop("part"), data.pop("summary")
    except OSError as error:
        raise CreditbenchError(f"The suite {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CreditbenchError(f"The suite {path} is not TOML: {error}.") from None
    except KeyError as error:
        raise CreditbenchError(f"The suite {path} lacks {error}; it needs summary and [[part]].") from None
    known = [item.name for item in fields(Part)]
    made = []
    for part in parts:
        settings = {**data, **part}
        for key in settings:
            if key not in known:
                raise unknown_name(f"setting in {path.name} called", key, known)
        lists = {key: tuple(value) for key, value in settings.items() if isinstance(value, list)}
        if "tasks" not in settings:
            raise CreditbenchError(f"A part of {path.name} names no tasks.")
        made.append(Part(**{**settings, **lists}))
    return Suite(path.stem, summary, tuple(made))


def narrowed(suite: Suite, tasks: Sequence[str], networks: Sequence[str], rules: Sequence[Label]) -> Suite:
    """A suite with the tasks and networks that were asked for, and other rules if any were named.

    What no part has is run under the first part's budget."""

    def chosen(parts: Sequence[Part], field: str, wanted: Sequence[str]) -> list[Part]:
        if not wanted:
            return list(parts)

        def having(part: Part, names: tuple[str, ...]) -> Part:
            change: dict[str, Any] = {field: names}
            return replace(part, **change)

        own = [(part, tuple(n for n in wanted if n in getattr(part, field))) for part in parts]
        strange = tuple(n for n in wanted if not any(n in names for _, names in own))
        kept = [having(part, names) for part, names in own if names]
        return kept + ([having(parts[0], strange)] if strange else [])

    parts = chosen(chosen(suite.parts, "tasks", tasks), "networks", networks)
    if rules:
        parts = [replace(part, rules=tuple(rules), without=()) for part in parts]
    return replace(suite, parts=tuple(parts))


def plan(
    suite: Suite,
    seeds: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    own_recipes: Path | None = None,
) -> list[Planned]:
    """All cells of a suite with their seeds, recipes applied, names and options checked.

    own_recipes: a folder of recipes that come before the package's."""
    cells = []
    for part in suite.parts:
        if seeds is not None:
            part = replace(part, seeds=seeds)
        if epochs is not None:
            part = replace(part, epochs=epochs)
        _check_budget(part)
        rules: list[Label] = []
        for label in part.rules:
            rules += sorted(set(registry.table("rule")) - set(part.without)) if label == "all" else [label]
        for task in part.tasks:
            for network in part.networks:
                cells += [_cell(part, task, network, rule, learning_rate, own_recipes) for rule in rules]
    unique: dict[str, Planned] = {}
    for cell in cells:
        unique.setdefault(cell.specs[0].cell, cell)
    return list(unique.values())


def _check_budget(part: Part) -> None:
    for name in ("seeds", "epochs", "batch_size"):
        value = getattr(part, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CreditbenchError(f"{name} is {value!r} and must be a whole number of at least 1.")


def _cell(
    part: Part, task: str, network: str, rule: Label, rate: float | None, own_recipes: Path | None
) -> Planned:
    the_task = load_task(task)
    network_name, options = parse_label(network)
    builder = registry.load("network", network_name)
    label, given = parse_label(rule) if isinstance(rule, str) else (rule, {})
    kind = load_rule(label)
    own_network = registry.own_name(builder)
    chosen = recipe(kind.name, the_task.name, own_network, (own_recipes,) if own_recipes else (), given)
    options = checked(builder, f"network '{own_network}'", options)
    choices = own_choices(kind, builder, network) | {
        key: value for key, value in chosen.network_choices.items() if key not in parse_label(network)[1]
    }
    choices = checked(builder, f"network '{own_network}'", choices)
    settings = checked(kind, f"rule '{kind.name}'", {**chosen.hyperparameters, **given})
    by_hand = chosen.variant != given or (rate is not None and not kind.own_step_size)
    if kind.own_step_size:
        rate = None
    elif rate is None:
        rate = chosen.learning_rate
    spec = Spec(
        task=the_task.name,
        task_version=the_task.version,
        network=format_label(own_network, options),
        rule=kind.name,
        seed=0,
        learning_rate=rate,
        epochs=part.epochs,
        batch_size=part.batch_size,
        schedule=part.schedule,
        train_samples=part.train_samples,
        augmentation=part.augmentation,
        network_choices=choices,
        hyperparameters=settings,
    )
    specs = tuple(spec.with_seed(seed) for seed in range(part.seeds))
    origin = Origin(task, network_name, label)
    if by_hand:
        return Planned(specs, origin, BY_HAND, given)
    return Planned(specs, origin, chosen.origin, given, chosen.cost)


def own_choices(kind: type[LearningRule], builder: Any, network: str) -> dict[str, Any]:
    """What a rule's definition asks of a network, where the network has it and its label does not say."""
    has, given = inspect.signature(builder).parameters, parse_label(network)[1]
    return {key: value for key, value in kind.network_choices.items() if key in has and key not in given}


def load_task(name: str) -> Task:
    task = registry.load("task", name)
    if not isinstance(task, Task):
        raise CreditbenchError(f"{name} is not a Task; write NAME = Task(name=..., read=...).")
    return task


def load_rule(label: Label) -> type[LearningRule]:
    with sealed_test_data():  # a rule's file has no business with it, not even while it is imported
        kind = registry.load("rule", label) if isinstance(label, str) else label
    check_rule(kind, str(label))
    return kind


def make_rule(kind: type[LearningRule], settings: Mapping[str, Any]) -> LearningRule:
    """A rule with its hyperparameters; its own complaints about their values pass through."""
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise CreditbenchError(f"Rule '{kind.name}' refuses {dict(settings)}: {error}.") from error


def checked(thing: Any, what: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that exist, of the type their default has; those equal to the default are left out."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(thing).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    kept = {}
    for name, value in options.items():
        if name not in defaults:
            raise unknown_name(f"option of {what} called", name, defaults)
        default = defaults[name]
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        known = default is None or value is None or isinstance(value, type(default))
        if not known or (isinstance(value, bool) != isinstance(default, bool) and default is not None):
            raise CreditbenchError(
                f"{what} takes {name} as {type(default).__name__} (default {default!r}), not {value!r}."
            )
        if value != default:
            kept[name] = value
    return kept
