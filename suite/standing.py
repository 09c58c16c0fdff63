"""How a stored result stands to the code and the plan of today: what is done, what is to do, and why.

The driver asks it what to do; `plan`, `why` and `doctor` ask the same, so they never tell another story.
No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Run
from creditbench.suite.specification import FIELDS, Spec, shortened
from creditbench.suite.store import Store

Verdict = Literal["done", "kept", "skipped", "replay", "again", "retry", "missing", "unreadable"]
MEANING: Mapping[Verdict, str] = {
    "done": "made by this very code",
    "kept": "made by other code whose first steps this code repeats",
    "skipped": "the rule says it cannot do it",
    "replay": "made by other code; its first steps will be replayed, and it stays if they come out the same",
    "again": "made by other code, and nothing is stored that could be replayed; it will be done again",
    "retry": "it did not end well and will be tried again",
    "missing": "not there",
    "unreadable": "there, and cannot be read; it is left as it lies",
}
FINISHED = ("ok", "diverged", "skipped")  # the others are tried again


@dataclass(frozen=True)
class Standing:
    """A seed of a cell, or its cost: the verdict, what is stored, and more words where there are any."""

    spec: Spec
    verdict: Verdict
    run: Run | None = None
    words: str = ""

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return self.verdict in ("done", "kept", "skipped")


def stand(spec: Spec, store: Store, code: str) -> Standing:
    """Of one seed, under the code of this fingerprint."""
    try:
        run = store.get(spec)
    except CreditbenchError as error:
        return Standing(spec, "unreadable", words=str(error))
    return Standing(spec, "missing") if run is None else judge(run, store, code)


def judge(run: Run, store: Store, code: str) -> Standing:
    """Of a run that was read from the store."""
    spec = run.spec
    if run.status not in FINISHED:
        return Standing(spec, "retry", run, f"{run.status}: {run.reason}")
    if store.is_valid(run, code):
        if run.status == "skipped":
            return Standing(spec, "skipped", run, run.reason or "")
        words = "" if run.status == "ok" else f"{run.status}: {run.reason}"
        return Standing(spec, "done" if run.fingerprint == code else "kept", run, words)
    return Standing(spec, "replay" if run.digest else "again", run)


def stand_cost(spec: Spec, store: Store, machine: str, measuring: str) -> Standing:
    """Of the cost of a spec's cell on a machine, under measuring code of this fingerprint."""
    try:
        cost = store.get_cost(spec, machine)
    except CreditbenchError as error:
        return Standing(spec, "unreadable", words=str(error))
    if cost is None:
        return Standing(spec, "missing")
    return Standing(spec, "done" if cost.fingerprint == measuring and cost.alone else "again")


def changed(before: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """Which modules differ between two fingerprints, in words."""
    if before is None:
        return "what has changed was not kept"
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return f"changed since: {', '.join(map(_how(before, now), names))}" if names else "nothing has changed"


def _how(before: Mapping[str, str], now: Mapping[str, str]) -> Callable[[str], str]:
    def words(name: str) -> str:
        if name == "torch":
            return f"torch {before.get(name, '?')} to {now.get(name, '?')}"
        return name if name in before and name in now else f"{name} ({'new' if name in now else 'gone'})"

    return words


def nearest(spec: Spec, stored: Iterable[Run]) -> str:
    """Of a missing run, what comes closest to it, in words; "" where nothing is stored beside it."""
    names = [name for name in FIELDS if name not in ("task", "rule", "seed")]

    def apart(other: Spec) -> list[str]:
        return [name for name in names if getattr(other, name) != getattr(spec, name)]

    others = sorted(
        (run.spec for run in stored), key=lambda other: (len(apart(other)), other.cell, other.seed)
    )
    if not others:
        return ""
    differing = apart(others[0])
    if not differing:
        return "other seeds of this cell are there"
    told = [f"{name} is {_short(getattr(others[0], name))} there and {_short(getattr(spec, name))} here"
            for name in differing]  # fmt: skip
    return f"the nearest stored run is another: {'; '.join(told)}"


def _short(value: object) -> str:
    text = dict(value) if isinstance(value, Mapping) else value
    return shortened(text)
