"""Choices read off SHA-256."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from creditbench.tasks.draws import draw, order


@given(st.text(), st.integers(1, 10**12))
def test_a_draw_is_the_labels_sha256_modulo_the_bound(label: str, below: int) -> None:
    assert draw(label, below) == int(hashlib.sha256(label.encode()).hexdigest(), 16) % below


@given(st.text(), st.integers(0, 50))
def test_an_order_holds_every_number_once(label: str, count: int) -> None:
    assert sorted(order(label, count)) == list(range(count))


@given(st.integers(0, 50), st.integers(0, 50))
def test_more_numbers_leave_the_order_of_the_others_alone(some: int, further: int) -> None:
    assert [i for i in order("digits", some + further) if i < some] == order("digits", some)


def test_the_order_is_that_of_the_hashes() -> None:
    hashes = {i: hashlib.sha256(f"digits/{i}".encode()).hexdigest() for i in range(1797)}
    assert order("digits", 1797) == sorted(hashes, key=lambda i: hashes[i])


def test_different_labels_give_different_orders() -> None:
    assert order("digits", 20) != order("other", 20)


def test_draws_are_spread_evenly() -> None:
    counts = [0] * 10
    for i in range(10_000):
        counts[draw(f"even/{i}", 10)] += 1
    assert all(850 < count < 1150 for count in counts)  # five standard deviations
