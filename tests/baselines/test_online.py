"""Online rules against exact real-time recurrent learning, which backpropagation through time computes."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from creditbench.baselines.networks import cells, flowing_cells
from creditbench.baselines.networks.cells import Cell
from creditbench.baselines.networks.recurrent import network_of
from creditbench.baselines.networks.temporal_weights import TemporalWeights
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.dfa_through_time import DirectFeedbackThroughTime
from creditbench.baselines.rules.online import RFLO, SnAp1
from creditbench.baselines.rules.truncated_bptt import TruncatedBPTT
from creditbench.baselines.rules.uoro import UORO
from creditbench.suite.losses import loss
from creditbench.suite.seeds import SeededNoise, generator
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Task

SIZE: dict[str, Any] = {"features": 2, "units": 4}
ELMAN = cells.TimedRNN(**SIZE)
EULER = flowing_cells.CTRNN(**SIZE, solver="euler", unfolds=1)
EVERYWHERE: dict[str, Cell] = {
    "rnn-dt": ELMAN,
    "ct-rnn": flowing_cells.CTRNN(**SIZE),
    "ode-lstm": flowing_cells.ODELSTM(**SIZE),
    "gru-d": cells.GRUD(**SIZE),
    "ct-gru": cells.CTGRU(**SIZE, scales=2),
}
TASKS = pytest.mark.parametrize("task", ["last", "classes at steps", "numbers at steps"])
NAN = torch.nan


def network(cell: Cell, every_step: bool, seeds: int = 2) -> Network:
    blocks = network_of(cell, (5, 3), 3, every_step)
    own = [
        [{n: p.double() for n, p in b.initial(generator("test", b.name, seed)).items()} for b in blocks]
        for seed in range(seeds)
    ]
    stacked = [{n: torch.stack([one[place][n] for one in own]) for n in own[0][place]} for place in range(2)]
    return Network("test", blocks).bind(stacked)


def batch(task: str, seeds: int = 2) -> Batch:
    """Series of lengths 5, 3 and 1, irregular, with holes and one moment at which nothing is seen."""
    draw = torch.Generator().manual_seed(1)
    times = torch.rand(seeds, 3, 5, 1, generator=draw, dtype=torch.float64).cumsum(2)
    values = torch.randn(seeds, 3, 5, 2, generator=draw, dtype=torch.float64)
    values[:, 0, 1] = NAN
    values[:, 1, 2, 0] = NAN
    series = torch.cat([times, values], -1)
    series[:, 1, 3:] = NAN
    series[:, 2, 1:] = NAN
    if task == "last":
        return Batch(series, torch.tensor([[0, 1, 2], [2, 2, 0]])[:seeds])
    classes = torch.tensor([[0, -1, 2, 1, 1], [1, 2, -1, -1, -1], [0, -1, -1, -1, -1]]).expand(seeds, 3, 5)
    if task == "classes at steps":
        return Batch(series, classes)
    numbers = torch.randn(seeds, 3, 5, 3, generator=draw, dtype=torch.float64)
    return Batch(series, torch.where(classes.unsqueeze(-1) >= 0, numbers, NAN))


def context(task: str, seeds: int = 2, name: str = "noise") -> Context:
    noise = SeededNoise([generator(name, seed) for seed in range(seeds)])
    return Context(loss("mse" if task == "numbers at steps" else "cross-entropy"), noise, 3)


def updates(rule: LearningRule, net: Network, task: str, full: bool = False) -> dict[str, Tensor]:
    with_noise, given = context(task, net.seeds), batch(task, net.seeds)
    if full:  # something is observed at every moment
        given = Batch(
            torch.cat([given.inputs[..., :1], given.inputs[..., 1:].nan_to_num(nan=0.3)], -1), given.targets
        )
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        state = State(carried={k: v.double() for k, v in rule.init(net, with_noise).carried.items()})
        for target, update in rule.step(net, given, state, with_noise):
            assert not isinstance(target, str)
            assert not isinstance(update, Tensor)
            found |= {f"{target.name}.{n}": u for n, u in update.items()}
    return found


def assert_same(
    found: dict[str, Tensor], wanted: dict[str, Tensor], names: Sequence[str] | None = None
) -> None:
    assert set(found) == set(wanted)
    for name in names or list(wanted):
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-9, atol=1e-12)


def diagonal(net: Network) -> Network:
    """The same network with recurrence from a unit to itself alone."""
    hidden = dict(net.blocks[0].parameters)
    hidden["recurrent"] = torch.diag_embed(hidden["recurrent"].diagonal(dim1=-2, dim2=-1))
    return net.bind([hidden, net.blocks[1].parameters])


# ------------------------------------------------------------------------------ snap-1, rflo


@TASKS
@pytest.mark.parametrize("cell", [ELMAN, EULER], ids=["rnn-dt", "ct-rnn"])
def test_snap_1_is_exact_for_diagonal_recurrence(cell: Cell, task: str) -> None:
    net = diagonal(network(cell, task != "last"))
    assert_same(updates(SnAp1(), net, task), updates(Backpropagation(), net, task))


@TASKS
@pytest.mark.parametrize("cell", [ELMAN, EULER], ids=["rnn-dt", "ct-rnn"])
def test_with_recurrence_only_the_readout_of_snap_1_is_exact(cell: Cell, task: str) -> None:
    net = network(cell, task != "last")
    found, wanted = updates(SnAp1(), net, task), updates(Backpropagation(), net, task)
    assert_same(found, wanted, ["1.weight", "1.bias"])
    assert not torch.allclose(found["0.input"], wanted["0.input"], rtol=1e-3)


@TASKS
@pytest.mark.parametrize("cell", [ELMAN, EULER], ids=["rnn-dt", "ct-rnn"])
def test_rflo_with_symmetric_feedback_is_exact_without_recurrence(cell: Cell, task: str) -> None:
    net = network(cell, task != "last")
    hidden = dict(net.blocks[0].parameters) | {"recurrent": torch.zeros(2, 4, 4, dtype=torch.float64)}
    net = net.bind([hidden, net.blocks[1].parameters])
    assert_same(updates(RFLO(feedback="symmetric"), net, task), updates(Backpropagation(), net, task))


def test_rflos_random_feedback_stands_for_the_readouts_weights() -> None:
    """The hidden update is linear in the feedback: with the readout's weights as feedback it is the symmetric
    one."""
    net = network(EULER, False)
    given, own = batch("last"), net.blocks[1].weight

    def hidden(feedback: Tensor) -> Tensor:
        step = RFLO().step(net, given, State(carried={"feedback": feedback}), context("last"))
        (_, _), (_, update) = list(step)
        assert not isinstance(update, Tensor)
        return update["input"]

    torch.testing.assert_close(hidden(own), updates(RFLO(feedback="symmetric"), net, "last")["0.input"])
    torch.testing.assert_close(hidden(own + 2 * own.flip(1)), hidden(own) + 2 * hidden(own.flip(1)))
    drawn = RFLO().init(net, context("last")).carried["feedback"]
    assert drawn.shape == own.shape
    assert drawn.abs().max() <= 0.5


def test_a_hand_worked_trace_of_rflo() -> None:
    """One unit, h' = h + Δt (s tanh(w x + b) - h) with s = 1: two steps, credit at the second."""
    cell = flowing_cells.CTRNN(features=1, units=1, solver="euler", unfolds=1)
    blocks = network_of(cell, (2, 2), 1, False)
    hidden = {n: torch.zeros(1, *shape, dtype=torch.float64) for n, shape in cell.shapes().items()}
    hidden["input"][0, 0, 0] = 0.4
    hidden["scale"][:] = 1.0
    readout = {"weight": torch.full((1, 1, 1), 2.0).double(), "bias": torch.zeros(1, 1).double()}
    net = Network("test", blocks).bind([hidden, readout])
    series = torch.tensor([[[[0.5, 1.0], [0.75, -1.0]]]], dtype=torch.float64)  # Δt 0.5, then 0.25
    target = torch.tensor([[[0.0]]], dtype=torch.float64)
    with_mse = context("numbers at steps", 1)
    found: dict[str, Tensor] = {}
    for block, update in RFLO(feedback="symmetric").step(net, Batch(series, target), State(), with_mse):
        assert not isinstance(block, str)
        assert not isinstance(update, Tensor)
        found |= {f"{block.name}.{n}": u for n, u in update.items()}
    tanh, slope = torch.tanh(torch.tensor(0.4).double()), 1 - torch.tanh(torch.tensor(0.4).double()) ** 2
    h = 0.75 * (0.5 * tanh) - 0.25 * tanh
    trace = 0.75 * (0.5 * slope * 1.0) + 0.25 * slope * -1.0
    torch.testing.assert_close(found["0.input"][0, 0, 0], 2 * (2 * h) * 2 * trace)


def test_they_say_where_they_are_not_defined() -> None:
    task = Task("test", 1, "series", (5, 3), 3, lambda: NotImplemented)
    for rule in (SnAp1(), RFLO()):
        assert rule.supports(network(EULER, False), task) is None
        assert "one unit at a time" in str(rule.supports(network(flowing_cells.CTRNN(**SIZE), False), task))


# ------------------------------------------------------------------------------ truncated bptt


@TASKS
@pytest.mark.parametrize("name", EVERYWHERE)
def test_with_a_window_as_long_as_the_series_nothing_is_truncated(name: str, task: str) -> None:
    net = network(EVERYWHERE[name], task != "last")
    assert_same(updates(TruncatedBPTT(window=5), net, task), updates(Backpropagation(), net, task))


def test_with_a_window_as_long_as_the_series_a_learned_state_at_rest_is_led_back_to() -> None:
    net = network(TemporalWeights(**SIZE), every_step=False)
    found = updates(TruncatedBPTT(window=5), net, "last")
    assert found["0.phase"].abs().min() > 0
    assert_same(found, updates(Backpropagation(), net, "last"))


def test_a_window_of_one_moment_sees_immediate_influence_alone() -> None:
    """Which is what rflo sees of an Elman cell, that does not leak, where something is observed at every
    moment."""
    net, task = network(ELMAN, True), "classes at steps"
    found = updates(TruncatedBPTT(window=1), net, task, full=True)
    assert_same(found, updates(RFLO(feedback="symmetric"), net, task, full=True))
    assert not torch.allclose(
        found["0.recurrent"], updates(Backpropagation(), net, task, full=True)["0.recurrent"]
    )


# ------------------------------------------------------------------------------ dfa through time


@pytest.mark.parametrize("name", EVERYWHERE)
def test_dfa_through_time_with_the_readouts_weights_is_truncation_to_one_moment(name: str) -> None:
    """Where every moment has a target of its own, B = W is what backpropagation cut off at one moment
    does."""
    net, task = network(EVERYWHERE[name], True), "classes at steps"
    own = State(carried={"feedback": net.blocks[1].weight})
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for block, update in DirectFeedbackThroughTime().step(net, batch(task), own, context(task)):
            assert not isinstance(block, str)
            assert not isinstance(update, Tensor)
            found |= {f"{block.name}.{n}": u for n, u in update.items()}
    assert_same(found, updates(TruncatedBPTT(window=1), net, task))


def test_dfa_through_time_tells_every_moment_the_error_at_the_end() -> None:
    """The last moment's share and the others' add up; a single moment leaves the last one's alone."""
    net, rule = network(ELMAN, False), DirectFeedbackThroughTime()
    given = batch("last")
    single = Batch(given.inputs[:, 2:, :1], given.targets[:, 2:])  # one sample of one moment
    feedback = net.blocks[1].weight
    step = rule.step(net, single, State(carried={"feedback": feedback}), context("last"))
    (_, _), (_, update) = list(step)
    (_, _), (_, wanted) = list(TruncatedBPTT(window=1).step(net, single, State(), context("last")))
    assert not isinstance(update, Tensor)
    assert not isinstance(wanted, Tensor)
    torch.testing.assert_close(update["input"], wanted["input"])
    whole = updates(rule, net, "last")
    assert not torch.allclose(whole["0.input"], updates(TruncatedBPTT(window=1), net, "last")["0.input"])


# ------------------------------------------------------------------------------ uoro


@pytest.mark.parametrize("task", ["last", "classes at steps"])
def test_uoro_is_unbiased(task: str) -> None:
    """The mean of many estimates (each a seed of its own) lies within four standard errors of the
    gradient."""
    seeds, rounds = 400, 5
    one = network(ELMAN, task != "last", 1)
    net = one.bind([{n: p.expand(seeds, *p.shape[1:]) for n, p in b.parameters.items()} for b in one.blocks])
    given = batch(task, 1)
    wide = Batch(
        given.inputs.expand(seeds, -1, -1, -1), given.targets.expand(seeds, *given.targets.shape[1:])
    )
    found: list[dict[str, Tensor]] = []
    for number in range(rounds):
        with_noise = context(task, seeds, f"uoro{number}")
        own: dict[str, Tensor] = {}
        with torch.no_grad():
            for block, update in UORO().step(net, wide, State(), with_noise):
                assert not isinstance(block, str)
                assert not isinstance(update, Tensor)
                own |= {f"{block.name}.{n}": u for n, u in update.items()}
        found.append(own)
    wanted = updates(Backpropagation(), one, task)
    for name in ("0.input", "0.recurrent", "0.input_bias"):
        drawn = torch.cat([own[name] for own in found]).flatten(1)
        error = (drawn.mean(0) - wanted[name].flatten()).abs() / (drawn.std(0) / len(drawn) ** 0.5 + 1e-12)
        assert error.max() < 4.5, name
        assert drawn.std(0).max() > 0
    torch.testing.assert_close(found[0]["1.weight"][:1], wanted["1.weight"])


@pytest.mark.parametrize("name", EVERYWHERE)
def test_uoro_runs_on_every_cell(name: str) -> None:
    found = updates(UORO(), network(EVERYWHERE[name], False), "last")
    assert all(update.isfinite().all() for update in found.values())


@pytest.mark.parametrize(
    ("rule", "cell", "reason"),
    [
        (UORO(), TemporalWeights(**SIZE), "the state at rest is learned"),
        (UORO(), flowing_cells.CTRNN(**SIZE, solver="dopri5"), "torchdiffeq's solvers have no rule"),
        (DirectFeedbackAlignment(), ELMAN, "choose dfa-through-time"),
    ],
)
def test_what_a_rule_cannot_do_it_says_beforehand(rule: LearningRule, cell: Cell, reason: str) -> None:
    task = Task("series", 1, "series", (5, 3), 3, lambda: pytest.fail("no data are needed"))
    assert reason in str(rule.supports(network(cell, every_step=False), task))
    assert (
        UORO().supports(network(TemporalWeights(**SIZE, ablation="static"), every_step=False), task) is None
    )
