"""What is wrong with a folder: each fault alone is found, named, and nothing is changed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import creditbench
from creditbench.reports.statistics.predictions import overlap, stored
from creditbench.suite import registry
from creditbench.suite.api import execute
from creditbench.suite.cli import main
from creditbench.suite.doctor import Finding, examine
from creditbench.suite.record import Audit, Audited
from creditbench.suite.store import Store


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of last-layer on digits."""
    import creditbench.suite.measure as module

    folder = tmp_path_factory.mktemp("healthy") / "r"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BUDGET", 0.0)
        execute(None, "digits", None, "last-layer", 2, 1, None, "cpu", folder)
    return folder


@pytest.fixture
def folder(healthy: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(healthy, tmp_path / "r"))


def seed(folder: Path, number: int, suffix: str = ".json") -> Path:
    (path,) = (path for path in Store(folder).paths() if path.name.startswith(f"seed-{number}-"))
    return path.with_suffix(suffix)


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def only(folder: Path, **options: Any) -> Finding:
    before = contents(folder)
    told = examine(folder, **options)
    assert contents(folder) == before  # a doctor looks
    (found,) = told.findings
    return found


def test_a_healthy_folder_has_nothing_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = examine(folder)
    assert (told.findings, told.unchecked) == ([], [])
    assert (told.runs, told.costs, told.superseded) == (2, 1, 0)
    assert main(["doctor", str(folder)]) == 0
    assert "2 runs, 1 costs, 0 superseded; nothing wrong was found." in capsys.readouterr().out


def test_a_half_written_record_is_found(folder: Path) -> None:
    path = seed(folder, 1)
    path.write_text(path.read_text()[:100])
    assert only(folder).kind == "unreadable"


def test_a_record_under_anothers_name_is_found(folder: Path) -> None:
    path = seed(folder, 1)
    path.rename(path.with_name("seed-5-0123456789ab.json"))
    seed(folder, 5).with_suffix(".npz").write_bytes(path.with_suffix(".npz").read_bytes())
    path.with_suffix(".npz").unlink()
    found = only(folder)
    assert (found.kind, found.where) == ("misplaced", "digits/mlp/last-layer/seed-5-0123456789ab.json")
    assert f"it belongs at digits/mlp/last-layer/{path.name}" in found.words


@pytest.mark.parametrize("same", [True, False])
def test_a_run_that_lies_in_two_places_after_merging_is_found(same: bool, folder: Path) -> None:
    other = folder / "from-the-cluster" / "digits"
    shutil.copytree(folder / "digits", other)
    for path in other.rglob("cost-*"):
        path.unlink()
    seed(other, 0).unlink()
    next(other.rglob("seed-0-*.npz")).unlink()
    if not same:
        edited(seed(other, 1), lambda data: data["provenance"].update(finished="2020-01-01T00:00:00+00:00"))
    found = only(folder)
    assert (found.kind, found.where.split("/")[0]) == ("duplicate", "from-the-cluster")
    assert ("the same as" if same else "another result of the same specification") in found.words


def test_missing_predictions_are_found(folder: Path) -> None:
    seed(folder, 0, ".npz").unlink()
    found = only(folder)
    assert (found.kind, found.where) == ("predictions", seed(folder, 0).relative_to(folder).as_posix())


def test_predictions_of_another_length_are_found(folder: Path) -> None:
    np.savez_compressed(seed(folder, 0, ".npz"), last=np.zeros(3, "uint8"), best=np.zeros(3, "uint8"))
    told = examine(folder)
    assert {found.kind for found in told.findings} == {"predictions"}
    assert "'last' holds 3 predictions for 300 test samples" in told.findings[0].words


def test_a_score_that_its_predictions_do_not_give_is_found(folder: Path) -> None:
    edited(seed(folder, 0), lambda data: data.update(score=0.999))
    found = only(folder)
    assert found.kind == "predictions"
    assert "the record says 0.9990; one of them was changed" in found.words


def test_predictions_at_every_step_of_a_series_are_held_against_the_steps_that_have_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    rows = creditbench.run(
        task="copy-5", network="rnn-dt:width=3", rule="last-layer", seeds=1, epochs=1, results=tmp_path
    ).to_dict("records")
    assert examine(tmp_path).findings == []
    (record,) = tmp_path.rglob("seed-0-*.json")
    found = stored(record)
    assert found is not None
    targets = registry.load("task", "copy-5").read().test.targets.numpy()
    agreed = overlap(found, found, targets)
    assert agreed.both_right / agreed.samples == pytest.approx(rows[0]["score"])
    assert agreed.samples < targets.size
    np.savez_compressed(record.with_suffix(".npz"), last=found[:, 1:], best=found[:, 1:])
    words = f"'last' holds predictions {list(found[:, 1:].shape)} for test targets {list(targets.shape)}"
    assert examine(tmp_path).findings[0].words == words


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut short"])
def test_predictions_that_are_no_archive_are_found(content: bytes, folder: Path) -> None:
    seed(folder, 0, ".npz").write_bytes(content)
    assert only(folder).kind == "unreadable"


def test_predictions_with_code_in_them_are_never_loaded(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(folder / "sprung"),)

    trap = np.array([Trap()], dtype=object)
    np.savez_compressed(seed(folder, 0, ".npz"), last=trap, best=trap)
    assert only(folder).kind == "unreadable"
    assert not (folder / "sprung").exists()


def test_a_run_on_other_data_is_found_with_what_to_type(folder: Path) -> None:
    edited(seed(folder, 0), lambda data: data["provenance"].update(data_sha256="0" * 64))
    found = only(folder)
    assert (found.kind, found.where) == ("data", "digits/mlp/last-layer, seed 0")
    assert found.words == "it was trained on other data than is here now"


def test_what_other_code_made_is_found_once_per_cell_and_its_command_does_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.measure as module

    for number in (0, 1):
        edited(seed(folder, number), lambda data: data.update(fingerprint="0" * 12))
    found = only(folder)
    assert (found.kind, found.where) == ("code", "digits/mlp/last-layer, seed 0, 1")
    assert found.command is not None
    monkeypatch.setattr(module, "BUDGET", 0.0)
    program, *words = shlex.split(found.command)
    assert program == "creditbench"
    assert main([*words, "--device", "cpu"]) == 0
    assert examine(folder).findings == []


def test_a_cost_that_other_code_measured_is_found(folder: Path) -> None:
    (path,) = (path for path in Store(folder).paths() if path.name.startswith("cost"))
    edited(path, lambda data: data.update(fingerprint="0" * 12))
    found = only(folder)
    assert found.kind == "code"
    assert "was measured by other code" in found.words


def test_a_run_that_failed_is_found_with_its_reason(folder: Path) -> None:
    edited(seed(folder, 0), lambda data: data.update(status="timeout", reason="too slow", score=None))
    found = only(folder)
    assert (found.kind, found.words) == ("ended", "timeout: too slow")


def test_notes_and_predictions_without_their_record_are_found(folder: Path) -> None:
    one = seed(folder, 0)
    note = one.with_suffix(".same-0123456789ab.json")
    note.write_text(json.dumps({"key": one.stem.split("-")[2], "of": "another code"}))
    found = only(folder)
    assert (found.kind, found.where) == ("orphan", note.relative_to(folder).as_posix())
    one.unlink()
    told = examine(folder)
    assert sorted(Path(found.where).suffix for found in told.findings) == [".json", ".npz"]
    assert {found.kind for found in told.findings} == {"orphan"}


def test_what_a_killed_writer_left_is_found_and_a_living_one_is_not(folder: Path) -> None:
    left = seed(folder, 0).with_name(f".{seed(folder, 0).name}.abcd_123")
    left.write_text("half")
    assert examine(folder).findings == []
    os.utime(left, (1, 1))
    found = only(folder)
    assert (found.kind, found.where) == ("temporary", left.relative_to(folder).as_posix())


def test_what_was_superseded_is_counted_and_no_finding(folder: Path) -> None:
    attic = folder / "superseded" / "digits" / "mlp" / "last-layer"
    attic.mkdir(parents=True)
    for suffix in (".json", ".npz"):
        old = seed(folder, 0, suffix)
        shutil.copy(old, attic / f"{old.stem}.0{suffix}")
    told = examine(folder)
    assert (told.superseded, told.findings) == (1, [])


def test_what_a_suite_lacks_is_found_with_what_to_type(folder: Path, tmp_path: Path) -> None:
    suite = tmp_path / "own.toml"
    part = 'summary = "s"\n[[part]]\ntasks = ["digits"]\nrules = ["last-layer"]\nepochs = 1\nseeds = 3\n'
    suite.write_text(part)
    found = only(folder, suite=str(suite))
    assert (found.kind, found.where) == ("missing", "digits/mlp/last-layer, seed 2")
    words = ["creditbench", "run", str(suite), "--task", "digits", "--network", "mlp", "--rule", "last-layer"]
    assert found.command == shlex.join([*words, "--results", str(folder)])
    suite.write_text(part.replace("seeds = 3", "seeds = 2"))
    assert examine(folder, str(suite)).findings == []
    (cost,) = (path for path in Store(folder).paths() if path.name.startswith("cost"))
    cost.unlink()
    assert only(folder, suite=str(suite)).words == "its cost, on any machine"


def test_a_run_that_no_command_gives_any_more_has_none(folder: Path) -> None:
    from creditbench.suite.specification import Spec

    path = seed(folder, 0)
    data = json.loads(path.read_text())
    one = Spec.from_dict({**data["spec"], "batch_size": 96})
    data = {**data, "spec": one.as_dict(), "key": one.key, "status": "failed", "reason": "no", "score": None}
    (path.parent / f"seed-0-{one.key}.json").write_text(json.dumps(data))
    found = only(folder)
    assert (found.kind, found.command) == ("ended", None)


def test_a_rule_or_task_that_is_not_here_is_said_and_no_finding(folder: Path) -> None:
    from creditbench.suite.specification import Spec

    for name, wanted in (
        ("rule", "no rule 'theirs' is installed"),
        ("task", "no task 'theirs' is installed"),
    ):
        path = seed(folder, 0)
        data = json.loads(path.read_text())
        one = Spec.from_dict({**data["spec"], name: "theirs"})
        home = Store(folder).run_path(one)
        home.parent.mkdir(parents=True)
        home.write_text(json.dumps({**data, "spec": one.as_dict(), "key": one.key}))
        shutil.copy(path.with_suffix(".npz"), home.with_suffix(".npz"))
        told = examine(folder)
        assert told.findings == []
        assert any(wanted in words for words in told.unchecked)
        shutil.rmtree(folder / home.relative_to(folder).parts[0] if name == "task" else home.parent)


def test_data_is_never_downloaded_to_check_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pooch

    from creditbench.suite.doctor import _at_hand

    def download(*_: object, **__: object) -> None:
        raise AssertionError("a doctor downloads nothing")

    monkeypatch.delenv("CREDITBENCH_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", download)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    splits, why = _at_hand("kmnist")
    assert splits is None
    assert "is not in" in why
    assert "CREDITBENCH_DATA" not in os.environ


def test_findings_fail_the_command_and_can_be_had_as_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(seed(folder, 0), lambda data: data.update(status="timeout", reason="too slow", score=None))
    assert main(["doctor", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "ended: digits/mlp/last-layer, seed 0: timeout: too slow" in out
    assert "    creditbench run --task digits --network mlp --rule last-layer --seeds 1" in out
    assert main(["doctor", str(folder), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert [found["kind"] for found in told["findings"]] == ["ended"]
    assert main(["doctor", str(folder / "none")]) == 1
    assert "There is no folder" in capsys.readouterr().err


def test_an_audit_of_other_code_is_named_with_the_command_that_renews_it(tmp_path: Path) -> None:
    spec = Audited("digits", 1, "mlp", "dfa", {"feedback_scale": 2.0})
    Store(tmp_path).put(Audit(spec, bench="3 blocks", findings={}, fingerprint="0" * 12))
    (finding,) = [found for found in examine(tmp_path).findings if found.kind == "code"]
    assert finding.command is not None
    assert finding.command.startswith("creditbench audit dfa:feedback_scale=2.0 --task digits --network mlp")
    path = next(tmp_path.rglob("audit-*.json"))
    path.rename(path.with_name("audit-0123456789ab.json"))
    assert "misplaced" in {found.kind for found in examine(tmp_path).findings}
