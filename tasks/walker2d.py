"""Walker2d: the next state of a simulated walker out of its states at irregular moments.

400 rollouts of policies of MuJoCo's Walker2d (17 features), each frame kept with probability 0.9, windows of
64 kept frames every 16; the target at each step is the very next frame. Splits by rollout and the choice of
frames as in the code of Lechner & Hasani (2020): 1,272 validation and 1,937 test windows. Values are in the
units of the files, as in the published errors.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.files import find_folder
from creditbench.tasks.padding import padded

URL = "https://people.csail.mit.edu/mlechner/datasets/walker.zip"
ROLLOUTS, FEATURES, WINDOW, STRIDE, KEPT = 400, 17, 64, 16, 0.9
FILE_SEED, FRAME_SEED = 125487, 891374
# Over the values of all files in the order of their names, as 32-bit floats: the published files hold 64
# bits.
SHA256 = "86eeabcc676522a7136baf03eadf11f39d50cd493a754d316f6d82cbdc6692a0"


def parse_rollout(content: bytes, where: object) -> Any:
    """The array [frames, 17], float32, of one .npy file."""
    import numpy as np

    try:
        rollout = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CreditbenchError(f"{where} is no file of numpy's ({error}); replace it.") from error
    if rollout.ndim != 2 or rollout.shape[1] != FEATURES or rollout.dtype.kind != "f":
        raise CreditbenchError(
            f"{where} holds {rollout.dtype} {list(rollout.shape)}, not floats [frames, {FEATURES}]; replace"
            " it."
        )
    return rollout.astype(np.float32)


def windows(rollouts: list[Any], rng: Any) -> Split:
    """Inputs [windows, 64, 18] and targets [windows, 64, 17] of some rollouts, whose frames `rng` chooses."""
    import numpy as np

    inputs, targets = [], []
    for rollout in rollouts:
        (kept,) = (rng.random_sample(len(rollout) - 1) < KEPT).nonzero()  # the last frame is only a target
        skipped = np.diff(kept, prepend=-1)  # [kept], frames since the one before
        for start in range(0, len(kept) - WINDOW, STRIDE):
            part = kept[start : start + WINDOW]
            time = skipped[start : start + WINDOW].cumsum()
            inputs.append(np.concatenate([time[:, None].astype(np.float32), rollout[part]], 1))
            targets.append(rollout[part + 1])
    return Split(padded(inputs, WINDOW), torch.from_numpy(np.stack(targets)))


def read() -> Splits:
    """The splits: 15 % of the rollouts for test, 10 % for validation."""
    import numpy as np

    folder = find_folder("walker", URL)
    names = [f"rollout_{number:03}.npy" for number in range(ROLLOUTS)]
    rollouts, digest = [], hashlib.sha256()
    for name in names:
        if not (folder / name).is_file():
            raise CreditbenchError(f"{folder} lacks {name}; unpack {URL} there.")
        rollouts.append(parse_rollout((folder / name).read_bytes(), folder / name))
        digest.update(rollouts[-1].tobytes())
    if digest.hexdigest() != SHA256:
        raise CreditbenchError(f"The files in {folder} are not those of {URL}; replace them.")
    order = list(range(ROLLOUTS))
    np.random.RandomState(FILE_SEED).shuffle(order)
    test, valid, rng = int(0.15 * ROLLOUTS), int(0.25 * ROLLOUTS), np.random.RandomState(FRAME_SEED)
    # Frames are chosen in this order, from one stream.
    parts = [
        windows([rollouts[i] for i in own], rng) for own in (order[valid:], order[test:valid], order[:test])
    ]
    return Splits(*parts)


WALKER2D = Task(
    name="walker2d",
    version=1,
    kind="series",
    input_shape=(64, 18),
    classes=17,
    read=read,
    every_step=True,
    loss="mse",
    metric="mse",
    higher_is_better=False,
    offset=(0.0,),
    scale=(1.0,),
    target_score=1.2,
    summary="The next state of a simulated walker, every tenth frame missing; mean squared error.",
    licence="Apache-2.0",
    source="Lechner and Hasani (2020), Learning long-term dependencies in irregularly-sampled time series."
    " arXiv:2006.04418",
)
