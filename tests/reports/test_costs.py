"""The table of costs shows what the records hold, and nothing where they hold nothing."""

from pathlib import Path
from typing import Any

from records import cost, run

from creditbench.reports.leaderboard import board, costs
from creditbench.suite.frame import load_results
from creditbench.suite.store import Store

OPERATIONS = {
    "forward": {"macs": 1000.0},
    "credit": {"macs": 2000.0, "adds": 30.0},
    "update": {"multiplies": 50.0, "parameter_writes": 7.0},
    "inference": {"macs": 1000.0},
}
KINDS = {
    "parameters": 1000,
    "optimizer_state": 2000,
    "rule_state": 0,
    "batch": 10,
    "activations": 300,
    "temporaries": 40,
}


def table(folder: Path, **changes: Any) -> str:
    store = Store(folder)
    store.put(run(0.9))
    store.put(cost(**changes))
    return costs(board(load_results(folder)))


def test_costs_show_counts_energy_and_memory_by_kind(tmp_path: Path) -> None:
    text = table(tmp_path, operations=OPERATIONS, peak_bytes_by_kind=KINDS, latency_seconds=2e-5)
    work = next(line.split() for line in text.splitlines() if line.startswith("bp"))
    # 3000 MACs of 4.6 pJ, 30 additions of 0.9 pJ and 50 multiplications of 3.7 pJ are 14.012 nJ
    assert work[:8] == ["bp", "1.00k", "2.00k", "0", "80", "0", "7", "14.0"]
    assert work[-4:] == ["33,", "66,", "1", "4.60"]
    memory = [line.split() for line in text.splitlines() if line.startswith("bp")][1]
    assert memory[2:7] == ["1", "2", "0", "0.3", "0.04"]
    assert memory[-3:] == ["0.0200", "128k", "–"]
    assert all(len(line) <= 110 for line in text.splitlines())


def test_records_without_phases_have_no_table_of_costs(tmp_path: Path) -> None:
    assert table(tmp_path).startswith("No costs in these records")
