"""`creditbench report`: what people read, made from records."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER
from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands
    from creditbench.suite.specification import Spec


def add(commands: Commands) -> None:
    report = commands.add_parser("report", help="what people read: the leaderboard as a site")
    kinds = report.add_subparsers(required=True, metavar="KIND")
    _add_leaderboard(kinds)


def _add_leaderboard(kinds: Commands) -> None:
    leaderboard = kinds.add_parser("leaderboard", help="a static site: tables, charts, audits, provenance")
    leaderboard.add_argument(
        "folders",
        nargs="*",
        default=[DEFAULT_FOLDER],
        metavar="DIR",
        help=f"of records; default {DEFAULT_FOLDER}",
    )
    leaderboard.add_argument(
        "--out", required=True, metavar="SITE", help="the folder to write; an older site is replaced"
    )
    leaderboard.set_defaults(command=_leaderboard)


def _leaderboard(arguments: argparse.Namespace) -> int:
    import sys

    from creditbench.reports.site.build import Content, write_site
    from creditbench.reports.site.evidence import Evidence, Expected
    from creditbench.suite import recipes
    from creditbench.suite.api import planned
    from creditbench.suite.frame import read_results
    from creditbench.suite.stored import Known
    from creditbench.suite.suites import summaries

    evidence = Evidence()
    folders = tuple(Path(folder) for folder in arguments.folders)
    frame, problems = read_results(*folders, seen=evidence.saw)
    if frame.empty and not problems:
        raise CreditbenchError(
            f"{' and '.join(arguments.folders)} hold no records; `creditbench run quickstart --results"
            f" {arguments.folders[0]}` makes some."
        )
    known = Known.of()

    def command(specs: Sequence[Spec]) -> str | None:
        return known.command(specs, DEFAULT_FOLDER)

    # What every built-in suite should hold, as it is planned today.
    suites = [
        Expected(name, summary, [(cell.specs, recipes.track(cell.recipe)) for cell in planned(name)])
        for name, summary in summaries().items()
    ]
    out = Path(arguments.out)
    pages = write_site(Content(frame, evidence, suites, command, _about(), problems, folders), out)
    for problem in problems:
        print(f"creditbench: {problem}", file=sys.stderr)
    print(f"{pages} pages; open {out / 'index.html'}")
    return 1 if problems else 0


def _about() -> Callable[[str], tuple[str, str]]:
    """A rule's name -> its summary and source; empty for one that is not installed."""
    from creditbench.suite import registry
    from creditbench.suite.plan import load_rule

    table = registry.table("rule")

    def about(rule: str) -> tuple[str, str]:
        if rule not in table:
            return "", ""
        return registry.summary("rule", rule), load_rule(rule).source

    return about
