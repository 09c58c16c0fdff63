"""The list of sabotages can be run: `tox -e sabotage` takes an hour, and a merge or an edit may break it."""

import tomllib
from pathlib import Path

KEYS = {"what", "file", "old", "new", "tests"}


def test_every_sabotage_has_a_line_to_break_and_tests_to_notice(root: Path) -> None:
    listed = tomllib.loads((root / "tests" / "sabotages.toml").read_text(encoding="utf-8"))["sabotage"]
    assert len({own["what"] for own in listed}) == len(listed) > 200
    for own in listed:
        assert own.keys() == KEYS, own
        assert (root / own["file"]).read_text(encoding="utf-8").count(own["old"]) == 1, own["what"]
        assert own["new"] != own["old"], own["what"]
        for word in own["tests"].split():
            if word.startswith("tests/"):
                assert (root / word.partition("::")[0]).exists(), own["what"]
