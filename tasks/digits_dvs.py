"""Scikit-learn's digits as an event camera sees them that is moved in three saccades: embedded, no download.

In the manner of N-MNIST (Orchard, Jayawant, Cohen & Thakor 2015), where a camera moves along a triangle
before MNIST on a screen: here a sensor of 20 x 20 pixels sees the digit at twice its size, 2 pixels from
every edge, and moves along a triangle of its own. A pixel of an event camera does not report light but its
change: whenever the logarithm of what falls on it has moved by a threshold from where the last event left it,
it says so, and which way. There is no noise. All is computed in whole numbers, so it comes out the same
everywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from creditbench.suite.types import Split, Splits
from creditbench.tasks import digits
from creditbench.tasks.events import EVENT, Binning, Events, EventTask, Labelled, read_binned

SENSOR = 20  # pixels a side
FRAME = 5_000  # [µs] between two looks at the scene
SACCADE = 20  # frames: 100 ms
# Corners of the path, x and y in sixteenths of a pixel: an isosceles triangle, begun and ended at its first.
CORNERS = ((-24, -24), (0, 24), (24, -24), (-24, -24))
LIGHT = 1_024 * 16  # of a pixel that a full stroke fills: 16 from the digits, 1024 from the interpolation
CONTRAST = 32  # how many times brighter than the ground a full stroke is, less 1
THRESHOLD = 192  # in units of the levels below: three quarters of a doubling

# Over the recordings of the first 50 test digits; a test holds every machine to it.
SHA256 = "6e2518c84f28b7fb361a38123b18232a28d44f990bda28c9ea7522193ed17f29"

Whole = np.ndarray[Any, np.dtype[np.integer[Any]]]

BINNING = Binning(width=SENSOR, height=SENSOR, polarities=2, steps=12, time_step=25_000)


def path() -> list[tuple[int, int]]:
    """Where the camera looks at every frame, [sixteenths of a pixel], start and end included: 61 places."""
    places = [CORNERS[0]]
    for (x, y), (to_x, to_y) in pairwise(CORNERS):
        steps = range(1, SACCADE + 1)
        places += [(x + (to_x - x) * k // SACCADE, y + (to_y - y) * k // SACCADE) for k in steps]
    return places


@cache
def _levels() -> Whole:
    """Logarithm of light: 256 log2(1 + contrast share), rounded, for every light from 0 to LIGHT."""
    levels = [round(256 * math.log2(1 + CONTRAST * light / LIGHT)) for light in range(LIGHT + 1)]
    return np.array(levels, np.int32)


def seen(images: Whole, x: int, y: int) -> Whole:
    """What the sensor sees of images [n, 8, 8] from a place [sixteenths]: levels [n, SENSOR, SENSOR]."""
    padded = np.pad(images.astype(np.int32), ((0, 0), (8, 9), (8, 9)))
    pixel = np.arange(SENSOR, dtype=np.int32)
    rows, columns = (16 * pixel - 40 + shift for shift in (y, x))  # in 32nds of an image pixel
    (top, down), (left, right) = ((at // 32 + 8, at % 32) for at in (rows, columns))
    lines = padded[:, top] * (32 - down)[:, None] + padded[:, top + 1] * down[:, None]  # [n, SENSOR, 25]
    light = lines[:, :, left] * (32 - right) + lines[:, :, left + 1] * right
    found: Whole = _levels()[light]
    return found


def record(images: Whole) -> list[Events]:
    """The recording of every image [n, 8, 8] with values 0 ... 16: events in the order of time.

    Where a pixel crosses several thresholds between two frames, its events are spread over that time."""
    start, *places = path()
    last = seen(images, *start)
    found = []
    for frame, place in enumerate(places):
        change = seen(images, *place) - last
        number = np.abs(change) // THRESHOLD  # [n, SENSOR, SENSOR]
        last += np.sign(change) * number * THRESHOLD
        sample, y, x = number.nonzero()
        times = number[sample, y, x]
        index = np.repeat(np.arange(len(times)), times)
        nth = np.arange(len(index)) - np.repeat(times.cumsum() - times, times) + 1
        events = np.empty(len(index), [("sample", np.int64), *EVENT.descr])
        events["sample"], events["x"], events["y"] = sample[index], x[index], y[index]
        events["t"] = FRAME * frame + FRAME * nth // (times[index] + 1)
        events["p"] = change[sample, y, x][index] > 0
        found.append(events)
    everything = np.concatenate(found)
    order = np.lexsort((everything["x"], everything["y"], everything["t"], everything["sample"]))
    everything = everything[order]
    ends = np.searchsorted(everything["sample"], np.arange(1, len(images)))
    bare = everything[list(EVENT.names or ())].astype(EVENT)
    return np.split(bare, ends)


def recordings(split: Split) -> Iterable[Labelled]:
    images, labels = split.inputs.squeeze(1).numpy(), split.targets.tolist()
    for start in range(0, len(images), 100):  # few enough for a processor's cache
        for number, events in enumerate(record(images[start : start + 100]), start):
            yield f"digit {number}", events, labels[number]


def read() -> Splits:
    """The splits of `digits`, seen by the camera."""
    still = digits.read()
    parts = {name: partial(recordings, getattr(still, name)) for name in ("train", "validation", "test")}
    return read_binned("digits-dvs", DIGITS_DVS.version, BINNING, _definition(), parts)


def _definition() -> str:
    """Of everything that decides the recordings."""
    facts = (digits.SHA256, SENSOR, FRAME, SACCADE, CORNERS, LIGHT, CONTRAST, THRESHOLD)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


DIGITS_DVS = EventTask(
    name="digits-dvs",
    version=1,
    kind="events",
    input_shape=(12, 2, 20, 20),
    classes=10,
    read=read,
    time_step=0.025,
    target_score=0.90,
    summary="The digits of scikit-learn before a simulated event camera in three saccades; no download.",
    licence="CC BY 4.0",
    source="Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning"
    " Repository. doi:10.24432/C50P49; the saccades after Orchard, Jayawant, Cohen and Thakor (2015),"
    " Frontiers in Neuroscience 9:437",
)
