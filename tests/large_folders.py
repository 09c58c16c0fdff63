"""Folders as large as those of years, made from the reference records."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

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
