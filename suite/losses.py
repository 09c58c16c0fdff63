"""Losses with their derivative at the output, where every rule starts, and the metrics of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.types import Loss


class CrossEntropy:
    """C = -log softmax(outputs)[target], mean over what has a target (every sample, or the steps of series
    whose target is not -1)."""

    name = "cross-entropy"

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs [seed, batch, (steps,) classes], targets [seed, batch(, steps)] -> [seed]."""
        each = self._each(outputs, targets)
        return each.flatten(1).sum(1) / _count(targets >= 0)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of each sample: [seed, batch]."""
        return _per_sample(self._each(outputs, targets), targets >= 0)

    def _each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        flat = torch.nn.functional.cross_entropy(
            outputs.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=-1
        )
        return flat.view(targets.shape)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(softmax(outputs) - one-hot) / number of targets: [seed, batch, (steps,) classes]."""
        change = torch.softmax(outputs, -1)
        ones = change.new_tensor(-1.0).expand(*targets.shape, 1)
        if targets.dim() == 2:
            return change.scatter_add_(-1, targets.unsqueeze(-1), ones) / targets.shape[1]
        has = targets >= 0
        change = change.scatter_add_(-1, targets.clamp(min=0).unsqueeze(-1), ones) * has.unsqueeze(-1)
        return change / _count(has).view(-1, *(1,) * (change.dim() - 1))

    def wanted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One-hot targets: [seed, batch, (steps,) classes]."""
        ones = (targets >= 0).unsqueeze(-1).to(outputs.dtype)
        return torch.zeros_like(outputs).scatter_(-1, targets.clamp(min=0).unsqueeze(-1), ones)


class MeanSquaredError:
    """C = (output - target)^2, mean over the outputs that have a target (those that are no NaN)."""

    name = "mse"

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """outputs and targets [seed, batch, (steps,) outputs] -> [seed]."""
        return self._difference(outputs, targets).square().flatten(1).sum(1) / _count(targets.isfinite())

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of each sample: [seed, batch]."""
        return _per_sample(self._difference(outputs, targets).square(), targets.isfinite())

    def _difference(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(targets.isfinite(), outputs - targets, 0.0)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """2 (output - target) / number of targets: [seed, batch, (steps,) outputs]."""
        count = _count(targets.isfinite()).view(-1, *(1,) * (outputs.dim() - 1))
        return 2 * self._difference(outputs, targets) / count

    def wanted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The targets, and where there are none the outputs: [seed, batch, (steps,) outputs]."""
        return torch.where(targets.isfinite(), targets, outputs)


def _count(has: Tensor) -> Tensor:
    """Targets of each seed, at least 1: [seed]."""
    return has.flatten(1).sum(1).clamp(min=1)


def _per_sample(each: Tensor, has: Tensor) -> Tensor:
    """Mean over a sample's targets: [seed, batch]."""
    return each if each.dim() == 2 else each.flatten(2).sum(2) / has.flatten(2).sum(2).clamp(min=1)


LOSSES: Mapping[str, Callable[[], Loss]] = {"cross-entropy": CrossEntropy, "mse": MeanSquaredError}


def loss(name: str) -> Loss:
    """The loss of this name."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]()


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of what has a target whose greatest output is the target: [seed, batch, (steps,) classes] ->
    [seed]."""
    right = (outputs.argmax(-1) == targets).flatten(1)  # no class is -1
    return right.sum(1).to(torch.float64) / _count(targets >= 0)


def chance(targets: Tensor) -> float:
    """The accuracy of always naming the most frequent class, of what has a target (is not -1)."""
    labels = targets[targets >= 0]
    return labels.bincount().max().item() / len(labels)


def area_under_curve(outputs: Tensor, targets: Tensor) -> Tensor:
    """Area under the ROC curve of two classes, by the second output less the first: [seed, batch, 2] ->
    [seed].

    NaN for a seed whose outputs are not finite, which has diverged. Raises CreditbenchError where all targets
    are of one class."""
    from sklearn.metrics import roc_auc_score

    areas = []
    for score, wanted in zip(outputs[..., 1] - outputs[..., 0], targets, strict=True):
        if not 0 < int(wanted.sum()) < len(wanted):
            raise CreditbenchError(
                "The area under a curve needs samples of both classes, and a split has one class alone;"
                " take a larger split or another metric."
            )
        finite = bool(score.isfinite().all())
        areas.append(roc_auc_score(wanted.cpu().numpy(), score.cpu().numpy()) if finite else float("nan"))
    return torch.tensor(areas, dtype=torch.float64, device=outputs.device)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """As the loss of this name: [seed, batch, (steps,) outputs] -> [seed]."""
    return MeanSquaredError().value(outputs.double(), targets.double())


METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": accuracy,
    "auc": area_under_curve,
    "mse": mean_squared_error,
}
