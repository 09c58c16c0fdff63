"""`creditbench plan`: what a suite has left to do, and what it will take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from creditbench.suite.api import DEFAULT_FOLDER
from creditbench.suite.commands.options import add_device, add_selection
from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands
    from creditbench.suite.forecast import Forecast

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def add(commands: Commands) -> None:
    plan = commands.add_parser("plan", help="what a suite has left to do, and what it will take")
    plan.add_argument("suite", nargs="?", metavar="SUITE", help="a name of `list suites` or a TOML file")
    add_selection(plan)
    plan.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1")
    plan.add_argument("--epochs", type=int, metavar="N")
    plan.add_argument("--within", type=duration, metavar="TIME", help="suggest shards for it: 8h, 90m, 1h30m")
    plan.add_argument("--results", default=DEFAULT_FOLDER, metavar="DIR", help=f"default {DEFAULT_FOLDER}")
    plan.add_argument("--json", action="store_true")
    add_device(plan)
    plan.set_defaults(command=_plan)


def duration(text: str) -> float:
    """Seconds of "90m", "8h", "1h30m"."""
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or seconds <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 90m, 8h or 1h30m")
    return seconds


def _plan(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from creditbench.reports.terminal import clean
    from creditbench.suite.api import planned
    from creditbench.suite.driver import choose_device
    from creditbench.suite.forecast import as_row, forecast, longest_shard, shards_within
    from creditbench.suite.store import Store

    cells = planned(
        arguments.suite, arguments.task, arguments.network, arguments.rule, arguments.seeds, arguments.epochs
    )
    device = choose_device(arguments.device)
    rows: list[Forecast] = []
    if not arguments.json:
        print(
            _line(
                "task", "network", "rule", "done", "replay", "train", "cost", "steps", "time", "peak", "MACs"
            )
        )
    for found in forecast(cells, Store(Path(arguments.results)), device):
        rows.append(found)
        if not arguments.json:
            print(*map(clean, _shown(found)), sep="\n", flush=True)
    total = sum(found.seconds or 0.0 for found in rows)
    shards = shards_within(rows, arguments.within) if arguments.within else None
    if arguments.json:
        told: dict[str, Any] = {"cells": [as_row(found) for found in rows], "seconds": total}
        if arguments.within:
            told["shards"] = shards
        print(json.dumps(told, indent=1))
        return 0
    unknown = sum(bool(found.words) for found in rows)
    print(f"\nAll that is left: {_time(total)} on this machine as it is now, one after the other.")
    if unknown:
        print(f"{unknown} cells cannot be told and are not in it.")
    if arguments.within and shards is None:
        raise CreditbenchError(
            f"One cell alone takes longer than {_time(arguments.within)}; no number of shards helps. Give it"
            " fewer seeds at a time with --seeds, or more time."
        )
    if shards is not None:
        longest, within = _time(longest_shard(rows, shards)), _time(arguments.within)
        print(f"Within {within}: --shard 1/{shards} to {shards}/{shards}, the longest {longest}.")
    return 0


def _line(*words: str) -> str:
    widths = (14, 16, 22, 5, 6, 5, 10, 8, 8, 8, 8)
    own = [word.ljust(width) if place < 3 else word.rjust(width)
           for place, (word, width) in enumerate(zip(words, widths, strict=True))]  # fmt: skip
    return " ".join(own)


def _shown(found: Forecast) -> list[str]:
    spec = found.spec
    counts = (found.settled, found.replays, found.trainings)
    line = _line(
        spec.task,
        spec.network,
        spec.rule,
        *map(str, counts),
        found.cost,
        "" if found.steps is None else str(found.steps),
        "" if found.seconds is None else _time(found.seconds),
        "" if found.peak_bytes is None else f"{found.peak_bytes / 1e6:.1f} MB",
        "" if not found.macs else f"{found.macs:.1e}",
    )
    unreadable = found.verdicts.get("unreadable", 0)
    more = [found.words, f"{unreadable} records cannot be read" if unreadable else ""]
    return [line.rstrip(), *(f"    {words}" for words in more if words)]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
