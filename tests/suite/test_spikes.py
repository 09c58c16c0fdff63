"""Spikes are what was declared, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import creditbench
from creditbench.suite.counting.operations import Operations
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.spikes import are_spikes

WEIGHT = torch.linspace(-1, 1, 24).view(4, 6)


def counted(run: Callable[[], Any]) -> Operations:
    with creditbench.count_operations(strict=True) as ops:
        run()
    return ops


def spikes() -> Tensor:
    """[3, 6] with five ones, declared."""
    values = torch.zeros(3, 6)
    values.view(-1)[[0, 4, 7, 11, 12]] = 1.0
    return creditbench.declare_spikes(values)


def test_a_mac_with_a_declared_spike_is_an_accumulate_where_the_spike_is() -> None:
    s = spikes()
    ops = counted(lambda: s @ WEIGHT.T)
    assert (ops.macs, ops.effective_macs) == (0, 0)
    assert (ops.acs, ops.dense_acs) == (5 * 4, 3 * 6 * 4)
    assert ops.energy().arithmetic_pj == pytest.approx(20 * 0.9)


@pytest.mark.parametrize(
    "values",
    [torch.full((3, 6), 0.5), (torch.linspace(0, 1, 18) > 0.5).float().view(3, 6), torch.ones(3, 6)],
    ids=["a constant half", "a binarised image", "a gradient of ones"],
)
def test_values_that_look_like_spikes_are_none_unless_declared(values: Tensor) -> None:
    ops = counted(lambda: values @ WEIGHT.T)
    assert (ops.macs, ops.acs) == (72, 0)


def test_binary_weights_are_no_spikes() -> None:
    x, signs = torch.linspace(-1, 1, 18).view(3, 6), WEIGHT.sign()
    ops = counted(lambda: x @ signs.T)
    assert (ops.macs, ops.acs) == (72, 0)


@pytest.mark.parametrize(
    "carry",
    [
        lambda s: s.view(6, 3),
        lambda s: s.T,
        lambda s: s.T.reshape(-1, 3),
        lambda s: s[1:],
        lambda s: s.unsqueeze(0).expand(2, 3, 6),
        lambda s: s.detach(),
        lambda s: torch.cat([s, s]),
        lambda s: torch.stack([s, s]),
        lambda s: s[torch.tensor([2, 0])],
        lambda s: s.repeat(2, 2),
        lambda s: s.repeat_interleave(2, 0),
        lambda s: functional.max_pool2d(s.view(1, 1, 3, 6), 2),
        lambda s: torch.maximum(s[:, ::2], s[:, 1::2]),
        lambda s: functional.avg_pool2d(s.view(1, 1, 3, 6), 2),
        lambda s: s.to(torch.float64),
    ],
)
def test_a_mark_survives_view_cat_index_pooling_and_repeat(carry: Callable[[Tensor], Tensor]) -> None:
    s = spikes()
    with creditbench.count_operations():
        assert are_spikes(carry(s))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s * 1.0,
        lambda s: s + 0.0,
        lambda s: torch.relu(s),
        lambda s: s.sum(0),
        lambda s: (s > 0).float(),
        lambda s: torch.zeros_like(s),
        lambda s: torch.cat([s, torch.zeros(3, 6)]),
        lambda s: torch.where(s > 0, s, s),
        lambda s: s @ torch.eye(6),
        lambda s: functional.pad(s, (1, 1)),
        lambda s: s.add_(0.0),
    ],
)
def test_a_mark_survives_nothing_else(change: Callable[[Tensor], Tensor]) -> None:
    s = spikes()
    with creditbench.count_operations():
        assert not are_spikes(change(s))


def test_writing_to_spikes_ends_their_mark_even_while_nobody_counts() -> None:
    s = spikes()
    assert are_spikes(s)
    s[0, 0] = 0.5
    assert not are_spikes(s)


def test_the_rest_of_a_memory_of_which_a_part_is_spikes_is_not() -> None:
    both = torch.ones(2, 3, 6)
    creditbench.declare_spikes(both[0])
    assert are_spikes(both[0, 1:])
    assert not are_spikes(both[1])
    assert not are_spikes(both)


def test_a_declaration_that_would_reach_into_its_neighbours_is_refused() -> None:
    with pytest.raises(CreditbenchError, match=r"gaps in memory.*contiguous"):
        creditbench.declare_spikes(torch.ones(3, 6)[:, :2])


def test_a_new_tensor_in_old_memory_is_no_spike() -> None:
    for _ in range(50):
        s = spikes()
        del s
        assert not are_spikes(torch.zeros(3, 6))


class Spike(torch.autograd.Function):
    """Heaviside with a surrogate derivative; declares what it emits."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor) -> Tensor:
        ctx.save_for_backward(potential)
        return creditbench.declare_spikes((potential > 0.5).float())

    @staticmethod
    def backward(ctx: Any, *change: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        slope: Tensor = change[0] / (1 + potential.abs()) ** 2
        return slope


def test_a_layer_of_lif_neurons_costs_its_closed_form() -> None:
    """v = decay v + W s_in - s; per step and neuron: current, decay, reset, threshold."""
    steps, batch, inputs, neurons = 5, 2, 6, 4
    x = (torch.arange(steps * batch * inputs) % 3 == 0).float().view(steps, batch, inputs)
    creditbench.declare_spikes(x)
    weight = WEIGHT.clone().requires_grad_()

    def run() -> Tensor:
        v, s, total = torch.zeros(batch, neurons), torch.zeros(batch, neurons), torch.zeros(batch, neurons)
        for now in x:
            v = 0.9 * v + now @ weight.T - s
            s = Spike.apply(v)  # type: ignore[no-untyped-call]
            total = total + s
        return total

    ops = counted(run)
    updates = steps * batch * neurons
    arriving = int(x.sum()) * neurons
    silent = int((WEIGHT == 0).sum())
    assert silent == 0
    assert (ops.macs, ops.acs, ops.dense_acs) == (0, arriving, steps * batch * inputs * neurons)
    assert (ops.multiplies, ops.adds, ops.comparisons) == (updates, 3 * updates, updates)
    with creditbench.count_operations(strict=True) as backward:
        run().sum().backward()
    # the gradient of the weights joins the same spikes with what comes back
    assert backward.by_phase["credit"].dense_acs == steps * batch * inputs * neurons
    assert backward.macs == 0
