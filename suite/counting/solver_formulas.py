"""Prices of linear solvers and distances, by the textbook algorithm; zeros inside are not looked for.

For n x n matrices and k columns: elimination n (n - 1) (2n - 1) / 6 MACs, a triangle k n (n - 1) / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditbench.suite.counting.contractions import Values, Work
from creditbench.suite.counting.operation_formulas import Price, first, merge


def _lu(matrices: int, n: int) -> Work:
    """Gaussian elimination with a search for the pivot."""
    macs, half = matrices * n * (n - 1) * (2 * n - 1) // 6, matrices * n * (n - 1) // 2
    return {"macs": macs, "effective_macs": macs, "divisions": half, "comparisons": half}


def _substitution(matrices: int, n: int, columns: int) -> Work:
    """One triangle."""
    macs = matrices * columns * n * (n - 1) // 2
    return {"macs": macs, "effective_macs": macs, "divisions": matrices * columns * n}


def _solve(v: Values, out: Any) -> Work:
    a, solution = v["A"], first(out)
    n = a.shape[-1]
    matrices = a.numel() // max(1, n * n)
    columns = solution.numel() // max(1, matrices * n)
    work = merge(_lu(matrices, n), *[_substitution(matrices, n, columns)] * 2)
    work["divisions"] -= matrices * columns * n  # the lower triangle has ones on its diagonal
    return work


def _factors(v: Values, out: Any) -> Work:
    a = v["A"]
    return _lu(a.numel() // max(1, a.shape[-1] ** 2), a.shape[-1])


def _determinant(v: Values, out: Any) -> Work:
    """Elimination and the product of the diagonal."""
    n = v["A"].shape[-1]
    return merge(_factors(v, out), {"multiplies": v["A"].numel() // max(1, n * n) * max(0, n - 1)})


def _cholesky(v: Values, out: Any) -> Work:
    n = v["self"].shape[-1]
    matrices = v["self"].numel() // max(1, n * n)
    macs = matrices * n * (n - 1) * (n + 1) // 6
    half = matrices * n * (n - 1) // 2
    return {"macs": macs, "effective_macs": macs, "divisions": half, "transcendentals": matrices * n}


def _triangle(v: Values, out: Any) -> Work:
    n = v["self"].shape[-1]
    matrices = out.numel() // max(1, v["B"].shape[-2] * v["B"].shape[-1])
    return _substitution(matrices, n, out.numel() // max(1, matrices * n))


def _cdist(v: Values, out: Any) -> Work | None:
    """Differences, squares, sums, roots."""
    length, pairs = v["x1"].shape[-1], out.numel()
    if v["p"] != 2 or not length:
        return None
    return {"adds": pairs * (2 * length - 1), "multiplies": pairs * length, "transcendentals": pairs}


SOLVERS: Mapping[str, Price] = {
    "_linalg_solve_ex": _solve, "linalg_lu_factor_ex": _factors, "linalg_cholesky_ex": _cholesky,
    "linalg_solve_triangular": _triangle, "linalg_inv_ex": _solve, "_linalg_det": _determinant,
    "_cdist_forward": _cdist,
}  # fmt: skip
