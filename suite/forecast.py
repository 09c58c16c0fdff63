"""`creditbench plan`: what a suite has left to do, and what that will take, from a few steps of each cell.

Predicted times hold for this machine as it is now, one group after the other; a seed that diverges ends
sooner. Start-up and the reading of data are not in them.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from creditbench.suite import measure
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.driver import files_of, seeds_at_once
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.evaluate import AT_ONCE, score
from creditbench.suite.fingerprint import MEASURING, fingerprint
from creditbench.suite.learner import Digest
from creditbench.suite.meters import calibration
from creditbench.suite.meters.alignment import alignment
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import Planned
from creditbench.suite.provenance import machine
from creditbench.suite.specification import Spec
from creditbench.suite.standing import Verdict, stand, stand_cost
from creditbench.suite.store import Store
from creditbench.suite.train import Cell, learner
from creditbench.suite.work import Group, Skip, assemble

PROBING = 0.8  # [s] for a cell; two steps and one scored batch are taken whatever they take


@dataclass(frozen=True)
class Probe:
    """A few steps of some seeds of a cell trained together."""

    seeds: int
    steps: int  # of the whole training
    step_seconds: float  # [s] mean, of all these seeds
    scoring_seconds_per_sample: float  # [s], of all these seeds
    alignment_seconds: float  # [s], of looking once how updates lie to the gradient
    peak_bytes: int  # [B] of live tensors in a step
    macs: float  # of a step, all these seeds
    samples: tuple[int, int]  # validation, test


@dataclass(frozen=True)
class Forecast:
    """What is left of a cell and what it will take. None: nothing is left, or it cannot be told."""

    spec: Spec  # the first seed's
    verdicts: dict[Verdict, int]  # of its seeds
    cost: Verdict
    steps: int | None = None  # of one seed
    seconds: float | None = None  # [s], of all that is left
    peak_bytes: int | None = None  # [B] of live tensors in a step of the seeds that are trained together
    macs: float | None = None  # of the training that is left, scoring not included
    words: str = ""  # why nothing can be told

    @property
    def settled(self) -> int:
        return sum(self.verdicts.get(verdict, 0) for verdict in ("done", "kept", "skipped"))

    @property
    def replays(self) -> int:
        return self.verdicts.get("replay", 0)

    @property
    def trainings(self) -> int:
        return sum(self.verdicts.get(verdict, 0) for verdict in ("missing", "again", "retry"))


def forecast(cells: Sequence[Planned], store: Store, device: torch.device) -> Iterator[Forecast]:
    """Every cell of a plan, as it comes."""
    for cell in cells:
        files = files_of(cell.origin)
        code = fingerprint(files, torch.__version__)
        measuring = fingerprint(files, torch.__version__, MEASURING)
        verdicts = Counter(stand(spec, store, code).verdict for spec in cell.specs)
        cost = stand_cost(cell.specs[0], store, machine(device), measuring)
        found = Forecast(cell.specs[0], dict(verdicts), cost.verdict)
        if set(verdicts) == {"skipped"}:
            yield replace(found, cost="skipped")  # nothing is measured of what cannot be done
            continue
        at_work = found.trainings + found.replays
        if not at_work and cost.settled:
            yield found
            continue
        try:
            probe = probed(cell, max(1, min(seeds_at_once(cell, device), at_work)), device)
        except (Skip, CreditbenchError) as error:
            yield replace(found, words=str(error))
            continue
        yield _predicted(found, probe, cell.specs[0], not cost.settled)


def probed(cell: Planned, seeds: int, device: torch.device) -> Probe:
    """Trains a few steps and throws them away. Raises CreditbenchError, and Skip where a rule says it
    cannot."""
    specs = cell.specs[:seeds]
    things, _ = assemble(Group("train", specs, cell.origin, device.type, ""))
    started = time.perf_counter()
    model, batches = learner(things, specs)
    epoch = batches.epoch()
    batch = next(epoch)
    with count_operations() as counted:
        model.step(batch)  # a first step is slow; it is counted and not timed
    before = _now(device)
    memory = step_memory(model, batch)
    times = []
    if _now(device) - started > PROBING:  # a step so long that being watched is little of it
        times.append(_now(device) - before)
    while not times or (_now(device) - started < PROBING / 2 and len(times) < 200):
        before = _now(device)
        batch = next(epoch, batch)  # gathering it is part of training
        model.step(batch)
        times.append(_now(device) - before)
    before = _now(device)
    alignment(model, batch)
    looked = _now(device) - before
    return Probe(
        seeds=len(specs),
        steps=model.steps,
        step_seconds=statistics.fmean(times),
        scoring_seconds_per_sample=_scoring(model, things),
        alignment_seconds=looked,
        peak_bytes=memory.peak,
        macs=float(counted.macs),
        samples=(len(things.splits.validation), len(things.splits.test)),
    )


def _scoring(model: Any, things: Cell) -> float:
    part = things.splits.validation
    part = replace(part, inputs=part.inputs[:AT_ONCE], targets=part.targets[:AT_ONCE])
    before = _now(things.device)
    score(model.network, model.rule, model.state, things.task, part, things.splits.train)
    return (_now(things.device) - before) / len(part)


def _predicted(found: Forecast, probe: Probe, spec: Spec, with_cost: bool) -> Forecast:
    validation, test = (count * probe.scoring_seconds_per_sample for count in probe.samples)
    first_steps = min(Digest.STEPS, probe.steps) * probe.step_seconds + validation
    training = probe.steps * probe.step_seconds
    training += validation + spec.epochs * (validation + probe.alignment_seconds)  # the digest scores too
    training += probe.alignment_seconds + 2 * test  # the last epoch's weights and the best one's
    seconds = (found.trainings * training + found.replays * first_steps) / probe.seeds
    if with_cost:
        seconds += _measuring(probe)
    return replace(
        found,
        steps=probe.steps,
        seconds=seconds,
        peak_bytes=probe.peak_bytes,
        macs=found.trainings * probe.steps * probe.macs / probe.seeds,
    )


def _measuring(probe: Probe) -> float:
    """Seconds to take a cell's cost: on one seed, whose step takes no longer than that of several."""

    def timed(seconds: float, budget: float = measure.BUDGET, fewest: int = measure.FEWEST) -> float:
        return min(max(budget, fewest * seconds), measure.MOST * seconds)

    step, inference = probe.step_seconds / probe.seeds, probe.scoring_seconds_per_sample / probe.seeds
    calls = (
        3 * measure.WARM_UP + 5
    )  # before timing, for the process's memory and the device's, and for counts
    beside = step + timed(step, measure.BUDGET / 2, calibration.FEWEST)  # in turns with the fixed kernel
    return calls * step + beside + timed(step) + timed(inference * 128) + timed(inference)


def longest_shard(forecasts: Sequence[Forecast], count: int) -> float:
    """Seconds of the longest of `count` shards, as `creditbench run --shard K/N` deals cells: every N-th in
    the order of their hashes."""
    ranked = sorted(forecasts, key=lambda found: found.spec.cell)
    return max(sum(found.seconds or 0.0 for found in ranked[first::count]) for first in range(count))


def shards_within(forecasts: Sequence[Forecast], seconds: float) -> int | None:
    """The fewest shards of which none takes longer; None where a single cell does."""
    return next(
        (n for n in range(1, len(forecasts) + 1) if longest_shard(forecasts, n) <= seconds),
        None,
    )


def as_row(found: Forecast) -> dict[str, Any]:
    """For JSON."""
    spec = found.spec.as_dict()
    del spec["seed"]
    return {"cell": found.spec.cell, **spec} | {
        name: value for name, value in asdict(found).items() if name != "spec"
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
