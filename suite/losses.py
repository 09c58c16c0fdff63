"""Losses with their derivative at the output, where every rule starts, and the metrics of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from creditbench.suite.errors import unknown_name
from creditbench.suite.types import Loss


class CrossEntropy:
    """C = -log softmax(outputs)[target], mean over the batch."""

    name = "cross-entropy"

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs [seed, batch, classes], targets [seed, batch] -> [seed]."""
        return self.values(outputs, targets).mean(1)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of each sample: [seed, batch]."""
        flat = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return flat.view(targets.shape)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(softmax(outputs) - one-hot) / batch: [seed, batch, classes]."""
        change = torch.softmax(outputs, -1)
        ones = change.new_tensor(-1.0).expand(*targets.shape, 1)
        return change.scatter_add_(-1, targets.unsqueeze(-1), ones) / targets.shape[1]

    def wanted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One-hot targets: [seed, batch, classes]."""
        return torch.zeros_like(outputs).scatter_(-1, targets.unsqueeze(-1), 1.0)


LOSSES: Mapping[str, Callable[[], Loss]] = {"cross-entropy": CrossEntropy}


def loss(name: str) -> Loss:
    """The loss of this name."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]()


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of samples whose greatest output is the target: [seed, batch, classes] -> [seed]."""
    return (outputs.argmax(-1) == targets).to(torch.float64).mean(-1)


METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"accuracy": accuracy}
