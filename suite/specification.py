"""What is to be trained: the declarative identity of a run. No torch here.

A Spec says everything that may change a result and nothing else. The hash of its JSON is its
identity: two machines that are asked for the same Spec store their record under the same name.
Code is not part of it: its fingerprint lies beside the record (see `suite.fingerprint`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache, cached_property
from typing import Any

from creditbench.suite.errors import CreditbenchError

PROTOCOL = 1  # raised when the meaning of a Spec changes, which makes every record a new one
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Spec:
    """One seed of one rule on one network and task, with all that was chosen for it.

    `network` is the network as a suite or user asked for it ("mlp", "mlp:depth=4"): the problem.
    `network_choices` is what the rule's recipe adds (its activation): part of the method.
    Defaults are left out of both and of `hyperparameters`, so a new option leaves old names valid.
    """

    task: str
    task_version: int
    network: str
    rule: str
    seed: int
    learning_rate: float | None  # None: the rule has a step size of its own
    epochs: int
    batch_size: int = 128
    schedule: str = "linear"  # see suite.optimizer.SCHEDULES
    train_samples: int | None = None  # None: all
    augmentation: str | None = None
    network_choices: Options = field(default_factory=dict)
    hyperparameters: Options = field(default_factory=dict)
    protocol: int = PROTOCOL

    def __post_init__(self) -> None:
        rate: Any = self.learning_rate
        if type(rate) is int:  # 1 and 1.0 are one rate, so they get one key
            object.__setattr__(self, "learning_rate", float(rate))

    def __hash__(self) -> int:
        return hash(self.key)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @cached_property
    def key(self) -> str:
        """The identity of this run: 12 hexadecimal digits."""
        return _hash(self._flat())

    @cached_property
    def cell(self) -> str:
        """The identity of this run without its seed: what is averaged over."""
        return _hash({name: value for name, value in self._flat().items() if name != "seed"})

    def _flat(self) -> dict[str, Any]:
        # asdict copies deeply, which is most of the time that reading a large folder takes.
        return {name: getattr(self, name) for name in FIELDS}

    def with_seed(self, seed: int) -> Spec:
        return replace(self, seed=seed)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """The inverse of `as_dict`. Raises CreditbenchError for missing or unknown fields."""
        if unknown := data.keys() - FIELDS.keys():
            raise CreditbenchError(f"A specification has unknown fields: {sorted(unknown)}.")
        try:
            spec = cls(**data)
        except TypeError as error:
            raise CreditbenchError(f"A specification is incomplete: {error}.") from None
        check_types(spec)
        return spec


FIELDS = {item.name: item for item in fields(Spec)}


def _hash(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()[:12]


def canonical_json(data: Any) -> str:
    """One spelling per value: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(data)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def parse_label(label: str) -> tuple[str, dict[str, Any]]:
    """Splits "mlp:depth=4,activation=tanh" into "mlp" and {"depth": 4, "activation": "tanh"}.

    Values are numbers, true, false, none or words. A path to a file keeps its own colon
    ("my_net.py:net:width=64"). Raises CreditbenchError for anything else.
    """
    start = label.index(".py:") + len(".py:") if ".py:" in label else 0
    name, _, options = label[start:].partition(":")
    name = label[:start] + name
    if not name:
        raise CreditbenchError(f"'{label}' has no name before its options; write name:option=value.")
    parsed: dict[str, Any] = {}
    for item in options.split(",") if options else ():
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise CreditbenchError(
                f"'{item}' in '{label}' is not an option; write name:option=value,option=value."
            )
        if key in parsed:
            raise CreditbenchError(f"'{label}' gives {key} twice; leave one out.")
        parsed[key] = parse_value(value)
    return name, parsed


def parse_value(text: str) -> Any:
    """A number, true, false or none where the text spells one, else the text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text  # "nan" has no place in an identity
    return text


def format_label(name: str, options: Options) -> str:
    """The inverse of `parse_label`, options in alphabetical order."""
    words = {True: "true", False: "false", None: "none"}

    def spelled(value: Any) -> str:
        return words[value] if isinstance(value, bool) or value is None else str(value)

    inside = ",".join(f"{key}={spelled(options[key])}" for key in sorted(options))
    return f"{name}:{inside}" if inside else name


KINDS: dict[str, tuple[type[Any], ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "Options": (Mapping,),
    "Mapping": (Mapping,),
}
LARGEST = 2**63  # what a table's columns hold


@cache
def _declared(kind: type[Any]) -> tuple[tuple[str, tuple[type[Any], ...], bool, str], ...]:
    """Of a dataclass's checked fields: name, types, whether None is one of them, and how it is written."""
    found = []
    for item in fields(kind):
        declared = str(item.type)
        name = declared.partition("[")[0].removesuffix(" | None")
        if name in KINDS:
            found.append((item.name, KINDS[name], declared.endswith("| None"), declared))
    return tuple(found)


def check_types(thing: Any) -> None:
    """Refuses, as CreditbenchError, a dataclass read from a file that holds what it does not declare."""
    kind: Any = type(thing)
    for name, kinds, optional, declared in _declared(kind):
        value = getattr(thing, name)
        if type(value) is str and kinds == KINDS["str"]:
            continue
        if value is None and optional:
            continue
        good = isinstance(value, kinds) and not isinstance(value, bool)
        if not good or (isinstance(value, float) and not math.isfinite(value)):
            raise CreditbenchError(f"'{name}' is {shortened(value)}, not {declared}")
        if isinstance(value, int) and not -LARGEST < value < LARGEST:
            raise CreditbenchError(f"'{name}' is {shortened(value)}, which is too large")


def shortened(value: Any) -> str:
    """A value as code, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or nested without end
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= 80 else f"{text[:77]}..."
