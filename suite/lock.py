"""Who writes into a folder of records: one driver, or drivers with different parts of the same split.

The lock is the operating system's (`flock`), held as long as the driver lives: a driver that was killed
leaves nothing that would have to be recognised as stale. What the file says is for people.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.shards import Shard

fcntl: Any = None
with contextlib.suppress(ImportError):  # Windows has none
    import fcntl

NAME = re.compile(r"\.driver-([0-9]+)-of-([0-9]+)\.lock")


@contextlib.contextmanager
def locked(folder: Path, part: Shard) -> Iterator[None]:
    """Holds the folder for one part of a suite. Raises CreditbenchError where another driver is at it, and
    where nothing can be written."""
    path = folder / f".driver-{part.number}-of-{part.count}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _held(path)
    except OSError as error:
        raise CreditbenchError(
            f"Cannot write into {folder}: {error.strerror}. Free space or choose another folder."
        ) from error
    try:
        for other in sorted(folder.glob(".driver-*.lock")):
            name = NAME.fullmatch(other.name)
            if name and other != path and not (int(name[2]) == part.count != 1) and _is_held(other):
                raise _taken(other)
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is still held: whoever opens it later opens a new one
        os.close(descriptor)


def _held(path: Path) -> int:
    """The lock, as a descriptor to be closed."""
    for again in reversed(range(5)):  # another driver's look at a lock holds it for a moment
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _try(descriptor):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                with contextlib.suppress(FileNotFoundError):
                    if os.fstat(descriptor).st_ino == path.stat().st_ino:  # not removed by its last holder
                        return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if again:
            time.sleep(0.05)
    raise _taken(path)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False  # gone since
    try:
        return not _try(descriptor)
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    if fcntl is None:
        return True  # drivers are not kept apart there
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise CreditbenchError(
            f"The file system of the folder keeps no locks ({error.strerror}), so that two runs could"
            " write there at once; choose another folder, and copy what is in it afterwards."
        ) from error
    return True


def _taken(path: Path) -> CreditbenchError:
    owner = "its owner cannot be read"
    with contextlib.suppress(OSError):
        owner = path.read_text(encoding="utf-8", errors="replace").strip()[:100] or owner
    return CreditbenchError(
        f"Another creditbench ({owner}) is writing into {path.parent}; wait for it, choose another folder, or"
        " split a suite's runs between the two with --shard."
    )
