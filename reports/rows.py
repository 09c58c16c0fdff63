"""The rows of a frame as plain Python values and as strict JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary per row; what is missing is None, and a whole number stays an int."""
    columns = {str(name): [_plain(value) for value in frame[name]] for name in frame.columns}
    return [{name: values[place] for name, values in columns.items()} for place in range(len(frame))]


def json_rows(frame: pd.DataFrame) -> str:
    """A list with one object per trained seed. Strict JSON in ASCII: null where not measured."""
    return json.dumps(plain_rows(frame), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    import pandas as pd

    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value
