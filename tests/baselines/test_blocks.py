"""Every closed-form pullback against autograd, in double precision."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import ModuleBlock, convolution, linear
from creditbench.baselines.networks.pooling import Pooling
from creditbench.baselines.networks.stages import (
    ACTIVATIONS,
    NORMALISATIONS,
    Normalisation,
    RectifiedPower,
    Stage,
    Triangle,
)
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import build_network
from creditbench.suite.losses import CrossEntropy
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Block, Context
from tools import CPU, toy_task

SEEDS = 2


def context(stream: int = 0) -> Context:
    noise = SeededNoise([generator("test", stream, seed) for seed in range(SEEDS)])
    return Context(CrossEntropy(), noise, classes=3)


def bound(block: Block) -> Block:
    """With weights, and gains and shifts that are not the neutral ones, for two seeds."""
    own = [block.initial(generator("weights", seed)) for seed in range(SEEDS)]
    stacked = {k: torch.stack([one[k] for one in own]).double() for k in own[0]}
    nudge = torch.Generator().manual_seed(3)
    noise = {k: 0.3 * torch.randn(p.shape, generator=nudge).double() for k, p in stacked.items()}
    return block.bind({k: p + noise[k] for k, p in stacked.items()})


def randn(*shape: int, seed: int = 11) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def assert_pullback_is_autograd(block: Block) -> None:
    inputs = randn(SEEDS, 5, *block.input_shape)
    leaves = {k: p.clone().requires_grad_() for k, p in block.parameters.items()}
    x = inputs.clone().requires_grad_()
    output = block.bind(leaves).forward(x, context()).output
    change = randn(*output.shape, seed=5)
    expected = torch.autograd.grad(output, [x, *leaves.values()], change)
    trace = block.forward(inputs, context())
    update, below = block.pullback(trace, change)
    assert torch.allclose(below, expected[0], atol=1e-10)
    for name, gradient in zip(leaves, expected[1:], strict=True):
        assert torch.allclose(update[name], gradient, atol=1e-10), name
    assert block.update(trace, change).keys() == update.keys() == block.parameters.keys()


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("normalisation", [None, "layer", "batch"])
def test_a_linear_block_pulls_back_as_autograd_does(activation: str, normalisation: str | None) -> None:
    block = linear("0", (2, 3), 4, activation, normalisation, dropout=0.4)
    assert_pullback_is_autograd(bound(block))


@pytest.mark.parametrize("pooling", [None, "max", "mean"])
@pytest.mark.parametrize("normalisation", [None, *NORMALISATIONS])
def test_a_convolution_pulls_back_as_autograd_does(pooling: str | None, normalisation: str | None) -> None:
    block = convolution("0", (2, 5, 7), 3, "tanh", normalisation, dropout=0.4, pooling=pooling)
    assert_pullback_is_autograd(bound(block))


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 3), (2, 1, 3), (2, 0, 2)])
def test_a_strided_convolution_pulls_back_as_autograd_does(stride: int, padding: int, kernel: int) -> None:
    block = convolution("0", (2, 7, 6), 3, "relu")
    synapses = replace(block.synapses, stride=stride, padding=padding, kernel=kernel)  # type: ignore[arg-type]
    assert_pullback_is_autograd(bound(replace(block, synapses=synapses)))


@pytest.mark.parametrize(
    "stages",
    [
        (RectifiedPower(4.5), Normalisation("layer")),
        (RectifiedPower(0.7),),
        (Triangle(1.4), Pooling("max", 4, 2, 1), Normalisation("batch")),
        (Triangle(), Pooling("mean", 3, 2, 1)),
    ],
)
def test_stages_of_networks_with_an_architecture_of_their_own_pull_back(stages: tuple[Stage, ...]) -> None:
    assert_pullback_is_autograd(bound(replace(convolution("0", (2, 7, 6), 3), stages=stages)))


def test_a_triangle_is_what_exceeds_the_mean_of_its_place() -> None:
    a = torch.tensor([[[[1.0, 4.0]], [[3.0, 4.0]], [[5.0, 1.0]]]]).unsqueeze(0)  # [seed, batch, 3, 1, 2]
    h, _ = Triangle(2.0).forward(a, {}, {}, None)
    assert h.flatten().tolist() == [0, 1, 0, 1, 4, 0]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_network_of_softhebb_has_the_shapes_of_its_authors(shape: tuple[int, ...]) -> None:
    from creditbench.baselines.networks.softhebb import softhebb

    with torch.device("meta"):
        blocks = softhebb(shape, 10)
    side = shape[1]
    expected = [(96, side // 2, side // 2), (384, side // 4, side // 4), (1536, side // 8, side // 8), (10,)]
    assert [block.output_shape for block in blocks] == expected
    with pytest.raises(CreditbenchError, match="1 to 3"):
        softhebb(shape, 10, depth=4)


def test_a_torch_module_pulls_back_by_autograd() -> None:
    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()).double()

    assert_pullback_is_autograd(bound(ModuleBlock(name="0", input_shape=(4,), build=build, shape=(3,))))


def test_a_torch_module_takes_no_feedback_weights() -> None:
    block = bound(
        ModuleBlock(name="0", input_shape=(4,), build=lambda: torch.nn.Linear(4, 3).double(), shape=(3,))
    )
    trace = block.forward(randn(SEEDS, 2, 4))
    with pytest.raises(CreditbenchError, match="no feedback"):
        block.pullback(trace, randn(SEEDS, 2, 3), weight=randn(SEEDS, 3, 4))


def test_a_module_with_buffers_is_refused() -> None:
    block = ModuleBlock(name="0", input_shape=(4,), build=lambda: torch.nn.BatchNorm1d(4), shape=(4,))
    with pytest.raises(CreditbenchError, match="buffers"):
        bound(block).forward(randn(SEEDS, 2, 4))


def test_feedback_weights_carry_the_change_instead_of_the_own_ones() -> None:
    block = bound(linear("0", (4,), 3, "tanh"))
    trace, change, feedback = block.forward(randn(SEEDS, 5, 4)), randn(SEEDS, 5, 3), randn(SEEDS, 3, 4)
    update, below = block.pullback(trace, change, weight=feedback)
    delta = change * (1 - trace.output**2)  # tanh' = 1 - tanh²
    assert torch.allclose(below, delta @ feedback)
    assert torch.equal(update["weight"], block.update(trace, change)["weight"])


def test_batch_normalisation_in_use_needs_statistics_and_then_does_not_mix_samples() -> None:
    block = bound(linear("0", (4,), 3, "relu", "batch"))
    inputs = randn(SEEDS, 6, 4)
    with pytest.raises(CreditbenchError, match="no statistics yet"):
        block.forward(inputs)
    measured, output = block.measure(inputs)
    assert torch.allclose(output, block.forward(inputs, context()).output)
    alone = torch.cat([measured.forward(inputs[:, i : i + 1]).output for i in range(6)], 1)
    assert torch.allclose(alone, output)


@pytest.mark.parametrize("kind", ["layer", "instance"])
def test_normalisation_per_sample_does_not_mix_samples(kind: str) -> None:
    block = bound(convolution("0", (1, 4, 4), 3, "relu", kind))
    inputs = randn(SEEDS, 6, 1, 4, 4)
    alone = [block.forward(inputs[:, i : i + 1], context()).output for i in range(6)]
    assert torch.allclose(torch.cat(alone, 1), block.forward(inputs, context()).output)
    assert not block.mixes_samples


def test_dropout_silences_the_stated_share_and_nothing_in_use() -> None:
    block = bound(linear("0", (4,), 2000, dropout=0.3))
    inputs = randn(SEEDS, 5, 4)
    learning, using = block.forward(inputs, context()).output, block.forward(inputs).output
    kept = learning != 0
    assert abs(kept.double().mean().item() - 0.7) < 0.01
    assert torch.allclose(learning[kept], (using / 0.7)[kept])


def test_max_pooling_leaves_out_the_ragged_edge() -> None:
    x = torch.arange(25.0).view(1, 1, 1, 5, 5)
    y, _ = Pooling("max").forward(x, {}, {}, None)
    assert y.flatten().tolist() == [6, 8, 16, 18]
    assert Pooling("max").output_shape((1, 5, 5)) == (1, 2, 2)


@pytest.mark.parametrize(("shape", "parameters"), [((3, 32, 32), 8.9e6), ((1, 28, 28), 7.3e6)])
def test_vgg8b_has_as_many_parameters_as_its_authors_say(shape: tuple[int, ...], parameters: float) -> None:
    from creditbench.baselines.networks.vgg8b import vgg8b

    with torch.device("meta"):
        blocks = vgg8b(shape, 10)
    assert [type(block.synapses).__name__ for block in blocks] == ["Convolution"] * 6 + ["Linear"] * 2  # type: ignore[attr-defined]
    count = 0
    for block in blocks:
        synapses = block.synapses  # type: ignore[attr-defined]
        inputs = (
            synapses.input_shape[0] * 9 if len(synapses.output_shape) == 3 else _size(synapses.input_shape)
        )
        count += (inputs + 1) * synapses.output_shape[0]
    assert abs(count - parameters) < 0.05e6


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def test_a_convolution_on_a_vector_is_refused_in_words() -> None:
    with pytest.raises(CreditbenchError, match="needs images"):
        convolution("0", (7,), 3)


def test_initial_weights_depend_on_the_seed_and_not_on_the_company() -> None:
    from creditbench.suite import registry

    task, builder = toy_task(), registry.load("network", "mlp")
    pair = build_network(task, "mlp", builder, {}, [4, 9], CPU)
    alone = build_network(task, "mlp", builder, {"activation": "tanh"}, [9], CPU)
    assert torch.equal(pair.blocks[0].weight[1], alone.blocks[0].weight[0])
    assert not torch.equal(pair.blocks[0].weight[0], pair.blocks[0].weight[1])
