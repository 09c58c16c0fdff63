"""Scoring a trained network. Labels are seen here and never by a rule's `predict`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from creditbench.suite.losses import METRICS, loss
from creditbench.suite.types import LearningRule, Network, Split, State, Task

AT_ONCE = 1000  # samples scored in one pass
MEASURED = 512  # training samples that normalisation statistics are taken from


@dataclass(frozen=True)
class Scores:
    """Per seed, [seed]."""

    score: Tensor
    loss: Tensor
    predictions: Tensor | None  # [seed, samples(, steps)], class numbers; None where numbers are told


def with_statistics(network: Network, task: Task, train: Split) -> Network:
    """The network with its normalisation statistics taken from the first training samples.

    Rules keep no running averages: statistics are a function of the weights, measured when they are
    needed (the same for every rule, and for a network of which only the output layer learns)."""
    if not any(block.mixes_samples for block in network.blocks):
        return network
    inputs = task.prepare(train.inputs[:MEASURED]).expand(network.seeds, -1, *task.input_shape)
    blocks = []
    for block in network.blocks:
        measured, inputs = block.measure(inputs)
        blocks.append(measured)
    return replace(network, blocks=tuple(blocks))


@torch.no_grad()
def score(
    network: Network, rule: LearningRule, state: State, task: Task, split: Split, train: Split
) -> Scores:
    """Metric and loss of every seed over a split; `train` only feeds normalisation statistics."""
    network = with_statistics(network, task, train)
    outputs = []
    for start in range(0, len(split), AT_ONCE):
        inputs = task.prepare(split.inputs[start : start + AT_ONCE])
        inputs = inputs.expand(network.seeds, *inputs.shape)
        outputs.append(rule.predict(network, inputs, state))
    output = torch.cat(outputs, 1)  # [seed, samples, (steps,) classes]
    targets = split.targets.expand(network.seeds, *split.targets.shape)
    return Scores(
        METRICS[task.metric](output, targets),
        loss(task.loss).value(output, targets),
        output.argmax(-1) if not targets.is_floating_point() else None,
    )
