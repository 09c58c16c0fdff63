"""Cells against their equations by hand, torch's own cells, and what must hold for every one of them."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.networks import cells, flowing_cells
from creditbench.baselines.networks.cells import Cell, Seen
from creditbench.baselines.networks.recurrent import CellBlock, moments_of, network_of
from creditbench.baselines.networks.temporal_weights import ABLATIONS, HOSTS, TemporalWeights
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Network

SIZE: dict[str, Any] = {"features": 2, "units": 5}
CELLS: dict[str, Cell] = {
    "rnn-dt": cells.TimedRNN(**SIZE),
    "rnn-decay": cells.DecayRNN(**SIZE),
    "gru-d": cells.GRUD(**SIZE),
    "ct-lstm": cells.CTLSTM(**SIZE),
    "ct-gru": cells.CTGRU(**SIZE, scales=3),
    "phased-lstm": cells.PhasedLSTM(**SIZE),
    "cfc": cells.CfC(**SIZE, backbone=7),
    "cfc no-gate": cells.CfC(**SIZE, backbone=7, mode="no-gate"),
    "cfc minimal": cells.CfC(**SIZE, backbone=7, mode="minimal"),
    "cfc mixed": cells.CfC(**SIZE, backbone=7, mixed=True),
    "ct-rnn": flowing_cells.CTRNN(**SIZE),
    "ode-rnn": flowing_cells.ODERNN(**SIZE),
    "ode-lstm": flowing_cells.ODELSTM(**SIZE),
    "gru-ode": flowing_cells.GRUODE(**SIZE),
    "ltc": flowing_cells.LTC(**SIZE),
    **{
        f"temporal weights in {host}, {ablation}": TemporalWeights(**SIZE, host=host, ablation=ablation)
        for host in HOSTS
        for ablation in ABLATIONS
    },
    "temporal weights by rows": TemporalWeights(**SIZE, group="row"),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
FLOWING = {name: cell for name, cell in CELLS.items() if isinstance(cell, flowing_cells.Flowing)}


def parameters_of(cell: Cell, seeds: int = 2) -> dict[str, Tensor]:
    own = [cell.initial(torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    return {name: torch.stack([one[name] for one in own]).double() for name in own[0]}


def network(cell: Cell, every_step: bool = False, steps: int = 6) -> Network:
    blocks = network_of(cell, (steps, 3), 4, every_step)
    own = [
        {k: v.double() for k, v in block.initial(torch.Generator().manual_seed(9)).items()}
        for block in blocks[1:]
    ]
    second = [{name: torch.stack([p, -p]) for name, p in one.items()} for one in own]
    return Network("test", blocks).bind([parameters_of(cell), *second])


def packed(seed: int = 0) -> Tensor:
    """[2 seeds, 3 samples, 6 steps, 1 + 2], irregular, with holes, of lengths 6, 4 and 1."""
    draw = torch.Generator().manual_seed(seed)
    times = torch.rand(2, 3, 6, 1, generator=draw, dtype=torch.float64).cumsum(2)
    values = torch.randn(2, 3, 6, 2, generator=draw, dtype=torch.float64)
    values[torch.rand(values.shape, generator=draw) < 0.3] = torch.nan
    values[:, :, 0] = 1.0
    series = torch.cat([times, values], -1)
    series[:, 1, 4:] = torch.nan
    series[:, 2, 1:] = torch.nan
    return series


def one_sample(values: list[float], elapsed: float) -> Seen:
    x = torch.tensor([[values]], dtype=torch.float64)
    return Seen(x, torch.ones_like(x), torch.full((1, 1, 1), elapsed, dtype=torch.float64))


# ------------------------------------------------------------------------------ for every cell


@every_cell
def test_what_lies_behind_the_end_never_changes_a_result(cell: Cell) -> None:
    series = packed()
    longer = torch.cat([series, torch.full((2, 3, 4, 3), torch.nan, dtype=torch.float64)], 2)
    garbage = longer.clone()
    garbage[..., 1:] = torch.where(longer[..., :1].isnan(), 7.0, longer[..., 1:])  # behind every end
    for every_step in (False, True):
        outputs = network(cell, every_step)(series)
        for other in (longer, garbage):
            found = network(cell, every_step, 10)(other)
            found = found[:, :, :6] if every_step else found
            torch.testing.assert_close(found, outputs, rtol=1e-12, atol=1e-12)  # kernels round by size
    short = network(cell)(series[:, 1:2, :4])  # the second sample as the longest of its batch
    torch.testing.assert_close(short, network(cell)(series)[:, 1:2], rtol=1e-12, atol=1e-12)


@every_cell
def test_a_step_without_an_observation_only_lets_time_pass(cell: Cell) -> None:
    series = packed()[:, :1]
    between = (series[:, :, 2:3, :1] + series[:, :, 3:4, :1]) / 2
    empty = torch.cat([between, torch.full((2, 1, 1, 2), torch.nan, dtype=torch.float64)], -1)
    series[:, :, 3, 1:] = 0.5  # something is observed behind it
    more = torch.cat([series[:, :, :3], empty, series[:, :, 3:]], 2)
    torch.testing.assert_close(network(cell)(more), network(cell)(series), rtol=1e-12, atol=1e-12)


@every_cell
def test_permuting_the_batch_permutes_the_outputs(cell: Cell) -> None:
    series, order = packed(), [2, 0, 1]
    torch.testing.assert_close(
        network(cell)(series[:, order]), network(cell)(series)[:, order], rtol=1e-12, atol=1e-12
    )


@every_cell
def test_seeds_do_not_meet(cell: Cell) -> None:
    series, both = packed(), network(cell)
    alone = both.bind([{name: p[1:] for name, p in block.parameters.items()} for block in both.blocks])
    torch.testing.assert_close(alone(series[1:]), both(series)[1:], rtol=1e-12, atol=1e-12)


@every_cell
@pytest.mark.parametrize("every_step", [False, True])
def test_moment_by_moment_is_the_sequence(cell: Cell, every_step: bool) -> None:
    series, whole = packed(), network(cell, every_step)
    moments = [traces[-1].output[0] for traces in whole.through_time(series)]
    if every_step:
        torch.testing.assert_close(torch.stack(moments, 2), whole(series))
    else:
        torch.testing.assert_close(moments[-1], whole(series))


@every_cell
@pytest.mark.parametrize("every_step", [False, True])
def test_the_pullback_is_the_networks_derivative(cell: Cell, every_step: bool) -> None:
    series, whole = packed(), network(cell, every_step)
    leaves = [{n: p.clone().requires_grad_() for n, p in block.parameters.items()} for block in whole.blocks]
    outputs = whole.bind(leaves)(series)
    change = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    flat = [leaf for own in leaves for leaf in own.values()]
    wanted = iter(torch.autograd.grad(outputs, flat, change, allow_unused=True))
    traces = whole.forward(series)
    readout, below = whole.blocks[1].pullback(traces[1], change)
    hidden = whole.blocks[0].update(traces[0], below)
    for found in (hidden, readout):
        for tensor in found.values():
            expected = next(wanted)
            torch.testing.assert_close(tensor, torch.zeros_like(tensor) if expected is None else expected)


@every_cell
def test_elapsed_time_matters(cell: Cell) -> None:
    series = packed()
    slower = series.clone()
    slower[..., 0] *= 3
    assert not torch.allclose(network(cell)(slower), network(cell)(series))


# ------------------------------------------------------------------------------ torch's own cells


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def torchs(kind: type[torch.nn.Module], inputs: int) -> Any:
    with torch.random.fork_rng(devices=()):  # torch's cells draw from the global generator
        return kind(inputs, 5).double()


def test_without_elapsed_time_a_decaying_gru_is_torchs() -> None:
    cell, theirs = cells.DecayRNN(**SIZE), torchs(torch.nn.GRUCell, 4)
    own = parameters_of(cell, 1) | _torchs(theirs)
    _same(cell, own, theirs, 0.0)


def test_an_elman_cell_with_the_elapsed_time_as_a_feature_is_torchs() -> None:
    cell, theirs = cells.TimedRNN(**SIZE), torchs(torch.nn.RNNCell, 5)
    own = _torchs(theirs)
    own["input_bias"] = own["input_bias"] + own.pop("recurrent_bias")
    seen = one_sample([0.3, -0.2], 1.0)
    h = drawn(1, 5)
    wanted = theirs(torch.tensor([[0.3, -0.2, 1, 1, 1]], dtype=torch.float64), h)
    torch.testing.assert_close(cell.advance(own, seen, {"h": h[None]})["h"][0], wanted)


def test_an_lstm_that_does_not_flow_is_torchs() -> None:
    cell, theirs = flowing_cells.ODELSTM(**SIZE), torchs(torch.nn.LSTMCell, 4)
    own = parameters_of(cell, 1) | _torchs(theirs)
    h, c = drawn(2, 1, 5)
    wanted = theirs(torch.tensor([[0.3, -0.2, 1, 1]], dtype=torch.float64), (h, c))
    found = cell.advance(own, one_sample([0.3, -0.2], 0.0), {"h": h[None], "c": c[None]})
    torch.testing.assert_close(found["h"][0], wanted[0])
    torch.testing.assert_close(found["c"][0], wanted[1])


def test_without_elapsed_time_an_ode_rnn_is_torchs_gru() -> None:
    cell, theirs = flowing_cells.ODERNN(**SIZE), torchs(torch.nn.GRUCell, 4)
    _same(cell, parameters_of(cell, 1) | _torchs(theirs), theirs, 0.0)


def test_one_euler_step_of_one_unit_of_time_of_a_gru_ode_is_torchs_gru() -> None:
    cell, theirs = flowing_cells.GRUODE(**SIZE, solver="euler", unfolds=1), torchs(torch.nn.GRUCell, 4)
    _same(cell, _torchs(theirs), theirs, 1.0)


def _torchs(cell: Any) -> dict[str, Tensor]:
    names = {
        "input": "weight_ih",
        "input_bias": "bias_ih",
        "recurrent": "weight_hh",
        "recurrent_bias": "bias_hh",
    }
    return {ours: getattr(cell, theirs).detach()[None] for ours, theirs in names.items()}


def _same(cell: Cell, own: dict[str, Tensor], theirs: Any, elapsed: float) -> None:
    h = drawn(1, 5)
    wanted = theirs(torch.tensor([[0.3, -0.2, 1, 1]], dtype=torch.float64), h)
    torch.testing.assert_close(
        cell.advance(own, one_sample([0.3, -0.2], elapsed), {"h": h[None]})["h"][0], wanted
    )


# ------------------------------------------------------------------------------ two steps by hand


def walked(
    cell: Cell, own: dict[str, float | list[Any]], steps: list[tuple[float, float]]
) -> dict[str, float]:
    """The state of a cell of one unit and one feature after (value, elapsed) pairs."""
    parameters = {
        name: torch.tensor(own.get(name, 0.0), dtype=torch.float64).expand(shape)[None]
        for name, shape in cell.shapes().items()
    }
    state = cell.resting(parameters, 1)
    for value, elapsed in steps:
        state = cell.advance(parameters, one_sample([value], elapsed), state)
    return {name: part.flatten()[0].item() for name, part in state.items()}


ONE: dict[str, Any] = {"features": 1, "units": 1}
STEPS = [(0.5, 1.0), (-1.0, 2.0)]


def test_rnn_dt_by_hand() -> None:
    found = walked(cells.TimedRNN(**ONE), {"input": [[0.1, 0.2, 0.3]], "recurrent": 0.5}, STEPS)["h"]
    first = math.tanh(0.05 + 0.2 + 0.3)
    assert found == pytest.approx(math.tanh(-0.1 + 0.2 + 0.6 + 0.5 * first))


def test_rnn_decay_by_hand() -> None:
    own: dict[str, Any] = {"input": [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]], "rate": 0.3}
    found = walked(cells.DecayRNN(**ONE), own, STEPS)["h"]  # gates at 1/2, candidate tanh(x)
    first = 0.5 * math.tanh(0.5)
    assert found == pytest.approx(0.5 * math.tanh(-1) + 0.5 * first * math.exp(-0.6))


def test_gru_d_imputes_what_it_does_not_see_by_hand() -> None:
    cell = cells.GRUD(features=2, units=1)
    parameters = {name: torch.zeros(1, *shape, dtype=torch.float64) for name, shape in cell.shapes().items()}
    parameters["input"][0, 2, 1] = 1.0  # the candidate is tanh of the second feature
    parameters["input_decay"][0, 1] = 0.5
    parameters["decay"][0, 0, 1] = 0.25
    state = cell.resting(parameters, 1)
    state = cell.advance(parameters, one_sample([0.0, 2.0], 1.0), state)
    hidden = Seen(
        torch.zeros(1, 1, 2).double(),
        torch.tensor([[[1.0, 0.0]]]).double(),
        torch.full((1, 1, 1), 3.0).double(),
    )
    state = cell.advance(parameters, hidden, state)
    first = 0.5 * math.tanh(2)
    imputed = 2 * math.exp(-0.5 * 3)
    assert state["h"].item() == pytest.approx(0.5 * math.tanh(imputed) + 0.5 * first * math.exp(-0.25 * 3))
    assert state["since"].flatten().tolist() == [0, 3]


def test_ct_rnn_by_hand() -> None:
    """One Euler step: h <- h + Δt (s tanh(w x + u h + b) - λ h)."""
    own: dict[str, Any] = {"input": [[0.4, 0.0]], "recurrent": 0.5, "log_rate": math.log(0.1), "scale": 2.0}
    found = walked(flowing_cells.CTRNN(**ONE, solver="euler", unfolds=1), own, STEPS)["h"]
    first = 2 * math.tanh(0.2)
    assert found == pytest.approx(first + 2 * (2 * math.tanh(-0.4 + 0.5 * first) - 0.1 * first))


def test_ode_rnn_by_hand() -> None:
    """A constant flow dh/dt = 0.2, then a GRU step with gates at one half."""
    own: dict[str, Any] = {"flow_out_bias": 0.2, "input": [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]}
    found = walked(flowing_cells.ODERNN(**ONE), own, STEPS)["h"]
    first = 0.5 * math.tanh(0.5) + 0.5 * 0.2
    assert found == pytest.approx(0.5 * math.tanh(-1) + 0.5 * (first + 0.4))


def test_ode_lstm_by_hand() -> None:
    """Gates at one half, cell input tanh(x), and a flow dh/dt = 0.2 of h alone."""
    own: dict[str, Any] = {"flow_out_bias": 0.2, "input": [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]}
    found = walked(flowing_cells.ODELSTM(**ONE), own, STEPS)
    c = 0.5 * (0.5 * math.tanh(0.5)) + 0.5 * math.tanh(-1)
    assert found["c"] == pytest.approx(c)
    assert found["h"] == pytest.approx(0.5 * math.tanh(c) + 0.4)


def test_gru_ode_by_hand() -> None:
    """With z = 1/2 and n = tanh(x) held, h relaxes: h(t) = n + (h - n) exp(-t/2)."""
    own: dict[str, Any] = {"input": [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]]}
    found = walked(flowing_cells.GRUODE(**ONE, unfolds=200), own, STEPS)["h"]
    first = math.tanh(0.5) * (1 - math.exp(-0.5))
    assert found == pytest.approx(math.tanh(-1) + (first - math.tanh(-1)) * math.exp(-1), rel=1e-9)


def test_cfc_by_hand() -> None:
    own: dict[str, Any] = {"backbone": [[0.0, 1.0, 0.5]], "f": 0.3, "g": -0.7, "time_a": 1.0, "time_b": 0.1}
    found = walked(cells.CfC(**ONE, backbone=1), own, STEPS)["h"]
    h = 0.0
    for _, elapsed in STEPS:
        a = 1 + 0.5 * h
        b = a / (1 + math.exp(-a))
        s = 1 / (1 + math.exp(-(b * elapsed + 0.1 * b)))
        h = (1 - s) * math.tanh(0.3 * b) + s * math.tanh(-0.7 * b)
    assert found == pytest.approx(h)


def test_minimal_cfc_by_hand() -> None:
    own: dict[str, Any] = {"backbone": [[1.0, 0.0, 0.0]], "f": 0.3, "rate": -0.4, "ceiling": 2.0}
    found = walked(cells.CfC(**ONE, backbone=1, mode="minimal"), own, STEPS)["h"]
    f = 0.3 * -1 / (1 + math.exp(1))
    assert found == pytest.approx(2 - 2 * math.exp(-2 * (0.4 + abs(f))) * f)


def test_ltc_by_hand() -> None:
    own: dict[str, Any] = {
        "input": [[1.0, 0.0]],
        "recurrent": 0.5,
        "log_rate": math.log(0.5),
        "attractor": 0.8,
    }
    found = walked(flowing_cells.LTC(**ONE, unfolds=2), own, STEPS)["h"]
    h = 0.0
    for value, elapsed in STEPS:
        for _ in range(2):
            f = 1 / (1 + math.exp(-(value + 0.5 * h)))
            h = (h + elapsed / 2 * f * 0.8) / (1 + elapsed / 2 * (0.5 + f))
    assert found == pytest.approx(h)


def test_ct_lstm_by_hand() -> None:
    """All gates one half, z = tanh(x): memory and target move alike, and the memory decays at rate ln 2."""
    own: dict[str, Any] = {"input": [[0.0, 0.0]] * 4 + [[1.0, 0.0]] + [[0.0, 0.0]] * 2}
    found = walked(cells.CTLSTM(**ONE), own, STEPS)
    c = target = 0.5 * math.tanh(0.5)
    assert found["rate"] == pytest.approx(math.log(2))
    c = target + (c - target) * math.exp(-math.log(2) * 2)
    assert found["c"] == pytest.approx(0.5 * c + 0.5 * math.tanh(-1))
    assert found["target"] == pytest.approx(0.5 * target + 0.5 * math.tanh(-1))


def test_ct_gru_by_hand() -> None:
    """One time scale, τ = 1: read and write everything, then decay."""
    own: dict[str, Any] = {"detect": [[1.0, 0.0, 0.5]]}
    found = walked(cells.CTGRU(**ONE, scales=1), own, STEPS)["h"]
    first = math.tanh(0.5) * math.exp(-1)
    assert found == pytest.approx(math.tanh(-1 + 0.5 * first) * math.exp(-2))


def test_phased_lstm_by_hand() -> None:
    """Period 4, no shift, open for half of it: at t = 1 the gate is at its peak, at t = 3 it leaks."""
    own: dict[str, Any] = {
        "input": [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]],
        "log_period": math.log(4),
    }
    found = walked(cells.PhasedLSTM(**ONE, open_share=0.5, leak=0.01), own, STEPS)
    c = 0.5 * math.tanh(0.5)
    gate = 0.01 * 0.75
    assert found["c"] == pytest.approx(gate * (0.5 * c + 0.5 * math.tanh(-1)) + (1 - gate) * c)


# ------------------------------------------------------------------------------ flows in cells


@pytest.mark.parametrize("cell", FLOWING.values(), ids=FLOWING)
def test_an_adaptive_solver_agrees_with_many_fixed_steps(cell: flowing_cells.Flowing) -> None:
    pytest.importorskip("torchdiffeq")
    series = packed()[:, :, :2]
    fixed, adaptive = (
        network(replace(cell, solver=s, unfolds=n))(series) for s, n in (("rk4", 40), ("dopri5", 1))
    )
    torch.testing.assert_close(fixed, adaptive, rtol=1e-5, atol=1e-6)


def test_a_ct_rnn_without_recurrence_meets_its_closed_form() -> None:
    """dh/dt = s tanh(x) - λ h has the solution s tanh(x) / λ (1 - exp(-λ t))."""
    cell = flowing_cells.CTRNN(features=1, units=1, unfolds=50)
    own: dict[str, Any] = {"input": [[1.0, 0.0]], "log_rate": math.log(0.7), "scale": 1.0}
    found = walked(cell, own, [(0.3, 1.7)])["h"]  # dh/dt = tanh(0.3) - 0.7 h
    assert found == pytest.approx(math.tanh(0.3) / 0.7 * (1 - math.exp(-0.7 * 1.7)), rel=1e-8)


def test_options_that_there_are_not_are_errors() -> None:
    for make in (
        lambda: flowing_cells.CTRNN(**SIZE, solver="rk5"),
        lambda: flowing_cells.CTRNN(**SIZE, unfolds=0),
        lambda: flowing_cells.LTC(**SIZE, unfolds=0),
        lambda: cells.CfC(**SIZE, mode="gate"),
        lambda: TemporalWeights(**SIZE, host="lstm"),
        lambda: TemporalWeights(**SIZE, group="column"),
        lambda: TemporalWeights(**SIZE, ablation="all"),
    ):
        with pytest.raises(CreditbenchError):
            make()


# ------------------------------------------------------------------------------ temporal weights


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("group", ["layer", "row"])
def test_without_amplitude_temporal_weights_are_the_static_host_exactly(host: str, group: str) -> None:
    cell = TemporalWeights(**SIZE, host=host, group=group)
    own = parameters_of(cell)
    own["amplitude"] = torch.zeros_like(own["amplitude"])
    static = {name: own[name] for name in cell.static.shapes()}
    series = packed()
    blocks = [
        CellBlock(name="0", input_shape=(6, 3), cell=c, parameters=p)
        for c, p in ((cell, own), (cell.static, static))
    ]
    assert torch.equal(blocks[0].forward(series).output, blocks[1].forward(series).output)


def test_without_coupling_phases_turn_at_their_own_frequencies() -> None:
    for cell in (TemporalWeights(**SIZE), TemporalWeights(**SIZE, ablation="uncoupled")):
        own = parameters_of(cell)
        if "coupling" in own:
            own["coupling"] = torch.zeros_like(own["coupling"])
        block = CellBlock(name="0", input_shape=(6, 3), cell=cell, parameters=own)
        moments = moments_of(packed())[:4]
        _, state = block.step(moments, block.initial_state(moments))
        passed = moments[..., 0].nan_to_num().sum(0) - state["waited"][..., 0]  # [seed, batch]
        wanted = own["phase"].unsqueeze(1) + own["frequency"].unsqueeze(1) * passed[..., None, None]
        torch.testing.assert_close(state["phase"], wanted)


def test_two_oscillators_meet_as_kuramotos_solution_says() -> None:
    """Two phases of equal frequency: tan(d/2) falls as exp(-K t), d their difference (of dd/dt = -K sin
    d)."""
    cell = TemporalWeights(features=1, units=2, group="row", unfolds=60)
    own = {name: torch.zeros(1, *shape, dtype=torch.float64) for name, shape in cell.shapes().items()}
    own["phase"] = torch.tensor([[[0.3, 1.7], [0.0, 0.0]]], dtype=torch.float64)
    own["frequency"] += 0.9
    own["coupling"] += 1.3
    state = cell.advance(own, one_sample([0.0], 1.5), cell.resting(own, 1))
    difference = state["phase"][0, 0, 0, 1] - state["phase"][0, 0, 0, 0]
    assert math.tan(difference / 2) == pytest.approx(math.tan(0.7) * math.exp(-1.3 * 1.5), rel=1e-6)
    assert state["phase"][0, 0, 0].mean().item() == pytest.approx(1.0 + 0.9 * 1.5)  # the mean turns at ω


def test_weights_that_move_move_the_state() -> None:
    cell = TemporalWeights(**SIZE)
    own = parameters_of(cell)
    still = own | {"amplitude": torch.zeros_like(own["amplitude"])}
    series = packed()
    moving, fixed = (
        CellBlock(name="0", input_shape=(6, 3), cell=cell, parameters=p).forward(series).output
        for p in (own, still)
    )
    assert not torch.allclose(moving, fixed)


def test_what_is_learned_is_what_the_ablation_leaves() -> None:
    added = {
        ablation: set(TemporalWeights(**SIZE, ablation=ablation).shapes())
        - set(flowing_cells.CTRNN(**SIZE).shapes())
        for ablation in ABLATIONS
    }
    assert added["static"] == set()
    assert added["uncoupled"] == {"amplitude", "frequency", "phase"}
    assert added["none"] == added["uncoupled"] | {"coupling"}
    assert added["explicit-time"] == {"amplitude", "clock_in", "clock_bias", "clock_out"}
