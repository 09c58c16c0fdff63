"""`creditbench tune`: choose hyperparameters on validation and write recipes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.commands.options import add_device, add_selection

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    tune = commands.add_parser("tune", help="choose hyperparameters on validation and write recipes")
    tune.add_argument("suite", metavar="SUITE")
    add_selection(tune)
    tune.add_argument("--trials", type=int, default=12, metavar="N", help="per rule and cell, default 12")
    tune.add_argument(
        "--recipes", metavar="DIR", required=True, help="where to write RULE.toml, and to go on from"
    )
    tune.add_argument("--executor", choices=["inline"], default="inline", help="where trials are carried out")
    add_device(tune)
    tune.set_defaults(command=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    from creditbench.suite.plan import narrowed, read_suite
    from creditbench.suite.tuning.tune import tune

    suite = narrowed(read_suite(arguments.suite), arguments.task, arguments.network, arguments.rule)
    for line in tune(suite, arguments.trials, Path(arguments.recipes), arguments.device):
        print(line, flush=True)
    return 0
