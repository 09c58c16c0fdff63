"""The Trifecta: forward-forward for deep networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Activation
from creditbench.baselines.rules.forward_forward import SymBa, chosen_labels, goodness, wrong_labels
from creditbench.suite.types import (
    Batch,
    Block,
    Context,
    LearningRule,
    Network,
    State,
    Step,
    Task,
    Trace,
    Update,
)


@dataclass(frozen=True)
class Trifecta(LearningRule):
    """Three changes that let forward-forward go deep (Dooms, Tsang & Oramas 2023):

        L = softplus(-α (G⁺ - G⁻))            SymBa's loss, G the mean square of a block's units
        ĥ_l = (h_l - mean) / deviation        over batch and positions, instead of the length
        overlapping local updates             blocks learn in pairs, paired anew in every step

    In even steps the pairs are (1, 2), (3, 4), ..., in odd ones 1 alone, (2, 3), ...: the loss stands at
    the end of a pair and its derivative goes back through two blocks and no further, so a block hears of
    the one above it. A last block without a partner waits for the next step. The label comes in beside the
    image, [seed, classes, *units], and learns (the authors' is an image of its own: the first weights are
    linear, so both add one learned pattern per class). Negatives are uniform over the wrong labels.
    The score of a label is the goodness of the last hidden block alone; the output layer stays as drawn.
    Inference takes running means and variances, which are carried.
    """

    name: ClassVar[str] = "trifecta"
    source: ClassVar[str] = "Dooms, Tsang & Oramas (2023). arXiv:2311.18130"

    alpha: float = 4.0
    momentum: float = 0.1  # of the running statistics

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 3:
            return "it trains pairs of hidden blocks and this network has fewer than two"
        if any(block.mixes_samples for block in network.blocks):
            return "it brings batch normalisation of its own; leave the network's out"
        if any(linear(block) for block in network.blocks[:-1]):
            return (
                "through batch normalisation a linear block's bias has no derivative, and Adam would make"
                " steps of rounding; choose an activation"
            )
        return None

    def init(self, network: Network, context: Context) -> State:
        noise = context.noise.uniform(context.classes, *network.blocks[0].preactivation_shape)
        carried: dict[str, Tensor] = {}
        for block in network.blocks[1:-1]:
            channels, *positions = block.input_shape
            mean = block.weight.new_zeros(network.seeds, 1, channels, *(1 for _ in positions))
            carried |= {f"{block.name}.mean": mean, f"{block.name}.variance": torch.ones_like(mean)}
        return State({"label": 2 * noise - 1}, carried)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, *_ = hidden = network.blocks[:-1]
        samples, labels, running = batch.targets.shape[1], state.learned["label"], dict(state.carried)
        both = torch.cat([batch.targets, wrong_labels(batch.targets, context)], 1)
        seen = first.preactivate(batch.inputs)
        a, h = torch.cat([seen, seen], 1) + chosen_labels(labels, both), batch.inputs
        pair: list[tuple[Block, Tensor, Trace, Tensor]] = []  # with its input and what that was scaled by
        for number, block in enumerate(hidden):
            scale = torch.ones(())
            if number:
                h, scale = self._normalised(h, block.name, running)
                a = block.preactivate(h)
            trace = block.activate(a, context)
            pair.append((block, h, trace, scale))
            h = trace.output
            if number % 2 == context.step % 2:
                continue
            change = SymBa(alpha=self.alpha).local_change(h)
            updates: list[Update] = []
            while pair:
                own, below, trace, scale = pair.pop()
                delta, tail = own.deactivate(trace, change)
                if pair:
                    change = back(own.transport(delta), below, scale)
                if own is first:
                    marks = one_hot(both, context.classes).to(delta.dtype)
                    updates.append(("label", (marks.mT @ delta.flatten(2)).view_as(labels)))
                    delta = delta[:, :samples] + delta[:, samples:]  # the image is the same
                updates.append((own, own.synaptic_update(below, delta) | tail))
            yield from updates
        return running

    def _normalised(self, h: Tensor, name: str, running: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """ĥ and 1 / deviation; the batch's statistics enter the running ones."""
        variance, mean = torch.var_mean(h, _batch(h), correction=0, keepdim=True)
        for key, now in (("mean", mean), ("variance", variance)):
            running[f"{name}.{key}"] = torch.lerp(running[f"{name}.{key}"], now, self.momentum)
        scale = torch.rsqrt(variance + 1e-5)
        return (h - mean) * scale, scale

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        first, *hidden = network.blocks[:-1]
        labels = state.learned["label"]
        a = first.preactivate(inputs).unsqueeze(2) + labels.unsqueeze(1)
        h = first.activate(a.flatten(1, 2)).output  # every label of a sample in a row
        for block in hidden:
            mean, variance = (state.carried[f"{block.name}.{key}"] for key in ("mean", "variance"))
            h = block.forward((h - mean) * torch.rsqrt(variance + 1e-5)).output
        return self.alpha * goodness(h).view(*inputs.shape[:2], labels.shape[1])


def linear(block: Block) -> bool:
    """Whether nothing stands between a block's weights and the normalisation of its output."""
    if not isinstance(block, WeightedBlock):
        return False
    return not any(isinstance(stage, Activation) for stage in block.stages)


def back(change: Tensor, normal: Tensor, scale: Tensor) -> Tensor:
    """A derivative at ĥ carried to h, through the batch's mean and deviation."""
    over = _batch(change)
    along = normal * (change * normal).mean(over, keepdim=True)
    return scale * (change - change.mean(over, keepdim=True) - along)


def _batch(h: Tensor) -> tuple[int, ...]:
    return (1, *range(3, h.dim()))
