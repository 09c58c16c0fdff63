"""Temporal credit tasks: what was seen matters only after a delay, on which online learning rules are judged.

- copy: a word of 5 symbols, a delay, then five recall cues, at which the word is to be told symbol by symbol
  (Hochreiter & Schmidhuber 1997, in the form of Arjovsky et al. 2016).
- delayed match: one of 8 symbols, distractors during the delay, a second symbol; is it the same?
  (delayed match to sample, Yang et al. 2019).
- cue accumulation: seven cues left or right at irregular moments, a delay, a go cue; on which side were more?
  (Morcos & Harvey 2016, as a task for recurrent networks Bellec et al. 2020).

`copy`, `delayed_match` and `cue_accumulation` make the splits for any delay; a task of your own delay is a
`Task` like those below. Times are counted in tens of steps. Samples are distinct, so none is in two splits,
and drawn by numpy's legacy generator, whose stream is frozen (NEP 19).
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import torch
from torch import Tensor

from creditbench.suite.errors import CreditbenchError
from creditbench.suite.series import NO_CLASS
from creditbench.suite.types import Split, Splits, Task

TRAIN, VALIDATION, TEST = 5_000, 1_000, 1_000
COUNT = TRAIN + VALIDATION + TEST
SYMBOLS, WORD, CUES, SLOTS = 8, 5, 7, 20


def copy(delay: int) -> Splits:
    """Steps: 5 symbols, `delay` steps of nothing, 5 recall cues. Features: 8 one-hot symbols, the cue.
    Targets [samples, steps]: the symbol at each recall cue."""
    draw = _generator("copy", delay)
    codes = torch.from_numpy(draw.permutation(SYMBOLS**WORD)[:COUNT])  # each word at most once
    word = torch.stack([codes // SYMBOLS**place % SYMBOLS for place in range(WORD)], -1)  # [samples, 5]
    features = torch.zeros(COUNT, 2 * WORD + delay, SYMBOLS + 1)
    features[:, :WORD, :SYMBOLS] = torch.nn.functional.one_hot(word, SYMBOLS).float()
    features[:, -WORD:, SYMBOLS] = 1
    targets = torch.full((COUNT, 2 * WORD + delay), NO_CLASS)
    targets[:, -WORD:] = word
    return _splits(_timed(features), targets)


def delayed_match(delay: int) -> Splits:
    """Steps: a symbol, `delay` distractors (other symbols, on channels of their own), a symbol. Features: 8
    one-hot symbols, 8 one-hot distractors. Targets [samples]: 1 where the symbols are the same, half of the
    time."""
    draw = _generator("delayed-match", delay)

    def rows(count: int) -> Tensor:
        sizes = ((0, SYMBOLS, 1), (0, 2, 1), (1, SYMBOLS, 1), (0, SYMBOLS, delay))
        drawn = [torch.from_numpy(draw.randint(low, high, (count, width))) for low, high, width in sizes]
        drawn[2] *= 1 - drawn[1]  # no shift where the symbols are the same: different rows, different samples
        return torch.cat(drawn, 1)

    found = _distinct(rows)
    first, same, shift, distractors = found[:, 0], found[:, 1], found[:, 2], found[:, 3:]
    second = (first + shift) % SYMBOLS
    features = torch.zeros(COUNT, delay + 2, 2 * SYMBOLS)
    features[:, 0, :SYMBOLS] = torch.nn.functional.one_hot(first, SYMBOLS).float()
    features[:, -1, :SYMBOLS] = torch.nn.functional.one_hot(second, SYMBOLS).float()
    features[:, 1:-1, SYMBOLS:] = torch.nn.functional.one_hot(distractors, SYMBOLS).float()
    return _splits(_timed(features), same)


def cue_accumulation(delay: int) -> Splits:
    """Steps: 7 cues at irregular moments, irregular in number of steps between them, then one go cue `delay`
    steps behind the last moment a cue may come. Only cues are steps: the rest is elapsed time. Features:
    left, right, go. Targets [samples]: 1 where more cues were right."""
    draw = _generator("cue-accumulation", delay)

    def rows(count: int) -> Tensor:
        moments = draw.random_sample((count, SLOTS)).argsort(1)[:, :CUES]  # 7 of 20, without repeat
        sides = draw.randint(0, 2, (count, CUES))
        return torch.cat([torch.from_numpy(moments).sort(1).values, torch.from_numpy(sides)], 1)

    found = _distinct(rows)
    moments, right = found[:, :CUES], found[:, CUES:]
    times = torch.cat([moments + 1, torch.full((COUNT, 1), SLOTS + delay)], 1).float()  # [samples, 8]
    features = torch.zeros(COUNT, CUES + 1, 3)
    features[:, :CUES, :2] = torch.nn.functional.one_hot(right, 2).float()
    features[:, CUES, 2] = 1
    inputs = torch.cat([times.unsqueeze(-1), features], -1)
    return _splits(inputs, (right.sum(1) > CUES // 2).long())


def _generator(name: str, delay: int) -> Any:
    import numpy as np

    if delay < 1:
        raise CreditbenchError(f"{name} needs a delay of at least one step, not {delay}.")
    return np.random.RandomState([*name.encode(), delay])


def _distinct(rows: Any) -> Tensor:
    """COUNT different rows out of twice as many, in the order in which they came."""
    import numpy as np

    drawn = rows(2 * COUNT)
    first = np.sort(np.unique(drawn.numpy(), axis=0, return_index=True)[1])[:COUNT]
    if len(first) < COUNT:
        raise CreditbenchError(f"This delay leaves only {len(first)} different samples; {COUNT} are needed.")
    return drawn[torch.from_numpy(first)]  # type: ignore[no-any-return]


def _timed(features: Tensor) -> Tensor:
    """Step after step: time 1, 2, ... in front of the features."""
    times = torch.arange(1.0, features.shape[1] + 1).expand(features.shape[:2])
    return torch.cat([times.unsqueeze(-1), features], -1)


def _splits(inputs: Tensor, targets: Tensor) -> Splits:
    bounds = (0, TRAIN, TRAIN + VALIDATION, COUNT)
    return Splits(*(Split(inputs[a:b], targets[a:b]) for a, b in itertools.pairwise(bounds)))


COPY_5 = Task(
    name="copy-5",
    version=1,
    kind="series",
    input_shape=(15, 10),
    classes=8,
    read=partial(copy, 5),
    every_step=True,
    offset=(0.0,),
    scale=(10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    target_score=0.9,
    summary="Five symbols to be told again after a delay of 5 steps.",
    licence="CC0 (generated)",
    source="Hochreiter and Schmidhuber (1997); Arjovsky, Shah and Bengio (2016). arXiv:1511.06464",
)

COPY_20 = Task(
    name="copy-20",
    version=1,
    kind="series",
    input_shape=(30, 10),
    classes=8,
    read=partial(copy, 20),
    every_step=True,
    offset=(0.0,),
    scale=(10.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    target_score=0.9,
    summary="Five symbols to be told again after a delay of 20 steps.",
    licence="CC0 (generated)",
    source="Hochreiter and Schmidhuber (1997); Arjovsky, Shah and Bengio (2016). arXiv:1511.06464",
)

DELAYED_MATCH_10 = Task(
    name="delayed-match-10",
    version=1,
    kind="series",
    input_shape=(12, 17),
    classes=2,
    read=partial(delayed_match, 10),
    offset=(0.0,),
    scale=(10.0, *(1.0,) * 16),
    target_score=0.9,
    summary="Two symbols, ten distractors between them: are they the same?",
    licence="CC0 (generated)",
    source="Yang et al. (2019), Task representations in neural networks. doi:10.1038/s41593-018-0310-2",
)

DELAYED_MATCH_40 = Task(
    name="delayed-match-40",
    version=1,
    kind="series",
    input_shape=(42, 17),
    classes=2,
    read=partial(delayed_match, 40),
    offset=(0.0,),
    scale=(10.0, *(1.0,) * 16),
    target_score=0.9,
    summary="Two symbols, forty distractors between them: are they the same?",
    licence="CC0 (generated)",
    source="Yang et al. (2019), Task representations in neural networks. doi:10.1038/s41593-018-0310-2",
)

CUE_ACCUMULATION_10 = Task(
    name="cue-accumulation-10",
    version=1,
    kind="series",
    input_shape=(8, 4),
    classes=2,
    read=partial(cue_accumulation, 10),
    offset=(0.0,),
    scale=(10.0, 1.0, 1.0, 1.0),
    target_score=0.9,
    summary="Seven cues at irregular moments; after 10 steps: were more of them left or right?",
    licence="CC0 (generated)",
    source="Morcos and Harvey (2016); Bellec et al. (2020). doi:10.1038/s41467-020-17236-y",
)

CUE_ACCUMULATION_40 = Task(
    name="cue-accumulation-40",
    version=1,
    kind="series",
    input_shape=(8, 4),
    classes=2,
    read=partial(cue_accumulation, 40),
    offset=(0.0,),
    scale=(10.0, 1.0, 1.0, 1.0),
    target_score=0.9,
    summary="Seven cues at irregular moments; after 40 steps: were more of them left or right?",
    licence="CC0 (generated)",
    source="Morcos and Harvey (2016); Bellec et al. (2020). doi:10.1038/s41467-020-17236-y",
)
