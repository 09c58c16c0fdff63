"""Greedy layerwise learning: every block with a classifier of its own, one after the other or all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.rules.local import Credit, Head, block_by_block
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step


@dataclass(frozen=True)
class DecoupledGreedy(LearningRule):
    """Every hidden block learns through a small network of its own that classifies its output, all at once
    (Belilovsky, Eickenberg & Oyallon 2020):

        y_l = V_l f(U_l pool(h_l) + b_l) + c_l        L_l = C(y_l, label)        ΔW_l = ∂L_l/∂W_l

    C is the task's loss, f the rectifier. U_l is [seed, hidden, features], V_l [seed, classes, hidden]; both
    learn beside W_l, by backpropagation within these two layers. Images are averaged until at most `features`
    numbers are left. (The authors' auxiliary networks have one to three hidden layers; pred has none.)
    """

    name: ClassVar[str] = "decoupled-greedy"
    source: ClassVar[str] = "Belilovsky, Eickenberg & Oyallon (2020), ICML. arXiv:1901.08164"
    search: ClassVar = {"activation": ("relu", "tanh"), "hidden": (64, 128, 256)}

    hidden: int = 128
    features: int = 2048

    def init(self, network: Network, context: Context) -> State:
        learned: dict[str, Tensor] = {}
        for block in network.blocks[:-1]:
            learned |= self.head(block, context).initial(context)
        return State(learned)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        yield from block_by_block(
            network, batch, context, lambda block, h: self.credit(block, h, batch.targets, state, context)
        )

    def head(self, block: Block, context: Context) -> Head:
        return Head.on(block, context.classes, (self.hidden,), self.features)

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        head = self.head(block, context)
        y, saved = head.forward(h, state.learned)
        return head.pullback(saved, context.loss.gradient(y, targets), state.learned)


@dataclass(frozen=True)
class GreedyLayerwise(DecoupledGreedy):
    """Layerwise training: decoupled-greedy, one block after the other.

    Bengio et al. (2006); Belilovsky, Eickenberg & Oyallon (2019).

    The training is cut into as many equal parts as there are hidden blocks, and in part l block l learns
    while all others stay as they are. The output layer learns all along from what the last hidden block puts
    out, so that the network can be scored at any time. The learning rate falls once over all parts, since the
    schedule is the suite's.
    """

    name: ClassVar[str] = "greedy"
    source: ClassVar[str] = "Belilovsky, Eickenberg & Oyallon (2019), ICML. arXiv:1812.11446"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        part = context.step * len(hidden) // context.steps
        h = batch.inputs
        for number, block in enumerate(hidden):
            trace = block.forward(h, context)
            h = trace.output
            if number == part:
                change, own = self.credit(block, h, batch.targets, state, context)
                yield from own.items()
                yield block, block.update(trace, change)
        trace = last.forward(h, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))
