"""Energy measured in joules, where the machine has a counter: NVML on NVIDIA GPUs, RAPL on Linux CPUs.

zeus reads the counters (`pip install 'creditbench[energy]'`). They count the whole device or processor
package, idle power and neighbours included, so a figure is only worth something on a quiet machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

SECONDS = 2.0  # [s]: counters are renewed every few milliseconds to tenths of a second
MOST = 100_000  # calls, however short


@dataclass(frozen=True)
class Joules:
    """per_call: mean energy of one call [J]; None where it could not be measured. source: by which counter,
    or why not."""

    per_call: float | None
    source: str


def joules(run: Callable[[], object], seconds_per_call: float, device: torch.device) -> Joules:
    """Repeats `run` for about two seconds and divides what the counters say."""
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return Joules(None, "not measured: pip install 'creditbench[energy]' reads NVML and RAPL")
    wanted = [device.index or 0] if device.type == "cuda" else []
    try:
        monitor = ZeusMonitor(gpu_indices=wanted)
    except Exception as error:  # drivers fail in ways of their own; a missing figure must not cost the rest
        return Joules(None, f"not measured: {type(error).__name__}: {error}")
    if not monitor.cpu_indices and not monitor.gpu_indices:
        return Joules(None, "not measured: this machine shows no NVML or RAPL counter")
    calls = max(10, min(MOST, round(SECONDS / seconds_per_call)))
    monitor.begin_window("calls")
    for _ in range(calls):
        run()
    found = monitor.end_window("calls")
    parts = {
        "NVML GPU": found.gpu_energy,
        "RAPL package": found.cpu_energy or {},
        "RAPL DRAM": found.dram_energy or {},
    }
    total = sum(sum(own.values()) for own in parts.values())
    counters = ", ".join(f"{name} {number}" for name, own in parts.items() for number in own)
    if device.type == "cuda" and not found.gpu_energy:
        return Joules(None, "not measured: NVML has no energy counter for this GPU")
    if total <= 0:
        return Joules(None, f"not measured: the counters ({counters}) did not move")
    return Joules(total / calls, f"measured: {counters}; whole devices, idle power included")
