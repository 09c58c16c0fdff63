"""The one error that users see as a sentence."""

import difflib
from collections.abc import Iterable


class CreditbenchError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> CreditbenchError:
    """The error for a name that does not exist: the nearest match and the whole list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return CreditbenchError(f"There is no {kind} '{name}'.{hint} Known: {', '.join(names)}.")
