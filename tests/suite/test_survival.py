"""Ended by a signal at any time: what is finished is whole, and only what is missing is done again."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interrupted import FOLDER, Explodes, Pauses, label, paused

import creditbench
from creditbench.suite import checkpoints
from creditbench.suite.api import execute
from creditbench.suite.driver import SilentObserver
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Run
from creditbench.suite.store import Store

SESSION = Path(__file__).resolve().parents[1] / "interrupted.py"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    monkeypatch.setenv(FOLDER, str(tmp_path))


class Watch(SilentObserver):
    def __init__(self) -> None:
        self.trained: list[Run] = []
        self.said: list[str] = []
        self.steps: list[int] = []

    def progress(self, group: Any, steps: int, of: int, validation_score: float | None) -> None:
        if group.specs[0].rule == "pauses":
            self.steps.append(steps)

    def finished(self, run: Run, kept: bool) -> None:
        self.trained.append(run)

    def complained(self, sentence: str) -> None:
        self.said.append(sentence)


def again(folder: Path) -> Watch:
    watch = Watch()
    execute(None, "digits", None, ["last-layer", label(Pauses)], 2, 2, None, "cpu", folder, watch)
    return watch


def runs(folder: Path) -> dict[str, Run]:
    return {one.spec.key: one for one in Store(folder).records() if isinstance(one, Run)}


def result(run: Run) -> Any:
    curve = tuple(replace(point, train_seconds=0.0) for point in run.curve)
    return replace(run, curve=curve, train_seconds=None, provenance={})


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_killed_driver_loses_nothing_and_the_next_one_goes_on(tmp_path: Path, executor: str) -> None:
    folder, whole = tmp_path / "r", tmp_path / "whole"
    words = [sys.executable, str(SESSION), str(folder), executor, "last-layer", label(Pauses)]
    with subprocess.Popen(words) as driver:
        worker = paused(tmp_path)  # in the second epoch, the first is in a checkpoint
        while executor == "processes" and len(runs(folder)) < 2 and driver.poll() is None:
            time.sleep(0.05)  # the other group is on its way
        driver.send_signal(signal.SIGKILL)
    for _ in range(500):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.02)
    else:
        pytest.fail("a worker outlived its driver")
    (tmp_path / "go").touch()
    before = {path: path.read_bytes() for path in Store(folder).paths()}
    assert {run.spec.rule for run in runs(folder).values()} == {"last-layer"}
    assert len(list((folder / "checkpoints").iterdir())) == 1

    watch = again(folder)
    assert {run.spec.rule for run in watch.trained} == {"pauses"}
    assert "goes on from the checkpoint" in watch.said[0]
    assert min(watch.steps) > 9  # the first epoch was not done again
    assert not (folder / "checkpoints").exists()
    assert all(path.read_bytes() == content for path, content in before.items() if "seed-" in path.name)

    again(whole)
    assert {key: result(run) for key, run in runs(folder).items()} == {
        key: result(run) for key, run in runs(whole).items()
    }


def test_a_disk_that_fills_up_stops_the_run_in_words_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    folder = tmp_path / "r"
    creditbench.run(task="digits", rule="last-layer", seeds=1, epochs=1, results=folder, device="cpu")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # no file may grow beyond it, whoever is root
    try:
        with pytest.raises(CreditbenchError, match=r"Cannot write .*File too large"):
            creditbench.run(task="digits", rule="last-layer", seeds=2, epochs=1, results=folder, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    rows = creditbench.run(task="digits", rule="last-layer", seeds=2, epochs=1, results=folder, device="cpu")
    assert list(rows["status"]) == ["ok", "ok"]


def test_a_clock_that_jumps_leaves_durations_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [2e9]

    def back() -> float:
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", back)
    monkeypatch.setattr(checkpoints, "INTERVAL", 0.0)
    settings: dict[str, Any] = {"task": "digits", "rule": "last-layer", "seeds": 1, "epochs": 2}
    rows = creditbench.run(**settings, results=tmp_path, device="cpu")
    assert 0 < rows["train_seconds"].iloc[0] < 600
    assert rows["step_seconds"].iloc[0] > 0


def test_weights_that_explode_are_a_status_with_its_reason(tmp_path: Path) -> None:
    rows = creditbench.run(
        task="digits", rule=label(Explodes), seeds=2, epochs=3, results=tmp_path, device="cpu"
    )
    assert set(rows["status"]) == {"diverged"}
    assert rows["score"].isna().all()
    assert all("no longer finite after epoch" in reason for reason in rows["reason"])
