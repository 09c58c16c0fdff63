"""What the audit measures of every built-in rule is what its equations say."""

import tomllib
from pathlib import Path

import pytest
from awkward_rules import IncrementalPredictiveCoding, KolenPollack
from cheating_rules import ForwardGradient, NodePerturbation, Oja

from creditbench.suite import registry
from creditbench.suite.audit import bench, locking, trained, transport
from creditbench.suite.audit.audit import audit, questions, subject_of
from creditbench.suite.audit.locality import passes
from creditbench.suite.audit.question import Subject
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.specification import parse_label
from creditbench.suite.types import LearningRule
from tools import subject

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = tomllib.loads((ROOT / "baselines/audit_truth.toml").read_text(encoding="utf-8"))
DRAFTS = tomllib.loads((ROOT / "tests/drafts/audit_truth.toml").read_text(encoding="utf-8"))
STRUCTURAL = (*transport.QUESTIONS, *locking.QUESTIONS)
KNOWN = {question.key for question in questions()} | {"passes", "synapse_locality"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "WIDTH", 96)
    monkeypatch.setattr(trained, "QUESTIONS", ())  # those take minutes


def measured(asked: Subject) -> dict[str, object]:
    found = audit(asked)
    verdicts: dict[str, object] = {key: finding.verdict for key, finding in found.findings.items()}
    locality = found.synapse_locality or "undetermined"
    return verdicts | {"passes": found.passes, "synapse_locality": locality}


def structural(truth: dict[str, object]) -> dict[str, object]:
    keys = {question.key for question in STRUCTURAL} | {"passes", "synapse_locality"}
    return {key: value for key, value in truth.items() if key in keys}


# Rules for one recurrent cell: the audit tells a block's synapses by its parameter `weight`, and a cell has
# several matrices, so that it refuses recurrent networks (with an error that says so).
NOT_ASKED = {"truncated-bptt", "dfa-through-time", "rflo", "snap-1", "uoro"}


def test_every_built_in_rule_has_its_expected_truth() -> None:
    missing = sorted(set(registry.table("rule")) - set(BUILT_IN) - NOT_ASKED)
    assert not missing, f"baselines/audit_truth.toml lacks {', '.join(missing)}"


@pytest.mark.parametrize("name", sorted(NOT_ASKED))
def test_what_the_audit_cannot_ask_it_refuses(name: str) -> None:
    with pytest.raises(CreditbenchError, match="cannot tell its synapses"):
        audit(subject_of(name, "digits-events", "rnn-dt")[0])


@pytest.mark.parametrize("name", sorted(BUILT_IN) + sorted(DRAFTS))
def test_an_expected_truth_answers_every_structural_question_and_no_unknown_one(name: str) -> None:
    truth = (BUILT_IN | DRAFTS)[name]
    assert set(truth) <= KNOWN
    assert {question.key for question in STRUCTURAL} | {"passes", "synapse_locality"} <= set(truth)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_rule_is_found_to_need_what_its_equations_say(name: str) -> None:
    networks = registry.load("rule", parse_label(name)[0]).own_networks or ("mlp",)
    asked, _ = subject_of(name, "digits", networks[0])
    assert measured(asked) == structural(BUILT_IN[name])


IN_DRAFT = (KolenPollack(), IncrementalPredictiveCoding(), ForwardGradient(), NodePerturbation(), Oja())


@pytest.mark.parametrize("rule", IN_DRAFT)
def test_a_draft_is_found_to_need_what_its_equations_say(rule: LearningRule) -> None:
    assert measured(subject(rule)) == structural(DRAFTS[rule.name])


@pytest.mark.parametrize(("name", "transports"), [("bp", "yes"), ("fa", "no")])
def test_convolutions_are_told_apart_as_well(name: str, transports: str) -> None:
    asked = subject(registry.load("rule", name)(), "conv")
    assert transport.weight_transport(asked).verdict == transports
    assert passes(asked) == 2
    bench.clear()
