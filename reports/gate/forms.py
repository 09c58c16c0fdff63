"""Findings as people and machines read them. Whatever comes from a record is escaped for where it goes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from xml.etree import ElementTree

from creditbench.reports.gate.judge import Finding, Verdicts, worst_first
from creditbench.reports.terminal import clean

LONGEST = 60_000  # characters of a pull request's comment, less some for what stands around it


def text(found: Verdicts) -> str:
    """For a terminal or a log: what fails, what else changed, what could not be decided."""
    parts = [f"{clean(found.base)} -> {clean(found.new)}: {_counts(found)}"]
    for title, chosen in _sections(found).items():
        if chosen:
            parts.append(f"\n{title}:")
            parts += [f"  {clean(f'{own.cell}: {own.figure}: {own.words}')}" for own in chosen]
    parts.append(f"\n{_verdict(found)}")
    return "\n".join(parts)


def markdown(found: Verdicts) -> str:
    """For a pull request: the verdict, what matters in tables, the rest folded away."""
    parts = [
        f"### creditbench: {_verdict(found)}",
        f"{_cell(found.base)} → {_cell(found.new)}: {_counts(found)}",
    ]
    for title, chosen in _sections(found).items():
        if chosen:
            parts.append(f"**{title}**\n\n{_table(chosen)}")
    same = [own for own in found.findings if own.verdict == "same"]
    if same:
        folded = f"<details><summary>{len(same)} unchanged</summary>\n\n{_table(same)}\n\n</details>"
        if sum(map(len, parts)) + len(folded) < LONGEST:
            parts.append(folded)
    whole = "\n\n".join(parts)
    if len(whole) > LONGEST:
        whole = whole[:LONGEST].rpartition("\n")[0] + "\n\nCut here: the log has all of it."
    return whole


def as_json(found: Verdicts) -> str:
    """Strict JSON: `fails`, `counts` by verdict, and all findings with their figures."""
    rows = [asdict(own) | {"ratio": own.ratio} for own in found.findings]
    told = {
        "base": found.base,
        "new": found.new,
        "cells": found.cells,
        "fails": bool(found.failing),
        "counts": dict(sorted(Counter(own.verdict for own in found.findings).items())),
        "findings": rows,
    }
    return json.dumps(told, indent=1, allow_nan=False)


def junit(found: Verdicts) -> str:
    """JUnit's XML: a test suite for each cell, a test case for each figure; undecided ones are skipped."""
    suites: dict[str, list[Finding]] = {}
    for own in found.findings:
        suites.setdefault(own.cell, []).append(own)
    root = ElementTree.Element("testsuites", _junit_counts(list(found.findings), "creditbench compare"))
    for name, cases in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", _junit_counts(cases, name))
        for own in cases:
            place = {"classname": clean(name), "name": clean(f"{own.kind}: {own.figure}")}
            case = ElementTree.SubElement(suite, "testcase", place)
            if own.fails:
                ElementTree.SubElement(case, "failure", {"message": clean(own.words), "type": own.verdict})
            elif own.verdict in ("undecided", "incomparable"):
                ElementTree.SubElement(case, "skipped", {"message": clean(own.words)})
            else:
                ElementTree.SubElement(case, "system-out").text = clean(own.words)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def github(found: Verdicts) -> str:
    """Commands of GitHub Actions: an error for what fails, a warning for what is undecided or missing, a
    notice for other changes."""
    lines = []
    for own in worst_first(found.findings):
        if own.verdict == "same":
            continue
        doubtful = own.verdict in ("undecided", "incomparable", "missing")
        level = "error" if own.fails else "warning" if doubtful else "notice"
        title = _github(f"{own.cell}: {own.figure}").replace(":", "%3A").replace(",", "%2C")
        lines.append(f"::{level} title={title}::{_github(own.words)}")
    return "\n".join([*lines, _github(_verdict(found))])


FORMS: Mapping[str, Callable[[Verdicts], str]] = {
    "text": text, "markdown": markdown, "json": as_json, "junit": junit, "github": github,
}  # fmt: skip


def _sections(found: Verdicts) -> dict[str, list[Finding]]:
    order = worst_first(found.findings)
    rest = [own for own in order if not own.fails and own.verdict != "same"]
    open_ = ("undecided", "incomparable")
    return {
        "Regressions": [own for own in order if own.fails],
        "Not decided": [own for own in rest if own.verdict in open_],
        "Other changes": [own for own in rest if own.verdict not in open_],
    }


def _counts(found: Verdicts) -> str:
    counts = Counter(own.verdict for own in found.findings)
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    return f"{found.cells} cell{'s' * (found.cells != 1)}; figures: {told}"


def _verdict(found: Verdicts) -> str:
    count = len(found.failing)
    if count:
        return f"{count} regression{'s' * (count != 1)}."
    undecided = sum(own.verdict == "undecided" for own in found.findings)
    return f"No regression found; {undecided} undecided." if undecided else "No regression found."


def _table(findings: list[Finding]) -> str:
    lines = ["| cell | figure | verdict | |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(own.cell)} | {_cell(own.figure)} | {own.verdict} | {_cell(own.words)} |"
        for own in findings
    ]
    return "\n".join(lines)


def _cell(words: str) -> str:
    """Words that mean nothing in Markdown, in HTML or to GitHub: no tags, links, tables, mentions."""
    escaped = clean(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_{}\[\]()#|~!])", r"\\\1", escaped)
    return re.sub(r"([@#])(?=\w)", "\\1\u200b", escaped).replace("://", ":\u200b//")


def _github(words: str) -> str:
    return clean(words).replace("%", "%25")


def _junit_counts(cases: list[Finding], name: str) -> dict[str, str]:
    skipped = sum(own.verdict in ("undecided", "incomparable") and not own.fails for own in cases)
    return {
        "name": clean(name),
        "tests": str(len(cases)),
        "failures": str(sum(own.fails for own in cases)),
        "skipped": str(skipped),
    }
