"""What `import creditbench` gives, and what it costs."""

import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import creditbench
from creditbench.suite.api import run
from creditbench.suite.counting.operations import count_operations
from creditbench.suite.frame import load_results
from creditbench.suite.phases import phase
from creditbench.suite.spikes import declare_spikes

if TYPE_CHECKING:  # a checker that believed in every name would call this comment unused
    creditbench.runn  # type: ignore[attr-defined]  # noqa: B018

HEAVY = ("torch", "pandas", "numpy", "scipy", "sklearn", "rich", "jinja2", "pooch")


def imported_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_creditbench_imports_nothing_heavy() -> None:
    assert imported_by("import creditbench").isdisjoint(HEAVY)


def test_looking_for_heavy_imports_would_find_one() -> None:
    assert "numpy" in imported_by("import numpy")


def test_reading_results_needs_no_torch() -> None:
    assert "torch" not in imported_by("import creditbench; creditbench.load_results")


def test_public_names_are_those_of_the_suite() -> None:
    assert creditbench.run is run
    assert creditbench.load_results is load_results
    assert creditbench.count_operations is count_operations
    assert creditbench.phase is phase
    assert creditbench.declare_spikes is declare_spikes


def test_dir_lists_the_public_names_and_each_exists() -> None:
    names = {"count_operations", "declare_spikes", "load_results", "phase", "run"}
    assert set(dir(creditbench)) == {"__version__", *names}
    for name in dir(creditbench):
        assert getattr(creditbench, name)


def test_an_unknown_name_is_an_attribute_error_that_repeats_it() -> None:
    with pytest.raises(AttributeError, match="'creditbench' has no attribute 'runn'"):
        getattr(creditbench, "runn")  # noqa: B009, as an attribute the checker would refuse it


@pytest.fixture
def installed() -> Distribution:
    try:
        return distribution("creditbench")
    except PackageNotFoundError:
        pytest.skip("creditbench is on the path but not installed")


def test_the_installed_version_is_the_one_in_the_code(installed: Distribution) -> None:
    assert installed.version == creditbench.__version__


def test_the_console_script_is_installed_and_can_be_loaded(installed: Distribution) -> None:
    (script,) = installed.entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("creditbench", "creditbench.suite.cli:main")
    assert callable(script.load())


def test_the_citation_names_this_version(root: Path) -> None:
    lines = (root / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {creditbench.__version__}" in lines
