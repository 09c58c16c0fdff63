"""The journal of a study: what became of the trials that are finished. Optuna's JournalFileBackend.

JSON lines, one per trial, on the disk before the next begins, written by the driver alone. (Of Optuna's
storages the one on Redis keeps pickled snapshots and the relational one needs a database; this one loads
neither.) Anyone can open it: `optuna.load_study(study_name=None, storage=JournalStorage(...))`.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.standing import FINISHED
from creditbench.suite.tuning.search import CHOICE, RATE, distributions, optuna_library
from creditbench.suite.tuning.space import Point, Space
from creditbench.suite.tuning.tried import PRUNED, Tried


class Journal:
    """The finished trials of one study, in a file that grows by a line for each."""

    def __init__(self, path: Path, name: str, space: Space, higher_is_better: bool = True) -> None:
        optuna = optuna_library()
        backend = optuna.storages.journal.JournalFileBackend
        self.path, self.space = path, space
        self.only = Point(None, space.combinations[0]).words  # where there is nothing to choose
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            begun = path.exists()
            storage = optuna.storages.JournalStorage(backend(str(path)))
            study: Any = None
            with contextlib.suppress(KeyError):  # killed before its first line
                if begun:  # looking at a journal leaves it as it lies
                    study = optuna.load_study(study_name=name, storage=storage)
            if study is None:
                _mend(path)
                direction = "maximize" if higher_is_better else "minimize"
                study = optuna.create_study(study_name=name, storage=storage, direction=direction)
            self.study = study
        except OSError as error:
            raise CreditbenchError(
                f"The study {path} cannot be written: {error.strerror}. Choose another place."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise CreditbenchError(
                f"The study {path} cannot be read: {error}. Delete it, and its trials are made again."
            ) from error

    def put(self, point: Point, tried: Tried) -> None:
        """Adds a finished trial."""
        optuna = optuna_library()
        values = {RATE: point.learning_rate, CHOICE: point.words}
        declared = distributions(self.space)
        states = optuna.trial.TrialState
        state = {"ok": states.COMPLETE, PRUNED: states.PRUNED}.get(tried.status, states.FAIL)
        trial = optuna.trial.create_trial(
            state=state,
            value=tried.validation_score if tried.status == "ok" else None,
            params={name: values[name] for name in declared},
            distributions=declared,
            intermediate_values=dict(enumerate(tried.course, 1)),
            user_attrs=asdict(tried),
        )
        try:
            _mend(self.path)
            self.study.add_trial(trial)
        except OSError as error:
            raise CreditbenchError(
                f"Cannot write {self.path}: {error.strerror}. Free space or choose another --recipes folder;"
                " the same command goes on from here."
            ) from error

    def finished(self) -> dict[tuple[float | None, str], Tried]:
        """(learning rate, words of the choices) -> what became of it.

        As with runs, what raised, was killed, or took too much time or memory, is none: it is tried again."""
        found: dict[tuple[float | None, str], Tried] = {}
        for trial in self.study.get_trials(deepcopy=False):
            try:
                tried = Tried(**trial.user_attrs)
                tried = replace(tried, course=tuple(tried.course))
            except TypeError:
                continue  # a trial that somebody else put there
            if tried.status not in (*FINISHED, PRUNED):
                continue
            found[trial.params.get(RATE), trial.params.get(CHOICE, self.only)] = tried
        return found


def _mend(path: Path) -> None:
    """Takes back a line that a killed process left unfinished; the next one would be written behind it."""
    if not path.exists():
        return
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        with path.open("rb+") as file:
            file.truncate(whole)
