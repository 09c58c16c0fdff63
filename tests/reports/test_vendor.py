"""The vendored front-end parts are what their authors published, with their licences."""

import hashlib
import tomllib
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "vendor"
PARTS = tomllib.loads((FOLDER / "vendor.toml").read_text(encoding="utf-8"))["part"]


def files(part: dict[str, str]) -> dict[str, str]:
    """File here -> digest in the list."""
    own = part["package"].removeprefix("@").replace("/", "-")
    named = {key.rpartition("/")[2]: digest for key, digest in part.items() if len(digest) == 64}
    return {name if name.endswith(".js") else f"{own}.LICENSE.txt": digest for name, digest in named.items()}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: str(part["package"]))
def test_each_file_has_the_digest_of_the_list_and_a_free_licence_beside_it(part: dict[str, str]) -> None:
    listed = files(part)
    assert sum(name.endswith(".js") for name in listed) == 1
    assert sum(name.endswith(".LICENSE.txt") for name in listed) == 1
    for name, digest in listed.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
    assert part["licence"] in ("MIT", "ISC")


def test_nothing_else_lies_there() -> None:
    listed = {name for part in PARTS for name in files(part)}
    assert {path.name for path in FOLDER.iterdir()} == listed | {"vendor.toml"}
