"""Japanese vowels: who of nine speakers says "ae", told by 7 to 29 frames of 12 cepstral coefficients.

Regularly sampled; only the lengths are uneven. UCI's own split into 270 and 370 utterances; of each speaker's
30 training utterances every fifth is for validation.
"""

from __future__ import annotations

from pathlib import Path

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import DataFile, fetch, find_folder
from creditbench.tasks.padding import padded

URL = "https://timeseriesclassification.com/aeon-toolkit/JapaneseVowels.zip"
TRAIN_FILE = DataFile(
    "JapaneseVowels/JapaneseVowels_TRAIN.ts",
    URL,
    "sha256:68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
)
TEST_FILE = DataFile(
    "JapaneseVowels/JapaneseVowels_TEST.ts",
    URL,
    "sha256:b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
)
FRAMES, COEFFICIENTS = 29, 12


def parse_ts(text: str, where: Path | str) -> Split:
    """An aeon .ts file of equally sampled series: after @data, each line has its channels apart by colons,
    its values by commas, and the class number last. Inputs [samples, 29, 13], frames counted from 1."""
    head, found, body = text.partition("@data\n")
    if not found or "@classLabel true" not in head:
        raise CreditbenchError(f"{where} is no .ts file with classes; replace it.")
    series, targets = [], []
    for number, line in enumerate(body.splitlines(), 1):
        *channels, label = line.strip().split(":")
        rows = [[float(value) for value in channel.split(",")] for channel in channels]
        if len(rows) != COEFFICIENTS or len({len(row) for row in rows}) > 1 or len(rows[0]) > FRAMES:
            raise CreditbenchError(
                f"{where}, series {number}: not {COEFFICIENTS} channels of one length up to {FRAMES};"
                " replace it."
            )
        series.append([(frame, *values) for frame, values in enumerate(zip(*rows, strict=True), 1)])
        targets.append(int(label) - 1)
    return Split(padded(series, FRAMES), torch.tensor(targets))


def read() -> Splits:
    """The splits, in the order of the files."""
    whole, test = (
        parse_ts(path.read_text(encoding="utf-8"), path) for path in map(_fetch, (TRAIN_FILE, TEST_FILE))
    )
    held = torch.arange(len(whole)) % 5 == 4
    return Splits(
        train=Split(whole.inputs[~held], whole.targets[~held]),
        validation=Split(whole.inputs[held], whole.targets[held]),
        test=test,
    )


def _fetch(file: DataFile) -> Path:
    find_folder("JapaneseVowels", URL)  # published as a zip, which is not unpacked here
    return fetch(file)


JAPANESE_VOWELS = Task(
    name="japanese-vowels",
    version=2,  # 1 divided what was observed by the scale of time
    kind="series",
    input_shape=(29, 13),
    classes=9,
    read=read,
    offset=(0.0,),
    scale=(10.0, *(1.0,) * 12),
    target_score=0.9,
    summary="Which of nine speakers says a vowel: 12 coefficients in 7 to 29 frames.",
    licence="CC BY 4.0",
    source="Kudo, Toyama and Shimbo (1999), Multidimensional curve classification using passing-through"
    " regions, Pattern Recognition Letters 20(11-13); UCI Machine Learning Repository",
)
