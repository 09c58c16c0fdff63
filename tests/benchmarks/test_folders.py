"""Large folders: how long records take to load, in folders made from the reference records.

Run by `tox -e benchmark`; the figures are printed. The bounds are seconds of processor time, which other work
on the machine and a cold disk leave alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from large_folders import large_folder

from creditbench.suite.frame import read_results


@pytest.mark.parametrize(
    ("count", "bound"), [(10_000, 2.0), pytest.param(100_000, 20.0, marks=pytest.mark.slow)]
)
def test_a_large_folder_loads_in_time(root: Path, tmp_path: Path, count: int, bound: float) -> None:
    folder = large_folder(root / "results", tmp_path, count)
    started = time.process_time()
    frame, problems = read_results(folder)
    seconds = time.process_time() - started
    print(f"\n{count:,} records, {len(frame):,} of them runs: {seconds:.2f} s (at most {bound})")
    assert not problems
    assert seconds <= bound


def test_a_large_folder_is_shown_in_time(root: Path, tmp_path: Path) -> None:
    folder = large_folder(root / "results", tmp_path, 10_000)
    words = [sys.executable, "-m", "creditbench.suite.cli", "show", str(folder)]
    before = os.times()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])  # of children, user and system
    print(f"\nshow of 10,000 records: {seconds:.2f} s (at most 4.0)")
    assert "digits" in done.stdout
    assert seconds <= 4.0
