"""`creditbench challenge`: one's own rule against the references, tuned and run as they were."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from creditbench.suite import measure, recipes
from creditbench.suite.driver import files_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.evaluate import score
from creditbench.suite.fingerprint import fingerprint
from creditbench.suite.plan import Label, Planned, Suite, load_rule, narrowed, plan, read_suite
from creditbench.suite.specification import Spec, parse_label
from creditbench.suite.store import Store
from creditbench.suite.train import Cell, learner
from creditbench.suite.tuning.stability import DEPTHS, RATES, SAMPLES, SEEDS, STEPS, no_grid
from creditbench.suite.tuning.trial import learning_splits
from creditbench.suite.tuning.tune import SEED, asked, is_tuned
from creditbench.suite.work import Group, Skip, assemble

AGAINST = ("bp", "dfa", "sigprop")
TRIALS = 12  # where no reference has a recipe
WARM_UP, TIMED = 2, 5  # steps of the probe
COST_SECONDS = (
    2.5 * measure.BUDGET + 1.0
)  # [s] of a cell's cost: two budgets, half of one for calibration, counts


@dataclass(frozen=True)
class Challenge:
    """What is asked for, and where it lies: records, recipes and studies are all in one folder."""

    rule: str
    against: tuple[str, ...]
    suite: Suite
    trials: int
    folder: Path
    references: Path | None  # a folder of records that may be borrowed

    @property
    def recipes(self) -> Path:
        return self.folder / "recipes"

    @property
    def name(self) -> str:
        """What the rule calls itself."""
        return load_rule(self.rule).name

    def cells(self) -> list[Planned]:
        """Everything that is to be run, with the recipes as they are now."""
        return plan(_with_rules(self.suite, (self.rule, *self.against)), own_recipes=self.recipes)

    def to_tune(self) -> Suite:
        """The rule on every cell, and each reference where it was never tuned."""
        parts = []
        for part in self.suite.parts:
            for task in part.tasks:
                for network in part.networks:
                    for rule in (self.rule, *self.against):
                        one = replace(part, tasks=(task,), networks=(network,), rules=(rule,), without=())
                        (cell,) = plan(Suite("one", "", (one,)))
                        if rule == self.rule or recipes.track(cell.recipe) != "tuned":
                            parts.append(one)
        return Suite(self.suite.name, self.suite.summary, tuple(parts))


def challenge(
    rule: str,
    against: Sequence[str],
    suite: str,
    tasks: Sequence[str],
    networks: Sequence[str],
    trials: int | None,
    folder: Path,
    references: Path | None,
) -> Challenge:
    """Checks what was asked for. The trials are, unless given, those that the references had."""
    if parse_label(rule)[1]:
        raise CreditbenchError(
            f"'{rule}' gives options, and a challenge tunes them: leave them out and name them in `search`."
        )
    own = load_rule(rule).name
    for other in against:
        load_rule(parse_label(other)[0])
    chosen = narrowed(read_suite(suite), tasks, networks, [])
    others = tuple(name for name in dict.fromkeys(against) if name not in (rule, own))
    if trials is None:
        had = [cell.tuning.get("trials") for cell in plan(_with_rules(chosen, others))] if others else []
        trials = max((number for number in had if isinstance(number, int)), default=TRIALS)
    return Challenge(rule, others, chosen, trials, folder, references or shipped())


def shipped() -> Path | None:
    """The reference records of this checkout; a wheel has none."""
    folder = Path(__file__).resolve().parent.parent / "results"
    return folder if folder.is_dir() else None


def borrow(asked_for: Challenge) -> tuple[int, int]:
    """Copies the references' records that fit; returns how many runs, and how many of them this code made.

    The driver replays the first steps of the others and keeps those that come out the same."""
    if asked_for.references is None:
        return 0, 0
    theirs, ours = Store(asked_for.references), Store(asked_for.folder)
    found = valid = 0
    for cell in asked_for.cells():
        if cell.origin.rule == asked_for.rule:
            continue
        code = fingerprint(files_of(cell.origin), torch.__version__)
        for spec in cell.specs:
            source, target = theirs.run_path(spec), ours.run_path(spec)
            if target.exists() or not source.exists():
                continue
            run = theirs.get(spec)
            if run is None or run.status != "ok":
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            for path in (
                *source.parent.glob(f"{source.stem}.same-*.json"),
                source.with_suffix(".npz"),
                source,
            ):
                if path.exists():  # the record itself comes last: what is cut short is not there
                    shutil.copy2(path, target.parent / path.name)
            found += 1
            valid += theirs.is_valid(run, code)
    return found, valid


# ----------------------------------------------------------------------------- how long it will take


@dataclass(frozen=True)
class Estimate:
    """Seconds by purpose, on this machine, one training at a time."""

    tuning: float
    running: float
    references: float
    measuring: float
    stability: float
    probes: int  # cells in which steps were timed

    @property
    def total(self) -> float:
        return self.tuning + self.running + self.references + self.measuring + self.stability

    def sentences(self) -> list[str]:
        parts = [
            f"{_span(seconds)} {purpose}"
            for purpose, seconds in (
                ("tuning", self.tuning),
                ("running the rule", self.running),
                ("running references without a record", self.references),
                ("measuring costs", self.measuring),
                ("stability", self.stability),
            )
            if seconds
        ]
        if not parts:
            return ["All is there; what other code made is replayed."]
        return [
            f"About {_span(self.total)}: {', '.join(parts)}.",
            f"This rests on {TIMED} steps and a scoring pass on this machine for each of {self.probes} pairs"
            " of rule and network, one training at a time. Trainings that ride together take less, other work"
            " beside them makes it more.",
        ]


@dataclass(frozen=True)
class Pace:
    """What was timed in a cell."""

    step: float  # [s]
    sample: float  # [s] of scoring one sample
    train: int  # samples
    validation: int

    def training(self, spec: Spec, tested: int = 0) -> float:
        """Seconds of one training; `tested`: samples that are scored at its end."""
        samples = spec.train_samples or self.train
        steps = samples // min(spec.batch_size, samples)
        return spec.epochs * (steps * self.step + self.validation * self.sample) + tested * self.sample


def estimate(asked_for: Challenge, device: torch.device) -> Estimate:
    """Times a few steps in every cell that is not done; what is stored already costs nothing."""
    tuning = running = references = measuring = 0.0
    paces: dict[tuple[str, str, str], Pace | None] = {}

    def pace(cell: Planned) -> Pace | None:
        key = (cell.specs[0].task, cell.specs[0].network, cell.specs[0].rule)
        if key not in paces:
            paces[key] = probe(cell, device)
        return paces[key]

    for study in asked(asked_for.to_tune(), asked_for.trials, asked_for.recipes):
        if study.left and not is_tuned(study, asked_for.recipes):
            if (own := pace(study.cell)) is not None:
                tuning += len(study.left) * own.training(study.spec)
    store = Store(asked_for.folder)
    for cell in asked_for.cells():
        missing = [spec for spec in cell.specs if not store.run_path(spec).exists()]
        if missing and (own := pace(cell)) is not None:
            seconds = sum(own.training(spec, own.validation) for spec in missing)
            if cell.origin.rule == asked_for.rule:
                running += seconds
            else:
                references += seconds
        if not list(store.run_path(cell.specs[0]).parent.glob(f"cost-{cell.specs[0].cell}-*.json")):
            measuring += COST_SECONDS
    first, _ = stability_cell(asked_for)
    grid = 0.0
    done = first is None or stability_path(asked_for, first).exists()
    if first is not None and not done and (own := pace(first)) is not None:
        epochs = -(-STEPS // max(1, min(SAMPLES, own.train) // first.specs[0].batch_size))
        spec = replace(first.specs[0], epochs=epochs, train_samples=min(SAMPLES, own.train))
        grid = 1.5 * len(DEPTHS) * RATES * SEEDS * own.training(spec)  # a half for the last layer's grid
    return Estimate(
        tuning, running, references, measuring, grid, sum(own is not None for own in paces.values())
    )


def probe(cell: Planned, device: torch.device) -> Pace | None:
    """Times a few steps and one scoring pass; None where the rule cannot run."""
    spec = replace(cell.specs[0], seed=SEED)
    splits = learning_splits(cell.origin.task, device)
    try:
        made = _assembled(cell, device)
    except Skip:
        return None
    model, batches = learner(made, [spec], steps=10**6)
    batch = next(batches.epoch())
    times = []
    for _ in range(WARM_UP + TIMED):
        started = _now(device)
        model.step(batch)
        times.append(_now(device) - started)
    few = replace(
        splits.validation, inputs=splits.validation.inputs[:1000], targets=splits.validation.targets[:1000]
    )
    started = _now(device)
    score(model.network, model.rule, model.state, made.task, few, splits.train)
    sample = (_now(device) - started) / len(few)
    step = statistics.median(times[WARM_UP:])
    return Pace(step, sample, len(splits.train), len(splits.validation))


def _assembled(cell: Planned, device: torch.device) -> Cell:
    """Its names turned into things, without test data. Raises Skip for what the rule refuses."""
    group = Group("train", cell.specs[:1], cell.origin, device.type, "")
    made, _ = assemble(group, lambda task, device: (learning_splits(task, device), ""))
    return made


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# ----------------------------------------------------------------------------- stability


def stability_cell(asked_for: Challenge) -> tuple[Planned | None, str]:
    """Where the grid is laid: the first task of the suite, on mlp, or else on the first of its networks that
    has a depth and that the rule can train; with the reason if there is none."""
    part, reasons = asked_for.suite.parts[0], list[str]()
    for network in dict.fromkeys(("mlp", *(parse_label(label)[0] for label in part.networks))):
        if reason := no_grid(part.tasks[0], network):
            reasons.append(reason)
            continue
        one = replace(part, tasks=part.tasks[:1], networks=(network,), rules=(asked_for.rule,), without=())
        (cell,) = plan(Suite("grid", "", (one,)), own_recipes=asked_for.recipes)
        try:
            _assembled(cell, torch.device("cpu"))
        except (Skip, CreditbenchError) as refused:
            reasons.append(str(refused).rstrip("."))
            continue
        return cell, ""
    return None, "; ".join(dict.fromkeys(reasons))


def stability_path(asked_for: Challenge, cell: Planned) -> Path:
    """Of the finished grid; another version of the rule's code, or other choices, get another one."""
    code = fingerprint(files_of(cell.origin), torch.__version__)
    name = Path(recipes.file_name(asked_for.name)).stem
    return asked_for.folder / f"stability-{name}-{cell.specs[0].cell}-{code}.json"


def _with_rules(suite: Suite, rules: Sequence[Label]) -> Suite:
    return replace(suite, parts=tuple(replace(p, rules=tuple(rules), without=()) for p in suite.parts))


def _span(seconds: float) -> str:
    """A time that nobody takes for exact: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.2g} h"
