"""The unit of work and what comes of it: pure data in, records out, wherever it is done."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch

from creditbench.suite import registry
from creditbench.suite.checkpoints import Checkpoint
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.learner import build_network, deviation
from creditbench.suite.measure import measure
from creditbench.suite.plan import Origin, load_rule, load_task, make_rule
from creditbench.suite.provenance import digest, provenance
from creditbench.suite.record import Cost, Run, Status
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.train import Cell, Progress, Trained, replay, train
from creditbench.suite.tuning.tried import Trial, Tried
from creditbench.suite.types import Splits, refusal

# Of a replayed digest. Another number of threads alone can move it by hundredths, since Adam turns rounding
# into steps where a gradient is zero but for rounding; a changed equation moves it by tenths.
TOLERANCE = 0.03


Work = Literal["train", "cost", "trial"]


@dataclass(frozen=True)
class Group:
    """Seeds of one cell to be trained together, its cost to be measured, or settings to be tried.

    previous: digests of stored runs by key, made by other code; a seed whose first steps come out
    the same is not trained again.
    checkpoints: a folder for what a long training goes on from when it is cut short; None: it keeps none.
    company: how many other groups may run beside it on the same machine: times are then not comparable.
    floors: validation scores by epoch below which a trial is stopped; empty: it is never."""

    work: Work
    specs: tuple[Spec, ...]
    origin: Origin
    device: str
    fingerprint: str
    recipe: str = "default"
    previous: Mapping[str, Mapping[str, Sequence[float]]] | None = None
    tuning: Mapping[str, Any] = field(default_factory=dict)  # what choosing the settings cost
    checkpoints: str | None = None
    company: int = 0
    floors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Revalidated:
    """A stored run whose first steps newer code repeats."""

    spec: Spec
    deviation: float


@dataclass(frozen=True)
class Unmeasured:
    """A cell whose cost could not be taken: it stays absent."""

    spec: Spec
    reason: str


Outcome = Trained | Revalidated | Cost | Unmeasured | Trial


def spec_of(outcome: Outcome) -> Spec:
    return outcome.run.spec if isinstance(outcome, Trained) else outcome.spec


def lacks_memory(outcome: Outcome) -> bool:
    """Whether a run or a trial ended for want of memory."""
    if isinstance(outcome, Trained):
        return outcome.run.status == "out-of-memory"
    return isinstance(outcome, Trial) and outcome.tried.status == "out-of-memory"


def with_words(outcome: Outcome, words: str) -> Outcome:
    """The outcome of a run or a trial with more words behind its reason."""
    if isinstance(outcome, Trained):
        return replace(outcome, run=replace(outcome.run, reason=f"{outcome.run.reason} {words}"))
    if isinstance(outcome, Trial):
        return replace(outcome, tried=replace(outcome.tried, reason=f"{outcome.tried.reason} {words}"))
    return outcome


def perform(
    group: Group, progress: Progress | None = None, say: Callable[[str], None] | None = None
) -> Iterator[Outcome]:
    """Does the work of a group. What goes wrong with it ends as records that say so.

    say: told, in a sentence, what a person should know and no record holds."""
    specs = list(group.specs)  # those without an outcome so far
    try:
        if group.work == "trial":
            from creditbench.suite.tuning.trial import try_out  # it assembles groups with what is here

            for spec, tried in zip(group.specs, try_out(group, progress), strict=True):
                specs.remove(spec)
                yield Trial(spec, tried)
            return
        cell, data = assemble(group)
        if group.work == "cost":
            cost = measure(cell, group.specs[0])
            where = provenance(cell.device, data, 1)
            yield replace(cost, fingerprint=group.fingerprint, provenance=where, alone=not group.company)
            return
        if group.previous:
            found = replay(cell, specs)
            for spec, own in zip(group.specs, found, strict=True):
                apart = deviation(group.previous[spec.key], own)
                if apart <= TOLERANCE:
                    specs.remove(spec)
                    yield Revalidated(spec, apart)
        if specs:
            where = provenance(cell.device, data, len(specs)) | _circumstances(group)
            checkpoint = _checkpoint(group, specs, say)
            kept = None if checkpoint is None else str(checkpoint.path)
            for trained in train(cell, tuple(specs), progress, checkpoint=checkpoint):
                run = replace(trained.run, fingerprint=group.fingerprint, provenance=where)
                specs.remove(run.spec)
                yield replace(trained, run=run, checkpoint=kept)
    except Skip as skip:
        yield from ended(group, specs, "skipped", str(skip))
    except CreditbenchError as error:
        yield from ended(group, specs, "failed", str(error))
    except Exception as error:
        if reason := lack_of_memory(error):
            yield from ended(group, specs, "out-of-memory", reason)
            return
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename.rpartition('/')[2]}, line {frame.lineno}, in {frame.name}"
        yield from ended(group, specs, "failed", f"{type(error).__name__}: {error} ({place})")


def lack_of_memory(error: BaseException) -> str | None:
    """What an error says, if memory was what was missing: torch's CPU allocator has no type for that."""
    message = str(error).partition("DefaultCPUAllocator: ")[2] or str(error) or "no memory left"
    lacking = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in message
    )
    return message.splitlines()[0] if lacking else None


def _checkpoint(group: Group, specs: Sequence[Spec], say: Callable[[str], None] | None) -> Checkpoint | None:
    if group.checkpoints is None:
        return None
    device = torch.device(group.device)
    return Checkpoint(
        Path(group.checkpoints), specs, group.fingerprint, device, say or (lambda sentence: None)
    )


def _circumstances(group: Group) -> dict[str, Any]:
    company = {"company": group.company} if group.company else {}
    return {"recipe": group.recipe, "tuning": dict(group.tuning)} | company


class Skip(Exception):
    """A rule says that it cannot train this network on this task."""


@lru_cache(maxsize=2)
def load_splits(task: str, device: torch.device) -> tuple[Splits, str]:
    """A task's data on a device, and its SHA-256; the last two tasks are kept."""
    splits = load_task(task).read()
    return splits.to(device), digest(splits)


def assemble(
    group: Group, load: Callable[[str, torch.device], tuple[Splits, str]] = load_splits
) -> tuple[Cell, str]:
    """A group's names turned into things, and the SHA-256 of its data."""
    first = group.specs[0]
    task = load_task(group.origin.task)
    rule = make_rule(load_rule(group.origin.rule), first.hyperparameters)
    builder = registry.load("network", group.origin.network)
    device = torch.device(group.device)
    name, options = parse_label(first.network)
    network = build_network(
        task, name, builder, {**options, **first.network_choices}, [0], torch.device("cpu")
    )
    if reason := refusal(rule, network, task):
        raise Skip(reason)
    splits, data = load(group.origin.task, device)
    return Cell(task, splits, builder, rule), data


def ended(group: Group, specs: Sequence[Spec], status: Status, reason: str) -> Iterator[Outcome]:
    """The outcomes of seeds, of a cost, or of trials that came to nothing."""
    if group.work == "cost":
        yield Unmeasured(group.specs[0], reason)
        return
    metric, higher = "accuracy", True
    with contextlib.suppress(CreditbenchError):  # a task that cannot be loaded may be what went wrong
        task = load_task(group.origin.task)
        metric, higher = task.metric, task.higher_is_better
    if group.work == "trial":
        for spec in specs:
            yield Trial(spec, Tried.without(status, reason, higher))
        return
    where = provenance(torch.device(group.device), "", len(specs)) | _circumstances(group)
    for spec in specs:
        run = Run(spec, status, reason, metric=metric, higher_is_better=higher)
        yield Trained(replace(run, fingerprint=group.fingerprint, provenance=where), {})
