"""Who may import whom: arrows point one way, so that a folder can be read, tested and replaced alone."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("suite", "tasks", "baselines", "reports")

# What may be imported, wherever in a file: these modules, and for "x.*" what is below x.
CONTRACT = tuple(f"creditbench.suite.{name}" for name in ("types", "errors", "phases", "spikes", "series"))
WITHOUT_TORCH = tuple(
    f"creditbench.suite.{name}" for name in ("errors", "frame", "record", "scores", "specification", "store")
)
ALLOWED = {
    "suite": ("creditbench", "creditbench.suite.*"),
    "tasks": (*CONTRACT, "creditbench.tasks.*"),
    "baselines": (*CONTRACT, "creditbench.baselines.*"),
    "reports": ("creditbench", *WITHOUT_TORCH, "creditbench.reports.*"),
}
# Commands alone may reach up, inside their functions: they show reports.
COMMANDS = "creditbench.suite.commands.*"
ALLOWED_LATE = ("creditbench.reports.*",)
# The suite looks tasks and baselines up by name, here; nowhere else are imports hidden in strings.
LOOK_UP = {"creditbench", "creditbench.suite.registry"}

IMPORT_NAMES = {"scikit-learn": "sklearn"}  # where a distribution's name is not what is imported


@dataclass(frozen=True)
class Import:
    """One imported module, and where: a late one stands inside a function, a typing one never runs."""

    line: int
    name: str
    late: bool
    typing: bool


def source_files() -> dict[str, Path]:
    """Module name -> file, for everything that is installed."""
    files = {"creditbench": ROOT / ".dev" / "creditbench" / "__init__.py"}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(("creditbench", *parts)).removesuffix(".__init__")] = path
    return files


FILES = source_files()


def imports_of(source: str) -> Iterator[Import]:
    """Every import of a file. `from package import x` is an import of package.x where that is a module."""

    def visit(node: ast.AST, late: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, late, typing)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                below = f"{base}.{alias.name}"
                yield Import(node.lineno, below if below in FILES else base, late, typing)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        only_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for field, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, late, typing or (only_typing and field == "body"))

    yield from visit(ast.parse(source), False, False)


def is_among(name: str, allowed: tuple[str, ...]) -> bool:
    return any(
        name == entry or (entry.endswith(".*") and f"{name}.".startswith(entry[:-1])) for entry in allowed
    )


def trespasses(module: str, source: str) -> list[str]:
    """The imports of a file that its folder may not make, as sentences."""
    folder = module.split(".")[1]
    allowed = ALLOWED[folder]
    allowed_late = ALLOWED_LATE if is_among(module, (COMMANDS,)) else ()
    return [
        f"{module}, line {found.line}, imports {found.name}; {folder}/ may import {', '.join(allowed)}"
        for found in imports_of(source)
        if found.name.split(".")[0] == "creditbench"
        and not is_among(found.name, allowed)
        and not (found.late and is_among(found.name, allowed_late))
    ]


def cycle_among(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a ring, or none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


# -------------------------------------------------------------------------------- the rules


def test_each_folder_imports_only_what_it_may() -> None:
    found = [
        line
        for module, path in FILES.items()
        if module != "creditbench"
        for line in trespasses(module, path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_the_package_itself_imports_none_of_its_parts() -> None:
    source = FILES["creditbench"].read_text(encoding="utf-8")
    running = [found.name for found in imports_of(source) if not found.typing]
    assert not [name for name in running if name.startswith("creditbench")]


def test_no_module_takes_part_in_an_import_cycle() -> None:
    graph = {
        module: {
            found.name
            for found in imports_of(path.read_text(encoding="utf-8"))
            if found.name in FILES and not found.late and not found.typing
        }
        for module, path in FILES.items()
    }
    assert sum(map(len, graph.values())) > len(FOLDERS), "no imports were found at all"
    assert cycle_among(graph) == []


@pytest.mark.parametrize("folder", [*FOLDERS, "tests", ".dev/creditbench/__init__.py"])
def test_imports_are_absolute_and_below_the_one_installed_name(folder: str) -> None:
    start = ROOT / folder
    paths = [start] if start.is_file() else sorted(start.rglob("*.py"))
    assert paths
    found = [
        f"{path.relative_to(ROOT)}, line {found.line}: {found.name}"
        for path in paths
        for found in imports_of(path.read_text(encoding="utf-8"))
        if found.name.startswith(".") or found.name.split(".")[0] in FOLDERS
    ]
    assert not found, "\n".join(found)


def test_only_the_registry_imports_by_strings() -> None:
    found = {
        module
        for module, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if getattr(node, "id", getattr(node, "attr", None)) in ("import_module", "__import__")
    }
    assert found == LOOK_UP


def test_reports_and_what_they_may_read_work_without_torch() -> None:
    modules = [name for name in FILES if name.startswith("creditbench.reports")] + list(WITHOUT_TORCH)
    program = f"""
import importlib, sys
# Whoever imports it, early or late, fails. scipy only looks for it in sys.modules, which is no import.
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Refusal())
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def distributions(entries: Iterable[str]) -> set[str]:
    """What is imported of the named distributions."""
    names = [re.split(r"[^\w-]", entry, maxsplit=1)[0] for entry in entries]
    return {IMPORT_NAMES.get(name, name) for name in names}


def test_dependencies_are_those_that_are_imported_and_extras_only_inside_functions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [entries for name, entries in project["optional-dependencies"].items() if name != "test"]
    optional = distributions(entry for entries in extras for entry in entries)
    found = [one for path in FILES.values() for one in imports_of(path.read_text(encoding="utf-8"))]
    ours = set(sys.stdlib_module_names) | {"creditbench"}
    imported = {one.name.split(".")[0] for one in found} - ours
    assert imported == distributions(project["dependencies"]) | optional
    at_once = {one.name.split(".")[0] for one in found if not (one.late or one.typing)} - ours
    assert at_once.isdisjoint(optional)


# ------------------------------------------------------------- that the rules would see a breach


@pytest.mark.parametrize(
    ("module", "source", "guilty"),
    [
        ("creditbench.tasks.digits", "import creditbench.baselines", True),
        ("creditbench.tasks.digits", "from creditbench.suite import train", True),
        ("creditbench.tasks.digits", "from creditbench.suite import types", False),
        ("creditbench.tasks.digits", "from creditbench.suite.types import Task", False),
        ("creditbench.baselines.rules.bp", "def f():\n    from creditbench.tasks import digits", True),
        ("creditbench.baselines.rules.bp", "from creditbench.baselines.networks import blocks", False),
        ("creditbench.reports.page", "from creditbench.suite import train", True),
        ("creditbench.reports.page", "from creditbench.suite.store import Store", False),
        ("creditbench.suite.train", "def f():\n    import creditbench.reports.board", True),
        ("creditbench.suite.commands.show", "def f():\n    import creditbench.reports.board", False),
        ("creditbench.suite.commands.show", "import creditbench.reports.board", True),
        ("creditbench.suite.train", "import creditbench.suites", True),
    ],
)
def test_a_planted_import_is_judged_rightly(module: str, source: str, guilty: bool) -> None:
    assert bool(trespasses(module, source)) == guilty


def test_a_planted_cycle_is_found() -> None:
    assert set(cycle_among({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


def test_typing_and_late_imports_are_told_apart() -> None:
    source = "import a\nif TYPE_CHECKING:\n    import b\nelse:\n    import c\ndef f():\n    import d"
    found = {i.name: (i.late, i.typing) for i in imports_of(source)}
    assert found == {"a": (False, False), "b": (False, True), "c": (False, False), "d": (True, False)}


# ------------------------------------------------------------------------------ what is read and timed

PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def unsafe(source: str) -> list[str]:
    """Where a file could run code out of data: imports of pickle and its kin, torch.load and numpy.load
    without their safeguard, pandas.read_pickle, eval and exec."""
    found = [
        f"line {one.line}: import {one.name}"
        for one in imports_of(source)
        if one.name.split(".")[0] in PICKLES
    ]
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        bad = (
            called in ("eval", "exec")
            or called.endswith("read_pickle")
            or (called.endswith("torch.load") and words.get("weights_only") != "True")
            or (called in ("np.load", "numpy.load") and words.get("allow_pickle", "False") != "False")
        )
        if bad:
            found.append(f"line {node.lineno}: {called}")
    return found


def clocks(source: str) -> list[str]:
    """Uses of the wall clock as a number: durations taken with it are wrong when it is set."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.time", "time.time_ns", "time")
    ]


@pytest.mark.parametrize("judge", [unsafe, clocks])
def test_no_file_of_ours_loads_a_pickle_or_times_by_the_wall_clock(judge: Callable[[str], list[str]]) -> None:
    found = {name: judge(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
    aged = {"creditbench.suite.doctor"} if judge is clocks else set()  # holds files' ages against the clock
    assert not {name: lines for name, lines in found.items() if lines and name not in aged}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "eval(text)",
    ],
)
def test_a_planted_pickle_is_found(source: str) -> None:
    assert unsafe(source)


def test_what_is_safe_is_let_through() -> None:
    assert not unsafe("torch.load(path, weights_only=True)\nnp.load(path)\nnp.load(path, allow_pickle=False)")
    assert clocks("seconds = time.time() - started")
    assert not clocks("time.perf_counter() - started\ntime.monotonic()")
