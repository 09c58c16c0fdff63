"""The identity of a run: one key per meaning, whatever the spelling."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import options, spec, specs, words

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.specification import Spec, canonical_json, format_label, parse_label, parse_value


def reordered(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: reordered(value) if isinstance(value, Mapping) else value
        for name, value in reversed(list(data.items()))
    }


@given(words, options)
def test_a_label_reads_back_as_it_was_written(name: str, chosen: dict[str, Any]) -> None:
    assert parse_label(format_label(name, chosen)) == (name, chosen)


@given(st.text(max_size=30))
def test_a_label_is_parsed_or_refused_with_a_sentence(text: str) -> None:
    try:
        name, chosen = parse_label(text)
    except CreditbenchError:
        return
    canonical_json(chosen)  # whatever is let through can be part of an identity
    assert name


def test_a_path_keeps_its_own_colon() -> None:
    assert parse_label("dir/my_net.py:net:width=64") == ("dir/my_net.py:net", {"width": 64})


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "Infinity"])
def test_no_option_is_a_number_that_json_lacks(text: str) -> None:
    assert parse_value(text) == text


@given(specs)
def test_a_spec_survives_strict_json(one: Spec) -> None:
    text = canonical_json(one.as_dict())
    again = Spec.from_dict(json.loads(text, parse_constant=pytest.fail))
    assert again == one
    assert (again.key, again.cell) == (one.key, one.cell)


@given(specs)
def test_the_key_does_not_depend_on_the_order_of_fields(one: Spec) -> None:
    assert Spec.from_dict(reordered(one.as_dict())).key == one.key


@given(specs, st.integers(0, 10**6))
def test_seeds_share_a_cell_and_nothing_else_does(one: Spec, seed: int) -> None:
    other = one.with_seed(seed)
    assert other.cell == one.cell
    assert (other.key == one.key) == (seed == one.seed)
    assert dataclasses.replace(one, epochs=one.epochs + 1).cell != one.cell


def test_a_known_spec_keeps_its_key_for_good() -> None:
    # SHA-256 of the canonical JSON, worked out with sha256sum: a change here orphans every record
    assert spec().key == "0d2b52edc516"


def test_a_whole_learning_rate_is_the_same_as_a_float() -> None:
    assert spec(learning_rate=1).key == spec(learning_rate=1.0).key


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"colour": "red"}, "unknown fields: \\['colour'\\]"),
        ({"seed": "../../x"}, "'seed' is '../../x', not int"),
        ({"seed": True}, "'seed' is True"),
        ({"epochs": 1.5}, "'epochs' is 1.5"),
        ({"task": 3}, "'task' is 3"),
        ({"hyperparameters": []}, "'hyperparameters' is \\[\\]"),
        ({"learning_rate": "fast"}, "'learning_rate' is 'fast'"),
    ],
)
def test_a_spec_of_strange_fields_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CreditbenchError, match=complaint):
        Spec.from_dict(spec().as_dict() | change)


def test_a_spec_that_lacks_a_field_is_refused() -> None:
    data = spec().as_dict()
    del data["task"]
    with pytest.raises(CreditbenchError, match=r"incomplete.*task"):
        Spec.from_dict(data)
