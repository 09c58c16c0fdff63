"""`creditbench stability`: on what share of a grid of learning rates, seeds and depths a rule trains."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from creditbench.suite.commands.options import add_device, add_execution, execution_of

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    stability = commands.add_parser(
        "stability", help="the share of a grid of learning rates, seeds and depths on which a rule trains"
    )
    stability.add_argument("rule", metavar="RULE", help="a name of `list rules` or path/to/file.py:Class")
    stability.add_argument("--task", default="digit-sums", metavar="T", help="default digit-sums")
    stability.add_argument("--network", default="mlp", metavar="N", help="one with a depth; default mlp")
    stability.add_argument(
        "--depths", type=_numbers, default=(1, 2, 4), metavar="D,D,...", help="default 1,2,4"
    )
    stability.add_argument("--rates", type=_count, default=5, metavar="N", help="learning rates, default 5")
    stability.add_argument("--seeds", type=_count, default=3, metavar="N", help="default 3")
    stability.add_argument("--json", action="store_true", help="every point of the grid")
    add_device(stability)
    add_execution(stability, shards=False)
    stability.set_defaults(command=_stability)


def _stability(arguments: argparse.Namespace) -> int:
    from creditbench.suite.display import Display
    from creditbench.suite.executors import choose, device_for
    from creditbench.suite.tuning.stability import stability

    execution = execution_of(arguments)
    device = device_for(execution, arguments.device)
    with Display() as display:
        found = stability(
            arguments.rule,
            arguments.task,
            arguments.network,
            arguments.depths,
            arguments.rates,
            arguments.seeds,
            device,
            executor=choose(execution, device),
            watch=display,
        )
    print(json.dumps(found.as_data(), indent=1, allow_nan=False) if arguments.json else found.text())
    return 0 if found.share is not None else 1


def _numbers(words: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in words.split(","))


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value
