"""Rules with feedback weights of their own, each against the theorem or the limit that defines it."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from creditbench.baselines.rules.burstprop import Burstprop
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment, SignDirectFeedbackAlignment
from creditbench.baselines.rules.drtp import DirectRandomTargetProjection
from creditbench.baselines.rules.kolen_pollack import KolenPollack
from creditbench.baselines.rules.segregated_dendrites import SegregatedDendrites
from creditbench.baselines.rules.sign_symmetry import SignSymmetry
from creditbench.baselines.rules.weight_mirror import WeightMirror
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.learner import Learner
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, State
from tools import gradients, learner, toy_batch, updates


def double(batch: Batch) -> Batch:
    return Batch(batch.inputs.double(), batch.targets)


def angle(one: Tensor, other: Tensor) -> float:
    """In degrees, between two tensors taken as vectors."""
    a, b = one.flatten().double(), other.flatten().double()
    return math.degrees(math.acos(max(-1.0, min(1.0, (a @ b / (a.norm() * b.norm())).item()))))


def with_carried(model: Learner, carried: Mapping[str, Tensor]) -> Learner:
    model.state = State(model.state.learned, carried)
    return model


# ------------------------------------------------------------------------------ sign-symmetry


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_sign_symmetry_is_bp_where_all_weights_have_its_magnitude(name: str) -> None:
    model = learner(SignSymmetry("uniform"), name=name, double=True, width=5, activation="tanh")
    for block in model.network.blocks:
        weight, kernel = block.weight, block.weight[0, 0, 0].numel()
        fans = weight[0, 0].numel() + weight.shape[1] * kernel
        weight.copy_(math.sqrt(2 / fans) * weight.sign())
    batch = double(toy_batch())
    found, true = updates(model, batch), gradients(model, batch)
    for key, update in found.items():
        assert torch.allclose(update, true[key], atol=1e-12), key


def test_frozen_magnitudes_follow_the_signs_and_nothing_else() -> None:
    """Another size of the same sign changes no update below it; another sign does."""
    model, batch = learner(SignSymmetry(), width=6, depth=1), toy_batch()
    error = torch.ones(1, 9, 3)
    top = model.network.blocks[-1]

    def below() -> Tensor:
        feedback = model.state.carried[top.name] * top.weight.sign()
        return top.transport(error, feedback)

    before = below()
    top.weight.mul_(3.0)
    assert torch.equal(below(), before)
    top.weight.mul_(-1.0)
    assert torch.equal(below(), -before)
    assert updates(model, batch)  # and the rule itself runs on it


def test_batch_magnitudes_are_drawn_anew_and_frozen_ones_are_not() -> None:
    for magnitude, same in (("frozen", True), ("uniform", True), ("batch", False)):
        model = learner(SignSymmetry(magnitude), width=6)  # type: ignore[arg-type]
        first, second = updates(model, toy_batch()), updates(model, toy_batch())
        assert torch.equal(first["0.weight"], second["0.weight"]) == same


# ------------------------------------------------------------------------------ Kolen-Pollack


def test_weights_and_feedback_of_kolen_pollack_close_up_by_one_factor_a_step() -> None:
    rate, decay, steps = 0.01, 0.5, 50
    model = learner(KolenPollack(decay=decay), rate=rate, width=12)

    def apart() -> dict[str, Tensor]:
        blocks = model.network.blocks[1:]
        return {block.name: block.weight - model.state.learned[block.name] for block in blocks}

    before = apart()
    for _ in range(steps):
        model.step(toy_batch())
    for name, difference in apart().items():
        expected = (1 - rate * decay) ** steps * before[name]
        assert torch.allclose(difference, expected, atol=1e-5), name


def test_the_feedback_of_kolen_pollack_turns_to_the_weights_under_plain_descent() -> None:
    """Below 10 degrees, the theorem's own form: gradient descent with decay."""
    model, batch = learner(KolenPollack(), width=16, depth=2), toy_batch(samples=30)
    rate, decay = 0.5, 0.02
    for block in model.network.blocks[1:]:
        assert angle(block.weight, model.state.learned[block.name]) > 45
    for _ in range(400):
        found = updates(model, batch)
        for name, tensor in model.tensors().items():
            tensor.sub_(rate * (found[name.removeprefix("learned.")] + decay * tensor))
    for block in model.network.blocks[1:]:
        assert angle(block.weight, model.state.learned[block.name]) < 10


# ------------------------------------------------------------------------------ weight mirror


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_a_weight_mirror_sees_the_weights_in_noise(name: str) -> None:
    model = learner(WeightMirror(mirror_rate=0.02), name=name, width=8, rate=0.0)
    batch = toy_batch(samples=60)
    blocks = model.network.blocks[1:]
    for block in blocks:
        assert angle(block.weight, model.state.carried[block.name]) > 45
    for _ in range(300):
        model.step(batch)
    for block in blocks:
        assert angle(block.weight, model.state.carried[block.name]) < 10
        ratio = model.state.carried[block.name].norm() / block.weight.norm()
        assert ratio.item() == pytest.approx(1.0, abs=0.05)


# ------------------------------------------------------------------------------ broadcast


def test_sdfa_sends_signs_divided_by_the_batch() -> None:
    error = torch.tensor([[[0.2, -0.3, 0.0], [-1e-9, 5.0, 0.1]]])
    expected = torch.tensor([[[1.0, -1.0, 0.0], [-1.0, 1.0, 1.0]]]) / 2
    assert torch.equal(SignDirectFeedbackAlignment().broadcast(error), expected)


def test_drtp_by_hand_sends_minus_a_row_of_its_projection() -> None:
    """Two samples of classes 2 and 0; relu units that are all active: -B[class] / 2 at each."""
    model = learner(DirectRandomTargetProjection(), width=4, depth=1, activation="identity")
    batch = Batch(torch.ones(1, 2, 1, 4, 4), torch.tensor([[2, 0]]))
    projection = model.state.carried["0"]
    expected = -(projection[:, 2] + projection[:, 0]) / 2
    assert torch.allclose(updates(model, batch)["0.bias"], expected)


def test_drtp_learns_hidden_blocks_before_the_output_is_known() -> None:
    """Their updates come first, and do not move with anything above."""
    model, batch = learner(DirectRandomTargetProjection(), width=6, depth=3), toy_batch()
    before = updates(model, batch)
    assert list(before)[-1].startswith("3.")
    model.network.blocks[-1].weight.mul_(-2.0)
    after = updates(model, batch)
    assert all(torch.equal(after[key], before[key]) for key in before if not key.startswith("3."))


def test_the_memory_of_drtp_is_flat_in_depth() -> None:
    def made(depth: int) -> int:
        model, batch = learner(DirectRandomTargetProjection(), width=32, depth=depth), toy_batch(samples=100)
        model.step(batch)
        kinds = step_memory(model, batch).at_peak
        return kinds["activations"] + kinds["temporaries"]

    assert made(16) == made(4)


def test_segregated_dendrites_with_weak_feedback_are_direct_feedback_alignment() -> None:
    """σ is straight at 0: the difference of plateaus becomes a quarter of the projected error."""
    scale = 1e-4
    model = learner(SegregatedDendrites(scale), width=6, double=True)
    plain = learner(DirectFeedbackAlignment(), width=6, double=True)
    carried = {name: y.double() for name, y in model.state.carried.items()}
    with_carried(model, carried)
    with_carried(plain, {name: 0.25 * y for name, y in carried.items()})
    batch = double(toy_batch())
    found, expected = updates(model, batch), updates(plain, batch)
    for key in expected:
        assert torch.allclose(found[key], expected[key], rtol=1e-6, atol=1e-12), key


# ------------------------------------------------------------------------------ burstprop


def squared_error_gradients(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """Autograd's, of half the squared error of σ(output), mean over the batch."""
    leaves = [
        {k: p.detach().clone().requires_grad_() for k, p in block.parameters.items()}
        for block in model.network.blocks
    ]
    output = model.network.bind(leaves)(batch.inputs).sigmoid()
    target = torch.nn.functional.one_hot(batch.targets, 3)
    (0.5 * (output - target).square().sum(-1).mean()).backward()
    return {
        f"{block.name}.{key}": leaf.grad
        for block, own in zip(model.network.blocks, leaves, strict=True)
        for key, leaf in own.items()
        if leaf.grad is not None
    }


def test_bursts_with_symmetric_weak_feedback_carry_the_gradient_of_the_squared_error() -> None:
    model = learner(Burstprop(beta=1e-4), width=6, depth=2, double=True, activation="sigmoid")
    model.state = State({b.name: b.weight.clone() for b in model.network.blocks[1:]})
    batch = double(toy_batch())
    found, true = updates(model, batch), squared_error_gradients(model, batch)
    assert torch.allclose(found["2.weight"], 0.2 * true["2.weight"], atol=1e-12)  # p₀
    for key, gradient in true.items():
        assert angle(found[key], gradient) < 0.1, key


def test_burstprop_refuses_units_that_are_no_event_rates() -> None:
    rule = load_rule("burstprop")()
    model = learner(load_rule("bp")(), width=4)
    assert "activation=sigmoid" in (rule.supports(model.network, model.task) or "")


# ------------------------------------------------------------------------------ what they cost


@settings(max_examples=5, deadline=None)
@given(st.integers(3, 20), st.integers(1, 30), st.integers(1, 4))
def test_rules_with_feedback_cost_their_closed_forms(batch: int, width: int, depth: int) -> None:
    """F is the forward pass, d₀d₁ the first layer. What comes back through feedback weights costs what it
    costs through the own ones; a mirror phase is a forward pass and two outer products, one of a single
    sample; a projected target is looked up and costs nothing."""
    sizes = [16, *[width] * depth, 3]
    layers = [a * b for a, b in itertools.pairwise(sizes)]
    forward, first, above = batch * sum(layers), batch * layers[0], sum(layers[1:])

    def counted(rule: str) -> int:
        options: dict[str, Any] = {"activation": "sigmoid"} if rule == "burstprop" else {}
        model = learner(load_rule(rule)(), width=width, depth=depth, **options)
        with count_operations() as ops:
            model.step(toy_batch(samples=batch))
        return ops.macs

    for rule in ("sign-symmetry", "kolen-pollack"):
        assert counted(rule) == 3 * forward - first, rule
    assert counted("weight-mirror") == 3 * forward - first + 2 * batch * above + above
    assert counted("drtp") == 2 * forward
    assert counted("sdfa") == 2 * forward + batch * 3 * depth * width
    assert counted("segregated-dendrites") == 2 * forward + 2 * batch * 3 * depth * width
    # Bursts travel back twice, with and without the teacher.
    assert counted("burstprop") == 2 * forward + 2 * batch * above
