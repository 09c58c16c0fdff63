"""Reference records can be made again: minutes, so `tox -e slow` runs this."""

from pathlib import Path

import pytest

import creditbench


@pytest.mark.slow
def test_quickstart_comes_out_as_its_reference_records(root: Path, tmp_path: Path) -> None:
    """Every rule, one seed, from fresh weights; only float rounding may differ, which training amplifies."""
    made = creditbench.run("quickstart", seeds=1, results=tmp_path, device="cpu").set_index("key")
    stored = creditbench.load_results(root / "results").set_index("key")
    assert len(made) == 10
    for key, run in made.iterrows():
        reference = stored.loc[key]
        assert run["status"] == "ok"
        assert abs(run["score"] - reference["score"]) < 0.02, (run["task"], run["rule"])
        assert run["train_macs_per_sample"] == reference["train_macs_per_sample"]
        assert run["peak_bytes"] == reference["peak_bytes"]
