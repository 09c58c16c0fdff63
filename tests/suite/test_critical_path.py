"""The longest chain of dependent work and the pipeline interval, against hand-worked cases."""

import itertools
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import creditbench
from creditbench.suite.counting.operations import Operations
from creditbench.suite.counting.pipeline import interval, stages
from creditbench.suite.counting.versions import region
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.plan import load_rule
from tools import learner, toy_batch, toy_task

RULES = ("bp", "fa", "dfa", "last-layer", "sigprop")
CLASSES = 3


def path(run: Callable[[], object], samples: int | None = None) -> float:
    with creditbench.count_operations(strict=True, samples=samples) as ops:
        run()
    return ops.critical_path_macs


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


# ---------------------------------------------------------------------- chains and branches

# [2, 3] times [3, 5] are 30 MACs; [2, 3] times [3, 7] are 42.
X, SHORT, LONG, SQUARE = ones(2, 3), ones(3, 5), ones(3, 7), ones(3, 3)


def test_dependent_work_adds_up_and_independent_work_is_done_side_by_side() -> None:
    assert path(lambda: X @ SQUARE @ SQUARE @ SHORT) == 18 + 18 + 30
    assert path(lambda: (X @ SHORT, X @ LONG)) == 42
    assert path(lambda: torch.cat([X @ SHORT, X @ LONG], 1) @ ones(12, 1)) == 42 + 24


def test_what_is_no_mac_costs_nothing_and_still_hands_dependence_on() -> None:
    assert path(lambda: (X.exp() * 2).sum()) == 0
    assert path(lambda: torch.tanh(X @ SQUARE).mul(2).clone() @ SHORT) == 18 + 30


def test_a_batched_operator_costs_one_slice() -> None:
    assert path(lambda: torch.bmm(ones(8, 4, 5), ones(8, 5, 6))) == 4 * 5 * 6
    assert path(lambda: torch.baddbmm(ones(8, 4, 6), ones(8, 4, 5), ones(8, 5, 6))) == 4 * 5 * 6
    assert path(lambda: torch.vmap(torch.matmul)(ones(8, 4, 5), ones(8, 5, 6))) == 4 * 5 * 6
    image, kernels = ones(8, 2, 5, 5), ones(3, 2, 3, 3)
    assert path(lambda: torch.nn.functional.conv2d(image, kernels)) == 3 * 3 * 3 * 2 * 9


def test_with_samples_the_figure_is_that_of_one_whatever_axis_holds_them() -> None:
    """A layer, an outer product summed over samples, a convolution, heads of attention, stacked layers."""
    assert path(lambda: ones(8, 5) @ ones(5, 6), samples=8) == 5 * 6
    assert path(lambda: ones(8, 6).T @ ones(8, 5), samples=8) == 6 * 5
    assert path(lambda: ones(1, 8, 5) @ ones(1, 5, 6), samples=8) == 5 * 6
    image, kernels = ones(8, 2, 5, 5), ones(3, 2, 3, 3)
    assert path(lambda: torch.nn.functional.conv2d(image, kernels), samples=8) == 3 * 3 * 3 * 2 * 9
    assert path(lambda: torch.bmm(ones(16, 4, 5), ones(16, 5, 4)), samples=8) == 4 * 5 * 4
    assert path(lambda: torch.bmm(ones(3, 8, 5), ones(3, 5, 6)), samples=8) == 5 * 6


def test_accumulates_with_spikes_are_as_long_as_dense_macs() -> None:
    spikes = torch.eye(3)
    assert path(lambda: creditbench.declare_spikes(spikes) @ SHORT) == 45


# ---------------------------------------------------------------------------- through memory


def test_views_of_a_result_depend_on_it() -> None:
    assert path(lambda: (X @ SQUARE).view(3, 2).T @ SHORT) == 18 + 30
    assert path(lambda: (X @ SQUARE)[1:].expand(2, 3) @ SHORT) == 18 + 30


def test_writing_in_place_makes_a_new_version_for_every_view_of_it() -> None:
    def run() -> Tensor:
        kept = torch.zeros(2, 3)
        view = kept.view(6)
        kept.add_(X @ SQUARE)
        kept.mul_(2)
        return view.view(2, 3) @ SHORT

    assert path(run) == 18 + 30


def test_what_read_an_old_version_does_not_wait_for_the_new_one() -> None:
    def run() -> Tensor:
        weight = torch.ones(3, 3)
        before = X @ weight  # 18
        weight.copy_(SQUARE @ SQUARE @ SQUARE)  # 54
        return before @ SHORT  # 18 + 30

    assert path(run) == 54


def test_memory_that_is_written_over_forgets_what_was_there() -> None:
    def run() -> Tensor:
        kept = X @ SQUARE
        kept.copy_(X)
        return kept @ SHORT

    def filled() -> Tensor:
        return (X @ SQUARE).fill_(1.0) @ SHORT

    assert path(run) == path(filled) == 30


@pytest.mark.parametrize(
    "part",
    [
        lambda kept, n: kept[n],  # rows
        lambda kept, n: kept.view(2, 3, 4)[:, n],  # side by side within longer rows
        lambda kept, n: kept.view(2, 4, 3)[..., n],  # every third
    ],
)
def test_parts_of_memory_that_do_not_overlap_do_not_wait_for_each_other(
    part: Callable[[Tensor, int], Tensor],
) -> None:
    def run() -> None:
        kept = torch.zeros(3, 2, 4)
        for number in range(3):
            part(kept, number).copy_(ones(2, 3) @ ones(3, 4))  # 24
        for number in range(3):
            part(kept, number).copy_(part(kept, number) @ ones(4, 4))  # 32

    def whole() -> Tensor:
        kept = torch.zeros(3, 2, 4)
        for number in range(2):
            part(kept, number).copy_(ones(2, 3) @ ones(3, 4))
        return kept.view(6, 4) @ ones(4, 1)

    assert path(run) == 24 + 32
    assert path(whole) == 24 + 24


def test_columns_that_overlap_wait_for_each_other() -> None:
    def run(first: int, last: int) -> Tensor:
        kept = torch.zeros(2, 6)
        kept[:, 1:4] = X @ SQUARE  # 18
        return kept[:, first : last + 1] @ ones(last - first + 1, 1)

    assert path(lambda: run(3, 5)) == path(lambda: run(0, 2)) == 18 + 6
    assert path(lambda: run(4, 5)) == 18


VIEWS = st.lists(st.tuples(st.sampled_from(["narrow", "step", "select"]), st.integers(0, 11)), max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.tuples(VIEWS, VIEWS), st.sampled_from([(3, 2, 4), (6, 4), (2, 3, 4)]))
def test_tensors_that_share_memory_are_never_taken_to_be_apart(
    views: tuple[list[tuple[str, int]], ...], shape: tuple[int, ...]
) -> None:
    def view(moves: list[tuple[str, int]]) -> Tensor:
        tensor = torch.arange(24).view(shape)
        for kind, number in moves:
            if not tensor.dim():
                break
            axis = number % tensor.dim()
            start = number % tensor.shape[axis]
            if kind == "select":
                tensor = tensor.select(axis, start)
            else:
                tensor = tensor.movedim(axis, 0)[start :: 2 if kind == "step" else 1].movedim(0, axis)
        return tensor

    a, b = map(view, views)
    here, there = (set(tensor.flatten().tolist()) for tensor in (a, b))
    if here & there:
        assert region(a).meets(region(b))
    if region(a).covers(region(b)):
        assert there <= here


def test_a_number_that_python_has_read_may_decide_all_that_follows() -> None:
    def run() -> Tensor:
        return X @ SHORT if (X @ SQUARE).sum().item() > 0 else X @ LONG

    assert path(run) == 18 + 30


def test_tensors_in_one_list_operator_do_not_depend_on_each_other() -> None:
    def run() -> Tensor:
        first, second = torch.zeros(2, 7), torch.zeros(2, 5)
        torch._foreach_add_([first, second], [X @ LONG, X @ SHORT])  # 42, 30
        return second @ ones(5, 1)  # 10

    assert path(run) == 42


# ----------------------------------------------------------------------------------- autograd


def chain_of_layers(sizes: list[int], batch: int) -> Callable[[], object]:
    weights = [ones(b, a).requires_grad_() for a, b in itertools.pairwise(sizes)]

    def run() -> object:
        h = ones(batch, sizes[0])
        for weight in weights:
            h = torch.nn.functional.linear(h, weight).tanh()
        return torch.autograd.grad(h.sum(), weights)

    return run


def test_autograds_way_back_is_as_long_as_the_way_there() -> None:
    """Transport through every layer but the first, whose weight gradient comes last."""
    run = chain_of_layers([4, 5, 6, 2], batch=7)
    assert path(run) == 7 * 2 * (20 + 30 + 12)
    assert path(run, samples=7) == 2 * (20 + 30 + 12)


def test_both_gradients_of_a_convolution_start_together() -> None:
    image, kernels = ones(8, 2, 5, 5).requires_grad_(), ones(2, 2, 3, 3).requires_grad_()
    each = 25 * 2 * 2 * 9

    def run() -> object:
        convolve = torch.nn.functional.conv2d
        hidden = convolve(image, kernels, padding=1)
        out = convolve(hidden, kernels, padding=1)
        return torch.autograd.grad(out.square().sum(), [image, kernels])

    assert path(run) == 4 * each


def test_work_inside_vmap_and_functional_gradients_is_followed() -> None:
    """Four samples forward through two layers and back through one; then one sample's outer product, since
    vmap makes a batched operator of it."""

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return (x @ weight @ weight).square().sum()

    per_sample = torch.vmap(torch.func.grad(loss), (None, 0))
    assert path(lambda: per_sample(SQUARE, ones(4, 3))) == 3 * 4 * 9 + 9


# ------------------------------------------------------------------------- rules, closed forms


def step_of(rule: str, batch: int = 9, name: str = "mlp", **options: Any) -> Operations:
    """One training step, the second, followed per sample and by block."""
    model = learner(load_rule(rule)(), toy_task((1, 4, 4), CLASSES), name, **options)
    samples = toy_batch(samples=batch)
    model.step(samples)
    with creditbench.count_operations(
        strict=True, samples=batch, stages=stages(model.network, model.state)
    ) as ops:
        model.step(samples)
    return ops


def layers_of(width: int, depth: int) -> list[int]:
    """MACs of every layer's forward pass, per sample."""
    return [a * b for a, b in itertools.pairwise([16, *[width] * depth, CLASSES])]


SIZES = given(st.integers(3, 40), st.integers(1, 50), st.integers(1, 5))


@settings(max_examples=15, deadline=None)
@SIZES
def test_bp_and_fa_go_forward_through_all_layers_and_back(batch: int, width: int, depth: int) -> None:
    """All layers forward, transport through all but the first, and the first one's outer product; the
    first block waits for all of it before the next batch may come."""
    layers = layers_of(width, depth)
    busiest = max(2 * layers[0], *(3 * own for own in layers[1:]))
    bp, fa = (step_of(rule, batch, width=width, depth=depth) for rule in ("bp", "fa"))
    assert bp.critical_path_macs == fa.critical_path_macs == 2 * sum(layers)
    assert bp.pipeline_interval_macs == max(2 * sum(layers), busiest)
    assert fa.pipeline_interval_macs == 2 * sum(layers)
    work = [2 * layers[0], *(3 * own for own in layers[1:])]
    assert list(bp.macs_by_stage.values()) == work


@settings(max_examples=10, deadline=None)
@SIZES
def test_last_layer_goes_forward_and_trains_one_layer(batch: int, width: int, depth: int) -> None:
    """Hidden blocks wait for nothing, so that the busiest one sets the pace."""
    layers = layers_of(width, depth)
    ops = step_of("last-layer", batch, width=width, depth=depth)
    assert ops.critical_path_macs == sum(layers) + layers[-1]
    assert ops.pipeline_interval_macs == max(*layers[:-1], 2 * layers[-1])


@settings(max_examples=15, deadline=None)
@SIZES
def test_dfa_goes_forward_through_all_layers_and_back_in_one_leap(batch: int, width: int, depth: int) -> None:
    """Every block waits for the error at the output: nothing travels down, and still it is locked."""
    layers = layers_of(width, depth)
    leap = [CLASSES * width] * depth + [0]
    ops = step_of("dfa", batch, width=width, depth=depth)
    ends = [credit + own for credit, own in zip(leap, layers, strict=True)]
    assert ops.critical_path_macs == sum(layers) + max(ends)
    # From a block's weights to the output and back to itself; a circle through several has their mean.
    assert ops.pipeline_interval_macs == max(sum(layers[n:]) + end for n, end in enumerate(ends))


@settings(max_examples=15, deadline=None)
@SIZES
def test_sigprop_learns_on_the_way_and_its_busiest_block_sets_the_pace(
    batch: int, width: int, depth: int
) -> None:
    """Behind the first block the targets' rows are shared by the samples of the batch."""
    *hidden, last = layers_of(width, depth)
    rows = [Fraction(1), *[Fraction(batch + CLASSES, batch)] * (depth - 1)]
    forward = [row * own for row, own in zip(rows, hidden, strict=True)]
    similarity = CLASSES * width  # and as much again for each of its slopes
    ops = step_of("sigprop", batch, width=width, depth=depth)
    ends = [sum(forward[: n + 1]) + 2 * similarity + own for n, own in enumerate(forward)]
    assert ops.critical_path_macs == pytest.approx(float(max(*ends, sum(forward) + 2 * last)))
    work = [float(2 * own + 3 * similarity) for own in forward]
    assert ops.macs_by_stage == pytest.approx(
        {f"block {n}": own for n, own in enumerate([*work, 2 * last])} | {"learned generator": 0}
    )
    assert ops.pipeline_interval_macs == pytest.approx(max(*work, 2 * last))


def test_with_depth_bp_is_held_up_ever_longer_and_sigprop_is_not() -> None:
    bp, sigprop = (
        [step_of(rule, width=16, depth=depth).pipeline_interval_macs for depth in (2, 4, 8)]
        for rule in ("bp", "sigprop")
    )
    assert bp == [2 * (256 * depth + 48) for depth in (2, 4, 8)]
    assert len(set(sigprop)) == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_the_path_is_no_longer_than_the_work_and_the_work_is_all_some_blocks(rule: str, name: str) -> None:
    first, second = (step_of(rule, 8, name, width=8) for _ in range(2))
    assert first == second
    work = first.macs / 8
    assert 0 < first.critical_path_macs <= work
    assert first.pipeline_interval_macs is not None
    assert sum(first.macs_by_stage.values()) == pytest.approx(work)
    assert max(first.macs_by_stage.values()) <= first.pipeline_interval_macs <= work


def test_convolutions_go_forward_and_back_too() -> None:
    layers = [16 * 5 * 9, 4 * 10 * 9 * 5, 10 * 3]
    bp, fa = (step_of(rule, 4, "conv", width=5) for rule in ("bp", "fa"))
    assert bp.critical_path_macs == fa.critical_path_macs == 2 * sum(layers)
    assert bp.pipeline_interval_macs == 3 * layers[1]  # the second block's own work is more than the way


def test_two_seeds_in_one_pass_are_as_long_as_one() -> None:
    def both(rule: str, seeds: int) -> float:
        model = learner(load_rule(rule)(), seeds=range(seeds), width=8)
        batch = toy_batch(seeds=seeds, samples=9)
        return path(lambda: model.step(batch), samples=9)

    for rule in ("bp", "fa", "sigprop"):
        assert both(rule, 2) == both(rule, 1)


# ----------------------------------------------------------------------------------- pipeline


def test_without_stages_there_is_no_interval() -> None:
    with creditbench.count_operations() as ops:
        X @ SQUARE
    assert ops.pipeline_interval_macs is None
    assert ops.macs_by_stage == {}


def piped(run: Callable[[Tensor, Tensor], object]) -> Operations:
    """Two stages with a weight of [3, 3] each."""
    first, second = ones(3, 3), ones(3, 3)
    with creditbench.count_operations(strict=True, stages={"first": [first], "second": [second]}) as ops:
        run(first, second)
    return ops


def test_stages_that_learn_from_each_other_in_turn_share_the_way_round() -> None:
    def run(first: Tensor, second: Tensor) -> None:
        to_second = first @ SQUARE @ SQUARE  # 27 + 27
        to_first = second.clone()
        first.copy_(to_first)
        second.copy_(to_second)

    ops = piped(run)
    assert ops.critical_path_macs == 54
    assert ops.macs_by_stage == {"first": 27, "second": 27}
    assert ops.pipeline_interval_macs == 27  # there and back takes two steps


def test_a_stage_that_learns_nothing_waits_for_nothing() -> None:
    def run(first: Tensor, second: Tensor) -> None:
        second.add_(SQUARE @ first @ second)

    ops = piped(run)
    assert ops.critical_path_macs == 54
    assert ops.pipeline_interval_macs == 27


def test_work_belongs_to_the_stage_whose_weights_it_reads_or_else_whose_update_it_leads_to() -> None:
    def run(first: Tensor, second: Tensor) -> None:
        hidden = X @ first.clone()  # 18, first's, by a copy
        change = hidden.T @ hidden  # 18
        second.sub_(change.tanh() @ SQUARE)  # 27
        _ = hidden @ LONG  # 42: leads nowhere

    assert piped(run).macs_by_stage == {"first": 18, "second": 45}


def test_weights_of_several_stages_in_one_piece_of_memory_are_told_apart() -> None:
    flat = ones(2, 3, 3)
    with creditbench.count_operations(strict=True, stages={"first": [flat[0]], "second": [flat[1]]}) as ops:
        for weight in flat:
            weight.add_(SQUARE @ weight)
    assert ops.macs_by_stage == {"first": 27, "second": 27}
    assert ops.pipeline_interval_macs == 27
    assert ops.critical_path_macs == 27


CHAINS = st.integers(1, 4).flatmap(
    lambda n: st.dictionaries(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), st.integers(0, 20))
)


@settings(max_examples=100, deadline=None)
@given(CHAINS)
def test_the_interval_is_the_greatest_mean_of_any_circle(edges: Mapping[tuple[int, int], int]) -> None:
    """Against all circles, one by one."""
    nodes = range(4)
    means = [Fraction(0)]
    for length in range(1, 5):
        for circle in itertools.permutations(nodes, length):
            steps = list(zip(circle, (*circle[1:], circle[0]), strict=True))
            if all(step in edges for step in steps):
                means.append(Fraction(sum(edges[step] for step in steps), length))
    chains = {str(to): {str(a): cost for (a, b), cost in edges.items() if b == to} for to in nodes}
    assert interval(chains, {}) == max(means)
    assert interval(chains, {"busy": 100}) == 100


def test_no_samples_are_refused() -> None:
    with (
        pytest.raises(CreditbenchError, match="samples=0; give the batch size"),
        creditbench.count_operations(samples=0),
    ):
        pass
