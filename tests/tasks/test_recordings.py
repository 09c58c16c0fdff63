"""Published event recordings: their formats on small files, damage named, and the subsets at hand."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks import dvs_gesture, nmnist, poker_dvs, shd
from creditbench.tasks.files import VARIABLE, DataFile

SplitsOf = Callable[[str], Splits]


def five_bytes(events: list[tuple[int, int, int, int]]) -> bytes:
    """x, y, t, p as N-MNIST writes them."""
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, t, p in events)


SOME = [(1, 2, 300, 0), (33, 0, 70_000, 1), (5, 33, 8_388_607, 1)]


def test_five_bytes_are_an_event() -> None:
    assert nmnist.parse(five_bytes(SOME), "r")[["x", "y", "t", "p"]].tolist() == [
        (x, y, t, bool(p)) for x, y, t, p in SOME
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (five_bytes(SOME)[:-1], "14 bytes"), (five_bytes(SOME[::-1]), "backwards")],
)
def test_a_damaged_recording_is_named(content: bytes, words: str) -> None:
    with pytest.raises(CreditbenchError, match=f"Train/5/00001.bin.*{words}"):
        nmnist.parse(content, "Train/5/00001.bin")


def test_tonic_reads_the_same_events(tmp_path: Path) -> None:
    tonic = pytest.importorskip("tonic", reason="tonic is not installed")
    file = tmp_path / "00001.bin"
    file.write_bytes(five_bytes(SOME))
    theirs = tonic.io.read_mnist_file(str(file), dtype=tonic.datasets.NMNIST.dtype)
    ours = nmnist.parse(file.read_bytes(), "r")
    for name in "xytp":
        assert (theirs[name] == ours[name]).all()


@pytest.fixture
def small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An N-MNIST of four and two recordings, unpacked in a data folder of the user's."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(nmnist, "FULL", {"Train": 4, "Test": 2})
    for half, label, number in (
        ("Train", 3, 1), ("Train", 0, 2), ("Train", 3, 3), ("Train", 9, 4), ("Test", 1, 1), ("Test", 2, 2),
    ):  # fmt: skip
        path = tmp_path / "NMNIST" / half / str(label) / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(five_bytes([(number, label, 31_000, 1)]))
    return tmp_path / "NMNIST"


def read_small() -> Splits:
    return nmnist.read("small", 1, nmnist.FULL, 3, nmnist._stamp())


def test_files_of_the_users_are_used_as_they_lie(small_set: Path) -> None:
    splits = read_small()
    assert splits.train.targets.tolist() == [3, 0, 3]
    assert splits.validation.targets.tolist() == [9]
    assert splits.test.targets.tolist() == [1, 2]
    spikes = nmnist.NMNIST.prepare(splits.train.inputs)
    assert spikes.nonzero().tolist() == [[0, 1, 1, 3, 1], [1, 1, 1, 0, 2], [2, 1, 1, 3, 3]]


def test_the_archives_are_read_without_unpacking_them(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = read_small()
    archives = {}
    for half in ("Train", "Test"):
        archive = tmp_path / f"{half}.zip"
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(f"{half}/readme.txt", "hello")
            for file in (small_set / half).rglob("*.bin"):
                zipped.write(file, file.relative_to(small_set))
        archives[half] = archive
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(nmnist, "fetch", lambda file: archives[Path(file.name).stem.title()])
    packed = nmnist.read("small", 1, nmnist.FULL, 3, "archives")
    assert packed.train.inputs.equal(unpacked.train.inputs)
    assert packed.test.targets.equal(unpacked.test.targets)
    content = bytearray(archives["Train"].read_bytes())
    at = content.index(five_bytes([(3, 3, 31_000, 1)]))
    content[at] ^= 1
    archives["Train"].write_bytes(content)
    with pytest.raises(CreditbenchError, match=r"Train/3/00003\.bin in .* is damaged"):
        nmnist.read("small", 1, nmnist.FULL, 3, "damaged archives")


def test_a_part_is_not_taken_for_the_whole(small_set: Path) -> None:
    (small_set / "Train" / "0" / "00002.bin").unlink()
    with pytest.raises(CreditbenchError, match=r"lacks 1 of 4 recordings.*number 00002.*nmnist-1k"):
        read_small()


def test_a_recording_in_two_classes_is_refused(small_set: Path) -> None:
    (small_set / "Train" / "5").mkdir()
    (small_set / "Train" / "5" / "00002.bin").write_bytes(five_bytes(SOME))
    with pytest.raises(CreditbenchError, match="wrong folder"):
        read_small()


def test_another_file_means_that_it_is_binned_anew(small_set: Path) -> None:
    read_small()
    (small_set / "Train" / "0" / "00002.bin").write_bytes(five_bytes([(7, 7, 31_000, 0), (8, 8, 31_001, 0)]))
    assert nmnist.NMNIST.prepare(read_small().train.inputs)[1].sum() == 2


def test_the_subset_is_verified_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(os.environ.get(VARIABLE, ""), "NMNIST")
    if not (source / "Train" / "0").is_dir():
        pytest.skip("the files of nmnist-1k are needed: CREDITBENCH_DATA is not set or has no NMNIST")
    for half in ("Train", "Test"):
        for file in (source / half).rglob("*.bin"):
            copy = tmp_path / "NMNIST" / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(file)
    changed = tmp_path / "NMNIST" / "Test" / "7" / "00001.bin"
    content = bytearray(changed.read_bytes())
    content[0] ^= 1
    changed.unlink()
    changed.write_bytes(content)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(CreditbenchError, match="below Test/7 are not those"):
        nmnist.read_part()


# ----------------------------------------------------------------------------- POKER-DVS


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_poker_recording_is_four_columns() -> None:
    events = poker_dvs.parse(saved(np.array([[16, 3, 4, 1]], np.uint64)), "cl/0.npy")
    assert [int(events[name][0]) for name in "txyp"] == [16, 3, 4, 1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nothing", "no numpy file"),
        (saved(np.zeros((3, 5), int)), "3, 5"),
        (saved(np.zeros((3, 4))), "float64"),
        (saved(np.array([{}])), "no numpy file"),
    ],
)
def test_what_is_no_poker_recording_is_named(content: bytes, words: str) -> None:
    with pytest.raises(CreditbenchError, match=f"cl/0.npy.*{words}"):
        poker_dvs.parse(content, "cl/0.npy")


def test_a_damaged_poker_archive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "pips.tar.gz"
    archive.write_bytes(b"\x1f\x8b nothing")
    monkeypatch.setattr(poker_dvs, "fetch", lambda file: archive)
    with pytest.raises(CreditbenchError, match=r"pips\.tar\.gz cannot be read"):
        list(poker_dvs.recordings(DataFile("x", "y", "z"), 0, 1))


# ----------------------------------------------------------------------------- DVS128 Gesture


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def gestures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One recording of four people: x is the person's number, in the second step."""

    def of(user: int, label: int) -> dict[str, bytes]:
        where = f"{'ibmGestureTrain' if user < 24 else 'ibmGestureTest'}/user{user:02d}_led/{label}.npy"
        return {where: saved(np.array([[user, 3, 1, 80.5]]))}

    train = of(1, 4) | of(21, 10) | of(22, 0) | {"ibmGestureTrain/README.txt": b"hello"}
    archives = {
        dvs_gesture.TRAIN: tarred(tmp_path / "train.tar.gz", train),
        dvs_gesture.TEST: tarred(tmp_path / "test.tar.gz", of(29, 7)),
    }
    monkeypatch.setattr(dvs_gesture, "fetch", archives.__getitem__)


@pytest.mark.usefixtures("gestures")
def test_gestures_are_split_by_people_and_times_are_milliseconds() -> None:
    splits = dvs_gesture.read()
    assert splits.train.targets.tolist() == [4, 10]
    assert splits.validation.targets.tolist() == [0]
    assert splits.test.targets.tolist() == [7]
    spikes = dvs_gesture.DVS_GESTURE.prepare(splits.train.inputs)
    assert spikes.nonzero().tolist() == [[0, 1, 1, 3, 1], [1, 1, 1, 3, 21]]


def test_what_is_no_gesture_is_named() -> None:
    with pytest.raises(CreditbenchError, match=r"user01_led/3\.npy is no recording of a gesture.*3, 5"):
        dvs_gesture.parse(saved(np.zeros((3, 5))), "user01_led/3.npy")


# ----------------------------------------------------------------------------- Spiking Heidelberg Digits


def test_spoken_digits_are_split_by_speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")

    def archive(half: str, speakers: list[int]) -> Path:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as data:
            for name, kind in (("spikes/times", np.float16), ("spikes/units", np.uint16)):
                data.create_dataset(name, (len(speakers),), dtype=h5py.vlen_dtype(kind))
            for number, speaker in enumerate(speakers):
                data["spikes/times"][number] = np.array([0.005, 0.25, 1.25], np.float16)
                data["spikes/units"][number] = np.array([speaker, 699, 5], np.uint16)
            data["labels"] = np.arange(len(speakers), dtype=np.uint16)
            data["extra/speaker"] = np.array(speakers, np.uint16)
        path = tmp_path / f"shd_{half}.h5.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr(f"shd_{half}.h5", stream.getvalue())
        return path

    archives = {shd.TRAIN: archive("train", [0, 11, 3]), shd.TEST: archive("test", [4])}
    monkeypatch.setattr(shd, "fetch", archives.__getitem__)
    splits = shd.read()
    assert splits.train.targets.tolist() == [0, 2]
    assert splits.validation.targets.tolist() == [1]
    spikes = shd.SHD.prepare(splits.train.inputs)
    # float16 has 0.25 exactly; the spike at 1.25 s is behind the last step
    assert spikes.nonzero().tolist() == [
        [0, 0, 0, 0, 0],
        [0, 25, 0, 0, 699],
        [1, 0, 0, 0, 3],
        [1, 25, 0, 0, 699],
    ]


def test_a_damaged_archive_of_spoken_digits_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("h5py", reason="h5py is not installed")
    broken = tmp_path / "shd_train.h5.zip"
    broken.write_bytes(b"PK nothing")
    monkeypatch.setattr(shd, "fetch", lambda file: broken)
    with pytest.raises(CreditbenchError, match=r"shd_train\.h5\.zip cannot be read"):
        list(shd.recordings(shd.TRAIN, lambda speaker: True))
