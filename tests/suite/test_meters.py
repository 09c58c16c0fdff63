"""Meters measure from outside: what they say is right, and what they measure goes on undisturbed."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from scipy import stats

from creditbench.suite.counting.operations import count_operations
from creditbench.suite.meters.alignment import alignment
from creditbench.suite.meters.calibration import Calibration, calibrated, kernel, places
from creditbench.suite.meters.joules import joules
from creditbench.suite.meters.memory import step_memory
from creditbench.suite.meters.process import RESET, cuda_peak, process_peak
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step
from tools import gradients, learner, toy_batch

CPU = torch.device("cpu")


# ---------------------------------------------------------------------------- memory by kind


def test_the_peak_is_the_sum_of_what_it_was_made_of() -> None:
    for rule in ("bp", "fa", "dfa", "sigprop", "last-layer"):
        model, batch = learner(load_rule(rule)(), width=32, depth=3), toy_batch(samples=20)
        model.step(batch)
        memory = step_memory(model, batch)
        assert sum(memory.at_peak.values()) == memory.peak


def test_memory_is_filed_under_what_it_is_for() -> None:
    """bp on 16-32-32-3: float32 parameters, two Adam moments each, activations of hidden layers."""
    model, batch = learner(load_rule("bp")(), width=32, depth=2), toy_batch(samples=20)
    model.step(batch)
    kinds = step_memory(model, batch).at_peak
    parameters = 4 * (16 * 32 + 32 + 32 * 32 + 32 + 32 * 3 + 3)
    tensors = 6  # each with a step number of one float
    assert kinds["parameters"] == parameters
    assert kinds["optimizer_state"] == 2 * parameters + 4 * tensors
    assert kinds["rule_state"] == 0
    assert kinds["batch"] == 4 * 20 * 16 + 8 * 20
    assert kinds["temporaries"] >= parameters  # all updates of bp live at once
    large = step_memory(model, toy_batch(samples=2000)).at_peak
    assert large["activations"] >= 2 * 4 * 2000 * 32  # both hidden layers are kept for the way back


def test_feedback_weights_are_rule_state() -> None:
    model, batch = learner(load_rule("fa")(), width=32, depth=2), toy_batch(samples=20)
    model.step(batch)
    feedback = 4 * (32 * 32 + 32 * 3)
    assert step_memory(model, batch).at_peak["rule_state"] == feedback


@pytest.mark.skipif(not RESET.exists(), reason="the system has no /proc/self/clear_refs")
def test_the_peak_of_the_process_sees_what_is_freed_again() -> None:
    quiet = process_peak(lambda: None)
    busy = process_peak(lambda: torch.ones(25_000_000).sum())  # 100 MB
    after = process_peak(lambda: None)
    if quiet is None or busy is None or after is None:
        pytest.skip("this system does not let a process reset its high-water mark")
    assert busy - quiet > 90e6
    assert busy - after > 90e6


def test_a_cpu_has_no_cuda_peak() -> None:
    assert cuda_peak(lambda: pytest.fail("not to be run"), CPU) is None


# ---------------------------------------------------------------------------- joules


def zeus(monkeypatch: pytest.MonkeyPatch, packages: list[int], per_call: float) -> list[int]:
    """A stand-in for zeus whose counters rise by `per_call` joules for each call that is made."""
    calls = [0]

    class ZeusMonitor:
        def __init__(self, gpu_indices: list[int]) -> None:
            self.gpu_indices, self.cpu_indices = gpu_indices, packages

        def begin_window(self, _: str) -> None:
            self.before = calls[0]

        def end_window(self, _: str) -> SimpleNamespace:
            spent = (calls[0] - self.before) * per_call
            energy = dict.fromkeys(packages, spent)
            return SimpleNamespace(gpu_energy={}, cpu_energy=energy or None, dram_energy=None)

    module = ModuleType("zeus.monitor")
    module.ZeusMonitor = ZeusMonitor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus", ModuleType("zeus"))
    monkeypatch.setitem(sys.modules, "zeus.monitor", module)
    return calls


def test_joules_per_call_are_those_of_all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = zeus(monkeypatch, [0, 1], 0.25)

    def run() -> None:
        calls[0] += 1

    found = joules(run, 0.1, CPU)
    assert found.per_call == pytest.approx(0.5)
    assert found.source == "measured: RAPL package 0, RAPL package 1; whole devices, idle power included"
    assert calls[0] == 20  # two seconds of calls of a tenth


@pytest.mark.parametrize(
    ("packages", "per_call", "reason"),
    [([], 1.0, "shows no NVML or RAPL counter"), ([0], 0.0, "did not move")],
)
def test_joules_that_cannot_be_measured_are_absent_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, packages: list[int], per_call: float, reason: str
) -> None:
    zeus(monkeypatch, packages, per_call)
    found = joules(lambda: None, 0.1, CPU)
    assert found.per_call is None
    assert reason in found.source


def test_without_zeus_the_record_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    found = joules(lambda: None, 0.1, CPU)
    assert found.per_call is None
    assert "pip install 'creditbench[energy]'" in found.source


# ---------------------------------------------------------------------------- alignment


def test_bp_lies_along_its_own_gradient() -> None:
    model = learner(load_rule("bp")(), seeds=(0, 1), width=16, depth=2)
    for own in alignment(model, toy_batch(seeds=2)):
        assert set(own.cosine) == {block.name for block in model.network.blocks}
        assert list(own.cosine.values()) == pytest.approx([1.0] * 3)
        assert list(own.norm_ratio.values()) == pytest.approx([1.0] * 3)


def test_the_gradient_is_autograds() -> None:
    """A rule that yields twice autograd's gradient, in two unequal parts, has cosine 1 and ratio 2."""

    @dataclass(frozen=True)
    class Doubled(LearningRule):
        name: ClassVar[str] = "doubled"
        source: ClassVar[str] = "test"

        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            for block in network.blocks:
                true = {key: found[f"{block.name}.{key}"] for key in block.parameters}
                yield block, {key: 1.5 * tensor for key, tensor in true.items()}
                yield block, {key: 0.5 * tensor for key, tensor in true.items()}

    batch = toy_batch()
    found = gradients(learner(load_rule("bp")(), width=16, depth=2), batch)
    (own,) = alignment(learner(Doubled(), width=16, depth=2), batch)
    assert list(own.cosine.values()) == pytest.approx([1.0] * 3)
    assert list(own.norm_ratio.values()) == pytest.approx([2.0] * 3)


def test_feedback_alignment_is_exact_at_the_top_alone_and_last_layer_has_nothing_below() -> None:
    (own,) = alignment(learner(load_rule("fa")(), width=16, depth=2), toy_batch())
    *hidden, top = own.cosine.values()
    assert top == pytest.approx(1.0)
    assert all(abs(cosine) < 0.9 for cosine in hidden)
    (floor,) = alignment(learner(load_rule("last-layer")(), width=16, depth=2), toy_batch())
    assert len(floor.cosine) == 1


@pytest.mark.parametrize("rule", ["fa", "sigprop"])
def test_measuring_alignment_leaves_no_trace(rule: str) -> None:
    options = {} if rule == "fa" else {"loss": "max-rand"}  # draws random numbers
    looked, blind = (learner(load_rule(rule)(**options), width=16, depth=2, dropout=0.3) for _ in range(2))
    batch = toy_batch()
    for model, look in ((looked, True), (blind, False)):
        for _ in range(3):
            if look:
                alignment(model, batch)
            model.step(batch)
    pairs: Iterator[tuple[torch.Tensor, torch.Tensor]] = zip(
        looked.tensors().values(), blind.tensors().values(), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)


# ------------------------------------------------------------------------------------ calibrated time

KERNEL = 11883.17  # the norm of what it computes


def ticking(monkeypatch: pytest.MonkeyPatch, kernel: float, call: float, slower: float = 1.0) -> Calibration:
    """Calibrates on a clock that only these two move; the machine slows down by a factor on the way."""
    from creditbench.suite.meters import calibration as module

    now, turns = [0.0], [0]

    def passing(seconds: float) -> None:
        turns[0] += 1
        now[0] += seconds * (slower if turns[0] > 40 else 1.0)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "kernel", lambda device: lambda: passing(kernel))
    return calibrated(lambda: passing(call), CPU, 0.0)


def test_calibrated_time_is_the_ratio_and_blind_to_how_fast_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calm, throttled = ticking(monkeypatch, 2e-3, 6e-3), ticking(monkeypatch, 2e-3, 6e-3, slower=5.0)
    assert calm.kernel_seconds == pytest.approx(2e-3)
    for found in (calm, throttled):
        assert found.ratio == pytest.approx(3.0)
        assert found.interval == pytest.approx((3.0, 3.0))


def test_calibrated_time_is_blind_to_interruptions_of_every_other_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from creditbench.suite.meters import calibration as module

    now, calls = [0.0], [0]

    def passing(seconds: float) -> None:
        calls[0] += 1
        now[0] += seconds + (0.1 if calls[0] % 4 in (1, 2) else 0.0)  # half of the steps, half of the kernels

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "kernel", lambda device: lambda: passing(2e-3))
    found = calibrated(lambda: passing(6e-3), CPU, 0.0)
    assert found.ratio == pytest.approx(3.0)
    assert found.interval == pytest.approx((3.0, 3.0))


@pytest.mark.parametrize("count", [30, 101, 500])
def test_the_interval_of_a_quartile_holds_its_level_by_the_binomial(count: int) -> None:
    low, high = places(count)
    assert stats.binom.cdf(high, count, 0.25) - stats.binom.cdf(low, count, 0.25) >= 0.95
    assert stats.binom.cdf(low + 1, count, 0.25) > 0.025  # and neither end could lie further in
    assert stats.binom.cdf(high - 1, count, 0.25) < 0.975


def test_the_kernel_is_the_same_work_for_ever() -> None:
    """Stored ratios are to it: 4 products of 128 x 256 x 256 and one of 256 x 128 x 256, and its values."""
    work = kernel(CPU)
    with count_operations() as counted:
        result = work()
    assert counted.macs == 4 * 128 * 256 * 256 + 256 * 128 * 256
    assert float(result.norm()) == pytest.approx(KERNEL, rel=1e-4)
    assert torch.equal(result, work())
