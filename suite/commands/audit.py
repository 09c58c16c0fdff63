"""`creditbench audit`: what a rule needs, found out by intervention."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditbench.suite.audit.question import Answer, Question
    from creditbench.suite.commands import Commands
    from creditbench.suite.record import Audit


def add(commands: Commands) -> None:
    audit = commands.add_parser("audit", help="what a rule needs, found out by intervention")
    audit.add_argument("rule", metavar="RULE", help="name[:option=value,...] or path/to/file.py:Class")
    audit.add_argument("--task", default="digit-sums", metavar="T", help="what it is trained on; digit-sums")
    audit.add_argument("--network", default="mlp", metavar="N", help="name[:option=value,...]; mlp")
    audit.add_argument("--results", metavar="DIR", help="store the record there; one that is valid is read")
    audit.add_argument("--json", action="store_true", help="the record")
    audit.set_defaults(command=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from creditbench.suite.audit.audit import audited
    from creditbench.suite.record import to_json
    from creditbench.suite.store import Store

    store = Store(Path(arguments.results)) if arguments.results else None
    told: list[str] = []

    def tell(question: Question, answer: Answer) -> None:
        told.append(question.key)
        if not arguments.json:
            print(_line(question.key, answer.verdict, answer.evidence, answer.reason), flush=True)

    record = audited(arguments.rule, arguments.task, arguments.network, store, tell)
    if arguments.json:
        print(to_json(record), end="")
        return 0
    if not told:
        for key, finding in record.findings.items():
            print(_line(key, finding.verdict, finding.evidence, finding.reason))
    print(_numbers(record))
    if store is not None:
        print(f"Record: {store.path(record)}")
    return 0


def _line(key: str, verdict: str, evidence: float | str | None, reason: str) -> str:
    figure = "–" if evidence is None else evidence if isinstance(evidence, str) else f"{evidence:.2g}"
    return f"{key:<26}{verdict:<16}{figure:<10}{reason}".rstrip()


def _numbers(record: Audit) -> str:
    passes = "–" if record.passes is None else f"{record.passes:g}"
    return (
        f"{'passes':<26}{passes}\n{'synapse_locality':<26}{record.synapse_locality or 'undetermined'}\n"
        '"yes" is the objection; the figure is its evidence. docs/audit.md says how each was found out.'
    )
