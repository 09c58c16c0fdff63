"""Records: strict JSON both ways, and a sentence for whatever is not a whole record."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import cost, finite, run, specs

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Cost, Point, Record, from_json, to_json
from creditbench.suite.specification import Spec


def full_run() -> Record:
    points = (Point(1, 0.5, 1.0, 0.1), Point(2, None, None, 0.2))
    return dataclasses.replace(run(0.9), curve=points, digest={"loss": [1.0, 0.5]}, best_epoch=2)


@pytest.mark.parametrize("record", [full_run(), run(None, "failed", reason="é <b> \u202e"), cost()])
def test_a_record_survives_strict_json(record: Record) -> None:
    text = to_json(record)
    json.loads(text, parse_constant=pytest.fail)
    assert from_json(text, "here") == record


@given(specs, st.one_of(st.none(), finite), st.text())
def test_any_run_survives_strict_json(one: Spec, score: float | None, reason: str) -> None:
    record = dataclasses.replace(run(score), spec=one, reason=reason)
    assert from_json(to_json(record), "here") == record


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_written_as_null(value: float) -> None:
    data = json.loads(to_json(run(value)), parse_constant=pytest.fail)
    assert data["score"] is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"score": 0.9', '"score": NaN', "NaN is not JSON"),
        ('"score": 0.9', '"score": 1e999', "'score' is inf"),
        ('"score": 0.9', '"score": "good"', "'score' is 'good'"),
        ('"score": 0.9', '"score": true', "'score' is True"),
        ('"score": 0.9', '"score": 1' + 30 * "0", "'score' is 10*, which is too large"),
        ('"epoch": 1,', '"epoch": "1",', "'epoch' is '1', not int"),
        ('"validation_loss": 1.0', '"validation_loss": 1e999', "'validation_loss' is inf"),
        ('"validation_loss": 1.0', '"validation_loss": [1.0]', r"'validation_loss' is \[1.0\]"),
        ('"train_seconds": 0.1', '"train_seconds": null', "'train_seconds' is None"),
        ('"epoch": 1,', '"epoch": 1, "colour": "red",', "colour"),
        ('"epoch": 1,', "", "the field 'epoch' is missing"),
        ('"loss": [', '"loss": ["x",', "its digest of 'loss' is"),
        ('"epochs": 40', '"epochs": 50', "edited by hand"),
        ('"seed": 0', '"seed": 1', "edited by hand"),
        ('"status": "ok"', '"status": "great"', "'great' is none of ok"),
        ('"schema": 1', '"schema": 0', "its schema is 0, not a whole number from 1 to"),
        ('"schema": 1', '"schema": true', "its schema is True"),
        ('"schema": 1', '"schema": "new"', "its schema is 'new'"),
        ('"kind": "run"', '"kind": "song"', "its kind is 'song'"),
        ('"reason": null', '"reason": ["a"]', "'reason' is"),
        ('"fingerprint": "ffffffffffff"', '"fingerprint": 7', "'fingerprint' is 7"),
        ('"validation_score": 0.5', '"validation_score": "x"', "'validation_score' is 'x'"),
    ],
)
def test_an_altered_record_is_refused_with_a_sentence(old: str, new: str, complaint: str) -> None:
    text = to_json(full_run())
    assert text.count(old) >= 1
    with pytest.raises(CreditbenchError, match=complaint) as caught:
        from_json(text.replace(old, new), "seed-0.json")
    assert str(caught.value).startswith("seed-0.json is not a readable record: ")
    assert "Delete it or restore it" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"schema": 1', '"schema": 99', "its schema is 99 and this creditbench reads up to"),
        (
            '"score": 0.9',
            '"score": 0.9, "colour": "red"',
            "fields that this creditbench does not know, colour",
        ),
    ],
)
def test_a_record_of_a_newer_creditbench_asks_for_it_and_not_for_deletion(
    old: str, new: str, complaint: str
) -> None:
    with pytest.raises(CreditbenchError, match=complaint) as caught:
        from_json(to_json(full_run()).replace(old, new), "seed-0.json")
    assert "Update creditbench" in str(caught.value)
    assert "Delete" not in str(caught.value)


@pytest.mark.parametrize("part", ["key", "spec", "kind", "schema", "curve", "status"])
def test_a_record_that_lacks_a_part_is_refused(part: str) -> None:
    data = json.loads(to_json(full_run()))
    del data[part]
    with pytest.raises(CreditbenchError, match=part):
        from_json(json.dumps(data), "here")


@given(st.integers(0, 10**6))
def test_a_truncated_record_is_refused_wherever_it_ends(where: int) -> None:
    text = to_json(full_run())
    with pytest.raises(CreditbenchError, match="not a readable record"):
        from_json(text[: where % (len(text) - 2)], "here")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"run"', "[" * 100_000, "{}", "\x00"])
def test_what_is_no_record_at_all_is_refused(text: str) -> None:
    with pytest.raises(CreditbenchError, match="here is not a readable record"):
        from_json(text, "here")


def test_a_calibrated_time_survives_and_an_older_record_lacks_it() -> None:
    own = cost(relative_step=2.0, relative_step_interval=(1.9, 2.1), step_seconds_spread={"min": 1e-3})
    text = to_json(own)
    assert from_json(text, "here") == own
    data = json.loads(text)
    for name in ("relative_step", "relative_step_interval", "step_seconds_spread", "calibration_seconds"):
        del data[name]
    older = from_json(json.dumps(data), "here")
    assert isinstance(older, Cost)
    assert (older.relative_step, older.relative_step_interval, older.step_seconds_spread) == (None, None, {})


@pytest.mark.parametrize("strange", ["ab", [1.0], [1.0, 2.0, 3.0], {"a": 1, "b": 2}, 5, ["1", "2"]])
def test_an_interval_that_is_none_is_refused(strange: object) -> None:
    data = json.loads(to_json(cost()))
    data["relative_step_interval"] = strange
    with pytest.raises(CreditbenchError, match="not a readable record"):
        from_json(json.dumps(data), "here")
