"""A real Ray cluster on this machine, with several workers; `tox -e ray`."""

import os
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from interrupted import FOLDER, Devours, LastLayer, Pauses, label, paused

from creditbench.suite.api import execute
from creditbench.suite.driver import SilentObserver
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Execution, choose
from creditbench.suite.executors.ray import the_library
from creditbench.suite.plan import Part, Suite
from creditbench.suite.record import Cost, Run
from creditbench.suite.store import Store
from creditbench.suite.tuning.tune import tune
from tools import CPU

pytestmark = [
    pytest.mark.slow,
    # Ray's own, on its way up and down
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("draws_globally"),
]


@pytest.fixture(scope="module")
def ray() -> Any:
    try:
        return the_library()
    except CreditbenchError as error:
        pytest.skip(str(error))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return tmp_path


class Watch(SilentObserver):
    def __init__(self) -> None:
        self.began: list[str] = []
        self.scored: set[str] = set()

    def started(self, group: Any) -> None:
        self.began.append(group.specs[0].rule)

    def progress(self, group: Any, steps: int, of: int, validation_score: float | None) -> None:
        self.scored.add(group.specs[0].rule)


def run(folder: Path, rules: list[str], execution: Execution, watch: SilentObserver | None = None) -> Any:
    return execute(None, "digits", None, rules, 1, 2, None, "cpu", folder, watch, None, execution)


def stored(folder: Path, kind: type[Run] | type[Cost]) -> dict[str, Any]:
    return {one.spec.key: one for one in Store(folder).records() if isinstance(one, kind)}


def result(run: Run) -> Any:
    curve = tuple(replace(point, train_seconds=0.0) for point in run.curve)
    return replace(run, curve=curve, train_seconds=None, provenance={})


@pytest.fixture
def cluster(ray: Any, folder: Path) -> Iterator[Any]:
    """Two nodes of two cores, as far as Ray knows, that were there before."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    made.add_node(num_cpus=2)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def test_a_local_cluster_gives_what_inline_gives_and_measures_costs_alone(ray: Any, folder: Path) -> None:
    rules, watch = ["bp", "dfa"], Watch()
    assert run(folder / "ray", rules, Execution("ray"), watch).trained == 2
    assert not ray.is_initialized()  # what was started for the occasion is gone with it
    assert sorted(watch.began) == ["bp", "bp", "dfa", "dfa"]  # training and cost
    assert watch.scored == set(rules)
    run(folder / "inline", rules, Execution())
    here, there = stored(folder / "inline", Run), stored(folder / "ray", Run)
    assert {key: result(one) for key, one in here.items()} == {key: result(one) for key, one in there.items()}
    assert [cost.alone for cost in stored(folder / "ray", Cost).values()] == [True, True]


@pytest.fixture
def lost(folder: Path) -> Iterator[list[int]]:
    """Kills, once, the Ray worker over `Pauses`: not the process of the group, but the one above it."""
    killed: list[int] = []

    def parent(process: int) -> int:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in status if line.startswith("PPid")))

    def kill() -> None:
        worker = parent(parent(paused(folder)))  # between them is the fork server
        killed.append(worker)
        os.kill(worker, signal.SIGKILL)
        (folder / "go").touch()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield killed
    thread.join(60)


def test_a_worker_that_is_killed_mid_run_costs_a_retry_and_no_record(
    cluster: Any, folder: Path, lost: list[int]
) -> None:
    rules = [label(Pauses), "last-layer", "bp", "dfa"]
    watch = Watch()
    summary = run(folder / "r", rules, Execution(f"ray:{cluster.address}", jobs=3), watch)
    assert len(lost) == 1
    assert watch.began.count("pauses") == 3  # once in vain, once to the end, and its cost
    assert not summary.failed
    found = stored(folder / "r", Run)
    assert {one.spec.rule: one.status for one in found.values()} == dict.fromkeys(
        ["pauses", "last-layer", "bp", "dfa"], "ok"
    )
    assert not any(cost.alone for cost in stored(folder / "r", Cost).values())  # others may be there
    run(folder / "inline", rules, Execution())
    assert {key: result(one) for key, one in found.items()} == {
        key: result(one) for key, one in stored(folder / "inline", Run).items()
    }
    assert run(folder / "r", rules, Execution(f"ray:{cluster.address}")).trained == 0


def test_trials_on_a_cluster_give_the_recipes_of_inline_though_a_worker_is_killed(
    cluster: Any, folder: Path, lost: list[int]
) -> None:
    """Those that take too much memory end as such there too."""
    rules = (label(Pauses), "last-layer", label(Devours))
    asked = Suite("own", "", (Part(tasks=("digits",), rules=rules, epochs=2),))
    execution = Execution(f"ray:{cluster.address}", jobs=3, memory="1G")
    there = list(tune(asked, 4, folder / "there", CPU, choose(execution, CPU), Watch()))
    assert len(lost) == 1
    assert len(there) == 3
    list(tune(replace(asked, parts=(replace(asked.parts[0], rules=rules[:2]),)), 4, folder / "inline", CPU))
    for rule in ("pauses", "last-layer"):
        here = tomllib.loads((folder / "inline" / f"{rule}.toml").read_text())["recipe"][0]["provenance"]
        made = tomllib.loads((folder / "there" / f"{rule}.toml").read_text())["recipe"][0]["provenance"]
        assert made["tried"] == here["tried"]
        assert made["seconds_are"] == "of trials with up to 1 others beside them"
    (devours,) = tomllib.loads((folder / "there" / "devours.toml").read_text())["recipe"]
    scores = {own["greedy"]: own["validation_score"] for own in devours["provenance"]["tried"]}
    assert scores[True] == "out-of-memory"
    assert scores[False] > 0.1


def test_limits_hold_on_a_cluster_too(ray: Any, folder: Path) -> None:
    summary = run(folder, [f"{label(Devours)}:greedy=true"], Execution("ray", memory="1G"))
    ((_, status, reason),) = summary.troubles
    assert status == "out-of-memory"
    assert "its ceiling was 1 GiB" in str(reason)


def test_ray_beside_an_amdsmi_without_amds_library_is_a_sentence(ray: Any, folder: Path) -> None:
    (folder / "amdsmi.py").write_text("_libraries = {}\n_libraries['libamd_smi.so']\n")  # as amdsmi 7.0 does
    program = "from creditbench.suite.executors.ray import the_library; the_library()"
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "CreditbenchError: Ray cannot be imported ('libamd_smi.so' is missing)" in done.stderr


def test_an_address_without_a_cluster_is_a_sentence(ray: Any, folder: Path) -> None:
    with pytest.raises(CreditbenchError, match=r"No Ray cluster can be had at 127\.0\.0\.1:1"):
        run(folder, ["last-layer"], Execution("ray:127.0.0.1:1"))


def test_asking_for_what_ray_cannot_give_is_refused(ray: Any, folder: Path) -> None:
    for execution in (Execution("ray", cpus=0), Execution("ray", gpus=1.5), Execution("ray", gpus=-1)):
        with pytest.raises(CreditbenchError, match=r"--cpus is|--gpus is"):
            run(folder, ["last-layer"], execution)


def test_a_rule_is_found_on_the_nodes_by_its_class(ray: Any, folder: Path) -> None:
    assert issubclass(Pauses, LastLayer)
    (folder / "go").touch()
    summary = execute(
        None, "digits", None, Pauses, 1, 2, None, "cpu", folder / "r", None, None, Execution("ray")
    )
    assert (summary.trained, summary.failed) == (1, False)
