"""Where groups of runs are carried out: in this process, in processes of this machine, or on a Ray cluster.

An executor takes groups and hands back their outcomes as they come. It writes no record and changes no
result: what differs is how much runs at once, and what happens to the rest when one of them fails.
Nothing heavy is imported here, so that the command line can read its options without torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from creditbench.suite.errors import CreditbenchError, unknown_name

if TYPE_CHECKING:
    import torch

    from creditbench.suite.work import Group, Outcome

    Outcomes = Generator[tuple[Group, Outcome], None, None]

NAMES = ("inline", "processes", "ray")


class Watch(Protocol):
    """Told what groups are doing, to show it; several may be at work at once."""

    def started(self, group: Group) -> None: ...

    def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None: ...

    def ended(self, group: Group) -> None: ...

    def complained(self, sentence: str) -> None: ...


class Executor(Protocol):
    """Yields each outcome with the group it belongs to. Closing the generator stops all work at once."""

    @property
    def alone(self) -> bool:
        """Whether costs are measured with nothing of ours beside them, on the driver's machine."""

    def __call__(self, groups: Sequence[Group], watch: Watch) -> Outcomes: ...


@dataclass(frozen=True)
class Limits:
    """What one group may take before it is ended."""

    memory: int | None = None  # [B], of its process; on CUDA, of the device
    seconds: float | None = None


@dataclass(frozen=True)
class Execution:
    """How a suite is to be carried out, as a user says it; none of it is part of a run's identity."""

    executor: str = "inline"  # or "processes", "ray", "ray:ADDRESS"
    jobs: int | None = None  # groups at once; None: as many as there are cores, or CUDA devices
    memory: str | int | None = None  # ceiling for each: "4G", or bytes
    time_limit: str | float | None = None  # for each: "90m", or seconds
    cpus: float | None = None  # asked of Ray for each
    gpus: float | None = None  # asked of Ray for each, fractions included
    shard: str | None = None  # "K/N": only the K-th of N parts of the suite

    @property
    def limits(self) -> Limits:
        return Limits(
            None if self.memory is None else parse_memory(self.memory),
            None if self.time_limit is None else parse_seconds(self.time_limit),
        )


def device_for(execution: Execution, name: str) -> torch.device:
    """Where groups train. A cluster's GPUs need not be the driver's, so there they are taken on trust."""
    import torch

    from creditbench.suite.driver import choose_device

    kind, _, address = execution.executor.partition(":")
    wanted = name == "cuda" or (name == "auto" and bool(execution.gpus))
    if kind == "ray" and wanted and (address or os.environ.get("RAY_ADDRESS")):
        return torch.device("cuda")
    return choose_device(name)


def choose(execution: Execution, device: torch.device) -> Executor:
    """The executor that was asked for. Raises CreditbenchError for what it cannot do."""
    name, _, address = execution.executor.partition(":")
    if name not in NAMES or (address and name != "ray"):
        raise unknown_name("executor", execution.executor, NAMES)
    if execution.jobs is not None and execution.jobs < 1:
        raise CreditbenchError(f"--jobs is {execution.jobs} and must be at least 1.")
    limits = execution.limits
    if name != "ray" and (execution.cpus is not None or execution.gpus is not None):
        raise CreditbenchError("--cpus and --gpus are asked of Ray; add --executor ray.")
    if name == "inline":
        if execution.jobs is not None or limits != Limits():
            raise CreditbenchError(
                "--jobs, --memory and --time-limit need a process for each run; add --executor processes."
            )
        from creditbench.suite.executors.inline import Inline

        return Inline()
    if name == "processes":
        from creditbench.suite.executors.processes import Processes

        return Processes(device, execution.jobs, limits)
    from creditbench.suite.executors.ray import Ray

    cpus = 1.0 if execution.cpus is None else execution.cpus
    gpus = (1.0 if device.type == "cuda" else 0.0) if execution.gpus is None else execution.gpus
    return Ray(address or None, execution.jobs, limits, cpus, gpus)


def parse_memory(text: str | int) -> int:
    """Bytes: "500M" or "4G" (powers of 1024), or a number of bytes."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)(?:i?B)?", str(text).strip())
    size = float(match[1]) * 1024 ** " KMGT".index(match[2] or " ") if match else 0.0
    if size < 1:
        raise CreditbenchError(f"--memory is '{text}'; write for example 500M or 4G.")
    return int(size)


def parse_seconds(text: str | float) -> float:
    """Seconds: "90s", "30m", "2h", or a number of seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", str(text).strip())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not seconds > 0:
        raise CreditbenchError(f"--time-limit is '{text}'; write for example 90s, 30m or 2h.")
    return seconds


def format_bytes(size: int) -> str:
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


def format_seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 600 else f"{seconds / 60:.3g} min"
