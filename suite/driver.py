"""The driver: from planned cells to records in a folder. It alone writes."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from creditbench.suite import registry
from creditbench.suite.checkpoints import discard
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Executor
from creditbench.suite.executors.inline import Inline
from creditbench.suite.fingerprint import MEASURING, TRAINING, fingerprint, modules
from creditbench.suite.learner import build_blocks
from creditbench.suite.lock import locked
from creditbench.suite.plan import Origin, Planned, load_rule, load_task
from creditbench.suite.provenance import machine
from creditbench.suite.record import Cost, Run, Status
from creditbench.suite.shards import WHOLE, Shard
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.standing import stand
from creditbench.suite.store import Store, read
from creditbench.suite.train import Trained
from creditbench.suite.work import Group, Outcome, Revalidated, Unmeasured, Work

# Training seeds in one pass pays on a CPU only where single operators are too small to fill it.
SMALL = 150_000  # weights of a network, on a CPU (tests/benchmarks measures what it brings on digits)
TOGETHER = 16  # seeds in one pass at most
CHECKPOINTS = "checkpoints"  # the folder, beside the records, of what cut-short trainings go on from


class Observer(Protocol):
    """Told what happens, to show it; several groups may be at work at once.

    `SilentObserver` shows nothing."""

    def planned(self, runs: int, stored: int) -> None: ...

    def started(self, group: Group) -> None: ...

    def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None: ...

    def ended(self, group: Group) -> None: ...

    def finished(self, run: Run, kept: bool) -> None: ...

    def complained(self, sentence: str) -> None: ...


class SilentObserver:
    def planned(self, runs: int, stored: int) -> None: ...

    def started(self, group: Group) -> None: ...

    def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None: ...

    def ended(self, group: Group) -> None: ...

    def finished(self, run: Run, kept: bool) -> None: ...

    def complained(self, sentence: str) -> None: ...


@dataclass
class Summary:
    """What a run of a suite came to."""

    keys: list[str] = field(default_factory=list)  # of all runs of the suite, stored ones included
    trained: int = 0
    kept: int = 0
    unreadable: list[str] = field(default_factory=list)  # one sentence per record
    troubles: dict[tuple[str, Status, str | None], list[int]] = field(default_factory=dict)

    def note(self, run: Run) -> None:
        """Keeps in mind what did not end well: cell, status and reason, and which seeds."""
        if run.status != "ok":
            self.troubles.setdefault((_name(run.spec), run.status, run.reason), []).append(run.spec.seed)

    @property
    def skipped(self) -> int:
        """Runs that a rule said it could not do."""
        return sum(len(s) for (_, status, _), s in self.troubles.items() if status == "skipped")

    @property
    def failed(self) -> bool:
        """Whether anything went wrong that was not said in advance."""
        return bool(self.unreadable) or any(status != "skipped" for _, status, _ in self.troubles)

    def sentences(self) -> list[str]:
        """One for each cell and reason."""
        return self.unreadable + [
            f"{cell}, seed {', '.join(map(str, seeds))}: {status}: {reason}"
            for (cell, status, reason), seeds in self.troubles.items()
        ]


def choose_device(name: str) -> torch.device:
    """cpu, cuda, or auto: cuda where there is one."""
    if name not in ("auto", "cpu", "cuda"):
        raise CreditbenchError(f"--device is auto, cpu or cuda, not '{name}'.")
    if name == "cuda" and not torch.cuda.is_available():
        raise CreditbenchError(
            "No CUDA device is available to this torch; use --device cpu or install a CUDA build of torch."
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def run_cells(
    cells: Sequence[Planned],
    store: Store,
    device: torch.device,
    observer: Observer | None = None,
    executor: Executor | None = None,
    part: Shard = WHOLE,
) -> Summary:
    """Trains and measures what the store does not already hold, record by record.

    part: which of the cells; drivers with other parts of the same suite may share the folder."""
    observer, executor = observer or SilentObserver(), executor or Inline()
    cells = part.of(cells)
    with locked(store.folder, part):
        summary = Summary(keys=[spec.key for cell in cells for spec in cell.specs])
        todo: list[Group] = []
        for cell in cells:
            groups, done = _groups(cell, store, device, executor.alone, summary)
            todo += groups
            summary.kept += len(done)
            for run in done:
                summary.note(run)
        observer.planned(len(summary.keys), summary.kept)
        for code, group in {group.fingerprint: group for group in todo}.items():
            root = TRAINING if group.work == "train" else MEASURING
            store.put_code(code, modules(files_of(group.origin), torch.__version__, root))
        with contextlib.closing(executor(todo, observer)) as outcomes:
            for group, outcome in outcomes:
                _keep(group, outcome, store, observer, summary)
    return summary


def _keep(group: Group, outcome: Outcome, store: Store, observer: Observer, summary: Summary) -> None:
    """Writes an outcome down before anyone is told of it."""
    if isinstance(outcome, Trained):
        store.put(outcome.run, outcome.predictions)
        if outcome.checkpoint is not None:
            discard(Path(outcome.checkpoint))
        summary.trained += 1
        summary.note(outcome.run)
        observer.finished(outcome.run, kept=False)
    elif isinstance(outcome, Revalidated):
        store.revalidate(outcome.spec, group.fingerprint, outcome.deviation)
        summary.kept += 1
        if (kept := store.get(outcome.spec)) is not None:
            summary.note(kept)
            observer.finished(kept, kept=True)
    elif isinstance(outcome, Cost):
        store.put(outcome)
    elif isinstance(outcome, Unmeasured):
        observer.complained(f"The cost of {_name(outcome.spec)} was not measured: {outcome.reason}")


def _groups(
    cell: Planned, store: Store, device: torch.device, alone: bool, summary: Summary
) -> tuple[list[Group], list[Run]]:
    """The work that is left of a cell, and the runs that need none.

    A record that cannot be read is neither: it is left as it lies and named."""
    code, measuring = code_of(cell.origin, "train"), code_of(cell.origin, "cost")
    done: list[Run] = []
    missing: list[Spec] = []
    previous = {}
    for spec in cell.specs:
        found = stand(spec, store, code)
        if found.verdict == "unreadable":
            summary.unreadable.append(found.words)
            continue
        if found.run is not None and found.settled:
            done.append(found.run)
            continue
        missing.append(spec)
        if found.run is not None and found.verdict == "replay":
            previous[spec.key] = found.run.digest
    groups = []
    size = seeds_at_once(cell, device)
    kept = str((store.folder / CHECKPOINTS).absolute())
    replayed = [spec for spec in missing if spec.key in previous]
    fresh = [spec for spec in missing if spec.key not in previous]
    for specs in (replayed, fresh):
        for start in range(0, len(specs), size):
            own = tuple(specs[start : start + size])
            groups.append(
                Group("train", own, cell.origin, device.type, code, cell.recipe, previous, cell.tuning, kept)
                if specs is replayed
                else Group("train", own, cell.origin, device.type, code, cell.recipe, None, cell.tuning, kept)
            )
    try:
        cost = store.get_cost(cell.specs[0], machine(device)) if alone else _any_cost(cell, store)
    except CreditbenchError as error:
        summary.unreadable.append(str(error))
        return groups, done
    if cost is None or cost.fingerprint != measuring or (alone and not cost.alone):
        if not all(run.status == "skipped" for run in done) or missing:
            groups.append(Group("cost", cell.specs[:1], cell.origin, device.type, measuring))
    return groups, done


def code_of(origin: Origin, work: Work) -> str:
    """The fingerprint of what a cell's result (its trials' too), or its cost, depends on."""
    return fingerprint(files_of(origin), torch.__version__, MEASURING if work == "cost" else TRAINING)


def _any_cost(cell: Planned, store: Store) -> Cost | None:
    """A cost of this cell, whichever machine it is of."""
    where = store.cost_path(cell.specs[0], "x")
    for path in sorted(where.parent.glob(where.name.replace("-x.json", "-*.json"))):
        if isinstance(found := read(path), Cost):
            return found
    return None


def seeds_at_once(cell: Planned, device: torch.device) -> int:
    """How many seeds to train in one pass: by device and size, never part of a run's identity."""
    if not load_rule(cell.origin.rule).together:
        return 1
    if device.type == "cuda":
        return TOGETHER
    return TOGETHER if _weights(cell) <= SMALL else 1


def _weights(cell: Planned) -> float:
    """Weights of a fully connected network; convolutions do much work per weight and count as large."""
    task, spec = load_task(cell.origin.task), cell.specs[0]
    _, options = parse_label(spec.network)
    try:
        builder = registry.load("network", cell.origin.network)
        blocks = build_blocks(task, builder, {**options, **spec.network_choices})
    except CreditbenchError:
        return math.inf  # the group will say so
    if any(len(block.preactivation_shape) > 1 for block in blocks):
        return math.inf
    return sum(math.prod(b.input_shape) * math.prod(b.preactivation_shape) for b in blocks)


def files_of(origin: Origin) -> list[Path]:
    """The files that define a cell's task, network and rule."""
    found = [registry.source_file("task", origin.task), registry.source_file("network", origin.network)]
    if isinstance(origin.rule, str):
        found.append(registry.source_file("rule", origin.rule))
    else:
        try:
            found.append(Path(inspect.getfile(origin.rule)))
        except (TypeError, OSError):
            raise CreditbenchError(
                f"The source of rule '{origin.rule.name}' cannot be found; define it in a file, so that its"
                " records can be told from those of its next version."
            ) from None
    return [path for path in found if path is not None]


def _name(spec: Spec) -> str:
    return f"{spec.rule} on {spec.task}, {spec.network}"
