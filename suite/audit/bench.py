"""The audit's bench: a wide network in float64, two small batches, plain descent; everything repeats.

An intervention is a second play with one thing changed. All else, random numbers included, comes out bit
for bit as in the first, so what differs was caused by the change.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from creditbench.suite.audit.question import Subject
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import Learner
from creditbench.suite.seeds import generator
from creditbench.suite.types import Batch, Block, Network, State, Tensors

WIDTH, DEPTH = 256, 4  # of a fully connected network; others are audited as they are
RATE = 0.1  # of the descent between the steps
FEW = 3  # samples: each takes directions away that a weight may be changed along unseen
STEPS = 2  # so that what is kept from one step to the next is used
SIZE = 3.0  # of a change that flips signs, in units of the weights' own spread
THRESHOLD = 1e-9  # relative change of an update: beyond rounding in float64

Weights = tuple[dict[str, Tensor], ...]  # of each block
Change = Callable[[Weights], None]  # in place
T = TypeVar("T")


@dataclass(frozen=True)
class Update:
    """One update as the rule yielded it; steps count from 0."""

    step: int
    target: int | str  # number of the block, or name of a learned tensor
    tensors: Mapping[str, Tensor]


@dataclass
class Play:
    """What came of some steps."""

    updates: list[Update]
    state: State
    weights: Weights


class Watcher(contextlib.AbstractContextManager["Watcher"]):
    """Sees a play from inside. This one sees nothing."""

    def start(self, learner: Learner) -> None:
        """The rule has made its state and the first step is about to begin."""

    def updated(self, update: Update) -> None:
        """The rule has yielded this; it is not applied yet."""

    def paused(self) -> contextlib.AbstractContextManager[object]:
        """While the harness applies an update."""
        return contextlib.nullcontext()

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, eq=False)
class Bench:
    subject: Subject
    network: Network  # float64, one seed
    memory: dict[object, Any] = field(default_factory=dict)  # what several questions ask for

    def once(self, key: object, find: Callable[[], T]) -> T:
        """What `find` returned when this was first asked for."""
        if key not in self.memory:
            self.memory[key] = find()
        found: T = self.memory[key]
        return found

    @property
    def hidden(self) -> range:
        """Numbers of the blocks before the output layer."""
        return range(len(self.network.blocks) - 1)

    def batch(self, step: int, samples: int = FEW) -> Batch:
        task = self.subject.task
        own = generator("audit", "batch", step)
        inputs = torch.randn(1, samples, *task.input_shape, generator=own, dtype=torch.float64)
        if self.network.blocks[0].weight.dim() > 3:
            inputs = _stamped(inputs)
        return Batch(inputs, (torch.arange(samples) + step)[None] % task.classes)

    def weights(self) -> Weights:
        """Fresh copies of the initial weights, to be changed."""
        return tuple(
            {name: tensor.clone() for name, tensor in block.parameters.items()}
            for block in self.network.blocks
        )

    def play(
        self,
        change: Change | None = None,
        *,
        steps: int = STEPS,
        samples: int = FEW,
        watcher: Watcher | None = None,
        blocks: Callable[[Sequence[Block]], Sequence[Block]] = lambda own: own,
        from_play: Play | None = None,
        state: Callable[[State], State] = lambda own: own,
        inputs: Callable[[Tensor], Tensor] = lambda own: own,
    ) -> Play:
        """Some steps of learning from the initial weights, or on from an earlier play.

        change: done to the weights before the rule makes its state. blocks, state, inputs: put others
        in the place of those that the steps would get."""
        weights = self.weights() if from_play is None else _copies(from_play.weights)
        if change is not None:
            change(weights)
        watcher = watcher or Watcher()
        updates: list[Update] = []
        numbers = {block.name: number for number, block in enumerate(self.network.blocks)}
        with _float64():
            learner = self._learner(weights)
            if from_play is not None:
                for name, tensor in from_play.state.learned.items():
                    learner.state.learned[name].copy_(tensor)  # the optimizer holds these
                carried = {name: tensor.clone() for name, tensor in from_play.state.carried.items()}
                learner.state = State(learner.state.learned, carried)
            learner.state = state(learner.state)
            learner.network = replace(learner.network, blocks=tuple(blocks(learner.network.blocks)))
            _plain_descent(learner, watcher)
            watcher.start(learner)
            for step in range(steps):

                def see(target: Block | str, update: Tensors | Tensor, step: int = step) -> None:
                    which = target if isinstance(target, str) else numbers[target.name]
                    tensors = {"": update} if isinstance(update, Tensor) else update
                    seen = Update(step, which, {key: value.clone() for key, value in tensors.items()})
                    updates.append(seen)
                    watcher.updated(seen)

                batch = self.batch(step, samples)
                batch = replace(batch, inputs=inputs(batch.inputs))
                with watcher:
                    learner.step(batch, see)
        return Play(updates, learner.state, weights)

    def predict(self, watcher: Watcher, change: Change | None = None) -> Tensor:
        """Scores of the untrained network, [1, batch, classes]."""
        weights = self.weights()
        if change is not None:
            change(weights)
        with _float64(), torch.no_grad():
            learner = self._learner(weights)
            learner.network = _measured(learner.network, self.batch(0).inputs)
            watcher.start(learner)
            with watcher:
                return learner.rule.predict(learner.network, self.batch(0).inputs, learner.state)

    def _learner(self, weights: Weights) -> Learner:
        network = self.network.bind(weights)
        return Learner(self.subject.task, network, self.subject.rule, (0,), (None,), "constant", 100)

    def learning(self, play: Play) -> list[int]:
        """Numbers of the hidden blocks that get updates other than zero."""
        return [
            number
            for number in self.hidden
            if any(t.any() for u in play.updates if u.target == number for t in u.tensors.values())
        ]


_latest: list[Bench] = []


def bench(subject: Subject) -> Bench:
    """The subject's network on the bench: fully connected ones in the audit's depth and width.

    One subject is asked many questions, so its bench is kept until the next subject comes or `clear`ed.
    Raises CreditbenchError where the rule cannot train the network."""
    if not (_latest and _latest[0].subject is subject):
        _latest[:] = [_bench(subject)]
    return _latest[0]


def clear() -> None:
    """Lets go of the latest subject's bench and all that was seen on it."""
    _latest.clear()


def _bench(subject: Subject) -> Bench:
    network = subject.network()
    if all(len(block.preactivation_shape) == 1 for block in network.blocks):
        for choices in ({"depth": DEPTH, "width": WIDTH}, {"width": WIDTH}):
            with contextlib.suppress(CreditbenchError):
                network = subject.network(**choices)
                break
    for block in network.blocks:
        if "weight" not in block.parameters:
            raise CreditbenchError(
                f"Block '{block.name}' has no parameter called 'weight', so that the audit cannot tell its"
                " synapses; audit the rule on mlp or conv."
            )
    doubled = [{name: p.double() for name, p in block.parameters.items()} for block in network.blocks]
    return Bench(subject, network.bind(doubled))


def _stamped(images: Tensor) -> Tensor:
    """Images that are 0 but for 3 x 3 pixels in the middle: most patches that a convolution meets are then
    alike, and directions are left that none of them has."""
    stamp = torch.zeros_like(images)
    rows, columns = (slice(max(0, size // 2 - 1), size // 2 + 2) for size in images.shape[-2:])
    stamp[..., rows, columns] = images[..., rows, columns]
    return stamp


def _measured(network: Network, inputs: Tensor) -> Network:
    """With statistics of batch normalisation, which prediction needs."""
    if not any(block.mixes_samples for block in network.blocks):
        return network
    blocks = []
    for block in network.blocks:
        measured, inputs = block.measure(inputs)
        blocks.append(measured)
    return replace(network, blocks=tuple(blocks))


def apart(one: Play, other: Play, block: int) -> float:
    """Largest difference between a block's updates in two plays, as a share of its largest update."""
    pairs = [[u for u in play.updates if u.target == block] for play in (one, other)]
    if [(u.step, set(u.tensors)) for u in pairs[0]] != [(u.step, set(u.tensors)) for u in pairs[1]]:
        return math.inf
    scale, largest = 0.0, 0.0
    for ours, theirs in zip(*pairs, strict=True):
        for name, tensor in ours.tensors.items():
            difference = (tensor - theirs.tensors[name]).abs().max().item()
            scale = max(scale, tensor.abs().max().item(), theirs.tensors[name].abs().max().item())
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return largest / scale if largest else 0.0


def shaken(blocks: Sequence[int], size: float = SIZE, draw: int = 0) -> Change:
    """A change of all parameters of some blocks, at random: the `draw`-th of its size."""

    def shake(weights: Weights) -> None:
        for number in blocks:
            for name, tensor in weights[number].items():
                own = generator("audit", "shaken", number, name, *(() if draw == 0 else (draw,)))
                change = torch.randn(tensor.shape, generator=own, dtype=tensor.dtype)
                tensor.add_(size * tensor.square().mean().sqrt() * change)

    return shake


def _plain_descent(learner: Learner, watcher: Watcher) -> None:
    """Adam mixes a weight's own size into its step; plain descent moves along the update itself."""
    optimizer = learner.optimizer
    rate = 1.0 if learner.rule.own_step_size else RATE
    tensors = [tensor for group in optimizer.optimizer.param_groups for tensor in group["params"]]
    groups = [{"params": tensors, "lr": rate, "initial_lr": rate}]
    decay = learner.rule.weight_decay()
    optimizer.optimizer = torch.optim.SGD(groups, lr=rate, weight_decay=decay, fused=True)
    apply = optimizer.apply

    def unseen(target: Block | str, update: Tensors | Tensor) -> None:
        with watcher.paused():
            apply(target, update)

    optimizer.apply = unseen  # type: ignore[method-assign]


def _copies(weights: Weights) -> Weights:
    return tuple({name: tensor.clone() for name, tensor in own.items()} for own in weights)


@contextlib.contextmanager
def _float64() -> Iterator[None]:
    """Whatever a rule makes without naming a type, its noise included, has the network's."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
