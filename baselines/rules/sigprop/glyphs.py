"""Class numbers as pictures: seven-segment digits of 7 x 7 pixels, scaled to fit side by side."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from creditbench.suite.types import Shape

SIDE, LEAST = 7, 5  # pixels of a digit, and the fewest on which all ten still differ
STROKES = {  # rows and columns of each segment
    "a": (slice(0, 1), slice(0, 7)), "b": (slice(0, 4), slice(6, 7)), "c": (slice(3, 7), slice(6, 7)),
    "d": (slice(6, 7), slice(0, 7)), "e": (slice(3, 7), slice(0, 1)), "f": (slice(0, 4), slice(0, 1)),
    "g": (slice(3, 4), slice(0, 7)),
}  # fmt: skip
DIGITS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")


def digit_side(shape: Shape, classes: int) -> int:
    """Pixels of a digit's side when the largest class number is drawn on an image; 0 for no image."""
    if len(shape) != 3:
        return 0
    return min(shape[1], shape[2] // len(str(classes - 1)))


def numbers(shape: Shape, classes: int) -> Tensor:
    """Every class's number: strokes 1, their surroundings -1, the rest of the plane 0.

    [classes, channels, height, width]."""
    plane, side = torch.zeros(classes, *shape), digit_side(shape, classes)
    for label in range(classes):
        for place, digit in enumerate(str(label)):
            glyph = -torch.ones(1, SIDE, SIDE)
            for stroke in DIGITS[int(digit)]:
                glyph[0][STROKES[stroke]] = 1.0
            scaled = adaptive_avg_pool2d(glyph, (side, side))
            plane[label, :, :side, place * side : (place + 1) * side] = scaled
    return plane
