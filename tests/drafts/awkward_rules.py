"""Drafts of rules that strain the interface, each in another place: none is offered to users yet.

Kolen-Pollack learns its feedback. Incremental predictive coding updates weights many times in a batch.
Diehl & Cook's STDP spikes, learns without a loss or an optimizer, normalises its weights after every
update, keeps labels of neurons for inference. (Flat memory is sigprop's, normalised deep convolutions
vgg8b's: they are tested where they live.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.suite.types import (
    Batch,
    Context,
    LearningRule,
    Network,
    State,
    Step,
    Task,
    Tensors,
)


@dataclass(frozen=True)
class KolenPollack(LearningRule):
    """FA whose feedback gets the same outer product and the same decay as the weights (Kolen & Pollack
    1994; Akrout et al. 2019): W - B shrinks by (1 - rate * decay) in every step."""

    name: ClassVar[str] = "kolen-pollack-draft"
    source: ClassVar[str] = "Kolen & Pollack (1994)"
    decay: float = 0.1

    def weight_decay(self) -> float:
        return self.decay

    def init(self, network: Network, context: Context) -> State:
        return State(
            learned={
                block.name: context.noise.normal(*block.weight.shape[1:]) / block.weight.shape[-1] ** 0.5
                for block in network.blocks[1:]
            }
        )

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        for block, trace in reversed(list(zip(network.blocks[1:], traces[1:], strict=True))):
            update, change = block.pullback(trace, change, weight=state.learned[block.name])
            yield block, update
            yield block.name, update["weight"]
        yield network.blocks[0], network.blocks[0].update(traces[0], change)


@dataclass(frozen=True)
class IncrementalPredictiveCoding(LearningRule):
    """Values h relax on F = sum |h_l - f_l(h_{l-1})|^2 / 2 and weights move at every one of the
    relaxation's steps (Salvatori et al. 2024)."""

    name: ClassVar[str] = "ipc-draft"
    source: ClassVar[str] = "Salvatori et al. (2024)"
    relaxations: int = 4
    rate: float = 0.3

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        blocks = network.blocks
        values = [trace.output for trace in network.forward(batch.inputs, context)]
        samples = batch.targets.shape[1]
        for _ in range(self.relaxations):
            below = [batch.inputs, *values[:-1]]
            traces = [b.forward(h, context) for b, h in zip(blocks, below, strict=True)]
            # what is predicted less what is there: the descent direction of F at each prediction
            errors = [trace.output - h for trace, h in zip(traces[:-1], values[:-1], strict=True)]
            errors.append(samples * context.loss.gradient(traces[-1].output, batch.targets))
            pulled = [
                block.pullback(trace, error)
                for block, trace, error in zip(blocks, traces, errors, strict=True)
            ]
            for block, (update, _) in zip(blocks, pulled, strict=True):
                yield block, {name: tensor / samples for name, tensor in update.items()}
            values = [
                h + self.rate * (errors[number] - pulled[number + 1][1])
                for number, h in enumerate(values[:-1])
            ] + [values[-1]]


@dataclass(frozen=True)
class DiehlCook(LearningRule):
    """Spike-timing-dependent plasticity with lateral inhibition and adaptive thresholds (Diehl & Cook
    2015), samples one after the other. Neurons are named after the class that they spike most for."""

    name: ClassVar[str] = "diehl-cook-draft"
    source: ClassVar[str] = "Diehl & Cook (2015)"
    own_step_size: ClassVar[bool] = True
    steps: int = 20
    rate: float = 0.02
    leak: float = 0.8
    growth: float = 0.05  # of a neuron's threshold with each of its spikes
    total: float = 4.0  # sum of a neuron's weights

    def supports(self, network: Network, task: Task) -> str | None:
        flat = len(network.blocks[0].preactivation_shape) == 1
        return None if flat else "its neurons stand in one fully connected layer"

    def init(self, network: Network, context: Context) -> State:
        seeds, units, _ = network.blocks[0].weight.shape
        zeros = network.blocks[0].weight.new_zeros
        return State(carried={"theta": zeros(seeds, units), "votes": zeros(seeds, units, context.classes)})

    def constrain(self, target: str, parameters: Tensors) -> Tensors:
        if "weight" not in parameters:
            return parameters
        weight = parameters["weight"].clamp_min(1e-6)
        return {**parameters, "weight": weight * self.total / weight.sum(-1, keepdim=True)}

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first = network.blocks[0]
        yield first, {"weight": torch.zeros_like(first.weight)}  # constrained from the start
        theta, votes = state.carried["theta"], state.carried["votes"].clone()
        rates = batch.inputs.flatten(2).clamp(0, 1)
        for sample in range(rates.shape[1]):
            draws = context.noise.uniform(self.steps, rates.shape[2])
            weight = first.weight
            update, count = torch.zeros_like(weight), torch.zeros_like(theta)
            for before, spikes in self._run(draws < rates[:, sample : sample + 1], weight, theta):
                update -= self.rate * spikes.unsqueeze(-1) * (before.unsqueeze(1) - 0.3)
                theta = theta + self.growth * spikes
                count = count + spikes
            own = torch.nn.functional.one_hot(batch.targets[:, sample], context.classes)
            votes += count.unsqueeze(-1) * own.unsqueeze(1)
            yield first, {"weight": update}
        return {"theta": theta * 0.99, "votes": votes}

    def _run(self, spikes: Tensor, weight: Tensor, theta: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Per time step: the presynaptic trace [seed, inputs], and who spikes [seed, units]."""
        trace = weight.new_zeros(len(weight), weight.shape[2])
        voltage = torch.zeros_like(theta)
        for now in spikes.to(weight.dtype).unbind(1):
            trace = torch.maximum(self.leak * trace, now)
            voltage = self.leak * voltage + (weight @ now.unsqueeze(-1)).squeeze(-1)
            best = voltage - theta == (voltage - theta).amax(-1, keepdim=True)
            fired = (best & (voltage > 1 + theta)).to(weight.dtype)
            voltage = voltage * (1 - fired.amax(-1, keepdim=True))  # who fires silences all
            yield trace, fired

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        drive = inputs.flatten(2).clamp(0, 1) @ network.blocks[0].weight.mT  # [seed, batch, units]
        winner = (drive - state.carried["theta"].unsqueeze(1)).argmax(-1)
        votes = state.carried["votes"] / state.carried["votes"].sum(1, keepdim=True).clamp_min(1)
        return votes.gather(1, winner.unsqueeze(-1).expand(-1, -1, votes.shape[-1]))
