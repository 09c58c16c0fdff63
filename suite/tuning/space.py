"""What may be tried for a rule: a range of learning rates and lists of choices, as the rule declares them."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.specification import Spec, format_label
from creditbench.suite.types import LearningRule

# The rest of a search space are fields of the rule.
NETWORK_OPTIONS = ("activation", "normalisation", "surrogate")
DIGITS = 3  # of a learning rate: more would pretend that they matter


@dataclass(frozen=True)
class Space:
    """One declared search space. `rates` is None for a rule with a step size of its own."""

    rates: tuple[float, float] | None
    choices: Mapping[str, tuple[Any, ...]]

    @property
    def combinations(self) -> tuple[dict[str, Any], ...]:
        """All choices against one another."""
        return tuple(
            dict(zip(self.choices, values, strict=True))
            for values in itertools.product(*self.choices.values())
        )

    def as_data(self) -> dict[str, list[Any]]:
        """For provenance: name -> the ends of a range, or the values of a choice."""
        rates = {} if self.rates is None else {"learning_rate": list(self.rates)}
        return rates | {name: list(values) for name, values in self.choices.items()}


@dataclass(frozen=True)
class Point:
    """One setting: what a trial tries."""

    learning_rate: float | None
    choices: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The choices in one spelling: "activation=tanh,similarity=dot"."""
        return format_label("", self.choices).lstrip(":")

    def of(self, spec: Spec) -> Spec:
        """A specification with these settings."""
        network = {name: value for name, value in self.choices.items() if name in NETWORK_OPTIONS}
        rule = {name: value for name, value in self.choices.items() if name not in NETWORK_OPTIONS}
        choices = {**spec.network_choices, **network}  # on top of what the rule's definition asks for
        return replace(spec, learning_rate=self.learning_rate, network_choices=choices, hyperparameters=rule)


def declared(kind: type[LearningRule], builder: Callable[..., Any], given: Collection[str] = ()) -> Space:
    """The search space of a rule on a network, checked.

    A rule's `search` may name options of networks; those that this network lacks are left out, and so are
    those that are `given` as part of the problem ("mlp:activation=tanh")."""
    with sealed_test_data():
        search, rates = dict(kind.search), kind.learning_rates
    options = inspect.signature(builder).parameters
    choices: dict[str, tuple[Any, ...]] = {}
    for name, values in search.items():
        if isinstance(values, str) or not values or not all(_is_plain(value) for value in values):
            raise CreditbenchError(
                f"Rule '{kind.name}' searches {name} over {values!r}; give a sequence of numbers, words,"
                " True, False or None."
            )
        if name in NETWORK_OPTIONS and (name not in options or name in given):
            continue
        if name not in NETWORK_OPTIONS and name not in inspect.signature(kind).parameters:
            raise CreditbenchError(
                f"Rule '{kind.name}' searches {name}, which is neither a field of it nor one of"
                f" {', '.join(NETWORK_OPTIONS)}."
            )
        choices[name] = tuple(values)
    if kind.own_step_size:
        return Space(None, choices)
    try:
        low, high = (float(rate) for rate in rates)
        sound = 0 < low < high < math.inf
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise CreditbenchError(
            f"Rule '{kind.name}' declares learning_rates = {rates!r}; give the lowest and the highest to try."
        )
    return Space((low, high), choices)


def rounded(rate: float) -> float:
    return float(f"{rate:.{DIGITS}g}")


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
