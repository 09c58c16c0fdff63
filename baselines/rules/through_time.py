"""What rules along time share: who can be trained, errors at every step, traces of what came in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from creditbench.baselines.networks.neurons import folded, unfolded
from creditbench.baselines.networks.spiking import LeakyReadout, SpikingBlock
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, Step


def refuse_other_than_spiking(rule: LearningRule, network: Network) -> str | None:
    """Why not, unless the network is spiking blocks, at least one, and a leaky readout."""
    *hidden, last = network.blocks
    if not isinstance(last, LeakyReadout) or any(not isinstance(block, SpikingBlock) for block in hidden):
        return f"{rule.name} trains spiking networks, and {network.label} is none; use snn or csnn."
    if not hidden:
        return f"{rule.name} trains hidden blocks and this network has none; give it depth >= 1."
    return None


def refuse_recurrent(rule: LearningRule, network: Network) -> str | None:
    """Why not, where a block has recurrent weights."""
    if any("recurrent" in block.parameters for block in network.blocks):
        return f"{rule.name} has no equation for recurrent weights; leave recurrent out of {network.label}."
    return None


def parts(network: Network) -> tuple[list[SpikingBlock], LeakyReadout]:
    """Hidden blocks and readout, of a network that is not refused."""
    *hidden, last = network.blocks
    assert isinstance(last, LeakyReadout)
    return [block for block in hidden if isinstance(block, SpikingBlock)], last


def error_at_each_step(y: Tensor, batch: Batch, context: Context) -> Tensor:
    """∂C/∂y_t, where the loss is the sum over steps of C(y_t, label): [time, seed, batch, classes]."""
    labels = batch.targets.expand(len(y), *batch.targets.shape)
    return context.loss.gradient(y.flatten(0, 1), labels.flatten(0, 1)).view_as(y)


def sent_through(error: Tensor, feedback: Tensor, block: Block) -> Tensor:
    """B e at every step: [time, seed, batch, classes] and [seed, classes, units] -> [time, seed, batch,
    *output_shape]."""
    signal = unfolded(folded(error) @ feedback, len(error))
    return signal.unflatten(-1, block.output_shape) if len(block.output_shape) > 1 else signal


class Sums:
    """Updates of blocks, added up as time goes on: one tensor a parameter, however many steps there are."""

    def __init__(self) -> None:
        self.steps = 0
        self.of: dict[str, dict[str, Tensor]] = {}

    def add(self, name: str, update: Mapping[str, Tensor]) -> None:
        own = self.of.setdefault(name, {})
        for key, tensor in update.items():
            own[key] = own[key].add_(tensor) if key in own else tensor.clone()

    def means(self, network: Network) -> Step:
        """Every block's, over the steps."""
        for block in network.blocks:
            if block.name in self.of:
                yield block, {key: tensor / self.steps for key, tensor in self.of[block.name].items()}


class Traces:
    """What came into blocks as their membranes remember it: x̄_t = leak x̄_{t-1} + x_t, and the same of the 1
    that a bias sees at every step."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        self.ones: dict[str, float] = {}

    def see(self, name: str, inputs: Tensor, leak: float) -> None:
        """One step on: [1, seed, batch, *input_shape]."""
        before = self.inputs.get(name)
        self.inputs[name] = inputs if before is None else inputs.add(before, alpha=leak)
        self.ones[name] = leak * self.ones.get(name, 0.0) + 1

    def update(self, block: Block, delta: Tensor) -> dict[str, Tensor]:
        """δ ⊗ x̄ for the weights, δ 1̄ for the bias."""
        own = block.synaptic_update(self.inputs[block.name], delta)
        return {**own, "bias": self.ones[block.name] * own["bias"]}
