"""What several tests need: small networks, batches, learners."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from creditbench.suite import registry
from creditbench.suite.audit.question import Subject
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.types import Batch, LearningRule, Network, Split, Splits, Task

CPU = torch.device("cpu")


def toy_task(input_shape: tuple[int, ...] = (1, 4, 4), classes: int = 3, samples: int = 60) -> Task:
    """Noisy class means: learnable in a few steps, made anew and the same at every call."""

    def read() -> Splits:
        generator = torch.Generator().manual_seed(0)
        means = torch.randn(classes, *input_shape, generator=generator)
        parts = []
        for count in (samples, 30, 30):
            targets = torch.arange(count) % classes
            noise = torch.randn(count, *input_shape, generator=generator)
            parts.append(Split(means[targets] + 0.3 * noise, targets))
        return Splits(*parts)

    return Task(name="toy", version=1, kind="image", input_shape=input_shape, classes=classes, read=read)


def toy_batch(
    seeds: int = 1, samples: int = 9, shape: tuple[int, ...] = (1, 4, 4), classes: int = 3, seed: int = 7
) -> Batch:
    """A batch in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.stack([torch.arange(samples) % classes] * seeds)
    return Batch(torch.randn(seeds, samples, *shape, generator=generator), targets)


def network(task: Task, name: str = "mlp", seeds: Sequence[int] = (0,), **options: Any) -> Network:
    return build_network(task, name, registry.load("network", name), options, seeds, CPU)


def subject(rule: LearningRule, name: str = "mlp") -> Subject:
    """Whom the audit asks: a rule on a network for images of 8 x 8 in three classes."""
    task = toy_task((1, 8, 8))
    return Subject(rule, task, lambda **choices: network(task, name, **choices))


def learner(
    rule: LearningRule,
    task: Task | None = None,
    name: str = "mlp",
    seeds: Sequence[int] = (0,),
    rate: float | Sequence[float] = 1e-3,
    double: bool = False,
    **options: Any,
) -> Learner:
    task = task or toy_task()
    made = network(task, name, seeds, **options)
    if double:
        made = made.bind([{k: p.double() for k, p in b.parameters.items()} for b in made.blocks])
    rates = [rate] * len(seeds) if isinstance(rate, float) else list(rate)
    return Learner(task, made, rule, seeds, rates, "constant", 1000)


def updates(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """All that one step yields, by name, with nothing applied."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for target, update in model.rule.step(model.network, batch, model.state, model.context()):
            if isinstance(update, Mapping):
                name = target if isinstance(target, str) else target.name
                found |= {f"{name}.{key}": tensor for key, tensor in update.items()}
            else:
                found[str(target)] = update
    return found


def gradients(model: Learner, batch: Batch) -> dict[str, Tensor]:
    """The loss's derivative by every parameter, by autograd: the oracle."""
    leaves = [
        {k: p.detach().clone().requires_grad_() for k, p in b.parameters.items()}
        for b in model.network.blocks
    ]
    with torch.enable_grad():
        outputs = model.network.bind(leaves)(batch.inputs, model.context())
        loss = model.loss.value(outputs, batch.targets).sum()
    names = [f"{b.name}.{k}" for b, own in zip(model.network.blocks, leaves, strict=True) for k in own]
    flat = [p for own in leaves for p in own.values()]
    return dict(zip(names, torch.autograd.grad(loss, flat), strict=True))


# ------------------------------------------------------------------------------- for benchmarks


def in_turns(sides: Mapping[str, Callable[[], Any]], rounds: int, warm: int = 3) -> dict[str, float]:
    """Median seconds of each side, called in turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + warm):
        for name, call in sides.items():
            start = time.perf_counter()
            call()
            if number >= warm:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(own) for name, own in times.items()}


def images(samples: int, shape: tuple[int, ...] = (1, 28, 28)) -> Task:
    def read() -> Splits:
        generator = torch.Generator().manual_seed(0)
        part = Split(
            torch.randint(256, (samples, *shape), generator=generator).to(torch.uint8),
            torch.arange(samples) % 10,
        )
        return Splits(part, Split(part.inputs[:100], part.targets[:100]), part)

    return Task("images", 1, "image", shape, 10, read, offset=(128.0,), scale=(70.0,))
