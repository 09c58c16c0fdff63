"""The built-in suites, as TOML files that a person can read."""

from __future__ import annotations

import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent


def paths() -> dict[str, Path]:
    """Name -> file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def summaries() -> dict[str, str]:
    """Name -> what it is for."""
    return {
        name: tomllib.loads(path.read_text(encoding="utf-8"))["summary"] for name, path in paths().items()
    }
