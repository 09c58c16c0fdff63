"""`creditbench run`: train and measure what a suite holds, then show the leaderboard."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER, execute
from creditbench.suite.commands.options import add_device, add_execution, add_selection, execution_of

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands
    from creditbench.suite.driver import Summary


def add(commands: Commands) -> None:
    run = commands.add_parser("run", help="train and measure what a suite holds, then show the leaderboard")
    run.add_argument("suite", nargs="?", metavar="SUITE", help="a name of `list suites` or a TOML file")
    add_selection(run)
    run.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1")
    run.add_argument("--epochs", type=int, metavar="N")
    run.add_argument("--learning-rate", type=float, metavar="X", help="instead of the recipe's")
    run.add_argument("--recipes", metavar="DIR", help="your own, before the package's")
    add_device(run)
    add_execution(run)
    run.add_argument("--results", default=DEFAULT_FOLDER, metavar="DIR", help=f"default {DEFAULT_FOLDER}")
    run.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    from creditbench.reports.leaderboard import board, terminal, write_page
    from creditbench.suite.display import Display
    from creditbench.suite.frame import read_results

    with Display() as display:
        summary = execute(
            arguments.suite,
            arguments.task,
            arguments.network,
            arguments.rule,
            arguments.seeds,
            arguments.epochs,
            arguments.learning_rate,
            arguments.device,
            arguments.results,
            display,
            arguments.recipes,
            execution_of(arguments),
        )
    frame, _ = read_results(arguments.results)  # what cannot be read is in the summary
    rows = board(frame[frame["key"].isin(summary.keys)])
    print(terminal(rows))
    page = write_page(rows, Path(arguments.results) / "leaderboard.html")
    print(f"\nRecords: {arguments.results}\nLeaderboard: {page}")
    return _verdict(summary)


def _verdict(summary: Summary) -> int:
    """Says what did not work; 1 if anything failed, or if all that was asked for had to be skipped."""
    for sentence in summary.sentences():
        print(f"creditbench: {sentence}", file=sys.stderr)
    return 1 if summary.failed or summary.skipped == len(summary.keys) else 0
