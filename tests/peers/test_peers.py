"""Counts beside those of the counters people use, on the same models and data, where these are right.

NeuroBench and SpikingJelly have an environment of their own: `tox -e peers`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import creditbench
from creditbench.baselines.networks.neurons import Neuron
from creditbench.suite.counting.operations import Operations
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.plan import load_rule
from tools import learner, toy_batch, toy_task

pytestmark = pytest.mark.usefixtures("draws_globally")  # so do the peers
BATCH = 6


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10), nn.ReLU(), nn.Linear(10, 5))


def cnn(padding: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=padding), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(5),
    )  # fmt: skip


def inputs(*shape: int) -> Tensor:
    """Normal numbers, a third of them zero."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(shape, generator=generator)
    return values * (torch.rand(shape, generator=generator) > 1 / 3)


MODELS = [(mlp(), (BATCH, 20)), (cnn(0), (BATCH, 2, 9, 9)), (cnn(1), (BATCH, 2, 9, 9))]
for model, shape in MODELS:
    model(torch.zeros(shape))


def counted(model: nn.Module, data: Tensor) -> Operations:
    with torch.no_grad(), creditbench.count_operations(strict=True) as ops:
        model(data)
    return ops


# --------------------------------------------------------------------- torch's FlopCounterMode


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_a_training_step_has_half_as_many_macs_as_torch_counts_flops(
    model: nn.Module, shape: tuple[int, ...]
) -> None:
    def step() -> None:
        nn.functional.cross_entropy(model(inputs(*shape)), torch.arange(BATCH) % 5).backward()

    with FlopCounterMode(display=False) as flops:
        step()
    with creditbench.count_operations(strict=True) as ops:
        step()
    assert 2 * ops.macs == flops.get_total_flops()


def test_contractions_torch_knows_agree_and_those_it_leaves_at_zero_are_counted() -> None:
    a, b = torch.randn(3, 4, 5), torch.randn(3, 5, 6)
    with FlopCounterMode(display=False) as flops, creditbench.count_operations() as ops:
        torch.bmm(a, b)
        torch.einsum("bij,bjk->bik", a, b)
        nn.functional.scaled_dot_product_attention(a, a, a)
        torch.addmm(torch.zeros(4, 6), a[0], b[0])
    assert 2 * ops.macs == flops.get_total_flops()

    def unseen() -> None:
        torch.mv(a[0], b[0, :, 0])
        torch.dot(a[0, 0], b[0, :, 0])
        nn.LSTM(5, 7)(a)

    with FlopCounterMode(display=False) as flops:
        unseen()
    with creditbench.count_operations() as ops:
        unseen()
    assert flops.get_total_flops() == 0
    assert ops.macs == 4 * 5 + 5 + 3 * 4 * 4 * 7 * (5 + 7)


# --------------------------------------------------------------------- NeuroBench


@contextmanager
def neurobench(model: nn.Module, data: Tensor) -> Iterator[dict[str, Any]]:
    """Its footprint, synaptic operations per sample and activation sparsity."""
    pytest.importorskip("neurobench", reason="run `tox -e peers`")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.static import Footprint
    from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
    from neurobench.models import TorchModel
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(data, torch.zeros(len(data))), batch_size=len(data))
    bench = Benchmark(
        TorchModel(model), loader, [], [], [[Footprint], [ActivationSparsity, SynapticOperations]]
    )
    yield bench.run(quiet=True)


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_effective_macs_are_neurobenchs(model: nn.Module, shape: tuple[int, ...]) -> None:
    data = inputs(*shape)
    with neurobench(model, data) as theirs:
        ours = counted(model, data)
        assert ours.effective_macs == pytest.approx(BATCH * theirs["SynapticOperations"]["Effective_MACs"])
        assert ours.acs == theirs["SynapticOperations"]["Effective_ACs"] == 0


def test_dense_macs_are_neurobenchs_but_for_padding_which_it_leaves_out() -> None:
    for (model, shape), same in zip(MODELS, (True, True, False), strict=True):
        data = inputs(*shape)
        with neurobench(model, data) as theirs:
            ours = counted(model, data).macs
            dense = BATCH * theirs["SynapticOperations"]["Dense"]
            assert (ours == pytest.approx(dense)) == same
            assert ours >= dense


def test_activation_sparsity_is_what_effective_macs_miss() -> None:
    """With no zero weights, a layer behind a ReLU does the share of its MACs that are not sparse."""
    model, data = nn.Sequential(nn.Linear(20, 300), nn.ReLU(), nn.Linear(300, 10)), inputs(BATCH, 20)
    with neurobench(model, data) as theirs:
        hidden = model[1](model[0](data))
        ours = counted(model[2], hidden)
        assert ours.effective_macs / ours.macs == pytest.approx(1 - theirs["ActivationSparsity"])


def test_the_footprint_is_the_bytes_of_our_parameters() -> None:
    task = toy_task((1, 4, 4), 3)
    ours = learner(load_rule("bp")(), task, width=30, depth=2)
    batch = toy_batch()
    ours.step(batch)
    theirs_model = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 3)
    )
    with neurobench(theirs_model, inputs(BATCH, 1, 4, 4)) as theirs:
        assert step_memory(ours, batch).at_peak["parameters"] == theirs["Footprint"]


def test_accumulates_of_declared_spikes_are_neurobenchs_of_spikes_it_guesses() -> None:
    layer, spikes = nn.Linear(20, 10), (inputs(BATCH, 20) != 0).float()
    with neurobench(nn.Sequential(layer), spikes) as theirs:
        creditbench.declare_spikes(spikes)
        ours = counted(layer, spikes)
        assert ours.acs == BATCH * theirs["SynapticOperations"]["Effective_ACs"]
        assert ours.macs == 0


# --------------------------------------------------------------------- SpikingJelly


def spikingjelly(counter: str, model: nn.Module, data: Tensor) -> int:
    """What one of its counters says of a forward pass."""
    module = pytest.importorskip("spikingjelly.activation_based.op_counter", reason="run `tox -e peers`")
    own = getattr(module, counter)()
    with torch.no_grad(), module.DispatchCounterMode([own]):
        model(data)
    return int(own.get_total())


@pytest.mark.parametrize(("model", "shape"), MODELS)
def test_dense_macs_are_spikingjellys(model: nn.Module, shape: tuple[int, ...]) -> None:
    data = inputs(*shape)
    assert counted(model, data).macs == spikingjelly("MACCounter", model, data)


def test_accumulates_of_declared_spikes_are_spikingjellys() -> None:
    layer, spikes = nn.Linear(20, 10, bias=False), (inputs(BATCH, 20) != 0).float()
    theirs = spikingjelly("ACCounter", layer, spikes)
    creditbench.declare_spikes(spikes)
    assert counted(layer, spikes).acs == theirs


@pytest.mark.parametrize("decay", [0.9, 0.5, 1.0])
def test_membranes_and_gradients_are_those_of_snntorch(decay: float) -> None:
    """Leaky, reset by subtraction one step late, arctan: potentials, spikes and derivatives by the current.

    snntorch keeps its decay in single precision."""
    snntorch = pytest.importorskip("snntorch", reason="run `tox -e peers`")
    steps, batch, neurons = 12, 4, 7
    current = inputs(steps, 1, batch, neurons).abs().double().requires_grad_()
    theirs = snntorch.Leaky(beta=decay, spike_grad=snntorch.surrogate.atan(alpha=2.0)).double()
    membrane, potentials, spikes = theirs.init_leaky(), [], []
    for now in current:
        spike, membrane = theirs(now, membrane)
        potentials.append(membrane)
        spikes.append(spike)
    weights = inputs(steps, 1, batch, neurons).double()
    (gradient,) = torch.autograd.grad((torch.stack(spikes) * weights).sum(), current)
    neuron = Neuron(decay=decay)
    ours = neuron.scan(current.detach(), None, None)
    assert torch.allclose(ours.potential, torch.stack(potentials), atol=1e-6)
    assert torch.equal(ours.spikes, torch.stack(spikes))
    assert 0 < ours.spikes.mean() < 1
    assert torch.allclose(neuron.back(weights, ours, None), gradient, atol=1e-6)
