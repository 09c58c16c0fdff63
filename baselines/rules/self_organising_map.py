"""The self-organising map: units on a grid, the winner and its neighbours move to the input."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.readout import WithoutLabels, hebbian, rows
from creditbench.suite.types import Block, Context, State, Step


@dataclass(frozen=True)
class SelfOrganisingMap(WithoutLabels):
    """Competition with a neighbourhood that shrinks:

        c = argmin_i |x - w_i|      n_i = exp(-|r_i - r_c|² / 2σ(t)²)      Δw_i = η Σ n_i (x - w_i) / Σ n_i

    Kohonen (1982), in its batch form: sums are over the batch (and a convolution's positions), and a unit
    with less than one neighbour in it moves in proportion. r is a place on a grid of `rows` rows, as square
    as the number of units allows where rows is 0; σ falls geometrically from `radius` times the grid's longer
    side to `last_radius`. The bias is held at -|w|²/2, so that a = (|x|² - |x - w|²) / 2: the winner is the
    unit with the greatest a, and behind a normalisation of the layer and a relu the activity is the triangle
    code of Coates, Ng & Lee (2011).
    """

    name: ClassVar[str] = "som"
    source: ClassVar[str] = "Kohonen (1982), Biological Cybernetics 43"
    search: ClassVar = {"rate": (0.1, 0.5), "last_radius": (0.3, 0.6)}

    rate: float = 0.3
    radius: float = 0.25
    last_radius: float = 0.3
    rows: int = 0

    def learn(self, block: Block, h: Tensor, a: Tensor, eta: float, state: State, context: Context) -> Step:
        weight, bias = block.weight.flatten(2), block.parameters["bias"]
        sides = shape(weight.shape[1], self.rows)
        apart = grid(*sides, weight)[: weight.shape[1], : weight.shape[1]]  # [units, units], squared
        first = max(self.radius * max(sides), self.last_radius)
        sigma = first * (self.last_radius / first) ** (context.step / context.steps)
        closeness = -weight.square().sum(-1) / 2 - bias  # to be added: the bias lags in the very first step
        beside = closeness.view(*bias.shape[:1], 1, -1, *(1,) * (a.dim() - 3))
        winners = (a + beside).argmax(2)  # [seed, batch, ...]
        near = torch.exp(-apart / (2 * sigma**2))[winners].movedim(-1, 2)  # [seed, batch, units, ...]
        total = rows(near).sum(-1).unsqueeze(-1)  # [seed, units, 1]
        new = weight + eta * (hebbian(block, h, near) - total * weight) / total.clamp_min(1)
        yield (
            block,
            {
                "weight": block.weight - new.view_as(block.weight),
                "bias": bias + new.square().sum(-1) / 2,
            },
        )


def shape(units: int, height: int = 0) -> tuple[int, int]:
    """Rows and columns of a grid with room for all units, as square as their number allows for height 0."""
    if not height:
        height = max(n for n in range(1, math.isqrt(units) + 1) if units % n == 0)
    return height, -(-units // height)


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Squared distances between the places of a grid, row by row: [places, places]."""
    number = torch.arange(height * width, device=like.device)
    places = torch.stack([number // width, number % width], -1).to(like.dtype)
    return (places.unsqueeze(0) - places.unsqueeze(1)).square().sum(-1)
