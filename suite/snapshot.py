"""A training between two epochs as plain values and tensors: all that decides how it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from creditbench.suite.batches import Batches
from creditbench.suite.learner import Learner
from creditbench.suite.types import State


def snapshot(model: Learner, batches: Batches) -> dict[str, Any]:
    """Parameters, learned and carried tensors, the optimizer's state, every generator. Nothing is copied:
    write it before the next step."""
    return {
        "done": model.done,
        "tensors": model.tensors(),
        "carried": dict(model.state.carried),
        "optimizer": model.optimizer.optimizer.state_dict(),
        "generators": [generator.get_state() for generator in _generators(model, batches)],
    }


@torch.no_grad()
def restore(model: Learner, batches: Batches, saved: Mapping[str, Any]) -> None:
    """Makes a fresh training of the same specs go on where `snapshot` was taken."""
    model.done = saved["done"]
    for name, tensor in model.tensors().items():
        tensor.copy_(saved["tensors"][name])  # the optimizer holds these very tensors
    model.state = State(model.state.learned, saved["carried"])
    model.optimizer.optimizer.load_state_dict(saved["optimizer"])
    for generator, state in zip(_generators(model, batches), saved["generators"], strict=True):
        generator.set_state(state.cpu())


def _generators(model: Learner, batches: Batches) -> list[torch.Generator]:
    return [*model.noise.generators, *batches.generators, *batches.noise.generators]
