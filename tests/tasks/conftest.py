"""No test downloads anything: data is what CREDITBENCH_DATA names, and what needs it skips without."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pooch
import pytest

from creditbench.suite.registry import load
from creditbench.suite.types import Splits

# Where a task's files lie below CREDITBENCH_DATA; a task that is not named needs none.
FOLDERS = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "kmnist": "KMNIST",
    "cifar10": "cifar-10-batches-bin",
    "nmnist-1k": "NMNIST/Train/0",
    "nmnist": "NMNIST/Train/8/60000.bin",  # a recording that only the whole set may have
    "poker-dvs": "POKERDVS",
    "event-smnist": "MNIST",
    "walker2d": "walker",
    "physionet-2012": "PhysioNet2012",
    "person-activity-tenth-a": "PersonActivity",
    "person-activity-tenth-b": "PersonActivity",
    "person-activity-a": "PersonActivity",
    "person-activity-b": "PersonActivity",
    "japanese-vowels": "JapaneseVowels",
    "character-trajectories-100-drop-30": "CharacterTrajectories",
    "character-trajectories-100-drop-50": "CharacterTrajectories",
    "character-trajectories-100-drop-70": "CharacterTrajectories",
    "dvs-gesture": "DVSGesture",
    "shd": "SHD",
}
# Tasks over a whole file of which a part may lie at the same place: the size that it has.
WHOLE = dict.fromkeys(
    ("person-activity-a", "person-activity-b"), ("PersonActivity/ConfLongDemo_JSI.txt", 20000000)
)


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(url: str, **_: Any) -> NoReturn:
        raise AssertionError(f"a test asked for {url}")

    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is binned in a test is kept among its own files: small ones pass for published ones there."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)


@pytest.fixture(scope="session")
def splits_of() -> Callable[[str], Splits]:
    """The splits of a task by its name, read once; skips where its files are not at hand."""

    @cache
    def read(name: str) -> Splits:
        splits: Splits = load("task", name).read()
        return splits

    def splits_of(name: str) -> Splits:
        if name in FOLDERS:
            folder = os.environ.get("CREDITBENCH_DATA")
            if not folder:
                pytest.skip(f"the files of {name} are needed: CREDITBENCH_DATA is not set")
            if not (Path(folder) / FOLDERS[name]).exists():
                pytest.skip(f"the files of {name} are needed: CREDITBENCH_DATA has no {FOLDERS[name]}")
            if name in WHOLE:
                file, least = WHOLE[name]
                if (Path(folder) / file).stat().st_size < least:
                    pytest.skip(f"the whole {file} is needed: only a part of it is at hand")
            if name.startswith("character-trajectories"):
                pytest.importorskip("rdata")
        return read(name)

    return splits_of
