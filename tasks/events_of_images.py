"""Images as events: pixels row by row, thresholded, one step where black turns to white or back.

The lengths of the runs are in the elapsed times alone (event-based sequential MNIST of Lechner & Hasani
2020). A step's time is its pixel's number, from 1; behind the last change nothing is told. Splits are the
images'.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks import digits, idx_images


def events(images: Tensor, threshold: int, steps: int) -> Tensor:
    """Stored images [samples, ...] -> packed series [samples, steps, 2]: (time, 1 for above the threshold),
    cut off after `steps` events."""
    bits = images.flatten(1) > threshold  # [samples, pixels]
    change = torch.ones_like(bits)
    change[:, 1:] = bits[:, 1:] != bits[:, :-1]
    number = change.cumsum(1) - 1  # of the event at a pixel
    sample, pixel = (change & (number < steps)).nonzero(as_tuple=True)
    inputs = torch.full((len(images), steps, 2), torch.nan)
    place = (sample, number[sample, pixel])
    inputs[(*place, torch.zeros_like(sample))] = (pixel + 1).float()
    inputs[(*place, torch.ones_like(sample))] = bits[sample, pixel].float()
    return inputs


def read(images: Callable[[], Splits], threshold: int, steps: int) -> Splits:
    """The splits of an image task, each image as events."""
    whole = images()
    splits = (whole.train, whole.validation, whole.test)
    return Splits(*(Split(events(split.inputs, threshold, steps), split.targets) for split in splits))


DIGITS_EVENTS = Task(
    name="digits-events",
    version=1,
    kind="series",
    input_shape=(29, 2),
    classes=10,
    read=partial(read, digits.read, 7, 29),
    offset=(0.0, 0.0),
    scale=(64.0, 1.0),
    target_score=0.8,
    summary="The 8 x 8 digits row by row, told by the times at which black and white change.",
    licence="CC BY 4.0",
    source="Events of: Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine"
    " Learning Repository. doi:10.24432/C50P49; the copy in scikit-learn",
)

EVENT_SMNIST = Task(
    name="event-smnist",
    version=1,
    kind="series",
    input_shape=(128, 2),
    classes=10,
    read=partial(read, partial(idx_images.read, idx_images.MNIST_FILES), 128, 128),
    offset=(0.0, 0.0),
    scale=(256.0, 1.0),
    target_score=0.9,
    summary="MNIST pixel by pixel, told by the times at which black and white change.",
    licence="CC BY-SA 3.0",
    source="Lechner and Hasani (2020), arXiv:2006.04418; events of: LeCun, Bottou, Bengio and Haffner (1998)",
)
