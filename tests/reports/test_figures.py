"""How numbers are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditbench.reports.figures import exact, prefixed, rounded
from creditbench.suite.scores import percent


@pytest.mark.parametrize("write", [percent, rounded, prefixed])
def test_what_is_absent_is_a_dash(write: object) -> None:
    assert write(None) == "–"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.012345, "0.0123"), (0.9999, "1.00"), (12.345, "12.3"), (1234.5, "1230"), (-2, "-2.00")],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert rounded(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (640, "640"), (12.5, "12.5"), (85_002, "85.0 k"), (1_614_000, "1.61 M"), (999_900, "1.00 M"),
     (2.5e9, "2.50 G"), (3e15, "3000 T")],
)  # fmt: skip
def test_prefixes_are_chosen_after_rounding(value: float, text: str) -> None:
    assert prefixed(value) == text


@given(st.floats(1e-6, 1e14))
def test_a_written_figure_is_within_half_a_percent(value: float) -> None:
    number, _, prefix = prefixed(value).partition(" ")
    factor = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix]
    assert float(number) * factor == pytest.approx(value, rel=5.001e-3)
    assert float(rounded(value)) == pytest.approx(value, rel=5.001e-3)


def test_exact_figures_keep_every_digit() -> None:
    assert exact(1_614_001) == "1,614,001"
    assert exact(254464.0) == "254,464"
    assert exact(None) == "not measured"
