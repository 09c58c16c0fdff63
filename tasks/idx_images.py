"""MNIST and its successors: 28 x 28 grey images in ten classes, stored as idx files.

Training is the first 55,000 images of the training file, validation its last 5,000, test the test
file's 10,000. Offset and scale are mean and standard deviation of the training pixels.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import DataFile, path_of

VALIDATION = 5_000
NAMES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)  # fmt: skip


def parse_idx(data: bytes, where: str) -> Tensor:
    """The tensor of an idx file of unsigned bytes: two zeros, the type 8, the number of dimensions, each
    dimension as four bytes, the values. Raises CreditbenchError for anything else."""
    problem = None
    if len(data) < 4 or data[:3] != b"\0\0\x08":
        problem = "it does not start as an idx file of unsigned bytes"
    else:
        count = data[3]
        start = 4 + 4 * count
        shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4)]
        if count == 0 or len(data) != start + prod(shape):
            problem = f"it holds {len(data)} bytes and its header announces {start + prod(shape)}"
    if problem:
        raise CreditbenchError(f"{where} is corrupt: {problem}. Delete it and run again.")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def read_idx(path: Path) -> Tensor:
    """The tensor of a gzipped idx file."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise CreditbenchError(f"{path} is corrupt: {error}. Delete it and run again.") from error
    return parse_idx(data, str(path))


def read_splits(folder: str, home: str, hashes: Mapping[str, str]) -> Splits:
    """The three splits; `folder` holds raw/*.gz below the data folder, `home` is where they come from."""
    images, labels, test_images, test_labels = (
        read_idx(path_of(DataFile(f"{folder}/raw/{name}.gz", hashes[name], f"{home}{name}.gz")))
        for name in NAMES
    )
    for x, y in ((images, labels), (test_images, test_labels)):
        if x.shape[1:] != (28, 28) or len(x) != len(y) or int(y.max()) > 9:
            raise CreditbenchError(
                f"{folder} is not ten classes of 28 x 28 images: images {list(x.shape)}, labels {list(y.shape)}."
            )
    x, y = images.unsqueeze(1), labels.long()
    return Splits(
        train=Split(x[:-VALIDATION], y[:-VALIDATION]),
        validation=Split(x[-VALIDATION:], y[-VALIDATION:]),
        test=Split(test_images.unsqueeze(1), test_labels.long()),
    )


def _reader(folder: str, home: str, *hashes: str) -> Callable[[], Splits]:
    return partial(read_splits, folder, home, dict(zip(NAMES, hashes, strict=True)))


MNIST = Task(
    name="mnist",
    version=1,
    kind="image",
    summary="Handwritten digits: 55,000 / 5,000 / 10,000 images of 28 x 28",
    licence="CC BY-SA 3.0",
    source="LeCun, Bottou, Bengio & Haffner (1998), Proceedings of the IEEE 86, 2278-2324",
    input_shape=(1, 28, 28),
    classes=10,
    offset=(33.333,),
    scale=(78.590,),
    read=_reader(
        "MNIST",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

FASHION_MNIST = Task(
    name="fashion-mnist",
    version=1,
    kind="image",
    summary="Articles of clothing: 55,000 / 5,000 / 10,000 images of 28 x 28",
    licence="MIT",
    source="Xiao, Rasul & Vollgraf (2017). arXiv:1708.07747",
    input_shape=(1, 28, 28),
    classes=10,
    offset=(72.883,),
    scale=(89.999,),
    read=_reader(
        "FashionMNIST",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)

KMNIST = Task(
    name="kmnist",
    version=1,
    kind="image",
    summary="Handwritten Japanese characters: 55,000 / 5,000 / 10,000 images of 28 x 28",
    licence="CC BY-SA 4.0",
    source="Clanuwat et al. (2018). arXiv:1812.01718",
    input_shape=(1, 28, 28),
    classes=10,
    offset=(0.1918 * 255,),  # as usually published, for all 60,000 images: no file was at hand
    scale=(0.3483 * 255,),
    read=_reader(
        "KMNIST",
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        # Published (torchvision) md5 sums: no file was at hand to compute a SHA-256 from.
        "md5:bdb82020997e1d708af4cf47b453dcf7",
        "md5:e144d726b3acfaa3e44228e80efcd344",
        "md5:5c965bf0a639b31b8f53240b1b52f4d7",
        "md5:7320c461ea6c1c855c0b718fb2a4b134",
    ),
)
