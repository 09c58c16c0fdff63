"""What multiplies the weights during a step, seen at torch's operator dispatch.

A weight is recognised by its memory, whatever view of it is used, and so are copies and functions of it
while they keep its axes. A contraction over a weight's input axis is its use in the forward direction: the
other operand is an activity (a tangent, a noise, a second pass: it makes no difference). A contraction over
its output axis is the way back.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from creditbench.suite.audit.bench import Update, Watcher
from creditbench.suite.counting.free_operators import FILLS, SHAPES_ONLY, VIEWS
from creditbench.suite.counting.operators import operator
from creditbench.suite.counting.pointwise import letters_of
from creditbench.suite.learner import Learner

Axis = Literal["in", "out"]
SOLVERS = frozenset(
    """_linalg_solve_ex linalg_lu_factor_ex linalg_lu linalg_lu_solve lu_solve linalg_cholesky_ex
    cholesky_solve cholesky_inverse linalg_solve_triangular triangular_solve linalg_inv_ex linalg_lstsq
    linalg_ldl_solve linalg_pinv _linalg_svd _linalg_eigh linalg_eig linalg_qr _linalg_eigvals""".split()
)
# The two operands of a product of matrices or vectors, by the operator's argument names.
PRODUCTS = {
    "mm": ("self", "mat2"), "bmm": ("self", "mat2"), "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"), "addbmm": ("batch1", "batch2"), "mv": ("self", "vec"),
    "addmv": ("mat", "vec"), "dot": ("self", "tensor"), "vdot": ("self", "other"),
}  # fmt: skip
# Pointwise operators that are linear in a weight when nothing else in them is one.
LINEAR = frozenset(["clone", "_to_copy", "neg", "mul", "div", "add", "sub", "rsub", "contiguous"])
SUMS = frozenset(["sum", "mean"])


@dataclass(frozen=True)
class Held:
    """Memory that holds a block's weights, or something made of them that still has their axes."""

    block: int
    axes: dict[int, Axis]  # by stride
    memory: Tensor  # held on to, so that its address is not given away
    through: str = ""  # the function that is not linear in the weights and was applied to them


@dataclass(frozen=True)
class Event:
    """activity: about to meet the weights of `block`; product: what came of it; update: yielded."""

    kind: Literal["activity", "product", "update"]
    block: int | str
    step: int
    tensors: tuple[Tensor, ...]


@dataclass
class Observation:
    """What was seen in a play."""

    events: list[Event] = field(default_factory=list)
    back: Counter[tuple[int, str]] = field(default_factory=Counter)  # (block, operator): over the output axis
    curved: dict[int, set[str]] = field(default_factory=dict)  # forward through these functions
    strange: dict[int, set[str]] = field(default_factory=dict)  # read by operators that are not understood
    solvers: Counter[str] = field(default_factory=Counter)
    rows: Counter[object] = field(default_factory=Counter)  # vectors sent through each weight or feedback

    def activities(self, block: int, since: int = 0) -> Tensor | None:
        """All vectors that met the weights of a block on their input axis, [vectors, inputs]."""
        met = [e.tensors[0] for e in self.events[since:] if e.kind == "activity" and e.block == block]
        return torch.cat(met) if met else None


class WeightWatch(Watcher):
    """Observes every step of a play. `at`: something to be done once so many events have been seen."""

    def __init__(self, at: tuple[int, Callable[[Learner], None]] | None = None) -> None:
        self.seen, self.step, self.at = Observation(), 0, at
        self.held: dict[int, Held] = {}
        self.feedback: dict[int, tuple[str, Tensor]] = {}  # tensors of the state in a hidden weight's shape
        self.mode: _Mode | None = None

    def start(self, learner: Learner) -> None:
        self.learner = learner
        for number, block in enumerate(learner.network.blocks):
            weight = block.parameters.get("weight")
            if weight is not None:
                self._hold(weight, number, _names(weight))
        interior = {block.weight.shape for block in learner.network.blocks[1:-1]}
        for name, tensor in (*learner.state.learned.items(), *learner.state.carried.items()):
            self._recognise(name, tensor)
            if tensor.dim() > 1 and (tensor.shape in interior or tensor.mT.shape in interior):
                self.feedback[_address(tensor)] = (name, tensor)

    def _hold(self, weight: Tensor, number: int, names: tuple[Axis, ...]) -> None:
        axes = {weight.stride(d + 1): name for d, name in enumerate(names) if weight.shape[d + 1] > 1}
        self.held[_address(weight)] = Held(number, axes, weight)

    def _recognise(self, name: str, tensor: Tensor) -> None:
        """A copy that the rule made before it was watched."""
        for held in list(self.held.values()):
            weight = held.memory
            if tensor.dtype != weight.dtype or tensor.dim() != weight.dim():
                continue
            if torch.equal(tensor, weight):
                self._hold(tensor, held.block, _names(weight))
            elif weight.dim() == 3 and torch.equal(tensor.mT, weight):
                self._hold(tensor, held.block, ("in", "out"))

    def __enter__(self) -> WeightWatch:
        self.mode = _Mode(self)
        self.mode.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        assert self.mode is not None
        self.mode.__exit__(*error)  # type: ignore[no-untyped-call]
        self.step += 1

    def updated(self, update: Update) -> None:
        with self.paused():
            self.note("update", update.target, *update.tensors.values())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        assert self.mode is not None
        before, self.mode.busy = self.mode.busy, True
        try:
            yield
        finally:
            self.mode.busy = before

    def note(
        self, kind: Literal["activity", "product", "update"], block: int | str, *tensors: Tensor
    ) -> None:
        kept = tensors if kind == "update" else tuple(tensor.detach().clone() for tensor in tensors)
        self.seen.events.append(Event(kind, block, self.step, kept))
        if self.at is not None and len(self.seen.events) == self.at[0]:
            self.at[1](self.learner)

    # ------------------------------------------------------------------------- operators

    def look(self, base: str, name: str, values: dict[str, Any], out: Any, writes: list[Tensor]) -> None:
        if base in SOLVERS:
            self.seen.solvers[base] += 1
        given = [(key, value) for key, value in values.items() if isinstance(value, Tensor)]
        if base in PRODUCTS:
            left, right = (values[key] for key in PRODUCTS[base])
            self._product(base, left, right, out)
            given = [(key, value) for key, value in given if key not in PRODUCTS[base]]
        elif base == "convolution":
            self._convolution(values, out)
            given = []
        elif base == "convolution_backward":
            self._convolution_backward(values, out)
            given = []
        read = [(value, held) for _, value in given if (held := self.of(value)) is not None]
        listed = [t for value in values.values() if isinstance(value, list | tuple) for t in _tensors(value)]
        for tensor in listed:
            if (held := self.of(tensor)) is not None:
                self._strange(held, base, out)
        if not read or base in FILLS or name in SHAPES_ONLY or base.startswith(("new_", "empty", "rand")):
            return
        if base in SUMS:
            self._sum(base, *read[0], values, out)
        elif base in LINEAR or base == "copy" or letters_of(base, values) is not None:
            self._pointwise(base, read, given, out, writes)
        else:
            for _, held in read:
                self._strange(held, base, out)

    def of(self, tensor: Tensor) -> Held | None:
        if tensor.layout is not torch.strided:
            return None
        return self.held.get(_address(tensor))

    def _axis(self, tensor: Tensor, held: Held, dim: int) -> Axis | None:
        return held.axes.get(tensor.stride(dim))

    def _product(self, base: str, left: Tensor, right: Tensor, out: Any) -> None:
        inner_right = -1 if right.dim() == 1 else -2
        for weight, dim, other, inner in ((left, -1, right, inner_right), (right, inner_right, left, -1)):
            vectors = other.movedim(inner, -1).reshape(-1, other.shape[inner])
            if self.of(other) is None:
                self._count(weight, vectors)
            held = self.of(weight)
            if held is None:
                continue
            axis = self._axis(weight, held, dim)
            if axis is None or weight.shape[dim] == 1:
                self._strange(held, base, out)
            elif axis == "out":
                self.seen.back[held.block, base] += 1
            else:
                self._forward(held, vectors, out)

    def _forward(self, held: Held, vectors: Tensor, out: Any) -> None:
        if held.through:
            self.seen.curved.setdefault(held.block, set()).add(held.through)
        self.note("activity", held.block, vectors)
        self.note("product", held.block, *_tensors(out))

    def _count(self, weight: Tensor, vectors: Tensor) -> None:
        """Vectors that are sent through a weight or a feedback tensor."""
        key: object = None
        if (held := self.of(weight)) is not None:
            key = held.block
        elif _address(weight) in self.feedback:
            key = self.feedback[_address(weight)][0]
        if key is not None:
            self.seen.rows[key] += len(vectors)

    def _convolution(self, v: dict[str, Any], out: Any) -> None:
        x, weight = v["input"], v["weight"]
        if (held := self.of(x)) is not None:
            self._strange(held, "convolution", out)
        held = self.of(weight)
        self._count(weight, x)
        if held is None:
            return
        if v["transposed"]:
            self.seen.back[held.block, "convolution"] += 1
        elif x.dim() != 4 or v["groups"] != 1:
            self._strange(held, "convolution", out)
        else:
            patches = torch.nn.functional.unfold(
                x, tuple(weight.shape[2:]), v["dilation"], v["padding"], v["stride"]
            )
            self._forward(held, torch.unique(patches.mT.flatten(0, 1), dim=0), out)

    def _convolution_backward(self, v: dict[str, Any], out: Any) -> None:
        weight, mask = v["weight"], v["output_mask"]
        if not mask[0]:
            return
        self._count(weight, v["grad_output"])
        if (held := self.of(weight)) is not None:
            self.seen.back[held.block, "convolution_backward"] += 1

    def _sum(self, base: str, tensor: Tensor, held: Held, values: dict[str, Any], out: Any) -> None:
        dims = values.get("dim")
        dims = (
            range(tensor.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        )
        axes = {self._axis(tensor, held, dim) for dim in dims if tensor.shape[dim] > 1}
        if "out" in axes:
            self.seen.back[held.block, base] += 1
        elif axes == {"in"} and not held.through:
            self._forward(held, tensor.new_ones(1, self._inputs(held)), out)
        elif axes:
            self._strange(held, base, out)

    def _pointwise(
        self, base: str, read: list[tuple[Tensor, Held]], given: list[tuple[str, Tensor]], out: Any,
        writes: list[Tensor],
    ) -> None:  # fmt: skip
        made = _tensors(out) or writes
        tensor, held = read[0]
        if any(other.block != held.block for _, other in read) or len(made) != 1:
            for _, each in read:
                self._strange(each, base, out)
            return
        result = made[0]
        if _address(result) in self.held and result.numel() and _address(result) == _address(tensor):
            self._strange(held, base, out)  # the weights themselves were written
            return
        others = [other for _, other in given if other is not tensor]
        scaled = base in ("mul", "div") and any(self._varies(other, tensor, held) for other in others)
        linear = len(read) == 1 and base in (*LINEAR, "copy") and not scaled
        through = held.through or ("" if linear else base)
        axes: dict[int, Axis] = {}
        for dim in range(-tensor.dim(), 0):
            axis = self._axis(tensor, held, dim)
            if tensor.shape[dim] > 1 and axis is not None and result.shape[dim] > 1:
                axes[result.stride(dim)] = axis
        self.held[_address(result)] = Held(held.block, axes, result, through)

    def _varies(self, other: Tensor, tensor: Tensor, held: Held) -> bool:
        """Whether a factor differs between a neuron's inputs."""
        for dim in range(-min(other.dim(), tensor.dim()), 0):
            if other.shape[dim] > 1 and self._axis(tensor, held, dim) == "in":
                return True
        return False

    def _inputs(self, held: Held) -> int:
        weight = self.learner.network.blocks[held.block].weight
        return weight[0, 0].numel()

    def _strange(self, held: Held, base: str, out: Any) -> None:
        self.seen.strange.setdefault(held.block, set()).add(base)
        self.note("product", held.block, *_tensors(out))


class _Mode(TorchDispatchMode):
    def __init__(self, watch: WeightWatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch, self.busy, self.thread = watch, False, threading.get_ident()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        op = operator(func)
        if self.busy or op.kind == "inert":
            return func(*args, **kwargs)
        if op.kind == "composite":
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if op.kind == "view" or op.name in VIEWS:
            return out
        values = op.bind(args, kwargs)
        self.busy = True
        try:
            self.watch.look(op.base, op.name, values, out, op.written(values))
        finally:
            self.busy = False
        return out


def _names(weight: Tensor) -> tuple[Axis, ...]:
    """The axes of a weight [seed, out, in, ...], the seed left out."""
    out: Axis = "out"
    into: Axis = "in"
    return (out, *(into,) * (weight.dim() - 2))


def _address(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [item for item in value if isinstance(item, Tensor)] if isinstance(value, Iterable) else []
