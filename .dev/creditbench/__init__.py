"""creditbench: the benchmark and evaluation suite for learning rules.

`run` trains and measures, `load_results` reads what was stored, `count_operations` counts the operations of
any torch code, of which `phase` says what they are for and `declare_spikes` which tensors are spikes.
Importing this imports nothing heavy: a name is looked up when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from creditbench.suite.api import run as run
    from creditbench.suite.counting.operations import count_operations as count_operations
    from creditbench.suite.frame import load_results as load_results
    from creditbench.suite.phases import phase as phase
    from creditbench.suite.spikes import declare_spikes as declare_spikes

__version__ = "0.1.0"

_PUBLIC = {
    "run": "creditbench.suite.api",
    "load_results": "creditbench.suite.frame",
    "count_operations": "creditbench.suite.counting.operations",
    "phase": "creditbench.suite.phases",
    "declare_spikes": "creditbench.suite.spikes",
}


if not TYPE_CHECKING:  # or checkers would believe in every name

    def __getattr__(name: str) -> object:
        if name in _PUBLIC:
            return getattr(import_module(_PUBLIC[name]), name)
        raise AttributeError(f"module 'creditbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({"__version__", *_PUBLIC})
