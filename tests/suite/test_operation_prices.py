"""Prices worked out by hand, and against torch's own counter where that is right."""

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import creditbench
from creditbench.suite.counting.operations import Operations
from creditbench.suite.errors import CreditbenchError

ARITHMETIC = (
    "macs",
    "acs",
    "adds",
    "multiplies",
    "divisions",
    "comparisons",
    "transcendentals",
    "random_draws",
)


def cost(run: Callable[[], Any], **options: Any) -> Operations:
    with creditbench.count_operations(strict=True, **options) as ops:
        run()
    return ops


def priced(run: Callable[[], Any]) -> dict[str, int]:
    """What is not zero."""
    ops = cost(run)
    return {name: getattr(ops, name) for name in ARITHMETIC if getattr(ops, name)}


def some(*shape: int, zeros: float = 0.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator)
    return values * (torch.rand(shape, generator=generator) >= zeros)


# ------------------------------------------------------------------------------ contractions


def test_the_bias_of_a_linear_map_is_additions_and_no_part_of_its_macs() -> None:
    x, weight, bias = some(4, 20), some(5, 20), some(5)
    assert priced(lambda: functional.linear(x, weight, bias)) == {"macs": 400, "adds": 20}
    assert priced(lambda: functional.linear(x, weight)) == {"macs": 400}
    assert priced(lambda: torch.addmm(bias, x, weight.T, beta=0)) == {"macs": 400}
    assert priced(lambda: torch.addmm(bias, x, weight.T, beta=2, alpha=3)) == {
        "macs": 400, "adds": 20, "multiplies": 40,
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 7), st.integers(1, 4), st.floats(0, 1))
def test_effective_macs_are_the_products_of_two_non_zeros(b: int, m: int, k: int, n: int, p: float) -> None:
    left, right = some(b, m, k, zeros=p), some(b, k, n, zeros=0.3, seed=1)
    ops = cost(lambda: torch.bmm(left, right))
    assert ops.macs == b * m * k * n
    assert ops.effective_macs == int(((left != 0).double() @ (right != 0).double()).sum())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(3, 7),
    st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.booleans(),
)  # fmt: skip
def test_convolutions_cost_their_taps_and_effectively_those_inside_that_meet_no_zero(
    n: int, groups: int, a: int, c: int, side: int, kernel: int, stride: int, padding: int, dilation: int,
    transposed: bool,
) -> None:  # fmt: skip
    reach = dilation * (kernel - 1)
    padding = min(padding, reach) if transposed else padding
    x = some(n, a * groups, side, side + 1, zeros=0.4).requires_grad_()
    shape = (a * groups, c, kernel, kernel) if transposed else (c * groups, a, kernel, kernel)
    weight, bias = some(*shape, zeros=0.2, seed=1).requires_grad_(), some(c * groups, seed=2).requires_grad_()
    if side + 2 * padding <= reach:
        return
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    convolve: Callable[..., Tensor] = functional.conv_transpose2d if transposed else functional.conv2d
    y = convolve(x, weight, bias, **options)
    forward = cost(lambda: convolve(x, weight, bias, **options))
    positions = x if transposed else y
    dense = n * math.prod(positions.shape[2:]) * weight.numel()

    def ones(t: Tensor) -> Tensor:
        return (t.detach() != 0).double().requires_grad_()

    marked = ones(x), ones(weight)
    counts = convolve(*marked, **options)
    assert (forward.macs, forward.adds) == (dense, y.numel())
    assert forward.effective_macs == counts.sum()

    change = some(*y.shape, zeros=0.5, seed=3)
    backward = cost(lambda: torch.autograd.grad(y, (x, weight, bias), change))
    pulled = torch.autograd.grad(counts, marked, (change != 0).double())
    assert (backward.macs, backward.adds) == (2 * dense, change.numel() - c * groups)
    assert backward.effective_macs == sum(part.sum() for part in pulled)
    assert backward.by_phase["credit"].macs == 2 * dense


def test_padding_taps_are_dense_and_not_effective() -> None:
    ops = cost(lambda: functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), padding=1))
    assert (ops.macs, ops.effective_macs) == (144, 100)


def test_attention_by_einsum_costs_its_two_contractions_and_the_softmax() -> None:
    q, k, v = some(2, 3, 4), some(2, 5, 4), some(2, 5, 6)

    def attend() -> Tensor:
        return torch.einsum("bqk,bkd->bqd", torch.einsum("bqd,bkd->bqk", q, k).softmax(-1), v)

    scores, rows = 2 * 3 * 5, 2 * 3
    assert priced(attend) == {
        "macs": 2 * 3 * 5 * 4 + 2 * 3 * 5 * 6, "comparisons": scores - rows, "adds": 2 * scores - rows,
        "transcendentals": scores, "divisions": scores,
    }  # fmt: skip


def test_an_inner_length_of_one_is_macs_and_an_outer_product_spelt_pointwise_multiplications() -> None:
    a, b = some(4, 1), some(1, 5)
    assert priced(lambda: a @ b) == {"macs": 20}
    assert priced(lambda: torch.outer(a[:, 0], b[0])) == {"multiplies": 20}
    spelt = [cost(lambda: a @ b).energy(), cost(lambda: torch.outer(a[:, 0], b[0]) + 0.0).energy()]
    assert spelt[0].arithmetic_pj == pytest.approx(spelt[1].arithmetic_pj)


def test_what_other_counters_leave_at_zero_has_its_exact_number() -> None:
    a, b, m = some(5), some(5, seed=1), some(4, 5)
    assert priced(lambda: torch.dot(a, b)) == {"macs": 5}
    assert priced(lambda: torch.mv(m, a)) == {"macs": 20}
    assert priced(lambda: torch.addmv(some(4), m, a))["macs"] == 20
    assert priced(lambda: torch.addcmul(a, a, b)) == {"multiplies": 5, "adds": 5}
    assert priced(lambda: torch.addcmul(a, a, b, value=0.5)) == {"multiplies": 10, "adds": 5}
    sparse = torch.eye(5).to_sparse()
    assert priced(lambda: torch.sparse.mm(sparse, m.T)) == {"macs": 5 * 4}
    assert priced(lambda: torch.func.vmap(torch.dot)(m, m)) == {"macs": 20}
    assert priced(lambda: torch.func.vmap(torch.outer, in_dims=(0, None))(m, a)) == {"multiplies": 100}
    assert priced(lambda: torch.func.grad(lambda x: torch.dot(x, b))(a)) == {"macs": 5, "multiplies": 5}
    tangent = {"transcendentals": 5, "multiplies": 10, "adds": 5}
    assert priced(lambda: torch.func.jvp(torch.tanh, (a,), (b,))) == tangent
    assert priced(lambda: torch._foreach_add_([a.clone(), b.clone()], 1.0)) == {"adds": 10}


@pytest.mark.parametrize("layers", [1, 2])
def test_a_recurrent_layer_costs_its_gates_although_torch_has_it_fused(layers: int) -> None:
    with torch.random.fork_rng():
        lstm, gru = nn.LSTM(3, 4, layers), nn.GRU(3, 4, layers)
    x, steps, batch = some(6, 2, 3), 6, 2
    inner = sum(4 + (3 if layer == 0 else 4) for layer in range(layers))
    with torch.no_grad():
        assert cost(lambda: lstm(x)).macs == steps * batch * 4 * 4 * inner
        assert cost(lambda: gru(x)).macs == steps * batch * 3 * 4 * inner
    assert cost(lambda: lstm(x)).macs == steps * batch * 4 * 4 * inner


def test_attention_costs_the_same_in_training_and_in_use() -> None:
    with torch.random.fork_rng():
        attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = some(1, 3, 8)
    forward = 3 * 8 * 24 + 2 * (2 * 3 * 3 * 4) + 3 * 8 * 8
    assert cost(lambda: attention(x, x, x)).macs == forward
    attention.eval()
    with torch.no_grad():
        assert cost(lambda: attention(x, x, x)).macs == forward
        assert cost(lambda: attention(x, x, x, need_weights=False)).macs == forward
    with torch.inference_mode():
        assert cost(lambda: attention(x, x, x)).macs == forward


def test_fused_kernels_are_back_after_counting_even_when_that_fails() -> None:
    def state() -> tuple[bool, bool]:
        return torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()

    def fail() -> None:
        assert state() == (False, False)
        raise ZeroDivisionError

    before = state()
    with pytest.raises(ZeroDivisionError):
        cost(fail)
    assert state() == before


def test_fused_kernels_stay_off_until_the_last_counter_of_any_thread_is_done() -> None:
    first, second = creditbench.count_operations(), creditbench.count_operations()
    begun, end = threading.Event(), threading.Event()

    def other() -> None:
        with second:
            begun.set()
            end.wait()

    thread = threading.Thread(target=other)
    with first:
        thread.start()
        begun.wait()
    assert not torch._C._get_mkldnn_enabled()
    end.set()
    thread.join()
    assert torch._C._get_mkldnn_enabled()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(1, 5))
def test_solving_costs_textbook_elimination(n: int, columns: int) -> None:
    """Elimination and two triangles, as loops would do them."""
    elimination = sum((n - 1 - i) ** 2 for i in range(n))
    macs = elimination + 2 * columns * sum(range(n))
    a, b = torch.eye(n) + 0.1, torch.ones(n, columns)
    ops = cost(lambda: torch.linalg.solve(a, b))
    assert ops.macs == macs
    assert ops.divisions == sum(range(n)) + columns * n


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 4))
def test_macs_are_half_of_what_torchs_counter_has_where_it_is_right(batch: int, width: int, c: int) -> None:
    with torch.random.fork_rng():
        net = nn.Sequential(
            nn.Conv2d(1, c, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(9 * c, width),
            nn.Tanh(), nn.Linear(width, 3),
        )  # fmt: skip
    x = some(batch, 1, 6, 6)

    def train() -> None:
        net(x).square().sum().backward()

    with FlopCounterMode(display=False) as flops:
        train()
    assert cost(train).macs * 2 == flops.get_total_flops()


# -------------------------------------------------------------------------------- pointwise


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda x: x + 1, {"adds": 12}),
        (lambda x: torch.add(x, x, alpha=2), {"adds": 12, "multiplies": 12}),
        (lambda x: x * x, {"multiplies": 12}),
        (lambda x: x**2, {"multiplies": 12}),
        (lambda x: x**3, {"multiplies": 24}),
        (lambda x: x**0.5, {"transcendentals": 12}),
        (lambda x: x / 2, {"divisions": 12}),
        (torch.relu, {"comparisons": 12}),
        (lambda x: x.clamp(0, 1), {"comparisons": 24}),
        (lambda x: x.clamp(min=0), {"comparisons": 12}),
        (torch.exp, {"transcendentals": 12}),
        (lambda x: x > 0, {"comparisons": 12}),
        (lambda x: torch.where(x > 0, x, -x), {"comparisons": 24, "adds": 12}),
        (lambda x: torch.lerp(x, x, 0.5), {"adds": 24, "multiplies": 12}),
        (lambda x: x.sum(), {"adds": 11}),
        (lambda x: x.sum(1), {"adds": 9}),
        (lambda x: x.mean(0), {"adds": 8, "divisions": 4}),
        (lambda x: x.norm(), {"multiplies": 12, "adds": 11, "transcendentals": 1}),
        (lambda x: x.argmax(1), {"comparisons": 9}),
        (lambda x: x.cumsum(1), {"adds": 9}),
        (lambda x: x.var(1), {"adds": 9 + 12 + 9, "multiplies": 12, "divisions": 6}),
        (lambda x: x.log_softmax(1), {"comparisons": 9, "adds": 33, "transcendentals": 15}),
        (lambda x: x.T.reshape(-1).clone()[2:], {}),
        (lambda x: torch.cat([x, x]), {}),
        (lambda x: x[torch.tensor([0, 1])], {}),
        (lambda x: functional.avg_pool2d(x.view(1, 1, 3, 4), (1, 2)), {"adds": 6, "divisions": 6}),
        (lambda x: functional.max_pool2d(x.view(1, 1, 3, 4), (3, 2)), {"comparisons": 10}),
    ],
)
def test_pointwise_work_and_reductions_cost_what_is_spelt(
    run: Callable[[Tensor], Any], expected: dict[str, int]
) -> None:
    x = some(3, 4).abs()
    assert priced(lambda: run(x)) == expected


def test_random_numbers_are_draws_and_normal_ones_box_and_mullers_arithmetic_besides(
    draws_globally: None,
) -> None:
    assert priced(lambda: torch.rand(3, 4)) == {"random_draws": 12}
    assert priced(lambda: torch.randperm(7)) == {"random_draws": 7}
    assert priced(lambda: torch.randint(5, (4,))) == {"random_draws": 4}
    assert priced(lambda: torch.bernoulli(torch.full((4,), 0.5))) == {"random_draws": 4, "comparisons": 4}
    assert priced(lambda: torch.randn(6)) == {"random_draws": 6, "transcendentals": 12, "multiplies": 12}
    assert priced(lambda: functional.dropout(torch.ones(6)))["random_draws"] == 6


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_costs_the_same_fused_in_lists_and_spelt_out(kind: Callable[..., Any]) -> None:
    counts = []
    for options in ({"fused": True}, {"foreach": True}, {"foreach": False}):
        parameter = nn.Parameter(some(7))
        optimizer = kind([parameter], weight_decay=0.0, **options)
        for _ in range(2):
            parameter.grad = some(7, seed=1)
            counts.append(priced(optimizer.step))
    expected = {"multiplies": 35, "adds": 35 + 1, "transcendentals": 7, "divisions": 14}
    assert counts == [expected] * 6  # the one addition counts steps


def test_descent_costs_one_product_and_one_sum_per_weight_and_momentum_as_much_again() -> None:
    for fused in (True, False):
        parameter = nn.Parameter(some(7))
        parameter.grad = some(7, seed=1)
        plain = torch.optim.SGD([parameter], lr=0.1, fused=fused)
        assert priced(plain.step) == {"multiplies": 7, "adds": 7}


# ---------------------------------------------------------------------- unknown, strict, the same


def test_an_operator_without_a_price_is_named_with_its_elements_and_lowers_the_coverage() -> None:
    x = some(4, 4)
    with creditbench.count_operations() as ops:
        torch.linalg.eigvalsh(x @ x.T)
    assert set(ops.unknown) == {"_linalg_eigh"}
    assert ops.coverage == 16 / (16 + ops.unknown["_linalg_eigh"])
    assert ops.macs == 64


def test_complex_arithmetic_is_unknown_rather_than_counted_as_real() -> None:
    z = torch.ones(2, 2, dtype=torch.complex64)
    with creditbench.count_operations() as ops:
        (z @ z).abs()
    assert ops.unknown == {"mm": 4, "abs": 4}
    assert ops.macs == 0


def test_operators_of_others_are_unknown_though_their_names_be_torchs() -> None:
    library = torch.library.Library("creditbench_test", "DEF")
    library.define("mul(Tensor self, Tensor other) -> Tensor")
    library.impl("mul", lambda a, b: a.clone(), "CPU")
    x = some(3)
    with creditbench.count_operations() as ops:
        torch.ops.creditbench_test.mul(x, x)
    assert ops.unknown == {"creditbench_test::mul": 3}
    assert (ops.multiplies, ops.coverage) == (0, 0)


def test_strict_mode_refuses_an_operator_without_a_price_by_name() -> None:
    x = some(4, 4)
    with pytest.raises(CreditbenchError, match="'_linalg_eigh'"), creditbench.count_operations(strict=True):
        torch.linalg.eigvalsh(x)


def test_nothing_counted_is_covered_in_full() -> None:
    with creditbench.count_operations() as ops:
        pass
    assert ops.coverage == 1
    assert ops.macs == 0


def test_a_counter_inside_another_does_not_show_the_outer_one_its_own_work() -> None:
    x = some(3, 4, zeros=0.5)
    with creditbench.count_operations() as outer, creditbench.count_operations() as inner:
        _ = x @ x.T
    assert outer == inner
    assert outer.macs == 36


# -------------------------------------------------------------------------------- traffic


def test_traffic_is_every_operators_and_compulsory_traffic_that_of_outside_memory_once() -> None:
    x, y = some(10), some(10, seed=1)
    ops = cost(lambda: torch.mul(x + y, y))
    assert (ops.bytes_read, ops.bytes_written) == (160, 80)
    assert ops.compulsory_bytes == 80  # x and y
    ops = cost(lambda: x.add_(y).mul_(y))
    assert (ops.bytes_read, ops.bytes_written) == (160, 80)
    assert ops.compulsory_bytes == 120  # and x written


def test_views_move_nothing_fills_are_written_and_copies_move_what_comes_out() -> None:
    x = some(5, 4)
    assert cost(lambda: x.T[1:].view(3, 5).expand(2, 3, 5)).bytes_read == 0
    filled = cost(lambda: torch.zeros(5))
    assert (filled.bytes_read, filled.bytes_written) == (0, 20)
    taken = cost(lambda: x.index_select(0, torch.tensor([1])))
    assert (taken.bytes_read, taken.bytes_written) == (16 + 8, 16)
    repeated = cost(lambda: torch.ones(1, 4).expand(5, 4) + x)
    assert repeated.bytes_read == 16 + 80


# ------------------------------------------------------------------------- parameter writes


def test_parameter_writes_are_the_elements_that_really_change() -> None:
    parameter, other = nn.Parameter(torch.ones(4)), torch.ones(4)

    def change() -> None:
        with torch.no_grad():
            parameter.add_(torch.tensor([0.0, 1.0, 0.0, 2.0]))
            parameter[2:].mul_(3)
            other.add_(1)

    assert cost(change).parameter_writes == 4
    assert cost(change, parameters=[other]).parameter_writes == 4 + 4
