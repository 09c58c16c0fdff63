"""MNIST and its two drop-in successors: grey images of 28 by 28 pixels in the idx format.

One reader serves all three, as the successors copied the files' names, format and sizes.
"""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import DataFile, fetch

NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
TRAIN = 55_000  # of the 60,000 in the training files; the others are for validation


def _files(folder: str, base: str, *digests: str) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(f"{folder}/raw/{name}-ubyte.gz", f"{base}{name}-ubyte.gz", f"sha256:{digest}")
        for name, digest in zip(NAMES, digests, strict=True)
    )


MNIST_FILES = _files(
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
)
FASHION_MNIST_FILES = _files(
    "FashionMNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
)
# No file was at hand: these are the SHA-256s that TensorFlow Datasets publishes for these addresses.
# (torchvision publishes the md5s bdb82020997e1d708af4cf47b453dcf7, e144d726b3acfaa3e44228e80efcd344,
# 5c965bf0a639b31b8f53240b1b52f4d7 and 7320c461ea6c1c855c0b718fb2a4b134.)
KMNIST_FILES = _files(
    "KMNIST",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
    "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
    "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
    "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
)


def parse_idx(content: bytes, shape: tuple[int, ...], where: Path | str) -> Tensor:
    """The unsigned bytes of an idx file, uint8 [*shape]; anything but exactly that shape is an error.

    Two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as four bytes,
    most significant first, and then the values."""
    header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    if content[: len(header)] != header:
        raise CreditbenchError(
            f"{where} is not an idx file of {' x '.join(map(str, shape))} bytes: it begins with"
            f" {content[: len(header)].hex()}, not {header.hex()}; replace it."
        )
    values = bytearray(content[len(header) :])  # torch wants memory that may be written to
    if len(values) != math.prod(shape):
        raise CreditbenchError(f"{where} has {len(values)} values instead of {math.prod(shape)}; replace it.")
    return torch.frombuffer(values, dtype=torch.uint8).view(shape)


def read_idx(path: Path, *shape: int) -> Tensor:
    """As `parse_idx`, from a gzip file."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise CreditbenchError(f"{path} is not a whole gzip file ({error}); replace it.") from error
    return parse_idx(content, shape, path)


def read(files: tuple[DataFile, ...]) -> Splits:
    """The splits, in the order of the files."""
    images, labels, test_images, test_labels = map(fetch, files)
    inputs, targets = read_idx(images, 60_000, 28, 28).unsqueeze(1), read_idx(labels, 60_000).long()
    return Splits(
        train=Split(inputs[:TRAIN], targets[:TRAIN]),
        validation=Split(inputs[TRAIN:], targets[TRAIN:]),
        test=Split(read_idx(test_images, 10_000, 28, 28).unsqueeze(1), read_idx(test_labels, 10_000).long()),
    )


MNIST = Task(
    name="mnist",
    version=1,
    kind="image",
    input_shape=(1, 28, 28),
    classes=10,
    read=partial(read, MNIST_FILES),
    offset=(33.3328,),  # of the training split
    scale=(78.5901,),
    target_score=0.97,
    summary="Handwritten digits, 28 x 28 pixels: the field's oldest yardstick, and an easy one.",
    licence="CC BY-SA 3.0",
    source="LeCun, Bottou, Bengio and Haffner (1998), Proceedings of the IEEE 86(11). doi:10.1109/5.726791",
)

FASHION_MNIST = Task(
    name="fashion-mnist",
    version=1,
    kind="image",
    input_shape=(1, 28, 28),
    classes=10,
    read=partial(read, FASHION_MNIST_FILES),
    offset=(72.8834,),  # of the training split
    scale=(89.999,),
    target_score=0.87,
    summary="Pictures of clothes, 28 x 28 grey pixels: like MNIST and harder.",
    licence="MIT",
    source="Xiao, Rasul and Vollgraf (2017). arXiv:1708.07747",
)

KMNIST = Task(
    name="kmnist",
    version=1,
    kind="image",
    input_shape=(1, 28, 28),
    classes=10,
    read=partial(read, KMNIST_FILES),
    offset=(48.909,),  # 255 x 0.1918, the mean in common use; no file was at hand to compute it from
    scale=(88.8165,),  # 255 x 0.3483, likewise
    target_score=0.93,
    summary="Cursive Japanese characters, 28 x 28 grey pixels: like MNIST and harder.",
    licence="CC BY-SA 4.0",
    source='Clanuwat et al. (2018). arXiv:1812.01718; "KMNIST Dataset" (created by CODH), adapted from'
    ' "Kuzushiji Dataset" (created by NIJL and others), doi:10.20676/00000341',
)
