"""What happens in the process that a group has to itself."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from creditbench.suite.executors import Limits
from creditbench.suite.executors.travel import Parcel, unpacked
from creditbench.suite.train import Progress
from creditbench.suite.work import ended, lack_of_memory, perform, spec_of

EVERY = 0.2  # [s] between two messages of progress
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Order:
    """What a child is told before it begins."""

    parcel: Parcel
    threads: int
    limits: Limits
    environment: Mapping[str, str]


def main(connection: Connection) -> None:
    """Sends ("ready",), then ("progress", ...), ("said", sentence) and ("outcome", ...), then ("done",)."""
    os.setsid()  # a stop key pressed at the driver is for the driver; and what this starts ends with it
    connection.send(("ready",))
    order: Order = connection.recv()
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    os.environ.clear()
    os.environ.update(order.environment)
    os.environ.update(dict.fromkeys(THREADS, str(order.threads)))
    torch.set_num_threads(order.threads)
    group = unpacked(order.parcel)
    memory = order.limits.memory
    if memory is not None and group.device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory / total))
    left = list(group.specs)

    def say(sentence: str) -> None:
        connection.send(("said", sentence))

    try:
        with _ceiling(memory if group.device == "cpu" else None):
            for outcome in perform(group, _progress(connection), say):
                connection.send(("outcome", outcome))
                left = [spec for spec in left if spec != spec_of(outcome)]
    except MemoryError as error:  # there was not even enough to say so; the ceiling is lifted by now
        for outcome in ended(group, left, "out-of-memory", lack_of_memory(error) or ""):
            connection.send(("outcome", outcome))
    connection.send(("done",))


def _end_with(connection: Connection) -> None:
    """A child whose driver is gone has nobody to work for: nothing ever comes but the end."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)


def _progress(connection: Connection) -> Progress:
    sent, latest = -math.inf, None

    def tell(steps: int, of: int, validation_score: float | None) -> None:
        nonlocal sent, latest
        latest = latest if validation_score is None else validation_score
        if time.monotonic() - sent >= EVERY:
            sent = time.monotonic()
            connection.send(("progress", steps, of, latest))

    return tell


@contextlib.contextmanager
def _ceiling(memory: int | None) -> Iterator[None]:
    """Memory of this process, libraries' data included, above which an allocation fails."""
    if memory is None:
        yield
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
