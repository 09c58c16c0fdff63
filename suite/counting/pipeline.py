"""How soon one step of learning can follow another when every stage of a pipeline works at once."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from torch import Tensor

from creditbench.suite.types import Network, State


def stages(network: Network, state: State) -> dict[str, list[Tensor]]:
    """A network's blocks with their parameters, and every learned tensor of the rule, as stages."""
    blocks = {f"block {block.name}": list(block.parameters.values()) for block in network.blocks}
    return blocks | {f"learned {name}": [tensor] for name, tensor in state.learned.items()}


def interval(chains: Mapping[str, Mapping[str, int]], work: Mapping[str, int]) -> Fraction:
    """The greater of two bounds, both of which hold in the long run.

    A stage does one thing at a time: the work of the busiest one. What a stage learns in a step has to
    wait for what it was learnt from: chains[to][start] is the longest chain from a stage's weights
    before the step to a stage's weights behind it. Along a circle of such chains through as many steps
    every step takes their mean: the greatest mean of any circle.
    """
    return max(Fraction(max(work.values(), default=0)), _greatest_mean_of_a_circle(chains))


def _greatest_mean_of_a_circle(chains: Mapping[str, Mapping[str, int]]) -> Fraction:
    """Karp's algorithm (1978) for the maximum; 0 where nothing turns in a circle."""
    count = len(chains)
    walks: list[dict[str, int]] = [dict.fromkeys(chains, 0)]  # the longest of so many chains that end there
    for _ in range(count):
        longest = walks[-1]
        walks.append(
            {
                to: max(longest[start] + length for start, length in into.items() if start in longest)
                for to, into in chains.items()
                if any(start in longest for start in into)
            }
        )
    means = [
        min(Fraction(end - walks[k][to], count - k) for k in range(count) if to in walks[k])
        for to, end in walks[count].items()
    ]
    return max(means, default=Fraction(0))
