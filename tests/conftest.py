"""Stricter than in use: no global generator may move, and small things need one thread."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(1)  # sums come out the same wherever the tests run


@pytest.fixture(autouse=True)
def _untouched_generators(request: pytest.FixtureRequest) -> Iterator[None]:
    """The library draws from generators of its own: a test that sees the global ones move fails."""
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()  # type: ignore[index]
    yield
    if "draws_globally" in request.fixturenames:
        return
    assert torch.equal(before[0], torch.get_rng_state()), "torch's global generator was used"
    assert (before[1] == np.random.get_state()[1]).all(), "numpy's global generator was used"  # type: ignore[index]


@pytest.fixture
def draws_globally() -> None:
    """For tests that need the global generator themselves."""


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent
