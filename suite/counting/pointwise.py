"""Prices of pointwise operators, per output element, as they are spelled.

a: addition or subtraction (rounding counts as one)   m: multiplication   d: division
c: comparison, selection, sign test or bit operation   t: transcendental function, square roots included
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from creditbench.suite.counting.contractions import Values, Work

LETTERS = {
    "a": "adds", "m": "multiplies", "d": "divisions", "c": "comparisons", "t": "transcendentals",
}  # fmt: skip

_TRANSCENDENTAL = """acos acosh asin asinh atan atan2 atanh cos cosh digamma erf erfc erfinv exp exp2 expm1
    lgamma log log10 log1p log2 rsqrt sigmoid sin sinc sinh sqrt tan tanh log_sigmoid_forward""".split()
_COMPARISON = """eq ne lt le gt ge maximum minimum fmax fmin clamp_min clamp_max relu where masked_fill
    logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor
    bitwise_left_shift bitwise_right_shift __and__ __or__ __xor__ __lshift__ __rshift__ isnan isinf isfinite
    isposinf isneginf signbit sign sgn abs copysign heaviside threshold threshold_backward hardshrink
    nan_to_num""".split()

POINTWISE: Mapping[str, str] = {
    **dict.fromkeys(_TRANSCENDENTAL, "t"),
    **dict.fromkeys(_COMPARISON, "c"),
    **dict.fromkeys("add sub rsub neg floor ceil round trunc".split(), "a"),
    **dict.fromkeys("mul square deg2rad rad2deg ldexp".split(), "m"),
    **dict.fromkeys("div true_divide reciprocal".split(), "d"),
    **dict.fromkeys("fmod remainder floor_divide".split(), "da"),
    "addcmul": "ma", "addcdiv": "da", "lerp": "maa", "hypot": "mmat", "logaddexp": "caatta",
    "xlogy": "ctm", "logit": "adt", "frac": "aa", "native_dropout_backward": "mm",
    # x if x > 0 else ...
    "leaky_relu": "cm", "leaky_relu_backward": "cm", "hardtanh": "cc", "relu6": "cc",
    "hardtanh_backward": "cc",
    "elu": "ctam", "elu_backward": "cmma", "softplus": "ct", "softplus_backward": "ctm", "softshrink": "ca",
    # derivatives at the output y: g (1 - y²), g y (1 - y); at the input s(x) (1 + x (1 - s(x)))
    "tanh_backward": "mma", "sigmoid_backward": "mma", "silu": "tm", "silu_backward": "tmmmaa",
    "mish": "ttm", "hardsigmoid": "accd", "hardswish": "accmd", "log_sigmoid_backward": "ctmd",
    "hardswish_backward": "ccdam", "hardsigmoid_backward": "ccm", "softshrink_backward": "c",
    "celu": "cdtam", "_prelu_kernel": "cm", "_prelu_kernel_backward": "cmm", "glu": "tm",
    # losses' slopes; of two branches the dearer one
    "mse_loss_backward": "amm", "huber_loss_backward": "accmm", "smooth_l1_loss_backward": "accdm",
    "binary_cross_entropy_backward": "aamdm",
}  # fmt: skip

# With exponents for which torch itself does without a transcendental function.
_POWERS = {0.0: "", 0.5: "t", 1.0: "", 2.0: "m", 3.0: "mm", -0.5: "t", -1.0: "d", -2.0: "md"}
# x/√2, erf, 1 +, half, x ·; its derivative adds the density. The tanh form has a cubic inside.
_GELU = {
    ("gelu", "none"): "mtamm", ("gelu", "tanh"): "mmmamtamm",
    ("gelu_backward", "none"): "mtammmtmmam", ("gelu_backward", "tanh"): "mmmamtamm" + "mammmmmaa",
}  # fmt: skip


def letters_of(name: str, v: Values) -> str | None:
    """The price of one output element, in letters; None if `name` is no such operator."""
    if name == "pow":
        exponent = v.get("exponent")
        known = isinstance(exponent, int | float) and not isinstance(exponent, bool)
        return _POWERS.get(float(exponent), "t") if known else "t"  # type: ignore[arg-type]
    if name in ("gelu", "gelu_backward"):
        return _GELU[name, v.get("approximate", "none")]
    if name == "clamp":
        return "c" * sum(v.get(bound) is not None for bound in ("min", "max"))
    if name in ("max", "min"):
        return "c" if "other" in v else None
    if name == "where" and "other" not in v:
        return None
    letters = POINTWISE.get(name)
    if letters is None:
        return None
    if name in ("add", "sub", "rsub") and _scales(v.get("alpha", 1)):
        letters += "m"
    if name in ("addcmul", "addcdiv") and _scales(v.get("value", v.get("scalars", 1))):
        letters += "m"
    if name == "div" and v.get("rounding_mode"):
        letters += "a"
    return letters


def _scales(factor: Any) -> bool:
    """Whether a factor has to be multiplied with; a tensor's value is not looked at."""
    return not isinstance(factor, int | float) or factor != 1


def work_of(letters: str, elements: int) -> Work:
    return {LETTERS[letter]: n * elements for letter, n in Counter(letters).items()}
