"""A fingerprint of the code that a result depends on, blind to what cannot change the result.

From the files of a rule, a network and a task and from the training loop, imports are followed as text
within creditbench (and, for a user's file, within its folder). Comments, docstrings and annotations are
stripped. It says *whether* code changed; whether the change matters is found by replaying first steps.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

ROOT = "creditbench."
TRAINING = "creditbench.suite.train"
MEASURING = "creditbench.suite.measure"
# They carry results and cannot change them.
BYSTANDERS = {
    "creditbench.suite.errors",
    "creditbench.suite.meters.alignment",
    "creditbench.suite.phases",
    "creditbench.suite.record",
    "creditbench.suite.seal",
    "creditbench.suite.specification",
}


def fingerprint(files: Iterable[Path], torch_version: str, root: str = TRAINING) -> str:
    """12 hexadecimal digits over the code reached from `files` and from a module of the harness."""
    digest = hashlib.sha256(_series(torch_version).encode())
    for text in sorted(_reached(files, root).values()):
        digest.update(text.encode())
    return digest.hexdigest()[:12]


def modules(files: Iterable[Path], torch_version: str, root: str = TRAINING) -> dict[str, str]:
    """What a fingerprint is made of, to tell later what has changed: module -> 8 hexadecimal digits.

    A file of the user's goes by its name alone: folders are nobody's business."""
    found = {"torch": _series(torch_version)}
    for path, text in _reached(files, root).items():
        found[_name_of(path)] = hashlib.sha256(text.encode()).hexdigest()[:8]
    return dict(sorted(found.items()))


def _series(torch_version: str) -> str:
    return ".".join(torch_version.split(".")[:2])


def _name_of(path: Path) -> str:
    for package in ("suite", "tasks", "baselines"):
        home = _file_of(f"{ROOT}{package}")
        if home is not None and path.is_relative_to(home.resolve().parent):
            parts = path.relative_to(home.resolve().parent).with_suffix("").parts
            return ".".join((package, *parts)).removesuffix(".__init__")
    return path.name


def _reached(files: Iterable[Path], root: str) -> dict[Path, str]:
    reached: dict[Path, str] = {}
    for start in (*files, _file_of(root)):
        if start is not None:
            _follow(start.resolve(), reached)
    return reached


def _follow(path: Path, reached: dict[Path, str]) -> None:
    if path in reached:
        return
    text, imports = _stripped(path, path.stat().st_mtime_ns)
    reached[path] = text
    for name in imports:
        if name in BYSTANDERS:
            continue
        target = _file_of(name) if name.startswith(ROOT) else path.parent / f"{name.split('.')[0]}.py"
        if target is not None and target.is_file():
            _follow(target.resolve(), reached)


@cache
def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _stripped(path: Path, changed: int) -> tuple[str, tuple[str, ...]]:
    """A file's code without what cannot matter, and the modules that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            _strip_docstring(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree), tuple(imports)


def _strip_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        if isinstance(first.value.value, str):
            node.body = node.body[1:]
