"""Tuning: the same points for every rule, nothing lost when it is killed, and never a look at test data."""

import dataclasses
import itertools
import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from creditbench.suite import recipes, registry
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Watch
from creditbench.suite.executors.inline import Inline
from creditbench.suite.plan import Origin, Part, Suite, load_rule, plan
from creditbench.suite.seal import sealed_test_data
from creditbench.suite.specification import Spec
from creditbench.suite.train import Trained, train
from creditbench.suite.tuning.search import HALTON, Search
from creditbench.suite.tuning.search import halton as points
from creditbench.suite.tuning.space import Space, declared
from creditbench.suite.tuning.trial import learning_splits, try_out
from creditbench.suite.tuning.tried import Trial, Tried
from creditbench.suite.tuning.tune import SEED, asked, tune
from creditbench.suite.types import Splits
from creditbench.suite.work import Group, assemble, ended, load_splits

if TYPE_CHECKING:
    from creditbench.suite.executors import Outcomes

RATES = (2e-4, 2e-2)
CPU = torch.device("cpu")
_numbers = itertools.count()


def suite(*rules: str, **changes: Any) -> Suite:
    settings: dict[str, Any] = {"tasks": ("digits",), "epochs": 1, "tuning_samples": 256, **changes}
    return Suite("own", "", (Part(rules=rules, **settings),))


def own_rule(folder: Path, body: str = "", head: str = "", step: str = "") -> str:
    """The last layer's rule in a file of its own, with something added."""
    path = folder / f"tuned_{next(_numbers)}.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from creditbench.suite.types import LearningRule\n"
        f"{head}\n"
        "@dataclass(frozen=True)\nclass Mine(LearningRule):\n"
        '    """The last layer alone."""\n'
        f"    name: ClassVar[str] = 'mine'\n    source: ClassVar[str] = 'me'\n{body}\n"
        "    def step(self, network, batch, state, context):\n"
        f"        {step or 'pass'}\n"
        "        traces = network.forward(batch.inputs, context)\n"
        "        error = context.loss.gradient(traces[-1].output, batch.targets)\n"
        "        yield network.blocks[-1], network.blocks[-1].update(traces[-1], error)\n"
    )
    return f"{path}:Mine"


def group(rule: str = "last-layer", rates: Iterable[float] = (1e-3,), **changes: Any) -> Group:
    fields: dict[str, Any] = {
        "task": "digits", "task_version": 1, "network": "mlp", "rule": rule, "seed": SEED, "epochs": 1,
        "train_samples": 256,
    } | changes  # fmt: skip
    specs = tuple(Spec(learning_rate=rate, **fields) for rate in rates)
    return Group("trial", specs, Origin("digits", "mlp", rule), "cpu", "")


class Counted:
    """The inline executor, which counts its trials, and stops before one as if it were killed."""

    alone = True

    def __init__(self, stop: int | None = None) -> None:
        self.stop, self.done = stop, 0

    def __call__(self, groups: Sequence[Group], watch: Watch) -> "Outcomes":
        for own, outcome in Inline()(groups, watch):
            if self.done == self.stop:
                raise KeyboardInterrupt
            self.done += 1
            yield own, outcome


def entry(folder: Path, rule: str = "mine") -> dict[str, Any]:
    (found,) = tomllib.loads((folder / f"{rule}.toml").read_text())["recipe"]
    return dict(found)


# ------------------------------------------------------------------------- what is tried


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_twelve_points_fall_evenly_on_choices_and_on_learning_rates(count: int) -> None:
    asked = points(Space(RATES, {"size": tuple(range(count))}), 12)
    assert set(Counter(point.choices["size"] for point in asked).values()) == {12 // count}
    rates = sorted(point.learning_rate or 0.0 for point in asked)
    assert RATES[0] <= rates[0] < 1.5 * RATES[0]
    assert RATES[1] / 1.5 < rates[-1] <= RATES[1]
    ratios = [high / low for low, high in itertools.pairwise(rates)]
    assert max(ratios) < 100 ** (2 / 12)  # no hole is wider than two even steps
    if count == 4:
        thirds = Counter((p.choices["size"], int(3 * _along(p.learning_rate))) for p in asked)
        assert set(thirds.values()) == {1}


def _along(rate: float | None) -> float:
    import math

    return math.log(rate or 1.0, RATES[1] / RATES[0]) - math.log(RATES[0], RATES[1] / RATES[0])


def test_more_trials_go_on_where_fewer_end_and_no_generator_of_the_process_matters() -> None:
    space = Space(RATES, {"activation": ("relu", "tanh")})
    assert points(space, 20)[:12] == points(space, 12)


def test_every_built_in_rule_gets_the_same_number_of_different_points() -> None:
    builder = registry.load("network", "mlp")
    for name in registry.table("rule"):
        kind = load_rule(name)
        asked = points(declared(kind, builder), 12)
        assert len({(p.learning_rate, p.words) for p in asked}) == 12 or kind.own_step_size


def test_a_rule_without_a_learning_rate_gets_each_of_its_settings_once() -> None:
    asked = points(Space(None, {"alpha": (0.1, 1.0), "activation": ("relu", "tanh")}), 12)
    assert [point.words for point in asked] == [
        "activation=relu,alpha=0.1", "activation=tanh,alpha=0.1", "activation=relu,alpha=1.0",
        "activation=tanh,alpha=1.0",
    ]  # fmt: skip
    assert len(points(Space(None, {"alpha": tuple(map(float, range(20)))}), 12)) == 12


def test_a_rule_may_declare_its_own_range_of_learning_rates(tmp_path: Path) -> None:
    kind = load_rule(own_rule(tmp_path, "    learning_rates: ClassVar = (0.03, 3.0)"))
    asked = points(declared(kind, registry.load("network", "mlp")), 12)
    assert all(0.03 <= (point.learning_rate or 0) <= 3.0 for point in asked)
    assert max(point.learning_rate or 0 for point in asked) > 1.0


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("    learning_rates: ClassVar = (1.0, 0.1)", "the lowest and the highest"),
        ("    learning_rates: ClassVar = 0.1", "the lowest and the highest"),
        ("    search: ClassVar = {'alpah': (0.1, 1.0)}", "neither a field of it"),
        ("    search: ClassVar = {'activation': 'relu'}", "give a sequence"),
        ("    search: ClassVar = {'activation': ()}", "give a sequence"),
    ],
)
def test_a_search_space_that_makes_no_sense_is_refused(body: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(CreditbenchError, match=complaint):
        declared(load_rule(own_rule(tmp_path, body)), registry.load("network", "mlp"))


def test_what_a_rule_asks_of_a_network_and_what_the_suite_says_hold_in_every_trial(tmp_path: Path) -> None:
    body = (
        "    network_choices: ClassVar = {'normalisation': 'layer'}\n"
        "    search: ClassVar = {'activation': ('relu', 'tanh')}"
    )
    rule = own_rule(tmp_path, body)
    for network, choices in (("mlp", {"activation"}), ("mlp:activation=sigmoid", set[str]())):
        (study,) = asked(suite(rule, networks=(network,)), 4, tmp_path / "r")
        assert set(study.space.choices) == choices
        for point in study.points:
            tried = point.of(study.spec).network_choices
            assert tried["normalisation"] == "layer"
            assert set(tried) == {"normalisation"} | choices


# ------------------------------------------------------------------------- recipes and their price


def test_a_recipe_holds_the_best_trial_and_says_what_it_cost(tmp_path: Path) -> None:
    (line,) = tune(suite("sigprop"), 5, tmp_path, CPU)
    found, told = entry(tmp_path, "sigprop"), entry(tmp_path, "sigprop")["provenance"]
    best = max(told["tried"], key=lambda trial: trial["validation_score"])
    assert found["learning_rate"] == best["learning_rate"]
    assert {**found["network_choices"], **found["hyperparameters"]} == {
        name: best[name] for name in ("activation", "similarity")
    }
    assert "sigprop on digits, mlp" in line
    # 2 steps of 128 samples in each of 5 trials; MACs of one step are counted apart.
    one = try_out(group("sigprop"))[0].macs
    assert told["macs"] == pytest.approx(5 * (one or 0), rel=1e-3)
    assert told["seconds"] > 0
    assert (told["trials"], len(told["tried"])) == (5, 5)
    assert list(tune(suite("sigprop"), 5, tmp_path, CPU)) == ["sigprop on digits, mlp: tuned already"]


def test_the_macs_of_a_trial_are_steps_times_what_one_step_takes() -> None:
    (tried,) = try_out(group("last-layer", epochs=3))
    # mlp 64-256-256-10; forward through all, and the last layer's outer product. 2 batches an epoch.
    forward = 64 * 256 + 256 * 256 + 256 * 10
    assert tried.macs == 3 * 2 * 128 * (forward + 256 * 10)


def test_a_recipe_of_ones_own_is_run_with_its_price_and_stands_in_the_tuned_track(tmp_path: Path) -> None:
    import creditbench
    from creditbench.suite import measure

    rule = own_rule(tmp_path, "    learning_rates: ClassVar = (0.011, 0.012)")
    assert list(tune(suite(rule), 2, tmp_path / "recipes", CPU))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "BUDGET", 0.0)
        settings: dict[str, Any] = {"task": "digits", "rule": rule, "seeds": 1, "epochs": 1, "device": "cpu"}
        (row,) = creditbench.run(
            **settings, results=tmp_path / "r", recipes=tmp_path / "recipes"
        ).to_dict("records")  # fmt: skip
        assert (row["track"], row["tuning_trials"]) == ("tuned", 2)
        assert row["tuning_seconds"] > 0
        assert row["tuning_macs"] > 0
        assert 0.011 <= row["learning_rate"] <= 0.012
        (row,) = creditbench.run(**settings, results=tmp_path / "r").to_dict("records")
        assert row["track"] == "default"
        (row,) = creditbench.run(**settings, results=tmp_path / "r", learning_rate=0.5).to_dict("records")
        assert row["track"] == "by-hand"


def test_settings_given_by_hand_are_never_taken_for_tuned_ones() -> None:
    def origin(rule: str, **options: Any) -> str:
        (cell,) = plan(Suite("own", "", (Part(tasks=("digits",), rules=(rule,)),)), **options)
        return cell.recipe

    assert origin("fa") == "digits/mlp"
    assert origin("fa", learning_rate=0.01) == "by-hand"
    assert origin("fa:feedback_scale=2") == "by-hand"


@pytest.mark.parametrize("search", [HALTON, Search(pruner="median"), Search("tpe")])
def test_a_task_whose_metric_is_an_error_is_tuned_to_the_least(search: Search, tmp_path: Path) -> None:
    asked = suite("bp", tasks=("irregular-sines",), networks=("rnn-dt:width=4",), epochs=2)
    (line,) = tune(asked, 4, tmp_path, CPU, search=search)
    assert " MSE on validation, " in line
    tried = entry(tmp_path, "bp")["provenance"]["tried"]
    scores = [own["validation_score"] for own in tried if own["validation_score"] != "pruned"]
    best = min(scores)
    assert [own["learning_rate"] for own in tried if own["validation_score"] == best] == [
        entry(tmp_path, "bp")["learning_rate"]
    ]
    assert len(scores) >= (4 if search.pruner == "none" else 2)


def test_what_comes_to_nothing_has_the_metric_of_its_task() -> None:
    spec = Spec("irregular-sines", 1, "rnn-dt", "bp", 0, 1e-3, 1)
    group = Group("train", (spec,), Origin("irregular-sines", "rnn-dt", "bp"), "cpu", "")
    (lost,) = ended(group, [spec], "timeout", "too long")
    assert isinstance(lost, Trained)
    assert (lost.run.metric, lost.run.higher_is_better) == ("mse", False)
    (trial,) = ended(dataclasses.replace(group, work="trial"), [spec], "failed", "broken")
    assert isinstance(trial, Trial)
    assert trial.tried.higher_is_better is False


def test_a_variant_of_a_rule_is_tuned_for_itself_beside_the_rules_own_recipe(tmp_path: Path) -> None:
    list(tune(suite("sigprop"), 2, tmp_path, CPU))
    own = recipes.recipe("sigprop", "digits", "mlp", (tmp_path,))
    (line,) = tune(suite("sigprop:similarity=cosine,loss=max-all"), 2, tmp_path, CPU)
    assert line.startswith("sigprop:loss=max-all,similarity=cosine on digits, mlp: learning rate")
    (cell,) = plan(suite("sigprop:similarity=cosine,loss=max-all"), own_recipes=tmp_path)
    assert (cell.recipe, cell.tuning["trials"]) == ("digits/mlp", 2)
    assert cell.specs[0].hyperparameters == {"similarity": "cosine", "loss": "max-all"}
    assert recipes.recipe("sigprop", "digits", "mlp", (tmp_path,)) == own
    entries = recipes.entries_of(tmp_path / "sigprop.toml")
    assert [place["variant"] for place in entries if "variant" in place] == [cell.specs[0].hyperparameters]
    assert "similarity" not in entries[1]["provenance"]["space"]


def test_a_variant_that_nobody_tuned_has_the_rules_own_recipe_and_is_by_hand(tmp_path: Path) -> None:
    list(tune(suite("sigprop"), 1, tmp_path, CPU))
    (own,) = plan(suite("sigprop"), own_recipes=tmp_path)
    (cell,) = plan(suite("sigprop:loss=max-all"), own_recipes=tmp_path)
    assert (own.recipe, cell.recipe) == ("digits/mlp", "by-hand")
    assert cell.specs[0].learning_rate == own.specs[0].learning_rate


def test_a_rule_that_cannot_do_it_gets_no_recipe_and_stops_nobody(tmp_path: Path) -> None:
    lines = list(
        tune(suite("sigprop", "last-layer", networks=("mlp:normalisation=batch",)), 2, tmp_path, CPU)
    )
    assert "sigprop on digits, mlp:normalisation=batch: no trial ended well" in lines[0]
    assert not (tmp_path / "sigprop.toml").exists()
    assert (tmp_path / "last-layer.toml").exists()


# ------------------------------------------------------------------------- resuming


def test_a_killed_study_goes_on_where_it_stopped_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    rule = own_rule(tmp_path, "    together: ClassVar = False")  # one trial at a time
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    list(tune(suite(rule), 4, whole, CPU))

    with pytest.raises(KeyboardInterrupt):
        list(tune(suite(rule), 4, torn, CPU, Counted(stop=2)))
    (journal,) = torn.rglob("*.jsonl")
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"work')  # the power fails while a line is written
    again = Counted()
    assert len(list(tune(suite(rule), 4, torn, CPU, again))) == 1
    assert again.done == 2
    assert entry(torn)["provenance"]["tried"] == entry(whole)["provenance"]["tried"]
    assert [json.loads(line) for line in journal.read_text().splitlines()]


def test_what_was_tried_under_other_code_is_not_mixed_in(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    rule = own_rule(tmp_path)
    list(tune(suite(rule), 2, folder, CPU))
    (folder / "mine.toml").unlink()
    path = Path(rule.partition(":")[0])
    path.write_text(path.read_text().replace("error)\n", "2 * error)\n"))
    again = Counted()
    list(tune(suite(rule), 2, folder, CPU, again))
    assert again.done == 2


# ------------------------------------------------------------------------- the seal on test data


def test_the_data_handed_to_trials_holds_no_test_samples() -> None:
    splits, whole = learning_splits("digits", CPU), load_splits("digits", CPU)[0]
    assert len(splits.test) == 0
    for part in ("train", "validation"):
        assert torch.equal(getattr(splits, part).inputs, getattr(whole, part).inputs)


def test_a_trial_that_asks_for_the_test_split_is_refused() -> None:
    cell, _ = assemble(group())  # with all data, as a run has it
    with sealed_test_data(), pytest.raises(CreditbenchError, match="Test data was asked for"):
        train(cell, group().specs, test=True)
    with sealed_test_data(), pytest.raises(CreditbenchError, match="Test data was asked for"):
        load_splits("digits", CPU)[0].test  # noqa: B018  read and cached before
    assert len(cell.splits.test) > 0  # and open again afterwards


HEADS = {
    "its step reads the task again": (
        "from creditbench.suite.registry import load",
        "load('task', 'digits').read().test",
    ),
    "its step takes what the harness has cached": (
        "import torch\nfrom creditbench.suite.work import load_splits",
        "load_splits('digits', torch.device('cpu'))[0].test",
    ),
    "its step asks from another thread": (
        "from concurrent.futures import ThreadPoolExecutor\nfrom creditbench.suite.registry import load",
        "ThreadPoolExecutor().submit(lambda: load('task', 'digits').read().test).result()",
    ),
}


@pytest.mark.parametrize("way", HEADS)
def test_a_rule_that_reads_test_data_fails_all_its_trials(way: str, tmp_path: Path) -> None:
    load_splits("digits", CPU)
    head, step = HEADS[way]
    (line,) = tune(suite(own_rule(tmp_path, head=head, step=step)), 2, tmp_path / "r", CPU)
    assert "no trial ended well" in line
    assert "Test data was asked for" in line
    assert not (tmp_path / "r" / "mine.toml").exists()


@pytest.mark.parametrize(
    "body",
    [
        # chooses what to search by the test data, when its file is imported
        "    search: ClassVar = {'activation': ('relu', 'tanh')[: len(load('task', 'digits').read().test)]}",
        # and when its search space is asked for
        "    class Hook:\n"
        "        def __get__(self, rule, kind):\n"
        "            load('task', 'digits').read().test\n"
        "    search = Hook()",  # without an annotation, so that dataclass() does not look
    ],
)
def test_a_search_space_made_from_test_data_is_refused(body: str, tmp_path: Path) -> None:
    rule = own_rule(tmp_path, body, "from creditbench.suite.registry import load")
    with pytest.raises(CreditbenchError, match="Test data was asked for"):
        list(tune(suite(rule), 2, tmp_path / "r", CPU))


def test_a_trial_has_no_place_for_a_test_score() -> None:
    assert not [name for name in Tried.__dataclass_fields__ if "test" in name]
    with pytest.raises(TypeError):
        Tried("ok", None, 0.5, 1.0, True, 1.0, 1.0, True, test_score=0.9)  # type: ignore[call-arg]


def test_a_recipe_that_was_chosen_on_test_data_is_refused(tmp_path: Path) -> None:
    recipes.write(
        tmp_path / "mine.toml",
        [
            {
                "task": "digits",
                "network": "mlp",
                "learning_rate": 0.1,
                "provenance": {"chosen_on": "test score of the last epoch"},
            }
        ],
    )
    with pytest.raises(CreditbenchError, match="only what was chosen on validation"):
        recipes.recipe("mine", "digits", "mlp", (tmp_path,))


def test_the_splits_of_every_task_go_through_the_seal() -> None:
    with sealed_test_data():
        splits = Splits(*(learning_splits("digits", CPU).train for _ in range(3)))
        with pytest.raises(CreditbenchError, match="Test data was asked for"):
            splits.to(CPU)
