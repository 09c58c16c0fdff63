"""A part of a suite, so that several machines do it together without knowing of one another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    from creditbench.suite.plan import Planned


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1."""

    number: int
    count: int

    def of(self, cells: Sequence[Planned]) -> list[Planned]:
        """Every `count`-th cell in the order of their hashes: the parts do not overlap, leave nothing out,
        differ by one cell in size at most, and are the same wherever they are made."""
        ranked = sorted(cell.specs[0].cell for cell in cells)
        own = set(ranked[self.number - 1 :: self.count])
        return [cell for cell in cells if cell.specs[0].cell in own]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """ "K/N". Raises CreditbenchError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.number <= shard.count:
        raise CreditbenchError(f"--shard is '{text}'; write K/N, with K from 1 to N: 1/4, 2/4, 3/4, 4/4.")
    return shard
