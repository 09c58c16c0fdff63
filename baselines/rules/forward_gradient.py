"""Forward gradients: the loss's slope along a random direction, carried forward beside the activity.

    ȧ_l = W_l ḣ_{l-1} + what is drawn at block l        ḣ_l = f'(a_l) ⊙ ȧ_l        s = (∂C/∂h_L)ᵀ ḣ_L

No graph, no way back: tangents ḣ_l meet the weights as activities do, and s times what was drawn is the
gradient in expectation. f'(a_l) ⊙ ȧ_l is what a block's `deactivate` computes where the part behind its
weights works on each unit alone (activation, dropout): such a derivative is a diagonal matrix and its own
transpose. Normalisation's and pooling's are not, and networks with them are refused.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Activation, Dropout
from creditbench.baselines.rules.feedback import to_every_block
from creditbench.baselines.rules.node_perturbation import beside
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task, Trace


def weights_alone(block: Block, tangent: Tensor) -> Tensor:
    """W ḣ, without the bias: [seed, batch, *input_shape] -> [seed, batch, *preactivation_shape]."""
    without = {n: torch.zeros_like(p) if n == "bias" else p for n, p in block.parameters.items()}
    return block.bind(without).preactivate(tangent)


def behind_weights(block: Block, trace: Trace, tangent: Tensor) -> Tensor:
    """f'(a) ⊙ ȧ."""
    return block.deactivate(trace, tangent)[0]


def refusal(network: Network) -> str | None:
    for block in network.blocks:
        stages = block.stages if isinstance(block, WeightedBlock) else (None,)
        if not all(isinstance(stage, Activation | Dropout) for stage in stages):
            return (
                "tangents go forward through weights and elementwise activations only; choose a network"
                " without normalisation and pooling, such as mlp"
            )
    return None


@dataclass(frozen=True)
class WeightForwardGradient(LearningRule):
    """Forward gradient: one direction in the space of all weights for the whole batch:

        V_l ~ N(0, 1)        ȧ_l = W_l ḣ_{l-1} + V_l h_{l-1}        ΔW_l = s V_l

    Baydin et al. (2022). V_l has the shape of the weights, biases likewise, and s is one number per seed, of
    the batch's mean loss. The limit of weight perturbation for σ → 0: unbiased, and its squared length is on
    average that of the gradient times the number of weights plus two.
    """

    name: ClassVar[str] = "forward-gradient"
    source: ClassVar[str] = "Baydin et al. (2022). arXiv:2202.08587"
    search: ClassVar = {"activation": ("relu", "tanh")}

    def supports(self, network: Network, task: Task) -> str | None:
        return refusal(network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, drawn = batch.inputs, []
        tangent: Tensor | None = None  # inputs do not move
        for block in network.blocks:
            drawn.append({n: context.noise.normal(*p.shape[1:]) for n, p in block.parameters.items()})
            moved = block.bind(drawn[-1]).preactivate(h)
            if tangent is not None:
                moved = moved + weights_alone(block, tangent)
            trace = block.forward(h, context)
            h, tangent = trace.output, behind_weights(block, trace, moved)
        assert tangent is not None
        slope = (context.loss.gradient(h, batch.targets) * tangent).sum((1, 2))  # [seed]
        for block, own in zip(network.blocks, drawn, strict=True):
            yield block, {name: slope.view(-1, *(1,) * (v.dim() - 1)) * v for name, v in own.items()}


@dataclass(frozen=True)
class ActivityForwardGradient(LearningRule):
    """Forward gradient, activities: a direction in the space of all pre-activations for every sample:

        v_l ~ N(0, 1)        ȧ_l = W_l ḣ_{l-1} + v_l        ΔW_l = s v_l h_{l-1}ᵀ

    Ren et al. (2023), FG-A. v_l is [seed, batch, units] and s [seed, batch]. There are far fewer units than
    weights, and every sample draws anew, so the variance is far lower than that of `forward-gradient`. The
    limit of antithetic node perturbation for σ → 0.
    """

    name: ClassVar[str] = "forward-gradient-activity"
    source: ClassVar[str] = "Ren, Kornblith, Liao & Hinton (2023), ICLR. arXiv:2210.03310"
    search: ClassVar = {"activation": ("relu", "tanh")}

    def supports(self, network: Network, task: Task) -> str | None:
        return refusal(network)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, h = batch.targets.shape[1], batch.inputs
        tangent: Tensor | None = None  # inputs do not move
        below, drawn = [], []
        for block in network.blocks:
            below.append(h)
            drawn.append(context.noise.normal(samples, *block.preactivation_shape))
            moved = drawn[-1] if tangent is None else drawn[-1] + weights_alone(block, tangent)
            trace = block.forward(h, context)
            h, tangent = trace.output, behind_weights(block, trace, moved)
        assert tangent is not None
        slope = (context.loss.gradient(h, batch.targets) * tangent).sum(-1)  # [seed, batch]
        for block, pre, v in zip(network.blocks, below, drawn, strict=True):
            yield block, block.synaptic_update(pre, beside(slope, v) * v)


@dataclass(frozen=True)
class LocalForwardGradient(LearningRule):
    """Local forward gradient: every block has a loss of its own, every group of its units a slope of its own:

        C_l = C(A_l h_l)        s_g = (∂C_l/∂(A_l h_l))ᵀ A_l,g (f'(a_l,g) ⊙ v_g)        δ_g = s_g v_g
        ΔW_l = δ_l h_{l-1}ᵀ        ΔA_l = ∂C_l/∂(A_l h_l) h_lᵀ

    Ren et al. (2023), LG-FG-A. A slope is shared by units / groups units instead of all the network's, and so
    is its variance; with a group for each unit it would be 3 times the gradient's square. A_l is [seed,
    classes, units], learned, from U(-1/sqrt(units), 1/sqrt(units)); v_l is [seed, batch, units]. Heads and
    the output layer learn by the delta rule. Nothing passes from one block's loss to another block. Left out
    of the paper: patches of images with a head each, and layer normalisation.
    """

    name: ClassVar[str] = "local-forward-gradient"
    source: ClassVar[str] = "Ren, Kornblith, Liao & Hinton (2023), ICLR. arXiv:2210.03310"
    search: ClassVar = {"activation": ("relu", "tanh"), "groups": (4, 16)}

    groups: int = 16  # at most; as equal as the units allow

    def supports(self, network: Network, task: Task) -> str | None:
        return refusal(network)

    def init(self, network: Network, context: Context) -> State:
        hidden, draw = network.blocks[:-1], (context.classes, context.noise)
        return State(learned={f"{block.name}.head": to_every_block(block, *draw) for block in hidden})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples, h = batch.targets.shape[1], batch.inputs
        *hidden, last = network.blocks
        for block in hidden:
            head, trace = state.learned[f"{block.name}.head"], block.forward(h, context)
            activity = trace.output.flatten(2)
            error = context.loss.gradient(activity @ head.mT, batch.targets)  # [seed, batch, classes]
            v = context.noise.normal(samples, *block.preactivation_shape)
            delta = self.slopes(behind_weights(block, trace, v).flatten(2), head, error).view_as(v) * v
            yield block, block.synaptic_update(h, delta)
            yield f"{block.name}.head", error.mT @ activity
            h = trace.output
        trace = last.forward(h, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))

    def slopes(self, tangent: Tensor, head: Tensor, error: Tensor) -> Tensor:
        """s of the group that each unit is in: [seed, batch, units]."""
        parts = (whole.tensor_split(self.groups, -1) for whole in (tangent, head))
        return torch.cat(
            [
                (error * (own @ a.mT)).sum(-1, keepdim=True).expand_as(own)
                for own, a in zip(*parts, strict=True)
            ],
            -1,
        )
