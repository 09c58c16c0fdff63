"""What a folder of records holds, in the form that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from creditbench.reports.leaderboard import board, json_rows, terminal
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import load_results

Form = Literal["table", "json", "csv"]


def show(folder: str | Path, form: Form = "table") -> str:
    """A leaderboard, or one JSON object or line of CSV per trained seed, without a final newline.

    Raises CreditbenchError for a folder that is missing, holds no run or holds an unreadable record.
    """
    frame = load_results(folder)
    if frame.empty:
        raise CreditbenchError(
            f"{folder} holds no trained seed. `creditbench run quickstart --results {folder}` makes some."
        )
    if form == "json":
        return json_rows(frame)
    if form == "csv":
        return str(frame.to_csv(index=False, lineterminator="\n")).removesuffix("\n")
    return terminal(board(frame))
