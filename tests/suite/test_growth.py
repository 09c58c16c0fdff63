"""Growth of memory: the fit is a fit, and rules grow with depth and time as theory says."""

import json

import pytest
import torch
from torch import Tensor, nn

from creditbench.baselines.networks.blocks import ModuleBlock, linear
from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.growth import DEPTHS, SAMPLES, WIDTH, depth_growth, growth, power_law, time_growth
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Block, Task
from tools import CPU, learner, toy_batch, toy_task

FLOAT = 4  # [B]


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_a_power_law_is_fitted_exactly(exponent: float) -> None:
    sizes = (4, 8, 16, 32)
    found, residual = power_law(sizes, [3 * size**exponent for size in sizes])
    assert found == pytest.approx(exponent, abs=1e-12)
    assert residual == pytest.approx(0, abs=1e-12)


def test_the_residual_is_the_distance_in_logarithms() -> None:
    """Two sizes, each twice, a factor of 4 apart: the line runs through the middle, log 2 from each."""
    slope, residual = power_law((1, 1, 9, 9), (1, 4, 1, 4))
    assert slope == pytest.approx(0)
    assert residual == pytest.approx(0.6931472)


@pytest.mark.parametrize("rule", ["sigprop", "last-layer"])
def test_rules_that_stream_their_updates_are_flat_in_depth(rule: str) -> None:
    found = depth_growth(load_rule(rule)())
    assert found.sizes == DEPTHS
    assert len(set(found.peak_bytes)) == 1
    assert found.exponent == pytest.approx(0, abs=1e-12)
    assert not found.grows


def test_backpropagation_grows_by_one_layer_of_gradients_per_layer() -> None:
    """Its peak is where the last derivative is ready: all of them, and activities that are gone by then."""
    found = depth_growth(load_rule("bp")())
    steps = [
        (after - before) / (large - small)
        for small, large, before, after in zip(
            found.sizes, found.sizes[1:], found.peak_bytes, found.peak_bytes[1:], strict=False
        )
    ]
    assert steps == [FLOAT * (WIDTH * WIDTH + WIDTH)] * 3
    assert 0.8 < found.exponent < 1
    assert found.grows


def test_direct_feedback_grows_by_activities_and_feedback_weights() -> None:
    found = depth_growth(load_rule("dfa")())
    each = (found.peak_bytes[-1] - found.peak_bytes[0]) / (DEPTHS[-1] - DEPTHS[0])
    assert each == FLOAT * (SAMPLES * WIDTH + 10 * WIDTH)


def test_what_every_rule_shares_is_left_out() -> None:
    """Wider inputs mean a larger batch, more weights and more moments, and nothing else for last-layer."""
    peaks = set()
    for shape in ((1, 4, 4), (1, 16, 16)):
        model = learner(load_rule("last-layer")(), toy_task(shape), width=64)
        batch = toy_batch(shape=shape)
        found = growth("nothing", (1, 2, 3, 4), lambda _, same=(model, batch): same)  # type: ignore[misc]
        peaks.add(found.peak_bytes)
    assert len(peaks) == 1


def test_growth_needs_four_sizes() -> None:
    with pytest.raises(CreditbenchError, match="at least four different sizes"):
        depth_growth(load_rule("bp")(), depths=(4, 8, 8, 16))


@pytest.mark.parametrize("network", ["conv", "vgg8b", "mlp:depth=3"])
def test_a_network_whose_depth_cannot_be_set_is_refused(network: str) -> None:
    with pytest.raises(CreditbenchError, match="depth"):
        depth_growth(load_rule("bp")(), network)


# ---------------------------------------------------------------------------- along time


class Recurrent(nn.Module):
    """Reads a sequence [batch, time, 3] of any length; its last activity is its output."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 3) / 2)
        self.own = nn.Parameter(torch.randn(16, 16) / 4)

    def forward(self, sequence: Tensor) -> Tensor:
        h = sequence.new_zeros(len(sequence), 16)
        for x in sequence.unbind(1):
            h = torch.tanh(x @ self.weight.mT + h @ self.own.mT)
        return h


SEQUENCES: Task = toy_task((8, 3))


def recurrent_learner(rule: str) -> Learner:
    def builder(input_shape: tuple[int, ...], classes: int) -> tuple[Block, ...]:
        hidden = ModuleBlock(name="0", input_shape=input_shape, build=Recurrent, shape=(16,))
        return hidden, linear("1", (16,), classes)

    made = build_network(SEQUENCES, "recurrent", builder, {}, [0], CPU)
    return Learner(SEQUENCES, made, load_rule(rule)(), [0], [1e-3], "constant", 10)


def test_backpropagation_through_time_grows_with_time_and_a_forward_pass_alone_does_not() -> None:
    through_time = time_growth(lambda: recurrent_learner("bp"), SEQUENCES)
    assert through_time.along == "sequence length"
    assert 0.8 < through_time.exponent < 1.05
    alone = time_growth(lambda: recurrent_learner("last-layer"), SEQUENCES)
    assert len(set(alone.peak_bytes)) == 1
    assert not alone.grows


def test_inputs_without_a_time_axis_have_no_growth_with_time() -> None:
    with pytest.raises(CreditbenchError, match="no time axis"):
        time_growth(lambda: recurrent_learner("bp"), toy_task((8,)))


# ---------------------------------------------------------------------------- the command


def test_the_command_says_who_grows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["growth", "sigprop:loss=input-label"]) == 0
    assert "does not grow with depth" in capsys.readouterr().out
    assert main(["growth", "fa", "--network", "mlp:width=32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rule"] == "fa"
    assert found["sizes"] == list(DEPTHS)
    assert found["exponent"] > 0.5
    assert main(["growth", "fa", "--network", "conv"]) == 1
    assert "layers of network 'conv' differ in size" in capsys.readouterr().err
