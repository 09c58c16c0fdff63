"""What users get: the wheel holds the source tree under one name, whichever way it is built."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("suite/**/*.py", "tasks/**/*.py", "baselines/**/*.py", "reports/**/*.py")
DATA = (
    "suite/counting/energy_tables/*.toml",
    "suite/suites/*.toml",
    "baselines/*.toml",
    "baselines/recipes/*.toml",
    "baselines/references.bib",
    "reports/templates/*.*",
    "reports/templates/site/*",
    "reports/assets/*",
    "reports/vendor/*",
)


def build(folder: Path, *options: str) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder),
        *options,
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made from that sdist, not from the checkout."""
    folder = tmp_path_factory.mktemp("built")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, bytes]:
    (path,) = built.glob("*.whl")
    return contents(path)


def expected_files() -> dict[str, bytes]:
    """What belongs into the package, with its content: name below the root -> bytes."""
    files = {f"creditbench/{name}": ROOT / ".dev/creditbench" / name for name in ("__init__.py", "py.typed")}
    for pattern in (*SOURCES, *DATA):
        found = {f"creditbench/{path.relative_to(ROOT).as_posix()}": path for path in ROOT.glob(pattern)}
        assert found, f"nothing matches {pattern}"
        files |= found
    return {name: path.read_bytes() for name, path in files.items()}


def test_the_wheel_holds_the_source_tree_and_nothing_else(wheel: dict[str, bytes]) -> None:
    package = {name: text for name, text in wheel.items() if ".dist-info/" not in name}
    assert sorted(package) == sorted(expected_files())
    assert package == expected_files()


def test_the_wheel_takes_one_name_on_the_import_path(wheel: dict[str, bytes]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"creditbench"}


def test_the_wheel_says_that_it_is_typed_licensed_and_a_command(wheel: dict[str, bytes]) -> None:
    (info,) = {name.split("/")[0] for name in wheel if ".dist-info/" in name}
    assert b"creditbench = creditbench.suite.cli:main" in wheel[f"{info}/entry_points.txt"]
    assert wheel[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert "creditbench/py.typed" in wheel


def test_a_wheel_from_the_checkout_equals_the_one_from_the_sdist(
    wheel: dict[str, bytes], tmp_path: Path
) -> None:
    build(tmp_path, "--wheel")
    (direct,) = tmp_path.glob("*.whl")
    assert contents(direct) == wheel


def test_the_sdist_can_be_tested(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tox.ini", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"} <= names
    tests = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/*.py")}
    assert tests <= names
