"""From names to things: built-in tables, then entry points, then files of the user's own.

A name is a built-in ("fa"), one that an installed package offers under the entry-point groups
`creditbench.tasks`, `.networks`, `.rules`, or a path ("my_rule.py:MyRule"). Looking at the lists
imports none of it, so that `creditbench list` answers without torch.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from creditbench.suite.errors import CreditbenchError, unknown_name

Kind = Literal["task", "network", "rule"]
TABLES: Mapping[Kind, tuple[str, str]] = {
    "task": ("creditbench.tasks", "TASKS"),
    "network": ("creditbench.baselines", "NETWORKS"),
    "rule": ("creditbench.baselines", "RULES"),
}


def table(kind: Kind) -> dict[str, str]:
    """Name -> "module:attribute" of everything installed. Two offers of one name are an error."""
    module, attribute = TABLES[kind]
    names: dict[str, str] = dict(getattr(importlib.import_module(module), attribute))
    for point in _offered(entry_points, f"creditbench.{kind}s"):
        if point.name in names:
            raise CreditbenchError(
                f"Two packages offer the {kind} '{point.name}': {names[point.name]} and {point.value};"
                " uninstall one or rename its entry point."
            )
        names[point.name] = point.value
    return names


@cache
def _offered(read: Callable[..., Iterable[EntryPoint]], group: str) -> tuple[EntryPoint, ...]:
    # Looking through all installed packages takes milliseconds; planning asks for every name of every cell.
    return tuple(read(group=group))


def load(kind: Kind, name: str) -> Any:
    """The task, the network's builder or the rule's class of this name or path.

    Raises CreditbenchError for unknown names, missing files, files that do not import, and a file whose
    object bears the name of an installed one."""
    if ".py:" not in name:
        names = table(kind)
        if name not in names:
            if name.endswith(".py"):
                raise CreditbenchError(f"'{name}' names a file; write {name}:NAME for what is in it.")
            raise unknown_name(kind, name, names)
        module, _, attribute = names[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    path, _, attribute = name.rpartition(":")
    thing = _attribute(_module_of(Path(path)), attribute, path)
    own = own_name(thing)
    installed = table(kind)
    if own in installed:
        raise CreditbenchError(
            f"{name} calls itself '{own}', which is also the installed {kind} {installed[own]}; give it a"
            " name of its own."
        )
    return thing


def load_class(module: str, file: str, name: str) -> type:
    """A class that another process holds: by its module's name where that is the same file here, else from
    the file. Raises CreditbenchError where neither has it."""
    found = sys.modules.get(module) if module != "__main__" else None
    if found is None and module != "__main__":
        with contextlib.suppress(ImportError):
            found = importlib.import_module(module)
    if found is None or getattr(found, "__file__", None) != file:
        found = _module_of(Path(file))
    thing: Any = found
    for part in name.split("."):
        thing = _attribute(thing, part, file)
    if not isinstance(thing, type):
        raise CreditbenchError(f"{name} in {file} is no class.")
    return thing


def own_name(thing: Any) -> str:
    """The name under which a thing's records are stored."""
    return str(getattr(thing, "name", None) or thing.__name__)


def source_file(kind: Kind, name: str) -> Path | None:
    """The file that defines a name, found without importing it."""
    if ".py:" in name:
        return Path(name.rpartition(":")[0])
    module = table(kind)[name].partition(":")[0]
    spec = importlib.util.find_spec(module)
    return Path(spec.origin) if spec and spec.origin else None


def summary(kind: Kind, name: str) -> str:
    """One line about an installed name, read from its source without importing it."""
    path, attribute = source_file(kind, name), table(kind)[name].partition(":")[2]
    if path is None or not path.exists():
        return ""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        value = getattr(node, "value", None)
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(value, ast.Call) and attribute in [getattr(t, "id", None) for t in targets]:
            for word in value.keywords:
                if word.arg == "summary" and isinstance(word.value, ast.Constant):
                    return str(word.value.value)
    classes = [node for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    alone = sum(isinstance(node, ast.ClassDef) for node in classes) <= 1
    described = next((node for node in classes if node.name == attribute), None)
    text = ast.get_docstring(tree) if alone or described is None else ast.get_docstring(described)
    return (text or "").split("\n")[0]


def _module_of(path: Path) -> Any:
    path = path.expanduser()
    if not path.is_file():
        raise CreditbenchError(f"There is no file {path}; give the path of a Python file.")
    name = f"creditbench_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it is being executed
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise CreditbenchError(
            f"{path} cannot be imported: {type(error).__name__}: {error}{_line_of(error, path)}."
        ) from error
    return module


def _line_of(error: BaseException, path: Path) -> str:
    import traceback

    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f" (line {frames[-1].lineno})" if frames else ""


def _attribute(module: Any, attribute: str, path: str) -> Any:
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise unknown_name(f"object in {path} called", attribute, public)
    return getattr(module, attribute)
