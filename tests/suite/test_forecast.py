"""What a plan predicts: what is left to do, steps and operations exactly, times at least in their parts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from records import spec

from creditbench.suite.api import execute, planned
from creditbench.suite.cli import main
from creditbench.suite.commands.plan import duration
from creditbench.suite.forecast import Forecast, Probe, _predicted, forecast, longest_shard, shards_within
from creditbench.suite.frame import load_results
from creditbench.suite.store import Store

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    import creditbench.suite.forecast as forecasts
    import creditbench.suite.measure as module

    monkeypatch.setattr(module, "BUDGET", 0.0)
    monkeypatch.setattr(forecasts, "PROBING", 0.0)


def test_steps_and_operations_are_those_of_the_runs_to_come(tmp_path: Path) -> None:
    words = (None, "digits", None, ["bp", "sigprop"], 2, 2)
    foretold = list(forecast(planned(*words), Store(tmp_path), CPU))
    execute(*words, None, "cpu", tmp_path)
    frame = load_results(tmp_path).groupby("rule", sort=False).first()
    for found in foretold:
        row = frame.loc[found.spec.rule]
        assert (found.trainings, found.replays, found.settled, found.cost) == (2, 0, 0, "missing")
        assert found.steps == row["steps"] == 2 * 9
        samples = 2 * 2 * 9 * 128  # seeds, epochs, batches, batch size
        assert found.macs == pytest.approx(samples * row["train_macs_per_sample"])
        assert found.peak_bytes is not None
        assert row["peak_bytes"] < found.peak_bytes < 4 * row["peak_bytes"]  # two seeds beside one another
    again = list(forecast(planned(*words), Store(tmp_path), CPU))
    assert [(found.settled, found.trainings, found.seconds) for found in again] == [(2, 0, None)] * 2


def test_a_plan_writes_nothing_and_tells_what_cannot_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", str(tmp_path / "empty"))
    words = [
        "--task",
        "digits",
        "--task",
        "kmnist",
        "--network",
        "mlp:normalisation=batch",
        "--rule",
        "sigprop",
    ]
    assert main(["plan", *words, "--results", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "batch normalisation would mix" in out
    assert "2 cells cannot be told and are not in it" in out
    assert not (tmp_path / "r").exists()


def test_times_add_up_from_what_was_probed() -> None:
    probe = Probe(
        seeds=2, steps=40, step_seconds=0.5, scoring_seconds_per_sample=0.01, alignment_seconds=0.25,
        peak_bytes=1, macs=10.0, samples=(100, 200),
    )  # fmt: skip
    one = spec(epochs=4)
    # Two seeds: 40 steps, five validations (four epochs and the digest), five looks, two tests.
    both = 40 * 0.5 + 5 * 100 * 0.01 + 5 * 0.25 + 2 * 200 * 0.01
    trained = _predicted(Forecast(one, {"missing": 2}, "done"), probe, one, with_cost=False)
    assert trained.seconds == pytest.approx(both)
    assert trained.macs == pytest.approx(2 * 40 * 5.0)
    replayed = _predicted(Forecast(one, {"done": 4, "replay": 2}, "done"), probe, one, with_cost=False)
    assert replayed.seconds == pytest.approx(5 * 0.5 + 100 * 0.01)
    assert replayed.macs == 0
    measured = _predicted(Forecast(one, {"missing": 2}, "again"), probe, one, with_cost=True)
    assert measured.seconds is not None
    assert measured.seconds > both + 30 * 0.25  # the fewest steps that are timed, of one seed


def test_shards_are_as_many_as_the_time_needs() -> None:
    """Powers of two, so that no two ways to deal them come to the same."""
    found = [Forecast(spec(rule), {}, "done", seconds=2.0**n) for n, rule in enumerate("abcdefgh")]
    assert longest_shard(found, 1) == 255
    assert shards_within(found, 255) == 1
    assert shards_within(found, 127) is None  # one cell alone takes 128
    assert shards_within(found, 128) is not None
    ranked = [one.seconds or 0.0 for one in sorted(found, key=lambda one: one.spec.cell)]
    assert ranked != [one.seconds for one in found]
    for count in (2, 3, 5):
        assert longest_shard(found, count) == max(sum(ranked[first::count]) for first in range(count))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90m", 5400), ("8h", 28800), ("1h30m", 5400), ("0.5d", 43200)]
)
def test_a_duration_is_read_in_its_units(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "8 hours", "-1h", "0h", "1h x"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write 90m, 8h or 1h30m"):
        duration(text)


def test_a_session_of_planning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "quickstart", "--task", "digits", "--rule", "last-layer", "--results", str(tmp_path)]
    assert main([*words, "--within", "1d"]) == 0
    out = capsys.readouterr().out
    assert "last-layer" in out
    assert "Within 24.0 h: --shard 1/1 to 1/1" in out
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = told["cells"]
    assert (row["rule"], row["steps"], row["verdicts"]) == ("last-layer", 360, {"missing": 3})
    assert told["seconds"] == row["seconds"] > 0
    assert main([*words, "--within", "0.001s"]) == 1
    assert "no number of shards helps" in capsys.readouterr().err
