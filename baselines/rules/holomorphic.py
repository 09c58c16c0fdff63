"""Holomorphic equilibrium propagation: nudges around a circle in the complex plane."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.baselines.rules.energy import handed_down
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task, Trace


def sigmoid(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
    """σ(4z - 2) for z = re + i im: near the hard limits 0 and 1 on the real line, and holomorphic."""
    size = (2 - 4 * re).exp()
    a, b = 1 + size * (4 * im).cos(), -size * (4 * im).sin()  # 1 + exp(2 - 4z)
    norm = a * a + b * b
    return a / norm, -b / norm


@dataclass(frozen=True)
class HolomorphicEquilibriumPropagation(LearningRule):
    """Equilibrium propagation with finite nudges: what settles is holomorphic in them, so a mean is exact:

        β_k = r exp(2πik/N)        ΔW = Re (1/Nr) Σ_k exp(-2πik/N) ∂E/∂W(s^{β_k})

    Laborieux & Zenke (2022). E, f_l and Jᵀ as in `energy`, with units s = σ(4u - 2) in place of hard limits
    and C = ½‖s_L - t‖². The bias falls as r^N; N = 2 is centred equilibrium propagation. Half of the
    nudges (what the others settle at is conjugate) settle side by side: values are
    [seed, 2 (N//2 + 1) batch, *output_shape], real parts first, then imaginary ones.
    """

    name: ClassVar[str] = "holomorphic-ep"
    source: ClassVar[str] = "Laborieux & Zenke (2022), NeurIPS. arXiv:2209.00530"
    network_choices: ClassVar = {"activation": "identity", "pooling": "mean"}
    search: ClassVar = {"radius": (0.2, 0.4, 0.8)}

    free_steps: int = 15
    nudged_steps: int = 8
    radius: float = 0.4  # r
    nudges: int = 4  # N

    def __post_init__(self) -> None:
        if self.nudges < 2 or not 0 < self.radius < 1:
            raise CreditbenchError("nudges is at least 2, and radius lies between 0 and 1.")

    def supports(self, network: Network, task: Task) -> str | None:
        if len(network.blocks) < 2:
            return "holomorphic-ep needs a hidden block to settle."
        for block in network.blocks[:-1]:
            one = block.bind({name: tensor[:1] for name, tensor in block.parameters.items()})
            ramp = torch.linspace(-1, 1, math.prod(one.preactivation_shape), device=one.weight.device)
            probe = ramp.view(1, 1, *one.preactivation_shape).to(one.weight.dtype)
            up, down = one.activate(probe).output, one.activate(-probe).output
            if one.output_shape == one.preactivation_shape and not torch.equal(up, probe):
                return "holomorphic-ep has units of its own: use activation=identity, no normalisation."
            if not torch.allclose(up, -down, atol=1e-6):
                return "holomorphic-ep needs linear blocks: use activation=identity and pooling=mean."
        return None

    def settled(self, network: Network, inputs: Tensor) -> tuple[Tensor, list[Tensor]]:
        """f_1(x), and the values of the free network, which are real."""
        first = network.blocks[0].forward(inputs).output
        values, traces, below = list[Tensor](), list[Trace](), first
        for block in network.blocks[1:]:
            values.append(torch.sigmoid(4 * below - 2))
            traces.append(block.forward(values[-1]))
            below = traces[-1].output
        values.append(below)
        for _ in range(self.free_steps):
            below = first
            for place, above in enumerate(network.blocks[1:]):
                come = handed_down(above, traces[place], values[place + 1])
                values[place] = torch.sigmoid(4 * (below + come) - 2)
                traces[place] = above.forward(values[place])
                below = traces[place].output
            values[-1] = below
        return first, values

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        return self.settled(network, inputs)[1][-1]

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        first, free = self.settled(network, batch.inputs)
        samples, blocks = batch.targets.shape[1], network.blocks
        half = self.nudges // 2 + 1
        step = torch.arange(half, device=first.device).repeat_interleave(samples).unsqueeze(1)
        turn = (2 * math.pi / self.nudges * step).to(first.dtype)  # [half batch, 1]
        share = torch.where(2 * step % self.nudges == 0, 1, 2) / (self.nudges * samples)

        def around(real: Tensor) -> Tensor:
            """A real tensor at every nudge, with imaginary part 0."""
            there = torch.cat([real] * half, 1)
            return torch.cat([there, torch.zeros_like(there)], 1)

        below_first, target = around(first), around(context.loss.wanted(free[-1], batch.targets))
        values = [around(value) for value in free]
        beta = self.radius * turn.cos(), self.radius * turn.sin()
        traces = [above.forward(value) for above, value in zip(blocks[1:], values[:-1], strict=True)]
        offsets = [above.forward(torch.zeros_like(v[:, :1])).output
                   for above, v in zip(blocks[1:], values[:-1], strict=True)]  # fmt: skip
        for _ in range(self.nudged_steps):
            below = below_first
            for place, above in enumerate(blocks[1:]):
                total = below + handed_down(above, traces[place], values[place + 1])
                values[place] = torch.cat(sigmoid(*total.chunk(2, 1)), 1)
                traces[place] = above.forward(values[place])
                real, imaginary = traces[place].output.chunk(2, 1)
                below = torch.cat([real, imaginary - offsets[place]], 1)  # the bias is real
            (re, im), (t, _) = below.chunk(2, 1), target.chunk(2, 1)
            # s_L = (u + β t) / (1 + β)
            top, bottom = (re + beta[0] * t, im + beta[1] * t), (1 + beta[0], beta[1])
            norm = bottom[0].square() + bottom[1].square()
            values[-1] = torch.cat([
                (top[0] * bottom[0] + top[1] * bottom[1]) / norm,
                (top[1] * bottom[0] - top[0] * bottom[1]) / norm,
            ], 1)  # fmt: skip
        below = around(batch.inputs)
        for block, value in zip(blocks, values, strict=True):
            yield block, self._contrast(block, below, value, turn, share)
            below = value

    def _contrast(
        self, block: Block, below: Tensor, value: Tensor, turn: Tensor, share: Tensor
    ) -> dict[str, Tensor]:
        """-Re Σ c s_l ⊗ s_{l-1}, c = exp(-2πik/N) / (N r batch); the bias sees Re c s_l alone."""
        shape = (-1, *(1,) * (value.dim() - 2))
        (re, im), cos, sin = value.chunk(2, 1), turn.cos().view(shape), turn.sin().view(shape)
        scale = -share.view(shape).to(value.dtype) / self.radius
        turned = scale * (re * cos + im * sin), scale * (im * cos - re * sin)
        real, imaginary = below.chunk(2, 1)
        update = block.update(block.forward(real), turned[0])
        other = block.update(block.forward(imaginary), -turned[1])
        return update | {"weight": update["weight"] + other["weight"]}
