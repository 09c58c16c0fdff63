"""A Ray cluster: groups go to its nodes, records come back to the driver.

On its node a group has a process of its own under the same limits as in the local pool (see `supervise`);
a Ray worker only watches over it. Every node needs this creditbench and torch, which is checked, and
reads data from its own CREDITBENCH_DATA or cache folder.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Limits, Watch
from creditbench.suite.executors.processes import share
from creditbench.suite.executors.supervise import RETRIES, Attempt, cores, start_server
from creditbench.suite.executors.travel import Parcel, packed, unpacked
from creditbench.suite.train import Trained
from creditbench.suite.work import Group, Outcome, ended, spec_of

if TYPE_CHECKING:
    from creditbench.suite.executors import Outcomes

AT_MOST = 1000  # groups handed to Ray at once; more would only wait there


def the_library() -> Any:
    """Raises CreditbenchError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise CreditbenchError(
            "The ray executor needs Ray: pip install 'creditbench[ray]'; or use --executor processes."
        ) from error
    # amdsmi's first lines look AMD's library up in a dictionary that lacks it; Ray, which imports amdsmi to
    # look for AMD's devices, is ready for an ImportError alone. Its workers import it as well, so that hiding
    # amdsmi in this process would only move the error there.
    except KeyError as error:
        raise CreditbenchError(
            f"Ray cannot be imported ({error} is missing): amdsmi, which the extra `energy` brings, is here"
            " without AMD's library. Use an environment with creditbench[ray] alone, or uninstall amdsmi."
        ) from error
    return ray


class Ray:
    """jobs: groups at once; None: what the cluster has room for. cpus, gpus: asked for each group.

    On a cluster that was there before, other work may run beside ours: costs taken there say so. On one
    started for the occasion they come last, one by one, with all cores."""

    def __init__(
        self, address: str | None, jobs: int | None, limits: Limits, cpus: float, gpus: float
    ) -> None:
        if not (0 < cpus < math.inf and 0 <= gpus < math.inf):
            raise CreditbenchError(f"--cpus is {cpus} and must be above 0; --gpus is {gpus}, not below 0.")
        if gpus > 1 and gpus != int(gpus):
            raise CreditbenchError(f"--gpus is {gpus}; Ray gives parts of one GPU, or whole ones.")
        self.address, self.limits, self.cpus, self.gpus = address, limits, cpus, gpus
        self.ray = the_library()
        self.joins = bool(address or os.environ.get("RAY_ADDRESS") or self.ray.is_initialized())
        self.alone = not self.joins
        self.jobs = jobs or AT_MOST

    def __call__(self, groups: Sequence[Group], watch: Watch) -> Outcomes:
        if not groups:
            return
        ours = not self.ray.is_initialized()
        if ours:
            self._connect()
        try:
            company = 0 if self.alone and self.jobs == 1 else 1  # how many there are, Ray alone knows
            if not self.alone:
                everything = [replace(group, company=company) for group in groups]
                yield from self._share(everything, self.jobs, self.cpus, watch)
                return
            training = [replace(group, company=company) for group in groups if group.work != "cost"]
            yield from self._share(training, self.jobs, self.cpus, watch)
            costs = [group for group in groups if group.work == "cost"]
            yield from self._share(costs, 1, cores(), watch)
        finally:
            if ours:
                self.ray.shutdown()

    def _connect(self) -> None:
        where = self.address or os.environ.get("RAY_ADDRESS") or "here"
        try:
            _knock(where)  # Ray itself would knock for minutes
            if self.joins:
                self.ray.init(address=self.address, log_to_driver=False, logging_level="error")
            else:
                self.ray.init(
                    num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level="error"
                )
        except (OSError, RuntimeError, ValueError, self.ray.exceptions.RayError) as error:
            raise CreditbenchError(f"No Ray cluster can be had at {where}: {error}") from error

    def _share(self, groups: Sequence[Group], jobs: int, cpus: float, watch: Watch) -> Outcomes:
        lost = self.ray.exceptions.RayError
        task = self.ray.remote(on_node).options(
            num_cpus=cpus,
            num_gpus=self.gpus,
            memory=self.limits.memory if self.gpus == 0 else None,
            max_retries=0,  # whether a retry can help is for us to say
            num_returns="streaming",
        )
        waiting = deque(Attempt(group) for group in groups)
        running: dict[Any, Attempt] = {}
        threads = torch.get_num_threads() if cpus == cores() else max(1, int(cpus))
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    attempt = waiting.popleft()
                    running[task.remote(packed(attempt.group), threads, self.limits)] = attempt
                ready, _ = self.ray.wait(list(running), num_returns=1)
                for stream in ready:
                    attempt = running.pop(stream)
                    try:
                        kind, *content = self.ray.get(next(stream))
                    except StopIteration:
                        watch.ended(attempt.group)
                        continue
                    except lost as error:
                        watch.ended(attempt.group)
                        if attempt.retries:
                            waiting.append(Attempt(attempt.group, attempt.retries - 1))
                        else:
                            for outcome in _lost(attempt.group, error):
                                yield attempt.group, outcome
                        continue
                    if kind == "outcome":
                        yield attempt.group, content[0]
                        left = tuple(s for s in attempt.group.specs if s != spec_of(content[0]))
                        if left:  # an interrupted group is tried again without those that are done
                            attempt = Attempt(replace(attempt.group, specs=left), attempt.retries)
                    elif kind == "error":
                        raise CreditbenchError(content[0])
                    else:
                        getattr(watch, kind)(*(attempt.group, *content) if kind != "complained" else content)
                    running[stream] = attempt
        finally:
            for stream in running:
                with contextlib.suppress(lost):
                    self.ray.cancel(stream, force=True)


def _knock(where: str) -> None:
    host, colon, port = where.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def on_node(parcel: Parcel, threads: int, limits: Limits) -> Iterator[tuple[Any, ...]]:
    """Runs on a node: a pool of one for one group. Yields what a Watch is told, and outcomes."""
    events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    class Told:
        def started(self, group: Group) -> None:
            events.put(("started",))

        def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None:
            events.put(("progress", steps, of, validation_score))

        def ended(self, group: Group) -> None:
            pass  # the driver sees the end of the stream

        def complained(self, sentence: str) -> None:
            events.put(("complained", sentence))

    def work() -> None:
        try:
            group = unpacked(parcel)
            if reason := _other_code(group):
                for outcome in ended(group, group.specs, "failed", reason):
                    events.put(("outcome", outcome))
                return
            start_server()
            cuda = os.environ.get("CUDA_VISIBLE_DEVICES")
            environment = {} if cuda is None else {"CUDA_VISIBLE_DEVICES": cuda}
            for _, outcome in share([group], 1, threads, limits, Told(), lambda slot: environment):
                events.put(("outcome", outcome))
        except CreditbenchError as error:
            events.put(("error", str(error)))
        finally:
            events.put(("end",))

    threading.Thread(target=work, daemon=True).start()
    while (event := events.get())[0] != "end":
        yield event


def _other_code(group: Group) -> str | None:
    """Why what this node would compute is not what the driver asks for."""
    from creditbench.suite.driver import code_of

    if code_of(group.origin, group.work) == group.fingerprint:
        return None
    return "this node has another creditbench, torch or rule than the driver; install the same on all nodes"


def _lost(group: Group, error: Exception) -> Iterator[Outcome]:
    """Records of seeds that no node brought to an end; which machine they were on is not known."""
    words = f"its Ray worker was lost {RETRIES + 1} times ({type(error).__name__})"
    for outcome in ended(replace(group, device="cpu"), group.specs, "failed", words):
        if isinstance(outcome, Trained):
            known = {
                key: value
                for key, value in outcome.run.provenance.items()
                if key not in ("machine", "device", "threads")
            }
            outcome = replace(outcome, run=replace(outcome.run, provenance=known))
        yield outcome
