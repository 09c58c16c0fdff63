"""Pooling by slices is torch's pooling: the same maxima, ties and edges, forwards and back."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import creditbench
from creditbench.baselines.networks.pooling import Pooling
from creditbench.suite.losses import CrossEntropy
from creditbench.suite.seeds import SeededNoise
from creditbench.suite.types import Context

poolings = st.builds(
    Pooling,
    kind=st.sampled_from(["max", "mean"]),
    size=st.integers(1, 4),
    stride=st.integers(0, 4),
    padding=st.just(0),
) | st.builds(
    Pooling,
    kind=st.sampled_from(["max", "mean"]),
    size=st.integers(2, 4),
    stride=st.integers(0, 4),
    padding=st.just(1),
)


def context() -> Context:
    """While learning."""
    return Context(CrossEntropy(), SeededNoise([]), classes=3)


def oracle(pooling: Pooling, images: Tensor) -> Tensor:
    if pooling.kind == "max":
        return functional.max_pool2d(images, pooling.size, pooling.step, pooling.padding)
    return functional.avg_pool2d(images, pooling.size, pooling.step, pooling.padding, count_include_pad=False)


@settings(deadline=None)
@given(poolings, st.integers(4, 9), st.integers(4, 9), st.integers(0, 10**6))
def test_it_is_torchs_pooling_with_its_ties_and_ragged_edges(
    pooling: Pooling, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 2, (2, 3, 2, height, width), generator=generator).float()  # full of ties
    x[0, 0, 0, :2, :2] = -torch.inf if pooling.kind == "max" else 0.0
    own, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = pooling.forward(own, {}, {}, None)[0], oracle(pooling, theirs.flatten(0, 1))
    assert y.shape[2:] == pooling.output_shape(tuple(x.shape[2:]))
    assert torch.equal(y.flatten(0, 1), expected) or torch.allclose(y.flatten(0, 1), expected, atol=1e-6)
    change = torch.randn(y.shape, generator=generator)
    wanted = torch.autograd.grad(expected, theirs, change.flatten(0, 1))[0]
    by_autograd = torch.autograd.grad(y, own, change)[0]
    used = pooling.pullback(pooling.forward(x, {}, {}, None)[1], change, {})[0]
    learning = pooling.pullback(pooling.forward(x, {}, {}, context())[1], change, {})[0]
    for found in (by_autograd, used, learning):
        assert torch.equal(found, wanted) if pooling.kind == "max" else torch.allclose(found, wanted)


def test_a_maximum_is_exact_where_nothing_is_added_up() -> None:
    x = torch.randn(1, 5, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    y, _ = Pooling("max", 3, 2, 1).forward(x, {}, {}, None)
    assert torch.equal(y[0], functional.max_pool2d(x[0], 3, 2, 1))


def test_what_is_not_a_number_goes_up_and_comes_down_where_torch_sends_it() -> None:
    x = torch.zeros(1, 1, 1, 4, 4)
    x[..., 0, 1] = x[..., 2, 2] = x[..., 3, 3] = torch.nan
    y, saved = Pooling().forward(x, {}, {}, None)
    assert y.isnan().flatten().tolist() == [True, False, False, True]
    back, _ = Pooling().pullback(saved, torch.ones_like(y), {})
    leaf = x[0].clone().requires_grad_()
    assert torch.equal(back[0], torch.autograd.grad(functional.max_pool2d(leaf, 2).sum(), leaf)[0])


@pytest.mark.parametrize(
    ("kind", "work"), [("max", {"comparisons": 9}), ("mean", {"adds": 9, "divisions": 3})]
)
@pytest.mark.parametrize("when", [None, context()])
def test_a_window_costs_as_many_operations_as_it_has_values_less_one(
    kind: str, work: dict[str, int], when: Context | None
) -> None:
    """And a mean a division. Three windows of four, and a ragged row and column that cost nothing."""
    x = torch.arange(21.0).view(1, 1, 1, 3, 7)
    with creditbench.count_operations(strict=True) as ops:
        Pooling(kind).forward(x, {}, {}, None)
    assert {
        name: getattr(ops, name) for name in ("adds", "divisions", "comparisons") if getattr(ops, name)
    } == work


def test_autograd_through_pooling_keeps_its_input_and_two_bytes_for_each_maximum() -> None:
    x = torch.arange(216.0).view(1, 2, 3, 6, 6).requires_grad_()
    held: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        y, _ = Pooling().forward(x, {}, {}, None)
    assert held.pop(x.untyped_storage().data_ptr()) == 4 * x.numel()
    assert sum(held.values()) == 2 * y.numel()
