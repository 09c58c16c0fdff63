"""A pool on this machine: each group in a process of its own, costs one at a time with none beside."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Limits, Watch
from creditbench.suite.executors.supervise import Attempt, Child, cores, start_server
from creditbench.suite.work import Group

if TYPE_CHECKING:
    from creditbench.suite.executors import Outcomes


class Processes:
    """jobs: groups at once; None: one per core, or one per CUDA device.

    Threads are shared out, so that all jobs together never have more than there are cores. Costs come
    after the training, each with all threads."""

    alone = True

    def __init__(self, device: torch.device, jobs: int | None, limits: Limits) -> None:
        self.devices = visible_devices() if device.type == "cuda" else []
        self.jobs = jobs or len(self.devices) or cores()
        if self.jobs > cores():
            raise CreditbenchError(
                f"--jobs {self.jobs} would share {cores()} cores; ask for {cores()} at most."
            )
        if limits.memory is not None and device.type == "cpu":
            _check_ceilings()
        self.limits = limits
        self.all_threads = torch.get_num_threads()
        self.threads = max(1, min(self.all_threads, cores() // self.jobs))

    def __call__(self, groups: Sequence[Group], watch: Watch) -> Outcomes:
        if groups:
            start_server()
        training = [group for group in groups if group.work != "cost"]
        company = min(self.jobs, len(training)) - 1
        training = [replace(group, company=company) for group in training]
        costs = [group for group in groups if group.work == "cost"]
        yield from share(training, self.jobs, self.threads, self.limits, watch, self._environment)
        yield from share(costs, 1, self.all_threads, self.limits, watch, self._environment)

    def _environment(self, slot: int) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": self.devices[slot % len(self.devices)]} if self.devices else {}


def share(
    groups: Iterable[Group],
    jobs: int,
    threads: int,
    limits: Limits,
    watch: Watch,
    environment: Callable[[int], Mapping[str, str]],
) -> Outcomes:
    """Groups among so many processes at once. environment: by a process's number among them."""
    waiting = deque(Attempt(group) for group in groups)
    running: dict[int, Child] = {}
    try:
        while waiting or running:
            for slot in range(jobs):
                if waiting and slot not in running:
                    attempt = waiting.popleft()
                    watch.started(attempt.group)
                    running[slot] = Child(attempt, threads, limits, environment(slot))
            soonest = min(one.deadline for one in running.values())
            patience = None if soonest == math.inf else max(0.0, soonest - time.monotonic())
            wait([item for one in running.values() for item in one.waits_for()], patience)
            for slot, one in list(running.items()):
                for outcome in one.advance(watch):
                    yield one.group, outcome
                if one.over:
                    watch.ended(one.group)
                    waiting.extend(one.again())
                    del running[slot]
    finally:
        for one in running.values():
            one.kill()


def visible_devices() -> list[str]:
    """Names of the CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def _check_ceilings() -> None:
    if sys.platform != "linux":
        raise CreditbenchError("--memory is kept to on Linux and CUDA alone; leave it out here.")
