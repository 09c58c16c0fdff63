"""Counting operations at torch's dispatch, so that any rule is counted alike, by what it executes.

    with creditbench.count_operations() as ops:
        step()
    ops.macs, ops.adds, ops.by_phase["credit"].macs, ops.unknown, ops.coverage

Whatever runs is seen: forward, credit assignment, local losses, relaxation, autograd's backward, vmap,
the optimizer. Every operator is priced (a formula), free (a view; a copy with its traffic) or unknown and
named. docs/protocol.md states the convention.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from creditbench.suite.counting.contractions import Work
from creditbench.suite.counting.critical_path import CriticalPath
from creditbench.suite.counting.energy import Energy, energy
from creditbench.suite.counting.fused_kernels import fused_kernels_off
from creditbench.suite.counting.operators import Operator, operator, work
from creditbench.suite.counting.traffic import Origins, size
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.phases import PHASES, current_phase
from creditbench.suite.spikes import CARRIERS, are_spikes, declare_spikes


@dataclass
class Counts:
    """How often each kind of operation was done. `macs`, `acs`, `multiplies` and `adds` are disjoint."""

    macs: int = 0  # multiply-accumulates of contractions, zeros and padding included
    effective_macs: int = 0  # those with both operands non-zero
    acs: int = 0  # accumulates: effective ones of contractions with declared spikes, which are no MACs
    dense_acs: int = 0  # what these would be for a machine that does not skip zeros
    adds: int = 0
    multiplies: int = 0
    divisions: int = 0
    comparisons: int = 0  # selections, sign tests and logic included
    transcendentals: int = 0  # square roots included
    random_draws: int = 0
    bytes_read: int = 0  # by every operator: eager traffic
    bytes_written: int = 0
    compulsory_bytes: int = 0  # read from and written to memory that was there before, once each
    parameter_writes: int = 0  # elements of parameters that really changed

    priced_elements: int = 0  # in the outputs of operators with a price
    unknown: Counter[str] = field(default_factory=Counter)  # operator without a price: name -> elements

    @property
    def coverage(self) -> float:
        """Share of the output elements of operators that are priced, free ones left out; 1 for none."""
        unpriced = sum(self.unknown.values())
        return 1.0 if not unpriced else self.priced_elements / (self.priced_elements + unpriced)

    def add(self, work: Work) -> None:
        for key, count in work.items():
            setattr(self, key, getattr(self, key) + count)


@dataclass
class Operations(Counts):
    """The counts of what ran inside `count_operations`, in all and by phase."""

    by_phase: dict[str, Counts] = field(default_factory=lambda: {name: Counts() for name in PHASES})
    macs_by_operator: Counter[str] = field(default_factory=Counter)
    critical_path_macs: float = 0.0  # the longest chain of dependent work
    pipeline_interval_macs: float | None = None  # between steps that overlap; None without stages
    macs_by_stage: dict[str, float] = field(default_factory=dict)

    def energy(self, table: str | Path = "cmos45-fp32") -> Energy:
        """Picojoules by a table of `energy_tables/`, or by your own at a path: counts times prices."""
        return energy(vars(self), {name: vars(own) for name, own in self.by_phase.items()}, table)


_state = threading.local()  # busy: a counter is computing; what it runs for that is nobody's work


class _Counter(TorchDispatchMode):
    def __init__(
        self, operations: Operations, parameters: Iterable[Tensor], strict: bool, path: CriticalPath
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.operations, self.strict, self.origins = operations, strict, Origins()
        self.parameters = {p.untyped_storage()._cdata: p for p in parameters}  # holds on to them
        self.optimizing: list[bool] = []  # torch's record of functions that are running: an optimizer's?

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(_state, "busy", False):
            return func(*args, **kwargs)
        op = operator(func)
        if op.kind == "inert":
            self._follow(op, args)
            return func(*args, **kwargs)
        if op.kind == "composite":
            with self:
                return func.decompose(*args, **kwargs)
        values = op.bind(args, kwargs)
        _state.busy = True
        try:
            early = work(op, values, None) if op.kind == "contraction" else None
            marked = op.base in CARRIERS and _all_spikes(values)
            before = self._parameters_before(op, values)
        finally:
            _state.busy = False
        out = func(*args, **kwargs)
        _state.busy = True
        try:
            self._count(op, values, out, early)
            self._compare(before)
            if marked:
                declare_spikes(_tensors(out)[0])
        finally:
            _state.busy = False
        return out

    def _count(self, op: Operator, values: dict[str, Any], out: Any, early: Work | None) -> None:
        counts = self._phase()
        made = _tensors(out) if out is not None else op.written(values)
        if op.kind != "view":
            self._traffic(op, values, made, counts)
        elif "empty" in op.name:
            self.origins.made(made)
        if op.kind == "view":
            return
        if op.kind == "free":
            self.path.follow(op, values, made, None)
            return
        elements = sum(tensor.numel() for tensor in made)
        found = early if op.kind == "contraction" else work(op, values, out)
        if found is None or any(t.is_complex() for t in (*made, *_tensors(list(values.values())))):
            self.operations.unknown[op.name] += elements
            counts.unknown[op.name] += elements
            if self.strict:
                raise CreditbenchError(
                    f"No price is known for the operator '{op.name}' ({elements} output elements). Count"
                    " without strict=True to have it named in .unknown, or spell it in other operators."
                )
            self.path.follow(op, values, made, None)
            return
        self.path.follow(op, values, made, found)
        for total in (self.operations, counts):
            total.add(found)
            total.priced_elements += elements
        if found.get("macs"):
            self.operations.macs_by_operator[op.base] += found["macs"]

    def _phase(self) -> Counts:
        """As marked; else autograd's backward is credit, an optimizer's step is update, the rest forward."""
        name = current_phase()
        if name is None:
            backward = torch._C._current_graph_task_id() != -1
            name = "credit" if backward else "update" if any(self.optimizing) else "forward"
        return self.operations.by_phase[name]

    def _follow(self, op: Operator, args: tuple[Any, ...]) -> None:
        if op.base.startswith("_record_function_enter"):
            self.optimizing.append(str(args[0]).startswith("Optimizer.step#"))
        elif self.optimizing and op.base.startswith("_record_function_exit"):
            self.optimizing.pop()

    def _traffic(self, op: Operator, values: dict[str, Any], made: list[Tensor], counts: Counts) -> None:
        written = op.written(values)
        read = op.read(values)
        bytes_read = [size(tensor) for tensor in read]
        bytes_written = sum(map(size, written))
        taken = {id(tensor) for tensor in written}
        bytes_written += sum(size(tensor) for tensor in made if id(tensor) not in taken)
        if op.gathers and read:  # of the first, only as much as comes out
            bytes_read[0] = min(bytes_read[0], size(made[0]))
        if op.scatters and isinstance(source := values.get(op.scatters), Tensor):
            bytes_written = size(source)
            bytes_read[0] = min(bytes_read[0], bytes_written)
        compulsory = sum(self.origins.touch(tensor, False) for tensor in read)
        compulsory += sum(self.origins.touch(tensor, True) for tensor in written)
        self.origins.made(made)
        moved = {
            "bytes_read": sum(bytes_read), "bytes_written": bytes_written, "compulsory_bytes": compulsory,
        }  # fmt: skip
        self.operations.add(moved)
        counts.add(moved)

    def _parameters_before(self, op: Operator, values: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        return [(t, t.clone()) for t in op.written(values) if self._is_parameter(t)]

    def _is_parameter(self, tensor: Tensor) -> bool:
        if isinstance(tensor if tensor._base is None else tensor._base, torch.nn.Parameter):
            return True
        return (
            bool(self.parameters)
            and tensor.layout is torch.strided
            and tensor.untyped_storage()._cdata in self.parameters
        )

    def _compare(self, before: list[tuple[Tensor, Tensor]]) -> None:
        for now, then in before:
            changed = {"parameter_writes": int((now != then).sum())}
            self.operations.add(changed)
            self._phase().add(changed)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _all_spikes(values: dict[str, Any]) -> bool:
    """Whether the tensors that values are taken from, the first argument and an `other`, are spikes."""
    sources = _tensors([next(iter(values.values())), values.get("other")])
    return bool(sources) and all(map(are_spikes, sources))


@contextmanager
def count_operations(
    strict: bool = False,
    parameters: Iterable[Tensor] = (),
    samples: int | None = None,
    stages: Mapping[str, Iterable[Tensor]] | None = None,
) -> Iterator[Operations]:
    """Counts the operations of the torch code inside: `with count_operations() as ops: step(); ops.macs`.

    strict: raises CreditbenchError for an operator without a price. parameters: whose changed elements
    are counted in `parameter_writes`, beside every torch.nn.Parameter. samples: how many samples are worked
    on side by side, so that the critical path is that of one. stages: name -> tensors learned there, for
    the pipeline interval. While counting, fused kernels that hide their work (LSTM, attention) are switched
    off.
    """
    if samples is not None and samples < 1:
        raise CreditbenchError(f"count_operations got samples={samples}; give the batch size, 1 or more.")
    operations, path = Operations(), CriticalPath(samples, stages or {})
    try:
        with fused_kernels_off(), _Counter(operations, parameters, strict, path):
            yield operations
    finally:
        operations.critical_path_macs = path.macs
        operations.macs_by_stage = path.work_by_stage()
        operations.pipeline_interval_macs = path.pipeline_interval()
