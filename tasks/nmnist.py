"""N-MNIST: MNIST's digits on a screen before an event camera that moves in three saccades; whole, and a part.

A recording is a file of five bytes an event: x, y, then one bit of polarity (1: brighter) and 23 bits of
time [µs], most significant first. Folders are classes and file names numbers, those of MNIST's images plus
one. Where CREDITBENCH_DATA has them unpacked they are read as they lie, else out of the published archives.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.events import EVENT, Binning, Events, EventTask, Labelled, read_binned
from creditbench.tasks.files import VARIABLE, DataFile, fetch, folder_of_the_user

BASE = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files/"
# The md5s are those that tonic publishes: the archives were not at hand to compute a SHA-256 from.
ARCHIVES = {
    "Train": DataFile(
        "NMNIST/train.zip",
        f"{BASE}39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        "md5:20959b8e626244a1b502305a9e6e2031",
    ),
    "Test": DataFile(
        "NMNIST/test.zip",
        f"{BASE}05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
        "md5:69ca8762b2fe404d9b9bad1103e97832",
    ),
}
FULL = {"Train": 60_000, "Test": 10_000}
PART = {"Train": 1_000, "Test": 100}
# The part's recordings, class after class, number after number: SHA-256 over each class's bytes.
PART_SHA256: Mapping[str, tuple[str, ...]] = {
    "Train": (
        "1b734c7e720593463bbfee9fdb911db55a23b72a4d631b3c29f3742e16c8f737",
        "72011930c0af42c53827aa1e6edc0006dd6a14e1ebea5f2147da8e1460c26742",
        "864371b08904db61960ebe4a7767d54b77cc0578de7eb4587b89e9383cebc3be",
        "1a18c4fc82f6735a0b1315c2624c3412753c39d09efdcafb5b836bda4a49e3b4",
        "5cff1a71e0dc4d21a5bd037cb0b41a03f8692cfbb654bd7522f315c05c005018",
        "bc7b5ce61d1d7aa293a87316af2bb704758ad6834b8ff79d62ab6d400e7b59f9",
        "93e6cb0bd9eb27fb5df37b7077fcf1ca0bfa0af39c6417a42d3dd6c0c34a148a",
        "8f71c7e846d3a10b0a64143efa8e0c24f207d8a8f4116b45925007ae57d15d6b",
        "7ff7f206154053cc118c1577699c72ed01189d9c70b38844be01c4421fff5c50",
        "2ecf5c64ea21398f0c5ea274cdabfbba55c824521942166e8a3415969c7dbb33",
    ),
    "Test": (
        "3643f47396b2cf31b7d65d48dd5e6246db1f4893e607c25bddea689a8bd930c0",
        "a71339aff948acb4b9ad1aa43264f992c85752a7394edac1ac63328701c601b5",
        "4fe00cc7b0b1fd4cfea4ebd552513761f1e94dd6fc67f1d1b80a89e677677ce0",
        "0c5a2204d800f0875bcb4de2400e22aa7536e3c32e5bddafdaa84fe0d325a8d5",
        "777562a9576bffdad90bf87821f0f295b265b5092239f534c4fffd93622957cc",
        "4180667bbf23330b7d45be96137a1b23fa1531f51605520d132a44c8f6ca0414",
        "faf214d3fabdc7d5e06b8e20c25f7c052f4bde87e0bbfdf230db2e1b3defada1",
        "adf08ef3f1636836cbc80cfd819976c89fc6b437995f403cd8ac512e7e120b37",
        "59e3f095391dc36e1141de15d4a98561edea77a1d1160990d429b477fa07ca1f",
        "295e1c5ec2c7ea818a2760b1f46f511c2f1b480ae9f8794b352c5f42153a0bac",
    ),
}
BINNING = Binning(width=34, height=34, polarities=2, steps=10, time_step=30_000)


def parse(content: bytes, where: str) -> Events:
    """The events of a recording. Raises CreditbenchError, with its name, for what is no recording."""
    if not content or len(content) % 5:
        raise CreditbenchError(
            f"{where} is no N-MNIST recording: {len(content)} bytes are no whole number of 5-byte events;"
            " replace it."
        )
    raw = np.frombuffer(content, np.uint8).reshape(-1, 5)
    events = np.empty(len(raw), EVENT)
    events["x"], events["y"], events["p"] = raw[:, 0], raw[:, 1], raw[:, 2] >> 7
    high, middle, low = (raw[:, 2] & 127).astype(np.int64), raw[:, 3].astype(np.int64), raw[:, 4]
    events["t"] = high << 16 | middle << 8 | low
    if (np.diff(events["t"]) < 0).any():
        raise CreditbenchError(f"{where} is damaged: its time runs backwards; replace it.")
    return events


def contents(half: str, wanted: Mapping[str, int]) -> Iterable[tuple[str, int, int, bytes]]:
    """Name, number, class and bytes of the first `wanted` recordings of a half, by number."""
    folder = folder_of_the_user()
    unpacked = None if folder is None else folder / "NMNIST" / half
    if unpacked is not None and unpacked.is_dir():
        names = {str(p.relative_to(unpacked.parent)): p for p in unpacked.glob("*/*.bin")}
        for name, number, label in _listed(names, half, wanted, str(unpacked)):
            yield name, number, label, names[name].read_bytes()
        return
    archive = fetch(ARCHIVES[half])
    with zipfile.ZipFile(archive) as zipped:
        for name, number, label in _listed(zipped.namelist(), half, wanted, str(archive)):
            try:
                yield name, number, label, zipped.read(name)
            except (zipfile.BadZipFile, zlib.error) as error:
                raise CreditbenchError(f"{name} in {archive} is damaged ({error}); replace it.") from error


def _listed(
    names: Iterable[str], half: str, wanted: Mapping[str, int], where: str
) -> list[tuple[str, int, int]]:
    """(name, number, class) of the recordings numbered from 1 to what is wanted, none missing or twice."""
    found: dict[int, tuple[str, int, int]] = {}
    for name in names:
        match = re.fullmatch(rf"{half}/(\d)/(\d+)\.bin", name)
        if match is None or int(match[2]) > wanted[half]:
            continue
        if int(match[2]) in found:
            raise CreditbenchError(f"{where} has the recordings {found[int(match[2])][0]} and {name}; one is"
                                   " in a wrong folder, remove it.")  # fmt: skip
        found[int(match[2])] = name, int(match[2]), int(match[1])
    missing = [number for number in range(1, wanted[half] + 1) if number not in found]
    if missing:
        raise CreditbenchError(
            f"{where} lacks {len(missing):,} of {wanted[half]:,} recordings, the first of them number"
            f" {missing[0]:05d}; complete it, or unset {VARIABLE} to have the archive downloaded. The task"
            " nmnist-1k needs the first 1,000 and 100 only."
        )
    return [found[number] for number in sorted(found)]


def recordings(half: str, wanted: Mapping[str, int], first: int, last: int) -> Iterable[Labelled]:
    """Those numbered from `first` to `last`, with their classes."""
    for name, number, label, content in contents(half, wanted):
        if first <= number <= last:
            yield name, parse(content, name), label


def read(name: str, version: int, wanted: Mapping[str, int], train: int, source: str) -> Splits:
    """Training from the first recordings of the training half, validation from the rest of it."""
    parts = {
        "train": partial(recordings, "Train", wanted, 1, train),
        "validation": partial(recordings, "Train", wanted, train + 1, wanted["Train"]),
        "test": partial(recordings, "Test", wanted, 1, wanted["Test"]),
    }
    return read_binned(name, version, BINNING, source, parts)


def read_part() -> Splits:
    """nmnist-1k, every recording verified; a damaged one is named by its class's folder at least."""
    found: list[str] = []
    for half in PART:
        sums = [hashlib.sha256() for _ in range(10)]
        for name, _, label, content in contents(half, PART):
            parse(content, name)  # says which, where the damage shows
            sums[label].update(content)
        for label, (own, known) in enumerate(zip(sums, PART_SHA256[half], strict=True)):
            if own.hexdigest() != known:
                raise CreditbenchError(
                    f"The recordings below {half}/{label} are not those that the task nmnist-1k is made of:"
                    f" expected sha256:{known}, found sha256:{own.hexdigest()}; replace them."
                )
            found.append(known)
    source = hashlib.sha256(" ".join(found).encode()).hexdigest()
    return read("nmnist-1k", NMNIST_1K.version, PART, 900, source)


def read_full() -> Splits:
    """nmnist, from verified archives or from as many recordings as there must be."""
    return read("nmnist", NMNIST.version, FULL, 55_000, _stamp())


def _stamp() -> str:
    """What the cache is told the recordings are: the archives' hashes, or names, sizes and times of files."""
    folder = folder_of_the_user()
    stamps = []
    for half, archive in ARCHIVES.items():
        unpacked = None if folder is None else Path(folder, "NMNIST", half)
        if unpacked is not None and unpacked.is_dir():
            stats = ((p, p.stat()) for p in sorted(unpacked.glob("*/*.bin")))
            stamps += [f"{p} {stat.st_size} {stat.st_mtime_ns}" for p, stat in stats]
        else:
            stamps.append(archive.hash)
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()


NMNIST_1K = EventTask(
    name="nmnist-1k",
    version=1,
    kind="events",
    input_shape=(10, 2, 34, 34),
    classes=10,
    read=read_part,
    time_step=0.030,
    target_score=0.80,
    summary="The first 1,000 and 100 recordings of N-MNIST, a small part of it, for where the whole is not.",
    licence="CC BY-SA 4.0",
    source="Orchard, Jayawant, Cohen and Thakor (2015), Frontiers in Neuroscience 9:437."
    " doi:10.3389/fnins.2015.00437",
)

NMNIST = EventTask(
    name="nmnist",
    version=1,
    kind="events",
    input_shape=(10, 2, 34, 34),
    classes=10,
    read=read_full,
    time_step=0.030,
    target_score=0.95,
    summary="MNIST's digits on a screen before an event camera that moves in three saccades.",
    licence="CC BY-SA 4.0",
    source="Orchard, Jayawant, Cohen and Thakor (2015), Frontiers in Neuroscience 9:437."
    " doi:10.3389/fnins.2015.00437",
)
