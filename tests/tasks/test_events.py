"""Event recordings: binning against its definition, damage named and refused, the cache trusted only if
sound."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Splits
from creditbench.tasks import digits
from creditbench.tasks.digits_dvs import CORNERS, SENSOR, SHA256, path, record
from creditbench.tasks.events import EVENT, Binning, EventTask, Labelled, binned, read_binned

SMALL = Binning(width=3, height=5, polarities=2, steps=4, time_step=10)
an_event = st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 60), st.booleans())
recordings = st.lists(an_event, min_size=1, max_size=40).map(lambda events: np.array(events, EVENT))


def task(binning: Binning) -> EventTask:
    def read() -> Splits:
        raise AssertionError

    return EventTask("events", 1, "events", binning.shape, 2, read)


# ----------------------------------------------------------------------------- binning


@given(recordings)
def test_a_bit_says_whether_there_was_an_event(events: Any) -> None:
    """Through packing and unpacking: 1 exactly where one of the events was, 30 pixels in 4 bytes."""
    expected = torch.zeros(SMALL.shape)
    for x, y, t, p in events.tolist():
        if t < 40:
            expected[t // 10, int(p), y, x] = 1
    packed = binned(events, SMALL)
    assert packed.shape == (4, 4)
    assert packed.dtype == np.uint8
    assert torch.equal(task(SMALL).prepare(torch.from_numpy(packed)), expected)


@pytest.fixture(scope="module")
def transforms() -> Any:
    return pytest.importorskip("tonic.transforms", reason="tonic is not installed")


@settings(deadline=None)
@given(recordings)
def test_tonics_frames_are_the_same_where_they_are_not_empty(transforms: Any, events: Any) -> None:
    """tonic's ToFrame with a time window counts events; it is an oracle here and needed nowhere else."""
    to_frame = transforms.ToFrame(sensor_size=(3, 5, 2), time_window=10, start_time=0, end_time=40)
    events = np.sort(events[events["t"] < 40], order="t")
    if len(events):
        found = task(SMALL).prepare(torch.from_numpy(binned(events, SMALL)))
        assert torch.equal(found, torch.from_numpy(to_frame(events) > 0).float())


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ((3, 0, 0, 1), "x=3 and x ends at 2"),
        ((-1, 0, 0, 1), "x=-1"),
        ((0, 5, 0, 1), "y=5"),
        ((0, 0, -2, 1), "before its beginning, at -2"),
    ],
)
def test_a_recording_of_another_sensor_is_named_and_refused(event: tuple[int, ...], words: str) -> None:
    events = np.array([(0, 0, 0, 0), event], EVENT)
    with pytest.raises(CreditbenchError, match=f"(?s)Train/5/00001.*{words}"):
        binned(events, SMALL, "Train/5/00001.bin")


def test_a_recording_without_events_or_without_fields_is_refused() -> None:
    with pytest.raises(CreditbenchError, match="r has no events"):
        binned(np.array([], EVENT), SMALL, "r")
    with pytest.raises(CreditbenchError, match="r lacks p, t"):
        binned(np.zeros(3, [("x", int), ("y", int)]), SMALL, "r")


# ----------------------------------------------------------------------------- the cache


class Recordings:
    """Three splits of two recordings each, counting how often they are asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Iterable[Labelled]:
        self.asked += 1
        for label in (0, 1):
            yield f"{label}", np.array([(label, 2, 15, 1)], EVENT), label

    def read(self, binning: Binning = SMALL, version: int = 1, source: str = "s") -> Splits:
        return read_binned(
            "toy", version, binning, source, dict.fromkeys(("train", "validation", "test"), self)
        )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    return tmp_path / "creditbench" / "events"


def test_what_was_binned_is_not_binned_again(folder: Path) -> None:
    ours = Recordings()
    first, second = ours.read(), ours.read()
    assert ours.asked == 3
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert torch.equal(first.test.targets, second.test.targets)
    assert second.test.targets.tolist() == [0, 1]
    (file,) = folder.iterdir()
    assert file.stat().st_size < 6 * (1 + 4 * 4) + 250  # a byte for the class, four for each step


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"source": "t"}, {"binning": Binning(3, 5, 2, 4, 11)}], ids=str
)
def test_another_definition_is_another_file(folder: Path, change: dict[str, Any]) -> None:
    ours = Recordings()
    ours.read()
    ours.read(**change)
    assert ours.asked == 6
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b[:-1] + b"?", lambda b: b"", lambda b: b"{}\n", lambda b: b"[]\n"]
)
def test_a_damaged_file_is_made_anew(folder: Path, damage: Any) -> None:
    ours = Recordings()
    whole = ours.read()
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert torch.equal(ours.read().train.inputs, whole.train.inputs)
    assert ours.asked == 6
    assert ours.read()
    assert ours.asked == 6


# ----------------------------------------------------------------------------- the simulated camera


def test_the_path_is_an_isosceles_triangle_that_ends_where_it_began() -> None:
    places = path()
    assert len(places) == 61
    assert places[0] == places[-1] == CORNERS[0]
    assert set(CORNERS) <= set(places)
    first, second, third = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 for a, b in pairwise(CORNERS))
    assert first == second != third


def test_events_of_a_pixel_cancel_out_as_the_camera_comes_back() -> None:
    """Light at the end is what it was at the beginning, so each pixel has as many events up as down."""
    images = digits.read().train.inputs[:20].squeeze(1).numpy()
    for events in record(images):
        net = np.zeros((SENSOR, SENSOR), int)
        np.add.at(net, (events["y"], events["x"]), np.where(events["p"], 1, -1))
        assert not net.any()
        assert len(events) > 500


def test_a_recording_is_what_tonic_would_hand_out() -> None:
    (events,) = record(digits.read().train.inputs[:1].squeeze(1).numpy())
    assert events.dtype == EVENT
    assert (np.diff(events["t"]) >= 0).all()
    assert 0 <= events["t"].min() < events["t"].max() < 300_000


def test_a_blank_scene_has_no_events_and_a_digits_recording_does_not_depend_on_its_company() -> None:
    images = digits.read().train.inputs[:5].squeeze(1).numpy()
    blank, *_ = record(np.concatenate([np.zeros_like(images[:1]), images]))
    assert len(blank) == 0
    (alone,) = record(images[3:4])
    assert (alone == record(images)[3]).all()


def test_the_recordings_are_the_same_on_every_machine() -> None:
    import hashlib

    images = digits.read().test.inputs[:50].squeeze(1).numpy()
    found = hashlib.sha256(b"".join(events.tobytes() for events in record(images))).hexdigest()
    assert found == SHA256
