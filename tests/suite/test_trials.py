"""Trials on executors: the same recipe wherever they are carried out, nothing lost, and sealed there too."""

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from interrupted import FOLDER, Devours, Dies, Pauses, label, paused

from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Executor, Limits, Watch
from creditbench.suite.executors.inline import Inline
from creditbench.suite.executors.processes import Processes
from creditbench.suite.executors.supervise import cores
from creditbench.suite.lock import locked
from creditbench.suite.plan import Part, Suite
from creditbench.suite.shards import WHOLE
from creditbench.suite.tuning.stability import stability
from creditbench.suite.tuning.tune import tune
from tools import CPU

if TYPE_CHECKING:
    from creditbench.suite.executors import Outcomes

JOBS = min(2, cores())


def suite(*rules: str, **changes: Any) -> Suite:
    settings: dict[str, Any] = {"tasks": ("digits",), "epochs": 1, "tuning_samples": 256, **changes}
    return Suite("own", "", (Part(rules=rules, **settings),))


def pool(jobs: int = 1, memory: int | None = None, seconds: float | None = None) -> Processes:
    return Processes(CPU, jobs, Limits(memory, seconds))


def tuned(folder: Path, executor: Executor | None, asked: Suite, trials: int = 4) -> list[str]:
    return list(tune(asked, trials, folder, CPU, executor))


def recipe(folder: Path, rule: str) -> dict[str, Any]:
    """Without what differs from one time to the next."""
    (found,) = tomllib.loads((folder / f"{rule}.toml").read_text())["recipe"]
    told = {k: v for k, v in found["provenance"].items() if k not in ("seconds", "seconds_are", "date")}
    return {**found, "provenance": told}


def slow_rule(folder: Path, step: str, head: str = "", body: str = "") -> str:
    """The last layer's rule in a file, with something that its step does first."""
    path = folder / "slow_rule.py"
    path.write_text(
        "import os, sys, time\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        f"from creditbench.suite.registry import load\n"
        f"from creditbench.suite.types import LearningRule\n{head}\n"
        "@dataclass(frozen=True)\nclass Slow(LearningRule):\n"
        f"    name: ClassVar[str] = 'slow'\n    source: ClassVar[str] = 'test'\n{body}\n"
        "    def step(self, network, batch, state, context):\n"
        f"        {step}\n"
        "        traces = network.forward(batch.inputs, context)\n"
        "        error = context.loss.gradient(traces[-1].output, batch.targets)\n"
        "        yield network.blocks[-1], network.blocks[-1].update(traces[-1], error)\n"
    )
    return f"{path}:Slow"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_processes_give_the_recipes_that_inline_gives(folder: Path) -> None:
    asked = suite("sigprop", "last-layer")
    here, there = tuned(folder / "here", None, asked), tuned(folder / "there", pool(JOBS), asked)
    assert len(here) == len(there) == 2
    for rule in ("sigprop", "last-layer"):
        assert recipe(folder / "here", rule) == recipe(folder / "there", rule)
    told = tomllib.loads((folder / "there" / "sigprop.toml").read_text())["recipe"][0]["provenance"]
    if JOBS > 1:  # seconds in company are no price to compare
        assert told["seconds_are"] == "of trials with up to 1 others beside them"


def test_a_worker_killed_in_a_study_costs_a_retry_and_no_trial(folder: Path) -> None:
    asked = suite(label(Pauses), epochs=2, tuning_samples=None)
    killed: list[int] = []

    def kill() -> None:
        killed.append(paused(folder))
        (folder / "go").touch()
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    (line,) = tuned(folder / "torn", pool(), asked)
    thread.join(60)
    assert len(killed) == 1
    assert "no trial ended well" not in line
    tuned(folder / "whole", None, asked)
    assert recipe(folder / "torn", "pauses") == recipe(folder / "whole", "pauses")


def test_a_worker_that_is_always_killed_is_a_trial_that_says_so_and_stops_nobody(folder: Path) -> None:
    asked = suite(label(Dies), "last-layer")
    for tries in (3, 6):  # and the next call tries again, as with runs
        lines = tuned(folder / "r", pool(), asked, 2)
        (lost,) = [line for line in lines if line.startswith("dies")]
        assert "no trial ended well" in lost
        assert "signal 9 (SIGKILL), 3 times" in lost
        assert len((folder / "tries").read_text().split()) == tries
    assert recipe(folder / "r", "last-layer")
    assert not (folder / "r" / "dies.toml").exists()


def test_trials_beyond_their_memory_end_as_such_and_those_that_fit_alone_are_tried_alone(
    folder: Path,
) -> None:
    (line,) = tuned(folder, pool(memory=2**30), suite(label(Devours)))
    assert "greedy=false" in line
    tried = recipe(folder, "devours")["provenance"]["tried"]
    ended = {(own["greedy"], own["validation_score"] == "out-of-memory") for own in tried}
    assert ended == {(True, True), (False, False)}
    journal = "".join(path.read_text() for path in folder.rglob("*.jsonl"))
    assert "its ceiling was 1 GiB" in journal


def test_a_trial_beyond_its_time_ends_as_such_and_is_tried_again_with_more(folder: Path) -> None:
    rule = slow_rule(folder, f"time.sleep(0 if os.path.exists('{folder}/fast') else 600)")
    (line,) = tuned(folder / "r", pool(seconds=2.0), suite(rule), 2)
    assert "no trial ended well" in line
    assert "timeout: stopped after its time limit of 2 s" in line
    (folder / "fast").touch()
    (line,) = tuned(folder / "r", pool(seconds=100.0), suite(rule), 2)
    assert "% on validation" in line


def test_a_killed_driver_loses_no_finished_trial_and_its_workers_end_with_it(folder: Path) -> None:
    (folder / "own.toml").write_text(
        "summary = 'own'\n[[part]]\ntasks = ['digits']\nnetworks = ['mlp']\n"
        f"rules = ['last-layer', '{label(Pauses)}']\nepochs = 2\nseeds = 1\n"
    )
    words = ["tune", str(folder / "own.toml"), "--trials", "3", "--recipes", str(folder / "torn")]
    command = [sys.executable, "-m", "creditbench.suite.cli", *words]
    with subprocess.Popen([*command, "--executor", "processes", "--jobs", "1"]) as driver:
        worker = paused(folder)  # last-layer's trials came first
        driver.send_signal(signal.SIGKILL)
    for _ in range(500):
        if not Path(f"/proc/{worker}").exists():
            break
        time.sleep(0.02)
    else:
        pytest.fail("a worker outlived its driver")
    (folder / "go").touch()
    before = {path: path.read_bytes() for path in (folder / "torn").rglob("*") if path.is_file()}
    assert (folder / "torn" / "last-layer.toml") in before
    assert main([*words, "--executor", "processes", "--jobs", "1"]) == 0
    assert all(path.read_bytes() == content for path, content in before.items() if "last-layer" in str(path))
    words[-1] = str(folder / "whole")
    assert main(words) == 0
    for rule in ("last-layer", "pauses"):
        assert recipe(folder / "torn", rule) == recipe(folder / "whole", rule)


READS = "load('task', 'digits').read().test"
WAYS = {
    "in a step": {"step": READS},
    "from another thread": {
        "step": f"ThreadPoolExecutor().submit(lambda: {READS}).result()",
        "head": "from concurrent.futures import ThreadPoolExecutor",
    },
    "when its file is imported, in the child alone": {
        "step": "pass",
        "head": f"if os.getpid() != {os.getpid()}:\n    {READS}",
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_the_seal_on_test_data_holds_in_child_processes(way: str, folder: Path) -> None:
    (line,) = tuned(folder / "r", pool(), suite(slow_rule(folder, **WAYS[way])), 2)
    assert "no trial ended well" in line
    assert "Test data was asked for" in line


def test_the_driver_alone_writes_the_journal(folder: Path) -> None:
    """What carries a trial out is not even told where the recipes and the journal are."""
    seen: list[str] = []

    class Looks:
        alone = True

        def __call__(self, groups: Sequence[Any], watch: Watch) -> "Outcomes":
            seen.extend(repr(group) for group in groups)
            return (yield from Inline()(groups, watch))

    tuned(folder / "secret", Looks(), suite("last-layer"), 2)
    assert len(seen) == 1
    assert "secret" not in seen[0]


def test_two_drivers_do_not_tune_into_one_folder(folder: Path) -> None:
    with locked(folder, WHOLE), pytest.raises(CreditbenchError, match="Another creditbench"):
        tuned(folder, None, suite("last-layer"))


def test_a_disk_that_fills_up_stops_a_study_in_words_and_the_next_call_goes_on(folder: Path) -> None:
    import resource

    asked = suite("last-layer")
    tuned(folder / "whole", None, asked)
    (whole,) = (folder / "whole" / "studies" / "last-layer").glob("*.jsonl")
    room = whole.stat().st_size * 3 // 4
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # no file may grow beyond it
    try:
        with pytest.raises(CreditbenchError, match=r"Cannot write .*File too large"):
            tuned(folder / "torn", None, asked)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    (journal,) = (folder / "torn" / "studies" / "last-layer").glob("*.jsonl")
    assert 0 < journal.stat().st_size <= room
    tuned(folder / "torn", None, asked)
    assert recipe(folder / "torn", "last-layer") == recipe(folder / "whole", "last-layer")


def test_a_grid_of_stability_is_the_same_from_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from creditbench.suite.tuning import stability as module

    monkeypatch.setattr(module, "STEPS", 9)
    sizes: dict[str, Any] = {"task": "digits", "depths": (1, 2), "rates": 2, "seeds": 2}
    here, there = stability("bp", **sizes), stability("bp", **sizes, executor=pool(JOBS))
    assert here == there
    assert len(here.points) == 8


@pytest.mark.parametrize("command", [["tune", "quickstart", "--recipes", "r"], ["stability", "bp"]])
def test_what_no_executor_can_do_is_said_before_anything_is_done(
    command: list[str], capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert main([*command, "--memory", "1G"]) != 0
    assert "add --executor processes" in capsys.readouterr().err
    assert not (folder / "r").exists()
