"""The rows of a frame as plain Python values and as strict JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per row; what is missing is None, and a whole number stays an int."""
    names = [str(name) for name in frame.columns]
    columns = [_plain(frame.iloc[:, place]) for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def json_rows(frame: pd.DataFrame) -> str:
    """A list with one object per trained seed. Strict JSON in ASCII: null where not measured."""
    return json.dumps(plain_rows(frame), indent=1, allow_nan=False)


def _plain(column: pd.Series[Any]) -> list[Any]:
    # By column: asking of every single value is most of the time that a large folder takes.
    values: list[Any] = column.tolist()
    known = column.notna().tolist()
    if column.dtype == object:  # numbers of numpy's own may be among them
        values = [value.item() if hasattr(value, "item") else value for value in values]
    return [value if here else None for value, here in zip(values, known, strict=True)]
