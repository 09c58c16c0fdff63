"""What an operator is to the counter: priced, free or unknown; what it reads and what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from torch import Tensor

from creditbench.suite.counting.contractions import CONTRACTIONS, Work
from creditbench.suite.counting.free_operators import (
    COPIES,
    FILLS,
    GATHERS,
    OVERWRITES,
    SCATTERS,
    SHAPES_ONLY,
    VIEWS,
)
from creditbench.suite.counting.layer_formulas import LAYERS
from creditbench.suite.counting.operation_formulas import PRICES
from creditbench.suite.counting.pointwise import POINTWISE, letters_of, work_of
from creditbench.suite.counting.solver_formulas import SOLVERS

FORMULAS = {**PRICES, **LAYERS, **SOLVERS}

Kind = Literal["inert", "composite", "view", "free", "contraction", "priced"]


@dataclass(frozen=True)
class Operator:
    name: str  # in a spelling of its own: add_, mylibrary::add
    base: str  # shared by in-place spellings: add
    kind: Kind
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]  # the arguments that are written to
    known: bool = True  # torch's own, whose names mean what the tables say

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name; defaults left out."""
        return dict(zip(self.arguments, args, strict=False)) | kwargs

    def written(self, values: dict[str, Any]) -> list[Tensor]:
        """The tensors it changes."""
        found: list[Tensor] = []
        for name in self.outputs:
            value = values.get(name)
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, list | tuple):
                found += [tensor for tensor in value if isinstance(tensor, Tensor)]
        return found

    def read(self, values: dict[str, Any]) -> list[Tensor]:
        """The tensors whose values it looks at."""
        if self.base in FILLS or (self.name in SHAPES_ONLY and not isinstance(values.get("p"), Tensor)):
            return []
        skipped: tuple[str, ...] = ("out", *self.outputs) if self.name in OVERWRITES else ("out",)
        if self.base == "convolution_backward":
            mask = values["output_mask"]
            skipped = tuple(name for name, used in (("input", mask[1]), ("weight", mask[0])) if not used) + (
                () if any(mask) else ("grad_output",)
            )
        found: list[Tensor] = []
        for name, value in values.items():
            if name in skipped:
                continue
            if isinstance(value, Tensor):
                found.append(value)
            elif isinstance(value, list | tuple):
                found += [tensor for tensor in value if isinstance(tensor, Tensor)]
        return found

    @property
    def gathers(self) -> bool:
        return self.base in GATHERS

    @property
    def scatters(self) -> str | None:
        return SCATTERS.get(self.name)


@lru_cache(maxsize=4096)
def operator(func: Any) -> Operator:
    """What is to be known of an overload."""
    schema = func._schema
    namespace, name = schema.name.split("::")
    base = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    arguments = tuple(argument.name for argument in schema.arguments)
    outputs = tuple(
        a.name
        for a in schema.arguments
        if a.alias_info is not None and a.alias_info.is_write and (a.name != "grads" or "_fused" not in name)
    )
    known = namespace == "aten" or (namespace == "prims" and (name in POINTWISE or name in COPIES))
    if namespace == "profiler":
        kind: Kind = "inert"
    elif namespace == "aten" and base in CONTRACTIONS:
        kind = "contraction"
    elif func._can_decompose() and not _has_price(base):  # as inference mode leaves them
        kind = "composite"
    elif func.is_view or (namespace == "aten" and name in VIEWS):
        kind = "view"
    elif known and (name in FILLS or base in FILLS or base in COPIES):
        kind = "free"
    else:
        kind = "priced"
    if not known:
        name = schema.name
    return Operator(name, base, kind, arguments, outputs, known)


def _has_price(base: str) -> bool:
    return base in FORMULAS or base.startswith("_foreach_") or letters_of(base, {}) is not None


def work(op: Operator, values: dict[str, Any], out: Any) -> Work | None:
    """What a call costs; None where that is unknown."""
    if not op.known:
        return None
    try:
        if op.kind == "contraction":
            return CONTRACTIONS[op.base](values)
        if op.base.startswith("_foreach_"):
            return _each(op.base.removeprefix("_foreach_"), values, out)
        return _price(op.base, values, out)
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError):
        return None  # an overload with other arguments than its formula knows


def _price(base: str, values: dict[str, Any], out: Any) -> Work | None:
    letters = letters_of(base, values)
    if letters is not None:
        return work_of(letters, (out if isinstance(out, Tensor) else out[0]).numel())
    price = FORMULAS.get(base)
    return None if price is None else price(values, out)


def _each(base: str, values: dict[str, Any], out: Any) -> Work | None:
    """The sum over the lists of a `_foreach_` operator."""
    if base.removesuffix("_") in FILLS or base.removesuffix("_") in COPIES:
        return {}
    total: Work = {}
    for number, tensor in enumerate(values["self"]):
        own = {
            name: value[number] if isinstance(value, list | tuple) else value
            for name, value in values.items()
        }
        result = tensor if out is None else out[number]
        found = _price(base, own, result)
        if found is None:
            return None
        for key, count in found.items():
            total[key] = total.get(key, 0) + count
    return total
