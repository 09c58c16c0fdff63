"""While settings are chosen nobody gets test data: not a rule, not a trial, not the harness itself.

The seal is one of the process and not of a thread or context, so that no way around it leads through a new
thread. It stops mistakes and shortcuts. A file that reads raw data by itself can do in Python what it likes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from creditbench.suite.errors import CreditbenchError

_closed = 0


@contextlib.contextmanager
def sealed_test_data() -> Iterator[None]:
    """Within it, `Splits.test` raises CreditbenchError, whoever asks and whenever it was read."""
    global _closed
    _closed += 1
    try:
        yield
    finally:
        _closed -= 1


def refuse_if_sealed() -> None:
    if _closed:
        raise CreditbenchError(
            "Test data was asked for while settings are chosen; choose on validation data: a rule, its search"
            " space and its trials never see the test split."
        )
