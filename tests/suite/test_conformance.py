"""The conformance suite: built-in rules hold, and each clause catches its own breach."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest
import torch

from creditbench.suite import registry
from creditbench.suite.conformance import check
from creditbench.suite.tuning.space import NETWORK_OPTIONS
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task


@pytest.mark.parametrize("rule", sorted(registry.table("rule")))
def test_built_in_rules_conform(rule: str) -> None:
    clauses = list(check(rule))
    assert len(clauses) >= 16  # of a rule that one network suits; more for others
    assert not [clause for clause in clauses if clause.holds is False]


@dataclass(frozen=True)
class Base(LearningRule):
    """The output layer alone: a rule that conforms, for others to break."""

    name: ClassVar[str] = "base"
    source: ClassVar[str] = "test"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        last = network.blocks[-1]
        yield last, last.update(traces[-1], context.loss.gradient(traces[-1].output, batch.targets))


def broken(kind: type[LearningRule]) -> str:
    return " | ".join(f"{c.sentence} ({c.why})" for c in check(kind) if c.holds is False)


def test_the_base_conforms() -> None:
    assert broken(Base) == ""


def test_a_rule_that_writes_to_the_network_is_caught() -> None:
    @dataclass(frozen=True)
    class Writes(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            network.blocks[0].weight.mul_(1.01)
            yield from super().step(network, batch, state, context)

    assert "changed the network's '0.weight' in place" in broken(Writes)


def test_a_rule_that_writes_to_its_state_or_the_batch_is_caught() -> None:
    @dataclass(frozen=True)
    class Counts(Base):
        def init(self, network: Network, context: Context) -> State:
            return State(carried={"count": torch.zeros(network.seeds)})

        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            state.carried["count"].add_(1)
            batch.inputs.add_(1)
            yield from Base.step(self, network, batch, state, context)

    assert "changed the carried 'count' in place" in broken(Counts)


def test_a_rule_that_draws_globally_is_caught() -> None:
    @dataclass(frozen=True)
    class Draws(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            with torch.random.fork_rng():
                noise = torch.rand(1).item()
            for block, update in Base.step(self, network, batch, state, context):
                yield block, {k: u * (1 + noise) for k, u in update.items()}  # type: ignore[union-attr]
            torch.rand(1)

    state = torch.get_rng_state()
    found = broken(Draws)
    torch.set_rng_state(state)
    assert "a global random generator was used" in found


def test_a_rule_that_mixes_seeds_is_caught_unless_it_asks_for_one() -> None:
    @dataclass(frozen=True)
    class Mixes(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            for block, update in Base.step(self, network, batch, state, context):
                yield block, {k: u + u.mean(0, keepdim=True) for k, u in update.items()}  # type: ignore[union-attr]

    assert "when trained beside others" in broken(Mixes)

    @dataclass(frozen=True)
    class Alone(Mixes):
        together: ClassVar[bool] = False

    assert broken(Alone) == ""


def test_wrong_names_and_nan_are_caught() -> None:
    @dataclass(frozen=True)
    class Misnames(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            yield network.blocks[-1], {"weigth": network.blocks[-1].weight}

    @dataclass(frozen=True)
    class Breaks(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            yield network.blocks[-1], {"weight": network.blocks[-1].weight / 0}

    assert "'weigth'" in broken(Misnames)
    assert "is not finite" in broken(Breaks)


def test_a_step_without_yield_is_caught() -> None:
    @dataclass(frozen=True)
    class Whole(Base):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Any:
            return []

    assert "step has no yield" in broken(Whole)


def test_thawed_undescribed_and_greedy_rules_are_caught() -> None:
    class Plain(LearningRule):
        name = "plain"
        source = ""

        def __init__(self, **anything: object) -> None:
            pass

        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            yield from ()

    found = broken(Plain)
    assert "source is missing" in found
    assert "no_such_hyperparameter=1 was accepted" in found


def test_wrong_scores_are_caught() -> None:
    @dataclass(frozen=True)
    class Argmax(Base):
        def predict(self, network: Network, inputs: torch.Tensor, state: State) -> torch.Tensor:
            return network(inputs).argmax(-1)

    assert "predict returned shape" in broken(Argmax)


def test_an_empty_reason_and_a_rule_that_supports_nothing_are_caught() -> None:
    @dataclass(frozen=True)
    class Mute(Base):
        def supports(self, network: Network, task: Task) -> str | None:
            return ""

    @dataclass(frozen=True)
    class Refuses(Base):
        def supports(self, network: Network, task: Task) -> str | None:
            return "never"

    assert "supports returns None or a sentence" in broken(Mute)
    assert "supports at least one" in broken(Refuses)


@pytest.mark.parametrize("rule", sorted(registry.table("rule")))
def test_what_a_built_in_rule_lets_tuning_try_exists(rule: str) -> None:
    kind = registry.load("rule", rule)
    own = {field.name for field in fields(kind)} | set(NETWORK_OPTIONS)
    assert set(kind.search) <= own
    assert kind.source
