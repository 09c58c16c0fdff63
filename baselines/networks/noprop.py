"""NoProp's network: blocks that each see the image and a noisy label, and hand on a clearer one.

Li, Teh & Pascanu (2025), arXiv:2503.24322, discrete time, labels one-hot. Label z_t has variance-preserving
noise of signal share s_t, z_t ~ N(sqrt(s_t) label, (1 - s_t) I), s_t = sin²(π/2 (t + 1/2) / (T + 1)) for
t = 0 ... T. Block t estimates the label from the image x and z_{t-1}, and hands on the mean of the posterior:

    û_t = softmax(net_t(x, z_{t-1}))        z_t = a_t û_t + b_t z_{t-1}

    a_t = sqrt(s_t) (1 - α) / (1 - s_{t-1})    b_t = sqrt(α) (1 - s_t) / (1 - s_{t-1})    α = s_{t-1} / s_t

The authors draw z_0 and add noise of variance c_t = (1 - s_t) (1 - α) / (1 - s_{t-1}) at every block; here
both are at their mean, so that a prediction repeats itself: z_0 = 0. The output block reads z_T alone.

net_t: two 3 x 3 convolutions with 2 x 2 maximum pooling and a linear layer on images, the linear layer alone
on anything else; beside it a linear layer on z; on top of both a linear layer, all rectified, and the output.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from creditbench.baselines.networks.blocks import AutogradBlock, WeightedBlock, convolution, linear
from creditbench.baselines.networks.synapses import Linear
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Block, Context, Shape, Trace


def noprop(
    input_shape: Shape, outputs: int, *, depth: int = 10, width: int = 8, units: int = 64
) -> tuple[Block, ...]:
    """`depth` denoising blocks (T), each with `width` and 2 `width` channels and linear layers of `units`."""
    if depth < 1:
        raise CreditbenchError(f"The network noprop needs a depth of at least 1, not {depth}.")
    blocks: list[Block] = []
    for number, level in enumerate(levels(depth)):
        image: list[WeightedBlock] = []
        for place in range(2 if len(input_shape) == 3 else 0):
            shape = image[-1].output_shape if image else input_shape
            image.append(convolution(f"image{place}", shape, width * 2**place, pooling="max"))
        shape = image[-1].output_shape if image else input_shape
        blocks.append(
            Denoiser(
                name=str(number),
                input_shape=blocks[-1].output_shape if blocks else input_shape,
                image_shape=input_shape,
                classes=outputs,
                level=level,
                image=(*image, linear(f"image{len(image)}", shape, units, "relu")),
                label=linear("label", (outputs,), units, "relu"),
                joint=(linear("joint0", (2 * units,), units, "relu"), linear("joint1", (units,), outputs)),
            )
        )
    readout = Readout(
        name=str(depth), input_shape=blocks[-1].output_shape, synapses=Linear((outputs,), outputs)
    )
    return (*blocks, readout)


@dataclass(frozen=True)
class Level:
    """From noise of signal share s_{t-1} to noise of signal share s_t."""

    before: float
    after: float

    @property
    def estimate_weight(self) -> float:
        """a_t: the estimate's share in z_t."""
        return math.sqrt(self.after) * (1 - self.before / self.after) / (1 - self.before)

    @property
    def label_weight(self) -> float:
        """b_t: the share of z_{t-1} in z_t."""
        return math.sqrt(self.before / self.after) * (1 - self.after) / (1 - self.before)

    @property
    def left_variance(self) -> float:
        """c_t: of the noise that the posterior leaves in z_t."""
        return (1 - self.after) * (1 - self.before / self.after) / (1 - self.before)

    @property
    def gained_ratio(self) -> float:
        """Signal to noise after this step, less that before it."""
        return self.after / (1 - self.after) - self.before / (1 - self.before)


def levels(depth: int) -> list[Level]:
    shares = [math.sin(math.pi / 2 * (t + 0.5) / (depth + 1)) ** 2 for t in range(depth + 1)]
    return [Level(before, after) for before, after in itertools.pairwise(shares)]


@dataclass(frozen=True, kw_only=True)
class Denoiser(AutogradBlock):
    """Block t: [x, z_{t-1}] -> [x, z_t], flat and side by side; an image alone stands for z = 0.

    The derivative by its parameters is in closed form, that by its input by autograd."""

    image_shape: Shape
    classes: int
    level: Level
    image: tuple[WeightedBlock, ...]
    label: WeightedBlock
    joint: tuple[WeightedBlock, ...]

    @property
    def output_shape(self) -> Shape:
        return (math.prod(self.image_shape) + self.classes,)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for layer in (*self.image, self.label, *self.joint):
            found |= self._named(layer, layer.initial(generator))
        return found

    def preactivate(self, inputs: Tensor) -> Tensor:
        return self.forward(inputs).output

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        flat, pixels = inputs.flatten(2), math.prod(self.image_shape)
        x, z = flat[..., :pixels], flat[..., pixels:]
        if z.shape[-1] == 0:
            z = x.new_zeros(*x.shape[:2], self.classes)
        traces, h = [], x.view(*x.shape[:2], *self.image_shape)
        for layer in self.image:
            traces.append(self._bound(layer).forward(h))
            h = traces[-1].output
        traces.append(self._bound(self.label).forward(z))
        h = torch.cat([h, traces[-1].output], -1)
        for layer in self.joint:
            traces.append(self._bound(layer).forward(h))
            h = traces[-1].output
        estimate = torch.softmax(h, -1)
        cleared = self.level.estimate_weight * estimate + self.level.label_weight * z
        return Trace(inputs, torch.cat([x, cleared], -1), (traces, estimate))

    def update(self, trace: Trace, change: Tensor) -> dict[str, Tensor]:
        traces, estimate = trace.saved
        found, images = dict[str, Tensor](), len(self.image)
        error = self.level.estimate_weight * change[..., -self.classes :]
        error = estimate * (error - (estimate * error).sum(-1, keepdim=True))  # back through the softmax
        for layer, own in reversed(list(zip(self.joint, traces[images + 1 :], strict=True))):
            update, error = self._bound(layer).pullback(own, error)
            found |= self._named(layer, update)
        of_image, of_label = error.split([self.image[-1].output_size, self.label.output_size], -1)
        found |= self._named(self.label, self._bound(self.label).update(traces[images], of_label))
        for layer, own in reversed(list(zip(self.image[1:], traces[1:images], strict=True))):
            update, of_image = self._bound(layer).pullback(own, of_image)
            found |= self._named(layer, update)
        first = self.image[0]
        return found | self._named(first, self._bound(first).update(traces[0], of_image))

    def _bound(self, layer: WeightedBlock) -> Block:
        return layer.bind({key: self.parameters[self._key(layer, key)] for key in ("weight", "bias")})

    def _named(self, layer: WeightedBlock, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {self._key(layer, key): tensor for key, tensor in tensors.items()}

    def _key(self, layer: WeightedBlock, key: str) -> str:
        """The top layer's weights are the block's `weight`; the others carry their layer's name."""
        return key if layer is self.joint[-1] else f"{layer.name}.{key}"


@dataclass(frozen=True, kw_only=True)
class Readout(WeightedBlock):
    """[x, z_T] -> the classes, from z_T alone."""

    def preactivate(self, inputs: Tensor) -> Tensor:
        return super().preactivate(self._label(inputs))

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return super().synaptic_update(self._label(inputs), delta)

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        pixels = math.prod(self.input_shape) - self.synapses.input_shape[0]
        return torch.nn.functional.pad(super().transport(delta, weight), (pixels, 0))

    def _label(self, inputs: Tensor) -> Tensor:
        return inputs[..., -self.synapses.input_shape[0] :]
