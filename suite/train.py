"""Training: a group of seeds of one cell, from fresh weights to scores."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from creditbench.suite.batches import Batches
from creditbench.suite.evaluate import Scores, score, with_statistics
from creditbench.suite.learner import Builder, Digest, Learner, build_network
from creditbench.suite.losses import chance, loss
from creditbench.suite.meters.alignment import alignment
from creditbench.suite.record import Alignment, Point, Run, Status
from creditbench.suite.scores import SHARES
from creditbench.suite.snapshot import restore, snapshot
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.types import Batch, Block, LearningRule, Splits, Task, Tensors

EXPLODED = 1000.0  # times the loss of not having learnt anything; see _exploded
GAINED = 0.1  # of an error that is gone where a rule has learnt something; of chance's, and for stability


@dataclass(frozen=True)
class Cell:
    """A Spec's names turned into things, once for all its seeds."""

    task: Task
    splits: Splits  # on the device that trains
    builder: Builder
    rule: LearningRule

    @property
    def device(self) -> torch.device:
        return self.splits.train.inputs.device


class Progress(Protocol):
    """Told how far a group is; the display is none of the training's business."""

    def __call__(self, steps: int, of: int, validation_score: float | None) -> None: ...


@dataclass(frozen=True)
class Trained:
    """A run and, if it was scored, its test predictions [samples] after the last and best epoch."""

    run: Run
    predictions: Mapping[str, Any]
    checkpoint: str | None = None  # a file that is of no use once this is stored


class Checkpoint(Protocol):
    """Keeps a training between two epochs; where and how often is none of the training's business."""

    def load(self) -> Mapping[str, Any] | None: ...

    def save(self, contents: Callable[[], Mapping[str, Any]]) -> None: ...


def learner(cell: Cell, specs: Sequence[Spec], steps: int | None = None) -> tuple[Learner, Batches]:
    """Network, rule, optimizer and batches of several seeds (or learning rates) of one cell."""
    first, seeds = specs[0], [spec.seed for spec in specs]
    name, options = parse_label(first.network)
    network = build_network(
        cell.task, name, cell.builder, {**options, **first.network_choices}, seeds, cell.device
    )
    batches = Batches(
        cell.task, cell.splits.train, seeds, first.batch_size, first.train_samples, first.augmentation
    )
    rates = [spec.learning_rate for spec in specs]
    total = steps or first.epochs * batches.per_epoch
    return Learner(cell.task, network, cell.rule, seeds, rates, first.schedule, total), batches


def train(
    cell: Cell,
    specs: Sequence[Spec],
    progress: Progress | None = None,
    test: bool = True,
    checkpoint: Checkpoint | None = None,
) -> list[Trained]:
    """Trains seeds together; `specs` differ in seed and learning rate only.

    The test split is scored once, at the end; with test=False (tuning) never. A seed whose weights
    stop being finite ends as diverged while the others go on, and so does one whose loss has exploded at the
    end. Raises CreditbenchError for a rule that yields what it must not. What `checkpoint` holds is gone on
    from, to the same result.
    """
    model, batches = learner(cell, specs)
    digest, first = Digest(model), _FirstSteps(model)
    digests: list[dict[str, list[float]]] = []
    curves: list[list[Point]] = [[] for _ in specs]
    ended: dict[int, tuple[Status, str]] = {}  # seeds that are out, by position
    best, seconds, done = _Best(model), 0.0, 0
    aligned: list[list[Alignment]] = [[] for _ in specs]
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        restore(model, batches, saved)
        done, seconds, digests, ended = saved["epoch"], saved["seconds"], saved["digests"], saved["ended"]
        curves = [[Point(*point) for point in own] for own in saved["curves"]]
        aligned = [[Alignment(*found) for found in own] for own in saved["aligned"]]
        first.failures = saved["failures"]
        scores_, best.epochs, best.tensors = saved["best"]
        best.scores = scores_.cpu()
    else:
        with contextlib.suppress(Exception):  # whatever is wrong with a rule, its first step says it better
            aligned = [[found] for found in _aligned(model, cell, specs[0], 0)] or aligned
    for epoch in range(done + 1, specs[0].epochs + 1):
        started = _now(cell.device)
        for number, batch in enumerate(batches.epoch(), 1):
            model.step(batch, first if model.done < Digest.STEPS else None)
            if model.done == Digest.STEPS:
                paused = _now(cell.device)
                digests = _first_steps(model, digest, cell)
                started += _now(cell.device) - paused  # the clock stands still while we look
            if progress is not None and number % 20 == 0:
                progress(model.done, model.steps, None)
        seconds += _now(cell.device) - started
        validation = _score(model, cell, "validation")
        lies = _aligned(model, cell, specs[0], epoch)
        for place, finite in enumerate(model.finite().tolist()):
            if place in first.failures:
                ended.setdefault(place, ("failed", first.failures[place]))
            told = {"validation loss": validation.loss[place], "validation score": validation.score[place]}
            strange = [what for what, value in told.items() if not math.isfinite(value.item())]
            if not finite or strange:
                where = strange[0] if finite else "weights"
                ended.setdefault(place, ("diverged", f"{where} no longer finite after epoch {epoch}"))
            elif place not in ended:
                point = Point(
                    epoch,
                    validation.score[place].item(),
                    validation.loss[place].item(),
                    seconds / len(specs),
                )
                curves[place].append(point)
                aligned[place] += lies[place : place + 1]
        best.keep(validation.score if cell.task.higher_is_better else -validation.score, epoch)
        if progress is not None:
            progress(model.done, model.steps, validation.score.mean().item())
        if len(ended) == len(specs):
            break
        if checkpoint is not None and epoch < specs[0].epochs:
            course = {
                "epoch": epoch,
                "seconds": seconds,
                "digests": digests,
                "ended": ended,
                "curves": [[astuple(point) for point in own] for own in curves],
                "aligned": [[astuple(found) for found in own] for own in aligned],
                "failures": first.failures,
                "best": (best.scores, best.epochs, best.tensors),
            }
            checkpoint.save(functools.partial(_everything, model, batches, course))
    digests = digests or _first_steps(model, digest, cell)
    for place, words in _exploded(validation, cell, specs).items():
        ended.setdefault(place, ("diverged", words))
    scores = _score(model, cell, "test") if test and len(ended) < len(specs) else None
    tops = best.scored(lambda model: _score(model, cell, "test")) if scores is not None else None
    trained = []
    for place, spec in enumerate(specs):
        run = Run(spec, "ok", metric=cell.task.metric, higher_is_better=cell.task.higher_is_better)
        run = replace(run, curve=tuple(curves[place]), digest=digests[place])
        run = replace(run, train_seconds=seconds / len(specs), steps=model.steps)
        run = replace(run, alignment=tuple(aligned[place]), target_score=cell.task.target_score)
        run = replace(run, own_steps=tuple(sorted(model.optimizer.own_steps)))
        if place in ended:
            status, reason = ended[place]
            trained.append(Trained(replace(run, status=status, reason=reason), {}))
            continue
        run = replace(run, validation_score=curves[place][-1].validation_score)
        predictions: dict[str, Any] = {}
        if scores is not None and tops is not None:
            run = replace(
                run,
                score=scores.score[place].item(),
                best_epoch=best.epochs[place],
                best_score=tops.score[place].item(),
            )
            kind = torch.uint8 if cell.task.classes <= 256 else torch.int32
            predictions = {
                name: told[place].to(kind).cpu().numpy()
                for name, told in (("last", scores.predictions), ("best", tops.predictions))
                if told is not None
            }
        trained.append(Trained(run, predictions))
    return trained


def _exploded(last: Scores, cell: Cell, specs: Sequence[Spec]) -> dict[int, str]:
    """Seeds of which the loss has exploded though it is finite, by position, with the figures.

    A loss alone says little: a rule may score by numbers of any size, and be right with them. So three things
    have to hold after the last epoch: the loss is `EXPLODED` times that of outputs that are all alike; it is
    as many times that of this very network before its first step; and the score shows nothing learnt. The
    last alone is a rule that has not learnt."""
    task, targets = cell.task, cell.splits.validation.targets[None].cpu()
    shape = targets.shape if task.loss == "mse" else (*targets.shape, task.classes)
    alike = loss(task.loss).value(torch.zeros(shape), targets).item()
    losses, scores = last.loss.tolist(), last.score.tolist()
    suspects = [
        place
        for place, (own, score) in enumerate(zip(losses, scores, strict=True))
        if EXPLODED * alike < own < math.inf and _nothing_learnt(task.metric, score, targets)
    ]
    if not suspects:
        return {}
    before = _score(learner(cell, specs)[0], cell, "validation").loss.tolist()
    told = {place: f", with {task.metric} {100 * scores[place]:.1f} %, which is chance" for place in suspects}
    return {
        place: f"validation loss of {losses[place]:.3g} after epoch {specs[0].epochs},"
        f" {losses[place] / before[place]:.3g} times that of the untrained network"
        + (told[place] if task.higher_is_better else "")
        for place in suspects
        if losses[place] > EXPLODED * before[place]
    }


def _nothing_learnt(metric: str, score: float, targets: Tensor) -> bool:
    """Whether hardly any of the error is gone that always naming the most frequent class makes; of two
    classes in random order, for the area under a curve. An error as a metric is what has exploded."""
    if metric not in SHARES:
        return True
    ground = chance(targets) if metric == "accuracy" else 0.5
    return 1 - score > (1 - GAINED) * (1 - ground)


def _everything(model: Learner, batches: Batches, course: Mapping[str, Any]) -> dict[str, Any]:
    return snapshot(model, batches) | dict(course)


def replay(cell: Cell, specs: Sequence[Spec]) -> list[dict[str, list[float]]]:
    """The digests of the first steps alone, to be held against those of a stored run."""
    model, batches = learner(cell, specs)
    digest = Digest(model)
    while model.done < min(Digest.STEPS, model.steps):
        for batch in batches.epoch():
            model.step(batch)
            if model.done == Digest.STEPS:
                break
    return _first_steps(model, digest, cell)


def _first_steps(model: Learner, digest: Digest, cell: Cell) -> list[dict[str, list[float]]]:
    """The digest, with what first steps cannot show: the schedule's way down, and how scoring scores."""
    factors = [model.optimizer.schedule(progress) for progress in (0.25, 0.5, 0.75, 1.0)]
    validation = _score(model, cell, "validation")
    seeds = digest.read(model)
    for place, own in enumerate(seeds):
        own["schedule"] = [1.0, *factors]
        own["validation_loss"] = [validation.loss[place].item()]
        own["validation_score"] = [0.2, validation.score[place].item()]  # one sample is much of a small score
    return seeds


def _score(model: Learner, cell: Cell, split: str) -> Scores:
    data = getattr(cell.splits, split)
    return score(model.network, model.rule, model.state, cell.task, data, cell.splits.train)


def _aligned(model: Learner, cell: Cell, spec: Spec, epoch: int) -> list[Alignment]:
    """Per seed, on the first training samples, the same for every rule, seed and epoch; empty for a rule that
    infers otherwise than by the network's forward pass, whose gradient then says nothing of it."""
    first = cell.splits.train.inputs[: spec.batch_size], cell.splits.train.targets[: spec.batch_size]
    seeds, inputs = model.network.seeds, cell.task.prepare(first[0])
    batch = Batch(
        inputs.expand(seeds, *inputs.shape).contiguous(), first[1].expand(seeds, *first[1].shape).contiguous()
    )
    network = with_statistics(model.network, cell.task, cell.splits.train)
    with torch.no_grad():
        inferred = cell.rule.predict(network, batch.inputs, model.state)
        if not torch.equal(inferred, network(batch.inputs)):
            return []
    return [Alignment(epoch, own.cosine, own.norm_ratio) for own in alignment(model, batch)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class _FirstSteps:
    """Watches the updates of the first steps for NaN, which later would look like divergence."""

    def __init__(self, model: Learner) -> None:
        self.model = model
        self.failures: dict[int, str] = {}

    def __call__(self, target: Block | str, update: Tensors | Tensor) -> None:
        name = target if isinstance(target, str) else target.name
        for key, tensor in ({name: update} if isinstance(update, Tensor) else update).items():
            if len(tensor) != self.model.network.seeds:
                continue  # the optimizer explains wrong shapes
            for place in (~tensor.flatten(1).isfinite().all(1)).nonzero().flatten().tolist():
                self.failures.setdefault(
                    place,
                    f"Rule '{self.model.rule.name}' yielded NaN or infinity for '{name}', '{key}' at step"
                    f" {self.model.done + 1}; look for a division by zero or a logarithm of zero there.",
                )


class _Best:
    """Per seed, everything that inference needs as it was after the best epoch on validation."""

    def __init__(self, model: Learner) -> None:
        self.model = model
        self.scores = torch.full((model.network.seeds,), -math.inf, dtype=torch.float64)
        self.epochs = [0] * model.network.seeds
        self.tensors = [tensor.clone() for tensor in self._live()]

    def _live(self) -> list[Tensor]:
        return [*self.model.tensors().values(), *self.model.state.carried.values()]

    def keep(self, scores: Tensor, epoch: int) -> None:
        pairs = zip(self.tensors, self._live(), strict=True)  # what is carried may grow after the first step
        self.tensors = [kept if kept.shape == live.shape else live.clone() for kept, live in pairs]
        better = scores.cpu() > self.scores
        self.scores = torch.where(better, scores.cpu(), self.scores)
        for place in better.nonzero().flatten().tolist():
            self.epochs[place] = epoch
            for kept, live in zip(self.tensors, self._live(), strict=True):
                kept[place] = live[place]

    def scored(self, scorer: Callable[[Learner], Scores]) -> Scores:
        """Scores of the best epochs; the training is over and its last weights are given up."""
        for kept, live in zip(self.tensors, self._live(), strict=True):
            live.copy_(kept)
        return scorer(self.model)
