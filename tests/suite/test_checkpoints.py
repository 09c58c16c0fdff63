"""A training that is cut short goes on where it was and ends as if nothing had been."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from interrupted import LastLayer

from creditbench.suite import checkpoints, registry
from creditbench.suite.checkpoints import Checkpoint, discard
from creditbench.suite.plan import load_rule
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, Progress, Trained, train
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step
from tools import CPU, toy_task

SPEC = Spec("toy", 1, "mlp:width=16", "bp", 0, 0.01, epochs=6, batch_size=10, augmentation="crop-and-flip")


class Killed(BaseException):
    """As sudden as a signal: nothing of ours may catch it."""


@dataclass(frozen=True)
class Remembers(LastLayer):
    """Carries a trace from step to step, learns feedback, draws noise."""

    name: ClassVar[str] = "remembers"
    source: ClassVar[str] = "test"

    def init(self, network: Network, context: Context) -> State:
        scale = context.noise.uniform(3)
        return State({"gain": torch.ones_like(scale)}, {"trace": scale})

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        last = network.blocks[-1]
        for target, update in super().step(network, batch, state, context):
            assert isinstance(update, Mapping)
            bias = update["bias"] * state.learned["gain"] + 0.1 * state.carried["trace"]
            yield target, {"weight": update["weight"], "bias": bias}
        trace = 0.9 * state.carried["trace"] + context.noise.normal(3) + last.parameters["bias"]
        yield "gain", 0.1 * trace
        return {"trace": trace}


@pytest.fixture(autouse=True)
def _at_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.0)


def cell(rule: LearningRule) -> Cell:
    task = toy_task()
    return Cell(task, task.read(), registry.load("network", "mlp"), rule)


def keeper(folder: Path, specs: list[Spec], said: list[str], code: str = "c") -> Checkpoint:
    return Checkpoint(folder, specs, code, CPU, said.append)


def specs_of(rule: LearningRule, *seeds: int) -> list[Spec]:
    return [replace(SPEC, rule=rule.name).with_seed(seed) for seed in seeds]


def killed_in(epoch: int) -> Progress:
    def progress(steps: int, of: int, validation_score: float | None) -> None:
        if validation_score is not None and steps * SPEC.epochs > epoch * of - 1:
            raise Killed

    return progress


def results(trained: list[Trained]) -> list[Any]:
    """All but durations, exact to the bit."""
    found = []
    for one in trained:
        curve = tuple(replace(point, train_seconds=0.0) for point in one.run.curve)
        run = replace(one.run, curve=curve, train_seconds=None)
        found.append((run, {name: own.tolist() for name, own in one.predictions.items()}))
    return found


RULES = [load_rule("bp")(), load_rule("sigprop")(), Remembers()]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("seeds", [(0,), (0, 4)])
def test_a_resumed_training_ends_as_an_undisturbed_one(
    tmp_path: Path, rule: LearningRule, seeds: tuple[int, ...]
) -> None:
    specs, said = specs_of(rule, *seeds), list[str]()
    expected = results(train(cell(rule), specs))
    for epoch in (2, 3, 5):  # before that epoch is saved
        with pytest.raises(Killed):
            train(cell(rule), specs, killed_in(epoch), checkpoint=keeper(tmp_path, specs, said))
    epochs: list[int] = []

    def count(steps: int, of: int, validation_score: float | None) -> None:
        epochs.append(steps * SPEC.epochs // of)

    found = train(cell(rule), specs, count, checkpoint=keeper(tmp_path, specs, said))
    assert epochs[0] == 5  # of six epochs, only the last two were left
    assert results(found) == expected
    assert [sentence.startswith("Training goes on") for sentence in said] == [True] * 3


@dataclass(frozen=True)
class Ends(LastLayer):
    """One seed diverges in the second epoch."""

    name: ClassVar[str] = "ends"
    source: ClassVar[str] = "test"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        update = torch.zeros_like(network.blocks[-1].parameters["bias"])
        if context.step == 8:
            update[0] = torch.inf
        yield network.blocks[-1], {"bias": update}


def test_a_seed_that_has_diverged_stays_so(tmp_path: Path) -> None:
    specs, rule = specs_of(Ends(), 0, 1), Ends()
    with pytest.raises(Killed):
        train(cell(rule), specs, killed_in(4), checkpoint=keeper(tmp_path, specs, []))
    broken, fine = train(cell(rule), specs, checkpoint=keeper(tmp_path, specs, []))
    assert (broken.run.status, fine.run.status) == ("diverged", "ok")
    assert [point.epoch for point in broken.run.curve] == [1]


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a killed training of bp leaves."""
    specs = specs_of(RULES[0], 0)
    with pytest.raises(Killed):
        train(cell(RULES[0]), specs, killed_in(3), checkpoint=keeper(tmp_path, specs, []))
    (path,) = tmp_path.iterdir()
    return path


def test_a_checkpoint_of_other_code_is_named_and_not_used(left: Path) -> None:
    said: list[str] = []
    assert keeper(left.parent, specs_of(RULES[0], 0), said, code="other").load() is None
    assert said == [f"The checkpoint {left} is of another code and is not used."]


def test_a_checkpoint_of_another_spec_under_this_name_is_named_and_not_used(left: Path) -> None:
    other, said = replace(SPEC, epochs=7), list[str]()
    own = keeper(left.parent, [other], said)
    left.rename(own.path)
    assert own.load() is None
    assert "is of another specification" in said[0]


@pytest.mark.parametrize("content", [b"", b"half", None])
def test_a_broken_checkpoint_is_named_and_not_used(left: Path, content: bytes | None) -> None:
    left.write_bytes(left.read_bytes()[:2000] if content is None else content)
    said: list[str] = []
    assert keeper(left.parent, specs_of(RULES[0], 0), said).load() is None
    assert said[0].startswith(f"The checkpoint {left} cannot be read and is not used")


def test_a_checkpoint_runs_no_code_of_its_own(left: Path) -> None:
    ran = left.parent / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    torch.save({"identity": Trap(), "contents": {}}, left)
    said: list[str] = []
    assert keeper(left.parent, specs_of(RULES[0], 0), said).load() is None
    assert "cannot be read" in said[0]
    assert not ran.exists()


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs, said = specs_of(RULES[0], 0), list[str]()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    (trained,) = train(cell(RULES[0]), specs, checkpoint=keeper(tmp_path, specs, said))
    assert trained.run.status == "ok"
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_quick_run_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "INTERVAL", 30.0)
    specs = specs_of(RULES[0], 0)
    train(cell(RULES[0]), specs, checkpoint=keeper(tmp_path / "none", specs, []))
    assert not (tmp_path / "none").exists()


def test_what_is_discarded_leaves_nothing(left: Path) -> None:
    (left.parent / f".{left.name}.abc").write_text("what a killed writer leaves")
    discard(left)
    assert not left.parent.exists()
    discard(left)  # a second time is no error
