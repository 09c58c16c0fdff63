"""Peak bytes of live tensors, exact and independent of the machine: storages seen at dispatch."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from creditbench.suite.learner import Learner
from creditbench.suite.phases import current_phase
from creditbench.suite.types import Batch

MADE = ("activations", "temporaries")  # kinds of what a step makes: on the way forward, or for anything else


class LiveBytes(TorchDispatchMode):
    """Follows every storage that an operator returns until it is freed.

    before: the tensors that are there already, by kind (parameters, batch). `peak` [B] is the most that
    lived at one time, `before` included, and `at_peak` [B] what it was made of. What a kernel uses inside
    itself is not seen.
    """

    def __init__(self, before: Mapping[str, Iterable[Tensor]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.by_kind = dict.fromkeys((*before, *MADE), 0)
        self.at_peak = dict(self.by_kind)
        self._known: dict[int, tuple[int, str]] = {}
        for kind, tensors in before.items():
            for tensor in tensors:
                self._see(tensor, kind)

    def _see(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known[key] = size, kind
        self.live += size
        self.by_kind[kind] += size
        if self.live > self.peak:
            self.peak, self.at_peak = self.live, dict(self.by_kind)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        size, kind = self._known.pop(key, (0, MADE[-1]))
        self.live -= size
        self.by_kind[kind] -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        kind = MADE[current_phase() != "forward"]
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf, kind)
        return out


def step_memory(model: Learner, batch: Batch) -> LiveBytes:
    """The live bytes of one training step; it takes that step.

    Kinds: parameters, optimizer state, rule state (learned and carried), batch, activations (whatever a
    block's forward pass makes, in any pass) and temporaries (errors, updates, workspaces)."""
    held = [v for own in model.optimizer.optimizer.state.values() for v in own.values()]
    before = {
        "parameters": [tensor for _, tensor in model.network.named_parameters()],
        "optimizer_state": [tensor for tensor in held if isinstance(tensor, Tensor)],
        "rule_state": [*model.state.learned.values(), *model.state.carried.values()],
        "batch": [batch.inputs, batch.targets],
    }
    memory = LiveBytes(before)
    with memory:
        model.step(batch)
    return memory
