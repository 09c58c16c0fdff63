"""The one path from a rule's updates to the weights: one torch.optim optimizer for every rule.

torch.optim holds the state and is the oracle in the tests, but its step() is passed by: it walks over every
parameter of the network and prepares for cases that do not occur here, and a rule has it called once per
block. For a small block the kernel alone takes a third of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.types import Block, LearningRule, Network, State, Tensors


def linear(progress: float) -> float:
    """Falls from 1 to 0.02 in a straight line."""
    return 1 - 0.98 * progress


def constant(progress: float) -> float:
    return 1.0


def steps(progress: float) -> float:
    """A quarter at 50, 75, 89 and 94 % of the training (Nøkland & Eidnes 2019)."""
    return 0.25 ** sum(progress >= milestone for milestone in (0.5, 0.75, 0.89, 0.94))


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "linear": linear, "constant": constant, "steps": steps,
}  # fmt: skip


class Optimizer:
    """Applies a rule's updates as they come: Adam, or plain descent for rules with an own step size; for
    those of its targets that are named in `rule.own_steps`, plain descent with learning rate 1.

    learning_rates: one per seed; where they differ (a study that tries several in one pass) each seed
    is a parameter group over views of the stacked tensors.
    """

    def __init__(
        self,
        network: Network,
        state: State,
        rule: LearningRule,
        learning_rates: Sequence[float | None],
        schedule: str,
    ) -> None:
        if schedule not in SCHEDULES:
            raise unknown_name("schedule", schedule, SCHEDULES)
        self.schedule = SCHEDULES[schedule]
        self.rule = rule
        self.tensors: dict[str, Mapping[str, Tensor]] = {
            block.name: block.parameters for block in network.blocks
        }
        self.learned = dict(state.learned)
        own = rule.own_step_size
        self.rates = [1.0 if own or rate is None else rate for rate in learning_rates]
        self.split = len(set(self.rates)) > 1
        named = [(name, t) for name, own in self.tensors.items() for t in own.values()]
        named += self.learned.items()
        self.own_steps = frozenset(rule.own_steps(network))
        if unknown := self.own_steps - dict(named).keys():
            raise unknown_name("target of own_steps", min(unknown), dict(named))
        if twice := self.own_steps & self.tensors.keys() & self.learned.keys():
            raise CreditbenchError(
                f"Rule '{rule.name}' names '{min(twice)}' in own_steps, which is a block and a learned tensor"
                " as well; give the learned tensor another name."
            )
        self.views = {id(t): tuple(t) if self.split else (t,) for _, t in named}
        by_rate = [t for name, t in named if name not in self.own_steps]
        groups = [
            {"params": [self.views[id(t)][seed] for t in by_rate], "lr": rate, "initial_lr": rate}
            for seed, rate in enumerate(self.rates if self.split else self.rates[:1])
        ]
        kind = torch.optim.SGD if rule.own_step_size else torch.optim.AdamW
        self.optimizer = kind(groups, weight_decay=rule.weight_decay(), fused=True)
        whole = [t for name, t in named if name in self.own_steps]
        groups = [{"params": [self.views[id(t)][seed] for t in whole]} for seed in range(len(groups))]
        self.plain = torch.optim.SGD(groups, lr=1.0, fused=True) if whole else None

    def set_progress(self, progress: float) -> None:
        """progress: the share of the training that is done, in [0, 1)."""
        factor = 1.0 if self.rule.own_step_size else self.schedule(progress)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def apply(self, target: Block | str, update: Tensors | Tensor) -> None:
        """Descends along one update. Raises CreditbenchError for a wrong name or shape."""
        if isinstance(target, Block):
            name, tensors = target.name, self.tensors.get(target.name)
        else:
            name, tensors = target, self.learned
            update = {target: update} if isinstance(update, Tensor) else update
        if tensors is None or not isinstance(update, Mapping):
            raise CreditbenchError(self._complaint(f"an update for '{name}', which does not exist"))
        views: list[Sequence[Tensor]] = []
        directions: list[Sequence[Tensor]] = []
        for key, direction in update.items():
            tensor = tensors.get(key)
            if tensor is None:
                known = ", ".join(tensors) or "nothing"
                raise CreditbenchError(
                    self._complaint(f"'{key}' for '{name}', which has {known} to be updated")
                )
            if direction.shape != tensor.shape:
                raise CreditbenchError(
                    self._complaint(
                        f"an update of shape {list(direction.shape)} for '{name}', '{key}', which has"
                        f" shape {list(tensor.shape)}"
                    )
                )
            if direction.dtype != tensor.dtype:
                raise CreditbenchError(
                    self._complaint(
                        f"an update of {direction.dtype} for '{name}', '{key}', which is {tensor.dtype}"
                    )
                )
            if direction.stride() != tensor.stride():
                # torch's fused optimizers read a gradient in memory order, whatever its strides
                direction = torch.empty_like(tensor).copy_(direction)
            views.append(self.views[id(tensor)])
            directions.append(direction.unbind() if self.split else (direction,))
        optimizer: torch.optim.Optimizer = self.optimizer
        if name in self.own_steps and self.plain is not None:
            optimizer = self.plain
        for place, group in enumerate(optimizer.param_groups):
            _descend(optimizer, group, [v[place] for v in views], [d[place] for d in directions])
        self._constrain(name, {key: tensors[key] for key in update})

    def _constrain(self, name: str, tensors: Tensors) -> None:
        if type(self.rule).constrain is LearningRule.constrain:
            return
        for key, tensor in self.rule.constrain(name, tensors).items():
            tensors[key].copy_(tensor)

    def _complaint(self, what: str) -> str:
        return (
            f"Rule '{self.rule.name}' yielded {what}. Yield (block, {{parameter: update}}) with names,"
            " shapes and types as in block.parameters, or (name, tensor) for what init put into"
            " State.learned."
        )


def _descend(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], tensors: list[Tensor], along: list[Tensor]
) -> None:
    """What optimizer.step() does to these tensors of a group, by the kernel that it calls."""
    if not tensors:
        return
    if isinstance(optimizer, torch.optim.SGD):
        torch._fused_sgd_(
            tensors, along, [], lr=group["lr"], weight_decay=group["weight_decay"], momentum=0.0,
            dampening=0.0, nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip
    elif all(tensor in optimizer.state for tensor in tensors):
        held = [optimizer.state[tensor] for tensor in tensors]
        steps = [own["step"] for own in held]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            tensors, along, [own["exp_avg"] for own in held], [own["exp_avg_sq"] for own in held], [], steps,
            lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], eps=group["eps"],
            weight_decay=group["weight_decay"], amsgrad=False, maximize=False,
        )  # fmt: skip
    else:  # the first time, torch makes the state
        for tensor, direction in zip(tensors, along, strict=True):
            tensor.grad = direction
        optimizer.step()
        for tensor in tensors:
            tensor.grad = None
