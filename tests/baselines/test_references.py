"""The bibliography that reports cite from."""

import re
from pathlib import Path

from creditbench.suite import registry


def entries(root: Path) -> list[str]:
    text = (root / "baselines" / "references.bib").read_text(encoding="utf-8")
    return re.split(r"^(?=@)", text, flags=re.MULTILINE)[1:]


def test_every_entry_is_whole_and_no_key_stands_twice(root: Path) -> None:
    keys = [re.match(r"@\w+\{([\w:-]+),\n", own) for own in entries(root)]
    assert None not in keys
    assert len({key[1] for key in keys if key}) == len(keys) > 40
    for own in entries(root):
        assert own.count("{") == own.count("}"), own
        assert own.rstrip().endswith("\n}"), own
        fields = re.findall(r"^  (\w+) = \{", own, flags=re.MULTILINE)
        assert len(set(fields)) == len(fields), own
        assert {"author", "title", "year"} <= set(fields), own


def test_a_note_names_what_there_is(root: Path) -> None:
    """The first word of a note is a rule, a network or a task, or the note is a sentence about one."""
    known = {name for kind in ("rule", "network", "task") for name in registry.table(kind)}
    for own in entries(root):
        note = re.search(r"^  note = \{(.*)\}", own, flags=re.MULTILINE)
        assert note is not None, own
        assert known & set(re.split(r"[\s,;]+", note[1])), own


def test_every_rule_can_be_cited(root: Path) -> None:
    notes = " ".join(re.findall(r"^  note = \{(.*)\}", "".join(entries(root)), flags=re.MULTILINE))
    assert set(registry.table("rule")) <= set(re.split(r"[\s,;]+", notes))
