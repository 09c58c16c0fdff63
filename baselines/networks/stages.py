"""What stands behind a block's weights: normalisation, activation, dropout, in closed form.

A stage has `forward` (what it keeps for the way back is `saved`) and `pullback`: the derivative at
its output -> the derivative at its input, and the update of its own parameters. All shapes are
[seed, batch, channels or features, ...]. Pooling has a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.types import Context, Shape, Tensors

aten = torch.ops.aten
Pulled = tuple[Tensor, dict[str, Tensor]]


class Stage(Protocol):
    """One step behind the weights."""

    def output_shape(self, input_shape: Shape) -> Shape: ...

    def initial(self, input_shape: Shape) -> dict[str, Tensor]: ...

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, Any]: ...

    def pullback(self, saved: Any, change: Tensor, parameters: Tensors) -> Pulled: ...

    def measure(self, x: Tensor) -> dict[str, Tensor]: ...


class Plain:
    """Defaults of a stage that keeps shape and has neither parameters nor statistics."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def initial(self, input_shape: Shape) -> dict[str, Tensor]:
        return {}

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True)
class Function:
    """f, and the derivative at its output times f'; `keeps` says from what f' is computed."""

    forward: Callable[[Tensor], Tensor]
    pullback: Callable[[Tensor, Tensor], Tensor]  # (change, kept) -> change
    keeps: str = "output"


ACTIVATIONS: Mapping[str, Function] = {
    "identity": Function(lambda a: a, lambda change, h: change),
    "relu": Function(torch.relu, lambda change, h: aten.threshold_backward(change, h, 0)),
    "leaky-relu": Function(
        lambda a: torch.nn.functional.leaky_relu(a, 0.01),
        lambda change, h: aten.leaky_relu_backward(change, h, 0.01, True),
    ),
    "tanh": Function(torch.tanh, lambda change, h: aten.tanh_backward(change, h)),
    # McCulloch and Pitts's hard threshold: 1 above zero, else 0. Its derivative is zero wherever it has one,
    # and zero is what it gives: a rule that wants a surrogate has to bring one and say so.
    "step": Function(lambda a: torch.sign(torch.relu(a)), lambda change, h: torch.zeros_like(change)),
    "sigmoid": Function(torch.sigmoid, lambda change, h: aten.sigmoid_backward(change, h)),
    "elu": Function(torch.nn.functional.elu, lambda change, h: aten.elu_backward(change, 1.0, 1, 1, True, h)),
    "gelu": Function(
        torch.nn.functional.gelu, lambda change, a: aten.gelu_backward(change, a), keeps="input"
    ),
}


@dataclass(frozen=True)
class Activation(Plain):
    """h = f(a), elementwise."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in ACTIVATIONS:
            raise unknown_name("activation", self.name, ACTIVATIONS)

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, Tensor]:
        function = ACTIVATIONS[self.name]
        y = function.forward(x)
        return y, (y if function.keeps == "output" else x)

    def pullback(self, saved: Tensor, change: Tensor, parameters: Tensors) -> Pulled:
        return ACTIVATIONS[self.name].pullback(change, saved), {}


@dataclass(frozen=True)
class RectifiedPower(Plain):
    """h = max(0, a)^n (Krotov & Hopfield 2019)."""

    exponent: float

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, Tensor]:
        rectified = torch.relu(x)
        return rectified**self.exponent, rectified

    def pullback(self, saved: Tensor, change: Tensor, parameters: Tensors) -> Pulled:
        slope = self.exponent * torch.where(saved > 0, saved, 1.0) ** (self.exponent - 1)
        return torch.where(saved > 0, change * slope, 0.0), {}


@dataclass(frozen=True)
class Triangle(Plain):
    """h = max(0, a - mean of a over the layer's units, at each position)^n (Coates, Ng & Lee 2011; with a
    power, Journé et al. 2023)."""

    exponent: float = 1.0

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, Tensor]:
        return RectifiedPower(self.exponent).forward(
            x - x.mean(2, keepdim=True), parameters, statistics, context
        )

    def pullback(self, saved: Tensor, change: Tensor, parameters: Tensors) -> Pulled:
        change, _ = RectifiedPower(self.exponent).pullback(saved, change, parameters)
        return change - change.mean(2, keepdim=True), {}


NORMALISATIONS = ("layer", "batch", "instance")


@dataclass(frozen=True)
class Normalisation(Plain):
    """y = gain * (x - mean) / sqrt(variance + epsilon) + shift, gain and shift per channel.

    Mean and variance are taken over: "layer" one sample's channels and positions (Ba et al. 2016),
    "instance" one sample's channel (Ulyanov et al. 2016), "batch" one channel of the batch (Ioffe &
    Szegedy 2015). At inference "batch" uses statistics that the harness measures on training samples
    before it scores, so a rule never has to keep running averages.
    """

    kind: str
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.kind not in NORMALISATIONS:
            raise unknown_name("normalisation", self.kind, NORMALISATIONS)

    def initial(self, input_shape: Shape) -> dict[str, Tensor]:
        if self.kind == "instance" and len(input_shape) != 3:
            raise CreditbenchError(
                "normalisation=instance averages over an image's positions and a fully connected layer has"
                " none; choose layer or batch."
            )
        return {"gain": torch.ones(input_shape[0]), "shift": torch.zeros(input_shape[0])}

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        positions = tuple(range(3, x.dim()))
        return {"layer": (2, *positions), "instance": positions, "batch": (1, *positions)}[self.kind]

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if self.kind == "batch" and context is None:
            if not statistics:
                raise CreditbenchError(
                    "This network has batch normalisation and no statistics yet; take them with"
                    " creditbench.suite.evaluate.with_statistics before using it."
                )
            mean, variance = statistics["mean"], statistics["variance"]
        else:
            variance, mean = torch.var_mean(x, self._axes(x), correction=0, keepdim=True)
        inverse = torch.rsqrt(variance + self.epsilon)
        normal = (x - mean) * inverse
        gain, shift = (_per_channel(parameters[name], x) for name in ("gain", "shift"))
        return torch.addcmul(shift, normal, gain), (normal, inverse)

    def pullback(self, saved: tuple[Tensor, Tensor], change: Tensor, parameters: Tensors) -> Pulled:
        normal, inverse = saved
        axes, over = self._axes(change), (1, *range(3, change.dim()))
        update = {"gain": (change * normal).sum(over), "shift": change.sum(over)}
        change = change * _per_channel(parameters["gain"], change)
        along = normal * (change * normal).mean(axes, keepdim=True)
        return inverse * (change - change.mean(axes, keepdim=True) - along), update

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        if self.kind != "batch":
            return {}
        variance, mean = torch.var_mean(x, self._axes(x), correction=0, keepdim=True)
        return {"mean": mean, "variance": variance}


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """[seed, channels] -> [seed, 1, channels, 1, ...], to stand beside x."""
    return parameter.view(len(parameter), 1, -1, *(1,) * (x.dim() - 3))


@dataclass(frozen=True)
class Dropout(Plain):
    """Units (whole channels of images) silenced with probability p while learning; the rest scaled by
    1/(1-p) (Srivastava et al. 2014; Tompson et al. 2015 for channels)."""

    p: float

    def forward(
        self, x: Tensor, parameters: Tensors, statistics: Tensors, context: Context | None
    ) -> tuple[Tensor, Tensor | None]:
        if context is None:
            return x, None
        shape = (*x.shape[1:3], *(1,) * (x.dim() - 3))
        mask = (context.noise.uniform(*shape) >= self.p).to(x.dtype) / (1 - self.p)
        return x * mask, mask

    def pullback(self, saved: Tensor | None, change: Tensor, parameters: Tensors) -> Pulled:
        return (change if saved is None else change * saved), {}
