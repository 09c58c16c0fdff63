"""What docs/claims.md reports of rules that learn from one number: how far they go the gradient's way.

    tox -e benchmark -- tests/benchmarks/test_one_number.py -s

Untrained networks, 128 images of mnist, 100 draws: the mean cosine between a block's update and its gradient,
and its standard error.
"""

import os
import statistics
from pathlib import Path
from typing import Any

import pytest

from creditbench.suite import registry
from creditbench.suite.meters.alignment import alignment
from creditbench.suite.plan import load_rule
from creditbench.suite.types import Batch, Split, Task
from tools import learner

RULES = (
    "node-perturbation",
    "forward-gradient-activity",
    "weight-perturbation",
    "forward-gradient",
    "reward-hebb",
)
DRAWS = 100


@pytest.fixture(scope="module")
def mnist() -> tuple[Task, Split]:
    if not Path(os.environ.get("CREDITBENCH_DATA", "."), "MNIST").is_dir():
        pytest.skip("the files of mnist are needed: CREDITBENCH_DATA names no folder with MNIST")
    task: Task = registry.load("task", "mnist")
    return task, task.read().train


def cosines(name: str, width: int, mnist: tuple[Task, Split]) -> dict[str, list[float]]:
    """Block -> one for each draw."""
    task, train = mnist
    model = learner(load_rule(name)(), task, width=width)
    batch = Batch(task.prepare(train.inputs[:128]).unsqueeze(0), train.targets[:128].unsqueeze(0))
    found: dict[str, list[float]] = {block.name: [] for block in model.network.blocks}
    for draw in range(DRAWS):
        model.noise.generators[0].manual_seed(draw)
        for block, cosine in alignment(model, batch)[0].cosine.items():
            found[block].append(cosine)
    return found


@pytest.mark.parametrize("width", [32, 256])
def test_the_mean_cosine_to_the_gradient(width: int, mnist: tuple[Task, Split], benchmark: Any) -> None:
    found = {name: cosines(name, width, mnist) for name in RULES}
    benchmark.pedantic(lambda: cosines("node-perturbation", width, mnist), rounds=1)
    print()
    for name, blocks in found.items():
        cells = [
            f"{statistics.mean(own):.4f} ± {statistics.stdev(own) / DRAWS**0.5:.4f}"
            for own in blocks.values()
        ]
        print(f"| 2 x {width} | {name} | {' | '.join(cells)} |")
    for name in ("node-perturbation", "forward-gradient-activity"):
        for block in ("0", "1"):
            own = found[name][block]
            assert statistics.mean(own) > 4 * statistics.stdev(own) / DRAWS**0.5, (name, block)
