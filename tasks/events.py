"""Event recordings: what they are, how they are binned, and where what was binned is kept.

A recording is a structured array as tonic has it, an element for an event: x, y [pixels], t [µs], polarity p.
Binned once, it is one bit for every step, polarity and pixel: whether there was an event. Eight bits go into
a byte, and they are unpacked as they are used (`EventTask`). How many there were is given up for
that.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.spikes import declare_spikes
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import cache_folder, write

EVENT = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])
Events = np.ndarray[Any, Any]  # [events], with the fields of EVENT in any order and integer type
Packed = np.ndarray[Any, np.dtype[np.uint8]]  # [steps, bytes], or [samples, steps, bytes]
Labelled = tuple[str, Events, int]  # where a recording comes from, for complaints; its events; its class


@dataclass(frozen=True)
class Binning:
    """Steps of equal length from the first moment of a recording's clock on; later events are left out."""

    width: int  # [pixels]
    height: int  # [pixels]
    polarities: int
    steps: int
    time_step: int  # [µs]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a binned recording: [steps, polarities, height, width]."""
        return self.steps, self.polarities, self.height, self.width


@dataclass(frozen=True)
class EventTask(Task):
    """A task whose samples are binned event recordings, [time, polarities, height, width], 0 or 1.

    Stored with eight pixels to a byte, `packed` of them a time step: splits hold [samples, time, packed].
    `time_step` says how long a step is; there are no offset and scale, since spikes stay spikes."""

    time_step: float = 0.0  # [s]

    @property
    def packed(self) -> int:
        """Bytes of one time step."""
        return -(-math.prod(self.input_shape[1:]) // 8)

    def prepare(self, stored: Tensor) -> Tensor:
        """Packed samples [..., time, bytes] as declared spikes [..., *input_shape], float."""
        frame = self.input_shape[1:]
        bits = _bits(stored.device).index_select(0, stored.flatten().int())  # [bytes, 8]
        pixels = bits.view(*stored.shape[:-1], 8 * self.packed)
        if math.prod(frame) % 8:
            pixels = pixels[..., : math.prod(frame)].contiguous()
        return declare_spikes(pixels.view(*stored.shape[:-1], *frame))


@lru_cache(maxsize=4)
def _bits(device: torch.device) -> Tensor:
    """Row n: the bits of the byte n, most significant first, as numpy.packbits has them: [256, 8]."""
    byte = torch.arange(256, device=device).unsqueeze(1)
    return (byte >> torch.arange(7, -1, -1, device=device) & 1).float()


def checked(events: Events, binning: Binning, where: str) -> Events:
    """The recording, if it is one of that sensor. Raises CreditbenchError with its name otherwise."""
    missing = {"x", "y", "t", "p"} - set(events.dtype.names or ())
    if missing:
        raise CreditbenchError(f"{where} lacks {', '.join(sorted(missing))}; an event has x, y, t and p.")
    if not len(events):
        raise CreditbenchError(f"{where} has no events; replace it or leave it out.")
    for name, limit in (("x", binning.width), ("y", binning.height), ("p", binning.polarities)):
        low, high = int(events[name].min()), int(events[name].max())
        if low < 0 or high >= limit:
            wrong = low if low < 0 else high
            raise CreditbenchError(f"{where} has an event at {name}={wrong} and {name} ends at {limit - 1};"
                                   " the recording is damaged, replace it.")  # fmt: skip
    if events["t"].min() < 0:
        raise CreditbenchError(f"{where} has an event before its beginning, at {events['t'].min()} µs.")
    return events


def binned(events: Events, binning: Binning, where: str = "the recording") -> Packed:
    """One recording, [steps, bytes]: bit (polarity, y, x), in this order, says whether there was an event."""
    events = checked(events, binning, where)
    step = events["t"] // binning.time_step
    pixel = (events["p"].astype(np.int64) * binning.height + events["y"]) * binning.width + events["x"]
    inside = step < binning.steps
    pixels = binning.polarities * binning.height * binning.width
    frames = np.zeros((binning.steps, pixels), np.bool_)
    frames[step[inside], pixel[inside]] = True
    return np.packbits(frames, axis=1)


def read_binned(
    name: str,
    version: int,
    binning: Binning,
    source: str,
    parts: Mapping[str, Callable[[], Iterable[Labelled]]],
) -> Splits:
    """Splits of a task, binned now or taken from where an earlier run left them.

    source: a hash of what the recordings are made of. parts: train, validation and test. What was binned is
    kept in the cache folder under a key of everything that decides it, and verified by its checksum; a
    damaged file there is made anew."""
    key = json.dumps([name, version, asdict(binning), source, list(parts)], sort_keys=True)
    path = cache_folder() / "events" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.bits"
    sizes = (binning.steps, -(-binning.polarities * binning.height * binning.width // 8))
    stored = _stored(path, sizes)
    if stored is None:
        stored = {part: _bin_all(recordings(), binning) for part, recordings in parts.items()}
        _keep(path, stored)
    splits = {
        part: Split(torch.from_numpy(frames), torch.from_numpy(targets.astype(np.int64)))
        for part, (frames, targets) in stored.items()
    }
    return Splits(splits["train"], splits["validation"], splits["test"])


Stored = dict[str, tuple[Packed, np.ndarray[Any, np.dtype[np.uint8]]]]  # part -> frames and classes


def _bin_all(recordings: Iterable[Labelled], binning: Binning) -> tuple[Packed, Any]:
    frames, targets = [], []
    for where, events, label in recordings:
        frames.append(binned(events, binning, where))
        targets.append(label)
    if not frames:
        raise CreditbenchError("One of training, validation and test data has no recordings at all.")
    return np.stack(frames), np.array(targets, np.uint8)


# The file: a line of JSON with the parts' names and sizes and the SHA-256 of the rest, then classes and
# frames.


def _keep(path: Path, stored: Stored) -> None:
    body = b"".join(targets.tobytes() + frames.tobytes() for frames, targets in stored.values())
    head = {
        "parts": {part: len(targets) for part, (_, targets) in stored.items()},
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    write(path, json.dumps(head).encode() + b"\n" + body)


def _stored(path: Path, sizes: tuple[int, int]) -> Stored | None:
    """What `_keep` wrote, or None where there is nothing or it is damaged."""
    try:
        line, _, body = path.read_bytes().partition(b"\n")
        head = json.loads(line)
        if hashlib.sha256(body).hexdigest() != head["sha256"]:
            return None
        found, start = Stored(), 0
        for part, count in head["parts"].items():
            middle = start + count
            end = middle + count * sizes[0] * sizes[1]
            targets = np.frombuffer(body, np.uint8, count, start).copy()  # torch wants memory it may write to
            frames = np.frombuffer(body, np.uint8, end - middle, middle).copy().reshape(count, *sizes)
            found[part], start = (frames, targets), end
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found
