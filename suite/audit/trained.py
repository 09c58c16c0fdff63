"""The questions that are answered by training: what does a rule still learn when something is taken away?

Every training is a `Course`: 600 batches of 128, two seeds, on the subject's task (digit-sums, where random
features do badly), scored on validation data.

Three questions ask whether the rule falls to what the output layer alone reaches in the same setting and
measured in the same way: "yes" where it is less than MARGIN above, or where it cannot go on without what was
taken away. Their evidence is the score above last-layer's. Three ask for a curve of scores over levels of a
disturbance: "yes" where at the stated level more than LOST of what was learned above chance is gone; their
evidence is that share. No rule is given a surrogate of its own for what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from torch import Tensor

from creditbench.suite import losses
from creditbench.suite.audit.course import (
    Alter,
    Course,
    Device,
    Outcome,
    Write,
    noise,
    splits,
    train,
)
from creditbench.suite.audit.question import Answer, Question, Subject
from creditbench.suite.audit.wrapped import BlackBoxed, Mismatched, NoDerivativeError, fixed_mixing, wrap
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.growth import Growth, time_growth
from creditbench.suite.learner import Learner
from creditbench.suite.plan import load_rule, make_rule
from creditbench.suite.seeds import generator
from creditbench.suite.types import LearningRule, Network, refusal

COURSE = Course()
SINGLY = 12_800  # samples that come one by one
MARGIN = 0.05  # of score: nearer to last-layer than this is falling to it
LOST = 0.1  # share of what was learned
DEVICE_NOISE = (0.01, 0.03, 0.1)  # of the initial weights' root mean square, at every write
LEVELS = (256, 64, 16)
RANGE = 4.0  # of stored weights, in root mean squares of the initial ones
MISMATCH = (0.3, 1.0, 3.0)  # of the weights' root mean square


# ----------------------------------------------------------------------------- against last-layer


def non_differentiable_units(subject: Subject) -> Answer:
    try:
        network = subject.network(activation="step")
    except (CreditbenchError, TypeError) as error:
        return Answer("not applicable", reason=f"the network has no choice of activation: {error}")
    return _against_last_layer(subject, network)


def black_box_layer(subject: Subject) -> Answer:
    network = subject.network()
    middle = len(network.blocks) // 2
    if middle == 0:
        return Answer("not applicable", reason="the network has no hidden layer")

    def boxed(made: Network, seeds: Sequence[int]) -> Network:
        channels = made.blocks[middle].input_shape[0]
        mixing = fixed_mixing(channels, generator("audit", "black box", channels))
        return wrap(made, BlackBoxed, middle, mixing=mixing)

    return _against_last_layer(subject, network, boxed, below=middle)


def batch_size_one(subject: Subject) -> Answer:
    """Samples singly: as many as make 100 batches, at the undisturbed best learning rate over sqrt(128)."""
    network = subject.network()

    def singly(outcome: Outcome) -> Course:
        rates = () if outcome.rate is None else (outcome.rate / math.sqrt(COURSE.batch),)
        return Course(SINGLY, 1, rates)

    def course(rule: LearningRule) -> Course:
        return singly(undisturbed(Subject(rule, subject.task, subject.network)))

    return _against_last_layer(subject, network, course=course)


def _against_last_layer(
    subject: Subject,
    network: Network,
    alter: Alter | None = None,
    below: int = 0,
    course: Callable[[LearningRule], Course] = lambda _: COURSE,
) -> Answer:
    """below: the number of blocks that lie below what was taken away."""
    if reason := _unanswerable(subject):
        return reason
    usual, floor = undisturbed(subject), undisturbed(_last_layer(subject))
    if usual.score < floor.score + MARGIN:
        return Answer(
            "undetermined",
            reason=f"undisturbed it reaches {usual.score:.3f} and last-layer {floor.score:.3f}: there is"
            " nothing to fall from",
            curve={"undisturbed": usual.score, "undisturbed last-layer": floor.score},
        )
    alone = _last_layer(subject).rule
    floor_here = train(subject, network, alter, course=course(alone), rule=alone)
    scores = {
        "undisturbed": usual.score,
        "undisturbed last-layer": floor.score,
        "last-layer": floor_here.score,
        "chance": chance(subject),
    }
    try:
        found = train(subject, network, alter, course=course(subject.rule))
    except NoDerivativeError:
        return Answer("yes", reason="it asks for the derivative that is not to be had", curve=scores)
    except Exception as error:  # a rule's own, of any kind
        return Answer("undetermined", reason=f"{type(error).__name__}: {error}", curve=scores)
    scores["disturbed"] = found.score
    above = found.score - floor_here.score
    unmoved = [block.name for block in network.blocks[:below] if block.name not in found.learned]
    if below and len(unmoved) == below:
        return Answer("yes", above, "nothing below the black box learns", curve=scores)
    return Answer("yes" if above < MARGIN else "no", above, curve=scores)


# ----------------------------------------------------------------------------- curves


def device_noise(subject: Subject) -> Answer:
    def noisy(level: float) -> Device:
        return lambda learner, seeds: _noisy(learner, seeds, level)

    return _curve(subject, {f"{level:g}": (None, noisy(level)) for level in DEVICE_NOISE}, judged=2)


def four_bit_weights(subject: Subject) -> Answer:
    def coarse(levels: int) -> Device:
        return lambda learner, seeds: _coarse(learner, seeds, levels)

    return _curve(subject, {f"{levels} levels": (None, coarse(levels)) for levels in LEVELS}, judged=2)


def feedback_mismatch(subject: Subject) -> Answer:
    used: set[str] = set()

    def mismatched(level: float) -> Alter:
        def alter(network: Network, seeds: Sequence[int]) -> Network:
            for number, block in enumerate(network.blocks):
                own = noise("mismatch", seeds, block.name)
                network = wrap(network, Mismatched, number, level=level, noise=own, used=used)
            return network

        return alter

    answer = _curve(subject, {f"{level:g}": (mismatched(level), None) for level in MISMATCH}, judged=1)
    if answer.verdict in ("yes", "no") and not used:
        return Answer("not applicable", reason="it carries nothing back through a block's transport")
    return answer


Disturbance = tuple[Alter | None, Device | None]


def _curve(subject: Subject, settings: Mapping[str, Disturbance], judged: int) -> Answer:
    """Scores at every setting, at the undisturbed best learning rate; the judged one decides."""
    if reason := _unanswerable(subject):
        return reason
    usual, ground = undisturbed(subject), chance(subject)
    if usual.score < ground + MARGIN:
        return Answer("undetermined", reason=f"undisturbed it reaches {usual.score:.3f}, which is chance")
    course = Course(rates=() if usual.rate is None else (usual.rate,))
    scores = {"undisturbed": usual.score}
    for name, (alter, device) in settings.items():
        try:
            scores[name] = train(subject, subject.network(), alter, device, course=course).score
        except Exception as error:  # a rule's own, of any kind
            return Answer("undetermined", reason=f"{type(error).__name__}: {error}", curve=scores)
    worst = scores[list(settings)[judged]]
    lost = (usual.score - worst) / (usual.score - ground)
    floor = undisturbed(_last_layer(subject)).score
    return Answer(
        "yes" if lost > LOST else "no",
        lost,
        curve={**scores, "undisturbed last-layer": floor, "chance": ground},
    )


def _noisy(learner: Learner, seeds: Sequence[int], level: float) -> Write:
    """Every write is off by normal noise of this share of the tensor's initial root mean square."""
    draws = noise("device", seeds)
    scale = {name.removeprefix("learned."): _size(tensor) for name, tensor in learner.tensors().items()}

    def write(name: str, tensor: Tensor) -> Tensor:
        return tensor + level * scale[name] * draws.normal(*tensor.shape[1:])

    return write


def _coarse(learner: Learner, seeds: Sequence[int], levels: int) -> Write:
    """Weights have equally spaced levels between ± RANGE initial root mean squares, and are rounded up or
    down at random, so that small updates count on average (Gupta et al. 2015). Biases and gains, one number
    per unit, are stored as they are."""
    draws = noise("rounding", seeds)
    named = {name.removeprefix("learned."): tensor for name, tensor in learner.tensors().items()}
    bound = {name: RANGE * _size(tensor) for name, tensor in named.items()}

    def write(name: str, tensor: Tensor) -> Tensor:
        if tensor.dim() < 3:
            return tensor
        place = (tensor / bound[name]).clamp(-1, 1).add(1).mul((levels - 1) / 2)  # 0 ... levels - 1
        place = (place + draws.uniform(*tensor.shape[1:])).floor().clamp_max(levels - 1)
        return (place * 2 / (levels - 1) - 1) * bound[name]

    for name, tensor in named.items():
        tensor.copy_(write(name, tensor))
    return write


def _size(tensor: Tensor) -> Tensor:
    """Root mean square per seed, [seed, 1, ...]."""
    return tensor.flatten(1).square().mean(1).sqrt().view(-1, *(1,) * (tensor.dim() - 1))


# ----------------------------------------------------------------------------- along time


def memory_over_time(subject: Subject) -> Answer:
    if subject.task.kind == "image":
        return Answer("not applicable", reason="the network has no time: its input is a single image")
    if reason := refusal(subject.rule, subject.network(), subject.task):
        return Answer("not applicable", reason=reason)
    return over_time(time_growth(lambda: _fresh(subject), subject.task))


def over_time(found: Growth) -> Answer:
    """What a growth with sequence length says; the evidence is its exponent."""
    sizes = {str(size): float(peak) for size, peak in zip(found.sizes, found.peak_bytes, strict=True)}
    return Answer("yes" if found.grows else "no", found.exponent, curve=sizes)


def _fresh(subject: Subject) -> Learner:
    return Learner(subject.task, subject.network(), subject.rule, [0], [1e-3], "constant", 10)


# ----------------------------------------------------------------------------- references


def chance(subject: Subject) -> float:
    """The validation score of the best answer that is always the same."""
    return losses.chance(splits(subject.task).validation.targets)


@lru_cache(maxsize=16)
def undisturbed(subject: Subject) -> Outcome:
    return train(subject, subject.network(), course=COURSE)


def _last_layer(subject: Subject) -> Subject:
    return Subject(make_rule(load_rule("last-layer"), {}), subject.task, subject.network)


def _unanswerable(subject: Subject) -> Answer | None:
    network, task = subject.network(), subject.task
    if len(network.blocks) < 2:
        return Answer("not applicable", reason="the network has no hidden layer")
    if task.metric != "accuracy":
        return Answer("undetermined", reason=f"margins are stated for accuracy, not for {task.metric}")
    if reason := refusal(subject.rule, network, task):
        return Answer("not applicable", reason=reason)
    if not undisturbed(subject).learned & {block.name for block in network.blocks[:-1]}:
        return Answer("not applicable", reason="no hidden layer learns, so there is nothing to lose")
    return None


QUESTIONS: tuple[Question, ...] = (
    Question(
        "non_differentiable_units",
        "hidden units are hard thresholds (derivative zero): does it fall to last-layer?",
        non_differentiable_units,
    ),
    Question(
        "black_box_layer",
        "a fixed layer in the middle, of which only values can be had: does it fall to last-layer?",
        black_box_layer,
    ),
    Question(
        "device_noise",
        "every write of a weight is off by noise of 10 % of the initial weights",
        device_noise,
    ),
    Question(
        "four_bit_weights",
        "weights are stored in 16 levels after every write, rounded at random",
        four_bit_weights,
    ),
    Question(
        "feedback_mismatch",
        "the weights of the way back are off by fixed noise of the weights' own size",
        feedback_mismatch,
    ),
    Question(
        "memory_over_time",
        "sequences of 8 to 64 steps: does the memory of a step grow with their length?",
        memory_over_time,
    ),
    Question(
        "batch_size_one",
        "samples come singly, at the learning rate over sqrt(128): does it fall to last-layer?",
        batch_size_one,
    ),
)
