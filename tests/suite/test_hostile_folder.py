"""What may lie in a folder of records: each oddity is named in a sentence, stays, and stops nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from records import cost, run, spec

from creditbench.suite.api import execute
from creditbench.suite.cli import main
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import read_results
from creditbench.suite.record import to_json
from creditbench.suite.specification import Spec
from creditbench.suite.store import MOST_BYTES, Store, read


def seen(path: Path) -> tuple[int, int, int]:
    """What of a file nobody may change."""
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # holes, which take no room


def looping(path: Path) -> None:
    path.symlink_to(path.name)


ODDITIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "half-written": (lambda path: path.write_text(to_json(run(0.9))[:300]), "not a readable record"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable record"),
    "hand-edited": (
        lambda path: path.write_text(to_json(run(0.9)).replace('"epochs": 40', '"epochs": 4')),
        "edited by hand",
    ),
    "foreign": (lambda path: path.write_text('{"name": "a package"}'), "the field 'schema' is missing"),
    "binary": (lambda path: path.write_bytes(bytes(range(256))), "it is not UTF-8"),
    "utf-16": (lambda path: path.write_text(to_json(run(0.9)), "utf-16"), "it is not UTF-8"),
    "huge": (huge, "more than any record"),
    "deeply nested": (lambda path: path.write_text('{"schema":' + "[" * 10**5), "not a readable record"),
    "an integer without end": (
        lambda path: path.write_text('{"schema":' + "9" * 10**4 + "}"),
        "not a readable",
    ),
    "a directory": (lambda path: path.mkdir(), "it is not a plain file"),
    "a link to itself": (looping, "symbolic links"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), "No such file"),
    "a pipe": (os.mkfifo, "it is not a plain file"),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_an_oddity_is_named_and_the_rest_is_shown(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, complaint = ODDITIES[name]
    store = Store(tmp_path)
    store.put(run(0.9))
    odd = store.run_path(spec(seed=1))
    make(odd)
    before = seen(odd)
    frame, problems = read_results(tmp_path)
    assert frame["score"].tolist() == [0.9]
    (sentence,) = problems
    assert sentence.startswith(str(odd))
    assert complaint in sentence
    assert len(sentence) < len(str(odd)) + 300
    assert main(["show", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "digits" in captured.out
    assert complaint in captured.err
    assert seen(odd) == before


def test_what_cannot_be_read_is_not_overwritten_by_a_new_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    summary = execute(None, "digits", None, "last-layer", 1, 1, None, "cpu", tmp_path)
    assert summary.trained == 1
    (path,) = (path for path in Store(tmp_path).paths() if path.name.startswith("seed"))
    path.unlink()
    path.mkdir()
    summary = execute(None, "digits", None, "last-layer", 1, 1, None, "cpu", tmp_path)
    assert (summary.trained, len(summary.unreadable)) == (0, 1)
    assert path.is_dir()


def test_a_ring_of_links_between_folders_is_not_followed(tmp_path: Path) -> None:
    Store(tmp_path).put(run(0.9))
    (tmp_path / "digits" / "mlp" / "round").symlink_to(tmp_path, target_is_directory=True)
    assert len(list(Store(tmp_path).paths())) == 1


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/passwd", "..", "a\\..\\b", "\x00", "CON:", "~root", ""]
)
def test_no_name_in_a_record_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    """Such a record can be made by hand: its key fits its specification."""
    folder = tmp_path / "folder"
    one = run(0.9, rule=name, task=name, network=f"{name}:depth=2")
    Store(folder).put(one)
    (path,) = Store(folder).paths()
    assert read(path) == one
    assert path.resolve().is_relative_to(folder.resolve())
    assert {item.name for item in tmp_path.iterdir()} == {"folder"}


def test_a_machine_with_a_path_for_a_name_stays_in_the_folder(tmp_path: Path) -> None:
    Store(tmp_path / "folder").put(cost(machine="../../x"))
    assert {item.name for item in tmp_path.iterdir()} == {"folder"}
    assert [record.spec for record in Store(tmp_path / "folder").records()] == [spec()]


@pytest.mark.parametrize("name", ["seed", "epochs", "batch_size", "task_version"])
def test_a_number_that_no_table_holds_is_refused(name: str, tmp_path: Path) -> None:
    """The key fits, so only the number itself can give it away; pandas would fail on the whole folder."""
    data = json.loads(to_json(run(0.9)))
    data["spec"][name] = 10**30
    data["key"] = Spec(**data["spec"]).key
    path = tmp_path / "seed-0-0123456789ab.json"
    path.write_text(json.dumps(data))
    with pytest.raises(CreditbenchError, match=f"'{name}' is 10*, which is too large"):
        read(path)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("cost", "operations", {"forward": {"macs": "many"}}),
        ("cost", "operations", {"forward": 3.0, "credit": None, "update": {"macs": [1]}}),
        ("cost", "operations", {"forward": 3.0}),
        ("cost", "peak_bytes_by_kind", {"parameters": "x"}),
        ("cost", "peak_bytes_by_kind", {"parameters": 10**30}),
        ("cost", "uncounted_operations", {"aten::add": {}}),
        ("cost", "step_seconds_quartiles", ["a", "b"]),
        ("run", "alignment", [{"epoch": 0, "cosine": {"0": "up"}, "norm_ratio": {}}]),
        ("run", "alignment", [{"epoch": 0, "cosine": [], "norm_ratio": {}}]),
        ("run", "alignment", [{"epoch": 0, "cosine": {"0": 10**400}, "norm_ratio": {}}]),
        ("run", "alignment", 3),
        ("run", "curve", {"1": 0.5}),
        ("run", "digest", {"loss": {"a": 1}}),
    ],
)
def test_figures_of_the_wrong_kind_are_refused_and_crash_no_table(
    kind: str, name: str, value: object, tmp_path: Path
) -> None:
    record = run(0.9) if kind == "run" else cost()
    store = Store(tmp_path)
    store.put(run(0.8, seed=7))
    path = store.put(record)
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    frame, problems = read_results(tmp_path)
    assert frame["score"].tolist()[-1] == 0.8
    assert len(problems) == 1
    assert "not a readable record" in problems[0]


def test_a_cost_that_lacks_a_phase_is_still_shown(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(run(0.9))
    store.put(cost(operations={"forward": {"macs": 3.0}}))
    frame, problems = read_results(tmp_path)
    assert problems == []
    assert frame["forward_macs_per_sample"].tolist() == [3.0]
