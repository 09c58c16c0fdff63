"""What carrying out many runs costs; see test_speed.py for how ratios are taken. Wants an idle machine."""

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditbench.suite.driver import SilentObserver, code_of, run_cells
from creditbench.suite.executors import Limits, Watch
from creditbench.suite.executors.inline import Inline
from creditbench.suite.executors.processes import Processes
from creditbench.suite.executors.supervise import cores
from creditbench.suite.plan import Part, Planned, Suite, plan
from creditbench.suite.record import Point, Run
from creditbench.suite.store import Store
from creditbench.suite.train import Trained
from creditbench.suite.work import Group
from tools import CPU


def cell(epochs: int, seeds: int) -> Planned:
    (found,) = plan(Suite("own", "", (Part(("digits",), rules=("bp",), seeds=seeds, epochs=epochs),)))
    return found


def groups(epochs: int, count: int) -> list[Group]:
    own = cell(epochs, count)
    code = code_of(own.origin, "train")
    return [Group("train", (spec,), own.origin, "cpu", code) for spec in own.specs]


def seconds(executor: Any, work: Sequence[Group]) -> float:
    started = time.perf_counter()
    outcomes = list(executor(work, SilentObserver()))
    assert all(isinstance(outcome, Trained) and outcome.run.status == "ok" for _, outcome in outcomes)
    return time.perf_counter() - started


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_two_processes_have_nearly_twice_the_throughput_of_one(benchmark: Any) -> None:
    inline, two = Inline(), Processes(CPU, 2, Limits())
    work = groups(epochs=200, count=6)
    seconds(two, groups(epochs=1, count=2))  # the server, whose start is measured below
    seconds(inline, groups(epochs=1, count=1))
    ratios = [seconds(inline, work) / seconds(two, work) for _ in range(3)]
    benchmark.pedantic(lambda: seconds(two, work[:2]), rounds=1)
    print(f"\nthroughput of 2 processes over inline: {max(ratios):.2f} (at least 1.7)")
    assert max(ratios) >= 1.7


def test_a_process_of_its_own_costs_a_run_little(benchmark: Any) -> None:
    inline, one, work = Inline(), Processes(CPU, 1, Limits()), groups(epochs=1, count=10)
    seconds(one, work[:1])
    seconds(inline, work[:1])
    overheads = [(seconds(one, work) - seconds(inline, work)) / len(work) for _ in range(3)]
    benchmark.pedantic(lambda: seconds(one, work), rounds=1)
    print(f"\noverhead of a process: {1e3 * min(overheads):.0f} ms per run (at most 150)")
    assert min(overheads) <= 0.15


FIRST_STEP = """
import os, sys
from creditbench.suite.api import execute
from creditbench.suite.driver import SilentObserver

class Watch(SilentObserver):
    def progress(self, *_):
        os._exit(0)  # after nine steps of digits

execute(None, "digits", None, "bp", 1, 2, None, "cpu", sys.argv[1], Watch())
"""


def test_a_suite_is_at_its_first_steps_in_five_seconds(tmp_path: Path, benchmark: Any) -> None:
    numbers = iter(range(99))

    def start() -> None:
        folder = str(tmp_path / str(next(numbers)))
        subprocess.run([sys.executable, "-c", FIRST_STEP, folder], check=True)

    benchmark.pedantic(start, rounds=3)
    found = benchmark.stats.stats.min
    print(f"\nfrom the command to the first steps: {found:.2f} s (at most 5)")
    assert found <= 5


class Made:
    """An executor that does nothing and hands over runs as large as real ones."""

    alone = True

    def __call__(self, groups: Sequence[Group], watch: Watch) -> Iterator[tuple[Group, Trained]]:
        curve = tuple(Point(epoch, 0.5, 0.5, 0.1 * epoch) for epoch in range(1, 101))
        for group in groups:
            for spec in group.specs if group.work == "train" else ():
                run = Run(spec, "ok", score=0.5, curve=curve, fingerprint=group.fingerprint)
                yield group, Trained(run, {"last": np.zeros(10_000, np.uint8)})


def test_the_drivers_memory_is_flat_in_the_number_of_runs(tmp_path: Path, benchmark: Any) -> None:
    def peak(runs: int) -> int:
        tracemalloc.start()
        run_cells([cell(1, runs)], Store(tmp_path / str(runs)), CPU, executor=Made())  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    few, many = peak(100), peak(1000)
    benchmark.pedantic(lambda: replace(cell(1, 1)), rounds=1)
    own = (many - few) / 900
    print(f"\nthe driver's memory per run: {own / 1e3:.1f} kB, its specification (at most 5)")
    assert own <= 5_000
