"""Every figure of every cell, before and after: one finding each.

- *Exact* figures (counts, bytes, critical path, parameters) do not depend on the machine. They are equal,
  or they have changed; a changed one fails until the baseline is renewed, a smaller one too unless the limits
  allow it: a step that forgets a layer has fewer MACs.
- *Scores* are compared seed by seed. A regression is what lies with its whole interval below minus the
  margin: it is proved, not suspected. Where the interval reaches to both sides of that, nothing is decided,
  which is said.
- *Times* are ratios to a kernel timed in turns with the step. A regression is what is slower than the margin
  allows at the lower bound of the ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from creditbench.reports.gate.limits import Limits, Tolerances
from creditbench.reports.gate.sides import Cell, Side
from creditbench.reports.statistics.comparisons import detectable_effect
from creditbench.reports.statistics.intervals import student
from creditbench.suite.errors import CreditbenchError

Verdict = Literal[
    "same", "changed", "worse", "better", "undecided", "new", "missing", "failed", "recovered", "incomparable"
]
Kind = Literal["cell", "exact", "score", "time"]
EQUAL = 1e-9  # relative: counts are per sample, so they are quotients


@dataclass(frozen=True)
class Finding:
    cell: str
    kind: Kind
    figure: str
    verdict: Verdict
    fails: bool  # the gate
    words: str  # one sentence, without the cell's name
    base: float | None = None
    new: float | None = None
    low: float | None = None  # of the score's difference or the time's ratio
    high: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.new / self.base if self.base and self.new is not None else None


@dataclass(frozen=True)
class Verdicts:
    base: str
    new: str
    cells: int  # on either side
    findings: tuple[Finding, ...]

    @property
    def failing(self) -> tuple[Finding, ...]:
        return tuple(own for own in self.findings if own.fails)

    @property
    def exit_code(self) -> int:
        return 1 if self.failing else 0


def judge(base: Side, new: Side, tolerances: Tolerances | None = None) -> Verdicts:
    """Raises CreditbenchError where no cell is on both sides: there is nothing to compare."""
    tolerances = tolerances or Tolerances()
    pairs = _paired(base, new)
    if not any(old and young for old, young in pairs):
        raise CreditbenchError(
            f"{base.name} and {new.name} have no cell in common; compare results of the same suite."
        )
    names = [(young or old or _nobody()).name for old, young in pairs]
    findings: list[Finding] = []
    for old, young in pairs:
        one = young or old or _nobody()
        name = one.full_name if names.count(one.name) > 1 else one.name
        limits = tolerances.of(one.task, one.network, one.rule)
        if old is None:
            findings.append(Finding(name, "cell", "cell", "new", False, f"only in {new.name}"))
        elif young is None:
            words = f"no longer there: only in {base.name}"
            findings.append(Finding(name, "cell", "cell", "missing", limits.cells_missing, words))
        else:
            findings += _settings(name, old, young)
            findings += _endings(name, old, young, limits)
            findings += _scores(name, old, young, limits)
            findings += _exact(name, old, young, limits)
            findings += _times(name, old, young, limits)
    return Verdicts(base.name, new.name, len(pairs), tuple(findings))


def _nobody() -> Cell:
    raise AssertionError("a pair has a side")


def _paired(base: Side, new: Side) -> list[tuple[Cell | None, Cell | None]]:
    """Cells of one id; then, of what is left, those of one rule on one problem with other settings."""
    before, after = dict(base.cells), dict(new.cells)
    pairs: list[tuple[Cell | None, Cell | None]] = [
        (before.pop(cell), after.pop(cell)) for cell in sorted(before.keys() & after.keys())
    ]

    def place(own: Cell) -> tuple[object, ...]:
        spec = own.spec
        return (own.name, spec and spec.task_version, spec and spec.protocol)

    for key, own in sorted(before.items(), key=lambda item: item[1].name):
        rivals = [other for other in before.values() if place(other) == place(own)]
        heirs = [other for other, young in after.items() if place(young) == place(own)]
        one = len(rivals) == len(heirs) == 1
        pairs.append((before[key], after.pop(heirs[0]) if one else None))
    pairs += [(None, own) for own in after.values()]
    return sorted(pairs, key=lambda pair: (pair[0] or pair[1] or _nobody()).full_name)


def _settings(name: str, old: Cell, young: Cell) -> Iterator[Finding]:
    if old.spec is None or young.spec is None or old.spec.cell == young.spec.cell:
        return
    told = [
        f"{key} {old.settings[key]} to {young.settings[key]}"
        for key in old.settings
        if old.settings[key] != young.settings[key]
    ]
    yield Finding(name, "cell", "settings", "changed", False, f"settings changed: {', '.join(told)}")


def _endings(name: str, old: Cell, young: Cell, limits: Limits) -> Iterator[Finding]:
    """Seeds that no longer end well, are gone, or end well again."""
    good = {seed for seed, run in old.runs.items() if run.status == "ok"}
    for seed in sorted(old.runs.keys() & young.runs.keys()):
        run = young.runs[seed]
        if seed in good and run.status != "ok":
            words = f"seed {seed} was scored and now {run.status}: {run.reason or 'no reason is given'}"
            yield Finding(name, "cell", f"seed {seed}", "failed", True, words)
        elif seed in good and run.score is None and old.runs[seed].score is not None:
            words = f"seed {seed} was scored and now has no score"
            yield Finding(name, "cell", f"seed {seed}", "failed", True, words)
        elif seed not in good and run.status == "ok":
            words = f"seed {seed} was {old.runs[seed].status} and is scored now"
            yield Finding(name, "cell", f"seed {seed}", "recovered", False, words)
        elif seed not in good:
            words = f"seed {seed} was {old.runs[seed].status} and is {run.status}"
            yield Finding(name, "cell", f"seed {seed}", "same", False, words)
    if gone := sorted(old.runs.keys() - young.runs.keys()):
        words = f"no longer there: seed{'s' * (len(gone) > 1)} {', '.join(map(str, gone))}"
        yield Finding(name, "cell", "seeds", "missing", limits.cells_missing, words)


def _scores(name: str, old: Cell, young: Cell, limits: Limits) -> Iterator[Finding]:
    seeds = sorted(
        seed
        for seed in old.runs.keys() & young.runs.keys()
        if old.runs[seed].score is not None and young.runs[seed].score is not None
    )
    if not seeds:
        return
    first = old.runs[seeds[0]]
    data = {str(side.runs[seed].provenance.get("data_sha256")) for side in (old, young) for seed in seeds}
    before = [old.runs[seed].score or 0.0 for seed in seeds]
    after = [young.runs[seed].score or 0.0 for seed in seeds]
    means = sum(before) / len(seeds), sum(after) / len(seeds)
    if len(data) > 1:
        words = "the data have another SHA-256, so scores cannot be compared"
        yield Finding(name, "score", first.metric, "incomparable", limits.scores_gate, words, *means)
        return
    sign = 1 if first.higher_is_better else -1
    apart = [sign * (b - a) for a, b in zip(before, after, strict=True)]
    found, margin = student(apart, limits.scores_level), limits.scores_margin
    low, high = found.low, found.high
    change = f"{means[0]:.4f} to {means[1]:.4f}"
    if len(seeds) < limits.scores_seeds or low is None or high is None:
        verdict: Verdict = "same" if not any(apart) else "undecided"
        words = (
            "equal seed by seed" if verdict == "same" else
            f"{change}; {len(seeds)} seeds against {len(seeds)} decide nothing; {limits.scores_seeds} do"
        )  # fmt: skip
        yield Finding(name, "score", first.metric, verdict, False, words, *means, low, high)
        return
    interval = f"{100 * limits.scores_level:g} % interval of the difference {low:+.4f} to {high:+.4f}"
    if high < -margin:
        verdict, words = "worse", f"{change}; {interval}, all below the margin of -{margin:g}"
    elif low > margin:
        verdict, words = "better", f"{change}; {interval}"
    elif low < -margin:
        error = statistics.stdev(apart) / math.sqrt(len(seeds))
        least = error * detectable_effect(len(seeds) - 1, 1 - limits.scores_level)
        verdict = "undecided"
        words = f"{change}; {interval} reaches below -{margin:g}; {len(seeds)} seeds could show {least:.4f}"
    else:
        verdict, words = "same", f"{change}; {interval}, within the margin of {margin:g}"
    fails = verdict == "worse" and limits.scores_gate
    yield Finding(name, "score", first.metric, verdict, fails, words, *means, low, high)


def _exact(name: str, old: Cell, young: Cell, limits: Limits) -> Iterator[Finding]:
    if not old.exact or not young.exact:
        if old.exact:
            words = "its cost is no longer measured"
            yield Finding(name, "cell", "cost", "missing", limits.cells_missing, words)
        return
    torch = f" (torch {old.torch} there, {young.torch} here)" if old.torch != young.torch else ""
    changed = False
    for figure in sorted(old.exact.keys() - young.exact.keys()):
        changed, words = True, f"was {_number(old.exact[figure])} and is no longer there"
        yield Finding(name, "exact", figure, "missing", limits.exact_gate, words, old.exact[figure])
    counted = old.split and young.split  # by both, or else an older record lacks what is not named
    shared = old.exact.keys() & young.exact.keys()
    for before, after, tolerance in (
        ({name: own for name, own in old.exact.items() if name in shared}, young.exact, EQUAL),
        (old.counted, young.counted, EQUAL),
        (old.inexact, young.inexact, limits.exact_data_dependent),
    ):
        names = dict.fromkeys((*before, *after) if after is not young.exact else before)
        for figure in names if counted or after is young.exact else ():
            first, second = before.get(figure, 0.0), after.get(figure, 0.0)
            if math.isclose(first, second, rel_tol=tolerance, abs_tol=0.0):
                continue
            changed = True
            ratio = f", × {second / first:.4g}" if first else ""
            allowed = second < first and limits.exact_less and "coverage" not in figure
            words = f"{_number(first)} to {_number(second)}{ratio}{torch}"
            fails = limits.exact_gate and not allowed
            yield Finding(name, "exact", figure, "changed", fails, words, first, second)
    if not changed:
        count = len(shared) + (len({*old.counted, *old.inexact}) if counted else 0)
        yield Finding(name, "exact", "exact figures", "same", False, f"all {count} are equal")


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"


def _times(name: str, old: Cell, young: Cell, limits: Limits) -> Iterator[Finding]:
    first, second = old.timing, young.timing
    seconds = (old.seconds, young.seconds)
    if old.seconds is None or young.seconds is None:
        return
    if first is None or second is None:
        words = "no calibration beside the step on both sides, so times are not compared"
        yield Finding(name, "time", "step", "incomparable", False, words, *seconds)
        return
    if not (first.alone and second.alone):
        words = "other work ran beside one of them, so times are not compared"
        yield Finding(name, "time", "step", "incomparable", False, words, *seconds)
        return
    if first.kind != second.kind:
        words = f"{first.kind} there and {second.kind} here make no common scale"
        yield Finding(name, "time", "step", "incomparable", False, words, *seconds)
        return
    low, high = second.low / first.high, second.high / first.low
    ratio, bound = second.ratio / first.ratio, 1 + limits.times_margin
    words = f"× {ratio:.3g} ({low:.3g} to {high:.3g}) of what it was, in calibrated time"
    verdict: Verdict = "same"
    if low > bound:
        verdict, words = "worse", f"{words}; × {bound:.3g} is allowed"
    elif high < 1 / bound:
        verdict = "better"
    elif high > bound:
        verdict = "undecided"
    fails = verdict == "worse" and limits.times_gate
    yield Finding(name, "time", "step", verdict, fails, words, first.ratio, second.ratio, low, high)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    order = (
        "failed",
        "missing",
        "worse",
        "changed",
        "incomparable",
        "undecided",
        "new",
        "recovered",
        "better",
    )
    places = {verdict: place for place, verdict in enumerate(order)}
    return sorted(findings, key=lambda own: (not own.fails, places.get(own.verdict, len(places))))
