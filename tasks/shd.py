"""Spiking Heidelberg Digits: spoken digits in two languages as 700 channels of spikes of a model of the ear.

Read from the published archives, an HDF5 file each, with the times [s] and units of every recording's spikes.
Two speakers are in the test set alone, so one of the training set, number 11, is held out to validate: a
random part would know all voices and promise too much. Needs h5py: `pip install creditbench[events]`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks.events import Binning, EventTask, Labelled, read_binned
from creditbench.tasks.files import DataFile, fetch

# The md5s are those that tonic publishes: the archives were not at hand to compute a SHA-256 from.
TRAIN = DataFile(
    "SHD/shd_train.h5.zip",
    "https://zenkelab.org/datasets/shd_train.h5.zip",
    "md5:f3252aeb598ac776c1b526422d90eecb",
)
TEST = DataFile(
    "SHD/shd_test.h5.zip",
    "https://zenkelab.org/datasets/shd_test.h5.zip",
    "md5:1503a5064faa34311c398fb0a1ed0a6f",
)
HELD_OUT = 11  # the speaker that validates
BINNING = Binning(width=700, height=1, polarities=1, steps=100, time_step=10_000)


def recordings(file: DataFile, wanted: Callable[[int], bool]) -> Iterable[Labelled]:
    """Those whose speaker is wanted, in the order of the file. Raises CreditbenchError without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise CreditbenchError("The task shd needs h5py: pip install 'creditbench[events]'.") from error
    path = fetch(file)
    try:
        with zipfile.ZipFile(path) as zipped:
            (name,) = (name for name in zipped.namelist() if name.endswith(".h5"))
            content = io.BytesIO(zipped.read(name))
        with h5py.File(content, "r") as data:
            times, units = data["spikes/times"], data["spikes/units"]
            speakers, labels = data["extra/speaker"][()], data["labels"][()]
            for number in np.flatnonzero([wanted(int(speaker)) for speaker in speakers]):
                events = np.zeros(
                    len(times[number]), [("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)]
                )
                events["x"] = units[number]
                events["t"] = np.round(times[number].astype(np.float64) * 1e6)
                yield f"{name}, recording {number}", events, int(labels[number])
    except (zipfile.BadZipFile, zlib.error, OSError, KeyError, ValueError) as error:
        raise CreditbenchError(f"{path} cannot be read ({error}); replace it.") from error


def read() -> Splits:
    """The splits; validation is a speaker that training does not hear."""
    parts = {
        "train": partial(recordings, TRAIN, lambda speaker: speaker != HELD_OUT),
        "validation": partial(recordings, TRAIN, lambda speaker: speaker == HELD_OUT),
        "test": partial(recordings, TEST, lambda speaker: True),
    }
    return read_binned("shd", SHD.version, BINNING, TRAIN.hash + TEST.hash, parts)


SHD = EventTask(
    name="shd",
    version=1,
    kind="events",
    input_shape=(100, 1, 1, 700),
    classes=20,
    read=read,
    time_step=0.010,
    target_score=0.60,
    summary="Spoken digits, German and English, as spikes of 700 channels of the ear; some voices are new.",
    licence="CC BY 4.0",
    source="Cramer, Stradmann, Schemmel and Zenke (2022), The Heidelberg Spiking Data Sets, IEEE TNNLS 33(7)."
    " doi:10.1109/TNNLS.2020.3044364",
)
