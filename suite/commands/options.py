"""Words that several commands share."""

from __future__ import annotations

import argparse

from creditbench.suite.executors import Execution


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


def add_execution(parser: argparse.ArgumentParser, shards: bool = True) -> None:
    """Where and how much at once; see docs/cluster.md. shards: whether what is done can be dealt out."""
    options = parser.add_argument_group("where it is carried out (docs/cluster.md)")
    options.add_argument(
        "--executor",
        default="inline",
        metavar="inline|processes|ray[:ADDRESS]",
        help="one run after another here (default), a process for each, or a Ray cluster",
    )
    options.add_argument("--jobs", type=int, metavar="J", help="runs at once; default: one per core or GPU")
    options.add_argument("--memory", metavar="SIZE", help="ceiling for each run's process: 500M, 4G")
    options.add_argument("--time-limit", metavar="TIME", help="for each run: 90s, 30m, 2h")
    options.add_argument("--cpus", type=float, metavar="X", help="cores asked of Ray for each run")
    options.add_argument("--gpus", type=float, metavar="X", help="GPUs asked of Ray for each run: 1, 0.25")
    if shards:
        options.add_argument("--shard", metavar="K/N", help="only the K-th of N parts of the suite")


def execution_of(arguments: argparse.Namespace) -> Execution:
    return Execution(
        arguments.executor,
        arguments.jobs,
        arguments.memory,
        arguments.time_limit,
        arguments.cpus,
        arguments.gpus,
        getattr(arguments, "shard", None),
    )
