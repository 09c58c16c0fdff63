"""`creditbench tune`: choose hyperparameters on validation and write recipes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.commands.options import add_device, add_execution, add_selection, execution_of

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
    tune.add_argument(
        "--sampler",
        default="halton",
        metavar="halton|tpe",
        help="which settings: laid down beforehand (default), or half of them by what the others gave",
    )
    tune.add_argument(
        "--pruner",
        default="none",
        metavar="none|median",
        help="stop trials that look bad; budgets are then not equal (docs/tuning.md)",
    )
    add_device(tune)
    add_execution(tune, shards=False)
    tune.set_defaults(command=_tune)


def _tune(arguments: argparse.Namespace) -> int:
    from creditbench.suite.display import Display
    from creditbench.suite.executors import choose, device_for
    from creditbench.suite.plan import narrowed, read_suite
    from creditbench.suite.tuning.search import Search
    from creditbench.suite.tuning.tune import tune

    search = Search(arguments.sampler, arguments.pruner)
    suite = narrowed(read_suite(arguments.suite), arguments.task, arguments.network, arguments.rule)
    execution = execution_of(arguments)
    device = device_for(execution, arguments.device)
    executor = choose(execution, device)
    with Display() as display:
        for line in tune(suite, arguments.trials, Path(arguments.recipes), device, executor, display, search):
            print(line, flush=True)
    return 0
