"""Where a training that was cut short goes on from: one file per group of seeds, gone when they are done.

    DIR/checkpoints/seed-0-<key>.pt        a single seed
    DIR/checkpoints/seeds-0-7-<hash>.pt    seeds that train in one pass

It is written at the end of an epoch, at most every `INTERVAL` seconds, so a quick run writes none; read
with `torch.load(weights_only=True)`, which builds tensors and plain values and runs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from creditbench.suite.specification import Spec
from creditbench.suite.store import replacing

INTERVAL = 30.0  # [s]; what an end loses at most, or an epoch where that takes longer
FORMAT = 1  # raised when what a checkpoint holds changes


class Checkpoint:
    """The checkpoint of one group: a `suite.train.Checkpoint` on disk.

    say: told, in a sentence, that training goes on from it, or why it does not."""

    def __init__(
        self,
        folder: Path,
        specs: Sequence[Spec],
        fingerprint: str,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.path = folder / _name(specs)
        self.device, self.say = device, say
        self.broken = False
        self.written = time.monotonic()
        # Other code, other specs or another kind of device would go on to another result.
        self.identity = {
            "form": FORMAT,
            "specification": [spec.key for spec in specs],
            "code": fingerprint,
            "device": device.type,
        }

    def load(self) -> Mapping[str, Any] | None:
        """What was saved, if it belongs to this training; anything else is named and left unused."""
        if not self.path.exists():
            return None
        try:
            saved = torch.load(self.path, weights_only=True, map_location=self.device)
            identity, contents = saved["identity"], saved["contents"]
        except Exception as error:
            self.say(f"The checkpoint {self.path} cannot be read and is not used ({_first_line(error)}).")
            return None
        if identity != self.identity:
            differs = [key for key, value in self.identity.items() if identity.get(key) != value]
            self.say(f"The checkpoint {self.path} is of another {' and '.join(differs)} and is not used.")
            return None
        self.say(f"Training goes on from the checkpoint {self.path}.")
        return dict(contents)

    def save(self, contents: Callable[[], Mapping[str, Any]]) -> None:
        """Writes what `contents` gives, atomically, if the last time is long enough ago.

        A disk that is full costs the checkpoint and not the training."""
        if self.broken or time.monotonic() - self.written < INTERVAL:
            return
        try:
            with replacing(self.path) as file:
                torch.save({"identity": self.identity, "contents": dict(contents())}, file)
        except (OSError, RuntimeError) as error:
            self.broken = True
            self.say(f"No checkpoint can be written to {self.path} ({_first_line(error)}); training goes on.")
        self.written = time.monotonic()


def discard(path: Path) -> None:
    """Removes a checkpoint whose records are written, what a killed writer left of it, an empty folder."""
    with contextlib.suppress(OSError):
        for left in (path, *path.parent.glob(f".{path.name}.*")):
            left.unlink(missing_ok=True)
        path.parent.rmdir()


def _name(specs: Sequence[Spec]) -> str:
    if len(specs) == 1:
        return f"seed-{specs[0].seed}-{specs[0].key}.pt"
    together = hashlib.sha256("".join(spec.key for spec in specs).encode()).hexdigest()[:12]
    return f"seeds-{specs[0].seed}-{specs[-1].seed}-{together}.pt"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
