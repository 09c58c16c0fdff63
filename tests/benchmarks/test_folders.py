"""Large folders: how long records take to load, in folders made from the reference records.

Run by `tox -e benchmark`; the figures are printed. The bounds are seconds of processor time, which other work
on the machine and a cold disk leave alone.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from creditbench.suite.frame import read_results
from creditbench.suite.record import Alignment, Audit, Cost, Record, Run, to_json
from creditbench.suite.store import Store


def large_folder(real: Path, folder: Path, count: int) -> Path:
    """`count` records: the reference records under more seeds and batch sizes, eight runs to a cost."""
    records, store = [_complete(record) for record in Store(real).records()], Store(folder)
    made = 0
    for lap in itertools.count():
        batch_size = 128 + lap // 8  # a new cell every eight laps
        for record in records:
            if isinstance(record, Audit) or (isinstance(record, Cost) and lap % 8):
                continue
            spec = replace(record.spec, batch_size=batch_size)
            own = replace(record, spec=spec.with_seed(spec.seed + 1000 * lap))
            path = store.path(own)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(to_json(own), encoding="utf-8")
            made += 1
            if made == count:
                return folder
    raise AssertionError


def _complete(record: Record) -> Record:
    """With all that a run of today holds, where a reference record is older."""
    if not isinstance(record, Run) or record.alignment:
        return record
    blocks = dict.fromkeys(("0", "1", "2"), 0.123456789)
    alignment = tuple(Alignment(epoch, blocks, blocks) for epoch in range(len(record.curve) + 1))
    return replace(record, alignment=alignment, steps=360, target_score=0.9)


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
