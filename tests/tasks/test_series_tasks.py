"""The series tasks against their protocols, and their loaders on small files in the same format."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.series import Series
from creditbench.tasks import (
    character_trajectories,
    events_of_images,
    irregular_sines,
    japanese_vowels,
    person_activity,
    physionet2012,
    temporal_credit,
    walker2d,
    xor,
)

# ------------------------------------------------------------------------------ generated


def test_the_bits_are_those_that_numpys_scalar_calls_draw() -> None:
    rng = np.random.RandomState(xor.TRAIN_SEED)
    for bits in xor.streams(300, xor.TRAIN_SEED):
        length = rng.randint(low=2, high=32)
        assert bits == [int(rng.randint(low=0, high=2)) for _ in range(length)]


def test_a_stream_as_events_and_dense_by_hand() -> None:
    bits = [1, 1, 0, 1, 1, 1]
    assert xor.events(bits) == [(1, 1), (3, 0), (4, 1), (6, 1)]  # runs of 2, 1 and 3, the last one closed
    assert xor.events([0, 1]) == [(1, 0), (2, 1)]
    assert xor.dense(bits) == [(1, 1), (2, 1), (3, 0), (4, 1), (5, 1), (6, 1)]


def test_events_tell_the_bits() -> None:
    for bits in xor.streams(100, 1):
        told: list[int] = []
        for time, bit in xor.events(bits):
            told += [told[-1] if told else bit] * (time - len(told) - 1) + [bit]
        assert told == bits


def test_a_sine_told_ahead_is_what_it_will_be() -> None:
    train = irregular_sines.read().train
    series = Series.unpack(train.inputs)
    # A sine f(t) and f(t + a) lie on an ellipse; over one series, times and targets fix f and p together:
    present = series.present[0]
    t, y, ahead = series.times[0][present], series.values[0, :, 0][present], train.targets[0, :, 0][present]
    frequencies = torch.linspace(1, 4, 3001)
    angles = 2 * torch.pi * frequencies[:, None] * t
    basis = torch.stack([angles.sin(), angles.cos()], -1)  # [frequencies, steps, 2]
    found = torch.linalg.lstsq(basis, y.expand(3001, -1).unsqueeze(-1)).solution
    best = (basis @ found - y[:, None]).square().sum((1, 2)).argmin()
    later = 2 * torch.pi * frequencies[best] * (t + 0.1)
    told = torch.stack([later.sin(), later.cos()], -1) @ found[best]
    torch.testing.assert_close(told[:, 0], ahead, atol=0.02, rtol=0)


@pytest.mark.parametrize("delay", [1, 7])
def test_copies_ask_for_the_word_after_the_delay(delay: int) -> None:
    test = temporal_credit.copy(delay).test
    series = Series.unpack(test.inputs)
    word = series.values[:, :5, :8].argmax(-1)
    assert torch.equal(test.targets[:, -5:], word)
    assert (test.targets[:, :-5] == -1).all()
    assert (series.values[:, 5:-5] == 0).all()
    assert series.times[0].tolist() == list(range(1, delay + 11))


def test_a_match_is_a_match_and_half_of_the_samples_are() -> None:
    train = temporal_credit.delayed_match(6).train
    values = Series.unpack(train.inputs).values
    same = values[:, 0, :8].argmax(-1) == values[:, -1, :8].argmax(-1)
    assert torch.equal(same.long(), train.targets)
    assert train.targets.float().mean() == pytest.approx(0.5, abs=0.03)


def test_the_side_with_more_cues_is_the_target() -> None:
    train = temporal_credit.cue_accumulation(25).train
    series = Series.unpack(train.inputs)
    left, right = series.values[..., 0].sum(1), series.values[..., 1].sum(1)
    assert torch.equal((right > left).long(), train.targets)
    assert (left + right == 7).all()
    assert (series.times[:, -1] == 45).all()


def test_a_task_without_a_delay_is_refused() -> None:
    for make in (temporal_credit.copy, temporal_credit.delayed_match, temporal_credit.cue_accumulation):
        with pytest.raises(CreditbenchError, match="delay of at least one"):
            make(0)


def test_an_images_events_are_where_its_pixels_change() -> None:
    image = torch.tensor([[[0, 0, 200], [201, 0, 129]]], dtype=torch.uint8)
    packed = events_of_images.events(image, 128, 5)
    assert packed[0, :4].tolist() == [[1, 0], [3, 1], [5, 0], [6, 1]]
    assert packed[0, 4].isnan().all()
    assert events_of_images.events(image, 128, 2)[0].tolist() == [[1, 0], [3, 1]]


# Splits never move: over the bytes of inputs and targets of whole-number tasks.
DIGESTS = {
    "xor-events": "3aec6916b2cb93ac",
    "copy-20": "a7fb0895066674ae",
    "delayed-match-40": "2e182ca8806b1b65",
    "cue-accumulation-40": "a82e74cbdde5e5d5",
    "digits-events": "50fd08d958f692fd",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_splits_never_move(name: str, splits_of: Any) -> None:
    splits, digest = splits_of(name), hashlib.sha256()
    for split in (splits.train, splits.validation, splits.test):
        digest.update(split.inputs.nan_to_num(nan=-1).to(torch.int16).numpy().tobytes())
        digest.update(split.targets.to(torch.int8).numpy().tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[name]


def test_sines_never_move() -> None:
    train = irregular_sines.read().train
    assert Series.unpack(train.inputs).lengths[:6].tolist() == [19, 23, 19, 20, 15, 27]
    assert train.inputs[0, 0].tolist() == pytest.approx([0.0346448384, -0.924067020], abs=1e-6)


# ------------------------------------------------------------------------------ person activity

LINES = """\
A01,010-000-024-033,633790226051280329,27.05.2009 14:03:25:127,4.0,1.0,0.5,walking
A01,020-000-033-111,633790226051820913,27.05.2009 14:03:25:183,4.25,1.5,1.25,walking
A01,020-000-033-111,633790226051821000,27.05.2009 14:03:25:183,4.75,2.5,1.75,falling
"""


def repeated(count: int) -> list[person_activity.Report]:
    reports = person_activity.parse(LINES, "here")
    first = reports[0].ticks
    return [
        person_activity.Report(
            "A01", number % 4, first + 1_000_000 * number, (1.0, 2.0, float(number)), number % 7
        )
        for number in range(count)
    ]


def test_a_report_is_read_from_a_line() -> None:
    reports = person_activity.parse(LINES, "here")
    assert reports[1] == person_activity.Report("A01", 2, 633790226051820913, (4.25, 1.5, 1.25), 3)


def test_a_line_that_is_no_report_is_named() -> None:
    with pytest.raises(CreditbenchError, match="here, line 2: 'nonsense'"):
        person_activity.parse(LINES.splitlines()[0] + "\nnonsense\n", "here")


def test_protocol_a_by_hand() -> None:
    inputs, targets = person_activity.windows_a([repeated(49)])
    assert inputs.shape == (2, 32, 8)  # at 0 and 16; one at 32 would not be followed by a report
    assert inputs[0, 0].tolist() == [5, 1, 0, 0, 0, 1, 2, 0]  # the first elapsed time is half a second
    assert inputs[0, 1].tolist() == [6, 0, 1, 0, 0, 1, 2, 1]
    assert inputs[1, 0].tolist() == [1, 1, 0, 0, 0, 1, 2, 16]
    assert targets[1, :3].tolist() == [2, 3, 4]


def test_protocol_b_by_hand() -> None:
    reports = person_activity.parse(LINES, "here")
    more = [
        person_activity.Report("A01", 0, reports[0].ticks + 10**6 * number, (0.0, 0.0, 0.0), 0)
        for number in range(1, 60)
    ]
    inputs, targets = person_activity.windows_b([reports + more])
    assert inputs.shape == (1, 50, 13)
    assert inputs[0, :3, 0].tolist() == [0, 5, 10]  # [10 ms]
    assert inputs[0, 0, 1:4].tolist() == [4.0, 1.0, 0.5]
    assert inputs[0, 0, 4:].isnan().all()
    assert inputs[0, 1, 7:10].tolist() == [4.5, 2.0, 1.5]  # two reports of one tag in one moment
    assert targets[0, :3].tolist() == [3, 3, 0]  # the first activity that was told at the moment


# ------------------------------------------------------------------------------ walker2d


def test_walkers_windows_hold_kept_frames_and_their_successors() -> None:
    frames = np.arange(120, dtype=np.float32)[:, None].repeat(17, 1)
    split = walker2d.windows([frames], np.random.RandomState(0))
    kept = [t for t, u in enumerate(np.random.RandomState(0).rand(119)) if u < 0.9]
    assert len(split) == len(range(0, len(kept) - 64, 16))
    for number in range(len(split)):
        part = kept[16 * number : 16 * number + 64]
        assert split.inputs[number, :, 1].tolist() == part
        assert split.targets[number, :, 0].tolist() == [t + 1 for t in part]
        before = kept[16 * number - 1] if number else -1
        assert split.inputs[number, :, 0].tolist() == [t - before for t in part]


def test_a_file_that_is_no_rollout_is_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros((5, 3)))
    with pytest.raises(CreditbenchError, match="not floats"):
        walker2d.parse_rollout(stream.getvalue(), "here")
    with pytest.raises(CreditbenchError, match="no file of numpy's"):
        walker2d.parse_rollout(b"nonsense", "here")


def test_without_its_folder_walker_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path))
    with pytest.raises(CreditbenchError, match=r"walker\.zip"):
        walker2d.read()
    (tmp_path / "walker").mkdir()
    with pytest.raises(CreditbenchError, match="lacks rollout_000"):
        walker2d.read()


# ------------------------------------------------------------------------------ PhysioNet

RECORD = """\
Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Height,-1
00:07,HR,73
00:07,HR,75
03:30,Temp,35.1
"""


def test_a_record_by_hand() -> None:
    rows = torch.tensor(physionet2012.parse_record(RECORD, "here"))
    assert rows.shape == (3, 42)
    assert rows[:, 0].tolist() == pytest.approx([0, 7 / 60, 3.5])
    assert rows[0, physionet2012.COLUMN["Age"]] == 54
    assert rows[0, physionet2012.COLUMN["Height"]].isnan()
    assert rows[1, physionet2012.COLUMN["HR"]] == 74
    assert rows.isfinite().sum() == 3 + 3


def test_what_is_no_record_is_named() -> None:
    with pytest.raises(CreditbenchError, match="no record"):
        physionet2012.parse_record("<html>", "here")
    with pytest.raises(CreditbenchError, match="line 2: '1,2' is no measurement"):
        physionet2012.parse_record("Time,Parameter,Value\n1,2\n", "here")
    with pytest.raises(CreditbenchError, match="'Mood' is no parameter"):
        physionet2012.parse_record("Time,Parameter,Value\n00:00,Mood,2\n", "here")
    with pytest.raises(CreditbenchError, match="no table of outcomes"):
        physionet2012.parse_outcomes("<html>", "here")


def test_outcomes_say_who_died() -> None:
    head = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"
    text = f"{head}\n132539,6,1,5,-1,0\n132551,16,8,19,1,1\n"
    assert physionet2012.parse_outcomes(text, "here") == {"132539": 0, "132551": 1}


def test_554_patients_of_set_a_die(splits_of: Any) -> None:
    splits = splits_of("physionet-2012")
    assert sum(int(part.targets.sum()) for part in (splits.train, splits.validation, splits.test)) == 554


# ------------------------------------------------------------------------------ vowels, characters


def test_a_ts_file_by_hand() -> None:
    channels = ":".join(["0.5,1.5,2.5"] * 11 + ["7,8,9"])
    split = japanese_vowels.parse_ts(f"@classLabel true 1 2\n@data\n{channels}:2\n", "here")
    assert split.targets.tolist() == [1]
    series = Series.unpack(split.inputs)
    assert series.lengths.tolist() == [3]
    assert series.values[0, :3, 11].tolist() == [7, 8, 9]
    assert series.times[0, :3].tolist() == [1, 2, 3]


def test_what_is_no_ts_file_is_named() -> None:
    with pytest.raises(CreditbenchError, match=r"no \.ts file"):
        japanese_vowels.parse_ts("<html>", "here")
    with pytest.raises(CreditbenchError, match="here, series 1"):
        japanese_vowels.parse_ts("@classLabel true 1\n@data\n1,2:3,4:1\n", "here")


@pytest.mark.parametrize("dropped", [30, 50, 70])
def test_so_many_moments_are_dropped_in_order_and_always_the_same(dropped: int) -> None:
    trajectory = np.arange(300.0).reshape(100, 3)
    kept = character_trajectories.sparse(trajectory, dropped, "5")
    assert len(kept) == 100 - dropped
    assert (np.diff(kept[:, 0]) > 0).all()
    assert (kept[:, 1:] == trajectory[kept[:, 0].astype(int) - 1]).all()
    assert (kept == character_trajectories.sparse(trajectory, dropped, "5")).all()
    assert (kept != character_trajectories.sparse(trajectory, dropped, "6")).any()


@pytest.mark.parametrize("delay", [3, 4, 5])
def test_no_sample_of_a_short_delayed_match_is_in_two_splits(delay: int) -> None:
    splits = temporal_credit.delayed_match(delay)
    parts = [{own.numpy().tobytes() for own in split.inputs} for split in
             (splits.train, splits.validation, splits.test)]  # fmt: skip
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
