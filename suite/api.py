"""The Python face: `creditbench.run` and what the command line builds on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from creditbench.suite.errors import CreditbenchError

if TYPE_CHECKING:
    import pandas as pd

    from creditbench.suite.driver import Observer, Summary
    from creditbench.suite.executors import Execution
    from creditbench.suite.plan import Label, Planned

DEFAULT_FOLDER = "creditbench-results"
Names = str | Sequence[str] | None


def run(
    suite: str | None = None,
    *,
    task: Names = None,
    network: Names = None,
    rule: Label | Sequence[Label] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    device: str = "auto",
    results: str | Path = DEFAULT_FOLDER,
    recipes: str | Path | None = None,
    executor: str = "inline",
    jobs: int | None = None,
    memory: str | int | None = None,
    time_limit: str | float | None = None,
    cpus: float | None = None,
    gpus: float | None = None,
    shard: str | None = None,
) -> pd.DataFrame:
    """Runs a suite, or single cells, and returns one row per trained seed (see `load_results`).

    suite: a name of `creditbench list suites` or the path of a TOML file; without one, `task` and `rule`
    say what to run (on `mlp` unless `network` is given). rule: names, "file.py:Class", or classes.
    recipes: a folder that `creditbench tune` wrote; its recipes come before the package's. The words from
    `executor` on are those of `creditbench run` (docs/cluster.md); none of them changes a result.
    What `results` already holds and still is valid is not run again. Raises CreditbenchError.
    """
    import creditbench
    from creditbench.suite.executors import Execution

    execution = Execution(executor, jobs, memory, time_limit, cpus, gpus, shard)
    summary = execute(
        suite, task, network, rule, seeds, epochs, learning_rate, device, results, None, recipes, execution
    )
    frame = creditbench.load_results(results)
    return frame[frame["key"].isin(summary.keys)].reset_index(drop=True)


def execute(
    suite: str | None,
    task: Names,
    network: Names,
    rule: Label | Sequence[Label] | None,
    seeds: int | None,
    epochs: int | None,
    learning_rate: float | None,
    device: str,
    results: str | Path,
    observer: Observer | None = None,
    recipes: str | Path | None = None,
    execution: Execution | None = None,
) -> Summary:
    """What `run` and the command line do: plan, then train and measure what is missing."""
    from creditbench.suite.driver import run_cells
    from creditbench.suite.executors import Execution, choose, device_for
    from creditbench.suite.shards import WHOLE, parse_shard
    from creditbench.suite.store import Store

    cells = planned(suite, task, network, rule, seeds, epochs, learning_rate, recipes)
    execution = execution or Execution()
    shard = WHOLE if execution.shard is None else parse_shard(execution.shard)
    on = device_for(execution, device)
    return run_cells(cells, Store(Path(results)), on, observer, choose(execution, on), shard)


def planned(
    suite: str | None,
    task: Names = None,
    network: Names = None,
    rule: Label | Sequence[Label] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    recipes: str | Path | None = None,
) -> list[Planned]:
    """The cells that the words of `run` mean."""
    from creditbench.suite.plan import Part, Suite, narrowed, plan, read_suite

    tasks, networks = _listed(task), _listed(network)
    rules: list[Label] = [rule] if isinstance(rule, (str, type)) else list(rule or ())
    if suite is None:
        if not tasks:
            raise CreditbenchError(
                "Nothing to run: name a suite (creditbench list suites) or at least a task with --task."
            )
        part = Part(tasks=tuple(tasks), networks=tuple(networks) or ("mlp",), rules=tuple(rules) or ("all",))
        chosen = Suite("own", "", (part,))
    else:
        chosen = narrowed(read_suite(suite), tasks, networks, rules)
    return plan(chosen, seeds, epochs, learning_rate, None if recipes is None else Path(recipes))


def _listed(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())
