"""The contract: what a task, a network, a learning rule and a step of learning are.

Everything of ours imports this file and it imports nothing of ours but the error type, the phases and the
seal.

**The seed axis.** Every tensor that belongs to a network in training has a leading seed axis:
activities [seed, batch, features], weights [seed, out, in], images [seed, batch, channels, height,
width], losses [seed]. Training one network means an axis of length 1. Code that counts dimensions
from the right trains all seeds in one pass without knowing it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.phases import in_phase
from creditbench.suite.seal import refuse_if_sealed

Shape = tuple[int, ...]
Tensors = Mapping[str, Tensor]


# ----------------------------------------------------------------------------- tasks


@dataclass(frozen=True)
class Split:
    """Samples as they are stored: compact, on the device, never normalised in advance."""

    inputs: Tensor  # [samples, *input_shape], usually uint8; series as `suite.series` packs them, float32
    targets: (
        Tensor  # [samples] or [samples, steps], int64 class numbers, -1 for none; or [..., outputs], float
    )

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> Split:
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Splits:
    """Training data learns, validation data chooses, test data is only ever scored."""

    train: Split
    validation: Split
    test: Split

    def __getattribute__(self, name: str) -> Any:
        if name == "test":
            refuse_if_sealed()
        return super().__getattribute__(name)

    def to(self, device: torch.device) -> Splits:
        return Splits(self.train.to(device), self.validation.to(device), self.test.to(device))


class Loss(Protocol):
    """A loss with the derivative at the output, which is where every rule starts."""

    name: str

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over what has a target. outputs [seed, batch, classes] or [seed, batch, steps, classes],
        targets without the last axis for classes, alike for numbers -> [seed]."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Of each sample, as a critic that knows nothing else would say it (the mean over its steps that
        have a target, 0 where none has): [seed, batch]."""

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Derivative of that mean by the outputs, of their shape."""

    def wanted(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The output that the targets ask for (one-hot for classes), of the outputs' shape; where there is
        no target, zeros for classes and the output itself for numbers."""


@dataclass(frozen=True)
class Task:
    """What is learned: data, loss and metric, and how the data is to be credited.

    `read` returns the splits as stored, on the CPU. The input of a network is
    `(stored - offset) / scale`, per channel, computed batch by batch. A series is packed as `suite.series`
    says, and its channels are the last axis: the time, then the features.
    """

    name: str
    version: int
    kind: Literal["image", "events", "series"]
    # [channels, height, width] or [features]; events [time, polarities, height, width]; series [steps, 1 +
    # features]
    input_shape: Shape
    classes: int  # or numbers to be told, where the loss is "mse"
    read: Callable[[], Splits]
    offset: tuple[float, ...] = (0.0,)  # one per channel, or one for all
    scale: tuple[float, ...] = (1.0,)
    loss: str = "cross-entropy"
    metric: str = "accuracy"
    higher_is_better: bool = True
    every_step: bool = False  # series: whether each step has a target and an output, or each sample one
    target_score: float | None = None  # on validation: what time, steps and energy to target are counted to
    summary: str = ""
    licence: str = ""
    source: str = ""  # whom to cite

    @property
    def output_shape(self) -> Shape:
        """What a network has to end in, without seed and batch: [classes], or [steps, classes]."""
        return (self.input_shape[0], self.classes) if self.every_step else (self.classes,)

    def prepare(self, stored: Tensor) -> Tensor:
        """Stored samples [..., *input_shape] as float network inputs of the same shape."""
        behind = 0 if self.kind == "series" else len(self.input_shape) - 1  # axes behind the channels
        offset, scale = _affine(self.offset, self.scale, behind, stored.device)
        return (stored.to(torch.float32) - offset) / scale


@lru_cache(maxsize=16)
def _affine(
    offset: tuple[float, ...], scale: tuple[float, ...], behind: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Constants on the device, made once: on an accelerator each would be a transfer per batch."""
    shape = (-1, *(1,) * behind)
    return torch.tensor(offset, device=device).view(shape), torch.tensor(scale, device=device).view(shape)


@dataclass(frozen=True)
class Batch:
    """One batch of every seed; each seed sees samples in an order of its own."""

    inputs: Tensor  # [seed, batch, *input_shape], float
    targets: Tensor  # [seed, batch], int64; or as in Split


# ----------------------------------------------------------------------------- a step's context


class Noise(Protocol):
    """Random numbers of one purpose, drawn per seed from that seed's own generator and stacked,
    so that a seed's result never depends on which seeds ride along."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal, [seed, *shape]."""

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), [seed, *shape]."""

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers below `high`, [seed, *shape], int64."""


@dataclass(frozen=True)
class Context:
    """All that a rule may ask of a step besides network, batch and its own state."""

    loss: Loss
    noise: Noise
    classes: int
    step: int = 0  # steps done before this one
    steps: int = 1  # steps in the whole training


# ----------------------------------------------------------------------------- networks


@dataclass(frozen=True)
class Trace:
    """What a block's forward pass leaves for its pullback.

    Nothing that is not needed is kept: a rule that wants the pre-activation itself calls `preactivate`
    and `activate` one after the other."""

    inputs: Tensor | None  # [seed, batch, *input_shape]; None where only `activate` was called
    output: Tensor  # [seed, batch, *output_shape]; of a TemporalBlock both begin with [time, seed, batch]
    saved: tuple[Any, ...] = ()  # whatever the stages behind the weights keep


@dataclass(frozen=True, kw_only=True)
class Block(ABC):
    """Weights, then normalisation, activation or neuron, then pooling: one step of a network.

    A block is bound to its parameters but never changes them: the harness does. `parameters` has the
    seed axis; `input_shape` and the other shapes leave out seed and batch.
    """

    name: str
    input_shape: Shape
    parameters: Tensors = field(default_factory=dict)
    statistics: Tensors = field(default_factory=dict)  # of normalisation, for inference

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in {"forward", "preactivate", "activate", "step"} & vars(cls).keys():
            setattr(cls, name, in_phase("forward")(vars(cls)[name]))

    @property
    @abstractmethod
    def preactivation_shape(self) -> Shape:
        """Shape behind the weights."""

    @property
    @abstractmethod
    def output_shape(self) -> Shape:
        """Shape that the next block sees."""

    @abstractmethod
    def initial(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh parameters of one seed, without the seed axis."""

    @abstractmethod
    def preactivate(self, inputs: Tensor) -> Tensor:
        """The weights alone: [seed, batch, *input_shape] -> [seed, batch, *preactivation_shape]."""

    @abstractmethod
    def activate(self, preactivation: Tensor, context: Context | None = None) -> Trace:
        """The part behind the weights: [seed, batch, *preactivation_shape] -> Trace without inputs.

        With a context the block is learning (batch statistics, dropout); without one it is used
        (stored statistics, no dropout)."""

    def forward(self, inputs: Tensor, context: Context | None = None) -> Trace:
        """[seed, batch, *input_shape] -> Trace; the context as in `activate`."""
        return replace(self.activate(self.preactivate(inputs), context), inputs=inputs)

    @abstractmethod
    def deactivate(self, trace: Trace, change: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The way back through the part behind the weights.

        change: a derivative (or whatever a rule puts in its place) at the output, [seed, batch,
        *output_shape]. Returns it at the pre-activation, [seed, batch, *preactivation_shape], and the
        update of the parameters met on the way (normalisation's gain and shift)."""

    @abstractmethod
    def synaptic_update(self, inputs: Tensor, delta: Tensor) -> dict[str, Tensor]:
        """Update of weights and bias: for a linear block the outer product of a change `delta` at the
        pre-activation and the inputs, summed over the batch; its equivalent for a convolution."""

    @abstractmethod
    def transport(self, delta: Tensor, weight: Tensor | None = None) -> Tensor:
        """`delta` at the pre-activation carried to the block's input, through its own weights or
        through `weight`, feedback weights of the same shape: [seed, batch, *input_shape]."""

    def update(self, trace: Trace, change: Tensor) -> dict[str, Tensor]:
        """Update of every parameter of this block for a change wanted at its output."""
        assert trace.inputs is not None
        delta, tail = self.deactivate(trace, change)
        return self.synaptic_update(trace.inputs, delta) | tail

    def pullback(
        self, trace: Trace, change: Tensor, weight: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """As `update`, and the change at the input, carried there by `weight` if given."""
        assert trace.inputs is not None
        delta, tail = self.deactivate(trace, change)
        update = self.synaptic_update(trace.inputs, delta) | tail
        return update, self.transport(delta, weight)

    def measure(self, inputs: Tensor) -> tuple[Block, Tensor]:
        """The block with its normalisation statistics taken from `inputs`, and its output for them."""
        return self, self.forward(inputs).output

    @property
    def mixes_samples(self) -> bool:
        """Whether, while learning, a sample's output depends on the batch it came in."""
        return False

    @property
    def weight(self) -> Tensor:
        """[seed, out, ...]: the synapses."""
        return self.parameters["weight"]

    @property
    def output_size(self) -> int:
        return math.prod(self.output_shape)

    def bind(self, parameters: Tensors) -> Block:
        """The same block with other tensors for parameters."""
        return replace(self, parameters=parameters)


@dataclass(frozen=True, kw_only=True)
class TemporalBlock(Block):
    """A block with a state, which goes in and out along time: spiking neurons, recurrent units.

    Its activities are [time, seed, batch, *shape], in and out. `forward`, `deactivate`, `synaptic_update`
    and `transport` take a sequence whole, from the initial state on; `step` takes the next piece of one,
    which may be a single moment, and the state that the piece before left. Both give the same; every method
    takes the trace of either: the trace of a moment is that of a sequence of length 1, so that what leads
    back through it is what that moment alone has to do with it.

    The first block of a network gets what a batch holds, [seed, batch, *input_shape], and `arrivals` turns
    that into moments. The last block's `forward` gives one output for the sequence, [seed, batch, classes],
    and its `step` one for each moment, [time, seed, batch, classes]."""

    @abstractmethod
    def arrivals(self, inputs: Tensor, context: Context | None = None) -> Iterator[Tensor]:
        """A network's inputs [seed, batch, *input_shape], moment by moment: [1, seed, batch, *shape]."""

    @abstractmethod
    def initial_state(self, inputs: Tensor) -> dict[str, Tensor]:
        """State before the first of `inputs`, [time, seed, batch, *shape]: each [seed, batch, ...]."""

    @abstractmethod
    def step(self, inputs: Tensor, state: Tensors) -> tuple[Trace, dict[str, Tensor]]:
        """[time, seed, batch, *shape] and the state before -> Trace and the state behind."""


@dataclass(frozen=True)
class Network:
    """A chain of blocks; the last one is the output layer."""

    label: str
    blocks: tuple[Block, ...]

    @property
    def temporal(self) -> bool:
        """Whether activity goes along time. All blocks of a network are alike in that."""
        return isinstance(self.blocks[0], TemporalBlock)

    def through_time(self, inputs: Tensor, context: Context | None = None) -> Iterator[list[Trace]]:
        """The traces of all blocks at one moment after the other; of no other moment is anything kept.

        For networks of temporal blocks. The last trace's output is [1, seed, batch, classes]."""
        blocks = [block for block in self.blocks if isinstance(block, TemporalBlock)]
        states: list[Tensors | None] = [None] * len(blocks)
        for x in blocks[0].arrivals(inputs, context):
            traces: list[Trace] = []
            for place, block in enumerate(blocks):
                before = states[place]
                trace, states[place] = block.step(x, block.initial_state(x) if before is None else before)
                traces.append(trace)
                x = trace.output
            yield traces

    def forward(self, inputs: Tensor, context: Context | None = None) -> list[Trace]:
        """The traces of all blocks; the last one's output has shape [seed, batch, classes]."""
        traces: list[Trace] = []
        for block in self.blocks:
            traces.append(block.forward(inputs, context))
            inputs = traces[-1].output
        return traces

    def __call__(self, inputs: Tensor, context: Context | None = None) -> Tensor:
        """The output alone; no more than one block's activity is held on the way."""
        for block in self.blocks:
            inputs = block.forward(inputs, context).output
        return inputs

    def bind(self, parameters: Sequence[Tensors]) -> Network:
        """The same network with other parameters, one mapping per block."""
        pairs = zip(self.blocks, parameters, strict=True)
        return replace(self, blocks=tuple(block.bind(own) for block, own in pairs))

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        for block in self.blocks:
            for name, tensor in block.parameters.items():
                yield f"{block.name}.{name}", tensor

    @property
    def seeds(self) -> int:
        return len(self.blocks[0].weight)


# ----------------------------------------------------------------------------- learning rules


@dataclass(frozen=True)
class State:
    """What a rule keeps between steps; every tensor has a leading seed axis.

    learned: tensors that the harness's optimizer moves like weights (feedback that learns, a target
    generator, a local head); a rule yields their updates under these names.
    carried: anything else that lasts (traces, running values, fixed feedback weights); a step returns
    the new mapping, or None where it stays as it was.
    """

    learned: Tensors = field(default_factory=dict)
    carried: Tensors = field(default_factory=dict)


# What is updated (a block, or the name of a learned tensor) and the direction to descend along.
Update = tuple["Block | str", Mapping[str, Tensor] | Tensor]
# Its return value is the new mapping of what is carried, or None.
Step = Generator[Update, None, Any]


@dataclass(frozen=True)
class LearningRule(ABC):
    """How weights change. Fields are the hyperparameters; the docstring is the equation.

    `step` is a generator. It yields `(block, {parameter: update})` or `(learned name, update)` as soon
    as an update is final, and the harness descends along it at once, with the same optimizer for
    every rule. A rule reads the network and never writes to it.
    """

    name: ClassVar[str]
    source: ClassVar[str]  # the paper
    together: ClassVar[bool] = True  # False: give me one seed at a time
    own_step_size: ClassVar[bool] = False  # True: plain descent with learning rate 1 (see own_steps, too)
    learning_rates: ClassVar[tuple[float, float]] = (2e-4, 2e-2)  # lowest and highest that tuning tries
    search: ClassVar[Mapping[str, Sequence[Any]]] = {}  # what else it may try: name -> values
    # What its definition asks of a network that has the option, unless a recipe or the user says otherwise.
    network_choices: ClassVar[Mapping[str, Any]] = {}
    own_networks: ClassVar[Sequence[str]] = ()  # made for it alone; the conformance suite tries them, too
    temporal: ClassVar[bool] = False  # True: it can train networks whose activity goes along time

    def supports(self, network: Network, task: Task) -> str | None:
        """Why this rule cannot train that network on that task; None if it can."""
        return None

    def init(self, network: Network, context: Context) -> State:
        """What the rule keeps from the first step on."""
        return State()

    @abstractmethod
    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        """One batch: yields updates, returns what is carried on (or None)."""

    def weight_decay(self) -> float:
        """Decoupled decay of weights and learned tensors, where the rule's equation has one."""
        return 0.0

    def own_steps(self, network: Network) -> Collection[str]:
        """Blocks and learned tensors, by name, whose updates are whole steps: plain descent with learning
        rate 1 and no schedule. The learning rate is the others'."""
        return ()

    def constrain(self, target: str, parameters: Tensors) -> Tensors:
        """Applied after each update of a block (by its name) or of a learned tensor (as {name:
        tensor}): returns what the parameters become (clipped, normalised)."""
        return parameters

    def predict(self, network: Network, inputs: Tensor, state: State) -> Tensor:
        """Scores [seed, batch, classes] at inference; it never sees a label."""
        return network(inputs)


def refusal(rule: LearningRule, network: Network, task: Task) -> str | None:
    """Why a rule cannot train that network on that task, by what it declares and by what it says."""
    if network.temporal and not rule.temporal:
        return f"{rule.name} knows of no time, along which activity goes in {network.label}; use mlp or conv."
    return rule.supports(network, task)


def check_rule(rule: object, where: str) -> None:
    """Refuses what is not a learning-rule class."""
    if not (isinstance(rule, type) and issubclass(rule, LearningRule)):
        raise CreditbenchError(
            f"{where} is not a LearningRule: write @dataclass(frozen=True) and `class MyRule(LearningRule)`."
        )
