"""The local pool: the same results as inline, and whatever happens to a process ends as a record."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from interrupted import FOLDER, Devours, Dies, Exits, LastLayer, Pauses, label, paused

from creditbench.suite.driver import SilentObserver, code_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import (
    Execution,
    Executor,
    Limits,
    child,
    choose,
    parse_memory,
    parse_seconds,
)
from creditbench.suite.executors.inline import Inline
from creditbench.suite.executors.processes import Processes
from creditbench.suite.executors.supervise import RETRIES, cores
from creditbench.suite.plan import Label, Part, Suite, plan
from creditbench.suite.record import Run
from creditbench.suite.train import Trained
from creditbench.suite.types import Context
from creditbench.suite.work import Group, Unmeasured
from tools import CPU


@dataclass(frozen=True)
class Mine(LastLayer):
    """A user's rule, handed over as a class."""

    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "test"


@dataclass(frozen=True)
class Counts(LastLayer):
    """Its noise tells how many threads it was given."""

    name: ClassVar[str] = "counts"
    source: ClassVar[str] = "test"

    def happens(self, context: Context) -> None:
        import torch

        found = {torch.get_num_threads(), int(os.environ["OMP_NUM_THREADS"])}
        raise ValueError(f"threads: {found}")


@dataclass(frozen=True)
class Sleeps(LastLayer):
    name: ClassVar[str] = "sleeps"
    source: ClassVar[str] = "test"

    def happens(self, context: Context) -> None:
        time.sleep(600)


def group(rule: Label, seeds: int = 1, epochs: int = 1) -> Group:
    part = Part(tasks=("digits",), rules=(rule,), seeds=seeds, epochs=epochs)
    (cell,) = plan(Suite("own", "", (part,)))
    return Group("train", cell.specs, cell.origin, "cpu", code_of(cell.origin, "train"))


def runs(executor: Executor, *groups: Group, watch: SilentObserver | None = None) -> list[Run]:
    outcomes = [outcome for _, outcome in executor(groups, watch or SilentObserver())]
    assert all(isinstance(outcome, Trained) for outcome in outcomes)
    return [outcome.run for outcome in outcomes if isinstance(outcome, Trained)]


def pool(jobs: int = 1, memory: int | None = None, seconds: float | None = None) -> Processes:
    return Processes(CPU, jobs, Limits(memory, seconds))


def result(run: Run) -> Any:
    """A run without what differs from one time to the next."""
    curve = tuple(replace(point, train_seconds=0.0) for point in run.curve)
    return replace(run, curve=curve, train_seconds=None, provenance={})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


@pytest.fixture
def killed(folder: Path) -> Iterator[list[int]]:
    """Kills, once, the process in which `Pauses` waits."""
    pids: list[int] = []

    def kill() -> None:
        pids.append(paused(folder))
        (folder / "go").touch()
        os.kill(pids[0], signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield pids
    thread.join(60)


def test_the_server_that_children_are_forked_from_has_torch_and_touched_neither_cuda_nor_threads() -> None:
    program = (
        "import os, sys, creditbench.suite.executors.warm as _; import torch;"
        "print(torch.cuda.is_initialized(), len(os.listdir('/proc/self/task')))"
    )
    environment = {**os.environ, **dict.fromkeys(child.THREADS, "1"), "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "1"]


def test_processes_give_what_inline_gives(folder: Path) -> None:
    groups = [group("bp", seeds=2), group("dfa"), group(Mine)]
    here, there = runs(Inline(), *groups), runs(pool(min(2, cores())), *groups)
    assert {run.spec.rule for run in there} == {"bp", "dfa", "mine"}
    assert {run.spec.key: result(run) for run in here} == {run.spec.key: result(run) for run in there}


def test_a_worker_that_is_killed_is_tried_again_and_ends_as_if_nothing_had_been(
    folder: Path, killed: list[int]
) -> None:
    one = group(label(Pauses), epochs=2)
    (run,) = runs(pool(), one)
    assert len(killed) == 1
    assert run.status == "ok"
    (undisturbed,) = runs(Inline(), one)
    assert result(run) == result(undisturbed)


def test_a_worker_that_is_always_killed_ends_as_a_record_that_says_so(folder: Path) -> None:
    dead, alive = runs(pool(), group(label(Dies), seeds=1), group("last-layer"))
    if dead.spec.rule != "dies":
        dead, alive = alive, dead
    assert (dead.status, alive.status) == ("failed", "ok")
    assert "signal 9 (SIGKILL), 3 times" in str(dead.reason)
    assert len((folder / "tries").read_text().split()) == 1 + RETRIES


def test_what_breaks_by_itself_is_not_tried_again(folder: Path) -> None:
    segfault, gone = runs(pool(), group(f"{label(Dies)}:signal={int(signal.SIGSEGV)}"), group(label(Exits)))
    assert "signal 11 (SIGSEGV)" in str(segfault.reason)
    assert "exit code 7" in str(gone.reason)
    assert len((folder / "tries").read_text().split()) == 1


def test_too_much_memory_is_a_status_and_seeds_that_fit_alone_are_trained_alone() -> None:
    found = runs(pool(memory=2**30), group(label(Devours), 2), group(f"{label(Devours)}:greedy=true"))
    greedy = [run for run in found if run.spec.hyperparameters]
    assert [run.status for run in greedy] == ["out-of-memory"]
    assert "its ceiling was 1 GiB" in str(greedy[0].reason)
    assert [run.status for run in found if not run.spec.hyperparameters] == ["ok", "ok"]


def test_too_much_time_is_a_status() -> None:
    slow = group(Sleeps, seeds=2)
    found = runs(pool(seconds=2.0), slow)
    assert [run.status for run in found] == ["timeout"] * 2
    assert found[0].reason == "stopped after its time limit of 2 s"


def test_a_cost_that_cannot_be_taken_stays_absent() -> None:
    measured = replace(group(Sleeps), work="cost")
    ((_, outcome),) = pool(seconds=2.0)([measured], SilentObserver())
    assert isinstance(outcome, Unmeasured)


def test_all_jobs_together_have_no_more_threads_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    for jobs in range(1, cores() + 1):
        assert 1 <= Processes(CPU, jobs, Limits()).threads <= cores() / jobs
    with pytest.raises(CreditbenchError, match=f"ask for {cores()} at most"):
        pool(cores() + 1)
    own = pool(cores())
    (run,) = runs(own, group(Counts))
    assert f"threads: {{{own.threads}}}" in str(run.reason)


def test_costs_come_last_and_alone_with_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.executors.processes as module

    shares: list[tuple[list[str], int, int]] = []

    def share(groups: list[Group], jobs: int, threads: int, *_: Any) -> Iterator[Any]:
        shares.append(([one.work for one in groups], jobs, threads))
        yield from ()

    monkeypatch.setattr(module, "share", share)
    train, own = group("bp"), pool(cores())
    list(own([replace(train, work="cost"), train, train], SilentObserver()))
    assert shares == [(["train", "train"], cores(), own.threads), (["cost"], 1, own.all_threads)]


def test_closing_the_executor_ends_its_processes(folder: Path) -> None:
    outcomes = pool(min(2, cores()))([group("last-layer"), group(label(Pauses), epochs=2)], SilentObserver())
    if cores() > 1:
        next(outcomes)
        pid = paused(folder)
        outcomes.close()
        assert not Path(f"/proc/{pid}").exists()


def test_a_rule_inside_a_function_is_refused_in_words() -> None:
    @dataclass(frozen=True)
    class Inner(LastLayer):
        name: ClassVar[str] = "inner"
        source: ClassVar[str] = "test"

    with pytest.raises(CreditbenchError, match="define it at the top level of a file"):
        runs(pool(), group(Inner))


class Watch(SilentObserver):
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def started(self, group: Group) -> None:
        self.told.append(("started", group.specs[0].rule))

    def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None:
        self.told.append(("progress", group.specs[0].rule))

    def ended(self, group: Group) -> None:
        self.told.append(("ended", group.specs[0].rule))


@pytest.mark.parametrize("jobs", [0, 1])
def test_who_watches_is_told_of_every_group(jobs: int) -> None:
    executor: Executor = pool(jobs) if jobs else Inline()
    watch = Watch()
    runs(executor, group("bp"), group("dfa"), watch=watch)
    for rule in ("bp", "dfa"):
        told = [what for what, whose in watch.told if whose == rule]
        assert told[0] == "started"
        assert set(told[1:-1]) == {"progress"}
        assert told[-1] == "ended"


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        (Execution("threads"), "no executor 'threads'"),
        (Execution("inline:x"), "no executor 'inline:x'"),
        (Execution(jobs=2), "add --executor processes"),
        (Execution(memory="1G"), "add --executor processes"),
        (Execution("processes", jobs=0), "--jobs is 0"),
        (Execution("processes", memory="much"), "500M or 4G"),
        (Execution("processes", time_limit="soon"), "90s, 30m or 2h"),
        (Execution("processes", gpus=0.5), "--executor ray"),
    ],
)
def test_what_an_executor_cannot_do_is_said_at_once(execution: Execution, words: str) -> None:
    with pytest.raises(CreditbenchError) as caught:
        choose(execution, CPU)
    assert words in str(caught.value)


def test_ray_beside_an_amdsmi_without_amds_library_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As amdsmi 7.0 and Ray 2.60 do it, wherever either is installed; test_ray.py has the real Ray."""
    (tmp_path / "amdsmi.py").write_text("_libraries = {}\n_libraries['libamd_smi.so']\n")
    (tmp_path / "ray.py").write_text("try:\n    import amdsmi\nexcept ImportError:\n    amdsmi = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ray", "amdsmi")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(CreditbenchError, match="amdsmi, which the extra `energy` brings") as caught:
        choose(Execution("ray"), CPU)
    assert "'libamd_smi.so' is missing" in str(caught.value)
    assert "Use an environment with creditbench[ray] alone" in str(caught.value)


def test_sizes_and_times_are_read_as_they_are_written() -> None:
    sizes = {"500M": 500 * 2**20, "4G": 2**32, "1.5K": 1536, "2GiB": 2**31, "12": 12}
    assert {text: parse_memory(text) for text in sizes} == sizes
    assert parse_memory(4096) == 4096
    times = {"90s": 90, "30m": 1800, "1.5h": 5400, "7": 7}
    assert {text: parse_seconds(text) for text in times} == times
