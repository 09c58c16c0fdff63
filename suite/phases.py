"""Which part of learning is at work: forward, credit or update. A rule may say so; counters listen.

    with phase("credit"):
        feedback = ...

The innermost mark holds. Marks cost next to nothing while nobody counts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from creditbench.suite.errors import unknown_name

PHASES = ("forward", "credit", "update")
_current: ContextVar[str | None] = ContextVar("phase", default=None)


class phase:  # noqa: N801, a context manager, read as a verb
    """Attributes the work inside to one of `PHASES`. Raises CreditbenchError for any other name."""

    __slots__ = ("_token", "name")

    def __init__(self, name: str) -> None:
        if name not in PHASES:
            raise unknown_name("phase", name, PHASES)
        self.name = name

    def __enter__(self) -> None:
        self._token: Token[str | None] = _current.set(self.name)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


def current_phase() -> str | None:
    """The innermost mark, or None."""
    return _current.get()


def mark_phase(name: str) -> None:
    """Marks what follows in this context (in the sense of `contextvars`)."""
    _current.set(name)


def in_phase(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a function whose work belongs to one phase."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:
            with phase(name):
                return function(*args, **kwargs)

        return marked

    return decorate
