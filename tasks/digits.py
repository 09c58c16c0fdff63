"""Handwritten digits of 8 by 8 pixels, which come with scikit-learn: a task of seconds.

Too easy for claims about credit assignment: a trained last layer over random features reaches about 97 %.
"""

from __future__ import annotations

import hashlib

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Split, Splits, Task
from creditbench.tasks.draws import order

TRAIN, VALIDATION, TEST = 1197, 300, 300
# Over the 1797 images and then the 1797 labels, one byte each.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def read() -> Splits:
    """The splits; which digit is in which depends on its number in scikit-learn's list alone."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    stored = images.astype("uint8"), labels.astype("uint8")
    if hashlib.sha256(stored[0].tobytes() + stored[1].tobytes()).hexdigest() != SHA256:
        raise CreditbenchError(
            "The digits of this scikit-learn are not those that the task 'digits' is made of; install"
            " another version of scikit-learn."
        )
    inputs = torch.from_numpy(stored[0]).view(-1, 1, 8, 8)
    targets = torch.from_numpy(stored[1]).long()
    numbers = order("digits", TRAIN + VALIDATION + TEST)
    parts = numbers[:TRAIN], numbers[TRAIN:-TEST], numbers[-TEST:]
    return Splits(*(Split(inputs[part], targets[part]) for part in parts))


DIGITS = Task(
    name="digits",
    version=1,
    kind="image",
    input_shape=(1, 8, 8),
    classes=10,
    read=read,
    offset=(4.8853,),  # of the training split; pixels are 0 ... 16
    scale=(6.0118,),
    target_score=0.95,
    summary="Handwritten digits, 8 x 8 pixels; 1,197 to learn from: seconds on any machine.",
    licence="CC BY 4.0",
    source="Alpaydin and Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning"
    " Repository. doi:10.24432/C50P49; the copy in scikit-learn",
)
