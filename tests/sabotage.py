"""Breaks the library one line at a time; the tests must notice every time.

    python tests/sabotage.py                 all of sabotages.toml
    python tests/sabotage.py NUMBER ...      some of them

Each sabotage is applied to a copy of the checkout, where the tests that should notice it are run. One
that survives, or whose line is no longer there, fails the command.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "suite",
    "tasks",
    "baselines",
    "reports",
    "tests",
    ".dev",
    "pyproject.toml",
    "README.md",
    "results",
    "docs",
)


def main(numbers: list[int]) -> int:
    listed = tomllib.loads((ROOT / "tests" / "sabotages.toml").read_text(encoding="utf-8"))["sabotage"]
    survivors = 0
    with tempfile.TemporaryDirectory() as scratch:
        for number, sabotage in enumerate(listed, 1):
            if numbers and number not in numbers:
                continue
            copy = Path(scratch) / str(number)
            _copy(copy)
            caught = _caught(copy, sabotage)
            survivors += not caught
            print(f"{number:3} {'caught' if caught else 'SURVIVED'}: {sabotage['what']}", flush=True)
            shutil.rmtree(copy)
    print(f"{survivors} survived." if survivors else "All were caught.")
    return 1 if survivors else 0


def _copy(copy: Path) -> None:
    copy.mkdir()
    for name in FOLDERS:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / name, symlinks=True, ignore=ignore)
        elif source.exists():
            shutil.copy(source, copy / name)


def _caught(copy: Path, sabotage: dict[str, str]) -> bool:
    path = copy / sabotage["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(sabotage["old"]) != 1:
        print(f"    {sabotage['file']} does not hold exactly once: {sabotage['old']}")
        return False
    path.write_text(text.replace(sabotage["old"], sabotage["new"]), encoding="utf-8")
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *sabotage["tests"].split()]
    environment = os.environ | {"PYTHONPATH": str(copy / ".dev"), "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return result.returncode == 1  # 1: tests ran and failed; anything else is no verdict


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))
