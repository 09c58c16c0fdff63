"""`creditbench challenge`: tune one's own rule, run it beside the references, and show what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.commands.options import add_device, add_execution, execution_of

if TYPE_CHECKING:
    import torch

    from creditbench.suite.challenge import Challenge
    from creditbench.suite.commands import Commands
    from creditbench.suite.executors import Executor

FOLDER = "creditbench-challenge"


def add(commands: Commands) -> None:
    challenge = commands.add_parser(
        "challenge", help="tune a rule, run it beside the references, show table and figure"
    )
    challenge.add_argument(
        "rule", metavar="RULE", help="path/to/my_rule.py:MyRule, or a name of `list rules`"
    )
    challenge.add_argument(
        "--against", default="bp,dfa,sigprop", metavar="R,R,...", help="references, default bp,dfa,sigprop"
    )
    challenge.add_argument("--suite", default="images", metavar="SUITE", help="default images")
    for kind in ("task", "network"):
        challenge.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar=kind[0].upper(),
            help=f"only this {kind}; may repeat",
        )
    challenge.add_argument(
        "--trials", type=int, metavar="N", help="per cell; default: as many as the references had"
    )
    challenge.add_argument(
        "--results", default=FOLDER, metavar="DIR", help=f"default {FOLDER}; goes on from it"
    )
    challenge.add_argument(
        "--references",
        metavar="DIR",
        help="records to borrow; default: the reference results of the checkout",
    )
    challenge.add_argument("--estimate", action="store_true", help="say how long it will take, and stop")
    add_device(challenge)
    add_execution(challenge, shards=False)
    challenge.set_defaults(command=_challenge)


def _challenge(arguments: argparse.Namespace) -> int:
    from creditbench.suite.challenge import borrow, challenge, estimate
    from creditbench.suite.display import Display
    from creditbench.suite.driver import choose_device, run_cells
    from creditbench.suite.executors import choose, device_for
    from creditbench.suite.store import Store
    from creditbench.suite.tuning.tune import tune

    execution = execution_of(arguments)
    device = device_for(execution, arguments.device)
    executor = choose(execution, device)
    asked = challenge(
        arguments.rule,
        [name.strip() for name in arguments.against.split(",") if name.strip()],
        arguments.suite,
        arguments.task,
        arguments.network,
        arguments.trials,
        Path(arguments.results),
        Path(arguments.references) if arguments.references else None,
    )
    found, valid = borrow(asked)
    if found:
        _say(
            f"Borrowed {found} reference runs, {valid} of them made by this code. The first steps of the"
            " others are replayed, and what comes out otherwise is run again."
        )
    here = device if device.type == "cpu" else choose_device("auto")  # a cluster's GPUs may not be
    for sentence in estimate(asked, here).sentences():
        _say(sentence)
    if arguments.estimate:
        return 0
    with Display() as display:
        for line in tune(asked.to_tune(), asked.trials, asked.recipes, device, executor, display):
            display.complained(line)
    with Display() as display:
        summary = run_cells(asked.cells(), Store(asked.folder), device, display, executor)
    _show(asked, summary.keys)
    print(f"\n{_stability(asked, device, executor)}")
    print(f"\nRecords: {asked.folder}\nRecipes and studies: {asked.recipes}")
    for sentence in summary.sentences():
        print(f"creditbench: {sentence}", file=sys.stderr)
    return 1 if summary.failed else 0


def _show(asked: Challenge, keys: list[str]) -> None:
    from creditbench.reports.drawing import write_drawing
    from creditbench.reports.leaderboard import board, terminal, write_page
    from creditbench.suite.frame import read_results

    frame, _ = read_results(asked.folder)
    rows = board(frame[frame["key"].isin(keys)])
    print(terminal(rows))
    page = write_page(rows, asked.folder / "leaderboard.html", f"{asked.name} beside the references")
    figure = write_drawing(rows, asked.folder / "leaderboard.svg", asked.name)
    print(f"\nLeaderboard: {page}\nFigure: {figure}")


def _stability(asked: Challenge, device: torch.device, executor: Executor) -> str:
    """The grid in words; made once for this code and these choices."""
    from creditbench.suite.challenge import stability_cell, stability_path
    from creditbench.suite.display import Display
    from creditbench.suite.store import replacing
    from creditbench.suite.tuning.stability import stability

    cell, reason = stability_cell(asked)
    if cell is None:
        return f"No stability grid: {reason}."
    path = stability_path(asked, cell)
    if path.exists():
        return str(json.loads(path.read_text(encoding="utf-8"))["text"])
    with Display() as display:
        found = stability(
            asked.rule, cell.origin.task, cell.origin.network, device=device, recipes=asked.recipes,
            executor=executor, watch=display,
        )  # fmt: skip
    with replacing(path) as file:
        words = json.dumps(found.as_data() | {"text": found.text()}, indent=1, allow_nan=False)
        file.write(words.encode())
    return found.text()


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
