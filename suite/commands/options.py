"""Words that several commands share."""

from __future__ import annotations

import argparse


def add_selection(parser: argparse.ArgumentParser) -> None:
    """--task, --network and --rule, each of which may be repeated."""
    for kind in ("task", "network", "rule"):
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar=kind[0].upper(),
            help="name[:option=value,...] or path/to/file.py:name; may be repeated",
        )


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device"""
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
