"""From records back to what would make them again: the cells of a folder, and the command for each."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from creditbench.suite import registry, suites
from creditbench.suite.api import DEFAULT_FOLDER, planned
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.plan import Label, Origin, Planned, load_rule
from creditbench.suite.specification import Spec, format_label, parse_label

# --seeds N trains all seeds below N. Nobody wants a command for more, and a record may hold any number.
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Known:
    """Where the names in records are to be found: what is installed, and rules given by their files.

    suites: looked through, in this order, for one that holds a run."""

    rules: Mapping[str, Label] = field(default_factory=dict)  # own name -> path
    suites: tuple[str, ...] = ()

    @classmethod
    def of(cls, labels: Sequence[str] = (), suite: str | None = None) -> Known:
        paths = [label for label in labels if ".py:" in label]
        rules = {load_rule(parse_label(label)[0]).name: label for label in paths}
        first = () if suite is None else (suite,)
        return cls(rules, first + tuple(name for name in suites.paths() if name != suite))

    def origin(self, spec: Spec) -> Origin:
        """Raises CreditbenchError for names that nothing bears any more."""
        network = parse_label(spec.network)[0]
        wanted: tuple[tuple[registry.Kind, str], ...] = (("task", spec.task), ("network", network))
        for kind, name in wanted:
            if name not in registry.table(kind):
                raise CreditbenchError(f"no {kind} '{name}' is installed")
        if spec.rule not in self.rules and spec.rule not in registry.table("rule"):
            raise CreditbenchError(
                f"no rule '{spec.rule}' is installed; name its file with --rule FILE.py:CLASS"
            )
        label = self.rules.get(spec.rule, spec.rule)
        return Origin(spec.task, network, parse_label(label)[0] if isinstance(label, str) else label)

    @cached_property
    def _held(self) -> dict[str, str]:
        """Key of a run -> the suite that holds it."""
        held: dict[str, str] = {}
        for suite in self.suites:
            try:
                cells = planned(suite)
            except CreditbenchError:
                continue  # a suite of the user's that cannot be planned here makes no commands
            for cell in cells:
                for spec in cell.specs:
                    held.setdefault(spec.key, suite)
        return held

    def command(self, specs: Sequence[Spec], folder: str) -> str | None:
        """What to type to have these seeds of one cell done; None if nothing does.

        It is tried by planning it, lest it train something else: a recipe may have changed since."""
        first = specs[0]
        task, network, rate = first.task, first.network, first.learning_rate
        label = str(self.rules.get(first.rule, first.rule))
        named = format_label(parse_label(label)[0], first.hyperparameters)
        seeds, wanted = max(spec.seed for spec in specs) + 1, {spec.key for spec in specs}

        def holds(suite: str | None, rule: str, *budget: Any) -> bool:
            try:
                cells = planned(suite, task, network, rule, *budget)
            except CreditbenchError:
                return False
            return wanted <= {spec.key for cell in cells for spec in cell.specs}

        words = ["--task", task, "--network", network]
        where = [] if folder == DEFAULT_FOLDER else ["--results", folder]
        suite = self._held.get(first.key)
        if suite is not None and holds(suite, label):
            return shlex.join(["creditbench", "run", suite, *words, "--rule", label, *where])
        if seeds <= MOST_SEEDS and holds(None, named, seeds, first.epochs, rate):
            words += ["--rule", named, "--seeds", str(seeds), "--epochs", str(first.epochs)]
            words += [] if rate is None else ["--learning-rate", repr(rate)]
            return shlex.join(["creditbench", "run", *words, *where])
        return None


def by_cell(specs: Iterable[Spec]) -> list[tuple[Spec, ...]]:
    """Specs by cell, seeds in order."""
    cells: dict[str, dict[int, Spec]] = {}
    for spec in specs:
        cells.setdefault(spec.cell, {})[spec.seed] = spec
    return [tuple(own[seed] for seed in sorted(own)) for own in cells.values()]


def cells_of(specs: Iterable[Spec], known: Known) -> tuple[list[Planned], dict[str, list[Spec]]]:
    """Stored specs as planned cells, and those whose names are unknown here, by what is unknown."""
    found: list[Planned] = []
    strange: dict[str, list[Spec]] = {}
    for own in by_cell(specs):
        try:
            found.append(Planned(own, known.origin(own[0]), "stored"))
        except CreditbenchError as error:
            strange.setdefault(str(error), []).extend(own)
    return found, strange
