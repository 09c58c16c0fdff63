"""Person activity: what somebody is doing, told by four tags they wear that report at uneven moments.

Two protocols are in use and their figures never share a table: windows, features and splits differ.

A (Lechner & Hasani 2020): windows of 32 reports every 16; a step is one report: which tag (one-hot), x, y, z;
times in 100 ms; 20 % of the windows for test by numpy's RandomState(98841). B (Rubanova et al. 2019): windows
of 50 moments (of 10 ms) every 25; a step has x, y, z of each tag that reported then, averaged; 20 % for test
by RandomState(42). Their resampling of both splits with replacement is left out: it was not seeded.

In both, windows overlap, so a test window shares reports with training windows, as in the published figures.
A fifth of the training windows is for validation. Eleven activities are merged to seven.

`-tenth` is the first tenth of the recordings (16,486 of 164,860 lines, the third recording cut off): for
where the whole file is not at hand. Its figures are no figures of the data set.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.draws import order
from creditbench.tasks.files import DataFile, fetch, find_folder
from creditbench.tasks.padding import padded

NAME = "PersonActivity/ConfLongDemo_JSI.txt"
URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/00196/ConfLongDemo_JSI.txt"
# UCI's md5 by way of others: the whole file was not at hand to compute a SHA-256 from.
WHOLE = DataFile(NAME, URL, "md5:280a677ae0d673ec9a50ada480d8a529")
TENTH, TENTH_SHA256 = 16_486, "22ada20380848476e979fc233822c8c8eb5605524370c7eaa277dd1a9790362e"

TAGS = ("010-000-024-033", "010-000-030-096", "020-000-033-111", "020-000-032-221")
ACTIVITIES = {
    "lying down": 0, "lying": 0, "sitting down": 1, "sitting": 1, "standing up from lying": 2,
    "standing up from sitting": 2, "standing up from sitting on the ground": 2, "walking": 3, "falling": 4,
    "on all fours": 5, "sitting on the ground": 6,
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """One line of the file."""

    recording: str
    tag: int
    ticks: int  # [100 ns]
    place: tuple[float, float, float]  # [m]
    activity: int


def parse(text: str, where: Path | str) -> list[Report]:
    """The lines of the file: recording, tag, ticks, date, x, y, z, activity."""
    reports = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip().split(",")
        try:
            recording, tag, ticks, _, x, y, z, activity = words
            place = float(x), float(y), float(z)
            reports.append(Report(recording, TAGS.index(tag), int(ticks), place, ACTIVITIES[activity]))
        except (ValueError, KeyError) as error:
            raise CreditbenchError(
                f"{where}, line {number}: '{line[:80]}' is no report of a tag ({error}); replace the file."
            ) from error
    return reports


def recordings(reports: list[Report]) -> list[list[Report]]:
    """Runs of lines that name the same recording, by time: a few lines stand after later ones."""
    runs: list[list[Report]] = []
    for report in reports:
        if not runs or runs[-1][0].recording != report.recording:
            runs.append([])
        runs[-1].append(report)
    return [sorted(run, key=lambda report: report.ticks) for run in runs]


def windows_a(runs: list[list[Report]]) -> tuple[Tensor, Tensor]:
    """Inputs [windows, 32, 8] (time [100 ms], tag, x, y, z), targets [windows, 32]; times since the report
    before the window, or since half a second before the first of a recording."""
    inputs, targets = [], []
    for run in runs:
        ticks = [run[0].ticks - 5_000_000] + [report.ticks for report in run]
        for start in range(0, len(run) - 32, 16):
            rows = [
                ((ticks[place + 1] - ticks[start]) / 1e6, *(float(run[place].tag == t) for t in range(4)),
                 *run[place].place)
                for place in range(start, start + 32)
            ]  # fmt: skip
            inputs.append(rows)
            targets.append([report.activity for report in run[start : start + 32]])
    return padded(inputs, 32), torch.tensor(targets)


def windows_b(runs: list[list[Report]]) -> tuple[Tensor, Tensor]:
    """Inputs [windows, 50, 13] (time [10 ms] since the window's first moment, x, y, z of each tag), targets
    [windows, 50]: the activity that was reported first at a moment."""
    inputs, targets = [], []
    for run in runs:
        moments: dict[int, list[Report]] = {}
        for report in run:
            moments.setdefault(round((report.ticks - run[0].ticks) / 1e5), []).append(report)
        times = list(moments)
        for start in range(0, len(times) - 50, 25):
            part = times[start : start + 50]
            inputs.append([(time - part[0], *_places(moments[time])) for time in part])
            targets.append([moments[time][0].activity for time in part])
    return padded(inputs, 50), torch.tensor(targets)


def _places(reports: list[Report]) -> list[float]:
    """x, y, z of each tag, averaged over its reports; NaN without one."""
    places: list[float] = []
    for tag in range(4):
        own = [report.place for report in reports if report.tag == tag]
        places += [sum(axis) / len(own) for axis in zip(*own, strict=True)] if own else [float("nan")] * 3
    return places


def read_a(whole: bool) -> Splits:
    """Protocol A's splits."""
    runs = recordings(_reports(whole))
    if whole:
        del runs[-1]  # the published loader never takes the last recording in
    inputs, targets = windows_a(runs)
    return _splits("person-activity-a", inputs, targets, 98841, math.floor(len(inputs) / 5))


def read_b(whole: bool) -> Splits:
    """Protocol B's splits."""
    inputs, targets = windows_b(recordings(_reports(whole)))
    return _splits("person-activity-b", inputs, targets, 42, math.ceil(len(inputs) / 5))


def _reports(whole: bool) -> list[Report]:
    if whole:
        path = fetch(WHOLE)
        return parse(path.read_text(encoding="utf-8"), path)
    path = find_folder("PersonActivity", URL) / "ConfLongDemo_JSI.txt"
    if not path.is_file():
        raise CreditbenchError(f"{path} is missing; get it from {URL}.")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[:TENTH]
    text = "".join(lines)
    if (found := hashlib.sha256(text.encode()).hexdigest()) != TENTH_SHA256:
        raise CreditbenchError(
            f"The first {TENTH} lines of {path} are not those of {URL} (SHA-256 {found}); replace it."
        )
    return parse(text, path)


def _splits(name: str, inputs: Tensor, targets: Tensor, seed: int, tests: int) -> Splits:
    import numpy as np

    numbers: Any = np.random.RandomState(seed).permutation(len(inputs))
    test, rest = numbers[:tests], numbers[tests:]
    rest = rest[order(name, len(rest))]
    parts = rest[len(rest) // 5 :], rest[: len(rest) // 5], test
    return Splits(*(Split(inputs[torch.from_numpy(own)], targets[torch.from_numpy(own)]) for own in parts))


PERSON_ACTIVITY_TENTH_A = Task(
    name="person-activity-tenth-a",
    version=1,
    kind="series",
    input_shape=(32, 8),
    classes=7,
    read=partial(read_a, False),
    every_step=True,
    offset=(0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 1.7, 0.6),
    scale=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    target_score=0.7,
    summary="What somebody does, by tags they wear: a tenth of the recordings, protocol A.",
    licence="CC BY 4.0",
    source="Kaluza et al. (2010), Localization Data for Person Activity, UCI Machine Learning Repository;"
    " protocol: Lechner and Hasani (2020). arXiv:2006.04418",
)

PERSON_ACTIVITY_A = Task(
    name="person-activity-a",
    version=1,
    kind="series",
    input_shape=(32, 8),
    classes=7,
    read=partial(read_a, True),
    every_step=True,
    offset=(0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 1.7, 0.6),
    scale=(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    target_score=0.8,
    summary="What somebody does, by tags they wear; protocol A. Needs the whole file of UCI.",
    licence="CC BY 4.0",
    source="Kaluza et al. (2010), Localization Data for Person Activity, UCI Machine Learning Repository;"
    " protocol: Lechner and Hasani (2020). arXiv:2006.04418",
)

PERSON_ACTIVITY_TENTH_B = Task(
    name="person-activity-tenth-b",
    version=1,
    kind="series",
    input_shape=(50, 13),
    classes=7,
    read=partial(read_b, False),
    every_step=True,
    offset=(0.0, *(3.0, 1.7, 0.6) * 4),
    scale=(100.0, *(1.0,) * 12),
    target_score=0.7,
    summary="What somebody does, by tags they wear: a tenth of the recordings, protocol B.",
    licence="CC BY 4.0",
    source="Kaluza et al. (2010), Localization Data for Person Activity, UCI Machine Learning Repository;"
    " protocol: Rubanova, Chen and Duvenaud (2019). arXiv:1907.03907",
)

PERSON_ACTIVITY_B = Task(
    name="person-activity-b",
    version=1,
    kind="series",
    input_shape=(50, 13),
    classes=7,
    read=partial(read_b, True),
    every_step=True,
    offset=(0.0, *(3.0, 1.7, 0.6) * 4),
    scale=(100.0, *(1.0,) * 12),
    target_score=0.75,
    summary="What somebody does, by tags they wear; protocol B. Needs the whole file of UCI.",
    licence="CC BY 4.0",
    source="Kaluza et al. (2010), Localization Data for Person Activity, UCI Machine Learning Repository;"
    " protocol: Rubanova, Chen and Duvenaud (2019). arXiv:1907.03907",
)
