"""Predictive forward-forward: a recurrent circuit told right from wrong, and one that generates its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot, pad

from creditbench.baselines.networks.blocks import WeightedBlock
from creditbench.baselines.networks.stages import Activation
from creditbench.baselines.rules.forward_forward import wrong_labels
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Update


@dataclass(frozen=True)
class PredictiveForwardForward(LearningRule):
    """Two intertwined circuits that run, and learn, for K steps on every batch (Ororbia & Mali 2023):

        a_l = W_l N(z'_{l-1}) + b_l + V_l N(z'_{l+1}) - E_l z'_l + ε        z_0 = x, and for the last l
        z_l = (1 - α) relu(a_l) + α z'_l                                    V_l · 5y, the label
        L_l = BCE(σ(θ - |z_l|²), 1 for the right label, 0 for a wrong one)
        ẑ_{l-1} = g(G_l N(relu(z_l + ε)))        M_l = |ẑ_{l-1} - z_{l-1}|²        g: relu; identity for x

    z' is the step before, [seed, 2 batch, units], right labels first; N gives unit length. Energy |z|² is
    low for what is right (Hinton's goodness with its sign turned). V_l is [seed, units, units above],
    for the last l [seed, units, classes]. E_l is competition in groups of neighbours: relu(lateral) between
    units of a group, -relu(lateral) from a unit to itself, kept as [seed, groups, group, group]. W, b, V and
    the lateral weights descend L_l, G_l descends M_l, and relu's derivative is taken for 1. The topmost
    latent state u (20 units) is moved along its own error, u ← u - β ∂M/∂u, and starts from noise, where
    the authors' zeros have no direction. The output layer learns from the task's loss on N(z'_L) of right
    labels. Updates are cut off at ±1 and all weights move in every step, so K steps are K updates.

    A label's score is -Σ_l |z_l|² / L over the middle of K steps. Nothing but right and wrong labels and
    the layer above, one step late, reaches a layer.
    """

    name: ClassVar[str] = "pff"
    source: ClassVar[str] = "Ororbia & Mali (2023). arXiv:2301.01452"
    learning_rates: ClassVar[tuple[float, float]] = (1e-4, 5e-3)  # each batch moves the weights K times

    steps: int = 12  # K
    threshold: float = 10.0  # θ
    leak: float = 0.3  # α
    group: int = 10
    label_scale: float = 5.0
    noise: float = 0.01  # ε of the representation circuit
    generator_noise: float = 0.025
    latents: int = 20
    latent_rate: float = 0.025  # β

    def supports(self, network: Network, task: Task) -> str | None:
        hidden = network.blocks[:-1]
        if not hidden:
            return "its circuit is of hidden layers and this network has none"
        for block in hidden:
            plain = isinstance(block, WeightedBlock) and block.stages == (Activation("relu"),)
            if not plain or len(block.preactivation_shape) > 1:
                return "its layers are fully connected and rectified, without normalisation or dropout"
        return None

    def init(self, network: Network, context: Context) -> State:
        uniform, learned = context.noise.uniform, {}
        hidden = network.blocks[:-1]
        for number, block in enumerate(hidden):
            units, groups = block.output_size, -(-block.output_size // self.group)
            above = context.classes if number == len(hidden) - 1 else hidden[number + 1].output_size
            learned[f"{block.name}.feedback"] = (3 / units) ** 0.5 * (2 * uniform(units, above) - 1)
            learned[f"{block.name}.lateral"] = 0.05 * uniform(groups, self.group, self.group)
            learned[f"{block.name}.generator"] = 0.05 * uniform(block.weight[0, 0].numel(), units)
        learned["generator"] = 0.05 * uniform(hidden[-1].output_size, self.latents)
        return State(learned)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        samples, normal = batch.targets.shape[1], context.noise.normal
        both = torch.cat([batch.targets, wrong_labels(batch.targets, context)], 1)
        label = self.label_scale * one_hot(both, context.classes).to(batch.inputs.dtype)
        right = (torch.arange(2 * samples, device=both.device) < samples).to(label.dtype)
        z = [torch.cat([h, h], 1) for h in start(network, batch.inputs)]
        u = self.generator_noise * normal(2 * samples, self.latents).to(label.dtype)
        for _ in range(self.steps):
            before, seen = z, hidden[0].preactivate(unit(batch.inputs))
            noise = [self.noise * normal(2 * samples, block.output_size) for block in hidden]
            z = self.settled(network, state, torch.cat([seen, seen], 1), label, before, noise)
            updates = self._representation(network, state, batch, label, right, before, z)
            top = last.forward(unit(before[-1][:, :samples]), context)
            error = context.loss.gradient(top.output, batch.targets)
            yield from updates
            yield last, cut(last.update(top, error))
            noise = [self.generator_noise * normal(2 * samples, block.output_size) for block in hidden]
            updates, u = self._generation(network, state, batch.inputs, z, u, noise)
            yield from updates

    def settled(
        self,
        network: Network,
        state: State,
        seen: Tensor,
        label: Tensor,
        before: list[Tensor],
        noise: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """The circuit one step on: z of every hidden block from all z of the step before. `seen` is
        W_1 N(x) + b_1."""
        hidden, z = network.blocks[:-1], []
        for number, block in enumerate(hidden):
            a = block.preactivate(unit(before[number - 1])) if number else seen
            above = label if number == len(hidden) - 1 else unit(before[number + 1])
            a = a + above @ state.learned[f"{block.name}.feedback"].mT
            a = a - compete(before[number], state.learned[f"{block.name}.lateral"])
            a = a if noise is None else a + noise[number]
            z.append((1 - self.leak) * block.activate(a).output + self.leak * before[number])
        return z

    def _representation(
        self,
        network: Network,
        state: State,
        batch: Batch,
        label: Tensor,
        right: Tensor,
        before: list[Tensor],
        z: list[Tensor],
    ) -> list[Update]:
        """Descent of every L_l."""
        hidden, updates = network.blocks[:-1], list[Update]()
        samples = batch.targets.shape[1]
        for number, block in enumerate(hidden):
            energy = z[number].square().sum(-1)
            slope = (1 - self.leak) / samples * (right - torch.sigmoid(self.threshold - energy))
            delta = z[number] * slope.unsqueeze(-1)
            if number:
                own = block.synaptic_update(unit(before[number - 1]), delta)
            else:  # both halves see the same image
                own = block.synaptic_update(unit(batch.inputs), delta[:, :samples] + delta[:, samples:])
            above = label if number == len(hidden) - 1 else unit(before[number + 1])
            lateral = state.learned[f"{block.name}.lateral"]
            against = rivals(before[number], lateral).mT @ rivals(delta, lateral)  # [seed, groups, g, g]
            updates += [
                (block, cut(own)),
                (f"{block.name}.feedback", (delta.mT @ above).clamp(-1, 1)),
                (f"{block.name}.lateral", (-against * signs(lateral) * (lateral > 0)).clamp(-1, 1)),
            ]
        return updates

    def _generation(
        self, network: Network, state: State, inputs: Tensor, z: list[Tensor], u: Tensor, noise: list[Tensor]
    ) -> tuple[list[Update], Tensor]:
        """Descent of every M_l, and the topmost latent state moved along its own."""
        updates = list[Update]()
        x = inputs.flatten(2)
        for number, block in enumerate(network.blocks[:-1]):
            cause = unit(torch.relu(z[number] + noise[number]))
            guess = cause @ state.learned[f"{block.name}.generator"].mT
            off = torch.relu(guess) - z[number - 1] if number else guess - torch.cat([x, x], 1)
            update = 2 / z[0].shape[1] * (off.mT @ cause)
            updates.append((f"{block.name}.generator", update.clamp(-1, 1)))
        weight, cause = state.learned["generator"], unit(torch.relu(u))
        off = torch.relu(cause @ weight.mT) - z[-1]
        updates.append(("generator", (2 / z[0].shape[1] * (off.mT @ cause)).clamp(-1, 1)))
        pull = 2 * off @ weight
        pull = pull - cause * (cause * pull).sum(-1, keepdim=True)  # back through N
        pull = pull / torch.relu(u).norm(dim=-1, keepdim=True).clamp_min(1e-8)
        return updates, u - self.latent_rate * pull

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        classes = network.blocks[-1].output_size
        every = torch.eye(classes, dtype=inputs.dtype, device=inputs.device) * self.label_scale
        label = every.repeat(len(inputs), inputs.shape[1], 1)  # every label of a sample in a row
        z = [h.repeat_interleave(classes, 1) for h in start(network, inputs)]
        seen = network.blocks[0].preactivate(unit(inputs)).repeat_interleave(classes, 1)
        energy = inputs.new_zeros(label.shape[:2])
        for number in range(self.steps // 2 + 1):
            z = self.settled(network, state, seen, label, z)
            if number >= self.steps // 2 - 1:
                energy = energy + torch.stack([h.square().sum(-1) for h in z]).sum(0)
        return -energy.view(*inputs.shape[:2], classes) / (2 * len(z))


def start(network: Network, inputs: Tensor) -> list[Tensor]:
    """z of every hidden block by a forward pass without labels."""
    z = [inputs]
    for block in network.blocks[:-1]:
        z.append(block.forward(unit(z[-1])).output)
    return z[1:]


def unit(h: Tensor) -> Tensor:
    """N: each sample at length one, in its shape flattened."""
    return normalize(h.flatten(2), dim=-1)


def signs(lateral: Tensor) -> Tensor:
    """Rivals are held down and a unit holds itself up: [group, group]."""
    return 1 - 2 * torch.eye(lateral.shape[-1], dtype=lateral.dtype, device=lateral.device)


def rivals(h: Tensor, lateral: Tensor) -> Tensor:
    """Units in their groups, the last filled up with zeros: [seed, groups, batch, group]."""
    groups, size = lateral.shape[1:3]
    full = pad(h, (0, groups * size - h.shape[2]))
    return full.view(*h.shape[:2], groups, size).transpose(1, 2)


def compete(h: Tensor, lateral: Tensor) -> Tensor:
    """E h: what each unit gets from its group: [seed, batch, units]."""
    against = rivals(h, lateral) @ (torch.relu(lateral) * signs(lateral))
    return against.transpose(1, 2).flatten(2)[..., : h.shape[2]]


def cut(update: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clamp(-1, 1) for name, tensor in update.items()}
