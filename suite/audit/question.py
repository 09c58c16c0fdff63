"""A question of the audit: what is asked, of whom, and what an answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from creditbench.suite.types import LearningRule, Network, Task

Verdict = Literal["yes", "no", "not applicable", "undetermined"]


@dataclass(frozen=True)
class Subject:
    """Who is asked: a rule, how to build its network, and a task to build it for.

    network: (activation or other choices by name) -> one seed's untrained network; raises CreditbenchError
    for a choice that the network does not know."""

    rule: LearningRule
    task: Task
    network: Callable[..., Network]


@dataclass(frozen=True)
class Answer:
    """verdict: "yes" is the objection. evidence: the figure behind it, in the question's unit."""

    verdict: Verdict
    evidence: float | str | None = None
    reason: str = ""  # always given for "undetermined" and "not applicable"
    curve: Mapping[str, float] = field(default_factory=dict)  # setting -> figure, references included


@dataclass(frozen=True)
class Question:
    key: str  # weight_transport
    intervention: str  # in one line, for the reader of the table
    ask: Callable[[Subject], Answer]
