"""The questions that are answered by training."""

from __future__ import annotations

from creditbench.suite.audit.question import Question

QUESTIONS: tuple[Question, ...] = ()
