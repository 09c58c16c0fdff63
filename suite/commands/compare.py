"""`creditbench compare`: has anything become worse? For a person, a log, a pull request, a CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.store import replacing

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands

FORMATS = ("text", "markdown", "json", "junit", "github")
UNUSABLE = 2  # exit code


def add(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="has anything become worse? exit 1 for a regression, 2 for unusable input (docs/compare.md)",
    )
    compare.add_argument("base", type=Path, metavar="BASE", help="the older folder of records")
    compare.add_argument("new", type=Path, metavar="NEW", help="the newer one")
    compare.add_argument("--format", choices=FORMATS, default="text")
    compare.add_argument("--limits", type=Path, metavar="FILE", help="TOML: what is tolerated")
    compare.add_argument("--out", type=Path, metavar="FILE", help="write there, and text to the terminal")
    compare.add_argument(
        "--write",
        action="append",
        default=[],
        metavar="TOOL=FILE",
        help="NEW's figures for a dashboard: pytest-benchmark, github-action-benchmark-smaller or -bigger,"
        " bencher, asv; may be repeated",
    )
    compare.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from creditbench.reports.gate.dashboards import dashboard
    from creditbench.reports.gate.forms import FORMS
    from creditbench.reports.gate.judge import judge
    from creditbench.reports.gate.limits import Tolerances, read_limits
    from creditbench.reports.gate.sides import read_side

    try:
        writers = [dashboard(wanted) for wanted in arguments.write]  # a misspelt one is said before anything
        tolerances = Tolerances() if arguments.limits is None else read_limits(arguments.limits)
        base, new = read_side(arguments.base), read_side(arguments.new)
        found = judge(base, new, tolerances)
        if arguments.out is None:
            print(FORMS[arguments.format](found))
        else:
            _written(arguments.out, FORMS[arguments.format](found))
            print(FORMS["text"](found))
        for write, path in writers:
            text, left_out = write(new)
            _written(path, text)
            for words in left_out:
                print(f"creditbench: not in {path}: {words}", file=sys.stderr)
    except CreditbenchError as error:
        print(f"creditbench: {error}", file=sys.stderr)
        return UNUSABLE
    return found.exit_code


def _written(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(f"{text}\n".encode())
    except OSError as error:
        raise CreditbenchError(f"Cannot write {path}: {error.strerror}.") from None
