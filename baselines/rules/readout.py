"""What rules without labels share: hidden blocks learn by themselves, the output block reads them out."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task, Tensors


@dataclass(frozen=True)
class WithoutLabels(LearningRule):
    """One protocol for all of them: in every step each hidden block learns from its own input and activity,
    in order, and the output block by the task's loss on what reaches it, as in last-layer, at the same time:

        hidden   ΔW_l = η(t) · rule(h_{l-1}, W_l)        output   ΔW_L = ∂C/∂a_L h_{L-1}ᵀ

    Nothing goes back into hidden blocks, which never see a label. Their steps are whole steps of the rule's
    own, by plain descent (`own_steps`), with η(t) = rate · (1 - t / steps); the learning rate is the
    readout's, under the suite's optimizer. Where a rule asks for other initial weights, they are made of the
    drawn ones in the first step (`start`), so that all rules have the same draw. Layer normalisation, where
    the network has it, gives the readout and the next block activities of one size.
    """

    network_choices: ClassVar[Mapping[str, Any]] = {"normalisation": "layer"}

    rate: float = 0.1

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 2:
            return f"{self.name} trains hidden blocks and this network has none; give it depth >= 1."
        if any(not {"weight", "bias"} <= block.parameters.keys() for block in network.blocks):
            return f"{self.name} needs blocks with a weight and a bias; use mlp or conv."
        return None

    def own_steps(self, network: Network) -> Collection[str]:
        return [block.name for block in network.blocks[:-1]]

    def start(self, block: Block) -> Tensors:
        """Parameters to begin with, where they are not those drawn."""
        return {}

    @abstractmethod
    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        """Yields the updates of one block from its input h, [seed, batch, *input_shape], and its
        pre-activation a; eta is η(t)."""

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, eta = batch.inputs, self.rate * (1 - context.step / context.steps)
        *hidden, last = network.blocks
        for block in hidden:
            if context.step == 0 and (wanted := self.start(block)):
                yield block, {name: block.parameters[name] - tensor for name, tensor in wanted.items()}
            a = block.preactivate(h)
            above = block.activate(a, context).output
            yield from self.learn(block, h, a, eta, state, context)
            h = above
        trace = last.forward(h, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))


def rows(activity: Tensor) -> Tensor:
    """[seed, batch, units, ...] -> [seed, units, batch x positions]: what each unit did, in every place."""
    return activity.movedim(2, 1).flatten(2)


def hebbian(block: Block, h: Tensor, y: Tensor) -> Tensor:
    """Σ y xᵀ over batch and positions, x being what the weights see: [seed, units, inputs]."""
    return block.synaptic_update(h, y)["weight"].flatten(2)


def inputs_of(block: Block) -> int:
    """Inputs of a unit: about |x|² at unit variance, so that a step divided by it suits any layer."""
    return block.weight[0, 0].numel()
