"""A short training, the same for every rule and every intervention, and the score it ends with.

Each training is done at a few learning rates and for two seeds, all in one pass, and the best rate counts:
what an intervention costs is then not confused with a rate that no longer fits. Validation data is what is
scored; the test split is left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from creditbench.suite.audit.question import Subject
from creditbench.suite.batches import Batches
from creditbench.suite.evaluate import score
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.optimizer import Optimizer
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Block, LearningRule, Network, Splits, Task, Tensors

SEEDS = (0, 1)
RATES = (1e-3, 3e-3, 1e-2)
BATCH, STEPS = 128, 600
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Outcome:
    """What a training came to: scores are the mean over seeds at the best rate."""

    score: float
    rate: float | None
    learned: frozenset[str]  # blocks whose parameters are no longer those they had


@dataclass(frozen=True)
class Course:
    """How long, and in which portions. rates: what a rule without a step size of its own is tried with."""

    steps: int = STEPS
    batch: int = BATCH
    rates: tuple[float, ...] = RATES


Alter = Callable[[Network, Sequence[int]], Network]  # (network, its seeds) -> a network tampered with
Write = Callable[[str, Tensor], Tensor]  # (name of a tensor, what was to be stored) -> what is
Device = Callable[[Learner, Sequence[int]], Write]  # made for a fresh learner and its seeds


def train(
    subject: Subject,
    network: Network,
    alter: Alter | None = None,
    device: Device | None = None,
    *,
    course: Course,
    rule: LearningRule | None = None,
) -> Outcome:
    """Trains the subject's rule (or `rule`) on the task. Whatever the rule raises passes through."""
    rule = rule or subject.rule
    rates: Sequence[float | None] = (None,) if rule.own_step_size else course.rates
    pairs = list(itertools.product(rates, SEEDS))
    parts = [pairs] if rule.together else [[pair] for pair in pairs]
    scores: list[float] = []
    learned: set[str] = set()
    for part in parts:
        found, changed = _train(subject.task, rule, network, alter, device, course, part)
        scores += found
        learned |= changed
    means = {
        rate: sum(s for s, (own, _) in zip(scores, pairs, strict=True) if own == rate) / len(SEEDS)
        for rate in rates
    }
    best = max(means, key=lambda rate: means[rate])
    return Outcome(means[best], best, frozenset(learned))


def _train(
    task: Task,
    rule: LearningRule,
    network: Network,
    alter: Alter | None,
    device: Device | None,
    course: Course,
    pairs: Sequence[tuple[float | None, int]],
) -> tuple[list[float], set[str]]:
    data, seeds = splits(task), [seed for _, seed in pairs]
    made = build_network(task, network.label, lambda *_: network.blocks, {}, seeds, CPU)
    if alter is not None:
        made = alter(made, seeds)
    before = {name: tensor.clone() for name, tensor in made.named_parameters()}
    learner = Learner(task, made, rule, seeds, [rate for rate, _ in pairs], "linear", course.steps)
    if device is not None:
        learner.optimizer = Written(learner, device(learner, seeds))
    batches = Batches(task, data.train, seeds, course.batch)
    while learner.done < course.steps:
        for batch in batches.epoch():
            learner.step(batch)
            if learner.done == course.steps:
                break
    found = score(learner.network, rule, learner.state, task, data.validation, data.train)
    after = dict(learner.network.named_parameters())
    changed = {
        block.name
        for block in learner.network.blocks
        if any(
            not torch.equal(after[f"{block.name}.{k}"], before[f"{block.name}.{k}"]) for k in block.parameters
        )
    }
    return found.score.tolist(), changed


@lru_cache(maxsize=1)
def splits(task: Task) -> Splits:
    return task.read()


class Written(Optimizer):
    """The one path to the weights, through a device that does not store just what it is given."""

    def __init__(self, learner: Learner, write: Write) -> None:
        self.__dict__.update(vars(learner.optimizer))
        self.write = write

    def apply(self, target: Block | str, update: Tensors | Tensor) -> None:
        super().apply(target, update)
        if isinstance(target, Block):
            assert not isinstance(update, Tensor)
            for key in update:
                stored = self.tensors[target.name][key]
                stored.copy_(self.write(f"{target.name}.{key}", stored))
        else:
            self.learned[target].copy_(self.write(target, self.learned[target]))


def noise(purpose: str, seeds: Sequence[int], *words: str) -> SeededNoise:
    return SeededNoise([generator("audit", purpose, *words, seed) for seed in seeds])
