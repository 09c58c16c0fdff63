"""Dual propagation: every unit has two states, whose mean goes up and whose difference comes down."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditbench.baselines.rules.energy import handed_down
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step, Task, Trace


@dataclass(frozen=True)
class DualPropagation(LearningRule):
    """A block's two states see what the difference of the states above hands down, with opposite signs:

        z_l^± = ρ(f_l(z̄_{l-1}) ± ½ Jᵀ_{l+1}(z⁺_{l+1} - z⁻_{l+1}))        z̄ = ½ (z⁺ + z⁻)
        output  z⁺ - z⁻ = -β ∂C/∂z̄_L        ΔW_l = -(1/β) (z_l⁺ - z_l⁻) ⊗ z̄_{l-1}

    Høier, Staudt & Zach (2023), with one sweep up and one down per pass. f_l is block l without its
    nonlinearity (weights, and pooling if it has any), ρ = max(·, 0) the rule's own, whose derivative is never
    taken. As β falls the update becomes backpropagation's.
    """

    name: ClassVar[str] = "dual-propagation"
    source: ClassVar[str] = "Høier, Staudt & Zach (2023), ICML. arXiv:2302.01228"
    network_choices: ClassVar = {"activation": "identity"}
    search: ClassVar = {"beta": (0.1, 0.5, 1.0), "passes": (1, 2)}

    beta: float = 0.5
    passes: int = 1

    def supports(self, network: Network, task: Task) -> str | None:
        for block in network.blocks[:-1]:
            one = block.bind({name: tensor[:1] for name, tensor in block.parameters.items()})
            output = one.activate(one.weight.new_full((1, 1, *one.preactivation_shape), -1.0)).output
            if not (output == -1).all():
                return "dual-propagation has its own nonlinearity: use activation=identity, no normalisation."
        return None

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        for block in network.blocks[:-1]:
            inputs = block.forward(inputs).output.relu()
        return network.blocks[-1].forward(inputs).output

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        blocks, samples = network.blocks, batch.targets.shape[1]
        down: list[Tensor | float] = [0.0] * (len(blocks) - 1)  # what comes to each hidden block from above
        for _ in range(self.passes):
            traces: list[Trace] = []
            below = batch.inputs
            for block, come in zip(blocks, [*down, 0.0], strict=True):
                traces.append(block.forward(below, context))
                drive = traces[-1].output
                below = (drive + 0.5 * come).relu().add((drive - 0.5 * come).relu()) / 2
            difference = -self.beta * samples * context.loss.gradient(traces[-1].output, batch.targets)
            differences = [difference]
            for place in reversed(range(len(down))):
                come = down[place] = handed_down(blocks[place + 1], traces[place + 1], difference)
                drive = traces[place].output
                difference = (drive + 0.5 * come).relu() - (drive - 0.5 * come).relu()
                differences.insert(0, difference)
        for block, trace, difference in zip(blocks, traces, differences, strict=True):
            yield block, block.update(trace, -difference / (self.beta * samples))
