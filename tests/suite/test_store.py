"""A folder of records: atomic, inside its folder, nothing lost, no stale result vouched for."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import MACHINE, OTHER_MACHINE, cost, run, spec

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.record import Record, to_json
from creditbench.suite.store import Store, read, replacing


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_what_is_put_is_what_is_got(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.put(run(0.9), {"last": np.array([1, 2, 3])})
    store.put(cost())
    one = spec()
    assert path == tmp_path / "digits" / "mlp" / "bp" / f"seed-0-{one.key}.json"
    assert store.get(one) == run(0.9)
    assert store.get_cost(one, MACHINE) == cost()
    assert store.get(one.with_seed(1)) is None
    assert store.get_cost(one, OTHER_MACHINE) is None
    with np.load(path.with_suffix(".npz")) as arrays:
        assert arrays["last"].tolist() == [1, 2, 3]
    assert list(store.records()) == [cost(), run(0.9)]


def test_hyperparameters_that_json_changes_are_still_found(tmp_path: Path) -> None:
    one = run(0.9, hyperparameters={"sizes": (1, 2)})
    Store(tmp_path).put(one)
    found = Store(tmp_path).get(one.spec)
    assert found is not None
    assert found.score == 0.9


def test_a_reason_that_is_no_unicode_loses_no_run(tmp_path: Path) -> None:
    path = Store(tmp_path).put(run(0.9, reason="cannot open \udc80"))
    assert read(path) == run(0.9, reason="cannot open ?")


def test_a_replaced_record_is_moved_and_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for score in (0.7, 0.8, 0.9):
        store.put(run(score), {"last": np.array([score])})
    assert store.get(spec()) == run(0.9)
    attic = tmp_path / "superseded" / "digits" / "mlp" / "bp"
    old = sorted(attic.glob("*.json"))
    assert [read(path) for path in old] == [run(0.7), run(0.8)]
    for path, score in zip(old, (0.7, 0.8), strict=True):
        with np.load(path.with_suffix(".npz")) as arrays:
            assert arrays["last"].tolist() == [score]
    assert list(store.records()) == [run(0.9)]


def test_a_moved_record_never_lands_on_another(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for score in (0.6, 0.7, 0.8):
        store.put(run(score))
    attic = tmp_path / "superseded" / "digits" / "mlp" / "bp"
    next(attic.glob("*.0.json")).unlink()
    store.put(run(0.9))
    assert [read(path) for path in sorted(attic.glob("*.json"))] == [run(0.8), run(0.7)]  # .0 was free


def test_a_writer_that_fails_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    with replacing(path) as file:
        file.write(b"whole")

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"par")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"whole"
    assert files(tmp_path) == ["deep/file.json"]


def test_a_full_disk_is_a_sentence_and_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CreditbenchError, match="No space left on device"):
        Store(tmp_path).put(run(0.9), {"last": np.zeros(3)})
    assert files(tmp_path) == []


class Full:
    """A disk that is full from the n-th time on that something is done."""

    def __init__(self, name: str, after: int, patch: pytest.MonkeyPatch) -> None:
        self.left, self.real = after, getattr(os, name)
        patch.setattr(f"os.{name}", self)

    def __call__(self, *words: Any, **more: Any) -> Any:
        if self.left == 0:
            raise OSError(28, "No space left on device")
        self.left -= 1
        return self.real(*words, **more)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("fsync", 0),  # while the new predictions are written
        ("fsync", 1),  # while the new record is
        ("mkdir", 0),  # when the old one's place is made
        ("replace", 0),  # when the new predictions get their name
    ],
)
def test_a_disk_that_fills_up_while_a_record_is_replaced_leaves_the_old_one_in_its_place(
    name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    path = store.put(run(0.8), {"last": np.array([8])})
    store.revalidate(spec(), "a" * 12, 0.0)
    before = {item: (tmp_path / item).read_bytes() for item in files(tmp_path)}
    with monkeypatch.context() as patch:
        Full(name, after, patch)
        with pytest.raises(CreditbenchError, match="No space left on device"):
            store.put(run(0.9), {"last": np.array([9])})
    left = {item: (tmp_path / item).read_bytes() for item in files(tmp_path)}
    assert {item: content for item, content in left.items() if "superseded" not in item} == before
    assert store.get(spec()) == run(0.8)
    assert store.is_valid(run(0.8), "a" * 12)
    store.put(run(0.9), {"last": np.array([9])})  # there is room again
    assert store.get(spec()) == run(0.9)
    with np.load(path.with_suffix(".npz")) as arrays:
        assert arrays["last"].tolist() == [9]
    assert not list(path.parent.glob(".*"))


def test_a_disk_that_fills_up_while_the_old_record_is_kept_leaves_no_part_of_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system without links, where the old files have to be copied."""
    store = Store(tmp_path)
    store.put(run(0.8), {"last": np.array([8])})
    before = files(tmp_path)

    def none(*_: Any, **__: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", none)
    with monkeypatch.context() as patch:
        Full("fsync", 3, patch)  # two new files and the old predictions; the old record has no room
        with pytest.raises(CreditbenchError, match="No space left on device"):
            store.put(run(0.9), {"last": np.array([9])})
    assert files(tmp_path) == before
    store.put(run(0.9), {"last": np.array([9])})
    assert store.get(spec()) == run(0.9)
    (old,) = (tmp_path / "superseded").rglob("*.json")
    assert read(old) == run(0.8)


def test_a_record_is_readable_at_every_moment_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever the machine dies, one of the two is in its place."""
    store = Store(tmp_path)
    store.put(run(0.8), {"last": np.array([8])})
    seen: list[float] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*words: Any, **more: Any) -> Any:
            found = store.get(spec())
            assert found is not None
            seen.append(found.score or 0.0)
            return real(*words, **more)

        monkeypatch.setattr(f"os.{name}", call)

    for name in ("fsync", "replace", "link", "unlink", "mkdir"):
        watched(name)
    store.put(run(0.9), {"last": np.array([9])})
    assert seen == sorted(seen) != []
    assert store.get(spec()) == run(0.9)


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file")
    with pytest.raises(CreditbenchError, match="choose another folder"):
        store.put(run(0.9))


def test_a_note_that_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).put(run(0.9))

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)
    with pytest.raises(CreditbenchError, match="Permission denied"):
        Store(tmp_path).revalidate(spec(), "a" * 12, 0.0)


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "..", ".", "a/b", "a\\b", "", "\x00", "x\n", "é"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "inside")
    one = run(0.9, rule=name, task=name, network=name)
    made = cost(1e-3, name, machine=name, task=name, network=name)
    for record in (one, made):
        path = store.put(record)
        assert path.resolve().is_relative_to((tmp_path / "inside").resolve())
        assert len(path.relative_to(tmp_path / "inside").parts) == 4
    assert store.get(one.spec) == one
    assert store.get_cost(one.spec, name) == made
    assert {type(record) for record in store.records()} == {type(one), type(made)}
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_a_note_makes_a_run_valid_for_its_fingerprint_only(tmp_path: Path) -> None:
    store, one = Store(tmp_path), run(0.9)
    store.put(one)
    assert store.is_valid(one, one.fingerprint)
    assert not store.is_valid(one, "a" * 12)
    store.revalidate(one.spec, "a" * 12, 1e-6)
    assert store.is_valid(one, "a" * 12)
    assert not store.is_valid(one, "b" * 12)
    assert not store.is_valid(run(0.9, seed=1), "a" * 12)
    assert list(store.records()) == [one]  # the note is no record


def test_a_note_says_nothing_about_the_run_that_comes_after(tmp_path: Path) -> None:
    store, one = Store(tmp_path), run(0.9)
    store.put(one)
    store.revalidate(one.spec, "a" * 12, 1e-6)
    newer = dataclasses.replace(one, score=0.8, fingerprint="c" * 12)
    store.put(newer)
    assert not store.is_valid(newer, "a" * 12)
    assert sum("superseded" in name and ".same-" in name for name in files(tmp_path)) == 1
    assert sum(".same-" in name for name in files(tmp_path)) == 1  # it went with the run it is about


def test_a_note_says_nothing_about_a_run_that_was_copied_over(tmp_path: Path) -> None:
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    here.put(run(0.9))
    here.revalidate(spec(), "a" * 12, 1e-6)
    other = dataclasses.replace(run(0.8), fingerprint="c" * 12)
    there.put(other)
    shutil.copytree(there.folder, here.folder, dirs_exist_ok=True)
    assert here.get(spec()) == other
    assert not here.is_valid(other, "a" * 12)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "\x80"])
def test_a_broken_note_is_no_note(tmp_path: Path, text: str) -> None:
    store, one = Store(tmp_path), run(0.9)
    path = store.put(one)
    path.with_suffix(f".same-{'a' * 12}.json").write_text(text, encoding="latin-1")
    assert not store.is_valid(one, "a" * 12)


def test_there_is_no_note_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(CreditbenchError, match="no run to revalidate"):
        Store(tmp_path).revalidate(spec(), "a" * 12, 0.0)


def test_a_record_under_another_ones_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    shutil.copy(store.put(run(0.9)), store.run_path(spec(seed=1)))
    with pytest.raises(CreditbenchError, match="holds another run"):
        store.get(spec(seed=1))


def test_folders_merge_by_copying(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    one.put(run(0.9))
    one.put(cost())
    two.put(run(0.8, rule="dfa"))
    two.put(cost(2e-3, machine=OTHER_MACHINE))
    shutil.copytree(one.folder, two.folder, dirs_exist_ok=True)
    expected: list[Record] = [cost(), cost(2e-3, machine=OTHER_MACHINE), run(0.9), run(0.8, rule="dfa")]
    assert sorted(map(to_json, two.records())) == sorted(map(to_json, expected))


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(run(0.9))
    (tmp_path / "notes.json").write_text("mine")
    (tmp_path / "leaderboard.html").write_text("<html>")
    assert list(store.records()) == [run(0.9)]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = Store(tmp_path).put(run(0.9))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CreditbenchError, match=path.name):
        list(Store(tmp_path).records())


def test_a_record_has_no_name_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks while it is written, or after the machine died then, finds nothing rather than half."""
    seen: list[bool] = []
    move = os.replace

    def watched(source: str, target: Path) -> None:
        seen.append(Path(target).exists())
        move(source, target)

    monkeypatch.setattr("creditbench.suite.store.os.replace", watched)
    with replacing(tmp_path / "record.json") as file:
        file.write(b"{}")
    assert seen == [False]
    assert (tmp_path / "record.json").read_bytes() == b"{}"


def test_a_baseline_within_a_folder_is_a_collection_of_its_own(tmp_path: Path) -> None:
    Store(tmp_path).put(run(0.9))
    Store(tmp_path / "baseline").put(run(0.1, seed=1))
    assert list(Store(tmp_path).records()) == [run(0.9)]
    assert list(Store(tmp_path / "baseline").records()) == [run(0.1, seed=1)]
