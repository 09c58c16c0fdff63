"""Local losses: every block predicts the label, or matches similarities with the label's, by itself."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from creditbench.baselines.networks.synapses import Convolution, Linear
from creditbench.baselines.rules.local import Credit, Head, block_by_block
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step


class LocalLoss(Protocol):
    """A loss at a block's output h, [seed, batch, units] or [seed, batch, channels, height, width]."""

    def init(self, block: Block, context: Context) -> State:
        """What it learns, and the fixed projections that it needs."""

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        """Its derivative by h, and by what it learns."""


@dataclass(frozen=True)
class LocalLosses(LearningRule):
    """Every hidden block descends a weighted sum of losses of its own; nothing comes from above."""

    source: ClassVar[str] = "Nøkland & Eidnes (2019), ICML. arXiv:1901.06656"
    search: ClassVar = {"activation": ("relu", "leaky-relu", "tanh")}

    @abstractmethod
    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        """The losses and their weights."""

    def init(self, network: Network, context: Context) -> State:
        state = State()
        for block in network.blocks[:-1]:
            for _, loss in self.losses():
                own = loss.init(block, context)
                state = State({**state.learned, **own.learned}, {**state.carried, **own.carried})
        return state

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        def credit(block: Block, h: Tensor) -> Credit:
            change, own = torch.zeros_like(h), dict[str, Tensor]()
            for weight, loss in self.losses():
                part, updates = loss.credit(block, h, batch.targets, state, context)
                change = torch.add(change, part, alpha=weight)
                own |= {name: weight * update for name, update in updates.items()}
            return change, own

        yield from block_by_block(network, batch, context, credit)


@dataclass(frozen=True)
class LocalPrediction(LocalLosses):
    """Local prediction loss: a linear classifier on every block (Nøkland & Eidnes 2019):

        y_l = V_l pool(h_l) + c_l        L_l = C(y_l, label)        ΔW_l = ∂L_l/∂W_l

    C is the task's loss. Images are averaged until at most `features` numbers are left. V_l is [seed,
    classes, features] and learns beside W_l (the authors start it at zero). h_l is the block's output, behind
    its pooling and dropout (the authors take it in front of both).
    """

    name: ClassVar[str] = "pred"

    features: int = 2048

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        return ((1.0, Prediction(self.features)),)


@dataclass(frozen=True)
class LocalSimilarity(LocalLosses):
    """Local similarity loss: samples shall be as alike as their labels are (Nøkland & Eidnes 2019):

        L_l = mean_ij (S(M_l h_l)_ij - S(label)_ij)²        S(x)_ij = x̂_i · x̂_j        ΔW_l = ∂L_l/∂W_l

    x̂ is x less its mean over the units, of length 1; labels are one-hot. M_l learns beside W_l: linear, or a
    3 x 3 convolution, of which the standard deviation of every channel over the positions is taken for x. It
    is [seed, units, units] or [seed, channels, channels, 3, 3]. What is compared lies within the batch.
    """

    name: ClassVar[str] = "sim"

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        return ((1.0, Similarity()),)


@dataclass(frozen=True)
class PredictionAndSimilarity(LocalLosses):
    """Both local losses: L = (1 - β) L_pred + β L_sim, β = `similarity_share` (Nøkland & Eidnes 2019)."""

    name: ClassVar[str] = "predsim"
    search: ClassVar = {"activation": ("relu", "leaky-relu", "tanh"), "similarity_share": (0.5, 0.9, 0.99)}

    similarity_share: float = 0.99
    features: int = 2048

    def __post_init__(self) -> None:
        _check_share(self)

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        share = self.similarity_share
        return (1 - share, Prediction(self.features)), (share, Similarity())


@dataclass(frozen=True)
class PlausiblePrediction(LocalLosses):
    """pred without backpropagation in the block (Nøkland & Eidnes 2019): the label comes as a random code,
    and the classifier's error goes back through fixed weights.

        y_l = V_l pool(h_l) + c_l        L_l = binary cross-entropy of σ(y_l) with [P_l label > 0]
        ∂L_l/∂h_l ≈ B_lᵀ (σ(y_l) - code) / codes

    P_l is [seed, classes, codes], V_l and B_l [seed, codes, features].
    """

    name: ClassVar[str] = "pred-bpf"

    codes: int = 128
    features: int = 2048

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        return ((1.0, CodePrediction(self.codes, self.features)),)


@dataclass(frozen=True)
class PlausibleSimilarity(LocalLosses):
    """sim without M_l, so that nothing has to be carried back to h: S(h) against S(P label), the code as in
    pred-bpf but not rounded to bits (Nøkland & Eidnes 2019)."""

    name: ClassVar[str] = "sim-bpf"

    codes: int = 128

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        return ((1.0, CodeSimilarity(self.codes)),)


@dataclass(frozen=True)
class PlausiblePredictionAndSimilarity(LocalLosses):
    """pred-bpf and sim-bpf, weighted as in predsim; both take the same code (Nøkland & Eidnes 2019)."""

    name: ClassVar[str] = "predsim-bpf"
    search: ClassVar = PredictionAndSimilarity.search

    similarity_share: float = 0.99
    codes: int = 128
    features: int = 2048

    def __post_init__(self) -> None:
        _check_share(self)

    def losses(self) -> tuple[tuple[float, LocalLoss], ...]:
        share = self.similarity_share
        return (1 - share, CodePrediction(self.codes, self.features)), (share, CodeSimilarity(self.codes))


def _check_share(rule: PredictionAndSimilarity | PlausiblePredictionAndSimilarity) -> None:
    if not 0 <= rule.similarity_share <= 1:
        raise CreditbenchError(
            f"similarity_share weighs similarity against prediction and lies in [0, 1], not at"
            f" {rule.similarity_share}."
        )


# ------------------------------------------------------------------------------ the losses


@dataclass(frozen=True)
class Prediction:
    """The task's loss of a linear classifier."""

    features: int

    def init(self, block: Block, context: Context) -> State:
        return State(Head.on(block, context.classes, features=self.features).initial(context))

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        head = Head.on(block, context.classes, features=self.features)
        y, saved = head.forward(h, state.learned)
        return head.pullback(saved, context.loss.gradient(y, targets), state.learned)


@dataclass(frozen=True)
class CodePrediction:
    """Bits of a random code instead of classes, and feedback weights instead of the classifier's."""

    codes: int
    features: int

    def init(self, block: Block, context: Context) -> State:
        head = Head.on(block, self.codes, features=self.features)
        fan_in = math.prod(head.layers[0].input_shape)
        feedback = fan_in**-0.5 * (2 * context.noise.uniform(self.codes, fan_in) - 1)
        carried = {f"{block.name}.feedback": feedback} | random_code(block, context, self.codes)
        return State(head.initial(context), carried)

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        head = Head.on(block, self.codes, features=self.features)
        y, saved = head.forward(h, state.learned)
        bits = (state.carried[f"{block.name}.code"] > 0).to(h.dtype)  # [seed, classes, codes]
        wanted = bits.gather(1, targets.unsqueeze(-1).expand(-1, -1, self.codes))
        error = (torch.sigmoid(y) - wanted) / (y.shape[1] * self.codes)
        return head.pullback(saved, error, state.learned, state.carried[f"{block.name}.feedback"])


@dataclass(frozen=True)
class Similarity:
    """Similarities of learned functions of h against those of one-hot labels."""

    def init(self, block: Block, context: Context) -> State:
        channels, *positions = block.output_shape
        shape = (channels, channels, 3, 3) if positions else (channels, channels)
        width = math.prod(shape[1:]) ** -0.5
        return State({f"{block.name}.map": width * (2 * context.noise.uniform(*shape) - 1)})

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        map_, weight = own_map(block), state.learned[f"{block.name}.map"]
        mapped = map_.forward(h, weight, weight.new_zeros(weight.shape[:2]))
        labels = torch.eye(context.classes, dtype=h.dtype, device=h.device).expand(len(h), -1, -1)
        change = similarity_change(mapped, labels, targets)
        update = map_.update(h, change)["weight"]
        return map_.transport(change, weight), {f"{block.name}.map": update}


@dataclass(frozen=True)
class CodeSimilarity:
    """Similarities of h itself against those of random codes."""

    codes: int

    def init(self, block: Block, context: Context) -> State:
        return State(carried=random_code(block, context, self.codes))

    def credit(self, block: Block, h: Tensor, targets: Tensor, state: State, context: Context) -> Credit:
        return similarity_change(h, state.carried[f"{block.name}.code"], targets), {}


def own_map(block: Block) -> Linear | Convolution:
    shape = block.output_shape
    return Convolution(shape, shape[0]) if len(shape) == 3 else Linear(shape, shape[0])


def random_code(block: Block, context: Context, codes: int) -> dict[str, Tensor]:
    """A row for each class, entries from U(-s, s), s = 1 / sqrt(classes): [seed, classes, codes]."""
    width = context.classes**-0.5
    return {f"{block.name}.code": width * (2 * context.noise.uniform(context.classes, codes) - 1)}


def similarity_change(h: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The derivative by h of mean_ij (S(h)_ij - S(label)_ij)²; labels has a row for each class."""
    x, spread = features(h)
    unit, length = directions(x)
    apart = unit @ unit.mT - label_similarity(labels, targets)  # [seed, batch, batch]
    by_unit = 4 / apart[0].numel() * (apart @ unit)
    by_x = (by_unit - unit * (by_unit * unit).sum(-1, keepdim=True)) / length
    by_x = by_x - by_x.mean(-1, keepdim=True)
    return (by_x if spread is None else by_x.unsqueeze(-1) * spread).view_as(h)


def features(h: Tensor) -> tuple[Tensor, Tensor | None]:
    """What is compared, [seed, batch, features]: units, or the standard deviation of an image's channels, and
    then its derivative by every position, [seed, batch, channels, positions]."""
    if h[0, 0, 0].numel() == 1:
        return h.flatten(2), None
    positions = h.flatten(3)
    variance, mean = torch.var_mean(positions, -1, correction=1, keepdim=True)
    deviation = variance.sqrt()
    slope = (positions - mean) / ((positions.shape[-1] - 1) * deviation.clamp_min(1e-8))
    return deviation.squeeze(-1), slope


def directions(x: Tensor) -> tuple[Tensor, Tensor]:
    """x less its mean over the last axis, of length 1, and the length it had."""
    centred = x - x.mean(-1, keepdim=True)
    length = centred.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    return centred / length, length


def label_similarity(labels: Tensor, targets: Tensor) -> Tensor:
    """[seed, classes, features] and [seed, batch] -> [seed, batch, batch], looked up per class."""
    unit, _ = directions(labels)
    classes, batch = labels.shape[1], targets.shape[1]
    rows = (unit @ unit.mT).gather(1, targets.unsqueeze(-1).expand(-1, -1, classes))
    return rows.gather(2, targets.unsqueeze(1).expand(-1, batch, -1))
