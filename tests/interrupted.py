"""Rules and programs for tests that end them in the middle.

Run as a program it is a user's session: `interrupted.py FOLDER EXECUTOR RULE...`, two epochs of digits.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

import creditbench
from creditbench.suite import checkpoints, measure
from creditbench.suite.types import Batch, Context, LearningRule, Network, State, Step

FOLDER = "CREDITBENCH_TEST_FOLDER"  # where the test and the rule leave word for one another


class LastLayer(LearningRule):
    """The output layer alone learns, with noise, so that every generator matters."""

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        self.happens(context)
        *below, last = network.blocks
        h = batch.inputs
        for block in below:
            h = block.forward(h, context).output
        trace = last.forward(h, context)
        error = context.loss.gradient(trace.output, batch.targets)
        yield last, last.update(trace, error + 1e-3 * context.noise.normal(*error.shape[1:]))

    def happens(self, context: Context) -> None:
        """What a rule of these does besides."""


@dataclass(frozen=True)
class Pauses(LastLayer):
    """Says at step 10, in the second epoch of digits, which process it is in, and waits for word to go on."""

    name: ClassVar[str] = "pauses"
    source: ClassVar[str] = "test"
    at: int = 10

    def happens(self, context: Context) -> None:
        if context.step == self.at:
            folder = Path(os.environ[FOLDER])
            (folder / "here").write_text(str(os.getpid()))
            for _ in range(6000):
                if (folder / "go").exists():
                    return
                time.sleep(0.02)


@dataclass(frozen=True)
class Dies(LastLayer):
    """Is killed at its first step, whenever it is tried."""

    name: ClassVar[str] = "dies"
    source: ClassVar[str] = "test"
    signal: int = 9

    def happens(self, context: Context) -> None:
        with (Path(os.environ[FOLDER]) / "tries").open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), self.signal)


@dataclass(frozen=True)
class Devours(LastLayer):
    """Takes 2 GiB where several seeds come together, and none for one alone; always, if it is greedy."""

    name: ClassVar[str] = "devours"
    source: ClassVar[str] = "test"
    search: ClassVar = {"greedy": (False, True)}
    greedy: bool = False

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        if self.greedy or network.seeds > 1:
            torch.ones(2**29)
        return (yield from super().step(network, batch, state, context))


@dataclass(frozen=True)
class Exits(LastLayer):
    name: ClassVar[str] = "exits"
    source: ClassVar[str] = "test"

    def happens(self, context: Context) -> None:
        sys.exit(7)


@dataclass(frozen=True)
class Explodes(LastLayer):
    """Grows a hundredfold at each step."""

    name: ClassVar[str] = "explodes"
    source: ClassVar[str] = "test"
    own_step_size: ClassVar[bool] = True

    def step(self, network: Network, batch: Batch, state: State, context: Context) -> Step:
        last = network.blocks[-1]
        yield last, {"weight": -99 * last.parameters["weight"]}


def paused(folder: Path) -> int:
    """The process that waits in `Pauses`, once it does."""
    for _ in range(6000):
        if (folder / "here").exists() and (word := (folder / "here").read_text()):
            return int(word)
        time.sleep(0.02)
    raise TimeoutError("no process came to its pause")


def label(rule: type[LearningRule]) -> str:
    return f"{Path(__file__).resolve()}:{rule.__name__}"


checkpoints.INTERVAL = 0.0 if __name__ in ("__main__", "__mp_main__") else checkpoints.INTERVAL

if __name__ in ("__main__", "__mp_main__"):  # in the workers, too
    measure.BUDGET = 0.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    creditbench.run(
        task="digits", rule=sys.argv[3:], seeds=2, epochs=2, device="cpu", results=sys.argv[1],
        executor=sys.argv[2],
    )  # fmt: skip
