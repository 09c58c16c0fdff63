"""What a block waits for: what is above it, a signal handed down, or everything at the same time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite.audit.altered import Altered, OtherCalls, altered
from creditbench.suite.audit.bench import RATE, THRESHOLD, Bench, Play, Weights, apart, bench, shaken
from creditbench.suite.audit.dispatch import WeightWatch
from creditbench.suite.audit.question import Answer, Question, Subject
from creditbench.suite.audit.transport import (
    NO_CREDIT,
    above_matters,
    activities_differ,
    first_differences,
    intervene,
    resolution,
)
from creditbench.suite.seeds import generator
from creditbench.suite.types import Block, State

ITERATIONS = 4  # in a step, from which on a rule may be said to relax
WARM_UP = 2  # steps before a single one is looked at: what starts at zero has moved


def update_locking(subject: Subject) -> Answer:
    """Does the update of a block depend on anything above it?

    Method: all parameters above a hidden block, biases too, are changed at random by three times their
    spread before the rule makes its state; two steps are compared. If the block's updates come out otherwise
    (1e-9 of their size), it has waited for something that was computed above: an error, a signal, a reward.
    Targets that enter at the bottom or at the block itself are no such thing. Evidence: the largest relative
    change of an update."""
    on = bench(subject)
    if not above_matters(on):
        return NO_CREDIT
    largest = max(above_matters(on).values())
    return Answer("yes" if largest > THRESHOLD else "no", largest)


@dataclass(frozen=True)
class Reach:
    """blocks: whose updates change. relaxes: activities at or below the place of the change do already.
    falls: activities change in one block after the other, downwards."""

    blocks: list[int]
    relaxes: bool = False
    falls: bool = False


def slope_reach(on: Bench) -> dict[int, Reach]:
    """For every hidden block: what another derivative at its output reaches, values there as they are."""
    return on.once("slopes", lambda: _slope_reach(on))


def _slope_reach(on: Bench) -> dict[int, Reach]:
    warm, watch = warmed_up(on), WeightWatch()
    plain = on.play(steps=1, from_play=warm, watcher=watch)
    reach = {}
    for number in on.hidden:
        shape = on.network.blocks[number].output_shape
        own = generator("audit", "slope", number)
        slope = 0.5 + torch.rand(shape, generator=own, dtype=torch.float64)

        def steeper(blocks: Sequence[Block], number: int = number, slope: Tensor = slope) -> list[Block]:
            return [altered(b, slope) if n == number else b for n, b in enumerate(blocks)]

        again = WeightWatch()
        other = on.play(steps=1, from_play=warm, blocks=steeper, watcher=again)
        relaxes = activities_differ(watch.seen, again.seen, number)
        reach[number] = Reach(_changed(on, plain, other), relaxes)
    return reach


def warmed_up(on: Bench) -> Play:
    return on.once("warm", lambda: on.play(steps=WARM_UP))


def feedback_reach(on: Bench) -> dict[str, Reach]:
    """For every tensor in the rule's state: whose updates change when another is put in its place."""
    return on.once("feedback", lambda: _feedback_reach(on))


def _feedback_reach(on: Bench) -> dict[str, Reach]:
    warm, watch = warmed_up(on), WeightWatch()
    plain = on.play(steps=1, from_play=warm, watcher=watch)
    reach = {}
    for name, tensor in (*warm.state.learned.items(), *warm.state.carried.items()):
        if not tensor.is_floating_point() or tensor.dim() < 3:
            continue
        spread = tensor.std() if tensor.any() else tensor.new_ones(())
        draw = torch.randn(tensor.shape, generator=generator("audit", "swap", name), dtype=torch.float64)
        other = (spread * draw).to(tensor.dtype)

        def swapped(state: State, name: str = name, other: Tensor = other) -> State:
            def put(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
                return {key: other if key == name else value for key, value in tensors.items()}

            if name in state.learned:
                state.learned[name].copy_(other)  # the optimizer holds this one
                return state
            return State(state.learned, put(dict(state.carried)))

        again = WeightWatch()
        other_play = on.play(steps=1, from_play=warm, state=swapped, watcher=again)
        falls = _falls(first_differences(watch.seen, again.seen))
        reach[name] = Reach(_changed(on, plain, other_play), falls=falls)
    return reach


def _falls(firsts: dict[int, int]) -> bool:
    """Whether of three successive blocks each is reached an iteration after the one above it."""
    return any(
        firsts[n] > firsts[n + 1] > firsts[n + 2] for n in firsts if n + 1 in firsts and n + 2 in firsts
    )


def relaxes(on: Bench) -> bool:
    """Whether activities come of several iterations in which they depend on what is above them."""
    return on.once("relaxes", lambda: _relaxes(on))


def _relaxes(on: Bench) -> bool:
    watch, again, top = WeightWatch(), WeightWatch(), len(on.network.blocks) - 1
    on.play(steps=1, watcher=watch)
    met = [e.block for e in watch.seen.events if e.kind == "activity"]
    if min(map(met.count, range(1, top + 1)), default=0) < ITERATIONS:
        return False
    on.play(shaken([top]), steps=1, watcher=again)
    return activities_differ(watch.seen, again.seen, top - 1)


def _changed(on: Bench, plain: Play, other: Play) -> list[int]:
    return [n for n in range(len(on.network.blocks)) if apart(plain, other, n) > THRESHOLD]


def backward_pass(subject: Subject) -> Answer:
    """Does a signal travel down block by block, each block's update depending on what is above only through
    the signal of the next one?

    Method: the way down is tampered with at one block, the values forward staying as they were, and it is
    seen whose updates change within one step. Three ways to tamper: the derivative at a block's output is
    multiplied by a random factor per unit (in `deactivate` and for autograd alike); a block's weights are
    changed silently (as in `weight_transport`); another tensor is put in the place of one in the rule's
    state. A signal that is handed down shows itself where a change at one block reaches blocks below it and
    none above it: with direct feedback only the block itself changes, with a scalar reward all do. For
    weights, the block reached must not be the next one alone; for a tensor of the state, whose place is not
    known, what it reaches must be the lowest blocks, at least two and not all hidden ones.

    In a rule that relaxes, signals go both ways at once. There, what is reached above does not count (it is
    known by activities at or below the tampered block that change within the step), and another tensor in
    the state must change the activities of three successive blocks one iteration after the other, downwards;
    "yes" says that what comes from above comes from block to block. Evidence: the number of blocks that the
    longest such chain reaches."""
    on = bench(subject)
    plain = on.play()
    learning = on.learning(plain)
    if not learning:
        return NO_CREDIT
    if len(on.hidden) < 2:
        return Answer("undetermined", None, "with one hidden block, handing down cannot be told from sending")
    longest, way = 0, ""
    for number, reach in slope_reach(on).items():
        below = [block for block in reach.blocks if block < number]
        downwards = reach.relaxes or max(reach.blocks, default=0) <= number
        if below and downwards and len(below) + 1 > longest:
            longest, way = len(below) + 1, f"the derivative at block {number}"
    transport = intervene(on)
    for probe in (*transport.probes, *transport.late):
        below = probe.reached(resolution(on))
        hops = [block for block in below if block < probe.block - 1]
        if hops and not probe.leaked and probe.block in on.hidden and len(below) > longest:
            longest, way = len(below), f"the weights of block {probe.block}"
    for name, reach in feedback_reach(on).items():
        reached = [block for block in reach.blocks if block in learning]
        lowest = reached == reach.blocks == learning[: len(reached)]
        handed = reach.falls if relaxes(on) else lowest and 2 <= len(reached) < len(learning)
        if handed and len(reached) > longest:
            longest, way = len(reached), f"the state's tensor '{name}'"
    if longest:
        return Answer("yes", longest, f"tampering with {way} reaches {longest} blocks")
    if relaxes(on):
        return Answer("undetermined", None, "it relaxes, and no way down was found that can be tampered with")
    return Answer("no", 0)


def forward_locking(subject: Subject) -> Answer:
    """Must a block learn from the activity of this very step, or can it learn from one that is a step old?

    Method: a step is taken and everything that the blocks put out is kept. Then all other blocks move on: by
    descent along their updates. The step is played again with the same samples, noise and state; what the
    block below hands up is what it handed up before, one step old, and the block's own weights wait. If the
    block's update comes out as it did (1e-9), the old activity is all that it needed, and blocks may work one
    after the other on successive batches; if not, it also needed the others as they were at that moment: an
    error computed above from the same activity, or a look past its input at the blocks below. Evidence: the
    largest relative change of an update."""
    on = bench(subject)
    warm = warmed_up(on)
    seen: dict[int, Altered] = {}

    def recording(blocks: Sequence[Block]) -> list[Block]:
        seen.update({number: altered(block) for number, block in enumerate(blocks)})
        return [seen[number] for number in range(len(blocks))]

    first = on.play(steps=1, from_play=warm, blocks=recording)
    outputs = {number: list(block.seen) for number, block in seen.items()}
    if not on.learning(first):
        return NO_CREDIT
    later = on.play(shaken_along(first), steps=0, from_play=warm)
    largest = 0.0
    for number in range(1, len(on.network.blocks)):
        if not any(update.target == number for update in first.updates):
            continue
        if not outputs[number - 1]:
            return Answer(
                "undetermined",
                None,
                f"the rule does not ask block {number - 1} for its output, so that no older one can be given",
            )

        def waiting(weights: Weights, number: int = number) -> None:
            for name, tensor in weights[number].items():
                tensor.copy_(warm.weights[number][name])

        def old(blocks: Sequence[Block], number: int = number) -> list[Block]:
            stale = altered(blocks[number - 1], outputs=outputs[number - 1])
            return [stale if n == number - 1 else block for n, block in enumerate(blocks)]

        try:
            again = on.play(waiting, steps=1, from_play=later, blocks=old)
        except OtherCalls:
            largest = math.inf
            break
        largest = max(largest, apart(first, again, number))
    return Answer("yes" if largest > THRESHOLD else "no", largest)


def shaken_along(play: Play) -> Callable[[Weights], None]:
    """All weights moved on along a step's updates."""

    def change(weights: Weights) -> None:
        for update in play.updates:
            if isinstance(update.target, int):
                for name, tensor in update.tensors.items():
                    weights[update.target][name].sub_(RATE * tensor)

    return change


QUESTIONS: tuple[Question, ...] = (
    Question(
        "update_locking",
        "all parameters above a block are changed at random: does its update change?",
        update_locking,
    ),
    Question(
        "backward_pass",
        "derivatives, weights or feedback are changed at one block only: is every block below it reached?",
        backward_pass,
    ),
    Question(
        "forward_locking",
        "a block gets the activity of a step ago while all others move on: does its update change?",
        forward_locking,
    ),
)
