"""Hebb's rule and what keeps its weights finite: Oja's, Oja's subspace rule and Sanger's."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.readout import WithoutLabels, hebbian, inputs_of, rows
from creditbench.suite.types import Block, Context, State, Step


@dataclass(frozen=True)
class Centred(WithoutLabels):
    """y = W x + b - <W x + b>, so that <y xᵀ> is a covariance; <·> is the mean over the batch (and a
    convolution's positions). The bias follows its unit's mean response, until what is sent up is centred
    as well."""

    search: ClassVar = {"rate": (0.03, 0.3), "normalisation": (None, "layer")}

    centring: float = 0.1  # share of a unit's mean response that its bias takes away in a step

    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        mean = rows(a).mean(-1)  # [seed, units]
        centred = a - mean.view(len(mean), 1, -1, *(1,) * (a.dim() - 3))
        y, weight = rows(centred), block.weight.flatten(2)  # [seed, units, places], [seed, units, inputs]
        size = eta / (inputs_of(block) * y.shape[-1])
        new = self.moved(weight, size * hebbian(block, h, centred), y, size)
        yield (
            block,
            {
                "weight": block.weight - new.view_as(block.weight),
                "bias": self.centring * mean,
            },
        )

    @abstractmethod
    def moved(self, weight: Tensor, hebb: Tensor, y: Tensor, size: float) -> Tensor:
        """W after a step, [seed, units, inputs], from hebb = η<y xᵀ>; size is what η<·> puts before a sum
        over places."""


@dataclass(frozen=True)
class Hebb(Centred):
    """Hebb's rule: what fires together wires together, at a fixed total strength:

        w_i ← (w_i + η <y_i x>) / |w_i + η <y_i x>|

    Hebb (1949), normalised as in von der Malsburg (1973). Nothing keeps units apart: each finds the first
    principal component.
    """

    name: ClassVar[str] = "hebb"
    source: ClassVar[str] = (
        "Hebb (1949), The Organization of Behavior; von der Malsburg (1973), Kybernetik 14"
    )

    def moved(self, weight: Tensor, hebb: Tensor, y: Tensor, size: float) -> Tensor:
        return torch.nn.functional.normalize(weight + hebb, dim=-1)


@dataclass(frozen=True)
class Oja(Centred):
    """Oja's rule: Hebb's with a decay that is local and ends at unit length:

        Δw_i = η <y_i (x - y_i w_i)>

    Oja (1982). A unit converges to the first principal component of its input, whatever its neighbours do: a
    layer of them carries one number. The row is here for what it shows.
    """

    name: ClassVar[str] = "oja"
    source: ClassVar[str] = "Oja (1982), J. Math. Biology 15"

    def moved(self, weight: Tensor, hebb: Tensor, y: Tensor, size: float) -> Tensor:
        return weight + hebb - size * y.square().sum(-1, keepdim=True) * weight


@dataclass(frozen=True)
class OjaSubspace(Centred):
    """Oja's subspace rule: units subtract what all of them together already explain:

        ΔW = η <y (x - Wᵀ y)ᵀ> = η (<y xᵀ> - <y yᵀ> W)

    Oja (1989). k units converge to an orthonormal basis of the first k principal components' space, turned
    arbitrarily in it.
    """

    name: ClassVar[str] = "oja-subspace"
    source: ClassVar[str] = "Oja (1989), International J. of Neural Systems 1"

    def moved(self, weight: Tensor, hebb: Tensor, y: Tensor, size: float) -> Tensor:
        return weight + hebb - size * (y @ y.mT) @ weight


@dataclass(frozen=True)
class Sanger(Centred):
    """The generalised Hebbian algorithm: a unit sees what the units before it have left over,

        Δw_i = η <y_i (x - Σ_{j≤i} y_j w_j)>,        ΔW = η (<y xᵀ> - LT(<y yᵀ>) W)

    Sanger (1989); LT keeps the lower triangle. Unit i converges to the i-th principal component.
    """

    name: ClassVar[str] = "sanger"
    source: ClassVar[str] = "Sanger (1989), Neural Networks 2"

    def moved(self, weight: Tensor, hebb: Tensor, y: Tensor, size: float) -> Tensor:
        return weight + hebb - size * (y @ y.mT).tril() @ weight
