"""The audit catches who reads weights backwards, however it is hidden, and nobody else."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cheating_rules import (
    BinaryWeights,
    CopyKeeper,
    FirstWeights,
    HiddenAutograd,
    NodePerturbation,
    SecretTranspose,
    Settling,
    SignReader,
    SolvedControl,
)

from creditbench.baselines.rules.bp import Backpropagation
from creditbench.baselines.rules.dfa import DirectFeedbackAlignment
from creditbench.baselines.rules.fa import FeedbackAlignment
from creditbench.baselines.rules.sigprop.rule import SignalPropagation
from creditbench.suite.audit import audit as whole
from creditbench.suite.audit import bench as benches
from creditbench.suite.audit import trained
from creditbench.suite.audit.bench import SIZE, THRESHOLD, Weights, apart, bench, clear
from creditbench.suite.audit.dispatch import WeightWatch
from creditbench.suite.audit.locking import backward_pass, forward_locking, slope_reach, update_locking
from creditbench.suite.audit.question import Answer, Question
from creditbench.suite.audit.transport import (
    analytic_shortcut,
    intervene,
    sign_transport,
    silent_change,
    symmetric_weights,
    weight_transport,
)
from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import read_results
from creditbench.suite.record import Audit, from_json, to_json
from creditbench.suite.store import Store
from creditbench.suite.types import LearningRule, Network
from tools import subject


@pytest.fixture(autouse=True)
def _untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered by training takes a minute and is tested in test_audit_trained."""
    monkeypatch.setattr(trained, "QUESTIONS", ())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(benches, "WIDTH", 64)
    monkeypatch.setattr(trained, "QUESTIONS", ())
    yield
    clear()


# ----------------------------------------------------------------------------------- cheats


@pytest.mark.parametrize("rule", [SecretTranspose(), CopyKeeper(), FirstWeights(), HiddenAutograd()])
def test_a_rule_that_reads_weights_backwards_in_secret_is_caught(rule: LearningRule) -> None:
    assert weight_transport(subject(rule)).verdict == "yes"


def test_a_copy_kept_in_the_state_only_shows_in_the_second_step() -> None:
    on = bench(subject(CopyKeeper()))
    first = [u for u in on.play().updates if u.step == 0]
    change = silent_change(on.network.blocks[4].weight, _activities(on, 4), SIZE, "test")
    assert change is not None

    def add(weights: Weights) -> None:
        weights[4]["weight"].add_(change)

    one, other = on.play(steps=1), on.play(add, steps=1)
    assert first
    assert apart(one, other, 3) < THRESHOLD
    assert apart(on.play(), on.play(add), 3) > THRESHOLD


def _activities(on: benches.Bench, block: int) -> torch.Tensor | None:
    watch = WeightWatch()
    on.play(watcher=watch)
    return watch.seen.activities(block)


def test_the_operator_that_read_the_weights_backwards_is_named() -> None:
    assert "convolution_backward" in weight_transport(subject(Backpropagation(), "conv")).reason
    assert "bmm" in weight_transport(subject(SecretTranspose())).reason


def test_reading_signs_alone_is_an_objection_of_its_own() -> None:
    asked = subject(SignReader())
    assert sign_transport(asked).verdict == "yes"
    assert weight_transport(asked).verdict == "no"
    assert sign_transport(subject(Backpropagation())).verdict == "not applicable"


def test_autograd_through_two_blocks_is_a_backward_pass_and_locks_the_lower_one() -> None:
    asked = subject(HiddenAutograd())
    assert backward_pass(asked).verdict == "yes"
    assert update_locking(asked).verdict == "yes"


def test_a_solve_in_place_of_dynamics_is_named() -> None:
    found = analytic_shortcut(subject(SolvedControl()))
    assert found.verdict == "yes"
    assert "_linalg_solve_ex" in found.reason


# ---------------------------------------------------------------------- rules that are awkward


def test_symmetric_couplings_show_in_inference_and_feedback_of_its_own_does_not() -> None:
    assert symmetric_weights(subject(Settling())).verdict == "yes"
    assert symmetric_weights(subject(Settling(own_feedback=True))).verdict == "no"


def test_a_rule_that_relaxes_is_judged_by_how_its_signals_come_down() -> None:
    assert weight_transport(subject(Settling())).verdict == "yes"
    asked = subject(Settling(own_feedback=True))
    assert weight_transport(asked).verdict == "no"
    assert backward_pass(asked).verdict == "yes"


def test_weights_changed_in_the_midst_of_a_long_relaxation_tell_where_no_direction_is_left() -> None:
    asked = subject(Settling(iterations=24))
    found = intervene(bench(asked))
    assert found.full
    assert found.late
    assert weight_transport(asked).verdict == "yes"


def test_where_no_direction_is_left_and_nothing_shows_the_verdict_stays_open() -> None:
    found = weight_transport(subject(Settling(iterations=24, own_feedback=True)))
    assert found.verdict == "undetermined"
    assert "no direction" in found.reason


def test_a_rule_that_amplifies_rounding_is_not_accused() -> None:
    asked = subject(NodePerturbation(sigma=1e-7))
    assert intervene(bench(asked)).largest > THRESHOLD
    assert weight_transport(asked).verdict == "no"
    assert backward_pass(asked).verdict == "no"


def test_weights_that_act_forwards_through_their_signs_cannot_be_changed_silently() -> None:
    found = weight_transport(subject(BinaryWeights()))
    assert found.verdict == "undetermined"
    assert "sign" in found.reason


def test_a_rule_that_waits_for_nothing_above_needs_no_silent_direction() -> None:
    assert weight_transport(subject(SignalPropagation(), "conv")).verdict == "no"


def test_an_older_activity_serves_a_local_rule_and_no_other() -> None:
    assert forward_locking(subject(SignalPropagation())).evidence == 0
    found = forward_locking(subject(FeedbackAlignment()))
    assert found.verdict == "yes"
    assert isinstance(found.evidence, float)
    assert found.evidence > 1e-3


# -------------------------------------------------------------------------------- the method


def test_a_silent_change_flips_signs_and_no_activity_sees_it() -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(1, 20, 50, generator=generator, dtype=torch.float64)
    activities = torch.randn(30, 50, generator=generator, dtype=torch.float64)
    change = silent_change(weight, activities, SIZE, "test")
    assert change is not None
    assert (activities @ change[0].mT).abs().max() < 1e-11
    assert ((weight + change).sign() != weight.sign()).double().mean() > 0.3
    assert (
        silent_change(weight, torch.randn(45, 50, generator=generator, dtype=torch.float64), SIZE, "test")
        is None
    )


def test_a_changed_derivative_reaches_all_blocks_below_through_a_chain_and_none_with_direct_feedback() -> (
    None
):
    chain = slope_reach(bench(subject(FeedbackAlignment())))
    assert {block: reach.blocks for block, reach in chain.items()} == {
        0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2, 3],
    }  # fmt: skip
    direct = slope_reach(bench(subject(DirectFeedbackAlignment())))
    assert {block: reach.blocks for block, reach in direct.items()} == {n: [n] for n in range(4)}


def test_a_network_without_named_synapses_is_refused_with_a_sentence() -> None:
    def network(**choices: object) -> Network:
        made = subject(FeedbackAlignment()).network()
        return made.bind([{"kernel": block.weight} for block in made.blocks])

    with pytest.raises(CreditbenchError, match="no parameter called 'weight'"):
        whole.audit(dataclasses.replace(subject(FeedbackAlignment()), network=network))


def test_two_plays_are_the_same_bit_for_bit() -> None:
    on = bench(subject(SignalPropagation(loss="max-rand")))
    one, other = on.play(), on.play()
    assert [u.target for u in one.updates] == [u.target for u in other.updates]
    assert all(apart(one, other, block) == 0 for block in range(5))


def test_the_default_type_of_tensors_is_given_back_even_after_an_error() -> None:
    def broken(weights: Weights) -> None:
        raise KeyError("broken")

    on = bench(subject(FeedbackAlignment()))
    with pytest.raises(KeyError, match="broken"):
        on.play(broken)
    on.play(steps=1)
    assert torch.get_default_dtype() == torch.float32


def test_activities_are_seen_in_every_spelling_of_a_product() -> None:
    """On the weights' input axis, through views, copies and multiples of them."""

    @dataclasses.dataclass(frozen=True)
    class Spellings(LearningRule):
        name = "spellings"
        source = "nobody"

        def step(self, network: Network, batch: Any, state: Any, context: Any) -> Any:
            w = network.blocks[1].weight  # [1, 64, 64]
            x = torch.arange(64.0)
            _ = (torch.einsum("soi,i->so", w, x + 1), w[0] @ (x + 2), (x + 3) @ w[0].mT)
            _ = ((w.clone() * 2) @ (x + 4), torch.nn.functional.linear(x[None] + 5, w[0]), w.sum(-1))
            yield network.blocks[1], {"weight": torch.zeros_like(w)}

    watch = WeightWatch()
    bench(subject(Spellings())).play(steps=1, watcher=watch)
    seen = watch.seen.activities(1)
    assert seen is not None
    starts = {vector[0].item() for vector in seen}
    assert starts == {1, 2, 3, 4, 5}
    assert not watch.seen.back
    assert not watch.seen.strange


# ------------------------------------------------------------------------------ the record


def test_an_audit_survives_strict_json_and_says_who_was_asked(tmp_path: Path) -> None:
    found = whole.audit(subject(FeedbackAlignment(feedback_scale=2.0)))
    assert from_json(to_json(found), "here") == found
    assert (found.spec.rule, found.spec.network) == ("fa", "mlp")
    assert found.spec.hyperparameters == {"feedback_scale": 2.0}
    assert {finding.verdict for finding in found.findings.values()} == {"yes", "no"}
    store = Store(tmp_path)
    path = store.put(found)
    assert path.name == f"audit-{found.spec.key}.json"
    assert list(store.records()) == [found]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"verdict": "no"', '"verdict": "maybe"', "'maybe' is none of yes"),
        ('"rule": "fa"', '"rule": "bp"', "edited by hand"),
        ('"synapse_locality": "other-blocks"', '"synapse_locality": "far"', "synapse_locality"),
        ('"passes": 2.0', '"passes": "two"', "'passes' is 'two'"),
        ('"evidence": 2.0', '"evidence": [2]', "evidence"),
        ('"0.1": 0.75', '"0.1": "much"', "curve"),
        ('"bench"', '"bank"', "bank"),
    ],
)
def test_an_altered_audit_is_refused_with_a_sentence(old: str, new: str, complaint: str) -> None:
    text = to_json(_example())
    assert text.count(old) >= 1
    with pytest.raises(CreditbenchError, match=complaint):
        from_json(text.replace(old, new), "audit.json")


def _example() -> Audit:
    from creditbench.suite.record import Audited, Finding

    findings = {"weight_transport": Finding("no", "changed", 2.0, "for a test", {"0.1": 0.75})}
    return Audit(Audited("digits", 1, "mlp", "fa"), "5 blocks", findings, 2.0, "other-blocks")


def test_a_question_that_fails_is_open_and_the_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(asked: object) -> Answer:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(trained, "QUESTIONS", (Question("unlucky", "nothing is done", fail),))
    found = whole.audit(subject(SignalPropagation()))
    assert found.findings["unlucky"].verdict == "undetermined"
    assert found.findings["unlucky"].reason == "ZeroDivisionError: no luck"
    assert found.findings["weight_transport"].verdict == "no"


def test_a_session_with_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", "bp", "--results", str(tmp_path)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "weight_transport          yes" in shown
    assert "synapse_locality          other-blocks" in shown
    assert main([*words, "--json"]) == 0
    record = from_json(capsys.readouterr().out, "stdout")
    (path,) = tmp_path.rglob("audit-*.json")
    assert record == from_json(path.read_text(encoding="utf-8"), "file")
    before = path.stat().st_mtime_ns
    assert main(words) == 0  # the code is still the same: read, not asked again
    assert path.stat().st_mtime_ns == before
    frame, problems = read_results(tmp_path)
    assert frame.empty
    assert not problems

    stale = json.loads(path.read_text(encoding="utf-8")) | {"fingerprint": "0" * 12}
    path.write_text(json.dumps(stale), encoding="utf-8")
    assert main(words) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["fingerprint"] != "0" * 12


def test_a_variant_is_asked_under_its_own_name_and_misspelt_ones_are_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["audit", "sigprop:loss=l2", "--json"]) == 0
    record = from_json(capsys.readouterr().out, "stdout")
    assert isinstance(record, Audit)
    assert record.spec.hyperparameters == {"loss": "l2"}
    assert main(["audit", "fa:feedback_scal=2"]) == 1
    assert "feedback_scal" in capsys.readouterr().err
    assert main(["audit", "sigprop", "--network", "mlp:normalisation=batch"]) == 1
    assert "batch normalisation" in capsys.readouterr().err
