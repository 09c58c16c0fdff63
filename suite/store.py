"""A folder of records: readable names, atomic writes, nothing overwritten. No torch here.

    DIR/task/network/rule/seed-0-<key>.json       one trained seed
    DIR/task/network/rule/seed-0-<key>.npz        its test predictions (last epoch, best epoch)
    DIR/task/network/rule/cost-<cell>-<machine>.json
    DIR/task/network/rule/audit-<key>.json        what a variant of the rule needs on a variant of the network
    DIR/task/network/rule/seed-0-<key>.same-<fingerprint>.json   replayed under newer code: still valid
    DIR/code/<fingerprint>.json                    the modules that a fingerprint is made of
    DIR/superseded/...                             what a newer result replaced
    DIR/baseline/...                               another collection, no part of this one

Folders merge by copying.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Audit, Audited, Cost, Record, Run, from_json, to_json
from creditbench.suite.specification import Spec

SUPERSEDED = "superseded"
BASELINE = "baseline"  # what `creditbench compare` holds newer runs against: a collection of its own
APART = frozenset({SUPERSEDED, BASELINE})  # folders within a collection that are no part of it


@dataclass(frozen=True)
class Store:
    """Records below a folder, which is made when the first one is written."""

    folder: Path

    def path(self, record: Record) -> Path:
        """Where a record belongs."""
        if isinstance(record, Run):
            return self.run_path(record.spec)
        if isinstance(record, Audit):
            return self.audit_path(record.spec)
        return self.cost_path(record.spec, record.machine)

    def run_path(self, spec: Spec) -> Path:
        return self._place(spec) / f"seed-{spec.seed}-{spec.key}.json"

    def cost_path(self, spec: Spec, machine: str) -> Path:
        return self._place(spec) / f"cost-{spec.cell}-{_safe(machine)}.json"

    def audit_path(self, spec: Audited) -> Path:
        return self._place(spec) / f"audit-{spec.key}.json"

    def _place(self, spec: Spec | Audited) -> Path:
        parts = (spec.task, spec.network.partition(":")[0], spec.rule)
        return self.folder.joinpath(*(_safe(part) for part in parts))

    def put(self, record: Record, predictions: Mapping[str, Any] | None = None) -> Path:
        """Writes a record, atomically; one that it replaces is kept in `superseded`.

        All that is new is on the disk before the old is touched, so that a disk that fills up leaves the old.
        predictions: arrays of test predictions, stored beside it as a compressed npz."""
        path = self.path(record)
        beside = path.with_suffix(".npz")
        with _explained(path), contextlib.ExitStack() as written:
            names = []
            if predictions:
                import numpy as np

                with _whole(beside, written) as (file, temporary):
                    np.savez_compressed(file, **predictions)
                names.append((temporary, beside))
            with _whole(path, written) as (file, temporary):
                file.write(to_json(record).encode(errors="replace"))  # a reason may hold any bytes
            names.append((temporary, path))
            old = self._keep(path)
            for temporary, name in names:
                os.replace(temporary, name)
            for left in old - {name for _, name in names}:
                left.unlink()
        return path

    def get(self, spec: Spec) -> Run | None:
        """The stored run of exactly this specification."""
        path = self.run_path(spec)
        record = read(path) if path.exists() else None
        if record is not None and record.spec.key != spec.key:
            raise CreditbenchError(f"{path} holds another run than its name says; delete it.")
        return record if isinstance(record, Run) else None

    def get_cost(self, spec: Spec, machine: str) -> Cost | None:
        path = self.cost_path(spec, machine)
        record = read(path) if path.exists() else None
        return record if isinstance(record, Cost) else None

    def get_audit(self, spec: Audited) -> Audit | None:
        path = self.audit_path(spec)
        record = read(path) if path.exists() else None
        return record if isinstance(record, Audit) else None

    def is_valid(self, run: Run, fingerprint: str) -> bool:
        """Whether a run's result is known to be what the code of this fingerprint gives."""
        if run.fingerprint == fingerprint:
            return True
        try:
            note = json.loads(self._same_path(run.spec, fingerprint).read_bytes())
            return bool(note["of"] == run.fingerprint)  # not of another run that lay here before
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def revalidate(self, spec: Spec, fingerprint: str, deviation: float) -> None:
        """Notes that newer code replays the first steps of a run within `deviation`."""
        run = self.get(spec)
        if run is None:
            raise CreditbenchError(f"There is no run to revalidate at {self.run_path(spec)}.")
        note = {
            "key": spec.key,
            "of": run.fingerprint,
            "fingerprint": fingerprint,
            "largest_deviation": deviation,
        }
        path = self._same_path(spec, fingerprint)
        with _explained(path), replacing(path) as file:
            file.write((json.dumps(note, indent=1, allow_nan=False) + "\n").encode())

    def _same_path(self, spec: Spec, fingerprint: str) -> Path:
        return self.run_path(spec).with_suffix(f".same-{fingerprint}.json")

    def put_code(self, fingerprint: str, modules: Mapping[str, str]) -> None:
        """Keeps what a fingerprint is made of, so that `creditbench why` can name what has changed."""
        path = self._code_path(fingerprint)
        if not path.exists():
            with _explained(path), replacing(path) as file:
                file.write((json.dumps(modules, indent=1) + "\n").encode())

    def get_code(self, fingerprint: str) -> dict[str, str] | None:
        """Module -> digest, as they were when the fingerprint was taken; None where it was not kept."""
        try:
            modules = json.loads(_content(self._code_path(fingerprint)))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(modules, dict) or not all(isinstance(own, str) for own in modules.values()):
            return None
        return modules

    def _code_path(self, fingerprint: str) -> Path:
        return self.folder / "code" / f"{_safe(fingerprint)}.json"

    def paths(self, *place: str) -> Iterator[Path]:
        """Every record file, in a fixed order; with a place, those of a task, its network, its rule."""
        if not self.folder.is_dir():
            raise CreditbenchError(
                f"There is no folder {self.folder}. `creditbench run quickstart --results {self.folder}`"
                " makes one."
            )
        below = self.folder.joinpath(*map(_safe, place))
        if below.is_dir():
            yield from _records_below(os.fspath(below))

    def records(self) -> Iterator[Record]:
        return (read(path) for path in self.paths())

    def _keep(self, path: Path) -> set[Path]:
        """Keeps a record and what lies beside it in `superseded`, where they are; returns what that is."""
        if not path.exists():
            return set()
        attic = self.folder / SUPERSEDED / path.relative_to(self.folder).parent
        attic.mkdir(parents=True, exist_ok=True)
        number = next(n for n in count() if not (attic / f"{path.stem}.{n}.json").exists())
        # Notes that other code replays the old result say nothing about the new one.
        notes = path.parent.glob(f"{path.stem}.same-*.json")
        found = [old for old in (*notes, path.with_suffix(".npz"), path) if old.exists()]
        with contextlib.ExitStack() as undo:
            for old in found:
                kept = attic / old.name.replace(path.stem, f"{path.stem}.{number}", 1)
                undo.callback(kept.unlink, missing_ok=True)
                _double(old, kept)
            undo.pop_all()
        return set(found)


RECORD = re.compile(
    r"(seed-[0-9]{1,18}-[0-9a-f]{12}|cost-[0-9a-f]{12}-[A-Za-z0-9._=-]+|audit-[0-9a-f]{12})\.json"
)
MOST_BYTES = 64 * 2**20  # of one record; a learning curve of 100,000 epochs is a quarter of it


def _records_below(folder: str) -> Iterator[Path]:
    """Sorted as paths are, by part. Links to folders are not followed: they may lead round in a ring."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if RECORD.fullmatch(entry.name):
            yield Path(entry.path)
        elif entry.name not in APART and entry.is_dir(follow_symlinks=False):
            yield from _records_below(entry.path)


def read(path: Path) -> Record:
    """One record file. Raises CreditbenchError for anything that is not a whole, strict record."""
    try:
        text = _content(path).decode("utf-8")
    except OSError as error:
        problem = error.strerror or str(error)
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8 ({error.reason} at byte {error.start})"
    else:
        return from_json(text, str(path))
    raise CreditbenchError(f"{path} cannot be read: {problem}. Delete it or restore it.") from None


def _content(path: Path) -> bytes:
    # Not blocking: a pipe under a record's name would keep its reader waiting for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError("it is not a plain file")
        if state.st_size > MOST_BYTES:
            raise OSError(f"it has {state.st_size:,} bytes, more than any record")
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _safe(name: str) -> str:
    """A name as one folder: nothing that leaves the folder or that a file system refuses."""
    cleaned = re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip(".-")
    return cleaned or "unnamed"


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CreditbenchError(
            f"Cannot write {path}: {error.strerror}. Free space or choose another folder."
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Any]:
    """A file that appears under its name only when it is whole and on the disk."""
    with contextlib.ExitStack() as written:
        with _whole(path, written) as (file, temporary):
            yield file
        os.replace(temporary, path)


@contextlib.contextmanager
def _whole(path: Path, written: contextlib.ExitStack) -> Iterator[tuple[Any, str]]:
    """A file beside `path`, whole and on the disk afterwards, for the caller to give its name. It goes with
    `written` if it has not got it by then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    written.callback(_discard, temporary)
    with os.fdopen(descriptor, "wb") as file:
        yield file, temporary
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).chmod(0o644)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _double(old: Path, new: Path) -> None:
    """The same file under a second name; a copy where the file system has no links."""
    try:
        os.link(old, new)
    except OSError:
        with replacing(new) as file:
            file.write(old.read_bytes())
