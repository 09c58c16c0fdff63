"""Are weights read backwards? Found by changing them where the forward direction cannot tell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite.audit.bench import (
    FEW,
    SIZE,
    STEPS,
    THRESHOLD,
    Bench,
    Play,
    Weights,
    apart,
    bench,
    shaken,
)
from creditbench.suite.audit.dispatch import Event, Observation, WeightWatch
from creditbench.suite.audit.question import Answer, Question, Subject
from creditbench.suite.learner import Learner
from creditbench.suite.seeds import generator

FAINT = 1e-6  # of a change that flips none
ROUNDING = 1e-13  # of one that does no more than rounding does
PLAIN = 1e-3  # effects beyond it are no rounding
ROOM = 8  # directions that must be left, or no change is tried
SETTLED = (
    1e-13  # directions in which the activities are shorter than this, next to the longest, count as none
)


def silent_change(weight: Tensor, activities: Tensor | None, size: float, *names: str | int) -> Tensor | None:
    """A random change of a weight [1, out, ...], orthogonal in every row to all activities [n, in].

    None where the activities leave no room for one."""
    flat = weight.flatten(2)
    change = torch.randn(flat.shape, generator=generator("audit", "change", *names), dtype=weight.dtype)
    if activities is not None:
        lengths = activities.norm(dim=1, keepdim=True)
        rows = (activities / lengths)[lengths[:, 0] > 0]
        if len(rows):
            _, values, directions = torch.linalg.svd(rows, full_matrices=False)
            directions = directions[values > SETTLED * values[0]]
            if flat.shape[-1] - len(directions) < ROOM:
                return None
            for _ in range(2):  # once more for what rounding left
                change = change - change @ directions.mT @ directions
    return (size * flat.std() / change.std() * change).view_as(weight)


@dataclass(frozen=True)
class Probe:
    """What a silent change of one block's weights did.

    changes: hidden blocks below -> by which share their updates changed. leaked: it was not silent after
    all: something above saw it before anything below did."""

    block: int
    changes: dict[int, float]
    leaked: bool = False

    def reached(self, threshold: float) -> list[int]:
        return [number for number, change in self.changes.items() if change > threshold]


@dataclass(frozen=True)
class Transport:
    """The intervention on every block in turn."""

    learning: list[int]
    probes: list[Probe]
    full: list[int]  # blocks whose activities left no room, from the first step on
    late: list[Probe]  # changes of these, made in the middle of the last step
    seen: Observation

    @property
    def largest(self) -> float:
        clean = [probe for probe in (*self.probes, *self.late) if not probe.leaked]
        return max((change for probe in clean for change in probe.changes.values()), default=0.0)

    @property
    def leaked(self) -> list[int]:
        return [probe.block for probe in self.probes if probe.leaked]


def intervene(on: Bench, size: float = SIZE) -> Transport:
    """Changes the weights of each block above the first where no forward activity of two steps sees it.

    A change of less than their spread flips no sign of a weight, in neither step."""
    return on.once(("transport", size), lambda: _intervene(on, size))


def _intervene(on: Bench, size: float) -> Transport:
    found = _intervene_with(on, size, FEW, late=False)
    if not found.full:
        return found
    single = _intervene_with(on, size, 1, late=True)
    return single if single.learning == found.learning else _intervene_with(on, size, FEW, late=True)


def _intervene_with(on: Bench, size: float, samples: int, late: bool) -> Transport:
    watch = WeightWatch()
    plain = on.play(watcher=watch, samples=samples)
    learning = on.learning(plain)
    probes, full, late_probes = [], [], []
    for block in range(1, len(on.network.blocks)):
        below = [number for number in learning if number < block]
        if not below:
            continue
        weight = on.network.blocks[block].weight
        change = silent_change(weight, watch.seen.activities(block), size, block)
        if change is None:
            full.append(block)
            probe = _late(on, watch.seen, plain, block, below, size, samples) if late else None
            late_probes += [probe] if probe is not None else []
            continue
        if size < 1:
            change = _flipping_none(change, [w[block]["weight"] for w in _along(on, samples)])

        def add(weights: Weights, block: int = block, change: Tensor = change) -> None:
            weights[block]["weight"].add_(change)

        again = WeightWatch()
        other = on.play(add, watcher=again, samples=samples)
        probes.append(_compared(watch.seen, again.seen, plain, other, block, below))
    return Transport(learning, probes, full, late_probes, watch.seen)


def _along(on: Bench, samples: int) -> list[Weights]:
    """The weights before each step and after the last."""

    def find() -> list[Weights]:
        return [on.weights(), *(on.play(steps=n + 1, samples=samples).weights for n in range(STEPS))]

    return on.once(("along", samples), find)


def _flipping_none(change: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Rows made smaller where a weight would change its sign: each stays orthogonal to what it was."""
    share = torch.stack([weight.abs() for weight in weights]).amin(0) / change.abs().clamp_min(1e-300)
    return change * (0.5 * share.flatten(2).amin(-1)).clamp_max(1).view(1, -1, *(1,) * (change.dim() - 2))


def resolution(on: Bench) -> float:
    """The change of an update from which on weights have been read.

    A rule that divides small differences (node perturbation) amplifies rounding: what counts is a hundred
    times what a change does that is itself no more than rounding."""
    if not THRESHOLD < intervene(on).largest < PLAIN:
        return THRESHOLD
    return max(THRESHOLD, 100 * intervene(on, ROUNDING).largest)


def reads_values(on: Bench) -> bool:
    """Whether a faint change has its part of the large one's effect; it has none where signs are read.

    A large one that makes the update infinite counts as one that changes all of it."""
    return intervene(on, FAINT).largest > 0.01 * FAINT / SIZE * min(intervene(on).largest, 1.0)


def _late(
    on: Bench,
    seen: Observation,
    plain: Play,
    block: int,
    below: Sequence[int],
    size: float,
    samples: int,
) -> Probe | None:
    """The same change made within the last step, as early as what comes after it leaves room.

    For rules that relax: their many activities leave no direction over, those of the last iterations do."""
    last = [n for n, e in enumerate(seen.events) if e.step == STEPS - 1 and e.kind == "activity"]
    weight = on.network.blocks[block].weight
    low, high, found = 0, len(last) - 1, None
    while low <= high:  # bisection: the later, the more room
        middle = (low + high) // 2
        change = silent_change(weight, seen.activities(block, last[middle]), size, block)
        if change is None:
            low = middle + 1
        else:
            high, found = middle - 1, (last[middle], change)
    if found is None:
        return None
    moment, change = found

    def add(learner: Learner) -> None:
        learner.network.blocks[block].weight.data.add_(change)

    again = WeightWatch(at=(max(1, moment), add))
    other = on.play(watcher=again, samples=samples)
    return _compared(seen, again.seen, plain, other, block, below)


def _compared(
    seen: Observation, again: Observation, plain: Play, other: Play, block: int, below: Sequence[int]
) -> Probe:
    changes = {number: apart(plain, other, number) for number in below}
    touched = max(changes.values()) > THRESHOLD
    return Probe(block, changes, touched and _came_from_above(seen, again, block))


def _came_from_above(seen: Observation, again: Observation, block: int) -> bool:
    """Whether the first thing that came out differently is what left the changed weights upwards.

    A rule that reads weights backwards first shows it below them: in an update, or, when it relaxes, in an
    activity on its way to them or to the weights below."""
    for one, other in zip(seen.events, again.events, strict=False):
        if (one.kind, one.block, one.step) != (other.kind, other.block, other.step) or _differ(one, other):
            if one.kind == "update":
                return isinstance(one.block, int) and one.block >= block
            assert isinstance(one.block, int)
            return one.block > block if one.kind == "activity" else one.block >= block
    return False


def activities_differ(seen: Observation, again: Observation, block: int) -> bool:
    """Whether an activity on its way to the weights of a block, or of one below, came out differently."""
    pairs = zip(seen.events, again.events, strict=False)
    return any(
        one.kind == "activity" and isinstance(one.block, int) and one.block <= block and _differ(one, other)
        for one, other in pairs
        if one.kind == other.kind and one.block == other.block
    )


def first_differences(seen: Observation, again: Observation) -> dict[int, int]:
    """For every block whose activities came out differently: how many of them had come out the same."""
    same: Counter[int | str] = Counter()
    firsts: dict[int, int] = {}
    for one, other in zip(seen.events, again.events, strict=False):
        if (one.kind, one.block) != (other.kind, other.block):
            break
        if one.kind == "activity" and isinstance(one.block, int) and one.block not in firsts:
            if _differ(one, other):
                firsts[one.block] = same[one.block]
            same[one.block] += 1
    return firsts


def _differ(one: Event, other: Event) -> bool:
    for ours, theirs in zip(one.tensors, other.tensors, strict=True):
        if ours.shape != theirs.shape:
            return True
        if not ours.is_floating_point():
            if not torch.equal(ours, theirs):
                return True
            continue
        scale = max(ours.abs().max().item(), theirs.abs().max().item()) if ours.numel() else 0.0
        if scale and not (ours - theirs).abs().max().item() <= THRESHOLD * scale:
            return True
    return False


def _ways(seen: Observation) -> str:
    """The second evidence: which operators contracted weights over their output axis."""
    names = sorted({name for _, name in seen.back})
    return f"weights were contracted over their output axis by {', '.join(names)}" if names else ""


DRAWS = 6  # a decision that is drawn (reward-hebb's action) may come out the same under one change


def above_matters(on: Bench) -> dict[int, float]:
    """For every hidden block that learns: by which share its updates change with whatever is above it; the
    first of several random changes that shows it, else the last."""

    def find() -> dict[int, float]:
        plain, top = on.play(), len(on.network.blocks)
        found = {}
        for block in on.learning(plain):
            for draw in range(DRAWS):
                found[block] = apart(plain, on.play(shaken(range(block + 1, top), draw=draw)), block)
                if found[block] > THRESHOLD:
                    break
        return found

    return on.once("above", find)


def _doubts(on: Bench, found: Transport) -> Answer | None:
    """Why the method cannot tell, where nothing was found."""
    if max(above_matters(on).values()) <= THRESHOLD:
        return None  # what does not depend on anything above does not read weights there
    for block in found.leaked:
        names = found.seen.curved.get(block, set()) | found.seen.strange.get(block, set())
        how = f"through {', '.join(sorted(names))}" if names else "in a way that is not linear"
        return Answer(
            "undetermined",
            None,
            f"the weights of block {block} also act forwards {how}, where no change of them is silent",
        )
    if found.full:
        names_ = ", ".join(map(str, found.full))
        done = "; changes within the last step alone changed nothing" if found.late else ""
        return Answer(
            "undetermined",
            None,
            _full(names_) + done,
        )
    return None


NO_CREDIT = Answer("not applicable", None, "no hidden block learns")


def weight_transport(subject: Subject) -> Answer:
    """Does the update of a block depend on the values of weights above it, read backwards?

    Method: on the bench (float64, 3 samples, 256 units, 2 steps of plain descent), the weights of one block
    are changed before the rule makes its state, by three times their own spread (which flips signs) and in
    directions orthogonal to every vector that met these weights on their input axis in any pass, phase or
    tangent of both steps, as observed at operator dispatch. What the weights do forwards stays as it was; so
    an update below them that changes by more than 1e-9 of its size has read them backwards: by a transpose
    in the step, through autograd, or from a copy in the state. If a change that flips no sign (1e-6 of the
    spread) has not its part of that effect, signs alone are read, which is `sign_transport`.

    Where any change whatever above leaves all updates as they are (`update_locking`), none is needed. Where
    the activities of a rule that relaxes leave no direction, a single sample is learned from; where
    that is still too much, the weights are changed within the last step, in the midst of the relaxation, as
    early as the activities that follow leave room, and only "yes" can come of it. Where the first thing to
    differ is what the changed weights hand up, the change was not silent, and the verdict is undetermined.
    An effect of less than 1e-3 must be a hundred times that of a change of 1e-13, which is rounding.

    Biases are left alone: a bias is met by the constant 1 and has no silent direction, and being a neuron's
    own and no synapse it carries nothing back; gains of normalisation likewise. Learned tensors of the
    rule's own (feedback, heads) are not weights of the network. Evidence: the largest relative change."""
    on = bench(subject)
    found = intervene(on)
    if not found.learning:
        return NO_CREDIT
    if found.largest > resolution(on):
        if not reads_values(on):
            return Answer("no", found.largest, "it reads signs alone: see sign_transport")
        return Answer("yes", found.largest, _ways(found.seen))
    return _doubts(on, found) or Answer("no", found.largest)


def sign_transport(subject: Subject) -> Answer:
    """Does the update of a block depend on the signs of weights above it, and on nothing else of them?

    Method: the two changes of `weight_transport`. The large one, which flips signs, changes an update below
    and the faint one, which flips none, does not. Evidence: the largest relative change by the large one."""
    on = bench(subject)
    found = intervene(on)
    if not found.learning:
        return NO_CREDIT
    if found.largest > resolution(on):
        if not reads_values(on):
            return Answer("yes", found.largest, _ways(found.seen))
        return Answer("not applicable", None, "it reads whole weights: see weight_transport")
    return _doubts(on, found) or Answer("no", found.largest)


def symmetric_weights(subject: Subject) -> Answer:
    """Do the same weights carry activity both ways already when the network is merely used?

    Method: `predict` is observed at dispatch on the bench, then repeated with the weights of each block
    changed silently, as in `weight_transport`. If a score changes, inference itself runs backwards through
    weights: the couplings are symmetric, as in equilibrium propagation, and what learning reads backwards
    is what the dynamics need anyhow. Evidence: the largest relative change of a score."""
    on = bench(subject)
    watch = WeightWatch()
    scores = on.predict(watch)
    if not scores.isfinite().all():
        return Answer("undetermined", None, "an untrained network's scores are not finite")
    backwards = {block for block, _ in watch.seen.back}
    largest = 0.0
    for block in range(1, len(on.network.blocks)):
        change = silent_change(on.network.blocks[block].weight, watch.seen.activities(block), SIZE, block)
        if change is None:
            if block in backwards:
                return Answer("undetermined", None, _full(block))
            continue

        def add(weights: Weights, block: int = block, change: Tensor = change) -> None:
            weights[block]["weight"].add_(change)

        again = WeightWatch()
        other = on.predict(again, add)
        largest_here = ((scores - other).abs().max() / scores.abs().max()).item()
        if largest_here > THRESHOLD and _came_from_above(watch.seen, again.seen, block):
            return Answer("undetermined", None, f"block {block} acts forwards in a way that is not linear")
        largest = max(largest, largest_here if math.isfinite(largest_here) else math.inf)
    return Answer("yes" if largest > THRESHOLD else "no", largest)


def _full(block: int | str) -> str:
    return f"the activities that meet the weights of block {block} leave no direction to change them in"


def analytic_shortcut(subject: Subject) -> Answer:
    """Does an analytic solution stand where a physical network would have to find it by its dynamics?

    Method: two steps are observed at dispatch. A system of linear equations solved, a matrix inverted or
    decomposed within a step is such a shortcut (deep feedback control's steady state; ridge regression of a
    head). Evidence: how many were solved."""
    solvers = intervene(bench(subject)).seen.solvers
    names, count = ", ".join(sorted(solvers)), float(solvers.total())
    return Answer("yes", count, names) if names else Answer("no", count)


QUESTIONS: tuple[Question, ...] = (
    Question(
        "weight_transport",
        "weights above a block change orthogonally to all activities that meet them: does its update change?",
        weight_transport,
    ),
    Question(
        "sign_transport",
        "the same, once with signs flipped and once without: do signs alone matter?",
        sign_transport,
    ),
    Question(
        "symmetric_weights",
        "weights are changed orthogonally to all activities that meet them: do predictions change?",
        symmetric_weights,
    ),
    Question(
        "analytic_shortcut",
        "a step is watched at operator dispatch: does it solve equations or invert matrices?",
        analytic_shortcut,
    ),
)
