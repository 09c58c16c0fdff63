"""The dendritic microcircuit against its own dynamics, feedback alignment and backpropagation."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.baselines.rules.microcircuit import DendriticMicrocircuit, Settled, rate
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, State
from tools import gradients, learner, network, toy_batch, toy_task, updates

LEAK, BASAL, APICAL, SOMATIC = 0.1, 1.0, 0.8, 0.8  # the paper's conductances; g_D = g_B
GAIN = DendriticMicrocircuit.MIX * (1 - DendriticMicrocircuit.MIX)


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def model_of(rule: DendriticMicrocircuit, activation: str = "tanh", depth: int = 2) -> Learner:
    model = learner(rule, double=True, width=7, depth=depth, activation=activation)
    model.state = State(model.state.learned, {name: b.double() for name, b in model.state.carried.items()})
    return model


def settled(model: Learner, batch: Batch, nudge: float) -> Settled:
    assert isinstance(model.rule, DendriticMicrocircuit)
    return model.rule.settle(model.network, batch, model.state, model.context(), nudge)


def disturbed(model: Learner) -> Learner:
    """Interneurons that foretell wrongly."""
    generator = torch.Generator().manual_seed(3)
    learned = {
        name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator).double()
        for name, tensor in model.state.learned.items()
    }
    model.state = State(learned, model.state.carried)
    return model


# ------------------------------------------------------------------------------ the fixed point


def simulated(model: Learner, batch: Batch, nudge: float, steps: int, dt: float) -> tuple[list[Tensor], ...]:
    """Somatic, apical and interneurons' potentials after Euler steps of the leaky compartments:

    u̇ = -g_lk u + g_B (v_B - u) + g_A (v_A - u)      u̇_L = -g_lk u_L + g_B (v_B - u_L) + i
    u̇^I = -g_lk u^I + g_D (v_D - u^I) + g_som (u - u^I)
    """
    blocks, state, samples = model.network.blocks, model.state, batch.targets.shape[1]
    learned = [
        {key: state.learned[f"{b.name}.interneuron.{key}"] for key in b.parameters} for b in blocks[1:]
    ]
    inner = [b.bind(own) for b, own in zip(blocks[1:], learned, strict=True)]
    u = [torch.zeros(1, samples, b.output_size).double() for b in blocks]
    i = [torch.zeros(1, samples, b.output_size).double() for b in blocks[1:]]
    apical: list[Tensor] = []
    for _ in range(steps):
        rates = [rate(b, x) for b, x in zip(blocks, u, strict=True)]
        below = [batch.inputs, *rates[:-1]]
        hidden, free = (LEAK + BASAL + APICAL) / BASAL, (LEAK + BASAL) / BASAL  # attenuations undone
        drives = [b.preactivate(h) for b, h in zip(blocks, below, strict=True)]
        apical = [
            b.transport(r - rate(b, x), state.carried[b.name])
            for b, r, x in zip(blocks[1:], rates[1:], i, strict=True)
        ]
        moves = [
            -LEAK * x + BASAL * (hidden * v - x) + APICAL * (a - x)
            for x, v, a in zip(u[:-1], drives[:-1], apical, strict=True)
        ]
        current = -(LEAK + BASAL) * nudge * samples * model.loss.gradient(drives[-1], batch.targets)
        moves.append(-LEAK * u[-1] + BASAL * (free * drives[-1] - u[-1]) + current)
        foreseen = [b.preactivate(h) for b, h in zip(inner, below[1:], strict=True)]
        inside = [
            -LEAK * x + BASAL * (free * v - x) + SOMATIC * (above - x)
            for x, v, above in zip(i, foreseen, u[1:], strict=True)
        ]
        u = [x + dt * move for x, move in zip(u, moves, strict=True)]
        i = [x + dt * move for x, move in zip(i, inside, strict=True)]
    return u, apical, i


@pytest.mark.parametrize("right", [True, False])
def test_sweeps_come_to_where_the_leaky_compartments_settle(right: bool) -> None:
    """With interneurons that foretell rightly or not, and a strong teacher."""
    model, batch = model_of(DendriticMicrocircuit(sweeps=40)), double(toy_batch())
    model = model if right else disturbed(model)
    at = settled(model, batch, 0.5)
    u, apical, i = simulated(model, batch, 0.5, steps=400, dt=0.25)
    for found, expected in ((at.soma, u), (at.apical, apical), (at.interneurons, i)):
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=1e-10)
    assert float(at.apical[0].abs().max()) > 1e-3


def test_the_first_sweep_is_off_by_a_share_of_the_teachers_strength_and_the_next_by_little_of_that() -> None:
    batch = double(toy_batch())

    def off(sweeps: int, nudge: float) -> float:
        found, fixed = (updates(model_of(DendriticMicrocircuit(nudge, n)), batch) for n in (sweeps, 30))
        return max(float((found[key] - tensor).norm() / tensor.norm()) for key, tensor in fixed.items())

    assert off(1, 0.1) < 0.03
    assert off(1, 0.1) / off(1, 0.01) == pytest.approx(10, rel=0.1)
    assert off(2, 0.1) < 0.1 * off(1, 0.1)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_self_predicting_circuit_without_a_teacher_has_silent_apical_dendrites(activation: str) -> None:
    """Exactly, at any depth; then somata are where the forward pass has them."""
    model, batch = model_of(DendriticMicrocircuit(), activation, depth=4), double(toy_batch())
    at = settled(model, batch, 0.0)
    assert all(not apical.any() for apical in at.apical)
    assert torch.equal(at.soma[-1], model.network(batch.inputs))
    loud = settled(disturbed(model), batch, 0.0)
    assert all(apical.abs().max() > 1e-3 for apical in loud.apical)


def test_a_weak_teacher_sends_back_the_error_as_feedback_alignment_does() -> None:
    """One factor λ (1 - λ) a block: u - v = λ (1 - λ) B (φ' ⊙ (u - v of the block above))."""
    model, batch = model_of(DendriticMicrocircuit(nudge=1e-6), depth=3), double(toy_batch())
    other = learner(FeedbackAlignment(), double=True, width=7, depth=3, activation="tanh")
    other.state = State(carried=model.state.carried)
    found, expected = updates(model, batch), updates(other, batch)
    for key, tensor in expected.items():
        gain = GAIN ** (3 - int(key[0]))
        assert torch.allclose(found[key], gain * tensor, rtol=1e-3, atol=1e-8), key


def test_with_the_weights_themselves_coming_down_it_makes_the_gradient() -> None:
    model, batch = model_of(DendriticMicrocircuit(nudge=1e-6)), double(toy_batch())
    model.state = State(model.state.learned, {b.name: b.weight for b in model.network.blocks[1:]})
    found = updates(model, batch)
    for key, tensor in gradients(model, batch).items():
        gain = GAIN ** (2 - int(key[0]))
        assert torch.allclose(found[key], gain * tensor, rtol=1e-3, atol=1e-8), key


# ------------------------------------------------------------------------------ interneurons


def test_interneurons_learn_to_silence_the_apical_dendrites() -> None:
    """From wrong ones, by plain descent on their own products, all other weights held."""
    nudge = 1e-3
    model, batch = disturbed(model_of(DendriticMicrocircuit(nudge=nudge))), double(toy_batch(samples=6))

    def loudness() -> float:
        return sum(float(apical.norm()) for apical in settled(model, batch, 0.0).apical)

    before = loudness()
    for _ in range(500):
        found = updates(model, batch)
        learned = {name: t - 0.5 * nudge * found[name] for name, t in model.state.learned.items()}
        model.state = State(learned, model.state.carried)
    assert loudness() < 0.05 * before


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_circuit_that_learns_stays_self_predicting(activation: str) -> None:
    """Exactly, under Adam, while all of it moves."""
    model, batch = learner(DendriticMicrocircuit(), width=12, activation=activation), toy_batch()
    start = model.network.blocks[1].weight.clone()
    for _ in range(50):
        model.step(batch)
    for block in model.network.blocks[1:]:
        for key, tensor in block.parameters.items():
            assert torch.equal(model.state.learned[f"{block.name}.interneuron.{key}"], tensor)
    assert (model.network.blocks[1].weight - start).abs().mean() > 0.01


def test_what_interneurons_learn_is_the_papers_product_in_the_weak_limit() -> None:
    """(φ(u) - φ(v^I)) is (φ(u^I) - φ(v^I)) / λ there."""
    nudge = 1e-6
    model, batch = model_of(DendriticMicrocircuit(nudge=nudge)), double(toy_batch())
    at, found = settled(model, batch, nudge), updates(model, batch)
    for place, block in enumerate(model.network.blocks[1:]):
        product = rate(block, at.foreseen[place]) - rate(block, at.interneurons[place])
        expected = block.synaptic_update(
            at.rates[place + 1], product / (nudge * 9 * DendriticMicrocircuit.MIX)
        )
        for key, tensor in expected.items():
            assert torch.allclose(found[f"{block.name}.interneuron.{key}"], tensor, rtol=1e-3, atol=1e-8)


# ------------------------------------------------------------------------------ what it needs and costs


def test_a_microcircuit_says_what_it_cannot_do() -> None:
    rule, task = DendriticMicrocircuit(), toy_task()
    for made in (network(task, "conv"), network(task, normalisation="layer"), network(task, dropout=0.1)):
        assert "fully connected" in (rule.supports(made, task) or "")
    assert rule.supports(network(task), task) is None
    for nudge, sweeps in ((0.0, 1), (0.1, 0)):
        with pytest.raises(CreditbenchError, match=f"nudge is {nudge} and sweeps {sweeps}"):
            DendriticMicrocircuit(nudge, sweeps)


@settings(max_examples=6, deadline=None)
@given(st.integers(3, 12), st.integers(2, 15), st.integers(1, 4), st.integers(1, 3))
def test_a_microcircuit_costs_its_closed_form(batch: int, width: int, depth: int, sweeps: int) -> None:
    """The first weights once; in every sweep the others, their interneurons and what comes down; two sets of
    outer products."""
    layers = [a * b for a, b in itertools.pairwise([16, *[width] * depth, 3])]
    model = learner(DendriticMicrocircuit(sweeps=sweeps), width=width, depth=depth)
    with count_operations() as ops:
        model.step(toy_batch(samples=batch))
    above = sum(layers[1:])
    assert ops.macs == batch * (layers[0] + 3 * sweeps * above + sum(layers) + above)
