"""POKER-DVS: the suits of poker cards, browsed very fast before an event camera; 48 and 20 recordings.

An archive a split, with a numpy file [events, 4] for each recording: t [µs], x, y, polarity. Its folder's
name is its class. With so few recordings a single one is five points of the test score: for first steps with
real events, not for rankings.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterable
from functools import partial

import numpy as np

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.events import Binning, Events, EventTask, Labelled, read_binned
from creditbench.tasks.files import DataFile, fetch

BASE = "https://nextcloud.lenzgregor.com/s/"
TRAIN = DataFile(
    "POKERDVS/pips_train.tar.gz",
    f"{BASE}ZeCPYBS8kx4Wyjd/download/pips_train.tar.gz",
    "sha256:1ea38cdea0a46da6a8bce0f51b7a22b22a0922c14f73c5813a674810691eead5",
)
TEST = DataFile(
    "POKERDVS/pips_test.tar.gz",
    f"{BASE}2iRfwg3y9eAMpGL/download/pips_test.tar.gz",
    "sha256:97501f9ab11f0c71fe232a264788671e9c4052566e3fc48c662ef6a7692347f2",
)
SUITS = ("cl", "he", "di", "sp")
HELD_OUT = 3  # recordings of each suit, of twelve, that validate
BINNING = Binning(width=35, height=35, polarities=2, steps=15, time_step=2_000)


def parse(content: bytes, where: str) -> Events:
    """The events of a recording. Raises CreditbenchError, with its name, for what is no recording."""
    try:
        raw = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CreditbenchError(f"{where} is no numpy file ({error}); replace it.") from error
    if raw.ndim != 2 or raw.shape[1] != 4 or raw.dtype.kind not in "iu":
        raise CreditbenchError(
            f"{where} is no POKER-DVS recording: whole numbers [events, 4] were expected and it has"
            f" {raw.dtype} {list(raw.shape)}; replace it."
        )
    events = np.empty(len(raw), [("t", np.int64), ("x", np.int64), ("y", np.int64), ("p", np.int64)])
    for column, name in enumerate("txyp"):
        events[name] = raw[:, column]
    return events


def recordings(file: DataFile, first: int, last: int) -> Iterable[Labelled]:
    """Of each suit those from `first` up to but without `last`, in the order of their numbers."""
    path = fetch(file)
    try:
        with tarfile.open(path) as tar:
            members = {entry.name: entry for entry in tar.getmembers() if entry.name.endswith(".npy")}
            for label, suit in enumerate(SUITS):
                own = [name for name in members if name.split("/")[-2] == suit]
                own.sort(key=lambda name: int(name.rpartition("/")[2].removesuffix(".npy")))
                for name in own[first:last]:
                    content = tar.extractfile(members[name])
                    assert content is not None
                    yield name, parse(content.read(), name), label
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise CreditbenchError(f"{path} cannot be read ({error}); replace it.") from error


def read() -> Splits:
    """The splits: three recordings of each suit of the training archive are for validation."""
    parts = {
        "train": partial(recordings, TRAIN, 0, 12 - HELD_OUT),
        "validation": partial(recordings, TRAIN, 12 - HELD_OUT, 12),
        "test": partial(recordings, TEST, 0, 5),
    }
    return read_binned("poker-dvs", POKER_DVS.version, BINNING, TRAIN.hash + TEST.hash, parts)


POKER_DVS = EventTask(
    name="poker-dvs",
    version=1,
    kind="events",
    input_shape=(15, 2, 35, 35),
    classes=4,
    read=read,
    time_step=0.002,
    target_score=0.90,
    summary="Suits of poker cards before an event camera; 36 to learn from: first steps, no ranking.",
    licence="free for non-commercial use with credit to the source",
    source="Serrano-Gotarredona and Linares-Barranco (2015), Frontiers in Neuroscience 9:481."
    " doi:10.3389/fnins.2015.00481",
)
