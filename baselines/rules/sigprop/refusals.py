"""Which choices of signal propagation make no sense together, or on which network, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from creditbench.baselines.rules.sigprop.glyphs import LEAST, digit_side
from creditbench.baselines.rules.sigprop.targets import TARGETS
from creditbench.suite.types import Network, Task

if TYPE_CHECKING:
    from creditbench.baselines.rules.sigprop.rule import SignalPropagation


def refusals(rule: SignalPropagation, network: Network, task: Task) -> str | None:
    """The first reason why not, or None."""
    generator, hidden = TARGETS[rule.targets], network.blocks[:-1]
    per_class = ", ".join(name for name, own in TARGETS.items() if own.per_class)
    paired = ", ".join(name for name, own in TARGETS.items() if own.meets_first_weights)
    side = digit_side(task.input_shape, task.classes)
    reasons = {
        "signal propagation trains hidden blocks and this network has none": not hidden,
        "batch normalisation would mix images with class targets; the authors normalise each sample"
        " (normalisation=layer or instance)": any(block.mixes_samples for block in network.blocks),
        f"loss=input-label compares with one target per class and targets={rule.targets} has one per sample;"
        f" choose targets among {per_class}": rule.loss == "input-label" and not generator.per_class,
        f"prediction={rule.prediction} needs targets that exist without a sample and a label; choose targets"
        f" among {per_class}": rule.prediction != "output" and not generator.per_class,
        "the error of target-loop comes from the output, which batches that are still on their way through"
        " blocks in parallel have not reached; choose schedule=at-once": rule.schedule == "in-parallel"
        and generator.code == "error",
        "the neutral target passes through all blocks at one time, which learn in parallel from different"
        " batches; choose schedule=at-once": rule.schedule == "in-parallel" and rule.prediction == "neutral",
        f"the Hebbian form pairs the first block's weights with the target below them, and with"
        f" targets={rule.targets} there is none; choose targets among {paired}": rule.update == "hebbian"
        and not generator.meets_first_weights,
        "the Hebbian form pairs each unit's activity with its own weights, and pooling leaves several units"
        " with one activity; choose a network without pooling": rule.update == "hebbian"
        and any(block.output_shape != block.preactivation_shape for block in hidden),
        f"{task.classes} class numbers, drawn on inputs of shape {list(task.input_shape)}, cannot be told"
        f" apart; that needs images with {LEAST} x {LEAST} pixels per digit": generator.drawn
        and side < LEAST,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)
