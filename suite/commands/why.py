"""`creditbench why`: why a cell is done, stale, skipped or missing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER
from creditbench.suite.commands.options import add_device, add_selection
from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands
    from creditbench.suite.plan import Planned
    from creditbench.suite.store import Store


def add(commands: Commands) -> None:
    why = commands.add_parser("why", help="why a cell is done, stale, skipped or missing")
    why.add_argument("place", nargs="?", metavar="TASK/NETWORK/RULE", help="of what is stored")
    why.add_argument("--suite", metavar="SUITE", help="all that a suite holds, stored or not")
    add_selection(why)
    why.add_argument("--results", default=DEFAULT_FOLDER, metavar="DIR", help=f"default {DEFAULT_FOLDER}")
    why.add_argument("--json", action="store_true")
    add_device(why)
    why.set_defaults(command=_why)


def _why(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from creditbench.reports.terminal import clean
    from creditbench.suite.driver import choose_device
    from creditbench.suite.store import Store
    from creditbench.suite.why import explain

    store = Store(Path(arguments.results))
    cells, strange = _cells(arguments, store)
    reasons = list(explain(cells, store, choose_device(arguments.device)))
    if arguments.json:
        rows = [
            {**reason.cell.as_dict(), "cell": reason.cell.cell, "what": reason.what,
             "verdict": reason.verdict, "why": reason.words}
            for reason in reasons
        ]  # fmt: skip
        for row in rows:
            del row["seed"]
        print(json.dumps(rows, indent=1))
        return 0
    before = None
    for reason in reasons:
        spec = reason.cell
        if spec.cell != before:
            before = spec.cell
            cell = f"{spec.rule} on {spec.task}, {spec.network}, {spec.epochs} epochs (cell {spec.cell})"
            print(clean(cell))
        print(clean(f"  {reason.what}: {reason.verdict}: {reason.words}"))
    for sentence in strange:
        print(clean(sentence))
    return 0


def _cells(arguments: argparse.Namespace, store: Store) -> tuple[list[Planned], list[str]]:
    from creditbench.suite.api import planned
    from creditbench.suite.stored import Known, cells_of
    from creditbench.suite.why import stored_specs

    if arguments.place is None:
        if arguments.suite is None and not arguments.task:
            raise CreditbenchError("Name TASK/NETWORK/RULE of what is stored, or a suite with --suite.")
        return planned(arguments.suite, arguments.task, arguments.network, arguments.rule), []
    if arguments.suite is not None:
        raise CreditbenchError(
            "Give TASK/NETWORK/RULE or --suite with --task, --network and --rule, not both."
        )
    cells, strange = cells_of(stored_specs(store, arguments.place), Known.of(arguments.rule))
    return cells, [f"{len(specs)} runs cannot be judged here: {what}" for what, specs in strange.items()]
