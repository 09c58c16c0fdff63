"""Every rule's step over bp's on the same network, in one run, and what each may cost.

Run by `tox -e benchmark`; the table is printed.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from creditbench.suite import registry
from creditbench.suite.learner import Learner, build_network
from creditbench.suite.plan import load_rule, own_choices
from creditbench.suite.types import Batch
from tools import CPU, images

OPTIONS = {"depth": 5, "width": 256}
SAMPLES, ROUNDS = 128, 30

# At most so many steps of bp. A sweep or a step of settling is of one real batch through the whole network:
# nudges side by side are as many; those of holomorphic-ep have two parts, and half of them settle.
BOUNDS: Mapping[str, Callable[[Any], float]] = {
    **dict.fromkeys(["fa", "dfa", "sdfa", "drtp", "sign-symmetry", "kolen-pollack"], lambda rule: 1.1),
    **dict.fromkeys(["z-il", "fw-dtp"], lambda rule: 1.5),
    "dtp": lambda rule: 1.5 + 1.2,  # one step of the way back
    **dict.fromkeys(["pc", "ipc", "epc"], lambda rule: 0.7 * rule.steps),
    "pc-nudged": lambda rule: 0.7 * rule.steps * len(rule.SIGNS[rule.nudge]),
    **dict.fromkeys(["ep", "coupled-learning", "chl"],
                    lambda rule: 0.5 * (rule.free_steps + rule.nudged_steps)),
    "holomorphic-ep": lambda rule: 0.5 * (rule.free_steps + 2 * (rule.nudges // 2 + 1) * rule.nudged_steps),
}  # fmt: skip


def models() -> dict[str, Learner]:
    task, builder = images(SAMPLES), registry.load("network", "mlp")
    found = {}
    for name in ["bp", *sorted(registry.table("rule").keys() - {"bp"})]:
        kind = load_rule(name)
        network = build_network(
            task, "mlp", builder, {**OPTIONS, **own_choices(kind, builder, "mlp")}, [0], CPU
        )
        if kind().supports(network, task) is None:
            found[name] = Learner(task, network, kind(), [0], [1e-3], "linear", 10**6)
    return found


def test_every_rule_costs_no_more_steps_of_bp_than_it_may() -> None:
    """In turns, one of bp before each, on one thread, in seconds of the processor: what else a machine does
    adds little to them, and the lower quartile leaves most of that out."""
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(1, SAMPLES, 1, 28, 28, generator=generator), torch.arange(SAMPLES)[None] % 10)
    learners, threads = models(), torch.get_num_threads()
    torch.set_num_threads(1)

    def seconds(name: str) -> float:
        start = time.process_time()
        learners[name].step(batch)
        return time.process_time() - start

    ratios = {}
    for name in learners:  # each against bp nearby, so that drift cancels
        for _ in range(3):
            learners[name].step(batch)
        pairs = [(seconds("bp"), seconds(name)) for _ in range(ROUNDS)]
        yard, own = (statistics.quantiles(times, n=4)[0] for times in zip(*pairs, strict=True))
        ratios[name] = own / yard, own
    torch.set_num_threads(threads)
    too_slow = []
    print(f"\nsteps on mlp of {OPTIONS['depth']} hidden layers of {OPTIONS['width']}, batch {SAMPLES}")
    for name, (ratio, own) in sorted(ratios.items(), key=lambda item: item[1]):
        bound = BOUNDS[name](learners[name].rule) if name in BOUNDS else None
        print(f"{name:32}{1e3 * own:8.2f} ms {ratio:7.2f} x bp" + (f"  at most {bound:.2f}" if bound else ""))
        if bound is not None and ratio > bound:
            too_slow.append(name)
    assert not too_slow
