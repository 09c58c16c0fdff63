"""DVS128 Gesture: eleven gestures of hands and arms before an event camera, by 29 people under three lights.

Read from the archives that tonic publishes, where every gesture is a numpy file [events, 4] with x, y,
polarity and time [ms], in a folder for each person and light; the file's name is its class. People 22 and 23
of the 23 of the training archive are for validation, since test people are strangers, too.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Collection, Iterable
from functools import partial

import numpy as np

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.events import Binning, Events, EventTask, Labelled, read_binned
from creditbench.tasks.files import DataFile, fetch

# The md5s are those that tonic publishes: the archives were not at hand to compute a SHA-256 from.
TRAIN = DataFile(
    "DVSGesture/ibmGestureTrain.tar.gz",
    "https://figshare.com/ndownloader/files/38022171",
    "md5:3a8f0d4120a166bac7591f77409cb105",
)
TEST = DataFile(
    "DVSGesture/ibmGestureTest.tar.gz",
    "https://figshare.com/ndownloader/files/38020584",
    "md5:56070e45dadaa85fff82e0fbfbc06de5",
)
EVERYONE = range(1, 30)
VALIDATION = (22, 23)
BINNING = Binning(width=128, height=128, polarities=2, steps=20, time_step=75_000)


def parse(content: bytes, where: str) -> Events:
    """The events of a recording. Raises CreditbenchError, with its name, for what is no recording."""
    try:
        raw = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise CreditbenchError(f"{where} is no numpy file ({error}); replace it.") from error
    if raw.ndim != 2 or raw.shape[1] != 4 or raw.dtype.kind not in "iuf":
        raise CreditbenchError(
            f"{where} is no recording of a gesture: numbers [events, 4] were expected and it has"
            f" {raw.dtype} {list(raw.shape)}; replace it."
        )
    events = np.empty(len(raw), [("x", np.int64), ("y", np.int64), ("p", np.int64), ("t", np.int64)])
    for column, (name, factor) in enumerate((("x", 1), ("y", 1), ("p", 1), ("t", 1000))):
        events[name] = raw[:, column] * factor
    return events


def recordings(file: DataFile, people: Collection[int]) -> Iterable[Labelled]:
    """The recordings of those people, in the order of their names."""
    path = fetch(file)
    try:
        with tarfile.open(path) as tar:
            for entry in sorted(tar.getmembers(), key=lambda entry: entry.name):
                found = re.fullmatch(r"\w+/user(\d+)_\w+/(\d+)\.npy", entry.name)
                if found is None or int(found[1]) not in people:
                    continue
                content = tar.extractfile(entry)
                assert content is not None
                yield entry.name, parse(content.read(), entry.name), int(found[2])
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise CreditbenchError(f"{path} cannot be read ({error}); replace it.") from error


def read() -> Splits:
    """The splits, by people."""
    parts = {
        "train": partial(recordings, TRAIN, [one for one in EVERYONE if one not in VALIDATION]),
        "validation": partial(recordings, TRAIN, VALIDATION),
        "test": partial(recordings, TEST, EVERYONE),
    }
    return read_binned("dvs-gesture", DVS_GESTURE.version, BINNING, TRAIN.hash + TEST.hash, parts)


DVS_GESTURE = EventTask(
    name="dvs-gesture",
    version=1,
    kind="events",
    input_shape=(20, 2, 128, 128),
    classes=11,
    read=read,
    time_step=0.075,
    target_score=0.70,
    summary="Eleven gestures of hands and arms before an event camera; test people are strangers.",
    licence="CC BY 4.0",
    source="Amir et al. (2017), A Low Power, Fully Event-Based Gesture Recognition System, CVPR",
)
