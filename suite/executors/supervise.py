"""One group in a process of its own, watched from outside: what it says, how it ends, what to try again."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.executors import Limits, Watch, child, format_bytes, format_seconds
from creditbench.suite.executors.travel import packed
from creditbench.suite.record import Status
from creditbench.suite.specification import Spec
from creditbench.suite.work import Group, Outcome, ended, lacks_memory, spec_of, with_words

RETRIES = 2  # after a process was killed from outside
# What others send, or the system where memory runs out. A process that breaks by itself (SIGSEGV, SIGABRT)
# would do so again.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
SERVER_DIED = 255  # what multiprocessing reports of a child whose exit nobody saw


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_server() -> None:
    """The server that children are forked from: torch is loaded in it, and no library has made threads."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        raise CreditbenchError("This system cannot fork processes; use the inline executor.")
    multiprocessing.set_forkserver_preload(["creditbench.suite.executors.warm"])
    before = {name: os.environ.get(name) for name in child.THREADS}
    try:
        os.environ.update(dict.fromkeys(child.THREADS, "1"))
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@dataclass(frozen=True)
class Attempt:
    """A group to be tried, or tried again."""

    group: Group
    retries: int = RETRIES


@dataclass(eq=False)
class Child:
    """A running attempt."""

    attempt: Attempt
    threads: int
    limits: Limits
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        # The server's environment is the one it was started in.
        environment = dict(os.environ) | dict(self.environment)
        order = child.Order(packed(self.group), self.threads, self.limits, environment)
        self.connection, theirs = context.Pipe()
        self.process: ForkServerProcess = context.Process(target=child.main, args=(theirs,))
        self.process.start()
        theirs.close()
        with contextlib.suppress(OSError):  # it may be dead already; `advance` will find out
            self.connection.send(order)
        self.left: list[Spec] = list(self.group.specs)  # without an outcome so far
        self.apart: list[Spec] = []  # too much for the memory together
        self.ready = self.done = self.over = False
        self.deadline = math.inf
        if self.limits.seconds is not None:
            self.deadline = time.monotonic() + self.limits.seconds

    @property
    def group(self) -> Group:
        return self.attempt.group

    def waits_for(self) -> list[Connection | int]:
        return [self.connection, self.process.sentinel]

    def advance(self, watch: Watch) -> Iterator[Outcome]:
        """Passes on what has come. Once `over`, `again` says what is to be tried once more."""
        alive = self.process.is_alive()  # asked first: what a dead process has sent is there by now
        yield from self._messages(watch)
        if self.done:
            self._close()
        elif not alive:
            yield from self._died()
        elif time.monotonic() > self.deadline:
            self.kill()
            limit = format_seconds(self.limits.seconds or 0.0)
            yield from self._fail("timeout", f"stopped after its time limit of {limit}")

    def again(self) -> list[Attempt]:
        """What may yet come to something: seeds one by one where memory was short, all if it was killed."""
        if self.apart:
            return [Attempt(replace(self.group, specs=(spec,)), self.attempt.retries) for spec in self.apart]
        if self.over and self.left and not self.done:
            return [Attempt(replace(self.group, specs=tuple(self.left)), self.attempt.retries - 1)]
        return []

    def kill(self) -> None:
        """Ends the process and what it has started."""
        if self.process.pid is not None and not self.over:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.process.join()
        self._close()

    def _messages(self, watch: Watch) -> Iterator[Outcome]:
        try:
            while not self.done and self.connection.poll():
                kind, *content = self.connection.recv()
                if kind == "ready":
                    self.ready = True
                elif kind == "progress":
                    watch.progress(self.group, *content)
                elif kind == "said":
                    watch.complained(content[0])
                elif kind == "done":
                    self.done = True
                else:
                    yield from self._outcome(content[0])
        except (EOFError, OSError):
            return  # it died; perhaps in the middle of a message

    def _outcome(self, outcome: Outcome) -> Iterator[Outcome]:
        if spec_of(outcome) in self.left:
            self.left.remove(spec_of(outcome))
        if lacks_memory(outcome):
            if len(self.group.specs) > 1:
                self.apart.append(spec_of(outcome))
                return
            if self.limits.memory is not None:
                outcome = with_words(outcome, f"(its ceiling was {format_bytes(self.limits.memory)})")
        yield outcome

    def _died(self) -> Iterator[Outcome]:
        self.process.join()
        code = self.process.exitcode
        self._close()
        killed = code == SERVER_DIED or (code is not None and code < 0 and -code in FROM_OUTSIDE)
        if not self.ready and not killed:
            raise CreditbenchError(
                "A worker process could not start; its own words are above. A script that calls"
                ' creditbench.run with executor="processes" must do so below `if __name__ == "__main__":`,'
                " since every worker reads the script."
            )
        if killed and self.attempt.retries:
            return  # `again` has it
        how = "of an unknown cause" if code is None or code == SERVER_DIED else f"with exit code {code}"
        if code is not None and code < 0:
            how = f"by signal {-code} ({signal.Signals(-code).name})"
        reason = f"its process ended {how}"
        if killed:
            reason += f", {RETRIES + 1} times; the system sends signal 9 where memory runs out"
        elif self.limits.memory is not None:
            reason += f", under a memory ceiling of {format_bytes(self.limits.memory)}"
        yield from self._fail("failed", reason)

    def _fail(self, status: Status, reason: str) -> Iterator[Outcome]:
        specs = tuple(self.left)
        self.left.clear()
        yield from ended(self.group, specs, status, reason)

    def _close(self) -> None:
        self.over = True
        self.connection.close()
