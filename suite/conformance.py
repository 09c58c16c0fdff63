"""The conformance suite: what every learning rule must hold to, clause by clause.

Built-in rules are held to it by the tests, anybody's by `creditbench check`. It runs on a tiny network
and random data, on the CPU, without the harness's data or records.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite import registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.evaluate import with_statistics
from creditbench.suite.learner import Learner, build_network, is_for_series
from creditbench.suite.plan import Label, load_rule, make_rule
from creditbench.suite.specification import parse_label
from creditbench.suite.types import Batch, LearningRule, Network, Split, Splits, Task, refusal

INPUT, CLASSES, SAMPLES = (1, 6, 6), 4, 12
SERIES = (5, 3)  # steps, time and features
NETWORKS = (
    "mlp:width=9", "mlp:width=7,depth=4", "mlp:width=9,normalisation=layer", "mlp:width=9,activation=sigmoid",
    "conv:width=3", "mlp:width=9,activation=identity", "conv:width=3,activation=identity,pooling=mean",
    "snn:width=9,depth=2,steps=4", "snn:width=9,neuron=alif,recurrent=true,steps=4",
    "csnn:width=3,units=9,steps=3",
    "rnn-dt:width=7", "ct-rnn:width=7,solver=euler,unfolds=1", "ode-lstm:width=7",
)  # fmt: skip


@dataclass(frozen=True)
class Clause:
    """One sentence, whether it holds (None: does not apply here), and what was seen if not."""

    sentence: str
    holds: bool | None
    why: str = ""


class Broken(AssertionError):
    """What was seen instead."""


def check(label: Label) -> Iterator[Clause]:
    """All clauses for a rule of this name, path or class, in order."""
    kind = load_rule(label)
    yield _clause("it is a frozen dataclass whose fields are its hyperparameters", lambda: _frozen(kind))
    yield _clause("it has a name, a source and a docstring", lambda: _described(kind))
    yield _clause("a misspelt hyperparameter is an error", lambda: _misspelt(kind))
    try:
        rule = make_rule(kind, {})
    except CreditbenchError as error:
        yield Clause("it can be made with defaults alone", False, str(error))
        return
    able = 0
    for network in (*NETWORKS, *kind.own_networks):
        try:
            reason = _reason(rule, network)
        except Broken as error:
            yield Clause(f"on {network}: supports returns None or a sentence", False, str(error))
            continue
        if reason is not None:
            yield Clause(f"on {network}: it says why it cannot", None, reason)
            continue
        able += 1
        for sentence, clause in CLAUSES.items():
            if clause is _alone and not rule.together:
                yield Clause(f"on {network}: {sentence}", None, "it asks for one seed at a time")
                continue
            yield _clause(f"on {network}: {sentence}", lambda c=clause, n=network: c(rule, n))  # type: ignore[misc]
    yield Clause("it supports at least one of the networks tried", able > 0)


def _clause(sentence: str, test: Callable[[], None]) -> Clause:
    try:
        test()
    except (Broken, CreditbenchError) as error:
        return Clause(sentence, False, str(error))
    except Exception as error:  # a rule's own bug: any kind
        return Clause(sentence, False, f"{type(error).__name__}: {error}")
    return Clause(sentence, True)


def _frozen(kind: type[LearningRule]) -> None:
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise Broken("write @dataclass(frozen=True) above the class")


def _described(kind: type[LearningRule]) -> None:
    for attribute in ("name", "source", "__doc__"):
        if not isinstance(getattr(kind, attribute, None), str) or not getattr(kind, attribute):
            raise Broken(f"{attribute} is missing or empty")


def _misspelt(kind: type[LearningRule]) -> None:
    try:
        make: Callable[..., object] = kind
        make(no_such_hyperparameter=1)
    except TypeError:
        return
    raise Broken("no_such_hyperparameter=1 was accepted")


def _task(label: str) -> Task:
    """Images, or series for a network that is made for them."""

    def read() -> Splits:
        raise CreditbenchError("The conformance task has no data.")

    if is_for_series(registry.load("network", parse_label(label)[0])):
        return Task("conformance", 1, "series", SERIES, CLASSES, read)
    return Task("conformance", 1, "image", INPUT, CLASSES, read)


def _batch(label: str, seeds: list[int], step: int = 0) -> Batch:
    """Each seed's batch depends on the seed and the step alone; every class occurs. Series are irregular, and
    half of them end early."""
    inputs, targets = [], []
    task = _task(label)
    for seed in seeds:
        generator = torch.Generator().manual_seed(1000 * seed + step)
        inputs.append(torch.randn(SAMPLES, *task.input_shape, generator=generator))
        if task.kind == "series":
            inputs[-1][..., 0] = inputs[-1][..., 0].abs().cumsum(-1)
            inputs[-1][: SAMPLES // 2, -2:] = torch.nan
        order = torch.randperm(SAMPLES, generator=generator)
        targets.append(torch.arange(SAMPLES)[order] % CLASSES)
    return Batch(torch.stack(inputs), torch.stack(targets))


def _network(label: str, seeds: list[int]) -> Network:
    name, options = parse_label(label)
    builder = registry.load("network", name)
    return build_network(_task(label), label, builder, options, seeds, torch.device("cpu"))


def _reason(rule: LearningRule, label: str) -> str | None:
    reason = refusal(rule, _network(label, [0]), _task(label))
    if reason is not None and not (isinstance(reason, str) and reason.strip()):
        raise Broken(f"it returned {reason!r}")
    return reason


def _learner(rule: LearningRule, label: str, seeds: list[int]) -> Learner:
    rates = [1e-3] * len(seeds)
    return Learner(_task(label), _network(label, seeds), rule, seeds, rates, "constant", 100)


def _steps(model: Learner, label: str, seeds: list[int], count: int = 3) -> dict[str, Tensor]:
    for step in range(count):
        model.step(_batch(label, seeds, step))
    return {name: tensor.clone() for name, tensor in model.tensors().items()}


def _sound(rule: LearningRule, label: str) -> None:
    model, seen = _learner(rule, label, [0]), []

    def watch(target: object, update: object) -> None:
        tensors = {"": update} if isinstance(update, Tensor) else dict(update)  # type: ignore[call-overload]
        for name, tensor in tensors.items():
            seen.append(name)
            if not tensor.isfinite().all():
                raise Broken(f"an update of {name or target} is not finite")

    for step in range(3):
        model.step(_batch(label, [0], step), watch)  # names and shapes are checked by the optimizer
    if not seen:
        raise Broken("three steps yielded nothing")


def _reads_only(rule: LearningRule, label: str) -> None:
    model, batch = _learner(rule, label, [0]), _batch(label, [0])
    before = copy.deepcopy((dict(model.network.named_parameters()), model.state, batch))
    with torch.no_grad():
        for _ in rule.step(model.network, batch, model.state, model.context()):
            pass  # drained, and nothing applied
    after = (dict(model.network.named_parameters()), model.state, batch)
    for what, old, new in (
        ("the network's", before[0], after[0]),
        ("the learned", dict(before[1].learned), dict(after[1].learned)),
        ("the carried", dict(before[1].carried), dict(after[1].carried)),
        ("the batch's", vars(before[2]), vars(after[2])),
    ):
        for name in old:
            was, now = old[name], new[name]  # series have NaN where nothing is, which equals nothing
            same = torch.equal(was.isnan(), now.isnan()) and torch.equal(was.nan_to_num(), now.nan_to_num())
            if not same:
                raise Broken(f"step changed {what} '{name}' in place; yield updates, return what is carried")


def _repeats(rule: LearningRule, label: str) -> None:
    first, second = (_steps(_learner(rule, label, [0]), label, [0]) for _ in range(2))
    for name, tensor in first.items():
        if not torch.equal(tensor, second[name]):
            raise Broken(f"'{name}' came out differently the second time; draw from context.noise only")


def _own_generator(rule: LearningRule, label: str) -> None:
    import random

    import numpy as np

    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state().clone()  # type: ignore[index]
    _steps(_learner(rule, label, [0]), label, [0])
    same = (
        random.getstate() == states[0]
        and (np.random.get_state()[1] == states[1]).all()  # type: ignore[index]
        and torch.equal(torch.get_rng_state(), states[2])
    )
    if not same:
        raise Broken("a global random generator was used; draw from context.noise")


def _alone(rule: LearningRule, label: str) -> None:
    together = _steps(_learner(rule, label, [3, 5, 8]), label, [3, 5, 8])
    for place, seed in enumerate((3, 5, 8)):
        model = _learner(rule, label, [seed])
        start = {name: tensor.clone() for name, tensor in model.tensors().items()}
        for name, tensor in _steps(model, label, [seed]).items():
            # Adam makes steps of rounding where updates cancel, so single weights are no measure.
            apart, moved = (tensor[0] - together[name][place]).norm(), (tensor - start[name]).norm()
            if not apart <= 0.05 * moved + 1e-5:
                raise Broken(
                    f"'{name}' of seed {seed} differs by {apart:.1e} when trained beside others; count"
                    " dimensions from the right, or set together = False"
                )


def _differs(rule: LearningRule, label: str) -> None:
    first, second = (_steps(_learner(rule, label, [seed]), label, [seed]) for seed in (0, 1))
    if all(torch.equal(first[name], second[name]) for name in first):
        raise Broken("two seeds came out the same")


def _predicts(rule: LearningRule, label: str) -> None:
    model = _learner(rule, label, [0, 1] if rule.together else [0])
    inputs = _batch(label, [0, 1] if rule.together else [0]).inputs
    with torch.no_grad():
        network = with_statistics(
            model.network, _task(label), Split(inputs[0], inputs.new_zeros(len(inputs[0])))
        )
        scores = rule.predict(network, inputs, model.state)
    if scores.shape != (*inputs.shape[:2], CLASSES):
        wanted = [*inputs.shape[:2], CLASSES]
        raise Broken(f"predict returned shape {list(scores.shape)} instead of {wanted}")


def _generator(rule: LearningRule, label: str) -> None:
    if not inspect.isgeneratorfunction(type(rule).step):
        raise Broken("step has no yield; yield (block, updates) as soon as each is final")


CLAUSES: dict[str, Callable[[LearningRule, str], None]] = {
    "step is a generator": _generator,
    "updates have the names and shapes of parameters and are finite": _sound,
    "a step changes nothing in place": _reads_only,
    "the same seed gives the same weights, bit for bit": _repeats,
    "another seed gives other weights": _differs,
    "no global random generator is used": _own_generator,
    "seeds trained together come out as one by one": _alone,
    "predict returns scores [seed, batch, classes] and sees no label": _predicts,
}
