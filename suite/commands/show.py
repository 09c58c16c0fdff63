"""`creditbench show`: the leaderboard of what a folder holds."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER
from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    show = commands.add_parser("show", help="the leaderboard of what a folder holds")
    show.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, metavar="DIR")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--costs", action="store_true", help="what learning costs: operations, energy, memory")
    form.add_argument("--json", action="store_true", help="one object per trained seed")
    form.add_argument("--csv", action="store_true", help="one row per trained seed")
    show.set_defaults(command=_show)


def _show(arguments: argparse.Namespace) -> int:
    from creditbench.reports.leaderboard import board, costs, json_rows, terminal
    from creditbench.suite.frame import read_results

    frame, problems = read_results(arguments.folder)
    if frame.empty and not problems:
        raise CreditbenchError(
            f"{arguments.folder} holds no records; `creditbench run quickstart --results {arguments.folder}`"
            " makes some."
        )
    if arguments.json:
        print(json_rows(frame))
    elif arguments.csv:
        print(frame.to_csv(index=False), end="")
    elif arguments.costs:
        print(costs(board(frame)))
    else:
        print(terminal(board(frame)))
    for problem in problems:
        print(f"creditbench: {problem}", file=sys.stderr)
    return 1 if problems else 0
