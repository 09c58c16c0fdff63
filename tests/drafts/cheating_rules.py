"""Rules that test the audit: some say one thing and do another, others are innocent in an unusual way."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step

SOURCE = "nobody: made to be audited"


def random_feedback(network: Network, context: Context) -> dict[str, Tensor]:
    return {
        block.name: context.noise.normal(*block.weight.shape[1:]) / block.weight[0, 0].numel() ** 0.5
        for block in network.blocks[1:]
    }


@dataclass(frozen=True)
class Chain(LearningRule):
    """Feedback alignment with feedback that a subclass chooses."""

    source: ClassVar[str] = SOURCE

    def feedback(self, network: Network, state: State) -> dict[str, Tensor]:
        return dict(state.carried)

    def init(self, network: Network, context: Context) -> State:
        return State(carried=random_feedback(network, context))

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        feedback = self.feedback(network, state)
        traces = network.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        for block, trace in reversed(list(zip(network.blocks, traces, strict=True))):
            weight = feedback.get(block.name)
            if weight is None:
                yield block, block.update(trace, change)
            else:
                update, change = block.pullback(trace, change, weight=weight)
                yield block, update
        return self.kept(network, feedback)

    def kept(self, network: Network, feedback: dict[str, Tensor]) -> dict[str, Tensor] | None:
        return None


@dataclass(frozen=True)
class SecretTranspose(Chain):
    """Adds a little of the weights, rewritten so that nobody sees a transpose, to random feedback."""

    name: ClassVar[str] = "secret-transpose"

    def feedback(self, network: Network, state: State) -> dict[str, Tensor]:
        return {
            block.name: state.carried[block.name]
            + 1e-3 * torch.einsum("soi->sio", block.weight).contiguous().mT
            for block in network.blocks[1:]
        }


@dataclass(frozen=True)
class CopyKeeper(Chain):
    """Random feedback in the first step, and in each later one the weights as they were before."""

    name: ClassVar[str] = "copy-keeper"

    def kept(self, network: Network, feedback: dict[str, Tensor]) -> dict[str, Tensor]:
        return {block.name: block.weight.clone() for block in network.blocks[1:]}


@dataclass(frozen=True)
class FirstWeights(Chain):
    """Fixed feedback that is no random draw but the weights at the start."""

    name: ClassVar[str] = "first-weights"

    def init(self, network: Network, context: Context) -> State:
        return State(carried={block.name: block.weight.clone() for block in network.blocks[1:]})


@dataclass(frozen=True)
class SignReader(Chain):
    """Sign symmetry: the signs of the weights with a size of their own."""

    name: ClassVar[str] = "sign-reader"

    def feedback(self, network: Network, state: State) -> dict[str, Tensor]:
        return {
            block.name: state.carried[block.name].abs() * block.weight.sign() for block in network.blocks[1:]
        }


@dataclass(frozen=True)
class HiddenAutograd(LearningRule):
    """Says that every block has a loss of its own; differentiates two at a time."""

    name: ClassVar[str] = "hidden-autograd"
    source: ClassVar[str] = SOURCE
    together: ClassVar[bool] = False

    def init(self, network: Network, context: Context) -> State:
        heads = {
            block.name: context.noise.normal(block.output_size, context.classes) / block.output_size**0.5
            for block in network.blocks[:-1]
        }
        return State(carried=heads)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, hidden = batch.inputs, network.blocks[:-1]
        for start in range(0, len(hidden), 2):
            pair = hidden[start : start + 2]
            leaves = [{k: p.detach().requires_grad_() for k, p in b.parameters.items()} for b in pair]
            with torch.enable_grad():
                h = h.detach()
                for block, own in zip(pair, leaves, strict=True):
                    h = block.bind(own).forward(h, context).output
                scores = h.flatten(2) @ state.carried[pair[-1].name]
                loss = context.loss.value(scores, batch.targets).sum()
            gradients = iter(torch.autograd.grad(loss, [p for own in leaves for p in own.values()]))
            for block, own in zip(pair, leaves, strict=True):
                yield block, {name: next(gradients) for name in own}
        last = network.blocks[-1]
        trace = last.forward(h.detach(), context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))


@dataclass(frozen=True)
class ForwardGradient(LearningRule):
    """The loss's slope along a random direction, by forward-mode differentiation, times that direction:
    tangents meet the weights as activities do, and nothing goes back."""

    name: ClassVar[str] = "forward-gradient-draft"
    source: ClassVar[str] = "Baydin et al. (2022), arXiv:2202.08587"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        own = [dict(block.parameters) for block in network.blocks]
        along = [{name: context.noise.normal(*p.shape[1:]) for name, p in ps.items()} for ps in own]

        def loss(parameters: list[dict[str, Tensor]]) -> Tensor:
            return context.loss.value(network.bind(parameters)(batch.inputs, context), batch.targets)

        slope: Tensor = torch.func.jvp(loss, (own,), (along,))[1]  # [seed]
        for block, directions in zip(network.blocks, along, strict=True):
            yield block, {n: slope.view(-1, *(1,) * (v.dim() - 1)) * v for n, v in directions.items()}


@dataclass(frozen=True)
class NodePerturbation(LearningRule):
    """Noise ξ of size σ at every unit, and the change of the loss that it makes: ΔW = (C' - C) / σ² ξ hᵀ."""

    name: ClassVar[str] = "node-perturbation-draft"
    source: ClassVar[str] = "Werfel, Xie & Seung (2005). Neural Computation 17, 2699-2718"
    sigma: float = 1e-3

    def run(self, network: Network, x: Tensor, noise: list[Tensor] | None) -> tuple[list[Tensor], Tensor]:
        """The inputs of all blocks, and the output."""
        inputs = []
        for number, block in enumerate(network.blocks):
            inputs.append(x)
            a = block.preactivate(x)
            x = block.activate(a if noise is None else a + noise[number]).output
        return inputs, x

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        samples = batch.targets.shape[1]
        noise = [
            self.sigma * context.noise.normal(samples, *block.preactivation_shape) for block in network.blocks
        ]
        inputs, before = self.run(network, batch.inputs, None)
        _, after = self.run(network, batch.inputs, noise)
        wanted = context.loss.wanted(before, batch.targets)
        cost = [-(wanted * torch.log_softmax(output, -1)).sum(-1) for output in (before, after)]
        reward = (cost[1] - cost[0]) / self.sigma**2 / samples  # [seed, batch]
        for block, h, xi in zip(network.blocks, inputs, noise, strict=True):
            yield block, block.synaptic_update(h, reward.view(*reward.shape, *(1,) * (xi.dim() - 2)) * xi)


@dataclass(frozen=True)
class BinaryWeights(Chain):
    """Feedback alignment for a network that is used through the signs of its weights."""

    name: ClassVar[str] = "binary-weights"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        signs = [{**b.parameters, "weight": b.weight.sign() / b.weight.shape[-1]} for b in network.blocks]
        bound = network.bind(signs)
        traces = bound.forward(batch.inputs, context)
        change = context.loss.gradient(traces[-1].output, batch.targets)
        for number in reversed(range(len(network.blocks))):
            block, trace = bound.blocks[number], traces[number]
            weight = state.carried.get(block.name)
            if weight is None:
                yield network.blocks[number], block.update(trace, change)
            else:
                update, change = block.pullback(trace, change, weight=weight)
                yield network.blocks[number], update


@dataclass(frozen=True)
class Oja(LearningRule):
    """ΔW_ij = -y_i (x_j - y_i W_ij): pre, post and the synapse itself (Oja 1982)."""

    name: ClassVar[str] = "oja-draft"
    source: ClassVar[str] = "Oja (1982). J. Math. Biology 15, 267-273"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        x = batch.inputs
        for block in network.blocks[:-1]:
            y = block.forward(x, context).output
            change = y.mT @ x.flatten(2) - y.square().sum(1).unsqueeze(-1) * block.weight
            yield block, {"weight": -change / x.shape[1]}
            x = y
        last = network.blocks[-1]
        trace = last.forward(x, context)
        yield last, last.update(trace, context.loss.gradient(trace.output, batch.targets))


@dataclass(frozen=True)
class Settling(LearningRule):
    """States that settle between W_l from below and a matrix from above, in inference and twice in learning:
    freely and with the output drawn to the target; ΔW is the difference of products (a Hopfield network,
    as in equilibrium propagation). With own feedback, the matrix from above is random and fixed."""

    name: ClassVar[str] = "settling-draft"
    source: ClassVar[str] = "after Scellier & Bengio (2017). Frontiers in Comput. Neuroscience 11, 24"
    iterations: int = 6
    nudge: float = 0.2
    own_feedback: bool = False

    def init(self, network: Network, context: Context) -> State:
        return State(carried=random_feedback(network, context) if self.own_feedback else {})

    def settle(self, network: Network, x: Tensor, state: State, wanted: Tensor | None) -> list[Tensor]:
        """The units' states [seed, batch, units], bottom to top."""
        blocks = network.blocks
        s = [x.new_zeros(*x.shape[:2], *b.preactivation_shape) for b in blocks]
        for _ in range(self.iterations):
            new = []
            for number, block in enumerate(blocks):
                total = block.preactivate(torch.tanh(s[number - 1]) if number else x)
                if number + 1 < len(blocks):
                    above = blocks[number + 1]
                    total = total + torch.tanh(s[number + 1]) @ state.carried.get(above.name, above.weight)
                elif wanted is not None:
                    total = total + self.nudge * (wanted - s[number])
                new.append(s[number] + 0.5 * (total - s[number]))
            s = new
        return s

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        return self.settle(network, inputs, state, None)[-1]

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        free = self.settle(network, batch.inputs, state, None)
        nudged = self.settle(network, batch.inputs, state, context.loss.wanted(free[-1], batch.targets))
        products: list[list[Tensor]] = []
        for s in (free, nudged):
            below = [batch.inputs.flatten(2), *(torch.tanh(each) for each in s[:-1])]
            above = [torch.tanh(each) for each in s]
            products.append([a.mT @ b for a, b in zip(above, below, strict=True)])
        for block, before, after in zip(network.blocks, *products, strict=True):
            yield block, {"weight": (before - after) / self.nudge / batch.inputs.shape[1]}


@dataclass(frozen=True)
class SolvedControl(LearningRule):
    """The hidden change that would bring the output to its target at once, by a least-squares solve through
    the weights above (the analytic steady state of a controlled network, after Meulemans et al. 2021)."""

    name: ClassVar[str] = "solved-control"
    source: ClassVar[str] = "after Meulemans et al. (2021), NeurIPS. arXiv:2106.07887"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces = network.forward(batch.inputs, context)
        error = context.loss.gradient(traces[-1].output, batch.targets)
        last = network.blocks[-1]
        w = last.weight  # [seed, classes, units]
        gram = w @ w.mT + 0.1 * torch.eye(w.shape[-2], dtype=w.dtype)
        change = torch.linalg.solve(gram, error.mT).mT @ w
        yield last, last.update(traces[-1], error)
        yield network.blocks[-2], network.blocks[-2].update(traces[-2], change)
