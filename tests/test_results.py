"""The committed reference records: whole, tuned, as good as they must be, and shown in the README."""

from pathlib import Path

import pytest

import creditbench
from creditbench.reports.leaderboard import board, terminal
from creditbench.suite import registry
from creditbench.suite.plan import plan, read_suite


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "results"


@pytest.mark.parametrize("suite", ["quickstart", "images"])
def test_every_run_of_the_reference_suites_is_there_and_ended_well(suite: str, folder: Path) -> None:
    frame = creditbench.load_results(folder).set_index("key")
    for cell in plan(read_suite(suite)):
        assert len(cell.specs) >= 3
        for spec in cell.specs:
            assert frame.loc[spec.key, "status"] == "ok", spec
            assert frame.loc[spec.key, "step_seconds"] > 0, spec


def test_reference_runs_are_tuned_on_the_cell_they_stand_in(folder: Path) -> None:
    frame = creditbench.load_results(folder)
    for row in frame.to_dict("records"):
        assert row["recipe"] == f"{row['task']}/{row['network']}"


def test_every_rule_of_a_cell_had_the_same_trials(root: Path) -> None:
    import tomllib

    budgets: dict[tuple[str, str], set[tuple[object, ...]]] = {}
    for path in (root / "baselines" / "recipes").glob("*.toml"):
        assert path.stem in registry.table("rule")
        text = path.read_text(encoding="utf-8")
        for entry in tomllib.loads(text)["recipe"]:
            told = entry["provenance"]
            if "published" in told:
                continue
            assert len(told["tried"]) == told["trials"] or told["sampler"] == "every setting once"
            budget = (told["trials"], told["epochs"], told["train_samples"])
            budgets.setdefault((entry["task"], entry["network"]), set()).add(budget)
    assert len(budgets) >= 6
    assert all(len(own) == 1 for own in budgets.values())


# What an experienced hand reaches on mlp in ten epochs, in per cent: (mnist, fashion-mnist).
IMAGES = {
    "bp": (98.0, 89.2), "fa": (97.3, 87.9), "dfa": (97.3, 88.2), "sigprop": (96.8, 87.4),
    "sign-symmetry": (97.9, 88.8), "kolen-pollack": (97.9, 88.7), "weight-mirror": (97.6, 88.3),
    "drtp": (93.8, 85.0), "dtp": (97.0, 87.6), "ddtp-linear": (97.2, 87.8), "l-drl": (97.2, 87.8),
    "fw-dtp": (97.2, 87.9), "lra-e": (96.8, 87.0), "dfc": (97.2, 87.5), "dual-propagation": (97.5, 88.0),
    "ccl": (97.9, 89.0), "pred": (97.9, 88.5), "symba": (97.8, 88.3), "pepita": (95.8, 83.5),
    "efp": (96.0, 85.0),
}  # fmt: skip
LEAST = {
    ("digit-sums", "bp"): 88.0, ("digit-sums", "fa"): 80.0, ("digit-sums", "dfa"): 80.0,
    ("digit-sums", "sigprop"): 60.0,
    **{(task, rule): least for rule, own in IMAGES.items()
       for task, least in zip(("mnist", "fashion-mnist"), own, strict=True)},
}  # fmt: skip


@pytest.mark.parametrize(("task", "rule"), sorted(LEAST))
def test_reference_scores_are_as_good_as_they_must_be(task: str, rule: str, folder: Path) -> None:
    frame = creditbench.load_results(folder)
    cell = frame[(frame["task"] == task) & (frame["rule"] == rule) & (frame["network"] == "mlp")]
    assert 100 * cell["score"].mean() >= LEAST[task, rule]


def test_the_readme_shows_the_board_of_the_reference_records(root: Path, folder: Path) -> None:
    shown = terminal(board(creditbench.load_results(folder)))
    assert f"```\n{shown}\n```" in (root / "README.md").read_text(encoding="utf-8")


def test_the_commands_and_the_rule_of_the_readme_work(root: Path, tmp_path: Path) -> None:
    from creditbench.suite.cli import _parser
    from creditbench.suite.conformance import check

    text = (root / "README.md").read_text(encoding="utf-8")
    code = next(b for b in text.split("```python\n") if b.startswith("from dataclasses")).partition("```")[0]
    path = tmp_path / "my_rule.py"
    path.write_text(code)
    assert not [c for c in check(f"{path}:MyRule") if c.holds is False]
    lines = [line for line in text.splitlines() if line.startswith("creditbench ")]
    assert len(lines) >= 8
    for line in lines:
        _parser().parse_args(line.partition("#")[0].split()[1:])
