"""`creditbench check`: the conformance suite for a rule, clause by clause."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    check = commands.add_parser("check", help="the conformance suite for a rule, clause by clause")
    check.add_argument("rule", metavar="RULE", help="a name of `list rules` or path/to/file.py:Class")
    check.set_defaults(command=_check)


def _check(arguments: argparse.Namespace) -> int:
    from creditbench.suite.conformance import check

    broken = 0
    for clause in check(arguments.rule):
        mark = {True: "ok", False: "BROKEN", None: "n/a"}[clause.holds]
        print(f"{mark:>6}  {clause.sentence}" + (f"\n        {clause.why}" if clause.why else ""))
        broken += clause.holds is False
    print(f"\n{broken} clauses broken." if broken else "\nAll clauses hold.")
    return 1 if broken else 0
