"""Score against a cost: who is on the front, and who cannot be placed.

A method without a cost figure is left out of that front and named: 0 would make it the cheapest of all.
Figures that were measured on different machines, or that are lower bounds since operations went uncounted,
are the caller's to keep apart: a point takes a reason for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    name: str
    score: float | None  # better is more
    cost: float | None  # less is better
    reason: str = ""  # why the cost does not count, if so: "other machine", "a lower bound"


@dataclass(frozen=True)
class Front:
    on: tuple[str, ...]  # by rising cost
    dominated: Mapping[str, str]  # name -> one that is at least as good in both and better in one
    left_out: Mapping[str, str]  # name -> why

    @property
    def note(self) -> str:
        """One line for below the chart; "" if all are in it."""
        return "; ".join(f"{name} is left out: {why}" for name, why in sorted(self.left_out.items()))


def front(points: Sequence[Point]) -> Front:
    """Points that share score and cost with one on the front are on it, too."""
    left_out, placed = {}, []
    for point in points:
        if point.score is None:
            left_out[point.name] = "no score"
        elif point.reason or point.cost is None:
            left_out[point.name] = point.reason or "its cost was not measured"
        else:
            placed.append((point.cost, -point.score, point.name))
    placed.sort()
    on: list[tuple[float, float, str]] = []
    dominated = {}
    for own in placed:
        # On the front scores rise with cost, so only its last point can be in the way.
        if on and on[-1][:2] != own[:2] and on[-1][1] <= own[1]:
            dominated[own[2]] = on[-1][2]
        else:
            on.append(own)
    return Front(tuple(name for _, _, name in on), dominated, left_out)
