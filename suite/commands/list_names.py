"""`creditbench list`: what there is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands

LISTS = ("tasks", "networks", "rules", "suites")


def add(commands: Commands) -> None:
    lists = commands.add_parser("list", help="what there is")
    lists.add_argument("what", choices=LISTS)
    lists.add_argument("--json", action="store_true")
    lists.set_defaults(command=_list)


def _list(arguments: argparse.Namespace) -> int:
    import json

    from creditbench.suite import registry

    rows: list[dict[str, str]]
    if arguments.what == "suites":
        from creditbench.suite.suites import summaries

        rows = [{"name": name, "summary": text} for name, text in sorted(summaries().items())]
    else:
        kind = arguments.what.removesuffix("s")
        table = registry.table(kind)
        rows = [
            {"name": name, "summary": registry.summary(kind, name), "defined": table[name]}
            for name in sorted(table)
        ]
    if arguments.json:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        width = max(len(row["name"]) for row in rows)
        for row in rows:
            print(f"{row['name']:<{width}}  {row['summary']}")
    return 0
