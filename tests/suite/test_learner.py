"""Seeds together, updates as they come, digests: what training stands on."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from creditbench.suite import registry
from creditbench.suite.batches import Batches
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Digest, build_network, deviation
from creditbench.suite.plan import load_rule, own_choices
from creditbench.suite.snapshot import restore, snapshot
from creditbench.suite.types import (
    Batch,
    Block,
    Context,
    LearningRule,
    Network,
    State,
    Step,
    Tensors,
)
from tools import CPU, learner, network, toy_batch, toy_task, updates

RULES = sorted(registry.table("rule"))
SHAPE = (1, 8, 8)


def steps(rule: str, name: str, seeds: list[int], rates: list[float] | None = None) -> dict[str, Tensor]:
    """Three steps on batches that depend on the seed alone."""
    kind = load_rule(rule)
    task = toy_task(SHAPE)
    options = {"width": 6, **own_choices(kind, registry.load("network", name), name)}
    if reason := kind().supports(network(task, name, **options), task):
        pytest.skip(reason)
    if len(seeds) > 1 and not kind.together:
        pytest.skip(f"{rule} trains one seed at a time")
    model = learner(kind(), task, name, seeds, rates or [1e-3] * len(seeds), **options)
    for step in range(3):
        parts = [toy_batch(shape=SHAPE, seed=100 * seed + step) for seed in seeds]
        model.step(Batch(torch.cat([p.inputs for p in parts]), torch.cat([p.targets for p in parts])))
    return model.tensors()


def alike(one: Tensor, other: Tensor, rate: float = 1e-3) -> bool:
    """To a hundredth of what three steps move on average: where updates cancel, Adam makes steps of what
    rounding leaves."""
    return bool((one - other).abs().mean() <= 0.01 * 3 * rate)


@pytest.mark.parametrize("name", ["mlp", "conv"])
@pytest.mark.parametrize("rule", RULES)
def test_seeds_trained_together_come_out_as_one_by_one(rule: str, name: str) -> None:
    together = steps(rule, name, [2, 7, 4])
    for place, seed in enumerate([2, 7, 4]):
        for key, tensor in steps(rule, name, [seed]).items():
            assert alike(tensor[0], together[key][place]), key


@pytest.mark.parametrize("rule", RULES)
def test_a_seed_does_not_depend_on_which_seeds_ride_along(rule: str) -> None:
    """Three companions or three others: bit for bit the same."""
    first, second = steps(rule, "mlp", [5, 0, 1]), steps(rule, "mlp", [5, 8, 9])
    for key in first:
        assert torch.equal(first[key][0], second[key][0]), key


@pytest.mark.parametrize("rule", RULES)
def test_learning_rates_tried_together_come_out_as_one_by_one(rule: str) -> None:
    together = steps(rule, "mlp", [3, 3], [1e-3, 1e-2])
    for place, rate in enumerate([1e-3, 1e-2]):
        for key, tensor in steps(rule, "mlp", [3], [rate]).items():
            assert alike(tensor[0], together[key][place], rate), key


@dataclass(frozen=True)
class Scripted(LearningRule):
    """Yields what a test puts in."""

    name: ClassVar[str] = "scripted"
    source: ClassVar[str] = "test"
    yields: Any = ()
    carries: Any = None

    def init(self, network: Network, context: Context) -> State:
        return State(learned={"head": torch.zeros(network.seeds, 2)}, carried={"count": torch.zeros(1)})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        for target, update in self.yields:
            yield (network.blocks[target] if isinstance(target, int) else target), update
        return self.carries


def bias(model_width: int = 256) -> Tensor:
    return torch.ones(1, model_width)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((0, {"wieght": bias()}), "'wieght' for '0', which has weight, bias"),
        ((0, {"bias": torch.ones(256)}), r"shape \[256\] for '0', 'bias', which has shape \[1, 256\]"),
        ((0, {"bias": torch.ones(1, 256).double()}), "an update of torch.float64 for '0', 'bias'"),
        (("haed", torch.ones(1, 2)), "'haed'"),
        ((0, torch.ones(1, 256)), "an update for '0'"),
    ],
)
def test_an_update_of_wrong_name_or_shape_is_explained(wrong: Any, words: str) -> None:
    with pytest.raises(CreditbenchError, match=words) as caught:
        learner(Scripted(yields=(wrong,))).step(toy_batch())
    assert "scripted" in str(caught.value)
    assert "Yield (block, {parameter: update})" in str(caught.value)


def test_a_step_that_is_no_generator_of_pairs_is_explained() -> None:
    @dataclass(frozen=True)
    class Whole(Scripted):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            return {"0": 1}  # type: ignore[return-value]

    with pytest.raises(CreditbenchError, match="must be a generator"):
        learner(Whole()).step(toy_batch())


def test_an_update_is_applied_before_the_rule_goes_on() -> None:
    seen = []

    @dataclass(frozen=True)
    class Peeks(Scripted):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            first = network.blocks[0]
            seen.append(first.parameters["bias"].clone())
            yield first, {"bias": bias()}
            seen.append(first.parameters["bias"].clone())

    learner(Peeks(), rate=0.1).step(toy_batch())
    assert torch.allclose(seen[1], seen[0] - 0.1, atol=1e-5)  # Adam's first step is the learning rate


def test_what_is_not_yielded_does_not_move() -> None:
    model = learner(Scripted(yields=((0, {"bias": bias()}), ("head", torch.ones(1, 2)))))
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    model.step(toy_batch())
    moved = {name for name, tensor in model.tensors().items() if not torch.equal(tensor, before[name])}
    assert moved == {"0.bias", "learned.head"}


def test_an_update_in_another_memory_order_is_applied_value_by_value() -> None:
    """torch's fused optimizers read a gradient in memory order whatever its strides."""
    update = torch.randn(1, 256, 16, generator=torch.Generator().manual_seed(0))
    turned = update.mT.contiguous().mT
    assert turned.stride() != update.stride()
    results = []
    for own in (update, turned):
        model = learner(Scripted(yields=((0, {"weight": own}),)), rate=0.1)
        for _ in range(2):
            model.step(toy_batch())
        results.append(model.network.blocks[0].weight)
    assert torch.equal(results[0], results[1])


@dataclass(frozen=True)
class Uneven(LearningRule):
    """Yields parts of blocks together, apart, twice or not at all, and a learned tensor; from step to step
    otherwise."""

    name: ClassVar[str] = "uneven"
    source: ClassVar[str] = "test"

    def init(self, network: Network, context: Context) -> State:
        return State(learned={"head": context.noise.normal(5)})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, *rest = network.blocks
        drawn = [{k: self.random(p, context) for k, p in b.parameters.items()} for b in network.blocks]
        yield first, drawn[0]
        for block, own in list(zip(rest, drawn[1:], strict=True))[context.step % 2 :]:
            for key, update in own.items():
                yield block, {key: update}
        yield first, {"bias": drawn[0]["bias"]}
        yield "head", context.noise.normal(5)

    def random(self, like: Tensor, context: Context) -> Tensor:
        return context.noise.normal(*like.shape[1:])

    def weight_decay(self) -> float:
        return 0.1


@dataclass(frozen=True)
class UnevenOwn(Uneven):
    own_step_size: ClassVar[bool] = True


@dataclass(frozen=True)
class UnevenPartly(Uneven):
    def own_steps(self, network: Network) -> tuple[str, ...]:
        return ("0", "head")


@pytest.mark.parametrize("rates", [[0.01], [0.01, 0.01], [0.01, 0.03]])
@pytest.mark.parametrize("kind", [Uneven, UnevenOwn, UnevenPartly])
def test_weights_move_to_the_bit_as_under_the_step_of_torch_optim(
    kind: type[Uneven], rates: list[float]
) -> None:
    """Forty steps, written down and gone on from half-way; beside them an optimizer of torch for each seed,
    and another for what takes whole steps."""
    model = learner(kind(), seeds=range(len(rates)), rate=rates)
    beside = {name: [p.clone() for p in tensor] for name, tensor in model.tensors().items()}
    whole = {name for name in beside if kind is UnevenPartly and name.split(".")[0] in ("0", "learned")}
    oracles: list[tuple[int, torch.optim.Optimizer]] = []
    for seed, rate in enumerate(rates):
        rest = [own[seed] for name, own in beside.items() if name not in whole]
        make = torch.optim.SGD if kind is UnevenOwn else torch.optim.AdamW
        own_rate = 1.0 if kind is UnevenOwn else rate
        oracles.append((seed, make(rest, lr=own_rate, weight_decay=0.1, fused=True)))
        if whole:
            oracles.append((seed, torch.optim.SGD([beside[name][seed] for name in whole], 1.0, fused=True)))

    def follow(target: Block | str, update: Tensors | Tensor) -> None:
        named = {"learned": update} if isinstance(update, Tensor) else update
        for seed, optimizer in oracles:
            for key, direction in named.items():
                name = f"learned.{target}" if isinstance(target, str) else f"{target.name}.{key}"
                beside[name][seed].grad = direction[seed]
            optimizer.step()
            for own in beside.values():
                own[seed].grad = None

    batches = Batches(model.task, model.task.read().train, range(len(rates)), 20)
    for step in range(40):
        if step == 20:
            saved = copy.deepcopy(snapshot(model, batches))
            model = learner(kind(), seeds=range(len(rates)), rate=rates)
            restore(model, batches, saved)
        model.step(toy_batch(len(rates)), follow)
    for name, tensor in model.tensors().items():
        assert torch.equal(tensor, torch.stack(beside[name])), name


def test_what_a_step_returns_is_carried_on() -> None:
    model = learner(Scripted(carries={"count": torch.ones(1)}))
    model.step(toy_batch())
    assert model.state.carried["count"].item() == 1
    assert "head" in model.state.learned


def test_a_rule_with_an_own_step_size_descends_by_exactly_its_update() -> None:
    @dataclass(frozen=True)
    class Own(Scripted):
        own_step_size: ClassVar[bool] = True

    model = learner(Own(yields=((0, {"bias": bias()}),)), rate=0.123)
    before = model.network.blocks[0].parameters["bias"].clone()
    model.step(toy_batch())
    assert torch.allclose(model.network.blocks[0].parameters["bias"], before - 1)


def test_only_the_targets_that_a_rule_names_take_its_own_steps() -> None:
    @dataclass(frozen=True)
    class Partly(Scripted):
        def own_steps(self, network: Network) -> tuple[str, ...]:
            return ("0", "head")

        def weight_decay(self) -> float:
            return 0.5  # the others'

    script = ((0, {"bias": bias()}), ("head", torch.ones(1, 2)), (1, {"bias": bias()}))
    for rates in ([0.1], [0.1, 0.2]):
        wide = tuple((t, {k: x.expand(len(rates), *x.shape[1:]) for k, x in u.items()}) if isinstance(u, dict)
                     else (t, u.expand(len(rates), -1)) for t, u in script)  # fmt: skip
        model = learner(Partly(yields=wide), seeds=range(len(rates)), rate=rates)
        model.optimizer.schedule = lambda progress: 0.5
        before = {name: tensor.clone() for name, tensor in model.tensors().items()}
        model.step(toy_batch(len(rates)))
        after = model.tensors()
        assert torch.allclose(after["0.bias"], before["0.bias"] - 1)
        assert torch.allclose(after["learned.head"], before["learned.head"] - 1)
        for place, rate in enumerate(rates):  # Adam's first step is as long as its rate, whatever the update
            expected = before["1.bias"][place] * (1 - 0.5 * 0.5 * rate) - 0.5 * rate
            assert torch.allclose(after["1.bias"][place], expected, atol=1e-6)


def test_own_steps_of_what_does_not_exist_are_an_error() -> None:
    @dataclass(frozen=True)
    class Lost(Scripted):
        def own_steps(self, network: Network) -> tuple[str, ...]:
            return ("9",)

    with pytest.raises(CreditbenchError, match="own_steps '9'"):
        learner(Lost())


def test_own_steps_of_a_name_that_a_block_and_a_learned_tensor_share_are_an_error() -> None:
    @dataclass(frozen=True)
    class Shared(Scripted):
        def init(self, network: Network, context: Context) -> State:
            return State({"0": torch.ones(network.seeds, 2)})

        def own_steps(self, network: Network) -> tuple[str, ...]:
            return ("0",)

    with pytest.raises(CreditbenchError, match="'0' in own_steps, which is a block and a learned tensor"):
        learner(Shared())


def test_constraints_hold_after_every_update() -> None:
    @dataclass(frozen=True)
    class Clipped(Scripted):
        def constrain(self, target: str, parameters: Tensors) -> Tensors:
            return {name: tensor.clamp(-0.05, 0.05) for name, tensor in parameters.items()}

    model = learner(Clipped(yields=((0, {"bias": bias()}), ("head", torch.ones(1, 2)))), rate=1.0)
    model.step(toy_batch())
    assert model.network.blocks[0].parameters["bias"].abs().max() <= 0.05
    assert model.state.learned["head"].abs().max() <= 0.05
    assert model.network.blocks[0].weight.abs().max() > 0.05  # it was not updated


def test_weight_decay_shrinks_weights_and_learned_tensors_alike() -> None:
    @dataclass(frozen=True)
    class Decays(Scripted):
        def weight_decay(self) -> float:
            return 0.5

    model = learner(Decays(yields=((0, {"weight": torch.zeros(1, 256, 16)}),)), rate=0.1)
    before = model.network.blocks[0].weight.clone()
    model.step(toy_batch())
    assert torch.allclose(model.network.blocks[0].weight, before * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [("linear", 0.0, 1.0), ("linear", 1.0, 0.02), ("linear", 0.5, 0.51), ("constant", 0.9, 1.0),
     ("steps", 0.49, 1.0), ("steps", 0.5, 0.25), ("steps", 0.95, 0.25**4)],
)  # fmt: skip
def test_schedules_are_what_they_say(schedule: str, progress: float, factor: float) -> None:
    from creditbench.suite.optimizer import SCHEDULES

    assert SCHEDULES[schedule](progress) == pytest.approx(factor)


def test_the_schedule_reaches_every_learning_rate() -> None:
    model = learner(Scripted(), seeds=(0, 1), rate=[0.1, 0.2])
    model.optimizer.schedule = lambda progress: 1 - progress
    model.optimizer.set_progress(0.5)
    assert [group["lr"] for group in model.optimizer.optimizer.param_groups] == [0.05, 0.1]


def test_an_unknown_schedule_is_named_with_those_that_exist() -> None:
    from creditbench.suite.optimizer import Optimizer

    model = learner(Scripted())
    with pytest.raises(CreditbenchError, match="Did you mean 'linear'"):
        Optimizer(model.network, model.state, model.rule, [0.1], "linaer")


def test_equal_work_has_equal_digests_and_other_work_has_not() -> None:
    def digest(rule: LearningRule, seed: int = 0) -> Mapping[str, list[float]]:
        model = learner(rule, seeds=(seed,))
        start = Digest(model)
        for step in range(3):
            model.step(toy_batch(seed=step))
        return start.read(model)[0]

    fa, dfa = load_rule("fa"), load_rule("dfa")
    assert deviation(digest(fa()), digest(fa())) == 0
    assert deviation(digest(fa()), digest(fa(), seed=1)) > 0.01
    assert deviation(digest(fa()), digest(dfa())) > 0.01
    assert deviation(digest(fa()), digest(load_rule("sigprop")())) == float("inf")


def test_a_network_that_does_not_end_in_the_classes_is_refused() -> None:
    def builder(input_shape: tuple[int, ...], outputs: int) -> tuple[Block, ...]:
        return tuple(registry.load("network", "mlp")(input_shape, outputs + 1))

    with pytest.raises(CreditbenchError, match=r"ends in shape \[4\] and task 'toy' needs \[3\]"):
        build_network(toy_task(), "mine", builder, {}, [0], CPU)


def test_dropout_and_feedback_are_drawn_per_seed() -> None:
    model = learner(load_rule("fa")(), seeds=(0, 1), dropout=0.5)
    assert not torch.equal(model.state.carried["1"][0], model.state.carried["1"][1])
    found = updates(model, toy_batch(seeds=2))
    assert not torch.equal(found["0.bias"][0] == 0, found["0.bias"][1] == 0)


def test_a_step_takes_numbers_too_small_for_full_precision_for_zero_and_nothing_after_it_does() -> None:
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot")
    seen = []

    @dataclass(frozen=True)
    class Looks(Scripted):
        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            seen.append(torch.tensor([1e-40]) * 1)
            yield network.blocks[0], {"bias": bias()}
            seen.append(torch.tensor([1e-40]) * 1)
            if batch.targets.shape[1] == 3:
                raise ValueError("a rule that fails")

    model = learner(Looks())
    model.step(toy_batch())
    seen.append(torch.tensor([1e-40]) * 1)
    with pytest.raises(ValueError, match="fails"):
        model.step(toy_batch(samples=3))
    seen.append(torch.tensor([1e-40]) * 1)
    assert [tensor.item() > 0 for tensor in seen] == [False, False, True, False, False, True]
