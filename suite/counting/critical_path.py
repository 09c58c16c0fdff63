"""The longest chain of dependent work, in MACs, followed through memory at dispatch.

An operator can start when all writes that it reads from are done, and costs its dense MACs on the chain;
slices of a batched operator are done side by side and cost one. docs/protocol.md states the convention.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from creditbench.suite.counting.contractions import Values, Work
from creditbench.suite.counting.operators import Operator
from creditbench.suite.counting.pipeline import interval
from creditbench.suite.counting.versions import Versions

_BATCHED = {"bmm": "self", "baddbmm": "batch1", "addbmm": "batch1"}
_CONVOLUTIONS = frozenset(["convolution", "convolution_overrideable", "convolution_backward"])


class Version(NamedTuple):
    """What was written, as far as dependence goes."""

    done: int  # the longest chain that ends here
    since: Mapping[str, int] = {}  # of those that start at a stage's weights as they were, by stage
    owner: str | None = None  # the stage whose weights these are, or a copy of them
    pending: frozenset[int] = frozenset()  # work that led here and is no stage's yet


class Part(NamedTuple):
    """A piece of an operator: what it reads and writes, and its cost."""

    reads: list[Tensor]
    writes: list[Tensor]
    cost: int


START = Version(0)


class CriticalPath:
    """Follows operators in the order they run.

    samples: how many samples the work is for; the figures are then those of one. stages: name -> the
    tensors that this stage of a pipeline learns; without any there is no pipeline to look at.
    """

    def __init__(self, samples: int | None, stages: Mapping[str, Iterable[Tensor]]) -> None:
        self.samples = samples
        self._done = 0
        self._known = START  # by Python, which may decide by it what comes next
        self._versions: Versions[Version] = Versions()
        self._learned = {name: list(tensors) for name, tensors in stages.items()}
        self._work = dict.fromkeys(self._learned, 0)
        self._unassigned: list[int | None] = []  # costs of pieces of work, until they are some stage's
        self._stages: Versions[str] = Versions()  # whose weights lie where
        for name, own in self._learned.items():
            for tensor in own:
                self._versions.write(tensor, Version(0, {name: 0}, name))
                self._stages.write(tensor, name)

    def follow(self, op: Operator, values: dict[str, Any], made: list[Tensor], work: Work | None) -> None:
        """One operator that has run; views are none. work: its price, None if unknown."""
        for part in _parts(op, values, made, _cost(op, values, work or {}, self.samples)):
            sources = [version for tensor in part.reads for version in self._versions.read(tensor)]
            version = self._after(sources, part, op.kind == "free")
            for tensor in part.writes:
                self._versions.write(tensor, version)
            if not part.writes:  # a number for Python
                self._known = version

    def _after(self, sources: list[Version], part: Part, copy: bool) -> Version:
        sources.append(self._known)
        done = part.cost + max(source.done for source in sources)
        self._done = max(self._done, done)
        if not self._learned:
            return Version(done)
        since: dict[str, int] = {}
        for source in sources:
            for name, length in source.since.items():
                since[name] = max(since.get(name, 0), length + part.cost)
        pending = frozenset[int]().union(*(source.pending for source in sources))
        owners = [source.owner for source in sources[:-1]]
        written = [name for tensor in part.writes for name in self._stages.read(tensor)]
        owner = written[0] if written else owners[0] if copy and len(set(owners)) == 1 else None
        by = owner or next(filter(None, owners), None)
        if part.cost:
            if by is not None:
                self._work[by] += part.cost
            else:
                pending |= {len(self._unassigned)}
                self._unassigned.append(part.cost)
        if written and owner and pending:  # what led to this stage's update is its own work
            for number in pending:
                self._work[owner] += self._unassigned[number] or 0
                self._unassigned[number] = None
        pending = frozenset(number for number in pending if self._unassigned[number] is not None)
        return Version(done, since, owner, pending)

    @property
    def macs(self) -> float:
        return self._done / (self.samples or 1)

    def work_by_stage(self) -> dict[str, float]:
        """MACs of each stage."""
        return {name: work / (self.samples or 1) for name, work in self._work.items()}

    def pipeline_interval(self) -> float | None:
        """MACs between successive steps; None without stages."""
        if not self._learned:
            return None
        chains = {
            name: _longest(version.since for tensor in own for version in self._versions.read(tensor))
            for name, own in self._learned.items()
        }
        return float(interval(chains, self._work) / (self.samples or 1))


def _longest(chains: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chain in chains:
        for name, length in chain.items():
            found[name] = max(found.get(name, 0), length)
    return found


def _cost(op: Operator, values: Values, work: Work, samples: int | None) -> int:
    """Dense MACs, spikes or not, of one slice; where the slices are samples, of all of these, since the
    figures are divided by them in the end."""
    macs = work.get("macs", 0) + work.get("dense_acs", 0)
    if not macs:
        return 0
    if op.base in _BATCHED:
        slices: int = values[_BATCHED[op.base]].shape[0]
        return macs // (slices // samples if samples and slices % samples == 0 else slices)
    if op.base in _CONVOLUTIONS and samples is None:
        return macs // len(values["input"])
    return macs


def _parts(op: Operator, values: dict[str, Any], made: list[Tensor], cost: int) -> Iterator[Part]:
    """Fused operators are taken apart: tensors of a list do not depend on each other, nor do both
    gradients of a convolution."""
    lists = values.get("self")
    if op.base == "convolution_backward":
        change, inputs, weight, mask = (
            values[name] for name in ("grad_output", "input", "weight", "output_mask")
        )
        outputs = iter(made)
        each = cost // max(1, mask[0] + mask[1])
        for wanted, reads, own in zip(
            mask, ([change, weight], [change, inputs], [change]), (each, each, 0), strict=True
        ):
            if wanted:
                yield Part(reads, [next(outputs)], own)
    elif op.base.startswith(("_foreach_", "_fused_")) and isinstance(lists, list | tuple):
        for number in range(len(lists)):
            own = {
                name: value[number] if isinstance(value, list | tuple) and len(value) == len(lists) else value
                for name, value in values.items()
            }
            written = op.written(own)
            results = [made[number]] if len(made) == len(lists) else []
            yield Part(op.read(own), [*written, *(t for t in results if all(t is not w for w in written))], 0)
    else:
        written = [tensor for tensor in op.written(values) if all(tensor is not own for own in made)]
        yield Part(op.read(values), [*made, *written], cost)
