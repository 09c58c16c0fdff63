"""Versions of the records' schema, and how what older ones wrote is read. No torch here.

A record carries the number of the schema it was written under. When a field is renamed, moved or changes
its meaning, SCHEMA is raised and UPGRADES gets one function, from the number before to the new one; a
field that is added with a default needs neither. Files are never rewritten: they are upgraded as read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from creditbench.suite.errors import CreditbenchError

SCHEMA = 1
Data = dict[str, Any]  # a record's JSON, which an upgrade may change
UPGRADES: Mapping[int, Callable[[Data], Data]] = {}  # n -> what makes schema n + 1 of schema n


class NewerSchema(CreditbenchError):
    """A record that is whole, as far as can be told, and of a creditbench to come."""


def upgrade(data: Data) -> Data:
    """The data as the newest schema has it. Raises CreditbenchError for a schema that is none of ours,
    and NewerSchema for one that only a newer creditbench knows."""
    schema = data["schema"]
    if type(schema) is not int or schema < 1:
        raise CreditbenchError(f"its schema is {schema!r:.80}, not a whole number from 1 to {SCHEMA}")
    if schema > SCHEMA:
        raise NewerSchema(
            f"its schema is {schema} and this creditbench reads up to {SCHEMA}; a newer one wrote it"
        )
    for number in range(schema, SCHEMA):
        data = {**UPGRADES[number](data), "schema": number + 1}
    return data
