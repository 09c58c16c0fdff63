"""Schemas: what was written under an older one is read as if it had been written today."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from records import run, spec

from creditbench.suite import schema
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Cost, Run, from_json, to_json
from creditbench.suite.schema import SCHEMA, UPGRADES, NewerSchema, upgrade
from creditbench.suite.store import Store, read

# As creditbench 0.1.0 wrote them under schema 1, but for a learning curve cut to one point.
FIRST_RUN = Path(__file__).parent / "schema-1" / "seed-0-ddec4180ed48.json"
FIRST_COST = Path(__file__).parent / "schema-1" / "cost-ed10cbc620ed-459c6e6c.json"


def test_every_older_schema_has_its_upgrade() -> None:
    assert sorted(UPGRADES) == list(range(1, SCHEMA))


def test_records_of_the_first_schema_are_read() -> None:
    one, cost = read(FIRST_RUN), read(FIRST_COST)
    assert isinstance(one, Run)
    assert isinstance(cost, Cost)
    assert (one.spec.key, cost.spec.cell) == ("ddec4180ed48", "ed10cbc620ed")
    assert one.score == pytest.approx(0.9833333333333333)
    assert cost.train_macs_per_sample == 237056.0


def test_upgrades_are_applied_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA", 3)
    monkeypatch.setattr(
        schema,
        "UPGRADES",
        {1: lambda data: {**data, "b": data["a"] + 1}, 2: lambda data: {**data, "c": data["b"] * 10}},
    )
    assert upgrade({"schema": 1, "a": 1}) == {"schema": 3, "a": 1, "b": 2, "c": 20}
    assert upgrade({"schema": 2, "a": 1, "b": 5}) == {"schema": 3, "a": 1, "b": 5, "c": 50}
    assert upgrade({"schema": 3}) == {"schema": 3}
    with pytest.raises(NewerSchema, match="its schema is 4 and this creditbench reads up to 3"):
        upgrade({"schema": 4})


def test_a_renamed_field_is_read_from_an_older_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The whole way: a schema to come, in which what was called `mark` is called `score`."""

    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {"score" if name == "mark" else name: value for name, value in data.items()}

    path = Store(tmp_path).put(run(0.9))
    path.write_text(old := path.read_text().replace('"score"', '"mark"', 1))
    monkeypatch.setattr(schema, "SCHEMA", SCHEMA + 1)
    monkeypatch.setattr(schema, "UPGRADES", {**UPGRADES, SCHEMA: renamed})
    assert Store(tmp_path).get(spec()) == run(0.9)
    assert path.read_text() == old  # reading rewrites nothing


@pytest.mark.parametrize("strange", [0, -1, 1.0, True, None, "1", [1]])
def test_a_schema_that_is_no_number_of_ours_is_refused(strange: object) -> None:
    data = json.loads(to_json(run(0.9)))
    data["schema"] = strange
    with pytest.raises(CreditbenchError, match=r"its schema is .*, not a whole number from 1"):
        from_json(json.dumps(data), "here")
