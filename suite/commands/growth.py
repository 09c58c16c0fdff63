"""`creditbench growth`: how a rule's memory grows with depth."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditbench.suite.commands import Commands


def add(commands: Commands) -> None:
    growth = commands.add_parser("growth", help="how the memory of a rule's step grows with depth")
    growth.add_argument(
        "rule", metavar="RULE", help="name[:option=value,...] or path/to/file.py:Class, as of `list rules`"
    )
    growth.add_argument("--network", default="mlp", metavar="N", help="a network with a depth (mlp)")
    growth.add_argument("--json", action="store_true", help="one object")
    growth.set_defaults(command=_growth)


def _growth(arguments: argparse.Namespace) -> int:
    from creditbench.suite.growth import as_json, depth_growth
    from creditbench.suite.plan import load_rule, make_rule
    from creditbench.suite.specification import parse_label

    label, settings = parse_label(arguments.rule)
    rule = make_rule(load_rule(label), settings)
    found = depth_growth(rule, arguments.network)
    if arguments.json:
        print(json.dumps({"rule": rule.name, "network": arguments.network, **as_json(found)}, indent=2))
        return 0
    print("peak live bytes of a step, without parameters, optimizer state and batch")
    for size, peak in zip(found.sizes, found.peak_bytes, strict=True):
        print(f"  {found.along} {size:3}  {peak / 1e6:8.3f} MB")
    print(
        f"  grows with {found.along} to the power {found.exponent:.2f}"
        f" (distance from the fit: {100 * found.residual:.1f} %)"
        if found.grows
        else f"  does not grow with {found.along} (exponent {found.exponent:.2f})"
    )
    return 0
