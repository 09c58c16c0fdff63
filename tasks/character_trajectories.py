"""Character trajectories: which of twenty letters is written, told by the pen's velocity and force at some
moments.

30, 50 or 70 % of the moments are dropped, all three channels at once, at places that depend on the sample
alone (Kidger et al. 2020). At hand is a part of the data, 100 of 2,858 samples, 5 of each letter, as the R
package dtwclust (GPL-3) has it: 3 of each letter to learn from, 1 for validation, 1 for test. Figures on it
say little and are none of the data set's.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.draws import order
from creditbench.tasks.files import DataFile, fetch
from creditbench.tasks.padding import padded

FILE = DataFile(
    "CharacterTrajectories/uciCT.rda",
    "https://github.com/asardaes/dtwclust/raw/master/data/uciCT.rda",
    "sha256:d4f5abee1fd52ab1795a239bcbdddac908e43db883fb7be80e0afdc621a9f7a8",
)
MOST_STEPS = 205


def read_rda(path: Path) -> tuple[list[Any], list[str]]:
    """Trajectories [moments, 3] and letters of an R data file; needs the package rdata."""
    try:
        import rdata
    except ImportError as error:
        raise CreditbenchError(
            "Character trajectories come in R's format; install creditbench[series], which has rdata to"
            " read it."
        ) from error
    import numpy as np

    held = rdata.conversion.convert(rdata.parser.parse_file(path))
    letters = [str(label) for label in held["CharTrajLabels"]]
    return [np.asarray(one) for one in held["CharTrajMV"].values()], letters


def sparse(trajectory: Any, dropped: int, name: str) -> Any:
    """[moments, 3] -> [kept moments, 4]: time (counted from 1) and values of those that are kept."""
    import numpy as np

    count = len(trajectory)
    kept = sorted(order(f"character-trajectories/{dropped}/{name}", count)[: count - count * dropped // 100])
    return np.concatenate([np.array(kept)[:, None] + 1.0, trajectory[kept]], 1)


def read(dropped: int) -> Splits:
    """The splits with this percentage of moments dropped."""
    trajectories, letters = read_rda(fetch(FILE))
    names = sorted(set(letters))
    targets = torch.tensor([names.index(letter) for letter in letters])
    kept = [sparse(one, dropped, str(number)) for number, one in enumerate(trajectories)]
    inputs = padded(kept, MOST_STEPS)
    place = torch.arange(len(letters)) % 5  # letters come in fives
    parts = place < 3, place == 3, place == 4
    return Splits(*(Split(inputs[part], targets[part]) for part in parts))


CHARACTERS_30 = Task(
    name="character-trajectories-100-drop-30",
    version=2,  # 1 divided what was observed by the scale of time
    kind="series",
    input_shape=(205, 4),
    classes=20,
    read=partial(read, 30),
    offset=(0.0,),
    scale=(100.0, 1.0, 1.0, 1.0),
    target_score=0.5,
    summary="Handwritten letters, 30 % of the moments dropped: 100 of 2,858 samples.",
    licence="CC BY 4.0; as in the R package dtwclust, GPL-3",
    source="Williams (2006), Character Trajectories, UCI Machine Learning Repository; protocol: Kidger et al."
    " (2020). arXiv:2005.08926",
)

CHARACTERS_50 = Task(
    name="character-trajectories-100-drop-50",
    version=2,  # 1 divided what was observed by the scale of time
    kind="series",
    input_shape=(205, 4),
    classes=20,
    read=partial(read, 50),
    offset=(0.0,),
    scale=(100.0, 1.0, 1.0, 1.0),
    target_score=0.5,
    summary="Handwritten letters, 50 % of the moments dropped: 100 of 2,858 samples.",
    licence="CC BY 4.0; as in the R package dtwclust, GPL-3",
    source="Williams (2006), Character Trajectories, UCI Machine Learning Repository; protocol: Kidger et al."
    " (2020). arXiv:2005.08926",
)

CHARACTERS_70 = Task(
    name="character-trajectories-100-drop-70",
    version=2,  # 1 divided what was observed by the scale of time
    kind="series",
    input_shape=(205, 4),
    classes=20,
    read=partial(read, 70),
    offset=(0.0,),
    scale=(100.0, 1.0, 1.0, 1.0),
    target_score=0.5,
    summary="Handwritten letters, 70 % of the moments dropped: 100 of 2,858 samples.",
    licence="CC BY 4.0; as in the R package dtwclust, GPL-3",
    source="Williams (2006), Character Trajectories, UCI Machine Learning Repository; protocol: Kidger et al."
    " (2020). arXiv:2005.08926",
)
