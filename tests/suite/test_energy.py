"""Energy is counts times prices; what has no price is not free."""

import math
import tomllib
from pathlib import Path

import pytest
import torch

import creditbench
from creditbench.suite.counting.energy import KINDS, OPERATIONS, TABLES, read_table
from creditbench.suite.counting.operations import Operations
from creditbench.suite.errors import CreditbenchError


def linear(batch: int = 2) -> Operations:
    """2 x 3 -> 4 with bias: 24 MACs, 8 additions."""
    x, weight, bias = torch.ones(batch, 3), torch.ones(4, 3), torch.ones(4)
    with creditbench.count_operations() as ops:
        torch.nn.functional.linear(x, weight, bias)
    return ops


@pytest.mark.parametrize(
    ("table", "multiply", "add"),
    [("cmos45-fp32", 3.7, 0.9), ("cmos45-fp16", 1.1, 0.4), ("cmos45-int8", 0.2, 0.03)],
)
def test_a_mac_costs_one_multiplication_and_one_addition(table: str, multiply: float, add: float) -> None:
    assert linear().energy(table).arithmetic_pj == pytest.approx(24 * (multiply + add) + 8 * add)


def test_memory_is_charged_by_64_bit_accesses_between_compulsory_and_eager_traffic() -> None:
    ops = linear()
    energy = ops.energy("cmos45-fp32")
    there = 4 * (6 + 12 + 4)
    assert ops.compulsory_bytes == there
    assert energy.with_memory_lower_pj == pytest.approx(energy.arithmetic_pj + there / 8 * 1300)
    assert energy.with_memory_upper_pj == pytest.approx(energy.arithmetic_pj + (there + 32) / 8 * 2600)


def test_phases_add_up_to_the_whole() -> None:
    weight = torch.ones(4, 3, requires_grad=True)
    with creditbench.count_operations() as ops:
        (torch.ones(2, 3) @ weight.T).square().sum().backward()
    energy = ops.energy()
    assert energy.by_phase["credit"].arithmetic_pj > 0
    for name in ("arithmetic_pj", "with_memory_lower_pj", "with_memory_upper_pj"):
        parts = sum(getattr(own, name) for own in energy.by_phase.values())
        assert parts == pytest.approx(getattr(energy, name))


def test_an_operation_without_a_price_makes_the_total_nan_and_says_why() -> None:
    energy = linear().energy("loihi")
    assert math.isnan(energy.arithmetic_pj)
    assert math.isnan(energy.with_memory_lower_pj)
    assert math.isnan(energy.with_memory_upper_pj)
    assert energy.missing == ("'loihi' has no price for 'multiply' (24 macs)",)


def test_an_unknown_operator_makes_the_total_nan_and_is_named() -> None:
    x = torch.eye(3)
    with creditbench.count_operations() as ops:
        torch.linalg.eigvalsh(x)
    energy = ops.energy()
    assert math.isnan(energy.arithmetic_pj)
    assert "_linalg_eigh" in energy.missing[0]


def test_on_loihi_accumulates_cost_synaptic_operations() -> None:
    spikes = creditbench.declare_spikes(torch.ones(2, 3))
    with creditbench.count_operations() as ops:
        spikes @ torch.ones(3, 4)
    assert ops.energy("loihi").arithmetic_pj == pytest.approx(24 * 23.6)


def test_a_table_of_your_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    price = 'pj = {}\nrange = [0, 100]\nkind = "assumed"\nsource = "mine"\n'
    text = 'name = "mine"\nnode = "paper"\nsource = "me"\n'
    for key, pj in (("multiply", 10), ("add", 1)):
        text += f"[{key}]\n{price.format(pj)}"
    path.write_text(text, encoding="utf-8")
    energy = linear().energy(path)
    assert energy.arithmetic_pj == 24 * 11 + 8
    assert math.isnan(energy.with_memory_upper_pj)
    assert energy.missing == ("'mine' has no price for 'memory_access' (120 bytes)",)


def test_the_name_of_an_unknown_table_is_met_with_the_nearest() -> None:
    with pytest.raises(CreditbenchError, match="Did you mean 'cmos45-fp32'"):
        linear().energy("cmos45-fp23")
    with pytest.raises(CreditbenchError, match=r"no energy table at .*none\.toml"):
        linear().energy("none.toml")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = 1", "'node'"),
        ('[flops]\npj = 1\nrange = [1, 1]\nkind = "measured"\nsource = ""', "'flops' is none of"),
        ('[add]\npj = 1\nrange = [1, 1]\nkind = "guessed"\nsource = ""', "'guessed'"),
        ('[add]\npj = 3\nrange = [1, 2]\nkind = "measured"\nsource = ""', "range of 'add'"),
    ],
)
def test_a_broken_table_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CreditbenchError, match=complaint):
        read_table(str(path))


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_constant_of_every_table_says_where_it_comes_from(path: Path) -> None:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    assert data["name"] == path.stem
    table = read_table(path.stem)
    assert table.source
    for price in table.prices.values():
        assert price.source
        assert price.kind in KINDS
    if path.stem.startswith("cmos45"):
        assert set(table.prices) == OPERATIONS
        measured = {key for key, price in table.prices.items() if price.kind == "measured"}
        assert measured == {"add", "multiply", "memory_access"}
