"""Dendritic microcircuits: interneurons cancel what comes down but for what they could not foresee."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Activation
from creditbench.baselines.rules.feedback import like_weights
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task


class Settled(NamedTuple):
    """Where the circuit has come to; [seed, batch, units] each, in the order of the blocks."""

    rates: list[Tensor]  # φ(u_{l-1}), what a block sees
    basal: list[Tensor]  # v_l, what a block would be by that alone
    soma: list[Tensor]  # u_l
    apical: list[Tensor]  # v^A_l, of hidden blocks
    foreseen: list[Tensor]  # v^I_l, of the interneurons that foretell a block; none for the first
    interneurons: list[Tensor]  # u^I_l, the same


@dataclass(frozen=True)
class DendriticMicrocircuit(LearningRule):
    """The block above comes down to apical dendrites, less what interneurons foretell of it:

        v_l = W_l φ(u_{l-1})        u_l = v_l + λ v^A_l        u_L = v_L - ν ∂C/∂v_L
        v^I_l = W^I_l φ(u_{l-1})    u^I_l = (1 - λ) v^I_l + λ u_l
        v^A_{l-1} = B_lᵀ (φ(u_l) - φ(u^I_l))
        ΔW_l = -(1/ν) (φ(u_l) - φ(v_l)) φ(u_{l-1})ᵀ     ΔW^I_l = -(1/ν) (φ(u_l) - φ(v^I_l)) φ(u_{l-1})ᵀ

    Sacramento et al. (2018), at the fixed point of its leaky potentials, found by sweeps up and down: the
    first is exact but for a share of ν, each further one all but removes that. λ = g_A / (g_lk + g_B + g_A)
    is what apical dendrites weigh in the soma, and with the paper's conductances also what the block above
    weighs in an interneuron. W_l and W^I_l have these attenuations in them. The circuit is self-predicting
    where W^I_l = W_l: then v^A = 0 without a teacher (ν = 0), and a weak one makes u_{l-1} - v_{l-1} =
    λ (1 - λ) B_lᵀ (φ' ⊙ (u_l - v_l)), backpropagation with B_l in the place of W_l.

    It starts self-predicting. Stated simplifications: interneurons learn from the u_l in their nudge and not
    from u^I_l, in the weak limit a factor of λ. So W^I_l gets what W_l gets, and the circuit stays
    self-predicting under every optimizer; by the paper's product it does not under Adam, whose steps are as
    long for small errors as for large ones, and what is foretold wrongly soon drowns the teacher. Synapses of
    interneurons on apical dendrites stay at -B_lᵀ, where learning without a teacher brings them; B_l, in the
    shape of W_l, is fixed; the teacher is the task's loss; inference is the forward pass, where a
    self-predicting circuit settles.
    """

    name: ClassVar[str] = "microcircuit"
    source: ClassVar[str] = "Sacramento, Costa, Bengio & Senn (2018), NeurIPS. arXiv:1810.11393"
    search: ClassVar = {"activation": ("relu", "tanh"), "nudge": (0.1, 0.3, 1.0)}

    MIX: ClassVar[float] = 0.8 / (0.1 + 1.0 + 0.8)  # λ, of conductances 0.8 (apical, somatic), 1 (basal), 0.1

    nudge: float = 0.1  # ν
    sweeps: int = 1
    feedback_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.nudge <= 0 or self.sweeps < 1:
            raise CreditbenchError(
                f"nudge is {self.nudge} and sweeps {self.sweeps}; a teacher pushes by more than 0, and"
                " settling takes one sweep or more."
            )

    def supports(self, network: Network, task: Task) -> str | None:
        for block in network.blocks:
            stages = block.stages if isinstance(block, WeightedBlock) else (None,)
            plain = all(isinstance(stage, Activation) for stage in stages)
            if not plain or len(block.output_shape) > 1:
                return (
                    "microcircuits are of units with an activation and nothing else, each seen by all of the"
                    " next block; choose a fully connected network without normalisation and dropout, such as"
                    " mlp"
                )
        return None

    def init(self, network: Network, context: Context) -> State:
        above = network.blocks[1:]
        return State(
            {f"{b.name}.interneuron.{key}": p.clone() for b in above for key, p in b.parameters.items()},
            {b.name: like_weights(b, context.noise, self.feedback_scale) for b in above},
        )

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        at = self.settle(network, batch, state, context, self.nudge)
        scale = self.nudge * batch.targets.shape[1]
        for block, seen, v, u in zip(network.blocks, at.rates, at.basal, at.soma, strict=True):
            yield block, block.synaptic_update(seen, (rate(block, v) - rate(block, u)) / scale)
        above = zip(network.blocks[1:], at.rates[1:], at.foreseen, at.soma[1:], strict=True)
        for block, seen, v, u in above:
            update = block.synaptic_update(seen, (rate(block, v) - rate(block, u)) / scale)
            for key, tensor in update.items():
                yield f"{block.name}.interneuron.{key}", tensor

    def settle(self, network: Network, batch: Batch, state: State, context: Context, nudge: float) -> Settled:
        """Sweeps of the basal potentials upwards and of the apical ones, silent at first, downwards."""
        blocks, samples = network.blocks, batch.targets.shape[1]
        interneurons = [
            block.bind({key: state.learned[f"{block.name}.interneuron.{key}"] for key in block.parameters})
            for block in blocks[1:]
        ]
        first = blocks[0].preactivate(batch.inputs)  # does not change
        apical = [torch.zeros_like(first[..., :1])] * len(interneurons)
        for _ in range(self.sweeps):
            rates, basal, soma, foreseen = [batch.inputs], [first], [], []
            for block, above, inner, down in zip(blocks[:-1], blocks[1:], interneurons, apical, strict=True):
                soma.append(basal[-1] + self.MIX * down)
                rates.append(rate(block, soma[-1]))
                basal.append(above.preactivate(rates[-1]))
                foreseen.append(inner.preactivate(rates[-1]))
            soma.append(basal[-1] - nudge * samples * context.loss.gradient(basal[-1], batch.targets))
            inside = list(foreseen)
            for place in reversed(range(len(apical))):
                above, top_down = blocks[place + 1], state.carried[blocks[place + 1].name]
                inside[place] = foreseen[place].lerp(soma[place + 1], self.MIX)
                surprise = rate(above, soma[place + 1]) - rate(above, inside[place])
                apical[place] = above.transport(surprise, top_down)
                soma[place] = basal[place] + self.MIX * apical[place]
        return Settled(rates, basal, soma, apical, foreseen, inside)


def rate(block: Block, potential: Tensor) -> Tensor:
    """φ(u): [seed, batch, units]."""
    return block.activate(potential).output
