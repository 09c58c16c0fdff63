"""CIFAR-10: small colour photographs of ten kinds of animals and vehicles, from the binary version."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import DataFile, fetch_members

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
# The archive's hash is the md5 that its author publishes: it was not at hand to compute a SHA-256 from.
# Those of the files in it were computed.
ARCHIVE = DataFile(
    "cifar-10-binary.tar.gz",
    URL,
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
)
FILES = tuple(
    DataFile(f"cifar-10-batches-bin/{name}.bin", URL, f"sha256:{digest}")
    for name, digest in {
        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }.items()
)
RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue row by row
TRAIN = 45_000  # of the 50,000 in the training batches; the others are for validation


def parse_batch(content: bytes, where: Path | str) -> tuple[Tensor, Tensor]:
    """Images [samples, 3, 32, 32] and labels [samples] of one batch file."""
    if not content or len(content) % RECORD:
        raise CreditbenchError(
            f"{where} is not a CIFAR-10 batch: {len(content)} bytes are no whole number of {RECORD}-byte"
            " records; replace it."
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, RECORD)
    if records[:, 0].max() > 9:
        raise CreditbenchError(f"{where} is not a CIFAR-10 batch: it has a label above 9; replace it.")
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].long()


def read() -> Splits:
    """The splits, in the order of the files."""
    *batches, test = [parse_batch(p.read_bytes(), p) for p in fetch_members(ARCHIVE, FILES)]
    inputs = torch.cat([images for images, _ in batches])
    targets = torch.cat([labels for _, labels in batches])
    return Splits(
        train=Split(inputs[:TRAIN], targets[:TRAIN]),
        validation=Split(inputs[TRAIN:], targets[TRAIN:]),
        test=Split(*test),
    )


CIFAR10 = Task(
    name="cifar10",
    version=1,
    kind="image",
    input_shape=(3, 32, 32),
    classes=10,
    read=read,
    offset=(125.345, 122.9419, 113.8388),  # of the training split, red, green and blue
    scale=(63.0238, 62.1372, 66.7423),
    target_score=0.70,
    summary="Colour photographs of ten kinds of animals and vehicles, 32 x 32 pixels.",
    licence="none stated",
    source="Krizhevsky (2009), Learning multiple layers of features from tiny images",
)
