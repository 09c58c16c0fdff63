"""How far a synapse has to see, and how often signals cross the network in a step."""

from __future__ import annotations

import torch
from torch import Tensor

from creditbench.suite.audit.bench import THRESHOLD, Bench, Play, Weights, bench
from creditbench.suite.audit.dispatch import WeightWatch
from creditbench.suite.audit.locking import backward_pass, update_locking
from creditbench.suite.audit.question import Subject
from creditbench.suite.audit.transport import sign_transport, weight_transport
from creditbench.suite.seeds import generator

LOCALITIES = ("own", "block", "broadcast", "other-blocks")
WATCHED = 1  # whose synapses are looked at while others change; in an ordered layer the first sees nobody


def passes(subject: Subject) -> float | None:
    """How often a sample's signals cross the synapses between two blocks in one step; None if never.

    Method: a step on more samples than there are classes is observed at dispatch, and the vectors that are
    sent through the weights of each block above the first, forwards or backwards, are counted, and those
    sent through feedback tensors of the state that have the shape of weights between hidden blocks. The
    largest count of a weight and the largest of a feedback tensor together, divided by the samples, rounded
    down (class patterns that ride along in the same pass are none of their own): backpropagation and
    feedback alignment 2, direct feedback alignment and signal propagation 1, a rule that relaxes for T steps
    in proportion to T."""
    on = bench(subject)
    watch, samples = WeightWatch(), subject.task.classes + 2
    on.play(steps=1, samples=samples, watcher=watch)
    through = {key: count for key, count in watch.seen.rows.items() if key != 0}
    weights = max((count for key, count in through.items() if isinstance(key, int)), default=0)
    feedback = max((count for key, count in through.items() if not isinstance(key, int)), default=0)
    return float((weights + feedback) // samples) or None


def synapse_locality(subject: Subject) -> str | None:
    """The farthest place that the update of a hidden synapse depends on besides its own two neurons; of the
    output layer where no hidden block learns.

    other-blocks: synapses or neurons of other blocks, besides the activity that comes up from below
    (`weight_transport`, `sign_transport` or `backward_pass` is "yes"). broadcast: something from above that
    is the same for all, an error or a reward (`update_locking` is "yes"). block: other neurons of the same
    block. own: nothing. Labels are data, whoever is given them.

    Method for the last two: all neurons of a block but one have their weights and biases changed at random;
    if the update of that one's synapses changes within a step, it depends on its neighbours. Then, in the
    first block if it is fully connected, the inputs are changed orthogonally to the neuron's weights and not
    at one synapse: if that synapse's update changes, it depends on inputs other than its own. None where it
    cannot be told."""
    on = bench(subject)
    transport, locked = weight_transport(subject), update_locking(subject)
    if "yes" in (ask(subject).verdict for ask in (weight_transport, sign_transport, backward_pass)):
        return "other-blocks"
    if locked.verdict == "yes":
        return None if transport.verdict == "undetermined" else "broadcast"
    plain = on.play(steps=1)
    blocks = on.learning(plain) or [len(on.network.blocks) - 1]
    if any(_sees_neighbours(on, plain, block) for block in blocks):
        return "block"
    if 0 in blocks and on.network.blocks[0].weight.dim() == 3 and _sees_other_inputs(on, plain):
        return "block"
    return "own"


def _sees_neighbours(on: Bench, plain: Play, block: int) -> bool:
    def change(weights: Weights) -> None:
        for name, tensor in weights[block].items():
            own = generator("audit", "neighbours", block, name)
            draw = torch.randn(tensor.shape, generator=own, dtype=tensor.dtype)
            draw[:, WATCHED] = 0
            tensor.add_(tensor.square().mean().sqrt() * draw)

    return _differ(plain, on.play(change, steps=1), block, (0, WATCHED))


def _sees_other_inputs(on: Bench, plain: Play) -> bool:
    row = on.network.blocks[0].weight[0, WATCHED].flatten()

    def elsewhere(inputs: Tensor) -> Tensor:
        draw = torch.randn(inputs.shape, generator=generator("audit", "inputs"), dtype=inputs.dtype)
        flat, own = draw.flatten(2), row.clone()
        flat[..., WATCHED], own[WATCHED] = 0, 0
        flat = flat - (flat @ own / own.square().sum()).unsqueeze(-1) * own
        return inputs + flat.view_as(inputs)

    return _differ(plain, on.play(steps=1, inputs=elsewhere), 0, (0, WATCHED, WATCHED))


def _differ(one: Play, other: Play, block: int, place: tuple[int, ...]) -> bool:
    """Whether updates of the weights of a block came out differently at one place."""
    pairs = [
        [u.tensors for u in p.updates if u.target == block and "weight" in u.tensors] for p in (one, other)
    ]
    if len(pairs[0]) != len(pairs[1]):
        return True
    scale = max((update["weight"].abs().max().item() for update in pairs[0]), default=0.0)
    return any(
        not (ours["weight"][place] - theirs["weight"][place]).abs().max().item() <= THRESHOLD * scale
        for ours, theirs in zip(*pairs, strict=True)
    )
