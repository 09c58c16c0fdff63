"""The command line. Nothing heavy is imported before it is needed: `--help` and `list` need no torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from creditbench.suite.commands import (
    audit,
    challenge,
    check,
    compare,
    doctor,
    growth,
    list_names,
    plan,
    report,
    run,
    show,
    stability,
    tune,
    why,
)
from creditbench.suite.errors import CreditbenchError

COMMANDS = (
    run,
    plan,
    show,
    report,
    compare,
    why,
    doctor,
    list_names,
    check,
    audit,
    growth,
    tune,
    stability,
    challenge,
)


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

    for command in COMMANDS:
        command.add(commands)
    return parser


def _version() -> str:
    import creditbench

    return f"creditbench {creditbench.__version__}"


if __name__ == "__main__":
    sys.exit(main())
