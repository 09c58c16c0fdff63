"""One rule on one network for several seeds: initial weights, and a step of learning."""

from __future__ import annotations

import contextvars
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.allocator import keep_freed_memory
from creditbench.suite.denormals import tiny_as_zero
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.losses import loss
from creditbench.suite.optimizer import Optimizer
from creditbench.suite.phases import mark_phase, phase
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import (
    Batch,
    Block,
    Context,
    LearningRule,
    Network,
    State,
    Task,
    Tensors,
    refusal,
)

Builder = Callable[..., tuple[Block, ...]]
Watch = Callable[[Block | str, Tensors | Tensor], None]  # sees updates before they are applied


def build_network(
    task: Task,
    label: str,
    builder: Builder,
    options: Mapping[str, Any],
    seeds: Sequence[int],
    device: torch.device,
) -> Network:
    """The blocks with fresh weights, stacked over seeds. Weights depend on task, the network's name,
    block and seed: never on the rule. Raises CreditbenchError for options the network does not have."""
    blocks = build_blocks(task, builder, options)
    if not blocks or blocks[-1].output_shape != task.output_shape:
        raise CreditbenchError(
            f"Network '{label}' ends in shape {list(blocks[-1].output_shape) if blocks else []} and task"
            f" '{task.name}' needs {list(task.output_shape)}; make its last block a linear one of that size."
        )
    if len({block.name for block in blocks}) < len(blocks):
        raise CreditbenchError(f"Two blocks of network '{label}' share a name; number them.")
    bound = []
    for block in blocks:
        own = [block.initial(generator("weights", task.name, label, block.name, seed)) for seed in seeds]
        stacked = {name: torch.stack([one[name] for one in own]).to(device) for name in own[0]}
        bound.append(block.bind(stacked))
    return Network(label, tuple(bound))


def build_blocks(task: Task, builder: Builder, options: Mapping[str, Any]) -> tuple[Block, ...]:
    """The blocks without weights. Raises CreditbenchError where the task has a target at every step of a
    series and the network one output for all of them, or the network is made for series and the task has
    none."""
    of_series = is_for_series(builder)
    if task.every_step and not of_series:
        raise CreditbenchError(
            f"Task '{task.name}' has a target at every step, and network '{builder.__name__}' one output for"
            " all steps; take a network for series, such as rnn-dt."
        )
    if of_series and task.kind != "series":
        raise CreditbenchError(
            f"Network '{builder.__name__}' is for series, and task '{task.name}' has none; take a network"
            " such as mlp."
        )
    if task.kind == "series" and not of_series:
        raise CreditbenchError(
            f"Task '{task.name}' is made of series, and network '{builder.__name__}' knows neither their"
            " times nor what was not observed; take a network for series, such as rnn-dt."
        )
    own = {"every_step": task.every_step} if of_series else {}
    return builder(task.input_shape, task.classes, **options, **own)


def is_for_series(builder: Builder) -> bool:
    """Whether a network is made for series: it can be asked for an output at every step."""
    return "every_step" in inspect.signature(builder).parameters


class Learner:
    """A network in training. Tensors have a leading seed axis; nothing here knows about epochs."""

    def __init__(
        self,
        task: Task,
        network: Network,
        rule: LearningRule,
        seeds: Sequence[int],
        learning_rates: Sequence[float | None],
        schedule: str,
        steps: int,
    ) -> None:
        if reason := refusal(rule, network, task):
            raise CreditbenchError(reason)
        if len(seeds) > 1 and not rule.together:
            raise CreditbenchError(f"Rule '{rule.name}' trains one seed at a time.")
        keep_freed_memory()
        device = network.blocks[0].weight.device
        words = (task.name, network.label, rule.name)
        self.noise = SeededNoise([generator("noise", *words, s, device=device) for s in seeds])
        self.task, self.network, self.rule, self.steps = task, network, rule, steps
        self.loss, self.done = loss(task.loss), 0
        with torch.no_grad():
            self.state = rule.init(network, self.context())
        self.optimizer = Optimizer(network, self.state, rule, learning_rates, schedule)

    def context(self) -> Context:
        return Context(self.loss, self.noise, self.task.classes, self.done, self.steps)

    @torch.no_grad()
    def step(self, batch: Batch, watch: Watch | None = None) -> None:
        """One batch: each update is applied as soon as the rule yields it.

        For counters, a block's forward pass is "forward", applying is "update" and all else of a rule's
        step is "credit", unless the rule marks it. Raises CreditbenchError for updates of unknown names or
        wrong shapes."""
        with tiny_as_zero():
            self._step(batch, watch)
        self.done += 1

    def _step(self, batch: Batch, watch: Watch | None) -> None:
        self.optimizer.set_progress(self.done / self.steps)
        generator = self.rule.step(self.network, batch, self.state, self.context())
        rules_own = contextvars.copy_context()  # a phase that the rule is in stays its own while it waits
        rules_own.run(mark_phase, "credit")
        while True:
            try:
                target, update = rules_own.run(next, generator)
            except StopIteration as end:
                if end.value is not None:
                    self.state = State(self.state.learned, end.value)
                break
            except TypeError as error:
                raise self._not_pairs(error) from error
            if watch is not None:
                watch(target, update)
            with phase("update"):
                self.optimizer.apply(target, update)
            del target, update  # a streaming rule's memory must not be held here

    def _not_pairs(self, error: TypeError) -> Exception:
        if "unpack" in str(error) or "iterator" in str(error):
            return CreditbenchError(
                f"Rule '{self.rule.name}': step must be a generator that yields pairs (block, updates)"
                f" ({error})."
            )
        return error

    def tensors(self) -> dict[str, Tensor]:
        """All that learning has changed: parameters and learned tensors by name."""
        return dict(self.network.named_parameters()) | {
            f"learned.{name}": tensor for name, tensor in self.state.learned.items()
        }

    def finite(self) -> Tensor:
        """Per seed, whether all weights are finite numbers: [seed], bool."""
        checks = [tensor.flatten(1).isfinite().all(1) for tensor in self.tensors().values()]
        return torch.stack(checks).all(0)


class Digest:
    """What the first steps did, in a few numbers per tensor and seed: norm of the change and its
    projection on two fixed random directions. Equal digests mean that code still does the same."""

    STEPS = 5

    def __init__(self, learner: Learner) -> None:
        self.start = {name: tensor.clone() for name, tensor in learner.tensors().items()}

    def read(self, learner: Learner) -> list[dict[str, list[float]]]:
        """Per seed: {tensor: [norm, projection, projection]}."""
        seeds: list[dict[str, list[float]]] = [{} for _ in range(learner.network.seeds)]
        for name, tensor in learner.tensors().items():
            change = (tensor - self.start[name]).flatten(1).double().cpu()  # [seed, values]
            directions = torch.randn(
                change.shape[1], 2, generator=generator("digest", name), dtype=torch.float64
            )
            along = change @ directions
            for own, norm, projections in zip(seeds, change.norm(dim=1), along, strict=True):
                own[name] = [norm.item(), *projections.tolist()]
        return seeds


def deviation(expected: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]]) -> float:
    """Largest relative difference of two digests; infinite where they do not speak of the same tensors."""
    if set(expected) != set(found):
        return math.inf
    largest = 0.0
    for name, numbers in expected.items():
        scale = max(numbers[0], 1e-12)  # the first number of each entry is what the others are held against
        for old, new in zip(numbers, found[name], strict=True):
            difference = abs(old - new) / scale
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return largest
