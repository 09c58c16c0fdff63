"""Peak memory of the process as the operating system sees it, and of the CUDA allocator."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch

from creditbench.suite.allocator import give_back_freed_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def process_peak(run: Callable[[], object]) -> int | None:
    """Most resident memory of this process while `run` runs [B]: interpreter, libraries, data and all.

    None where the operating system cannot set its high-water mark back (it can on Linux)."""
    try:
        give_back_freed_memory()
        RESET.write_text("5")  # proc(5): sets VmHWM to what is resident now
        run()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[0]) * 1024
    except (OSError, IndexError):
        return None


def cuda_peak(run: Callable[[], object], device: torch.device) -> tuple[int, int] | None:
    """Most memory allocated and reserved on the device while `run` runs [B]; None on a CPU."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
