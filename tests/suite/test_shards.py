"""A suite split among machines."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditbench.suite.api import execute
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Execution
from creditbench.suite.plan import Origin, Planned
from creditbench.suite.record import Cost, Run
from creditbench.suite.shards import WHOLE, Shard, parse_shard
from creditbench.suite.specification import Spec
from creditbench.suite.store import Store


def cell(number: int) -> Planned:
    spec = Spec("toy", 1, "mlp", f"rule-{number}", 0, 0.01, epochs=1)
    return Planned((spec, spec.with_seed(1)), Origin("toy", "mlp", spec.rule), "default")


@given(st.sets(st.integers(0, 999), max_size=40), st.integers(1, 12), st.randoms(use_true_random=False))
def test_parts_are_disjoint_complete_balanced_and_the_same_in_any_order(
    numbers: set[int], count: int, random: object
) -> None:
    cells = [cell(number) for number in sorted(numbers)]
    mixed = list(cells)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    parts = [Shard(number, count).of(cells) for number in range(1, count + 1)]
    rules = [[one.origin.rule for one in part] for part in parts]
    assert sorted(str(rule) for part in rules for rule in part) == sorted(str(c.origin.rule) for c in cells)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for number, part in enumerate(rules, 1):
        assert {one.origin.rule for one in Shard(number, count).of(mixed)} == set(part)
    assert WHOLE.of(cells) == cells


def test_a_part_is_written_as_k_of_n() -> None:
    assert parse_shard("2/3") == Shard(2, 3)
    assert str(Shard(2, 3)) == "2/3"
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/2", "1/2/3", ""):
        with pytest.raises(CreditbenchError, match="write K/N"):
            parse_shard(text)


def test_folders_of_parts_merge_by_copying_into_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    rules = ["last-layer", "dfa", "fa"]

    def run(folder: str, shard: str | None) -> int:
        execution = Execution(shard=shard)
        summary = execute(
            None, "digits", None, rules, 1, 1, None, "cpu", tmp_path / folder, execution=execution
        )
        return summary.trained

    assert run("one", "1/2") + run("two", "2/2") == 3
    shutil.copytree(tmp_path / "two", tmp_path / "one", dirs_exist_ok=True)
    assert run("one", None) == 0
    records = list(Store(tmp_path / "one").records())
    assert sorted(one.spec.rule for one in records if isinstance(one, Run)) == sorted(rules)
    assert sorted(one.spec.rule for one in records if isinstance(one, Cost)) == sorted(rules)
