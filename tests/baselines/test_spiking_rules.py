"""Rules for spiking networks: against synapse-sized traces, against autograd, and against each other."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.networks.neurons import SURROGATES, Surrogate
from creditbench.baselines.networks.spiking import LeakyReadout, SpikingBlock
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.decolle import DeepContinuousLocalLearning
from creditbench.baselines.rules.eprop import EligibilityPropagation
from creditbench.baselines.rules.ottt import OnlineTrainingThroughTime, SpatialLearningThroughTime
from creditbench.baselines.rules.spiking_sigprop import (
    SignalPropagationAtSurrogate,
    SignalPropagationAtVoltage,
)
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.growth import time_growth
from creditbench.suite.learner import Learner
from creditbench.suite.optimizer import Optimizer
from creditbench.suite.types import Batch, LearningRule, State
from tools import learner, toy_batch, toy_task, updates

EVENTS = (7, 2, 3, 3)  # [time, polarities, height, width]
ONLINE = [
    OnlineTrainingThroughTime,
    SpatialLearningThroughTime,
    DeepContinuousLocalLearning,
    SignalPropagationAtVoltage,
    SignalPropagationAtSurrogate,
]


def events(seeds: int = 2) -> Batch:
    batch = toy_batch(seeds, shape=EVENTS)
    return Batch((batch.inputs > 0).double(), batch.targets)


def spiking(rule: LearningRule, seeds: tuple[int, ...] = (0, 1), **options: Any) -> Learner:
    chosen = {"width": 8, **options}
    model = learner(rule, toy_task(EVENTS), "snn", seeds, double=True, **chosen)
    learned, carried = ({k: t.double() for k, t in own.items()} for own in vars(model.state).values())
    model.state = State(learned, carried)
    model.optimizer = Optimizer(model.network, model.state, rule, [1e-3] * len(seeds), "constant")
    return model


class Spikes(torch.autograd.Function):
    """H with the surrogate's derivative, for oracles that differentiate moment by moment."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *change: Tensor) -> Tensor:
        return change[0] * SURROGATES["arctan"].slope(ctx.saved_tensors[0])


spike: Callable[[Tensor], Tensor] = Spikes.apply


# ----------------------------------------------------------------------------- e-prop


def naive_eprop(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """Bellec's recursions as they stand, a trace for every synapse and sample; one hidden block, seed 0."""
    hidden, readout = model.network.blocks
    assert isinstance(hidden, SpikingBlock)
    assert isinstance(readout, LeakyReadout)
    (trace, last), neuron, kappa = model.network.forward(batch.inputs), hidden.neuron, readout.decay
    psi = SURROGATES[neuron.surrogate].slope(neuron.above(trace.saved[0]))[:, 0]  # [time, batch, units]
    assert trace.inputs is not None
    y, z, x = last.saved[0][:, 0], trace.output[:, 0], trace.inputs[:, 0].flatten(2)
    feedback = model.rule._feedback(hidden.name, model.network, model.state)[0]  # type: ignore[attr-defined]
    steps, samples, units = z.shape
    sources = {"weight": x, "bias": torch.ones(steps, samples, 1).double()}
    if "recurrent" in hidden.parameters:
        sources["recurrent"] = torch.cat([torch.zeros_like(z[:1]), z[:-1]])
    found = {f"0.{key}": torch.zeros(units, source.shape[-1]).double() for key, source in sources.items()}
    found |= {"1.weight": torch.zeros(3, units).double(), "1.bias": torch.zeros(3, 1).double()}
    for key, source in (("weight", z), ("bias", torch.ones(steps, samples, 1).double())):
        low = torch.zeros_like(source[0])
        for t in range(steps):
            low = kappa * low + source[t]
            found[f"1.{key}"] += model.loss.gradient(y[t][None], batch.targets[:1])[0].T @ low / steps
    for key, source in sources.items():
        bar = torch.zeros_like(source[0])
        epsilon = torch.zeros(samples, units, source.shape[-1]).double()
        slow = torch.zeros_like(epsilon)
        for t in range(steps):
            bar = neuron.decay * bar + source[t]  # x̄_t
            now = psi[t][:, :, None]
            e = now * (bar[:, None] - neuron.adaptation * epsilon)
            epsilon = now * bar[:, None] + (neuron.adaptation_decay - now * neuron.adaptation) * epsilon
            slow = kappa * slow + e  # ē
            signal = model.loss.gradient(y[t][None], batch.targets[:1])[0] @ feedback / steps
            found[f"0.{key}"] += torch.einsum("bj,bji->ji", signal, slow)
    if "recurrent" in hidden.parameters:
        found["0.recurrent"].fill_diagonal_(0)
    return {key: tensor.squeeze(-1) if key.endswith("bias") else tensor for key, tensor in found.items()}


@pytest.mark.parametrize("feedback", ["random", "symmetric", "adaptive"])
@pytest.mark.parametrize("neuron", ["lif", "alif", "if"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_factorised_form_is_the_naive_recursion(neuron: str, recurrent: bool, feedback: Any) -> None:
    """Input, recurrent and readout weights, with the readout's filter on, to 1e-10 in double precision."""
    model = spiking(EligibilityPropagation(feedback=feedback), (0,), neuron=neuron, recurrent=recurrent)
    batch = events(1)
    found = updates(model, batch)
    found.pop("feedback", None)
    naive = naive_eprop(model, batch)
    assert found.keys() == naive.keys()
    for name, expected in naive.items():
        assert (found[name][0] - expected).abs().max() < 1e-10 * expected.abs().max(), name
        assert expected.abs().max() > 1e-4, name


def through_time(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """∂/∂w of 1/T Σ_t C(y_t, label) by autograd through the whole network: backpropagation through time."""
    leaves = [
        {k: p.clone().requires_grad_() for k, p in block.parameters.items()} for block in model.network.blocks
    ]
    (y,) = model.network.bind(leaves).forward(batch.inputs)[-1].saved
    loss = torch.stack([model.loss.value(own, batch.targets).sum() for own in y]).mean()
    flat = {
        f"{block.name}.{key}": p
        for block, own in zip(model.network.blocks, leaves, strict=True)
        for key, p in own.items()
    }
    return dict(zip(flat, torch.autograd.grad(loss, list(flat.values())), strict=True))


@pytest.mark.parametrize("neuron", ["lif", "alif"])
def test_symmetric_eprop_of_one_layer_is_backpropagation_through_time(neuron: str) -> None:
    """Bellec et al., theorem 1: without recurrent weights nothing that e-prop leaves out is there."""
    model, batch = spiking(EligibilityPropagation(feedback="symmetric"), neuron=neuron), events()
    found, true = updates(model, batch), through_time(model, batch)
    for name in true:
        assert torch.allclose(found[name], true[name], atol=1e-13), name


def test_with_recurrent_weights_it_is_not_but_close() -> None:
    model = spiking(EligibilityPropagation(feedback="symmetric"), recurrent=True)
    found, true = updates(model, events())["0.recurrent"], through_time(model, events())["0.recurrent"]
    cosine = torch.cosine_similarity(found.flatten(1), true.flatten(1), -1)
    assert (cosine < 0.9999).all()
    assert (cosine > 0.5).all()


def test_adaptive_feedback_moves_as_the_readout_does_and_comes_to_it() -> None:
    """Kolen and Pollack: equal steps, equal decay, so the difference can only shrink."""
    model = spiking(EligibilityPropagation(feedback="adaptive", decay=1.0))
    apart = [(model.network.blocks[1].weight - model.state.learned["feedback"]).norm().item()]
    for _ in range(20):
        model.step(events())
        apart.append((model.network.blocks[1].weight - model.state.learned["feedback"]).norm().item())
    assert apart[-1] == pytest.approx(apart[0] * (1 - 1e-3) ** 20, rel=1e-6)


def test_feedback_of_the_readout_is_refused_where_several_layers_would_need_it() -> None:
    with pytest.raises(CreditbenchError, match="only one hidden block"):
        spiking(EligibilityPropagation(feedback="symmetric"), depth=2)
    with pytest.raises(CreditbenchError, match="feedback"):
        EligibilityPropagation(feedback="none")  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- across layers


def test_ottts_presynaptic_trace_is_the_leaky_sum_of_what_came_in() -> None:
    """By hand: Σ_t δ_t (Σ_{s <= t} λ^{t-s} x_s)ᵀ with δ_t from autograd at the moment alone."""
    model, batch = spiking(OnlineTrainingThroughTime(), (0,), depth=2), events(1)
    traces, oracle = model.network.forward(batch.inputs), {}
    y = traces[-1].saved[0][:, 0]
    error = torch.stack([model.loss.gradient(own[None], batch.targets)[0] for own in y])
    delta = {"2": error}
    delta["1"] = (error @ model.network.blocks[2].weight[0]) * slope(model, traces, 1)
    delta["0"] = (delta["1"] @ model.network.blocks[1].weight[0]) * slope(model, traces, 0)
    for place, block in enumerate(model.network.blocks):
        x = traces[place].inputs
        assert x is not None
        x, leak = x[:, 0].flatten(2), block.leak  # type: ignore[attr-defined]
        total = torch.zeros_like(block.weight[0])
        for t in range(len(x)):
            came_in = torch.stack([leak ** (t - s) * x[s] for s in range(t + 1)]).sum(0)
            total += delta[block.name][t].T @ came_in / len(x)
        oracle[f"{block.name}.weight"] = total
    found = updates(model, batch)
    for name, expected in oracle.items():
        assert torch.allclose(found[name][0], expected, atol=1e-13), name


def slope(model: Learner, traces: Any, place: int) -> Tensor:
    neuron = model.network.blocks[place].neuron  # type: ignore[attr-defined]
    return SURROGATES[neuron.surrogate].slope(neuron.above(traces[place].saved[0]))[:, 0]


def test_ottt_of_one_layer_is_symmetric_eprop_where_the_readout_has_no_leak() -> None:
    batch = events()
    ottt = updates(spiking(OnlineTrainingThroughTime(), readout=0.0), batch)
    eprop = updates(spiking(EligibilityPropagation(feedback="symmetric"), readout=0.0), batch)
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        assert torch.allclose(ottt[name], eprop[name], atol=1e-13), name


def test_sltt_is_the_derivative_with_every_moments_past_held_fixed() -> None:
    """By autograd: at each step the state is detached, the losses of all steps summed."""
    model, batch = spiking(SpatialLearningThroughTime(), (0,), depth=2), events(1)
    leaves = [
        {k: p[0].clone().requires_grad_() for k, p in b.parameters.items()} for b in model.network.blocks
    ]
    v = [torch.zeros(1, 8).double(), torch.zeros(1, 8).double()]
    z, y, loss = [torch.zeros(1, 8).double()] * 2, torch.zeros(1, 3).double(), torch.zeros(()).double()
    for t in range(EVENTS[0]):
        h = batch.inputs[0, :, t].flatten(1)
        for place, own in enumerate(leaves[:-1]):
            v[place] = (0.9 * v[place] - z[place]).detach() + h @ own["weight"].T + own["bias"]
            h = z[place] = spike(v[place] - 1)
        y = 0.9 * y.detach() + h @ leaves[-1]["weight"].T + leaves[-1]["bias"]
        loss = loss + model.loss.value(y[None], batch.targets).sum() / EVENTS[0]
    found = updates(model, batch)
    for block, own in zip(model.network.blocks, leaves, strict=True):
        for key, expected in zip(
            own, torch.autograd.grad(loss, list(own.values()), retain_graph=True), strict=True
        ):
            assert torch.allclose(found[f"{block.name}.{key}"][0], expected, atol=1e-13), (block.name, key)


def test_decolles_layers_learn_from_their_own_readouts_and_nothing_above() -> None:
    """Layer 0's update is what it is without layer 1; the readout it has is never yielded."""
    model, batch = spiking(DeepContinuousLocalLearning(), depth=2), events()
    before = updates(model, batch)
    for block in model.network.blocks[1:]:
        for tensor in block.parameters.values():
            tensor.mul_(-1.7)
    after = updates(model, batch)
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["1.weight"], after["1.weight"])
    assert not [name for name in after if name.startswith("readout")]


def test_decolle_is_the_derivative_of_its_local_losses() -> None:
    """By autograd with P as the only way from a weight to a potential: the past through spikes is cut."""
    model, batch = spiking(DeepContinuousLocalLearning(), (0,)), events(1)
    block, readout = model.network.blocks[0], model.state.carried["0"][0]
    w, b = (block.parameters[name][0].clone().requires_grad_() for name in ("weight", "bias"))
    trace = block.forward(batch.inputs)
    membrane, came_in, loss = trace.saved[0], torch.zeros(9, 18).double(), torch.zeros(()).double()
    ones = 0.0
    for t in range(EVENTS[0]):
        came_in, ones = 0.9 * came_in + batch.inputs[0, :, t].flatten(1), 0.9 * ones + 1
        rest = membrane.potential[t, 0] - came_in @ w.detach().T - ones * b.detach()  # resets
        z = spike(came_in @ w.T + ones * b + rest - 1)
        loss = loss + model.loss.value((z @ readout.T)[None], batch.targets).sum() / EVENTS[0]
    expected = torch.autograd.grad(loss, [w, b])
    found = updates(model, batch)
    assert torch.allclose(found["0.weight"][0], expected[0], atol=1e-13)
    assert torch.allclose(found["0.bias"][0], expected[1], atol=1e-13)


# ----------------------------------------------------------------------------- signal propagation


def forbidden(_: Tensor) -> Tensor:
    raise AssertionError("the surrogate was asked")


FORBIDDEN = Surrogate(forbidden, forbidden)


def test_sigprop_at_the_voltage_trains_where_a_surrogate_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SURROGATES, "arctan", FORBIDDEN)
    model, batch = spiking(SignalPropagationAtVoltage(), depth=2), events()
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    losses = []
    for _ in range(200):
        model.step(batch)
        losses.append(model.loss.value(model.network(batch.inputs), batch.targets).mean().item())
    assert all(not tensor.equal(before[name]) for name, tensor in model.tensors().items())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "rule", [SignalPropagationAtSurrogate, OnlineTrainingThroughTime, EligibilityPropagation, Backpropagation]
)
def test_the_others_do_ask_it(rule: type[LearningRule], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SURROGATES, "arctan", FORBIDDEN)
    with pytest.raises(AssertionError, match="the surrogate was asked"):
        spiking(rule()).step(events())


@pytest.mark.parametrize("rule", [SignalPropagationAtVoltage, SignalPropagationAtSurrogate])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_sigprops_updates_are_the_derivative_of_its_local_losses(rule: Any, similarity: str) -> None:
    """By autograd, layer by layer: the potential is W s̄ + b 1̄ + rest, and rest a constant."""
    model, batch = spiking(rule(similarity=similarity), (0,), depth=2), events(1)
    found, labels = updates(model, batch), batch.targets[0]
    source = model.state.learned["generator"][0].clone().requires_grad_()
    own = [
        {k: p[0].clone().requires_grad_() for k, p in b.parameters.items()} for b in model.network.blocks[:2]
    ]
    v = [torch.zeros(12, 8).double(), torch.zeros(12, 8).double()]
    z = [torch.zeros(12, 8).double(), torch.zeros(12, 8).double()]
    losses: list[Tensor] = [torch.zeros(()).double(), torch.zeros(()).double()]
    for t in range(EVENTS[0]):
        x = batch.inputs[0, :, t].flatten(1)
        drive = torch.cat([x @ own[0]["weight"].T + own[0]["bias"], source])
        for place in range(2):
            if place:
                drive = z[0].detach() @ own[1]["weight"].T + own[1]["bias"]
            v[place] = 0.9 * v[place] + drive - z[place].detach()
            z[place] = (v[place] > 1).double()
            u = v[place] if rule is SignalPropagationAtVoltage else SURROGATES["arctan"].value(v[place] - 1)
            h, targets = u[:9], u[9:]
            if similarity == "dot":
                y = h @ targets.T / 8**0.5
            else:
                y = torch.cosine_similarity(h[:, None], targets[None], -1) / 0.1
            y = y + labels.bincount().double().log()  # each class counts as often as the batch has it
            losses[place] = losses[place] + torch.nn.functional.cross_entropy(y, labels) / EVENTS[0]
    first = torch.autograd.grad(losses[0], [own[0]["weight"], own[0]["bias"], source])
    second = torch.autograd.grad(losses[1], [own[1]["weight"], own[1]["bias"]])
    for name, expected in zip(("0.weight", "0.bias", "generator"), first, strict=True):
        assert torch.allclose(found[name][0], expected, atol=1e-12), name
    for name, expected in zip(("1.weight", "1.bias"), second, strict=True):
        assert torch.allclose(found[name][0], expected, atol=1e-12), name


# ----------------------------------------------------------------------------- memory over time


def over_time(rule: LearningRule, **options: Any) -> Any:
    task = toy_task((8, 2, 6, 6))
    return time_growth(lambda: learner(rule, task, "snn", **{"width": 32, **options}), task)


@pytest.mark.parametrize("rule", ONLINE)
def test_memory_of_online_rules_is_flat_in_time(rule: type[LearningRule]) -> None:
    found = over_time(rule(), depth=2)
    assert found.peak_bytes[-1] == found.peak_bytes[0]
    assert not found.grows


@pytest.mark.parametrize("rule", [Backpropagation, EligibilityPropagation])
def test_memory_of_rules_that_need_the_sequence_is_linear_in_time(rule: type[LearningRule]) -> None:
    found = over_time(rule())
    assert 0.9 < found.exponent < 1.05


@pytest.mark.parametrize("rule", [*ONLINE, DeepContinuousLocalLearning])
def test_recurrent_weights_are_refused_by_those_without_an_equation(rule: type[LearningRule]) -> None:
    with pytest.raises(CreditbenchError, match="no equation for recurrent weights"):
        spiking(rule(), recurrent=True)


@pytest.mark.parametrize("rule", [*ONLINE, EligibilityPropagation])
def test_other_networks_are_refused(rule: type[LearningRule]) -> None:
    with pytest.raises(CreditbenchError, match="mlp is none; use snn or csnn"):
        learner(rule())
    with pytest.raises(CreditbenchError, match="this network has none"):
        spiking(rule(), depth=0)
