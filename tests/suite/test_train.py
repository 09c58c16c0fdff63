"""Training from fresh weights to scores, on tasks of milliseconds."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch

from creditbench.suite import registry
from creditbench.suite.evaluate import Scores as Scored
from creditbench.suite.evaluate import score, with_statistics
from creditbench.suite.learner import deviation
from creditbench.suite.measure import measure
from creditbench.suite.plan import load_rule
from creditbench.suite.record import Run, from_json, to_json
from creditbench.suite.specification import Spec
from creditbench.suite.train import Cell, _nothing_learnt, replay, train
from creditbench.suite.types import Batch, Context, LearningRule, Network, Split, Splits, State, Step, Task
from tools import learner, network, toy_task

SPEC = Spec("toy", 1, "mlp:width=16", "bp", 0, 0.01, epochs=3, batch_size=10)


def cell(rule: LearningRule | None = None) -> Cell:
    task = toy_task()
    return Cell(task, task.read(), registry.load("network", "mlp"), rule or load_rule("bp")())


def seeds(*numbers: int, spec: Spec = SPEC) -> list[Spec]:
    return [spec.with_seed(number) for number in numbers]


def test_training_learns_and_reports_what_happened() -> None:
    (trained,) = train(cell(), seeds(0))
    run = trained.run
    assert run.status == "ok"
    assert run.score is not None
    assert run.score > 0.9
    assert [point.epoch for point in run.curve] == [1, 2, 3]
    assert run.validation_score == run.curve[-1].validation_score
    assert run.best_epoch == max(run.curve, key=lambda p: (p.validation_score or 0, -p.epoch)).epoch
    assert trained.predictions["last"].shape == (30,)
    targets = toy_task().read().test.targets.numpy()
    assert (trained.predictions["last"] == targets).mean() == pytest.approx(run.score)
    assert (trained.predictions["best"] == targets).mean() == pytest.approx(run.best_score)


def test_alignment_is_kept_from_the_start_on_for_rules_that_infer_by_the_forward_pass() -> None:
    run = train(cell(load_rule("fa")()), seeds(0))[0].run
    assert [point.epoch for point in run.alignment] == [0, 1, 2, 3]
    assert all(set(point.cosine) == {"0", "1", "2"} for point in run.alignment)
    energy = replace(SPEC, rule="ep", network_choices={"activation": "identity"})
    assert train(cell(load_rule("ep")()), [energy])[0].run.alignment == ()


def test_a_record_names_what_took_steps_of_the_rules_own() -> None:
    run = train(cell(load_rule("bcm")()), seeds(0, spec=replace(SPEC, rule="bcm")))[0].run
    assert run.own_steps == ("0", "0.threshold", "1", "1.threshold")
    assert from_json(to_json(run), "here") == run
    assert train(cell(), seeds(0))[0].run.own_steps == ()


def test_training_repeats_for_a_seed_and_differs_between_seeds() -> None:
    first, again, other = (train(cell(), seeds(number))[0].run for number in (0, 0, 1))
    assert first.digest == again.digest
    assert [p.validation_loss for p in first.curve] == [p.validation_loss for p in again.curve]
    assert first.digest != other.digest
    assert first.curve[0].validation_loss != other.curve[0].validation_loss


def test_seeds_trained_together_score_as_alone() -> None:
    together = train(cell(), seeds(0, 4))
    for number, trained in zip((0, 4), together, strict=True):
        alone = train(cell(), seeds(number))[0].run
        assert trained.run.score == alone.score
        for a, b in zip(trained.run.curve, alone.curve, strict=True):
            assert a.validation_loss == pytest.approx(b.validation_loss, rel=1e-3)


def test_the_best_epoch_is_scored_with_its_own_weights() -> None:
    """A rule that ruins the network in its last epoch keeps its best one."""

    @dataclass(frozen=True)
    class Ruins(LearningRule):
        name: ClassVar[str] = "ruins"
        source: ClassVar[str] = "test"
        own_step_size: ClassVar[bool] = True

        def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
            last = network.blocks[-1]
            if context.step >= 2 * context.steps // 3:
                yield last, {"bias": torch.tensor([[-1e1, 0.0, 0.0]])}
                return None
            for block, update in load_rule("bp")().step(network, batch, state, context):
                yield block, {k: 0.1 * u for k, u in update.items()}  # type: ignore[union-attr]
            return None

    run = train(cell(Ruins()), seeds(0))[0].run
    assert run.best_epoch in (1, 2)
    assert run.best_score is not None
    assert run.score is not None
    assert run.best_score > 0.9 > run.score


@dataclass(frozen=True)
class Breaks(LearningRule):
    """Yields NaN for one seed from some step on."""

    name: ClassVar[str] = "breaks"
    source: ClassVar[str] = "test"
    at: int = 0

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        last = network.blocks[-1]
        update = torch.ones_like(last.parameters["bias"])
        if context.step >= self.at:
            update[0] = math.nan
        yield last, {"bias": update}


def test_nan_in_the_first_steps_is_the_rules_fault_and_named() -> None:
    broken, fine = train(cell(Breaks()), seeds(0, 1))
    assert broken.run.status == "failed"
    assert broken.run.reason is not None
    assert "'breaks' yielded NaN or infinity for '2', 'bias' at step 1" in broken.run.reason
    assert broken.run.score is None
    assert fine.run.status == "ok"


def test_a_seed_that_diverges_later_ends_so_and_the_others_go_on() -> None:
    broken, fine = train(cell(Breaks(at=8)), seeds(0, 1))
    assert broken.run.status == "diverged"
    assert broken.run.reason == "weights no longer finite after epoch 2"
    assert [point.epoch for point in broken.run.curve] == [1]
    assert fine.run.status == "ok"
    assert fine.run.score is not None


@dataclass(frozen=True)
class Scores(LearningRule):
    """The last layer alone, by numbers of any size; or it learns nothing and comes to favour one class."""

    name: ClassVar[str] = "scores"
    source: ClassVar[str] = "test"
    own_step_size: ClassVar[bool] = True
    learns: float = 0.0
    by: float = 1.0  # inference multiplies outputs by it
    favours: float = 0.0  # the first class by so much, from the first step on
    spares: int = 0  # seeds that do not

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        traces, last = network.forward(batch.inputs, context), network.blocks[-1]
        error = context.loss.gradient(traces[-1].output, batch.targets)
        update = {key: self.learns * own for key, own in last.update(traces[-1], error).items()}
        if context.step == 0:
            update["bias"][self.spares :, 0] -= self.favours
        yield last, update

    def predict(self, network: Network, inputs: torch.Tensor, state: State) -> torch.Tensor:
        return self.by * network(inputs)


def scoring(*numbers: int, **options: float) -> list[Run]:
    return [trained.run for trained in train(cell(Scores(**options)), seeds(*numbers))]  # type: ignore[arg-type]


def test_a_loss_that_has_exploded_is_a_divergence_that_says_its_figures() -> None:
    (run,) = scoring(0, favours=1e5)
    assert run.status == "diverged"
    assert (run.score, run.validation_score) == (None, None)
    loss = run.curve[-1].validation_loss or 0.0
    assert loss == pytest.approx(2 / 3 * 1e5, rel=0.01)  # of three classes two are wrong, by so much
    assert f"validation loss of {loss:.3g} after epoch 3, " in str(run.reason)
    assert "times that of the untrained network, with accuracy 33.3 %, which is chance" in str(run.reason)


def test_who_is_at_chance_has_not_diverged_and_neither_has_who_is_wrong_by_much() -> None:
    (idle,), (stubborn,) = scoring(0), scoring(0, favours=100.0)
    assert (idle.status, stubborn.status) == ("ok", "ok")
    assert stubborn.score == pytest.approx(1 / 3)


def test_scores_of_any_size_are_no_explosion() -> None:
    (idle,), (right,) = scoring(0, by=1e6), scoring(0, learns=1e-6, by=1e6)
    assert (idle.curve[-1].validation_loss or 0.0) > 1000 * math.log(3)  # and so it was before the first step
    assert (idle.status, right.status) == ("ok", "ok")
    (favoured,) = scoring(0, learns=0.3, by=1e9)  # errs by much, where it errs
    assert (favoured.curve[-1].validation_loss or 0.0) > 1000 * math.log(3)
    assert favoured.status == "ok"
    assert (favoured.score or 0.0) > 0.8
    (grown,) = scoring(0, learns=1e7)  # its weights have grown, and are mostly right
    assert (grown.curve[-1].validation_loss or 0.0) > 1000 * math.log(3)
    assert grown.status == "ok"
    assert (grown.score or 0.0) > 0.4


@pytest.mark.parametrize(
    ("metric", "targets", "chance", "better"),
    [
        ("accuracy", [[0, 0, 0, 1]], 0.75, 0.8),
        ("accuracy", [[[0, -1], [0, 1], [0, -1], [-1, -1]]], 0.75, 0.8),  # of steps, where there is a target
        ("auc", [[0, 1, 1, 1]], 0.5, 0.6),
    ],
)
def test_nothing_is_learnt_at_chance_of_what_has_a_target(
    metric: str, targets: list[Any], chance: float, better: float
) -> None:
    assert _nothing_learnt(metric, chance, torch.tensor(targets))
    assert not _nothing_learnt(metric, better, torch.tensor(targets))


@pytest.mark.parametrize("shape", [(40, 2), (40, 3, 2)])  # targets of samples, and of their steps
def test_an_error_that_explodes_is_a_divergence_too(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.train as module

    def scored(error: float) -> Scored:
        return Scored(torch.tensor([error]), torch.tensor([error]), None)

    part = Split(torch.zeros(40, 5), torch.ones(shape))
    splits = Splits(part, part, part)
    task = Task("toy", 1, "series", (5,), 2, lambda: splits, loss="mse", metric="mse", higher_is_better=False)
    here = Cell(task, splits, registry.load("network", "mlp"), load_rule("bp")())
    monkeypatch.setattr(module, "learner", lambda *_: (None, None))
    monkeypatch.setattr(module, "_score", lambda *_: scored(2.0))
    assert module._exploded(scored(2e7), here, seeds(0)) == {
        0: "validation loss of 2e+07 after epoch 3, 1e+07 times that of the untrained network"
    }
    assert module._exploded(scored(900.0), here, seeds(0)) == {}


def test_a_score_that_is_no_number_is_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.train as module

    original = module._score

    def scored(model: Any, own: Cell, split: str) -> Scored:
        found = original(model, own, split)
        return replace(found, score=torch.where(found.score > -1, math.nan, found.score))

    monkeypatch.setattr(module, "_score", scored)
    run = train(cell(), seeds(0))[0].run
    assert (run.status, run.reason) == ("diverged", "validation score no longer finite after epoch 1")


def test_a_seed_that_explodes_leaves_the_others_as_they_are() -> None:
    careful, reckless = scoring(0, 1, learns=0.3, favours=1e5, spares=1)
    (alone,) = scoring(0, learns=0.3)
    assert (careful.status, reckless.status) == ("ok", "diverged")
    assert (careful.score, careful.best_epoch) == (alone.score, alone.best_epoch)


def test_test_data_is_scored_once_and_never_while_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.train as module

    seen = []
    original = module._score

    def watched(model, own, split):  # type: ignore[no-untyped-def]
        seen.append(split)
        return original(model, own, split)

    monkeypatch.setattr(module, "_score", watched)
    run = train(cell(), seeds(0), test=False)[0].run
    assert seen == ["validation"] * 4  # after the first steps, and after each epoch
    assert run.score is None
    assert run.validation_score is not None
    seen.clear()
    train(cell(), seeds(0))
    assert seen == ["validation"] * 4 + ["test"] * 2  # the last epoch's weights, and the best one's


def test_the_first_steps_can_be_replayed() -> None:
    run = train(cell(), seeds(2))[0].run
    assert deviation(run.digest, replay(cell(), seeds(2))[0]) == 0
    together = replay(cell(), seeds(1, 2))
    assert deviation(run.digest, together[1]) < 1e-4
    assert deviation(run.digest, together[0]) > 0.01


def test_statistics_of_batch_normalisation_come_from_training_data_whatever_the_rule() -> None:
    task = toy_task()
    made = network(task, normalisation="batch")
    splits = task.read()
    measured = with_statistics(made, task, splits.train)
    inputs = task.prepare(splits.train.inputs)[None]
    a = made.blocks[0].preactivate(inputs)
    assert torch.allclose(measured.blocks[0].statistics["mean"], a.mean(1, keepdim=True), atol=1e-6)
    plain = network(task)
    assert with_statistics(plain, task, splits.train) is plain


def test_scoring_does_not_depend_on_how_many_samples_are_scored_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import creditbench.suite.evaluate as module

    model, task = learner(load_rule("bp")(), seeds=(0, 1)), toy_task()
    splits = task.read()
    whole = score(model.network, model.rule, model.state, task, splits.test, splits.train)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    parts = score(model.network, model.rule, model.state, task, splits.test, splits.train)
    assert whole.predictions is not None
    assert parts.predictions is not None
    assert torch.equal(whole.predictions, parts.predictions)
    assert torch.allclose(whole.loss, parts.loss)
    assert whole.score.shape == (2,)


def test_a_cost_holds_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    spec = replace(SPEC, network="mlp:width=16", rule="sigprop")
    cost = measure(cell(load_rule("sigprop")()), spec)
    assert cost.steps_timed == module.FEWEST
    low, high = cost.step_seconds_quartiles
    assert 0 < low <= cost.step_seconds <= high
    assert cost.parameters == 17 * 16 + 17 * 16 + 17 * 3
    assert cost.learned_parameters == 3 * 16
    assert cost.inference_macs_per_sample == 16 * 16 + 16 * 16 + 16 * 3
    weights = 4 * (cost.parameters + cost.learned_parameters)
    assert cost.peak_bytes > 3 * weights  # weights and both moments of Adam


def test_peak_bytes_are_the_same_at_every_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    first, second = (measure(cell(), SPEC) for _ in range(2))
    assert first.peak_bytes == second.peak_bytes
    assert first.train_macs_per_sample == second.train_macs_per_sample
