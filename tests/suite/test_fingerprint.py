"""What the fingerprint of code sees, and what it is blind to."""

from pathlib import Path

import pytest

from creditbench.suite.fingerprint import fingerprint

CODE = '''
"""A module."""
from dataclasses import dataclass

@dataclass
class Rule:
    """A class."""
    scale: float = 1.0

    def step(self, x: int) -> int:
        """A method."""
        return self.scale * x  # a comment
'''


def of(folder: Path, code: str, torch: str = "2.13.0", **others: str) -> str:
    for name, text in others.items():
        (folder / f"{name}.py").write_text(text)
    path = folder / "rule.py"
    path.write_text(code)
    return fingerprint([path], torch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', ""),
        ('"""A method."""', '"""Another,\n        longer."""'),
        ("  # a comment", ""),
        ("x: int) -> int", "x)"),
        ("scale: float", "scale: 'a number'"),
        ("return self.scale * x", "return (self.scale\n            * x)"),
    ],
)
def test_comments_docstrings_annotations_and_layout_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert of(tmp_path, CODE) == of(tmp_path, CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"), [("= 1.0", "= 1.5"), ("self.scale * x", "self.scale + x"), ("step", "stop")]
)
def test_code_counts(tmp_path: Path, old: str, new: str) -> None:
    assert of(tmp_path, CODE) != of(tmp_path, CODE.replace(old, new))


def test_what_a_users_file_imports_from_its_folder_counts(tmp_path: Path) -> None:
    code = "import helper\n" + CODE
    assert of(tmp_path, code, helper="A = 1\n") != of(tmp_path, code, helper="A = 2\n")
    assert of(tmp_path, CODE, helper="A = 1\n") == of(tmp_path, CODE, helper="A = 2\n")


def test_what_the_library_imports_counts() -> None:
    from creditbench.suite.fingerprint import _file_of, _follow

    reached: dict[Path, str] = {}
    start = _file_of("creditbench.baselines.rules.fa")
    assert start is not None
    _follow(start.resolve(), reached)
    assert "types.py" in {path.name for path in reached}
    assert "dfa.py" not in {path.name for path in reached}


def test_a_minor_version_of_torch_counts_and_a_patch_does_not(tmp_path: Path) -> None:
    assert of(tmp_path, CODE, "2.13.0") == of(tmp_path, CODE, "2.13.1+cpu")
    assert of(tmp_path, CODE, "2.13.0") != of(tmp_path, CODE, "2.14.0")
