"""`creditbench doctor`: what is wrong with a folder of records, and what to type. It changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from creditbench.suite.api import planned
from creditbench.suite.audit.audit import AUDITING, subject_of
from creditbench.suite.driver import files_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.fingerprint import MEASURING, fingerprint
from creditbench.suite.plan import load_task
from creditbench.suite.provenance import digest
from creditbench.suite.record import Audit, Cost, Run
from creditbench.suite.scores import SHARES
from creditbench.suite.specification import Spec, format_label
from creditbench.suite.standing import MEANING, judge
from creditbench.suite.store import BASELINE, RECORD, SUPERSEDED, Store, read
from creditbench.suite.stored import Known, by_cell, cells_of
from creditbench.suite.types import Splits

if TYPE_CHECKING:
    import numpy as np

Kind = Literal[
    "unreadable",  # no whole, strict record; or its predictions are none
    "misplaced",  # not where its content says it belongs
    "duplicate",  # the same run or cost in another place too
    "predictions",  # missing, or other than the score says
    "data",  # of another version of the task, or trained on other data
    "code",  # made by other code than this
    "ended",  # failed, timed out, out of memory
    "missing",  # of the suite
    "orphan",  # belongs to a record that is not there
    "temporary",  # left by a writer that was killed
]
NOTE = re.compile(r"(seed-[0-9]+-[0-9a-f]{12})\.same-[0-9a-f]{12}\.json")
PREDICTIONS = re.compile(r"(seed-[0-9]+-[0-9a-f]{12})\.npz")
TEMPORARY = re.compile(r"\.[A-Za-z0-9._=-]+\.(json|npz|html)\.[a-z0-9_]{8}")
AT_WORK = 60.0  # [s]: a temporary file younger than this may be some writer's at this moment
MOST_BYTES = 2**28  # of predictions, unpacked
DATA = "CREDITBENCH_DATA"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, in words, and the command that mends it if there is one."""

    kind: Kind
    where: str  # below the folder: a file, or task/network/rule of a cell
    words: str
    command: str | None = None


@dataclass
class Examination:
    """What a folder came to."""

    folder: str
    runs: int = 0
    costs: int = 0
    superseded: int = 0
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)  # what could not be judged here, and why

    def found(self, kind: Kind, where: str, words: str, command: str | None = None) -> None:
        self.findings.append(Finding(kind, where, words, command))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(folder: Path, suite: str | None = None, rules: Sequence[str] = ()) -> Examination:
    """Looks at every file below a folder.

    suite: also what it lacks of this suite. rules: FILE.py:CLASS of rules that are not installed."""
    store, told = Store(folder), Examination(str(folder))
    known = Known.of(rules, suite)
    runs, costs, audits = _read_all(store, told)
    for records in (runs, costs, audits):
        _misplaced(records, store, told)
    _beside_records(runs, store, told)
    right = {path: run for path, run in runs.items() if path == store.path(run)}
    _code(right, costs, known, store, told)
    _audits(audits, store, told)
    _predictions_and_data(right, known, store, told)
    if suite is not None:
        _missing(suite, right, costs, known, store, told)
    return told


def _read_all(store: Store, told: Examination) -> tuple[dict[Path, Run], dict[Path, Cost], dict[Path, Audit]]:
    runs: dict[Path, Run] = {}
    costs: dict[Path, Cost] = {}
    audits: dict[Path, Audit] = {}
    for path in store.paths():
        try:
            record = read(path)
        except CreditbenchError as error:
            told.found("unreadable", _below(path, store), str(error))
            continue
        if isinstance(record, Run):
            runs[path] = replace(record, curve=(), alignment=())  # what is not looked at fills the memory
        elif isinstance(record, Cost):
            costs[path] = record
        else:
            audits[path] = record
    told.runs, told.costs = len(runs), len(costs)
    return runs, costs, audits


def _misplaced(records: dict[Path, Any], store: Store, told: Examination) -> None:
    """Names that say another thing than the content, and the same thing under two names."""
    places: dict[Path, list[Path]] = {}
    for path, record in records.items():
        places.setdefault(store.path(record), []).append(path)
    for home, paths in places.items():
        for path in paths:
            if path == home:
                continue
            if home in records:
                same = path.read_bytes() == home.read_bytes()
                which = "the same as" if same else "another result of the same specification as"
                words = f"it holds {which} {_below(home, store)}; delete the one that you do not want"
                told.found("duplicate", _below(path, store), words)
            else:
                words = f"it belongs at {_below(home, store)}, and is not found by `creditbench run` here"
                told.found("misplaced", _below(path, store), f"{words}; move it with what lies beside it")


def _beside_records(runs: dict[Path, Run], store: Store, told: Examination) -> None:
    """Files that belong to a record or to a writer."""
    for entry in _files_below(os.fspath(store.folder)):
        path, where = Path(entry.path), _below(Path(entry.path), store)
        if SUPERSEDED in path.relative_to(store.folder).parts:
            told.superseded += bool(RECORD.fullmatch(re.sub(r"\.[0-9]+\.json$", ".json", entry.name)))
        elif BASELINE in path.relative_to(store.folder).parts:
            continue  # another collection, to be examined by itself
        elif TEMPORARY.fullmatch(entry.name):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > AT_WORK:
                told.found("temporary", where, "a writer was stopped while it wrote this; delete it")
        elif name := NOTE.fullmatch(entry.name) or PREDICTIONS.fullmatch(entry.name):
            home = path.with_name(f"{name[1]}.json")
            if not home.exists():
                told.found(
                    "orphan", where, f"the record {home.name} that it belongs to is not there; delete it"
                )
            elif home in runs and NOTE.fullmatch(entry.name) and not _is_about(path, runs[home]):
                told.found("orphan", where, "it vouches for another result than the one beside it; delete it")


def _is_about(note: Path, run: Run) -> bool:
    try:
        data = json.loads(note.read_bytes())
        return bool(data["key"] == run.spec.key and data["of"] == run.fingerprint)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _code(
    runs: dict[Path, Run], costs: dict[Path, Cost], known: Known, store: Store, told: Examination
) -> None:
    """Results of other code, and runs that did not end well."""
    by_key = {run.spec.key: run for run in runs.values()}
    cells, strange = cells_of((run.spec for run in runs.values()), known)
    told.unchecked += [f"the code of {len(specs)} runs: {what}" for what, specs in strange.items()]
    measuring: dict[str, str] = {}
    for cell in cells:
        files = files_of(cell.origin)
        code = fingerprint(files, torch.__version__)
        measuring[cell.specs[0].cell] = fingerprint(files, torch.__version__, MEASURING)
        groups: dict[tuple[Kind, str], list[Spec]] = {}
        for spec in cell.specs:
            standing = judge(by_key[spec.key], store, code)
            if standing.verdict in ("replay", "again"):
                groups.setdefault(("code", MEANING[standing.verdict]), []).append(spec)
            elif standing.verdict == "retry":
                groups.setdefault(("ended", standing.words), []).append(spec)
        for (kind, words), specs in groups.items():
            told.found(kind, _place(specs), words, known.command(specs, told.folder))
    for cost in costs.values():
        if measuring.get(cost.spec.cell, cost.fingerprint) != cost.fingerprint:
            words = f"its cost on machine {cost.machine} was measured by other code"
            told.found(
                "code", _place([cost.spec], seeds=False), words, known.command([cost.spec], told.folder)
            )


def _audits(audits: dict[Path, Audit], store: Store, told: Examination) -> None:
    """Audits of other code; those of rules that are not installed cannot be checked."""
    for path, audit in audits.items():
        spec = audit.spec
        rule = format_label(spec.rule, spec.hyperparameters)
        try:
            _, files = subject_of(rule, spec.task, spec.network)
        except CreditbenchError as error:
            told.unchecked.append(f"the code of the audit of {rule}: {error}")
            continue
        if fingerprint(files, torch.__version__, AUDITING) != audit.fingerprint:
            words = ["creditbench", "audit", rule, "--task", spec.task, "--network", spec.network]
            command = shlex.join([*words, "--results", told.folder])
            told.found("code", _below(path, store), "it was audited under other code", command)


def _predictions_and_data(runs: dict[Path, Run], known: Known, store: Store, told: Examination) -> None:
    """Test predictions against the score, and the data of today against that of the record."""
    by_task: dict[str, list[tuple[Path, Run]]] = {}
    for path, run in runs.items():
        if run.status in ("ok", "diverged"):
            by_task.setdefault(run.spec.task, []).append((path, run))
    for task, own in by_task.items():
        splits, why = _at_hand(task)
        sha = "" if splits is None else digest(splits)
        if splits is None:
            told.unchecked.append(f"data and scores of {len(own)} runs on {task}: {why}")
        stale: dict[str, list[Spec]] = {}
        for path, run in own:
            if run.score is not None:
                _predictions(path, run, splits, known, store, told)
            if splits is None:
                continue
            version, before = load_task(task).version, run.provenance.get("data_sha256")
            if run.spec.task_version != version:
                stale.setdefault(f"the task is at version {version} now", []).append(run.spec)
            elif before and before != sha:
                stale.setdefault("it was trained on other data than is here now", []).append(run.spec)
        for words, specs in stale.items():
            for cell in by_cell(specs):
                told.found("data", _place(cell), words, known.command(cell, told.folder))


def _predictions(
    path: Path, run: Run, splits: Splits | None, known: Known, store: Store, told: Examination
) -> None:
    file = path.with_suffix(".npz")
    if run.metric not in SHARES:
        return  # numbers that were told are not kept: they are many, and their error is the score
    if not file.exists():
        words = "its test predictions are not beside it; delete it and run it again"
        told.found("predictions", _below(path, store), words, known.command([run.spec], told.folder))
        return
    try:
        stored = _arrays(file)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        told.found(
            "unreadable", _below(file, store), f"no test predictions ({error}); delete it and its record"
        )
        return
    if splits is None or run.metric != "accuracy":
        return
    targets = splits.test.targets.numpy()
    for name, score in (("last", run.score), ("best", run.best_score)):
        own = stored[name]
        if own.shape != targets.shape:
            words = f"'{name}' holds {len(own)} predictions for {len(targets)} test samples"
            if len(own) == len(targets):
                words = f"'{name}' holds predictions {list(own.shape)} for test targets {list(targets.shape)}"
            told.found("predictions", _below(file, store), words)
            continue
        right = float((own == targets)[targets >= 0].mean())  # of a series, the steps that have a target
        if score is not None and abs(right - score) > 1e-6:
            words = f"'{name}' gives {right:.4f} and the record says {score:.4f}"
            told.found("predictions", _below(file, store), f"{words}; one of them was changed")


def _arrays(file: Path) -> dict[str, np.ndarray]:
    """Both arrays of class numbers, [samples] or of a series' steps [samples, steps]; nothing but numbers is
    ever loaded."""
    import numpy as np

    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
            raise ValueError("more bytes than any test split")
    with np.load(file, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in ("last", "best")}
    for name, own in found.items():
        if own.ndim not in (1, 2) or own.dtype.kind not in "iu":
            raise ValueError(f"'{name}' is no array of class numbers")
    return found


def _missing(
    suite: str,
    runs: dict[Path, Run],
    costs: dict[Path, Cost],
    known: Known,
    store: Store,
    told: Examination,
) -> None:
    there = {run.spec.key for run in runs.values()}
    done = {run.spec.cell for run in runs.values() if run.status != "skipped"}
    measured = {cost.spec.cell for cost in costs.values()}
    for cell in planned(suite):
        lacking = [spec for spec in cell.specs if spec.key not in there and not store.run_path(spec).exists()]
        if lacking:
            told.found("missing", _place(lacking), f"of {suite}", known.command(lacking, told.folder))
        elif cell.specs[0].cell in done - measured:
            words, command = "its cost, on any machine", known.command(cell.specs, told.folder)
            told.found("missing", _place(cell.specs, seeds=False), words, command)


def _at_hand(task: str) -> tuple[Splits | None, str]:
    """A task's data if it can be had without a download."""
    try:
        with _no_download():
            return load_task(task).read(), ""
    except CreditbenchError as error:
        return None, str(error)


@contextlib.contextmanager
def _no_download() -> Iterator[None]:
    """Tasks look into the cache alone, as into a folder of the user's."""
    if os.environ.get(DATA):
        yield
        return
    import pooch

    os.environ[DATA] = str(pooch.os_cache("creditbench"))
    try:
        yield
    finally:
        del os.environ[DATA]


def _files_below(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        else:
            yield entry


def _place(specs: Sequence[Spec], seeds: bool = True) -> str:
    first = specs[0]
    cell = f"{first.task}/{first.network}/{first.rule}"
    return f"{cell}, seed {', '.join(str(spec.seed) for spec in specs)}" if seeds else cell


def _below(path: Path, store: Store) -> str:
    return path.relative_to(store.folder).as_posix()
