"""Prices of reductions, losses, random numbers and optimizers, written out in arithmetic.

A price takes an operator's arguments by name and its result; None: not priced for these arguments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from creditbench.suite.counting.contractions import Values, Work
from creditbench.suite.counting.pointwise import work_of

Price = Callable[[Values, Any], Work | None]


def first(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else next(t for t in out if isinstance(t, Tensor))


def _reduction(per_step: str, per_input: str = "", per_output: str = "") -> Callable[[Values, Any], Work]:
    """n inputs into m outputs: n - m steps, and something for every input and every output."""

    def price(v: Values, out: Any) -> Work:
        n = v["self"].numel()
        m = 1 if isinstance(out, bool) else first(out).numel()
        counts = dict.fromkeys("amcdt", 0)
        for letters, times in ((per_step, max(n - m, 0)), (per_input, n), (per_output, m)):
            for letter in letters:
                counts[letter] += times
        return merge(*(work_of(letter, count) for letter, count in counts.items() if count))

    return price


def merge(*works: Work) -> Work:
    total: Work = {}
    for work in works:
        for key, count in work.items():
            total[key] = total.get(key, 0) + count
    return total


def _var(v: Values, out: Any) -> Work:
    """Mean, deviations, squares, their mean."""
    return _reduction("aa", "am", "dd")(v, out)


def _std(v: Values, out: Any) -> Work:
    return merge(_var(v, out), work_of("t", first(out).numel()))


def _norm(v: Values, out: Any) -> Work:
    order = v.get("ord", v.get("p", 2))
    if order is None or order == 2:
        return _reduction("a", "m", "t")(v, out)
    if order in (1, math.inf, -math.inf):
        return _reduction("a" if order == 1 else "c", "c")(v, out)
    return _reduction("a", "ct", "t")(v, out)


def _rows(v: Values, out: Any) -> int:
    """How many sums a reduction along `dim` has."""
    t, dim = v.get("output", v.get("self")), v["dim"]
    assert isinstance(t, Tensor)
    return t.numel() // max(1, t.shape[dim] if t.dim() else 1)


def _softmax(v: Values, out: Any) -> Work:
    """Greatest, subtract, exponential, sum, divide; its logarithm subtracts once more and divides never."""
    n, rows = out.numel(), _rows(v, out)
    return {"comparisons": n - rows, "adds": 2 * n - rows, "transcendentals": n, "divisions": n}


def _log_softmax(v: Values, out: Any) -> Work:
    n, rows = out.numel(), _rows(v, out)
    return {"comparisons": n - rows, "adds": 3 * n - rows, "transcendentals": n + rows}


def _softmax_backward(v: Values, out: Any) -> Work:
    """y (g - sum g y)."""
    n, rows = out.numel(), _rows(v, out)
    return {"multiplies": 2 * n, "adds": 2 * n - rows}


def _log_softmax_backward(v: Values, out: Any) -> Work:
    """g - exp(y) sum g."""
    n, rows = out.numel(), _rows(v, out)
    return {"transcendentals": n, "multiplies": n, "adds": 2 * n - rows}


def _nll(v: Values, out: Any) -> Work:
    """Picks; sums unless each is wanted; divides by their number for the mean. Signs are free."""
    samples, weighted = v["target"].numel(), v.get("weight") is not None
    if v["reduction"] == 0:
        return {"multiplies": samples * weighted}
    adds = (samples - 1) * (1 + weighted)
    return {"multiplies": samples * weighted, "adds": adds, "divisions": int(v["reduction"] == 1)}


def _nll_backward(v: Values, out: Any) -> Work:
    weighted = v.get("weight") is not None
    return {"multiplies": v["target"].numel() * weighted, "divisions": int(v["reduction"] == 1)}


def _loss(letters: str) -> Price:
    """Letters an element; summed unless each is wanted; divided by their number for the mean."""

    def price(v: Values, out: Any) -> Work:
        n = v["self"].numel()
        weights = sum(v.get(name) is not None for name in ("weight", "pos_weight"))
        work = work_of(letters + "m" * weights, n)
        if v.get("reduction", 1) == 0:
            return work
        return merge(work, {"adds": n - 1, "divisions": int(v.get("reduction", 1) == 1)})

    return price


def _scan(letter: str) -> Price:
    def price(v: Values, out: Any) -> Work:
        return work_of(letter, out.numel() - _rows(v, out))

    return price


def _sort(v: Values, out: Any) -> Work:
    """n log2 n comparisons a row."""
    length = v["self"].shape[v.get("dim", -1)] if v["self"].dim() else 1
    return {"comparisons": v["self"].numel() * math.ceil(math.log2(max(2, length)))}


def _topk(v: Values, out: Any) -> Work:
    """A heap of k: log2 (k + 1) comparisons an element."""
    return {"comparisons": v["self"].numel() * math.ceil(math.log2(v["k"] + 1))}


# -------------------------------------------------------------------------- random numbers


def _draws(letters: str = "", affine: tuple[str, str] | None = None) -> Price:
    """One draw an element whatever its distribution, and what makes the distribution of it. `affine`:
    the arguments that shift and scale, where they do."""

    def price(v: Values, out: Any) -> Work:
        n, extra = first(out).numel(), ""
        if affine and isinstance(v.get("self"), Tensor):
            low, high = v.get(affine[0], 0), v.get(affine[1], 1)
            extra = "" if (low, high) == (0, 1) else "ma"
        return merge({"random_draws": n}, work_of(letters + extra, n))

    return price


BOX_MULLER = "ttmm"  # per number: a logarithm, root, sine and cosine, and four products, for two


# ------------------------------------------------------------------------------ optimizers


def _adam(v: Values, out: Any) -> Work:
    """m = lerp(m, g), v = b v + (1 - b) g g, p += s m / (sqrt(v) / c + e), as torch spells it unfused."""
    n = sum(p.numel() for p in v["self"])
    decay = v["weight_decay"] != 0
    letters = "maa" + "mmma" + "td" + "a" + "dma" + "c" * v["amsgrad"] + "m" * decay
    return work_of(letters + "a" * (decay and v["decay_adds"]), n)


def _sgd(v: Values, out: Any) -> Work:
    n, momentum = sum(p.numel() for p in v["self"]), v["momentum"] != 0
    letters = "ma" + "ma" * (v["weight_decay"] != 0)
    if momentum and not v["is_first_step"]:
        letters += "ma" + "m" * (v["dampening"] != 0)
    return work_of(letters + "ma" * (momentum and v["nesterov"]), n)


def _index_put(v: Values, out: Any) -> Work:
    return work_of("a" if v.get("accumulate") else "", v["values"].numel())


def _scatter_reduce(v: Values, out: Any) -> Work | None:
    letter = {"sum": "a", "prod": "m", "amax": "c", "amin": "c"}.get(v["reduce"])
    return None if letter is None else work_of(letter, v["index"].numel())


PRICES: Mapping[str, Price] = {
    "sum": _reduction("a"), "mean": _reduction("a", "", "d"), "prod": _reduction("m"),
    "nansum": _reduction("a", "c"), "any": _reduction("c"), "all": _reduction("c"),
    **dict.fromkeys("argmax argmin max min amax amin aminmax median equal".split(), _reduction("c")),
    "count_nonzero": _reduction("a", "c"), "nonzero": lambda v, out: work_of("c", v["self"].numel()),
    "where": lambda v, out: work_of("c", v["condition"].numel()),
    "logsumexp": _reduction("ca", "at", "ta"),
    "linalg_vector_norm": _norm, "norm": _norm,
    **dict.fromkeys(["var", "var_mean"], _var), **dict.fromkeys(["std", "std_mean"], _std),
    "cumsum": _scan("a"), "cumprod": _scan("m"), "cummax": lambda v, out: _scan("c")(v, out[0]),
    "_softmax": _softmax, "_safe_softmax": _softmax, "_log_softmax": _log_softmax,
    "_softmax_backward_data": _softmax_backward, "_log_softmax_backward_data": _log_softmax_backward,
    "nll_loss_forward": _nll, "nll_loss_backward": _nll_backward, "mse_loss": _loss("am"),
    # difference, size, threshold, and the dearer branch; (1 - z) x + max(-x, 0) + log(1 + exp(-|x|))
    "huber_loss": _loss("accmm"), "smooth_l1_loss": _loss("accmmd"),
    "binary_cross_entropy": _loss("attammaa"), "binary_cross_entropy_with_logits": _loss("amaccattaa"),
    "nll_loss2d_forward": _nll, "nll_loss2d_backward": _nll_backward,
    "sort": _sort, "argsort": _sort, "topk": _topk,
    "bincount": lambda v, out: work_of("a", v["self"].numel()),
    "scatter_add": lambda v, out: work_of("a", v["index"].numel()),
    "index_add": lambda v, out: work_of("a" if v.get("alpha", 1) == 1 else "am", v["source"].numel()),
    **dict.fromkeys(["index_put", "_index_put_impl", "_unsafe_index_put"], _index_put),
    "embedding_dense_backward": lambda v, out: work_of("a", v["grad_output"].numel()),
    "scatter_reduce": _scatter_reduce, "trace": lambda v, out: work_of("a", min(v["self"].shape) - 1),
    "unfold_backward": lambda v, out: work_of("a", v["grad_in"].numel()),
    "upsample_nearest2d_backward": lambda v, out: work_of("a", v["grad_output"].numel()),
    "col2im": lambda v, out: work_of("a", v["self"].numel()),
    **dict.fromkeys("rand rand_like random randperm randint randint_like".split(), _draws()),
    "uniform": _draws("", ("from", "to")), "bernoulli": _draws("c"),
    "native_dropout": _draws("cmm"),
    "normal": _draws(BOX_MULLER, ("mean", "std")), "randn": _draws(BOX_MULLER),
    "randn_like": _draws(BOX_MULLER),
    "exponential": _draws("tm"),
    "_fused_adam": lambda v, out: _adam({**v, "decay_adds": True}, out),
    "_fused_adamw": lambda v, out: _adam({**v, "decay_adds": False}, out), "_fused_sgd": _sgd,
}  # fmt: skip
