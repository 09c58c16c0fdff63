"""How signal propagation predicts: by a trained output layer, or by comparing h_N with targets t_N.

    output     y = W h_N + b, learned from the task's loss
    classes    y_c = similarity(h_N, t_N of class c)
    subset     as classes, but only within the group of classes whose mean target is most alike to h_N
    neutral    y = W (h_N ⊙ t_N) + b with the target of no class in particular, c = (1/C, ..., 1/C)

No label goes in. `classes` and `subset` have no output layer to train, so theirs stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Compare = Callable[[Tensor, Tensor], Tensor]  # h [seed, batch, units], t [seed, rows, units] -> y


def compare_with_all(h: Tensor, t: Tensor, compare: Compare) -> Tensor:
    """y [seed, batch, classes] against every class's target."""
    return compare(h, t)


def groups_of(t: Tensor, compare: Compare) -> Tensor:
    """Classes in groups of about sqrt(C): each takes the first class that is free and those most like it.

    [seed, groups, members]; where the last group is short, the number C stands for nobody."""
    seeds, classes = t.shape[:2]
    size = math.ceil(classes**0.5)
    alike = compare(t, t)  # [seed, classes, classes]
    taken = torch.zeros(seeds, classes, dtype=torch.bool, device=t.device)
    groups = []
    for _ in range(math.ceil(classes / size)):
        first = taken.int().argmin(-1)  # [seed]
        row = alike[torch.arange(seeds, device=t.device), first]  # [seed, classes]
        row = row.scatter(-1, first.unsqueeze(-1), math.inf).masked_fill(taken, -math.inf)
        values, members = row.topk(size, -1)
        taken = taken.scatter(-1, members, True)
        groups.append(members.masked_fill(values == -math.inf, classes))
    return torch.stack(groups, 1)


def compare_with_subset(h: Tensor, t: Tensor, compare: Compare) -> Tensor:
    """As compare_with_all within the group whose mean target is most alike to h; about 2 sqrt(C)
    comparisons instead of C. Classes of other groups rank below, by how alike their group's mean is."""
    (seeds, batch), classes = h.shape[:2], t.shape[1]
    groups = groups_of(t, compare)
    everyone = torch.cat([t, torch.zeros_like(t[:, :1])], 1)  # and nobody
    index = groups.flatten(1).unsqueeze(-1).expand(-1, -1, t.shape[-1])
    members = everyone.gather(1, index).unflatten(1, groups.shape[1:])  # [seed, groups, members, units]
    means = members.sum(2) / (groups < classes).sum(-1, keepdim=True)
    by_group = compare(h, means)  # [seed, batch, groups]
    best, chosen = by_group.max(-1)  # [seed, batch]
    seed = torch.arange(seeds, device=h.device).unsqueeze(-1)
    inside, candidates = groups[seed, chosen], members[seed, chosen]  # [seed, batch, members(, units)]
    y = compare(h.flatten(0, 1).unsqueeze(1), candidates.flatten(0, 1)).view(seeds, batch, -1)
    floor = y.masked_fill(inside == classes, math.inf).amin(-1, keepdim=True) - 1
    outside = floor + by_group - best.unsqueeze(-1)  # [seed, batch, groups]
    scores = h.new_empty(seeds, batch, classes + 1)
    spread = groups.flatten(1).unsqueeze(1).expand(-1, batch, -1)
    scores.scatter_(-1, spread, outside.repeat_interleave(groups.shape[-1], -1))
    return scores.scatter(-1, inside, y)[..., :classes]


COMPARISONS: Mapping[str, Callable[[Tensor, Tensor, Compare], Tensor]] = {
    "classes": compare_with_all,
    "subset": compare_with_subset,
}


def plain(h: Tensor, neutral: Callable[[], Tensor]) -> Tensor:
    """The output layer reads h_N."""
    return h


def weighed(h: Tensor, neutral: Callable[[], Tensor]) -> Tensor:
    """The output layer reads h_N, each unit weighed by the neutral target's."""
    return h * neutral().view(len(h), 1, *h.shape[2:])


READINGS: Mapping[str, Callable[[Tensor, Callable[[], Tensor]], Tensor]] = {
    "output": plain,
    "neutral": weighed,
}
