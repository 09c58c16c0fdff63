"""Counts are exact: the same in every run and on every machine, for one minor version of torch."""

import json

import pytest
from pin_counts import BY_VALUE, PINNED, counts, torch_minor

from creditbench.suite import registry

PINS = json.loads(PINNED.read_text(encoding="utf-8")).get(torch_minor())


@pytest.mark.skipif(PINS is None, reason=f"no counts are pinned for torch {torch_minor()}")
@pytest.mark.parametrize("rule", sorted(registry.table("rule")))
def test_a_step_costs_what_is_pinned(rule: str) -> None:
    assert PINS is not None
    assert rule in PINS, f"run `python tests/pin_counts.py` to pin the counts of {rule}"
    for network, pinned in PINS[rule].items():
        found = counts(rule, network)
        assert found is not None
        tolerant = {name: pinned["step"].pop(name) for name in BY_VALUE}
        values = {name: found["step"].pop(name) for name in BY_VALUE}
        assert found == pinned
        for name, expected in tolerant.items():  # rounding may move a value across zero
            assert values[name] == pytest.approx(expected, rel=0.02, abs=2), name


def test_every_pinned_rule_exists() -> None:
    assert PINS is None or set(PINS) == set(registry.table("rule"))
