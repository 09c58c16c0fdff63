"""Where a record comes from: versions, commit, machine, data. No names of hosts, users or folders."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

import creditbench
from creditbench.suite.types import Splits


def provenance(device: torch.device, data: str, together: int) -> dict[str, Any]:
    """What to store beside a result; `together` is the number of seeds trained in one pass."""
    return {
        "creditbench": creditbench.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine(device),
        "device": describe(device),
        "threads": torch.get_num_threads(),
        "data_sha256": data,
        "seeds_together": together,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def machine(device: torch.device) -> str:
    """Eight hexadecimal digits: machines with equal ones are compared on time."""
    words = (describe(device), str(torch.get_num_threads()), torch.__version__, platform.system())
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:8]


@cache
def describe(device: torch.device) -> str:
    """The processor by the name its maker gave it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{cpu}, {os.cpu_count()} cores"


@cache
def commit() -> str | None:
    """The commit of the checkout that the code runs from, marked when it has been changed."""
    folder = Path(__file__).resolve().parent
    try:
        words = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
        inside = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True, timeout=10, check=False,
        )  # fmt: skip
        if inside.returncode:
            return None  # installed somewhere below another project's checkout
        result = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
        return result.stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def digest(splits: Splits) -> str:
    """SHA-256 over all samples and targets."""
    total = hashlib.sha256()
    for split in (splits.train, splits.validation, splits.test):
        for tensor in (split.inputs, split.targets):
            total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            total.update(tensor.contiguous().numpy().data)
    return total.hexdigest()
