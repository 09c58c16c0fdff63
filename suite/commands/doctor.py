"""`creditbench doctor`: what is wrong with a folder of records, and what to type."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    doctor = commands.add_parser("doctor", help="what is wrong with a folder of records; changes nothing")
    doctor.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, metavar="DIR")
    doctor.add_argument("--suite", metavar="SUITE", help="also what is missing of it")
    doctor.add_argument(
        "--rule", action="append", default=[], metavar="FILE.py:CLASS", help="a rule that is not installed"
    )
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from creditbench.reports.terminal import clean
    from creditbench.suite.doctor import examine

    told = examine(Path(arguments.folder), arguments.suite, arguments.rule)
    if arguments.json:
        print(json.dumps(told.as_dict(), indent=1))
        return 1 if told.findings else 0
    for found in told.findings:
        print(clean(f"{found.kind}: {found.where}: {found.words}"))
    for words in told.unchecked:
        print(clean(f"not checked: {words}"))
    if commands := dict.fromkeys(found.command for found in told.findings if found.command):
        print("To do again what can be:", *map(clean, commands), sep="\n    ")
    print(f"{told.runs} runs, {told.costs} costs, {told.superseded} superseded; ", end="")
    print(f"{len(told.findings)} findings." if told.findings else "nothing wrong was found.")
    return 1 if told.findings else 0
