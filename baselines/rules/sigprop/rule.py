"""Signal propagation: the label enters beside the input and travels forward through the same weights."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from creditbench.baselines.rules.sigprop.glyphs import numbers
from creditbench.baselines.rules.sigprop.losses import LOSSES, SIMILARITIES, Terms
from creditbench.baselines.rules.sigprop.predictions import COMPARISONS, READINGS
from creditbench.baselines.rules.sigprop.refusals import refusals
from creditbench.baselines.rules.sigprop.schedules import SCHEDULES, Between
from creditbench.baselines.rules.sigprop.targets import TARGETS, Stage, Streams, arrival, class_targets
from creditbench.baselines.rules.sigprop.updates import UPDATES
from creditbench.suite.errors import CreditbenchError, unknown_name
from creditbench.suite.types import Batch, Block, Context, LearningRule, Network, State, Step, Task, Update

CHOICES = {
    "loss": LOSSES,
    "similarity": SIMILARITIES,
    "targets": TARGETS,
    "update": UPDATES,
    "schedule": SCHEDULES,
    "prediction": (*READINGS, *COMPARISONS),
}


@dataclass(frozen=True)
class SignalPropagation(LearningRule):
    """Learning by a forward pass alone (Kohan, Rietman & Siegelmann 2022):

        h_1 = f(W_1 x + b_1)              t_1 = f(S c)
        h_l = f(W_l h_{l-1} + b_l)        t_l = f(W_l t_{l-1} + b_l)        l = 2, 3, ...
        ΔW_l = -∂L(h_l, t_l)/∂W_l         or, Hebbian,   ΔW_l = (t_l - h_l) t_{l-1}ᵀ

    Both streams meet the same weights; each hidden block has a local loss L and is detached from the next,
    so that none waits for a block above it. c is the class, S the target generator. Where targets depend on
    the class alone, t_l is [seed, classes, units], one row per class; h_l is [seed, batch, units].

    The fields name entries of tables, a file each: `targets` says where the second stream comes from, `loss`
    and `similarity` what L is, `update` how it moves weights, `schedule` when, and `prediction` what
    inference is: an output layer trained on h_N, or h_N against the classes' own t_N. It needs no label.
    """

    name: ClassVar[str] = "sigprop"
    source: ClassVar[str] = "Kohan, Rietman & Siegelmann (2022), IEEE TNNLS. arXiv:2204.01723"
    search: ClassVar = {"activation": ("relu", "tanh"), "similarity": ("dot", "cosine")}

    loss: Literal["top-k", "max-all", "max-rand", "input-label", "l2", "cosine"] = "top-k"
    k: int = 1  # positives of top-k
    similarity: Literal["dot", "cosine", "distance"] = "dot"
    temperature: float = 0.1  # of the cosine
    targets: Literal["context-input", "context", "drawn", "target-input", "joint", "target-loop"] = (
        "context-input"
    )
    learn_generator: bool = True  # by the local loss's gradient
    update: Literal["gradient", "hebbian"] = "gradient"
    schedule: Literal["at-once", "in-parallel"] = "at-once"
    prediction: Literal["output", "neutral", "classes", "subset"] = "output"

    def __post_init__(self) -> None:
        for field, known in CHOICES.items():
            if getattr(self, field) not in known:
                raise unknown_name(f"sigprop {field}", getattr(self, field), known)
        if self.k < 1 or self.temperature <= 0:
            raise CreditbenchError(
                f"sigprop counts k={self.k} positives at temperature={self.temperature}; give k of at least 1"
                " and a temperature above 0."
            )

    def supports(self, network: Network, task: Task) -> str | None:
        return refusals(self, network, task)

    def init(self, network: Network, context: Context) -> State:
        generator, (first, *_) = TARGETS[self.targets], network.blocks
        between = {}
        if self.schedule == "in-parallel":
            between = Between(generator.rows, context.classes).empty(network.blocks[:-1])
        if generator.drawn:
            pictures = numbers(first.input_shape, context.classes).to(first.weight)
            return State(
                carried=between | {"generator": pictures.repeat(network.seeds, *[1] * pictures.dim())}
            )
        noise = context.noise.uniform(context.classes, *generator.shape(first))
        source = {"generator": context.classes**-0.5 * (2 * noise - 1)}
        return State(source, between) if self._learns else State(carried=between | source)

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        *hidden, last = network.blocks
        generator, error = TARGETS[self.targets], None
        if generator.code == "error":
            y = network(batch.inputs, context)
            error = context.loss.gradient(y, batch.targets) * batch.targets.shape[1]
        stage = arrival(generator, batch.inputs, batch.targets, self._source(state), self._learns, error)
        learn, between = partial(self.learn, context=context), Between(generator.rows, context.classes)
        top, carried = yield from SCHEDULES[self.schedule](hidden, stage, learn, between, state.carried)
        if top is not None and self.prediction in READINGS:
            trace = last.forward(self._read(network, top.inputs, state), context)
            yield last, last.update(trace, context.loss.gradient(trace.output, top.rows.labels))
        return carried

    def learn(self, block: Block, below: Stage, context: Context) -> Generator[Update, None, Streams]:
        """Both streams pass through a block, which learns from what becomes of them."""
        trace, above = below.through(block, context)
        similarity = SIMILARITIES[self.similarity]
        terms = Terms(below.rows, below.incoming, similarity, self.temperature, self.k, context.noise)
        yield from UPDATES[self.update](block, below, trace, above, LOSSES[self.loss], terms)
        return above

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        h = inputs
        for block in network.blocks[:-1]:
            h = block.forward(h).output
        if self.prediction in READINGS:
            return network.blocks[-1].forward(self._read(network, h, state)).output
        t = class_targets(TARGETS[self.targets], network, self._source(state))
        return COMPARISONS[self.prediction](h.flatten(2), t, self._compare)

    @property
    def _learns(self) -> bool:
        """The Hebbian form has no term for the generator, which then stays as it was drawn."""
        return self.learn_generator and self.update == "gradient" and not TARGETS[self.targets].drawn

    def _source(self, state: State) -> Tensor:
        return (state.learned if self._learns else state.carried)["generator"]

    def _compare(self, h: Tensor, t: Tensor) -> Tensor:
        return SIMILARITIES[self.similarity](h, t, self.temperature)[0].mT

    def _read(self, network: Network, h: Tensor, state: State) -> Tensor:
        """What the output layer reads; the neutral target is that of c = (1/C, ..., 1/C)."""

        def neutral() -> Tensor:
            mean = self._source(state).mean(1, keepdim=True)
            return class_targets(TARGETS[self.targets], network, mean)

        return READINGS[self.prediction](h, neutral)
