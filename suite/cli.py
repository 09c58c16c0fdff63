"""The command line. Nothing heavy is imported before it is needed: `--help` and `list` need no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.api import DEFAULT_FOLDER, execute
from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.driver import Summary

LISTS = ("tasks", "networks", "rules", "suites")


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 something failed, 2 wrong words, 130 stopped."""
    arguments = _parser().parse_args(words)
    try:
        return arguments.command(arguments)  # type: ignore[no-any-return]
    except CreditbenchError as error:
        print(f"creditbench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("creditbench: stopped; every finished record is kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; say nothing more
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="creditbench",
        description="Benchmark of learning rules: accuracy and the cost of learning, beside backpropagation.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="train and measure what a suite holds, then show the leaderboard")
    run.add_argument("suite", nargs="?", metavar="SUITE", help="a name of `list suites` or a TOML file")
    _selection(run)
    run.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1")
    run.add_argument("--epochs", type=int, metavar="N")
    run.add_argument("--learning-rate", type=float, metavar="X", help="instead of the recipe's")
    run.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    run.add_argument("--results", default=DEFAULT_FOLDER, metavar="DIR", help=f"default {DEFAULT_FOLDER}")
    run.set_defaults(command=_run)

    show = commands.add_parser("show", help="the leaderboard of what a folder holds")
    show.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, metavar="DIR")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object per trained seed")
    form.add_argument("--csv", action="store_true", help="one row per trained seed")
    show.set_defaults(command=_show)

    lists = commands.add_parser("list", help="what there is")
    lists.add_argument("what", choices=LISTS)
    lists.add_argument("--json", action="store_true")
    lists.set_defaults(command=_list)

    check = commands.add_parser("check", help="the conformance suite for a rule, clause by clause")
    check.add_argument("rule", metavar="RULE", help="a name of `list rules` or path/to/file.py:Class")
    check.set_defaults(command=_check)

    tune = commands.add_parser("tune", help="choose hyperparameters on validation and write recipes")
    tune.add_argument("suite", metavar="SUITE")
    _selection(tune)
    tune.add_argument("--trials", type=int, default=12, metavar="N", help="per rule and cell, default 12")
    tune.add_argument("--recipes", metavar="DIR", required=True, help="where to write RULE.toml")
    tune.add_argument("--device", default="auto", metavar="auto|cpu|cuda")
    tune.set_defaults(command=_tune)
    return parser


def _selection(parser: argparse.ArgumentParser) -> None:
    for kind in ("task", "network", "rule"):
        parser.add_argument(
            f"--{kind}",
            action="append",
            default=[],
            metavar=kind[0].upper(),
            help="name[:option=value,...] or path/to/file.py:name; may be repeated",
        )


def _version() -> str:
    import creditbench

    return f"creditbench {creditbench.__version__}"


def _run(arguments: argparse.Namespace) -> int:
    from creditbench.reports.leaderboard import board, terminal, write_page
    from creditbench.suite.display import Display
    from creditbench.suite.frame import read_results

    with Display() as display:
        summary = execute(
            arguments.suite,
            arguments.task,
            arguments.network,
            arguments.rule,
            arguments.seeds,
            arguments.epochs,
            arguments.learning_rate,
            arguments.device,
            arguments.results,
            display,
        )
    frame, _ = read_results(arguments.results)  # what cannot be read is in the summary
    rows = board(frame[frame["key"].isin(summary.keys)])
    print(terminal(rows))
    page = write_page(rows, Path(arguments.results) / "leaderboard.html")
    print(f"\nRecords: {arguments.results}\nLeaderboard: {page}")
    return _verdict(summary)


def _verdict(summary: Summary) -> int:
    """Says what did not work; 1 if anything failed, or if all that was asked for had to be skipped."""
    for sentence in summary.sentences():
        print(f"creditbench: {sentence}", file=sys.stderr)
    return 1 if summary.failed or summary.skipped == len(summary.keys) else 0


def _show(arguments: argparse.Namespace) -> int:
    from creditbench.reports.leaderboard import board, json_rows, terminal
    from creditbench.suite.frame import read_results

    frame, problems = read_results(arguments.folder)
    if frame.empty and not problems:
        raise CreditbenchError(
            f"{arguments.folder} holds no records; `creditbench run quickstart --results {arguments.folder}`"
            " makes some."
        )
    if arguments.json:
        print(json_rows(frame))
    elif arguments.csv:
        print(frame.to_csv(index=False), end="")
    else:
        print(terminal(board(frame)))
    for problem in problems:
        print(f"creditbench: {problem}", file=sys.stderr)
    return 1 if problems else 0


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


def _check(arguments: argparse.Namespace) -> int:
    from creditbench.suite.conformance import check

    broken = 0
    for clause in check(arguments.rule):
        mark = {True: "ok", False: "BROKEN", None: "n/a"}[clause.holds]
        print(f"{mark:>6}  {clause.sentence}" + (f"\n        {clause.why}" if clause.why else ""))
        broken += clause.holds is False
    print(f"\n{broken} clauses broken." if broken else "\nAll clauses hold.")
    return 1 if broken else 0


def _tune(arguments: argparse.Namespace) -> int:
    from creditbench.suite.tune import tune

    for line in tune(
        arguments.suite,
        arguments.task,
        arguments.network,
        arguments.rule,
        arguments.trials,
        Path(arguments.recipes),
        arguments.device,
    ):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
