"""MNIST and its successors."""

import gzip
import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.files import DataFile
from creditbench.tasks.idx_images import KMNIST, MNIST, NAMES, parse_idx, read, read_idx

SplitsOf = Callable[[str], Splits]
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)


def idx(values: np.ndarray) -> bytes:
    """Written from the format's description: magic number, sizes, values, most significant byte first."""
    head = np.array([0x0800 + values.ndim, *values.shape], dtype=">u4")
    return head.tobytes() + values.astype(np.uint8).tobytes()


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    shape = draw(shapes)
    size = math.prod(shape)
    return np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8).reshape(shape)


@given(arrays())
def test_an_array_comes_out_of_an_idx_file_as_it_went_in(values: np.ndarray) -> None:
    assert (parse_idx(idx(values), values.shape, "file").numpy() == values).all()


@given(arrays(), st.data())
def test_an_idx_file_with_any_other_header_is_refused(values: np.ndarray, data: st.DataObject) -> None:
    content = bytearray(idx(values))
    place = data.draw(st.integers(0, 3 + 4 * values.ndim))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CreditbenchError, match="file is not an idx file of"):
        parse_idx(bytes(content), values.shape, "file")


@given(arrays(), st.data())
def test_an_idx_file_that_was_cut_off_is_refused(values: np.ndarray, data: st.DataObject) -> None:
    content = idx(values)
    with pytest.raises(CreditbenchError, match="replace it"):
        parse_idx(content[: data.draw(st.integers(0, len(content) - 1))], values.shape, "file")


@given(arrays(), st.binary(min_size=1, max_size=5))
def test_an_idx_file_with_something_behind_it_is_refused(values: np.ndarray, more: bytes) -> None:
    with pytest.raises(
        CreditbenchError, match=f"has {values.size + len(more)} values instead of {values.size}"
    ):
        parse_idx(idx(values) + more, values.shape, "file")


def test_a_file_with_fewer_samples_than_it_should_have_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="not an idx file of 10 x 28 x 28 bytes"):
        parse_idx(idx(np.zeros((9, 28, 28))), (10, 28, 28), "file")


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:5], lambda c: b"junk", lambda c: b""])
def test_a_gzip_file_that_is_none_or_was_cut_off_is_refused(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(idx(np.arange(200)))))
    with pytest.raises(CreditbenchError, match=r"labels\.gz is not a whole gzip file|is not an idx file"):
        read_idx(path, 200)


def test_the_last_5000_training_samples_are_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbered(count: int) -> np.ndarray:
        """Images whose first two pixels hold their number."""
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
        return images

    files = []
    for name, count in zip(NAMES, (60_000, 60_000, 10_000, 10_000), strict=True):
        content = gzip.compress(idx(numbered(count) if "images" in name else np.arange(count) % 10), 1)
        (tmp_path / name).write_bytes(content)
        files.append(DataFile(name, "nowhere", f"sha256:{hashlib.sha256(content).hexdigest()}"))
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path))
    splits = read(tuple(files))
    for split, start, end in (
        (splits.train, 0, 55_000),
        (splits.validation, 55_000, 60_000),
        (splits.test, 0, 10_000),
    ):
        pixels = split.inputs[:, 0, 0, :2].long()
        assert (pixels[:, 0] * 256 + pixels[:, 1]).tolist() == list(range(start, end))
        assert split.targets.tolist() == [i % 10 for i in range(start, end)]


def test_a_damaged_file_is_one_sentence_with_both_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk")
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path))
    with pytest.raises(CreditbenchError) as caught:
        MNIST.read()
    for part in (str(path), "sha256:440fcabf", f"sha256:{hashlib.sha256(b'junk').hexdigest()}", "replace it"):
        assert part in str(caught.value)


def test_a_missing_file_is_named_with_the_folder_and_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path))
    with pytest.raises(CreditbenchError) as caught:
        KMNIST.read()
    name = "train-images-idx3-ubyte.gz"
    address = f"http://codh.rois.ac.jp/kmnist/dataset/kmnist/{name}"
    assert str(caught.value).startswith(f"KMNIST/raw/{name} is not in CREDITBENCH_DATA={tmp_path};")
    assert address in str(caught.value)


@pytest.mark.parametrize(
    ("name", "training", "test"),
    [
        (
            "mnist",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ),
        ("fashion-mnist", [6000] * 10, [1000] * 10),
        ("kmnist", [6000] * 10, [1000] * 10),
    ],
)
def test_each_class_is_as_frequent_as_published(
    name: str, training: list[int], test: list[int], splits_of: SplitsOf
) -> None:
    splits = splits_of(name)
    assert (splits.train.targets.bincount() + splits.validation.targets.bincount()).tolist() == training
    assert splits.test.targets.bincount().tolist() == test


@pytest.mark.parametrize(("name", "first"), [("mnist", 5), ("fashion-mnist", 9)])
def test_the_first_training_sample_is_the_one_every_tutorial_shows(
    name: str, first: int, splits_of: SplitsOf
) -> None:
    assert splits_of(name).train.targets[0] == first


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_the_test_images_are_those_of_the_file(name: str, folder: str, splits_of: SplitsOf) -> None:
    inputs = splits_of(name).test.inputs
    path = Path(os.environ["CREDITBENCH_DATA"], folder, "raw/t10k-images-idx3-ubyte.gz")
    assert gzip.decompress(path.read_bytes())[16:] == inputs.numpy().tobytes()
