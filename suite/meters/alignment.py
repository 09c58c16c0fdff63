"""How a rule's update lies to the true gradient at the same weights, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.suite.learner import Learner
from creditbench.suite.types import Batch, Block, Context, Network, State


@dataclass(frozen=True)
class Aligned:
    """By block: cosine of update and gradient, and the ratio of their norms (update over gradient).

    Weights and biases of a block are taken as one vector. A block without an update, or where either
    vector is zero, is left out."""

    cosine: Mapping[str, float]
    norm_ratio: Mapping[str, float]


@torch.no_grad()
def alignment(model: Learner, batch: Batch) -> list[Aligned]:
    """Per seed, on one batch, as if the learning rate were zero: nothing of the model changes.

    Both are directions to descend along, before the optimizer. What a rule yields for a block in several
    parts is summed. The gradient is that of the task's loss at the network's output, whatever the rule
    itself takes for its loss."""
    states = [generator.get_state() for generator in model.noise.generators]
    try:
        updates = _updates(model, batch)
        for generator, state in zip(model.noise.generators, states, strict=True):
            generator.set_state(state)
        true = gradient(model.network, batch, model.context())
    finally:
        for generator, state in zip(model.noise.generators, states, strict=True):
            generator.set_state(state)
    found: list[Aligned] = [Aligned({}, {}) for _ in range(model.network.seeds)]
    for name in (block.name for block in model.network.blocks if block.name in updates):
        keys = sorted(updates[name].keys() & true[name].keys())
        if not keys:
            continue
        ours, theirs = (torch.cat([own[key].flatten(1) for key in keys], 1).double() for own in
                        (updates[name], true[name]))  # fmt: skip
        norms, true_norms = ours.norm(dim=1), theirs.norm(dim=1)
        cosines = (ours * theirs).sum(1) / (norms * true_norms)
        ratios = norms / true_norms
        for place, (cosine, ratio) in enumerate(zip(cosines.tolist(), ratios.tolist(), strict=True)):
            if 0 < ratio < float("inf") and cosine == cosine:
                found[place].cosine[name] = cosine  # type: ignore[index]
                found[place].norm_ratio[name] = ratio  # type: ignore[index]
    return found


def gradient(network: Network, batch: Batch, context: Context) -> dict[str, dict[str, Tensor]]:
    """The loss's derivative by every parameter: block name -> {parameter: [seed, ...]}."""
    traces = network.forward(batch.inputs, context)
    change = context.loss.gradient(traces[-1].output, batch.targets)
    found: dict[str, dict[str, Tensor]] = {}
    for block, trace in reversed(list(zip(network.blocks, traces, strict=True))):
        if block is network.blocks[0]:
            found[block.name] = block.update(trace, change)
        else:
            found[block.name], change = block.pullback(trace, change)
    return found


def _updates(model: Learner, batch: Batch) -> dict[str, dict[str, Tensor]]:
    """What one step of the rule yields for each block, none of it applied."""
    state = State(_copied(model.state.learned), _copied(model.state.carried))
    summed: dict[str, dict[str, Tensor]] = {}
    for target, update in model.rule.step(model.network, batch, state, model.context()):
        if not isinstance(target, Block) or isinstance(update, Tensor):
            continue  # learned tensors have no true gradient to be held against
        own = summed.setdefault(target.name, {})
        for key, tensor in update.items():
            own[key] = own[key] + tensor if key in own else tensor.clone()
    return summed


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.clone() if isinstance(tensor, Tensor) else tensor for name, tensor in tensors.items()
    }
