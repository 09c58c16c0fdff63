"""What a packed series keeps, and what losses and metrics make of targets at steps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.losses import METRICS, loss
from creditbench.suite.series import Series

NAN = torch.nan


def test_a_hand_packed_series_says_what_was_seen_when() -> None:
    packed = torch.tensor(
        [[[0.5, 1.0, NAN], [2.0, NAN, NAN], [2.5, 3.0, 4.0]], [[1.0, NAN, 7.0], [NAN] * 3, [NAN] * 3]]
    )
    series = Series.unpack(packed)
    assert series.lengths.tolist() == [3, 1]
    assert series.values.tolist() == [[[1, 0], [0, 0], [3, 4]], [[0, 7], [0, 0], [0, 0]]]
    assert series.mask.tolist() == [[[1, 0], [0, 0], [1, 1]], [[0, 1], [0, 0], [0, 0]]]
    assert series.elapsed.tolist() == [[0.5, 1.5, 0.5], [1.0, 0.0, 0.0]]
    assert series.observed.tolist() == [[True, False, True], [True, False, False]]
    assert series.last(series.values).tolist() == [[3, 4], [0, 7]]


def test_times_that_fall_are_refused() -> None:
    with pytest.raises(CreditbenchError, match="fall"):
        Series(
            torch.zeros(1, 2, 1), torch.ones(1, 2, 1), torch.tensor([[2.0, 1.0]]), torch.tensor([2])
        ).pack()


def test_a_series_without_a_step_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="no step"):
        Series(torch.zeros(1, 2, 1), torch.ones(1, 2, 1), torch.zeros(1, 2), torch.tensor([0])).pack()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 1000))
def test_packing_and_unpacking_lose_nothing(steps: int, features: int, number: int) -> None:
    draw = torch.Generator().manual_seed(number)
    lengths = torch.randint(1, steps + 1, (2, 3), generator=draw)
    there = torch.arange(steps) < lengths.unsqueeze(-1)
    mask = (torch.rand(2, 3, steps, features, generator=draw) < 0.5).float() * there.unsqueeze(-1)
    values = torch.randn(2, 3, steps, features, generator=draw) * mask
    times = torch.where(there, torch.rand(2, 3, steps, generator=draw), 0.0).cumsum(-1)
    back = Series.unpack(Series(values, mask, times, lengths).pack())
    for old, new in ((values, back.values), (mask, back.mask), (times, back.times), (lengths, back.lengths)):
        assert torch.equal(old, new)


# ------------------------------------------------------------------------------ losses at steps

TARGETS = {
    "cross-entropy": torch.tensor(
        [[[0, -1, 2], [-1, -1, 1]], [[-1, -1, -1], [0, 1, 2]]]
    ),  # [2 seeds, 2, 3 steps]
    "mse": torch.tensor([[[0.5, NAN, 2], [NAN, NAN, 1]], [[NAN, NAN, NAN], [0, 1, 2]]])[..., None].expand(
        2, 2, 3, 3
    ),
}
each_loss = pytest.mark.parametrize("name", TARGETS)


def outputs() -> Tensor:
    return torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@each_loss
def test_the_gradient_at_steps_is_autograds(name: str) -> None:
    leaf = outputs().requires_grad_()
    (wanted,) = torch.autograd.grad(loss(name).value(leaf, TARGETS[name]).sum(), leaf)
    torch.testing.assert_close(loss(name).gradient(leaf.detach(), TARGETS[name]), wanted)


@each_loss
def test_what_is_told_where_there_is_no_target_never_counts(name: str) -> None:
    targets, told = TARGETS[name], outputs()
    has = targets >= 0 if name == "cross-entropy" else targets[..., 0].isfinite()
    other = torch.where(has.unsqueeze(-1), told, 9.0)
    for kind in (
        loss(name).value,
        loss(name).values,
        METRICS[{"cross-entropy": "accuracy", "mse": "mse"}[name]],
    ):
        assert torch.equal(kind(told, targets), kind(other, targets))
    assert (loss(name).gradient(told, targets)[~has] == 0).all()


@each_loss
def test_the_mean_is_over_targets_and_not_over_steps(name: str) -> None:
    targets, told = TARGETS[name], outputs()
    has = targets[0] >= 0 if name == "cross-entropy" else targets[0, ..., 0].isfinite()
    alone = loss(name).value(told[0][has][None], targets[0][has][None])  # three steps as three samples
    torch.testing.assert_close(loss(name).value(told, targets)[0], alone[0])


def test_squared_error_by_hand() -> None:
    told, targets = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]])
    assert loss("mse").value(told, targets).item() == 2.5
    assert loss("mse").gradient(told, targets).tolist() == [[[1.0, -2.0]]]


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order() -> None:
    score = torch.tensor([[0.1, 0.4, 0.35, 0.8], [3.0, 2.0, 1.0, 0.0]])
    targets = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    areas = METRICS["auc"](torch.stack([torch.zeros_like(score), score], -1), targets)
    assert areas.tolist() == [0.75, 0.0]  # of the pairs 35 > 10, 35 < 40, 80 > 10, 80 > 40 three are in order
    assert areas[0] == roc_auc_score([0, 0, 1, 1], score[0].numpy())


def test_the_area_under_the_curve_of_a_diverged_seed_is_not_a_number() -> None:
    told = torch.stack([torch.zeros(2, 4), torch.tensor([[NAN, 1, 2, 3], [0.0, 1, 2, 3]])], -1)
    areas = METRICS["auc"](told, torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]]))
    assert areas[0].isnan()
    assert areas[1] == 1.0


def test_the_area_under_the_curve_of_one_class_is_refused() -> None:
    told = torch.zeros(1, 4, 2)
    with pytest.raises(CreditbenchError, match="both classes"):
        METRICS["auc"](told, torch.zeros(1, 4, dtype=torch.int64))
