"""Spiking networks: neurons by hand, the closed form against autograd, one way of walking as the other."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import creditbench
from creditbench.baselines.networks.coding import CODINGS, intensity
from creditbench.baselines.networks.neurons import SURROGATES, Neuron
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.baselines.rules.last_layer import LastLayer
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.meters.alignment import gradient
from creditbench.suite.plan import load_rule
from creditbench.suite.spikes import are_spikes
from creditbench.suite.types import Batch, TemporalBlock
from tools import learner, network, toy_batch, toy_task, updates

EVENTS = (7, 2, 3, 3)  # [time, polarities, height, width]
KINDS: list[dict[str, Any]] = [
    {},
    {"depth": 2, "recurrent": True},
    {"neuron": "alif"},
    {"neuron": "alif", "recurrent": True, "depth": 2},
    {"neuron": "if", "readout": 0.0},
]


def events(seeds: int = 2, shape: tuple[int, ...] = EVENTS) -> Batch:
    batch = toy_batch(seeds, shape=shape)
    return Batch((batch.inputs > 0).double(), batch.targets)


def spiking(rule: object = None, seeds: tuple[int, ...] = (0, 1), **options: object) -> Learner:
    chosen = {"width": 8, **options}
    return learner(rule or Backpropagation(), toy_task(EVENTS), "snn", seeds, double=True, **chosen)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------- one neuron, by hand


def one(current: list[float], **constants: float) -> tuple[list[float], list[float]]:
    """Potentials and spikes of a single neuron."""
    drive = torch.tensor(current, dtype=torch.float64).view(-1, 1, 1, 1)
    membrane = Neuron(**constants).scan(drive, None, None)  # type: ignore[arg-type]
    return membrane.potential.flatten().tolist(), membrane.spikes.flatten().tolist()


def test_a_leaky_neuron_by_hand() -> None:
    """v: 0.6; 0.3 + 0.6; 0.45 + 0.6 > 1, a spike; 0.525 - 1 + 0.6."""
    v, z = one([0.6, 0.6, 0.6, 0.6], decay=0.5)
    assert v == pytest.approx([0.6, 0.9, 1.05, 0.125])
    assert z == [0, 0, 1, 0]


def test_integrate_and_fire_counts_its_input() -> None:
    v, z = one([0.4] * 10, decay=1.0)
    assert sum(z) == int(0.4 * 10 - 1e-9)
    assert v[-1] == pytest.approx(0.4 * 10 - sum(z[:-1]))


def test_an_adaptive_neuron_by_hand_tires() -> None:
    """a: 0, 1, 0.5, 1.25, so the thresholds are 1, 1.5, 1.25, 1.625; v: 1.2, less 1, and so on."""
    v, z = one([1.2, 1.2, 1.2, 1.2], decay=1.0, adaptation=0.5, adaptation_decay=0.5)
    assert v == pytest.approx([1.2, 1.4, 2.6, 2.8])
    assert z == [1, 0, 1, 1]
    _, tired = one([1.2, 1.2, 1.2, 1.2], decay=1.0, adaptation=1.0, adaptation_decay=1.0)
    assert tired == [1, 0, 1, 0]  # v 1.2, 1.4 < 2, 2.6 > 2, 2.8 < 3


def test_a_spike_is_a_crossing_of_the_threshold_not_its_touch() -> None:
    assert one([1.0], decay=0.5)[1] == [0]


@pytest.mark.parametrize("name", SURROGATES)
def test_a_surrogate_is_the_derivative_of_its_value(name: str) -> None:
    u = torch.linspace(-1.7, 1.9, 40, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(SURROGATES[name].value(u).sum(), u)
    assert torch.allclose(slope, SURROGATES[name].slope(u))
    assert (slope >= 0).all()


# ----------------------------------------------------------------------------- the way back


class Step(torch.autograd.Function):
    """The spike of one moment, for the oracle."""

    @staticmethod
    def forward(ctx, u: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, change: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (u,) = ctx.saved_tensors
        return change * SURROGATES["arctan"].slope(u)


def by_hand(model: Learner, batch: Batch, leaves: list[dict[str, Tensor]]) -> Tensor:
    """The network's output for one seed, moment by moment, as the equations stand, reset detached."""
    *hidden, last = model.network.blocks
    states = [{"v": 0.0, "z": torch.zeros(1), "a": 0.0} for _ in hidden]
    y, total = torch.zeros(1), torch.zeros(1)
    x = batch.inputs[0]
    for t in range(x.shape[1]):
        h = x[:, t].flatten(1)
        for block, own, state in zip(hidden, leaves, states, strict=False):
            neuron = block.neuron  # type: ignore[attr-defined]
            v = neuron.decay * state["v"] + h @ own["weight"].T + own["bias"]
            if t and "recurrent" in own:
                v = v + state["z"] @ own["recurrent"].T  # type: ignore[operator]
            v = v - neuron.threshold * state["z"].detach()  # type: ignore[attr-defined]
            a = neuron.adaptation_decay * state["a"] + state["z"]
            h = Step.apply(v - neuron.threshold - neuron.adaptation * a)  # type: ignore[no-untyped-call]
            state.update(v=v, z=h, a=a)
        y = last.decay * y + h @ leaves[-1]["weight"].T + leaves[-1]["bias"]  # type: ignore[attr-defined]
        total = total + y
    return total / x.shape[1]


@pytest.mark.parametrize("options", KINDS)
def test_the_reverse_scan_is_backpropagation_through_time(options: dict[str, Any]) -> None:
    """Against autograd through the equations, moment by moment: seed by seed, every parameter."""
    model, batch = spiking(seeds=(3,), **options), events(1)
    leaves = [
        {k: p[0].clone().requires_grad_() for k, p in b.parameters.items()} for b in model.network.blocks
    ]
    loss = model.loss.value(by_hand(model, batch, leaves)[None], batch.targets).sum()
    names = [f"{b.name}.{k}" for b, own in zip(model.network.blocks, leaves, strict=True) for k in own]
    oracle = dict(
        zip(names, torch.autograd.grad(loss, [p for own in leaves for p in own.values()]), strict=True)
    )
    for found in (updates(model, batch), flat(gradient(model.network, batch, model.context()))):
        assert found.keys() == oracle.keys()
        for name, expected in oracle.items():
            if name.endswith("recurrent"):
                expected = expected - expected.diag().diag()  # a neuron has no synapse on itself
            assert torch.allclose(found[name][0], expected, atol=1e-12), name
            assert expected.norm() > 1e-3, name


def flat(found: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{block}.{key}": tensor for block, own in found.items() for key, tensor in own.items()}


# ----------------------------------------------------------------------------- along time


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(1, EVENTS[0] - 1), max_size=3), kind=st.sampled_from(KINDS))
def test_a_sequence_may_be_cut_anywhere(cuts: list[int], kind: dict[str, Any]) -> None:
    """Pieces, each from the state that the one before left, give what the whole gives, bit for bit."""
    model, batch = spiking(**kind), events()
    whole = model.network.forward(batch.inputs)
    x = batch.inputs.movedim(2, 0)
    edges = [0, *sorted(set(cuts)), EVENTS[0]]
    for block, trace in zip(model.network.blocks[:-1], whole[:-1], strict=True):
        assert isinstance(block, TemporalBlock)
        state, outputs = block.initial_state(x), []
        for start, end in pairwise(edges):
            piece, state = block.step(x[start:end], state)
            outputs.append(piece.output)
        assert torch.equal(torch.cat(outputs), trace.output)
        x = trace.output


@pytest.mark.parametrize("options", KINDS)
def test_moment_by_moment_is_layer_by_layer(options: dict[str, Any]) -> None:
    model, batch = spiking(**options), events()
    moments = list(model.network.through_time(batch.inputs))
    assert len(moments) == EVENTS[0]
    outputs = torch.cat([traces[-1].output for traces in moments])  # [time, seed, batch, classes]
    assert torch.allclose(outputs.mean(0), model.network(batch.inputs), atol=1e-14)


def test_all_that_spikes_go_into_is_counted_as_accumulates() -> None:
    """Forward: the arriving, the recurrent and the read-out spikes; back, the same meet what comes down."""
    model = spiking(seeds=(0,), recurrent=True)
    batch = Batch(creditbench.declare_spikes(events(1).inputs), events(1).targets)
    with creditbench.count_operations(strict=True) as forward:
        model.network(batch.inputs)
    with creditbench.count_operations(strict=True) as step:
        model.step(batch)
    time, samples, pixels, width, classes = EVENTS[0], 9, 18, 8, 3
    arriving, own, out = (time * pixels * width, (time - 1) * width * width, time * width * classes)
    assert (forward.macs, forward.dense_acs) == (0, samples * (arriving + own + out))
    back = samples * (own + out)  # Rᵀ λ and Wᵀ δ carry numbers; the three updates meet spikes
    assert (step.macs, step.dense_acs) == (back, 2 * forward.dense_acs)
    assert 0 < forward.acs < forward.dense_acs


def test_the_layout_is_time_seed_batch_neuron_and_spikes_are_declared() -> None:
    trace = spiking(depth=2).network.forward(events().inputs)[1]
    assert trace.inputs is not None
    assert trace.inputs.shape == (7, 2, 9, 8)
    assert trace.output.shape == (7, 2, 9, 8)
    assert are_spikes(trace.output)
    assert set(trace.output.unique().tolist()) == {0.0, 1.0}


def test_a_neuron_has_no_synapse_on_itself_before_or_after_learning() -> None:
    model = spiking(recurrent=True)
    for _ in range(3):
        model.step(events())
    own = model.network.blocks[0].parameters["recurrent"]
    assert (own.diagonal(dim1=-2, dim2=-1) == 0).all()
    assert own.abs().sum() > 0


# ----------------------------------------------------------------------------- images


def test_rate_coding_spikes_as_often_as_the_pixel_is_bright_and_repeats_itself_in_use() -> None:
    image = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(1, 1, 4)
    spikes = torch.stack([CODINGS["rate"](image, t, 4000, None) for t in range(4000)])
    assert spikes.mean(0).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=0.03)
    assert torch.equal(spikes[5], CODINGS["rate"](image, 5, 4000, None))


def test_rate_coding_draws_anew_while_it_learns_from_the_seeds_own_generator() -> None:
    model = learner(Backpropagation(), name="snn", seeds=(0, 1), coding="rate")
    first, second = (CODINGS["rate"](toy_batch(2).inputs, 0, 10, model.context()) for _ in range(2))
    assert not torch.equal(first, second)
    alone = learner(Backpropagation(), name="snn", seeds=(1,), coding="rate")
    assert torch.equal(first[1:], CODINGS["rate"](toy_batch(2).inputs[1:], 0, 10, alone.context()))


def test_latency_coding_is_one_spike_the_earlier_the_brighter() -> None:
    image = torch.tensor([0.0, 0.5, 1.0, 0.75]).expand(1, 1, 4)
    spikes = torch.stack([CODINGS["latency"](image, t, 5, None) for t in range(5)])[:, 0, 0]
    assert spikes.sum(0).tolist() == [0, 1, 1, 1]
    assert spikes.argmax(0).tolist()[1:] == [2, 0, 1]


def test_intensity_is_between_an_images_own_extremes_whatever_its_scale() -> None:
    image = toy_batch().inputs
    p = intensity(image)
    assert (p.flatten(2).amin(-1) == 0).all()
    assert p.flatten(2).amax(-1).allclose(torch.ones(()))
    assert torch.allclose(intensity(3 * image - 7), p, atol=1e-5)


def test_a_constant_current_goes_through_the_first_weights_once() -> None:
    """Ten steps of the same image, and the same updates as ten images would give."""
    constant = learner(Backpropagation(), name="snn", width=8, double=True)
    batch = Batch(toy_batch().inputs.double(), toy_batch().targets)
    found = updates(constant, batch)
    block = constant.network.blocks[0]
    trace = block.forward(batch.inputs)
    assert trace.inputs is not None
    change = torch.randn(trace.output.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    once = block.synaptic_update(trace.inputs, change)
    each = block.synaptic_update(trace.inputs.contiguous(), change)
    assert torch.allclose(once["weight"], each["weight"])
    assert torch.allclose(once["bias"], each["bias"])
    assert torch.allclose(block.preactivate(trace.inputs), block.preactivate(trace.inputs.contiguous()))
    assert found["0.weight"].norm() > 0


# ----------------------------------------------------------------------------- who may, and what is refused


@pytest.mark.parametrize("rule", [Backpropagation, LastLayer, FeedbackAlignment, DirectFeedbackAlignment])
@pytest.mark.parametrize(
    ("name", "shape"), [("snn", EVENTS), ("snn", (1, 4, 4)), ("csnn", (4, 2, 8, 8)), ("csnn", (1, 8, 8))]
)
def test_yardstick_floor_and_feedback_train_spiking_networks(
    rule: type, name: str, shape: tuple[int, ...]
) -> None:
    model, batch = learner(rule(), toy_task(shape), name, (0, 1), width=6), toy_batch(2, shape=shape)
    before = {key: tensor.clone() for key, tensor in model.tensors().items()}
    model.step(batch)
    moved = {key.split(".")[0] for key, tensor in model.tensors().items() if not tensor.equal(before[key])}
    blocks = [block.name for block in model.network.blocks]
    assert moved == set(blocks[-1:] if rule is LastLayer else blocks)


def test_a_rule_that_knows_of_no_time_is_refused_with_a_reason() -> None:
    with pytest.raises(CreditbenchError, match="sigprop knows of no time"):
        learner(load_rule("sigprop")(), name="snn")


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        (EVENTS, {"coding": "rate"}, "steps of their own"),
        ((1, 4, 4), {"coding": "morse"}, "coding"),
        ((1, 4, 4), {"neuron": "izhikevich"}, "neuron"),
        ((1, 4, 4), {"surrogate": "none"}, "surrogate"),
        ((1, 4, 4), {"steps": -1}, "at least 1 step"),
    ],
)
def test_bad_options_are_refused(shape: tuple[int, ...], options: dict[str, Any], words: str) -> None:
    with pytest.raises(CreditbenchError, match=words):
        network(toy_task(shape), "snn", **options)
