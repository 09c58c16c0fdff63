"""Running, stopping, running again: what a folder of records holds afterwards."""

import itertools
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

import creditbench
from creditbench.suite.driver import SilentObserver
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Run
from creditbench.suite.store import Store

_numbers = itertools.count()

RULE = '''
from dataclasses import dataclass
from typing import ClassVar
from creditbench.suite.types import LearningRule

@dataclass(frozen=True)
class Mine(LearningRule):
    """A comment that does not matter."""
    name: ClassVar[str] = "mine"
    source: ClassVar[str] = "me"
    scale: float = 1.0

    def step(self, network, batch, state, context):
        last = network.blocks[-1]
        h = batch.inputs
        for block in network.blocks[:-1]:
            h = block.forward(h, context).output
        trace = last.forward(h, context)
        error = self.scale * context.loss.gradient(trace.output, batch.targets)
        yield last, last.update(trace, error)
'''


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)


def write(folder: Path, text: str) -> str:
    """A rule in a file of its own (modules are loaded once per path)."""
    path = folder / f"rule_{next(_numbers)}.py"
    path.write_text(textwrap.dedent(text))
    return f"{path}:Mine"


def run(rule: str, folder: Path, **options: Any) -> list[dict[str, object]]:
    settings: dict[str, Any] = {"task": "digits", "seeds": 2, "epochs": 1, "device": "cpu", **options}
    frame = creditbench.run(rule=rule, results=folder, **settings)
    return list(frame.to_dict("records"))


def finished(folder: Path) -> dict[str, str]:
    """When each run was trained, by path."""
    records = {path.name: path for path in Store(folder).paths() if path.name.startswith("seed")}
    return {name: json.loads(path.read_text())["provenance"]["finished"] for name, path in records.items()}


class Watch(SilentObserver):
    """What an observer is told."""

    def __init__(self) -> None:
        self.trained: list[Run] = []
        self.kept: list[Run] = []

    def finished(self, run: Run, kept: bool) -> None:
        (self.kept if kept else self.trained).append(run)


def again(rule: str, folder: Path, seeds: int = 2) -> Watch:
    from creditbench.suite.api import execute

    watch = Watch()
    execute(None, "digits", None, rule, seeds, 1, None, "cpu", folder, watch)
    return watch


def test_running_again_does_only_what_is_missing(tmp_path: Path) -> None:
    rule = write(tmp_path, RULE)
    assert len(again(rule, tmp_path / "r").trained) == 2
    watch = again(rule, tmp_path / "r")
    assert (watch.trained, watch.kept) == ([], [])
    watch = again(rule, tmp_path / "r", seeds=3)
    assert [one.spec.seed for one in watch.trained] == [2]


def test_a_comment_changes_nothing_and_an_equal_rewrite_is_replayed(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    again(write(tmp_path, RULE), folder)
    commented = RULE.replace("A comment that does not matter.", "Another.").replace(
        "yield last", "yield  last  "
    )
    watch = again(write(tmp_path, commented + "\n# the end\n"), folder)
    assert (watch.trained, watch.kept) == ([], [])
    rewritten = write(tmp_path, RULE.replace("self.scale * context", "context.loss and self.scale * context"))
    watch = again(rewritten, folder)
    assert (len(watch.trained), len(watch.kept)) == (0, 2)
    watch = again(rewritten, folder)
    assert (watch.trained, watch.kept) == ([], [])


def test_an_edit_that_changes_the_result_never_serves_a_stale_one(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    before = run(write(tmp_path, RULE), folder)
    changed = RULE.replace("error = self.scale *", "error = -self.scale *")
    watch = again(write(tmp_path, changed), folder)
    assert (len(watch.trained), len(watch.kept)) == (2, 0)
    after = creditbench.load_results(folder)
    assert after["score"].mean() < min(row["score"] for row in before)  # type: ignore[type-var]
    retired = list((folder / "superseded").rglob("seed-*.json"))
    assert len(retired) == 2  # a night's work is moved, not thrown away


def test_hyperparameters_and_budget_are_part_of_a_runs_identity(tmp_path: Path) -> None:
    rule = write(tmp_path, RULE)
    keys = {
        row["key"]
        for options in ({}, {"epochs": 2}, {"learning_rate": 0.1})
        for row in run(rule, tmp_path / "r", **options)
    }
    keys |= {row["key"] for row in run(f"{rule}:scale=2", tmp_path / "r")}
    assert len(keys) == 8
    same = run(f"{rule}:scale=1.0", tmp_path / "r")  # the default, spelled out
    assert {row["key"] for row in same} <= keys


def test_folders_merge_by_copying(tmp_path: Path) -> None:
    import shutil

    rule = write(tmp_path, RULE)
    again(rule, tmp_path / "a", seeds=1)
    again(rule, tmp_path / "b", seeds=2)
    shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True)
    assert again(rule, tmp_path / "a").trained == []


def test_a_failing_rule_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    broken = write(tmp_path, RULE.replace("yield last,", "yield last, 1 / 0 *"))
    rows = creditbench.run(
        task="digits", rule=[broken, "last-layer"], seeds=1, epochs=1, results=tmp_path / "r", device="cpu"
    )
    status = dict(zip(rows["rule"], rows["status"], strict=True))
    assert status == {"mine": "failed", "last-layer": "ok"}
    reason = rows[rows["rule"] == "mine"]["reason"].iloc[0]
    assert "ZeroDivisionError" in reason
    assert "line 20, in step" in reason


def test_a_rule_that_cannot_is_skipped_with_its_reason(tmp_path: Path) -> None:
    rows = run("sigprop", tmp_path / "r", network="mlp:normalisation=batch")
    assert {row["status"] for row in rows} == {"skipped"}
    assert "batch normalisation would mix" in str(rows[0]["reason"])


def test_a_network_that_does_not_fit_the_task_fails_in_words(tmp_path: Path) -> None:
    task = tmp_path / "flat.py"
    task.write_text(
        "import torch\nfrom creditbench.suite.types import Split, Splits, Task\n"
        "part = Split(torch.zeros(8, 5), torch.zeros(8).long())\n"
        "def read():\n    return Splits(part, part, part)\n"
        "FLAT = Task(name='flat', version=1, kind='image', input_shape=(5,), classes=2, read=read)\n"
    )
    rows = run("bp", tmp_path / "r", task=f"{task}:FLAT", network="conv")
    assert {row["status"] for row in rows} == {"failed"}
    assert "needs images" in str(rows[0]["reason"])
    rows = run("bp", tmp_path / "r", task=f"{task}:FLAT", network="mlp")
    assert {row["status"] for row in rows} == {"ok"}


def test_missing_data_fails_its_own_cells_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path / "empty"))
    rows = run("last-layer", tmp_path / "r", task=["kmnist", "digits"], seeds=1)
    status = {row["task"]: row["status"] for row in rows}
    assert status == {"kmnist": "failed", "digits": "ok"}
    reason = next(str(row["reason"]) for row in rows if row["task"] == "kmnist")
    assert "CREDITBENCH_DATA" in reason


def test_an_interrupted_run_keeps_every_finished_record(tmp_path: Path) -> None:
    from creditbench.suite.api import execute

    class Stops(SilentObserver):
        def finished(self, run: Run, kept: bool) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(None, "digits", None, write(tmp_path, RULE), 2, 1, None, "cpu", tmp_path / "r", Stops())
    (only,) = [record for record in Store(tmp_path / "r").records() if isinstance(record, Run)]
    assert only.status == "ok"


def test_a_class_can_be_run_as_it_is(tmp_path: Path) -> None:
    from creditbench.baselines.rules.dfa import DirectFeedbackAlignment

    (row,) = run(DirectFeedbackAlignment, tmp_path / "r", seeds=1)  # type: ignore[arg-type]
    assert row["rule"] == "dfa"


def test_the_frame_has_the_promised_columns(tmp_path: Path) -> None:
    (row,) = run("dfa", tmp_path / "r", seeds=1)
    promised = (
        *("task", "network", "rule", "seed", "status", "score", "validation_score", "epochs"),
        *("step_seconds", "train_seconds", "peak_bytes", "parameters"),
        *("train_macs_per_sample", "inference_macs_per_sample"),
    )
    assert all(row[name] is not None for name in promised)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "sigpropp"}, "no rule 'sigpropp'. Did you mean 'sigprop'"),
        ({"task": "digit"}, "no task 'digit'. Did you mean 'digits'"),
        ({"network": "mlq"}, "no network 'mlq'. Did you mean 'mlp'"),
        ({"rule": "fa:feedback_scal=2"}, "called 'feedback_scal'. Did you mean 'feedback_scale'"),
        ({"network": "mlp:widht=2"}, "called 'widht'. Did you mean 'width'"),
        ({"network": "mlp:depth=x"}, "takes depth as int"),
        ({"rule": "no_such.py:Rule"}, "There is no file no_such.py"),
        ({"seeds": 0}, "seeds is 0"),
        ({"device": "gpu"}, "--device is auto, cpu or cuda"),
        ({"suite": "quickstrt"}, "no suite 'quickstrt'. Did you mean 'quickstart'"),
    ],
)
def test_mistakes_are_answered_with_the_nearest_match(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    settings: dict[str, object] = {"rule": "bp", **options}
    with pytest.raises(CreditbenchError) as caught:
        run(str(settings.pop("rule")), tmp_path / "r", **settings)
    assert words in str(caught.value)
    assert not (tmp_path / "r").exists()  # nothing was written


def test_a_users_rule_cannot_bear_a_built_in_name(tmp_path: Path) -> None:
    rule = write(tmp_path, RULE.replace('"mine"', '"fa"'))
    with pytest.raises(
        CreditbenchError, match="calls itself 'fa', which is also the installed rule creditbench"
    ):
        run(rule, tmp_path / "r")


def test_a_file_that_does_not_import_is_explained(tmp_path: Path) -> None:
    rule = write(tmp_path, "import no_such_module_anywhere\n")
    with pytest.raises(CreditbenchError, match=r"cannot be imported: ModuleNotFoundError.*line 1"):
        run(rule, tmp_path / "r")


def test_a_users_suite_runs_from_its_file(tmp_path: Path) -> None:
    suite = tmp_path / "own.toml"
    suite.write_text(
        'summary = "mine"\n[[part]]\ntasks = ["digits"]\nrules = ["last-layer"]\nepochs = 1\nseeds = 1\n'
    )
    rows = creditbench.run(str(suite), results=tmp_path / "r", device="cpu")
    assert list(rows["rule"]) == ["last-layer"]
    suite.write_text('summary = "mine"\n[[part]]\ntasks = ["digits"]\nepoch = 1\n')
    with pytest.raises(CreditbenchError, match="Did you mean 'epochs'"):
        creditbench.run(str(suite), results=tmp_path / "r", device="cpu")


def test_an_unreadable_record_is_named_kept_and_stops_nothing_else(tmp_path: Path) -> None:
    from creditbench.suite.api import execute

    folder = tmp_path / "r"
    again("last-layer", folder)
    path = next(p for p in Store(folder).paths() if p.name.startswith("seed-0"))
    path.write_text(half := path.read_text()[:100])
    summary = execute(None, "digits", None, "last-layer", 3, 1, None, "cpu", folder)
    assert (summary.trained, summary.kept) == (1, 1)
    assert [path.name in sentence for sentence in summary.unreadable] == [True]
    assert path.read_text() == half  # whose it is, is for its owner to say
    with pytest.raises(CreditbenchError, match="is not a readable record"):
        creditbench.load_results(folder)


def test_what_went_wrong_is_said_once_for_all_seeds(tmp_path: Path) -> None:
    from creditbench.suite.api import execute

    broken = write(tmp_path, RULE.replace("yield last,", "yield last, 1 / 0 *"))
    for _ in range(2):  # a failure is tried again
        summary = execute(None, "digits", None, broken, 2, 1, None, "cpu", tmp_path / "r")
        (sentence,) = summary.sentences()
        assert sentence.startswith("mine on digits, mlp, seed 0, 1: failed: ZeroDivisionError")
        assert summary.trained == 2
        assert summary.failed


def test_a_cost_is_measured_again_when_what_measures_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.driver as module
    from creditbench.suite.fingerprint import MEASURING, fingerprint

    folder = tmp_path / "r"
    again("last-layer", folder, seeds=1)
    (cost,) = [p for p in Store(folder).paths() if p.name.startswith("cost")]
    before = cost.read_text()
    again("last-layer", folder, seeds=1)
    assert cost.read_text() == before
    changed = {MEASURING: "0" * 12}
    monkeypatch.setattr(
        module,
        "fingerprint",
        lambda files, torch, root: changed.get(root) or fingerprint(files, torch, root),
    )
    watch = again("last-layer", folder, seeds=1)
    assert watch.trained == []
    assert cost.read_text() != before


def test_edits_that_first_steps_cannot_show_are_noticed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that ends elsewhere, a metric that counts otherwise."""
    import creditbench.suite.driver as driver
    import creditbench.suite.losses as losses
    import creditbench.suite.optimizer as optimizer

    rule, folder = write(tmp_path, RULE), tmp_path / "r"
    again(rule, folder)
    edits = [
        (optimizer.SCHEDULES, "linear", lambda progress: 1 - 0.5 * progress),
        (
            losses.METRICS,
            "accuracy",
            lambda outputs, targets: (outputs.argmin(-1) == targets).double().mean(-1),
        ),
    ]
    for number, (table, name, edited) in enumerate(edits):
        monkeypatch.setattr(driver, "fingerprint", lambda *_, n=number: f"{n:012d}")
        monkeypatch.setitem(table, name, edited)
        watch = again(rule, folder)
        assert (len(watch.trained), len(watch.kept)) == (2, 0), name
