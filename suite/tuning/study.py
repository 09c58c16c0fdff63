"""A study: which points of a space are tried, and what became of those that were. The part that is Optuna's.

**Points.** A scrambled Halton sequence (Optuna's QMCSampler, from a fixed seed) over two coordinates: the
learning rate on a logarithmic scale, and *which combination* of the choices. Why not as Optuna does it when
left alone:

- It draws the first trial of a study at random, because it infers the search space from that trial; here the
  space is declared beforehand. Without scrambling the sequence starts in the corner of the space.
- It gives every categorical parameter a coordinate of its own. The twelve points that a rule gets are too few
  to fill three dimensions evenly (combinations of two pairs get 4, 4, 2 and 2 of them); over combinations
  as one coordinate they can be.
- It counts a point as used when a trial starts, so a killed trial's point would never be tried. Here the
  points are laid down first, from the seed alone, and the journal holds finished trials and no others.

**Journal.** Optuna's JournalFileBackend: JSON lines, one per trial, on the disk before the next begins. (Of
Optuna's storages the one on Redis keeps pickled snapshots and the relational one needs a database; this one
loads neither.) Anyone can open it: `optuna.load_study(study_name=None, storage=JournalStorage(...))`.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.tuning.space import Point, Space, rounded
from creditbench.suite.tuning.trial import Tried

if TYPE_CHECKING:
    import optuna

# Of the scrambling; one for all rules. It is one of the first with which twelve points fall evenly on two,
# three, four and six combinations, and on each third of the learning rates within each of four.
SAMPLER_SEED = 23
RATE, CHOICE = "learning_rate", "choices"


def points(space: Space, trials: int) -> list[Point]:
    """The settings to try, the same at every call; more trials go on where fewer end.

    A rule without a learning rate and with no more combinations than trials gets each of them once."""
    combinations = {Point(None, own).words: own for own in space.combinations}
    if space.rates is None and len(combinations) <= trials:
        return [Point(None, own) for own in combinations.values()]
    optuna = _optuna()
    distributions = _distributions(space)

    class Declared(optuna.samplers.QMCSampler):  # type: ignore[misc, name-defined]
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return distributions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = Declared(qmc_type="halton", scramble=True, seed=SAMPLER_SEED)
    study = optuna.create_study(sampler=sampler)
    asked = [study.ask(distributions).params for _ in range(trials)]
    first = next(iter(combinations))  # where there is nothing to choose, it is no coordinate
    return [Point(_rate(own.get(RATE), space), combinations[own.get(CHOICE, first)]) for own in asked]


class Journal:
    """The finished trials of one study, in a file that grows by a line for each."""

    def __init__(self, path: Path, name: str, space: Space, higher_is_better: bool = True) -> None:
        optuna = _optuna()
        backend = optuna.storages.journal.JournalFileBackend
        self.path, self.space = path, space
        self.only = Point(None, space.combinations[0]).words  # where there is nothing to choose
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _mend(path)
            storage = optuna.storages.JournalStorage(backend(str(path)))
            self.study = optuna.create_study(
                study_name=name,
                storage=storage,
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )
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
        optuna = _optuna()
        values = {RATE: point.learning_rate, CHOICE: point.words}
        distributions = _distributions(self.space)
        good = tried.status == "ok"
        self.study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE if good else optuna.trial.TrialState.FAIL,
                value=tried.validation_score if good else None,
                params={name: values[name] for name in distributions},
                distributions=distributions,
                user_attrs=asdict(tried),
            )
        )

    def finished(self) -> dict[tuple[float | None, str], Tried]:
        """(learning rate, words of the choices) -> what became of it."""
        found: dict[tuple[float | None, str], Tried] = {}
        for trial in self.study.get_trials(deepcopy=False):
            try:
                tried = Tried(**trial.user_attrs)
            except TypeError:
                continue  # a trial that somebody else put there
            found[trial.params.get(RATE), trial.params.get(CHOICE, self.only)] = tried
        return found


def library() -> str:
    """What laid the points, for provenance."""
    return f"scrambled Halton sequence, seed {SAMPLER_SEED} (Optuna {_optuna().__version__})"


def _rate(rate: float | None, space: Space) -> float | None:
    """As it is written down, and still inside the range."""
    if rate is None or space.rates is None:
        return None
    low, high = space.rates
    return min(max(rounded(rate), low), high)


def _distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    kinds = _optuna().distributions
    words = list(dict.fromkeys(Point(None, own).words for own in space.combinations))
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    if space.rates is not None:
        found[RATE] = kinds.FloatDistribution(*space.rates, log=True)
    if len(words) > 1:
        found[CHOICE] = kinds.CategoricalDistribution(words)
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


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise CreditbenchError(
            "Tuning needs Optuna, which is not installed: pip install 'creditbench[tune]'."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study on stderr
    return optuna
