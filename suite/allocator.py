"""What becomes of freed memory: while training it stays with the process."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

KEPT = 2**28  # [B] of free memory that are not given back
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h, for mallopt


@functools.cache
def keep_freed_memory() -> None:
    """Asks glibc's malloc to keep what is freed, up to 256 MB; elsewhere does nothing.

    Every training step allocates and frees the same few megabytes. By default glibc hands them to the
    system and is given them again page by page: 1000 to 4000 page faults a step on conv, a tenth to a third
    of its time."""
    if mallopt := _glibc("mallopt"):
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(MMAP_THRESHOLD, 2**25)  # [B], its greatest


def give_back_freed_memory() -> None:
    """So that what is resident is what is in use."""
    if trim := _glibc("malloc_trim"):
        trim(0)


def _glibc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # no libc to be asked
        return None
