"""Blocks: weights with stages behind them, in closed form; and any torch module, by autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from creditbench.baselines.networks.pooling import Pooling
from creditbench.baselines.networks.stages import Activation, Dropout, Normalisation, Stage
from creditbench.baselines.networks.synapses import Convolution, Linear
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Block, Context, Shape, Trace


@dataclass(frozen=True, kw_only=True)
class WeightedBlock(Block):
    """a = W h + b, then the stages in order, each with its pullback in closed form."""

    synapses: Linear | Convolution
    stages: tuple[Stage, ...] = ()

    @property
    def preactivation_shape(self) -> Shape:
        return self.synapses.output_shape

    @cached_property
    def output_shape(self) -> Shape:
        shape = self.preactivation_shape
        for stage in self.stages:
            shape = stage.output_shape(shape)
        return shape

    @property
    def mixes_samples(self) -> bool:
        return any(isinstance(s, Normalisation) and s.kind == "batch" for s in self.stages)

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        parameters, shape = self.synapses.initial(generator), self.preactivation_shape
        for stage in self.stages:
            parameters |= stage.initial(shape)
            shape = stage.output_shape(shape)
        return parameters

    def preactivate(self, inputs: Tensor) -> Tensor:
        return self.synapses.forward(inputs, self.parameters["weight"], self.parameters["bias"])

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        h, saved = preactivation, []
        for stage in self.stages:
            h, kept = stage.forward(h, self.parameters, self.statistics, context)
            saved.append(kept)
        return Trace(None, h, tuple(saved))

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        update: dict[str, Tensor] = {}
        for stage, kept in zip(reversed(self.stages), reversed(trace.saved), strict=True):
            change, own = stage.pullback(kept, change, self.parameters)
            update |= own
        return change, update

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        return self.synapses.update(inputs, delta)

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.synapses.transport(delta, self.weight if weight is None else weight)

    def measure(self, inputs: Tensor) -> tuple[Block, Tensor]:
        h = self.preactivate(inputs)
        statistics: dict[str, Tensor] = {}
        for stage in self.stages:
            own = stage.measure(h)
            statistics |= own
            h, _ = stage.forward(h, self.parameters, own, None)
        return replace(self, statistics=statistics), h


def linear(
    name: str,
    input_shape: Shape,
    outputs: int,
    activation: str = "identity",
    normalisation: str | None = None,
    dropout: float = 0.0,
) -> WeightedBlock:
    """A fully connected block; images are flattened on the way in."""
    stages = _stages(activation, normalisation, dropout)
    return WeightedBlock(
        name=name, input_shape=input_shape, synapses=Linear(input_shape, outputs), stages=stages
    )


def convolution(
    name: str,
    input_shape: Shape,
    channels: int,
    activation: str = "relu",
    normalisation: str | None = None,
    dropout: float = 0.0,
    pooling: str | None = None,
) -> WeightedBlock:
    """A 3 x 3 convolution that keeps height and width, and 2 x 2 pooling if asked for."""
    if len(input_shape) != 3:
        raise CreditbenchError(
            f"A convolution needs images [channels, height, width] and got inputs of shape"
            f" {list(input_shape)}; use a fully connected network such as mlp."
        )
    stages = _stages(activation, normalisation, dropout)
    if pooling:
        stages = (*stages, Pooling(pooling))
    synapses = Convolution(input_shape, channels)
    return WeightedBlock(name=name, input_shape=input_shape, synapses=synapses, stages=stages)


def _stages(activation: str, normalisation: str | None, dropout: float) -> tuple[Stage, ...]:
    if not 0 <= dropout < 1:
        raise CreditbenchError(f"dropout is a probability in [0, 1), not {dropout}.")
    stages: list[Stage] = []
    if normalisation:
        stages.append(Normalisation(normalisation))
    if activation != "identity":
        stages.append(Activation(activation))
    if dropout:
        stages.append(Dropout(dropout))
    return tuple(stages)


@dataclass(frozen=True, kw_only=True)
class AutogradBlock(Block):
    """A block that only says how it computes its output; its pullback comes from autograd.

    Its pre-activation is its output, and there are no feedback weights that could stand in for its own, so
    rules that bring some (fa) are refused."""

    @property
    def preactivation_shape(self) -> Shape:
        return self.output_shape

    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        return Trace(None, preactivation)

    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return change, {}

    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        names = list(self.parameters)
        leaves = [self.parameters[name].detach().requires_grad_() for name in names]
        bound = replace(self, parameters=dict(zip(names, leaves, strict=True)))
        return dict(zip(names, bound._gradient(inputs, delta, leaves), strict=True))

    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        raise CreditbenchError(
            f"Block '{self.name}' knows no weights but its own: use `pullback`, which differentiates it, and"
            " no feedback weights."
        )

    def pullback(
        self, trace: Trace, change: Tensor, weight: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        if weight is not None:
            self.transport(change, weight)
        assert trace.inputs is not None
        update = self.synaptic_update(trace.inputs, change)
        leaf = trace.inputs.detach().requires_grad_()
        return update, self._gradient(leaf, change, [leaf])[0]

    def _gradient(self, inputs: Tensor, delta: Tensor, leaves: Sequence[Tensor]) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(self.preactivate(inputs), leaves, delta)


@dataclass(frozen=True, kw_only=True)
class ModuleBlock(AutogradBlock):
    """Any torch module as a block, one seed after the other.

    `build` makes a fresh module; it must map [batch, *input_shape] to [batch, *shape] and keep no
    buffers (state would change behind a rule's back)."""

    build: Callable[[], torch.nn.Module]
    shape: Shape

    @property
    def output_shape(self) -> Shape:
        return self.shape

    @cached_property
    def _module(self) -> torch.nn.Module:
        module = self._fresh(0)
        if any(True for _ in module.buffers()):
            raise CreditbenchError(
                f"Block '{self.name}' has buffers, which change behind a learning rule's back; build it of"
                " stateless modules or write a WeightedBlock."
            )
        return module

    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        module = self._fresh(int(torch.randint(2**62, (), generator=generator)))
        return {name: p.detach() for name, p in module.named_parameters()}

    def _fresh(self, seed: int) -> torch.nn.Module:
        with torch.random.fork_rng(devices=()):  # torch modules draw from the global generator
            torch.manual_seed(seed)
            return self.build()

    def _call(self, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return torch.func.functional_call(self._module, parameters, (inputs,))  # type: ignore[no-any-return]

    def preactivate(self, inputs: Tensor) -> Tensor:
        seeds = range(len(inputs))
        own = [{name: p[seed] for name, p in self.parameters.items()} for seed in seeds]
        return torch.stack([self._call(own[seed], inputs[seed]) for seed in seeds])
