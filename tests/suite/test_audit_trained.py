"""What a rule still learns when something is taken away: interventions are what they say, and verdicts those
that theory asks for."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from creditbench.suite.audit import trained
from creditbench.suite.audit.audit import subject_of as audited_as
from creditbench.suite.audit.course import Course, noise, train
from creditbench.suite.audit.question import Question, Subject
from creditbench.suite.audit.wrapped import (
    BlackBoxed,
    Mismatched,
    NoDerivativeError,
    Wrapped,
    fixed_mixing,
    wrap,
)
from creditbench.suite.growth import Growth
from creditbench.suite.learner import Learner
from creditbench.suite.plan import load_rule
from creditbench.suite.types import (
    Batch,
    Context,
    LearningRule,
    Network,
    Split,
    Splits,
    State,
    Step,
    Task,
)
from tools import gradients, learner, network, toy_batch, toy_task, updates

ASK: dict[str, Question] = {question.key: question for question in trained.QUESTIONS}


def read_sums() -> Splits:
    """Two numbers below 5, each as one of five inputs with noise; their sum modulo 5 is asked for."""
    generator = torch.Generator().manual_seed(0)

    def split(samples: int) -> Split:
        pair = torch.randint(5, (samples, 2), generator=generator)
        shown = torch.nn.functional.one_hot(pair, 5).flatten(1).float()
        shown = shown + 0.1 * torch.randn(shown.shape, generator=generator)
        return Split(shown, pair.sum(1) % 5)

    return Splits(split(2000), split(500), split(1))


SUMS = Task("sums", 1, "image", (10,), 5, read_sums)


def subject_of(rule: LearningRule, task: Task = SUMS, **options: Any) -> Subject:
    def build(**choices: Any) -> Network:
        return network(task, **{"width": 16, **options, **choices})

    return Subject(rule, task, build)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trained, "COURSE", Course(steps=300, batch=50, rates=(2e-2,)))
    monkeypatch.setattr(trained, "SINGLY", 1500)
    monkeypatch.setattr(trained, "MISMATCH", (0.5, 1.0, 2.0))
    trained.undisturbed.cache_clear()
    yield
    trained.undisturbed.cache_clear()


@pytest.fixture
def shorter(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "COURSE", Course(steps=120, batch=50, rates=(2e-2,)))


@dataclass(frozen=True)
class OwnSurrogate(LearningRule):
    """Backpropagation that asks no unit for its derivative: it has one of its own, 1 where |a| < 1."""

    name: ClassVar[str] = "own-surrogate"
    source: ClassVar[str] = "test"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        h, seen = batch.inputs, []
        for block in network.blocks:
            a = block.preactivate(h)
            seen.append((h, (a.abs() < 1).to(a.dtype)))
            h = block.activate(a, context).output
        delta, found = context.loss.gradient(h, batch.targets), []
        for number in reversed(range(len(seen))):
            block, inputs = network.blocks[number], seen[number][0]
            found.append((block, block.synaptic_update(inputs, delta)))
            if number:
                delta = block.transport(delta) * seen[number - 1][1]
        yield from found


def rule_of(name: str, **settings: Any) -> LearningRule:
    return load_rule(name)(**settings)


# ----------------------------------------------------------------------------- the interventions


def test_the_questions_have_the_names_of_the_audit() -> None:
    assert list(ASK) == [
        "non_differentiable_units",
        "black_box_layer",
        "device_noise",
        "four_bit_weights",
        "feedback_mismatch",
        "memory_over_time",
        "batch_size_one",
    ]


@pytest.mark.parametrize("rule", ["bp", "fa", "dfa", "sigprop"])
def test_hard_thresholds_give_no_rule_a_hidden_update(rule: str) -> None:
    model = learner(rule_of(rule), activation="step", width=8)
    found = updates(model, toy_batch())
    assert not any(tensor.any() for name, tensor in found.items() if name[:2] in ("0.", "1."))
    assert found["2.weight"].any()


def test_a_hard_threshold_is_one_above_zero_and_else_zero() -> None:
    block = network(toy_task(), activation="step").blocks[0]
    found = block.activate(torch.tensor([[[-2.0, -0.0, 0.0, 1e-30, 3.0]]])).output
    assert found.tolist() == [[[0.0, 0.0, 0.0, 1.0, 1.0]]]


def boxed() -> Network:
    made = network(toy_task(), width=6)
    return wrap(made, BlackBoxed, 1, mixing=fixed_mixing(6, torch.Generator().manual_seed(1)))


def test_a_black_box_gives_values_and_no_derivative() -> None:
    made, batch = boxed(), toy_batch()
    h = made.blocks[0].forward(batch.inputs).output
    block = made.blocks[1]
    assert isinstance(block, BlackBoxed)
    known = torch.tanh(h @ block.mixing)
    torch.testing.assert_close(block.preactivate(h), block.inner.preactivate(known))
    delta = torch.randn(1, 9, 6, generator=torch.Generator().manual_seed(2))
    found, wanted = block.synaptic_update(h, delta), block.inner.synaptic_update(known, delta)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor)
    with pytest.raises(NoDerivativeError):
        block.transport(delta)
    torch.testing.assert_close(block.transport(delta, block.weight), delta @ block.weight)
    with pytest.raises(NoDerivativeError):
        torch.autograd.grad(block.preactivate(h.requires_grad_()).sum(), h)


def derivative_by_forward_mode(block: Wrapped, h: Tensor) -> None:
    torch.func.jvp(block.preactivate, (h,), (h,))


def derivative_by_func_grad(block: Wrapped, h: Tensor) -> None:
    torch.func.grad(lambda x: block.preactivate(x).sum())(h)


@pytest.mark.parametrize("ask", [derivative_by_forward_mode, derivative_by_func_grad])
def test_a_black_box_gives_no_derivative_to_other_kinds_of_differentiation(
    ask: Callable[[Wrapped, Tensor], None],
) -> None:
    block = boxed().blocks[1]
    assert isinstance(block, Wrapped)
    with pytest.raises(NoDerivativeError):
        ask(block, torch.ones(1, 2, 6))


def mismatched(made: Network, level: float, used: set[str]) -> Network:
    for number, block in enumerate(made.blocks):
        own = noise("mismatch", [0], block.name)
        made = wrap(made, Mismatched, number, level=level, noise=own, used=used)
    return made


def test_autograd_goes_back_through_the_deviating_weights_and_forward_through_the_true_ones() -> None:
    model, batch, used = learner(rule_of("bp"), width=8, activation="tanh"), toy_batch(), set[str]()
    true = gradients(model, batch)
    output = model.network(batch.inputs)
    model.network = mismatched(model.network, 1.0, used)
    torch.testing.assert_close(model.network(batch.inputs), output)
    assert not used
    found = updates(model, batch)
    assert used == {"1", "2"}  # nothing lies below the first block
    torch.testing.assert_close(found["2.weight"], true["2.weight"])

    traces = model.network.forward(batch.inputs)
    change = model.loss.gradient(traces[-1].output, batch.targets)
    last = model.network.blocks[2]
    assert isinstance(last, Mismatched)
    off = last.off(last.weight)
    torch.testing.assert_close(
        (off - last.weight).square().mean(), last.weight.square().mean(), rtol=0.5, atol=0
    )
    second = model.network.blocks[1].update(traces[1], change @ off)
    torch.testing.assert_close(found["1.weight"], second["weight"])
    assert not torch.allclose(found["1.weight"], true["1.weight"])


def test_a_mismatch_of_nothing_changes_nothing() -> None:
    model, batch = learner(rule_of("bp"), width=8), toy_batch()
    true = gradients(model, batch)
    model.network = mismatched(model.network, 0.0, set())
    for name, tensor in updates(model, batch).items():
        torch.testing.assert_close(tensor, true[name])


def test_stored_weights_have_sixteen_levels_and_are_right_on_average() -> None:
    model = learner(rule_of("bp"), width=64, depth=1)
    first = model.network.blocks[0].weight.clone()
    write = trained._coarse(model, [0], 16)
    stored = model.network.blocks[0].weight
    assert len(stored.unique()) <= 16
    bound = trained.RANGE * first.square().mean().sqrt()
    assert stored.abs().max() <= bound * 1.000001
    mean = torch.stack([write("0.weight", first) for _ in range(400)]).mean(0)
    torch.testing.assert_close(mean, first, rtol=0, atol=float(bound) / 7.5 / 400**0.5 * 3)
    far = write("0.weight", torch.full_like(first, 1e3))
    torch.testing.assert_close(far, torch.full_like(far, float(bound)))
    torch.testing.assert_close(write("0.weight", stored), stored, rtol=0, atol=float(bound) / 7)


def test_noise_at_every_write_is_of_the_stated_size_and_only_where_something_was_written() -> None:
    model = learner(rule_of("last-layer"), width=200, depth=1)
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    write = trained._noisy(model, [0], 0.1)
    off = write("1.weight", before["1.weight"]) - before["1.weight"]
    size = (off.square().mean() / before["1.weight"].square().mean()).sqrt().item()
    assert size == pytest.approx(0.1, rel=0.1)
    assert torch.equal(model.tensors()["0.weight"], before["0.weight"])


# ----------------------------------------------------------------------------- verdicts on a small task


@pytest.mark.usefixtures("short")
def test_verdicts_on_what_needs_a_derivative() -> None:
    """bp needs those of units and of layers, dfa those of units, a surrogate those of layers."""
    found = {
        rule.name: [ASK[key].ask(subject_of(rule)) for key in ("non_differentiable_units", "black_box_layer")]
        for rule in (rule_of("bp"), rule_of("dfa"), OwnSurrogate())
    }
    assert {name: [one.verdict for one in answers] for name, answers in found.items()} == {
        "bp": ["yes", "yes"],
        "dfa": ["yes", "no"],
        "own-surrogate": ["no", "yes"],
    }
    units, box = found["bp"]
    assert units.evidence == 0  # exactly last-layer
    assert units.curve["disturbed"] == units.curve["last-layer"]
    assert "asks for the derivative" in box.reason
    assert "disturbed" not in box.curve


@pytest.mark.usefixtures("shorter")
def test_last_layer_has_nothing_to_lose() -> None:
    for key in ASK.keys() - {"memory_over_time"}:
        answer = ASK[key].ask(subject_of(rule_of("last-layer")))
        assert (answer.verdict, answer.reason) == (
            "not applicable",
            "no hidden layer learns, so there is nothing to lose",
        )


@pytest.mark.usefixtures("short")
def test_sigprop_stops_learning_when_samples_come_singly_unless_it_contrasts_all_classes() -> None:
    """A softmax over the one sample of the batch is always right."""
    usual = ASK["batch_size_one"].ask(subject_of(rule_of("sigprop")))
    contrasting = ASK["batch_size_one"].ask(subject_of(rule_of("sigprop", loss="input-label")))
    assert (usual.verdict, contrasting.verdict) == ("yes", "no")


@pytest.mark.usefixtures("shorter")
def test_a_curve_has_every_level_and_its_references() -> None:
    answer = ASK["device_noise"].ask(subject_of(rule_of("bp")))
    assert list(answer.curve) == [
        "undisturbed", "0.01", "0.03", "0.1", "undisturbed last-layer", "chance",
    ]  # fmt: skip
    learned = answer.curve["undisturbed"] - answer.curve["chance"]
    assert answer.evidence == pytest.approx((answer.curve["undisturbed"] - answer.curve["0.1"]) / learned)
    assert ASK["device_noise"].ask(subject_of(rule_of("bp"))) == answer


@pytest.mark.usefixtures("shorter")
def test_a_rule_that_carries_nothing_back_has_no_mismatch() -> None:
    answer = ASK["feedback_mismatch"].ask(subject_of(rule_of("dfa")))
    assert answer.verdict == "not applicable"
    assert ASK["feedback_mismatch"].ask(subject_of(rule_of("bp"))).verdict in ("yes", "no")


@pytest.mark.usefixtures("short")
def test_what_a_rule_does_not_learn_undisturbed_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "COURSE", Course(steps=2, batch=50, rates=(1e-4,)))
    trained.undisturbed.cache_clear()
    answer = ASK["non_differentiable_units"].ask(subject_of(rule_of("bp")))
    assert answer.verdict == "undetermined"
    assert "nothing to fall from" in answer.reason


def test_one_image_has_no_time() -> None:
    answer = ASK["memory_over_time"].ask(subject_of(rule_of("bp")))
    assert answer.verdict == "not applicable"
    assert "no time" in answer.reason


def test_memory_that_grows_with_time_is_an_objection() -> None:
    flat = Growth("sequence length", (1, 2, 4, 8), (9, 9, 9, 9), 0.0, 0.0)
    assert trained.over_time(flat).verdict == "no"
    grown = trained.over_time(replace(flat, peak_bytes=(9, 18, 36, 72), exponent=1.0))
    assert (grown.verdict, grown.evidence) == ("yes", 1.0)


def test_rates_and_seeds_in_one_pass_are_those_of_one_by_one() -> None:
    """A rule that asks for one seed at a time gets the same trainings."""

    @dataclass(frozen=True)
    class Alone(type(rule_of("bp"))):  # type: ignore[misc]
        together: ClassVar[bool] = False

    course = Course(steps=30, batch=50, rates=(1e-3, 1e-2))
    outcomes = [
        train(subject, subject.network(), course=course)
        for subject in (subject_of(rule_of("bp")), subject_of(Alone()))
    ]
    assert outcomes[0].rate == outcomes[1].rate
    assert outcomes[0].score == pytest.approx(outcomes[1].score, abs=0.003)


def test_a_device_sees_learned_tensors_too() -> None:
    seen: set[str] = set()

    def device(_: Learner, __: object) -> Callable[[str, Tensor], Tensor]:
        def write(name: str, tensor: Tensor) -> Tensor:
            seen.add(name)
            return tensor

        return write

    subject = subject_of(rule_of("sigprop"))
    train(subject, subject.network(), device=device, course=Course(steps=1, batch=50, rates=(1e-3,)))
    parameters = {f"{block}.{key}" for block in "012" for key in ("weight", "bias")}
    assert seen == parameters | {"generator"}


# ----------------------------------------------------------------------------- verdicts on digit-sums


TRUTH = tomllib.loads(
    (Path(__file__).resolve().parents[2] / "baselines/audit_truth.toml").read_text(encoding="utf-8")
)
SLOW = ("non_differentiable_units", "black_box_layer", "batch_size_one")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name, truth in TRUTH.items() if SLOW[0] in truth))
def test_verdicts_on_digit_sums_are_those_that_equations_ask_for(name: str) -> None:
    asked, _ = audited_as(name, "digit-sums", "mlp")
    expected = {key: TRUTH[name][key] for key in SLOW}
    assert {key: ASK[key].ask(asked).verdict for key in SLOW} == expected
