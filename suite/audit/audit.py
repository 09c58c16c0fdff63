"""The whole audit of a rule on a network: all questions, asked and written down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from creditbench.suite import registry
from creditbench.suite.audit import locking, trained, transport
from creditbench.suite.audit.bench import bench, clear
from creditbench.suite.audit.locality import passes, synapse_locality
from creditbench.suite.audit.question import Answer, Question, Subject
from creditbench.suite.fingerprint import fingerprint
from creditbench.suite.learner import build_network
from creditbench.suite.plan import checked, load_rule, load_task, make_rule, own_choices
from creditbench.suite.provenance import provenance
from creditbench.suite.record import Audit, Audited, Finding
from creditbench.suite.specification import format_label, parse_label
from creditbench.suite.store import Store
from creditbench.suite.types import Network

AUDITING = "creditbench.suite.audit.audit"  # the root of an audit's fingerprint
Told = Callable[[Question, Answer], None]  # as the answers come


def questions() -> tuple[Question, ...]:
    """All of them: first the structural ones, which take seconds, then those answered by training."""
    return (*transport.QUESTIONS, *locking.QUESTIONS, *trained.QUESTIONS)


def audit(subject: Subject, told: Told = lambda question, answer: None) -> Audit:
    """Asks everything. What goes wrong with one question makes it undetermined, with the error for a reason.

    Raises CreditbenchError where the rule cannot train the network at all."""
    try:
        on = bench(subject)
        on.play(steps=1)
        findings = {}
        for question in questions():
            answer = _asked(question, subject)
            told(question, answer)
            findings[question.key] = Finding(
                answer.verdict, question.intervention, _plain(answer.evidence), answer.reason, answer.curve
            )
        return Audit(
            _audited(subject),
            bench=f"{len(on.network.blocks)} blocks of {_sizes(on.network)}",
            findings=findings,
            passes=_or_none(passes, subject),
            synapse_locality=_or_none(synapse_locality, subject),
            provenance=provenance(torch.device("cpu"), "", 1),
        )
    finally:
        clear()


def _asked(question: Question, subject: Subject) -> Answer:
    try:
        return question.ask(subject)
    except Exception as error:  # of the rule's own, in a situation that it was not written for
        return Answer("undetermined", None, f"{type(error).__name__}: {error}")


Figure = TypeVar("Figure")


def _or_none(figure: Callable[[Subject], Figure | None], subject: Subject) -> Figure | None:
    """A figure, or None where the rule cannot be watched as its method needs."""
    try:
        return figure(subject)
    except Exception:  # as in `_asked`; a figure that cannot be told is absent
        return None


def _plain(evidence: float | str | None) -> float | str | None:
    """Strict JSON has no infinity."""
    return str(evidence) if isinstance(evidence, float) and not math.isfinite(evidence) else evidence


def _sizes(network: Network) -> str:
    return ", ".join("×".join(map(str, block.output_shape)) for block in network.blocks)


def _audited(subject: Subject) -> Audited:
    task, rule = subject.task, subject.rule
    return Audited(task.name, task.version, subject.network().label, rule.name, settings_of(rule))


def settings_of(rule: Any) -> dict[str, Any]:
    """A variant's hyperparameters, where they are not the defaults."""
    given = {}
    for item in fields(rule):
        default = item.default if item.default_factory is MISSING else item.default_factory()
        if getattr(rule, item.name) != default:
            given[item.name] = getattr(rule, item.name)
    return given


def subject_of(rule: str, task: str, network: str) -> tuple[Subject, list[Path]]:
    """Who is meant by three labels, and the files that define them. The rule's fields are its defaults but
    for what its label says; recipes are left aside, so that a variant has one name."""
    the_task = load_task(task)
    name, given = parse_label(rule)
    kind = load_rule(name)
    the_rule = make_rule(kind, checked(kind, f"rule '{kind.name}'", given))
    network_name, options = parse_label(network)
    builder = registry.load("network", network_name)
    own = registry.own_name(builder)
    options = checked(builder, f"network '{own}'", options)
    label = format_label(own, options)

    def build(**choices: Any) -> Network:
        checked(builder, f"network '{own}'", choices)
        asked = {**own_choices(kind, builder, network), **options, **choices}
        return build_network(the_task, label, builder, asked, [0], torch.device("cpu"))

    found = (
        registry.source_file("task", task),
        registry.source_file("network", network_name),
        registry.source_file("rule", name),
    )
    return Subject(the_rule, the_task, build), [path for path in found if path is not None]


def audited(
    rule: str, task: str, network: str, store: Store | None = None, told: Told = lambda question, answer: None
) -> Audit:
    """The audit of what three labels mean: the stored one where the code is still the same, else a new one,
    which is stored."""
    subject, files = subject_of(rule, task, network)
    code = fingerprint(files, torch.__version__, AUDITING)
    if store is not None:
        stored = store.get_audit(_audited(subject))
        if stored is not None and stored.fingerprint == code:
            return stored
    found = replace(audit(subject, told), fingerprint=code)
    if store is not None:
        store.put(found)
    return found
