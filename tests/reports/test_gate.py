"""`creditbench compare`: what is worse is named, what cannot be decided is said, nothing else fails."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from records import cost, run

from creditbench.reports.gate.dashboards import DASHBOARDS
from creditbench.reports.gate.forms import FORMS
from creditbench.reports.gate.judge import Finding, Verdicts, judge
from creditbench.reports.gate.limits import Limits, Override, Tolerances, read_limits
from creditbench.reports.gate.sides import read_side
from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Cost, Run
from creditbench.suite.store import Store, read

SCORES = (0.90, 0.91, 0.92, 0.93, 0.94)
OPERATIONS = {"forward": {"macs": 84_480.0}, "credit": {"macs": 152_576.0, "effective_macs": 70_000.0}}


def costing(rule: str = "bp", **changes: Any) -> Cost:
    fields: dict[str, Any] = {
        "operations": OPERATIONS,
        "peak_bytes_by_kind": {"parameters": 340_008, "rule_state": 0},
        "critical_path_macs": 254_464.0,
        "relative_step": 10.0,
        "relative_step_interval": (9.8, 10.2),
        "step_seconds_spread": {"min": 9e-4, "max": 2e-3, "mean": 1.1e-3, "std": 1e-4},
    }
    return cost(rule=rule, **fields | changes)


def folder(path: Path, scores: Any = SCORES, rules: tuple[str, ...] = ("bp", "fa"), **changes: Any) -> Path:
    """Five seeds and a cost of each rule; `scores` and `changes` are those of the last one."""
    store = Store(path)
    for rule in rules:
        last = rule == rules[-1]
        for seed, score in enumerate(scores if last else SCORES):
            store.put(run(score, rule=rule, seed=seed))
        store.put(costing(rule, **changes if last else {}))
    return path


def compared(base: Path, new: Path, **limits: Any) -> Verdicts:
    return judge(read_side(base), read_side(new), Tolerances(Limits(**limits)))


def failing(found: Verdicts) -> list[tuple[str, str, str]]:
    return [(own.cell, own.figure, own.verdict) for own in found.failing]


def only(found: Verdicts, verdict: str) -> Finding:
    (own,) = (own for own in found.findings if own.verdict == verdict)
    return own


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return folder(tmp_path / "base")


# --------------------------------------------------------------------------------------------- exact figures


def test_the_same_records_have_no_regression(base: Path) -> None:
    found = compared(base, base)
    assert found.exit_code == 0
    assert {own.verdict for own in found.findings} == {"same"}


@pytest.mark.parametrize(
    ("changes", "figure", "ratio"),
    [
        ({"operations": OPERATIONS | {"credit": {"macs": 3e5, "effective_macs": 7e4}}}, "credit MACs", 1.966),
        ({"peak_bytes": 1_850_001}, "peak bytes", 1),
        ({"peak_bytes_by_kind": {"parameters": 340_008, "rule_state": 64}}, "peak bytes, rule state", None),
        ({"critical_path_macs": 254_465.0}, "critical path", 1),
        ({"parameters": 85_001}, "parameters", 1),
        ({"train_macs_per_sample": 127_232.0}, "train MACs", 0.5),
        ({"uncounted_operations": {"aten::strange": 7}}, "uncounted, aten::strange", None),
    ],
)  # fmt: skip
def test_an_exact_figure_that_has_changed_fails_by_name_with_its_ratio(
    changes: dict[str, Any], figure: str, ratio: float | None, base: Path, tmp_path: Path
) -> None:
    found = compared(base, folder(tmp_path / "new", **changes))
    assert failing(found) == [("digits/mlp/fa", figure, "changed")]
    assert found.failing[0].ratio == (None if ratio is None else pytest.approx(ratio, rel=1e-3))


def test_less_may_be_allowed_and_then_more_still_fails(base: Path, tmp_path: Path) -> None:
    less = folder(tmp_path / "less", peak_bytes=1)
    more = folder(tmp_path / "more", peak_bytes=1_850_001)
    assert compared(base, less).exit_code == 1
    assert compared(base, less, exact_less=True).exit_code == 0
    assert compared(base, more, exact_less=True).exit_code == 1


def test_counts_that_depend_on_values_may_move_a_little(base: Path, tmp_path: Path) -> None:
    def counted(name: str, effective: float) -> Path:
        operations = OPERATIONS | {"credit": {"macs": 152_576.0, "effective_macs": effective}}
        return folder(tmp_path / name, operations=operations)

    assert compared(base, counted("close", 70_300.0)).exit_code == 0
    assert failing(compared(base, counted("far", 75_000.0))) == [
        ("digits/mlp/fa", "credit effective MACs", "changed")
    ]


def test_what_an_older_record_lacks_is_no_change(base: Path, tmp_path: Path) -> None:
    bare = folder(tmp_path / "old", operations={}, peak_bytes_by_kind={}, critical_path_macs=None,
                  relative_step=None, relative_step_interval=None)  # fmt: skip
    found = compared(bare, base)
    assert found.exit_code == 0
    assert only(found, "incomparable").words.startswith("no calibration beside the step")


def test_an_exact_figure_that_newer_records_lack_is_missing_and_fails(base: Path, tmp_path: Path) -> None:
    bare = folder(tmp_path / "new", critical_path_macs=None)
    assert failing(compared(base, bare)) == [("digits/mlp/fa", "critical path", "missing")]


# ---------------------------------------------------------------------------------------------------- scores


def test_a_score_fails_when_its_whole_interval_lies_below_the_margin(base: Path, tmp_path: Path) -> None:
    found = compared(base, folder(tmp_path / "new", [score - 0.03 for score in SCORES]))
    assert failing(found) == [("digits/mlp/fa", "accuracy", "worse")]
    assert found.failing[0].high == pytest.approx(-0.03)
    assert compared(base, tmp_path / "new", scores_margin=0.05).exit_code == 0


def test_an_interval_across_the_margin_decides_nothing_and_says_what_could_be_seen(
    base: Path, tmp_path: Path
) -> None:
    noise = (0.04, -0.05, 0.03, -0.06, -0.02)
    found = compared(base, folder(tmp_path / "new", [s + n for s, n in zip(SCORES, noise, strict=True)]))
    assert found.exit_code == 0
    assert re.search(r"reaches below -0.01; 5 seeds could show 0\.0\d+", only(found, "undecided").words)


def test_three_seeds_decide_nothing_however_far_they_are_apart(tmp_path: Path) -> None:
    before = folder(tmp_path / "base", (0.9, 0.9, 0.9))
    found = compared(before, folder(tmp_path / "new", (0.1, 0.1, 0.1)))
    assert found.exit_code == 0
    assert "3 seeds against 3 decide nothing; 5 do" in only(found, "undecided").words


def test_a_better_score_is_said_and_a_loss_is_better_when_lower(base: Path, tmp_path: Path) -> None:
    found = compared(base, folder(tmp_path / "new", [score + 0.03 for score in SCORES]))
    assert only(found, "better").figure == "accuracy"
    for side, add in (("low", 0.0), ("high", 0.1)):
        for seed in range(5):
            one = dataclasses.replace(run(1.0 + add, seed=seed), metric="loss", higher_is_better=False)
            Store(tmp_path / side).put(one)
    assert failing(compared(tmp_path / "low", tmp_path / "high")) == [("digits/mlp/bp", "loss", "worse")]
    assert compared(tmp_path / "high", tmp_path / "low").exit_code == 0


def test_scores_on_other_data_are_not_compared(base: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new")
    for path in list(Store(new).paths("digits", "mlp", "fa")):
        record = read(path)
        if isinstance(record, Run):
            where = dict(record.provenance) | {"data_sha256": "other"}
            Store(new).put(dataclasses.replace(record, provenance=where))
    assert failing(compared(base, new)) == [("digits/mlp/fa", "accuracy", "incomparable")]


# ----------------------------------------------------------------------------------------------------- times


def test_a_slower_step_fails_by_the_lower_bound_of_its_calibrated_ratio(base: Path, tmp_path: Path) -> None:
    slow = folder(tmp_path / "slow", relative_step=20.0, relative_step_interval=(19.0, 21.0))
    found = compared(base, slow)
    assert failing(found) == [("digits/mlp/fa", "step", "worse")]
    assert (found.failing[0].low, found.failing[0].high) == pytest.approx((19 / 10.2, 21 / 9.8))
    assert compared(base, slow, times_gate=False).exit_code == 0
    assert compared(base, slow, times_margin=1.0).exit_code == 0


def test_a_noisy_step_is_undecided_and_one_that_was_not_alone_is_not_compared(
    base: Path, tmp_path: Path
) -> None:
    noisy = folder(tmp_path / "noisy", relative_step=20.0, relative_step_interval=(10.0, 30.0))
    assert compared(base, noisy).exit_code == 0
    assert only(compared(base, noisy), "undecided").figure == "step"
    busy = folder(tmp_path / "busy", relative_step=99.0, relative_step_interval=(98.0, 99.0), alone=False)
    assert "other work ran beside" in only(compared(base, busy), "incomparable").words


def test_seconds_alone_are_never_compared(base: Path, tmp_path: Path) -> None:
    """Another machine, ten times slower in all: step and kernel alike."""
    slow = folder(tmp_path / "slow", step_seconds=1e-2, step_seconds_quartiles=(1e-2, 1e-2))
    assert compared(base, slow).exit_code == 0


# ------------------------------------------------------------------------------------- new, missing, failed


def test_new_missing_and_failed_are_told_apart(base: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new", rules=("bp", "sigprop"))
    store = Store(new)
    store.put(run(None, "diverged", rule="bp", seed=2, reason="loss is not finite"))
    found = compared(base, new)
    assert failing(found) == [
        ("digits/mlp/bp", "seed 2", "failed"),
        ("digits/mlp/fa", "cell", "missing"),
    ]
    assert only(found, "new").cell == "digits/mlp/sigprop"
    assert "loss is not finite" in found.failing[0].words
    back = compared(new, base)
    assert only(back, "recovered").figure == "seed 2"
    assert compared(base, new, cells_missing=False).failing[0].verdict == "failed"


def test_a_seed_that_was_scored_and_has_no_score_now_has_failed(base: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new")
    (path,) = (new / "digits" / "mlp" / "fa").glob("seed-0-*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": None}))
    assert failing(compared(base, new)) == [("digits/mlp/fa", "seed 0", "failed")]


def test_a_misspelt_dashboard_is_said_before_anything_else(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(base), str(base), "--write", "bencherr=x.json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "bencherr" in told.err


def test_a_seed_or_a_cost_that_is_gone_is_missing(base: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new")
    (seed,) = new.glob("digits/mlp/fa/seed-4-*.json")
    (own,) = new.glob("digits/mlp/fa/cost-*.json")
    seed.unlink()
    own.unlink()
    both = {(one[1], one[2]) for one in failing(compared(base, new))}
    assert both == {("seeds", "missing"), ("cost", "missing")}
    shutil.copy(next(base.glob("digits/mlp/fa/seed-4-*.json")), seed)
    assert failing(compared(base, new)) == [("digits/mlp/fa", "cost", "missing")]


def test_other_settings_of_a_rule_are_held_against_its_old_ones(base: Path, tmp_path: Path) -> None:
    new = folder(tmp_path / "new", rules=("bp",))
    for seed, score in enumerate(SCORES):
        Store(new).put(run(score - 0.5, rule="fa", seed=seed, learning_rate=0.1))
    Store(new).put(costing("fa", learning_rate=0.1))
    found = compared(base, new)
    assert failing(found) == [("digits/mlp/fa", "accuracy", "worse")]
    assert only(found, "changed").words == "settings changed: learning_rate 0.003 to 0.1"


# ------------------------------------------------------------------------------------ planted, and unplanted


RULE = """
from dataclasses import dataclass
from creditbench.baselines.rules.bp import Backpropagation
from creditbench.suite.types import Batch, Context, Network, State, Step


@dataclass(frozen=True)
class Planted(Backpropagation):
    name = "subject"

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
{body}
"""
CLEAN = "        return (yield from super().step(network, batch, state, context))"
PLANTED = {
    "an extra GEMM": (
        f"        network.blocks[0].weight.mT @ network.blocks[0].weight\n{CLEAN}",
        "train MACs",
    ),
    "a wrong sign": (
        "        for block, update in super().step(network, batch, state, context):\n"
        "            last = block is network.blocks[-1]\n"
        "            yield block, update if last else {name: -own for name, own in update.items()}",
        "accuracy",
    ),
    "a leaking buffer": (
        "        yield from super().step(network, batch, state, context)\n"
        "        return {**state.carried, f'leak{len(state.carried)}': batch.inputs.flatten(2).clone()}",
        "peak bytes, rule state",
    ),
}


def trained(path: Path, body: str) -> Path:
    """Two epochs of digits on five seeds by a rule of the user's, and its cost."""
    from creditbench.suite.api import execute

    path.mkdir(exist_ok=True)
    (path / "planted.py").write_text(RULE.format(body=body))
    execute(None, "digits", "mlp", [f"{path / 'planted.py'}:Planted"], 5, 2, None, "cpu", path)
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Real trainings of a rule that is bp, and of dfa."""
    import creditbench.suite.measure as module
    from creditbench.suite.api import execute

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 0.0)
        folder = tmp_path_factory.mktemp("real")
        execute(None, "digits", "mlp", ["dfa"], 5, 2, None, "cpu", folder)
        yield trained(folder, CLEAN)


def with_dfa_of(real: Path, new: Path) -> Path:
    shutil.copytree(real / "digits" / "mlp" / "dfa", new / "digits" / "mlp" / "dfa")
    return new


@pytest.mark.parametrize("what", sorted(PLANTED))
def test_a_planted_regression_is_caught_and_named(what: str, real: Path, tmp_path: Path) -> None:
    body, figure = PLANTED[what]
    found = compared(real, trained(with_dfa_of(real, tmp_path), body), times_gate=False)
    assert found.exit_code == 1
    assert {own.cell for own in found.failing} == {"digits/mlp/subject"}
    assert figure in {own.figure for own in found.failing}


def test_a_planted_slower_step_is_caught_and_named(real: Path, tmp_path: Path) -> None:
    """As a record: what a clock says in a test depends on what else runs."""
    new = moved(real, tmp_path / "new", np.random.default_rng(1))
    (path,) = new.glob("digits/mlp/dfa/cost-*.json")
    slow = read(path)
    assert isinstance(slow, Cost)
    assert slow.relative_step_interval is not None
    low, high = slow.relative_step_interval
    calm = moved(real, tmp_path / "base", np.random.default_rng(2))
    Store(new).put(dataclasses.replace(slow, relative_step_interval=(2 * low, 2 * high)))
    assert failing(compared(calm, new)) == [("digits/mlp/dfa", "step", "worse")]


def test_the_same_code_trained_again_is_no_regression(real: Path, tmp_path: Path) -> None:
    found = compared(real, trained(with_dfa_of(real, tmp_path), CLEAN), times_gate=False)
    assert found.exit_code == 0
    assert {own.verdict for own in found.findings if own.kind != "time"} == {"same"}


def moved(base: Path, new: Path, random: np.random.Generator) -> Path:
    """What another machine makes of unchanged code: rounding turns a few test samples, all times scatter."""
    for path in Store(base).paths():
        record = read(path)
        if isinstance(record, Run):
            assert record.score is not None
            score = record.score + int(random.integers(-2, 3)) / 360
            record = dataclasses.replace(record, score=score)
        elif isinstance(record, Cost):
            assert record.relative_step is not None
            middle = record.relative_step * float(random.lognormal(0, 0.08))
            bounds = (middle * 0.95, middle * 1.06)
            record = dataclasses.replace(record, relative_step=middle, relative_step_interval=bounds)
        Store(new).put(record)
    return new


def test_twenty_unchanged_runs_raise_no_alarm(real: Path, tmp_path: Path) -> None:
    """Resampled from real records, on the limits that a user gets unasked."""
    random = np.random.default_rng(0)
    calm = moved(real, tmp_path / "base", random)
    for number in range(20):
        found = compared(calm, moved(real, tmp_path / str(number), random))
        assert not found.failing, found.failing


@pytest.mark.slow
def test_twenty_trainings_of_unchanged_code_raise_no_alarm(root: Path, tmp_path: Path) -> None:
    """The project's own gate, on whatever machine this is: counts, scores and calibrated times."""
    suite = root / "results" / "baseline" / "suite.toml"
    limits = read_limits(root / "results" / "baseline" / "limits.toml")
    base = read_side(root / "results" / "baseline")
    for number in range(20):
        new = tmp_path / str(number)
        assert main(["run", str(suite), "--device", "cpu", "--results", str(new)]) == 0
        found = judge(base, read_side(new), limits)
        assert not found.failing, found.failing


# ------------------------------------------------------------------------------------------- limits and words


def test_limits_are_read_and_the_last_override_that_holds_is_the_one(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(
        "[scores]\nmargin = 1\n[times]\ngate = false\n"
        '[[override]]\nrule = "fa"\nscores.margin = 0.5\n'
        '[[override]]\ntask = "digits"\nrule = "fa"\nscores.margin = 0.25\n'
    )
    found = read_limits(path)
    assert found.default == Limits(scores_margin=1.0, times_gate=False)
    assert found.of("digits", "mlp", "fa").scores_margin == 0.25
    assert found.of("mnist", "mlp", "fa").scores_margin == 0.5
    assert (
        Tolerances(Limits(), (Override("a", None, None, {"exact_gate": False}),)).of("b", "", "").exact_gate
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[scores]\nmargins = 1", "called 'margins'. Did you mean 'margin'"),
        ("[score]\nmargin = 1", "called 'score'. Did you mean 'scores'"),
        ("[scores]\nmargin = -1", "no float that makes sense"),
        ("[scores]\nlevel = 1.0", "no float that makes sense"),
        ("[scores]\nseeds = 1", "no int that makes sense"),
        ("[exact]\ngate = 1", "no bool that makes sense"),
        ("scores = 1", "is a table"),
        ("override = 1", "two pairs of brackets"),
        ("[[override]]\nrule = 1", "as words"),
        ("[scores", "not TOML"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(CreditbenchError, match=complaint):
        read_limits(path)


def typed(*words: object) -> int:
    return main(["compare", *map(str, words)])


def test_exit_codes_are_those_of_the_manual(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = folder(tmp_path / "worse", [score - 0.03 for score in SCORES])
    assert typed(base, base) == 0
    assert "No regression found." in capsys.readouterr().out
    assert typed(base, worse) == 1
    assert "digits/mlp/fa: accuracy" in capsys.readouterr().out
    stranger = folder(tmp_path / "strange", rules=("pc",))
    (tmp_path / "empty").mkdir()
    broken = folder(tmp_path / "broken")
    next(broken.glob("digits/mlp/fa/seed-0-*.json")).write_text("{")
    for other, words in (
        (tmp_path / "nowhere", "There is no folder"),
        (tmp_path / "empty", "holds no records"),
        (stranger, "no cell in common"),
        (broken, "not a readable record"),
    ):
        assert typed(base, other) == 2
        assert words in capsys.readouterr().err
    assert typed(base, base, "--limits", tmp_path / "none.toml") == 2
    assert typed(base, base, "--write", "graphite=x") == 2
    assert typed(base, base, "--out", base / "digits" / "mlp" / "fa") == 2  # a folder


HOSTILE = "<img src=x onerror=alert(1)>|`@team` %0A::error::x\n::error::y \u202e"


@pytest.fixture
def hostile(tmp_path: Path) -> Verdicts:
    for name, status in (("base", "ok"), ("new", "failed")):
        for seed in range(5):
            score = 0.9 if status == "ok" else None
            Store(tmp_path / name).put(run(score, status, rule=HOSTILE, seed=seed, reason=HOSTILE))  # type: ignore[arg-type]
    return compared(tmp_path / "base", tmp_path / "new")


def test_markdown_of_a_hostile_record_is_text(hostile: Verdicts) -> None:
    shown = FORMS["markdown"](hostile)
    assert "<img" not in shown
    assert not re.search(r"(?<!\\)`@|@team", shown)
    rows = [line for line in shown.splitlines() if line.startswith("| digits")]
    assert len(rows) == 5
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)


def test_github_commands_of_a_hostile_record_are_one_line_each(hostile: Verdicts) -> None:
    lines = FORMS["github"](hostile).splitlines()
    assert len(lines) == 6
    assert all(line.startswith("::error title=") for line in lines[:5])
    assert all("%250A" in line and "\u202e" not in line for line in lines[:5])


def test_junit_of_a_hostile_record_is_xml_with_its_counts(hostile: Verdicts) -> None:
    root = ElementTree.fromstring(FORMS["junit"](hostile))
    assert root.attrib == {"name": "creditbench compare", "tests": "5", "failures": "5", "skipped": "0"}
    assert len(root.findall(".//failure")) == 5


def test_json_and_text_say_what_was_found(base: Path, tmp_path: Path) -> None:
    found = compared(base, folder(tmp_path / "new", peak_bytes=3_700_000))
    told = json.loads(FORMS["json"](found), parse_constant=pytest.fail)
    assert told["fails"] is True
    (own,) = (one for one in told["findings"] if one["fails"])
    assert (own["figure"], own["base"], own["new"], own["ratio"]) == ("peak bytes", 1_850_000, 3_700_000, 2.0)
    assert "digits/mlp/fa: peak bytes: 1,850,000 to 3,700,000, × 2" in FORMS["text"](found)
    assert "1 regression." in FORMS["text"](found)


def test_a_summary_fits_into_a_comment_however_much_has_changed(base: Path) -> None:
    many = tuple(Finding(f"cell {n}", "exact", "figure", "changed", True, "words" * 20) for n in range(2000))
    shown = FORMS["markdown"](Verdicts("a", "b", 2000, many))
    assert len(shown) < 65_536
    assert shown.endswith("Cut here: the log has all of it.")


# --------------------------------------------------------------------------------------------- dashboards


def test_pytest_benchmarks_own_command_reads_what_is_written(base: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    assert typed(base, base, "--write", f"pytest-benchmark={tmp_path / 'pb.json'}") == 0
    words = [sys.executable, "-m", "pytest_benchmark", "compare", str(tmp_path / "pb.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits/mlp/fa" in done.stdout + done.stderr


def benchmark_file(path: Path, **medians: float) -> Path:
    listed = [
        {"name": name, "fullname": f"test_x.py::{name}",
         "stats": {"median": own, "q1": 0.98 * own, "q3": 1.02 * own, "min": 0.9 * own}}
        for name, own in medians.items()
    ]  # fmt: skip
    path.write_text(json.dumps({"benchmarks": listed}))
    return path


def test_files_of_pytest_benchmark_are_compared_in_units_of_their_calibration(tmp_path: Path) -> None:
    before = benchmark_file(tmp_path / "a.json", test_calibration=1.0, test_one=2.0, test_two=2.0)
    elsewhere = benchmark_file(tmp_path / "b.json", test_calibration=3.0, test_one=6.0, test_two=12.0)
    found = compared(before, elsewhere)
    assert failing(found) == [("test_x.py::test_two", "step", "worse")]
    bare = benchmark_file(tmp_path / "c.json", test_one=9.0)
    assert compared(before, bare, cells_missing=False).exit_code == 0
    (tmp_path / "d.json").write_text("[]")
    with pytest.raises(CreditbenchError, match="neither a folder of records nor JSON of pytest-benchmark"):
        read_side(tmp_path / "d.json")


def test_what_is_written_for_pytest_benchmark_can_be_compared_again(base: Path, tmp_path: Path) -> None:
    text, left_out = DASHBOARDS["pytest-benchmark"](read_side(base))
    (tmp_path / "own.json").write_text(text)
    assert left_out == []
    own = read_side(tmp_path / "own.json")
    assert {cell.name for cell in own.cells.values()} == {
        "creditbench::digits/mlp/bp",
        "creditbench::digits/mlp/fa",
    }


def test_a_cell_without_the_figures_is_left_out_by_name_and_never_made_up(tmp_path: Path) -> None:
    old = read_side(folder(tmp_path / "old", step_seconds_spread={}))
    text, left_out = DASHBOARDS["pytest-benchmark"](old)
    assert [own["name"] for own in json.loads(text)["benchmarks"]] == ["digits/mlp/bp"]
    assert left_out == ["digits/mlp/fa: its record has no least and greatest step time"]
    gap = folder(tmp_path / "gap", (0.9, 0.9, None))
    assert DASHBOARDS["github-action-benchmark-bigger"](read_side(gap))[1] == ["digits/mlp/fa: no score"]


def test_the_other_dashboards_have_the_form_that_their_tools_document(base: Path) -> None:
    side = read_side(base)
    smaller = json.loads(DASHBOARDS["github-action-benchmark-smaller"](side)[0], parse_constant=pytest.fail)
    bigger = json.loads(DASHBOARDS["github-action-benchmark-bigger"](side)[0])
    for entries in (smaller, bigger):
        assert all({"name", "unit", "value"} <= own.keys() for own in entries)
        assert all(isinstance(own["value"], (int, float)) for own in entries)
    assert bigger[0]["value"] == pytest.approx(0.92)
    bmf = json.loads(DASHBOARDS["bencher"](side)[0])
    assert bmf["digits/mlp/fa"]["latency"] == {"value": 1e6, "lower_value": 1e6, "upper_value": 1e6}
    assert bmf["digits/mlp/fa"]["calibrated-step"] == {"value": 10, "lower_value": 9.8, "upper_value": 10.2}
    told = json.loads(DASHBOARDS["asv"](side)[0])
    assert told["version"] == 2
    assert told["results"]["creditbench.time_step_digits_mlp_fa"][0] == [1e-3]


def test_every_dashboard_is_strict_json_of_the_real_records(root: Path) -> None:
    side = read_side(root / "results")
    check: Callable[[str], Any] = lambda word: pytest.fail(word)  # noqa: E731
    for write in DASHBOARDS.values():
        json.loads(write(side)[0], parse_constant=check)


# ------------------------------------------------------------------------------------------- what is shipped


def test_the_baseline_passes_its_own_gate(root: Path) -> None:
    baseline = root / "results" / "baseline"
    assert typed(baseline, baseline, "--limits", baseline / "limits.toml") == 0
    side = read_side(baseline)
    assert all(len(cell.runs) == 5 and cell.timing and cell.spread for cell in side.cells.values())


def test_every_command_of_the_manual_and_the_workflow_is_one(root: Path) -> None:
    from creditbench.suite.cli import _parser

    yaml = pytest.importorskip("yaml")
    workflow = (root / "docs" / "ci" / "creditbench-compare.yml").read_text()
    steps = yaml.safe_load(workflow)["jobs"]["compare"]["steps"]
    text = "\n".join(step.get("run", "") for step in steps) + (root / "docs" / "compare.md").read_text()
    lines = [line.strip() for line in text.splitlines() if re.match(r"\s*(\S+/)?\"?creditbench\"? \w", line)]
    commands = [
        re.sub(r"^\S*creditbench\"? ", "", line).partition("#")[0].partition(" > ")[0] for line in lines
    ]
    assert len(commands) >= 8
    for command in commands:
        _parser().parse_args(command.replace('"', "").split())


def test_the_limits_in_the_manual_are_the_ones_that_hold_unasked(root: Path, tmp_path: Path) -> None:
    text = (root / "docs" / "compare.md").read_text(encoding="utf-8")
    (tmp_path / "limits.toml").write_text(text.split("```toml\n")[1].partition("```")[0])
    found = read_limits(tmp_path / "limits.toml")
    assert found.default == Limits()
    assert found.of("digits", "mlp", "sigprop") != Limits()
