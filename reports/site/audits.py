"""The audit as a matrix: rules by questions, and for each verdict the figures that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from creditbench.reports.figures import rounded
from creditbench.reports.site.evidence import Evidence
from creditbench.suite.record import Audit, Finding
from creditbench.suite.scores import ABSENT
from creditbench.suite.specification import format_label

# Words for a verdict, and a mark that needs no colour. "yes" is the objection.
MARKS = {"yes": "●", "no": "○", "not applicable": "–", "undetermined": "?"}


@dataclass(frozen=True)
class Audited:
    """One audit of a rule on a network, as a line of the matrix."""

    audit: Audit
    path: Path
    label: str  # the rule with its options
    where: str  # the network and the task it was built for

    @property
    def key(self) -> str:
        return self.audit.spec.key

    @property
    def passes(self) -> str:
        return ABSENT if self.audit.passes is None else f"{self.audit.passes:g}"


def audited(evidence: Evidence) -> list[Audited]:
    """All audits, by rule."""
    found = [
        Audited(
            audit,
            path,
            format_label(audit.spec.rule, audit.spec.hyperparameters),
            f"{audit.spec.network}, {audit.spec.task}",
        )
        for audit, path in evidence.audits.values()
    ]
    return sorted(found, key=lambda one: (one.label, one.where, one.key))


def questions(audits: Iterable[Audited]) -> dict[str, str]:
    """Every question that was asked -> how it was answered, in the order of asking."""
    found: dict[str, str] = {}
    for one in audits:
        for key, finding in one.audit.findings.items():
            found.setdefault(key, finding.intervention)
    return found


def figure(finding: Finding | None) -> str:
    """The evidence, as it is shown."""
    if finding is None or finding.evidence is None:
        return ABSENT
    return finding.evidence if isinstance(finding.evidence, str) else f"{finding.evidence:.2g}"


def figures(curve: Mapping[str, float]) -> str:
    """A finding's curve as a line of text."""
    return "; ".join(
        f"{setting}: {ABSENT if value is None else rounded(value)}" for setting, value in curve.items()
    )


def unaudited(rules: Iterable[str], audits: Sequence[Audited]) -> list[str]:
    """Rules with results that nobody has asked."""
    return sorted(set(rules) - {one.audit.spec.rule for one in audits})
