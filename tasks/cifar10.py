"""CIFAR-10: 32 x 32 colour photographs in ten classes, from the binary version.

Training is the first 45,000 images of the five training batches, validation the last 5,000.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import DataFile, cache, data_folder, extract, path_of

VALIDATION = 5_000
BYTES = 1 + 3 * 32 * 32  # label, then red, green and blue planes

ARCHIVE = DataFile(
    "cifar-10-binary.tar.gz",
    # The published md5 sum: the archive was not at hand to compute a SHA-256 from. Its members' are below.
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
)
BATCHES = tuple(
    DataFile(f"cifar-10-batches-bin/{name}.bin", f"sha256:{digest}")
    for name, digest in (
        ("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        ("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        ("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        ("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        ("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    )
)


def parse_batch(data: bytes, where: str) -> tuple[Tensor, Tensor]:
    """Images [samples, 3, 32, 32] uint8 and labels [samples] int64 of one binary batch."""
    rows = np.frombuffer(data, np.uint8)
    if not len(rows) or len(rows) % BYTES or rows[::BYTES].max() > 9:
        raise CreditbenchError(f"{where} is not a batch of CIFAR-10; delete it and run again.")
    table = torch.from_numpy(rows.reshape(-1, BYTES).copy())
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0].long()


def read_splits() -> Splits:
    """The three splits, from the .bin files or, fetched, from the archive."""
    if data_folder() is None and not all((cache() / file.name).is_file() for file in BATCHES):
        extract(path_of(ARCHIVE), tuple(file.name for file in BATCHES), cache())
    parts = [parse_batch(path_of(file).read_bytes(), file.name) for file in BATCHES]
    x, y = (torch.cat([part[i] for part in parts[:-1]]) for i in (0, 1))
    return Splits(
        train=Split(x[:-VALIDATION], y[:-VALIDATION]),
        validation=Split(x[-VALIDATION:], y[-VALIDATION:]),
        test=Split(*parts[-1]),
    )


CIFAR10 = Task(
    name="cifar10",
    version=1,
    kind="image",
    summary="Photographs of ten kinds of things: 45,000 / 5,000 / 10,000 colour images of 32 x 32",
    licence="none stated",
    source="Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images",
    input_shape=(3, 32, 32),
    classes=10,
    offset=(125.3, 122.9, 113.8),
    scale=(63.0, 62.1, 66.7),
    read=read_splits,
)
