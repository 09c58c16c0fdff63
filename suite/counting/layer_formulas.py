"""Prices of fused layers: normalisation and pooling, forwards and back, spelt out in arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from creditbench.suite.counting.contractions import Values, Work
from creditbench.suite.counting.operation_formulas import Price, merge
from creditbench.suite.counting.pointwise import work_of


def _normalised(n: int, groups: int, weight: bool, bias: bool, statistics: bool) -> Work:
    """(x - mean) / sqrt(var + e) * gain + shift, for n values in groups with a mean each."""
    works = [work_of("at", groups), work_of("am" + "m" * weight + "a" * bias, n)]
    if statistics:  # mean, deviations, squares, their mean
        works += [work_of("aa", n - groups), work_of("am", n), work_of("dd", groups)]
    return merge(*works)


def _batch_norm(v: Values, out: Any) -> Work:
    x, training = v["input"], v.get("training", True)
    channels = x.shape[1]
    weight, bias = v.get("weight") is not None, v.get("bias") is not None
    work = _normalised(x.numel(), channels, weight, bias, training)
    if training and v.get("running_mean") is not None:  # lerp of both, variance without bias
        work = merge(work, work_of("maa" + "maa" + "m", channels))
    return work


def _layer_norm(v: Values, out: Any) -> Work:
    n = v["input"].numel()
    groups = n // math.prod(v["normalized_shape"]) if n else 0
    return _normalised(n, groups, v.get("weight") is not None, v.get("bias") is not None, True)


def _group_norm(v: Values, out: Any) -> Work:
    weight, bias = v.get("weight") is not None, v.get("bias") is not None
    return _normalised(v["input"].numel(), v["N"] * v["group"], weight, bias, True)


def _normalised_backward(v: Values, groups: int, channels: int, fixed: bool = False) -> Work:
    """With x' normalised: gain sum(g x'), shift sum(g), input (g w - mean(g w) - x' mean(g w x')) / s."""
    n, mask = v["input"].numel(), v["output_mask"]
    works = [work_of("am", n)] if mask[0] or mask[1] else []  # x' once more
    if mask[0]:
        scaled = "m" * (v.get("weight") is not None)
        if fixed:  # statistics of inference do not depend on the input
            works = [work_of("am", n)] if mask[1] else []
            works.append(work_of(scaled + "m", n))
        else:
            works += [work_of(scaled + "m" + "m" + "aa" + "m", n), work_of("aa", n - groups)]
            works.append(work_of("dd", groups))
    if mask[1]:
        works += [work_of("m", n), work_of("a", n - channels)]
    if mask[2]:
        works.append(work_of("a", n - channels))
    return merge(*works)


def _batch_norm_backward(v: Values, out: Any) -> Work:
    channels = v["input"].shape[1]
    return _normalised_backward(v, channels, channels, not v["train"])


def _layer_norm_backward(v: Values, out: Any) -> Work:
    width = math.prod(v["normalized_shape"])
    return _normalised_backward(v, v["input"].numel() // max(1, width), width)


def _group_norm_backward(v: Values, out: Any) -> Work:
    return _normalised_backward(v, v["N"] * v["group"], v["C"])


def _window(v: Values) -> int:
    size = v["kernel_size"]
    return int(math.prod(size) if len(size) == 2 else size[0] ** 2)


def _max_pool(v: Values, out: Any) -> Work:
    """All taps of a window are compared, padding too."""
    return work_of("c", (_window(v) - 1) * out[0].numel())


def _mean_pool(v: Values, out: Any) -> Work:
    return merge(work_of("a", (_window(v) - 1) * out.numel()), work_of("d", out.numel()))


def _mean_pool_backward(v: Values, out: Any) -> Work:
    """Divided once, added to every place of the window."""
    n = v["grad_output"].numel()
    return merge(work_of("d", n), work_of("a", _window(v) * n))


def _adaptive(v: Values, out: Any) -> Work | None:
    if not _divides(v["self"], out):
        return None
    return merge(work_of("a", v["self"].numel() - out.numel()), work_of("d", out.numel()))


def _adaptive_max(v: Values, out: Any) -> Work | None:
    return work_of("c", v["self"].numel() - out[0].numel()) if _divides(v["self"], out[0]) else None


def _adaptive_backward(v: Values, out: Any) -> Work | None:
    if not _divides(out, v["grad_output"]):
        return None
    return merge(work_of("d", v["grad_output"].numel()), work_of("a", out.numel()))


def _divides(large: Tensor, small: Tensor) -> bool:
    return all(a % b == 0 for a, b in zip(large.shape[-2:], small.shape[-2:], strict=True))


LAYERS: Mapping[str, Price] = {
    "native_batch_norm": _batch_norm, "_native_batch_norm_legit": _batch_norm,
    "native_batch_norm_backward": _batch_norm_backward,
    "native_layer_norm": _layer_norm, "native_layer_norm_backward": _layer_norm_backward,
    "native_group_norm": _group_norm, "native_group_norm_backward": _group_norm_backward,
    "max_pool2d_with_indices": _max_pool, "avg_pool2d": _mean_pool,
    "avg_pool2d_backward": _mean_pool_backward,
    "max_pool2d_with_indices_backward": lambda v, out: work_of("a", v["grad_output"].numel()),
    "adaptive_max_pool2d": _adaptive_max,
    "adaptive_max_pool2d_backward": lambda v, out: work_of("a", v["grad_output"].numel()),
    "_adaptive_avg_pool2d": _adaptive, "_adaptive_avg_pool2d_backward": _adaptive_backward,
}  # fmt: skip
