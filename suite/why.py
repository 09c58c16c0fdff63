"""`creditbench why`: for each cell, why its seeds and its cost are done, stale, skipped or missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from creditbench.suite.driver import files_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.fingerprint import MEASURING, fingerprint, modules
from creditbench.suite.plan import Planned
from creditbench.suite.provenance import machine
from creditbench.suite.record import Audited, Run
from creditbench.suite.specification import Spec
from creditbench.suite.standing import MEANING, Standing, Verdict, changed, nearest, stand, stand_cost
from creditbench.suite.store import Store, read


@dataclass(frozen=True)
class Reason:
    """Why some seeds of a cell, or its cost, stand as they do."""

    cell: Spec  # the first seed's
    what: str  # "seed 0, 1, 2" or "cost"
    verdict: Verdict
    words: str


def explain(cells: Sequence[Planned], store: Store, device: torch.device) -> Iterator[Reason]:
    """Every planned cell; seeds for which the same holds are taken together."""
    for cell in cells:
        files = files_of(cell.origin)
        code, measuring = (fingerprint(files, torch.__version__, *root) for root in ((), (MEASURING,)))
        seeds: dict[tuple[Verdict, str], list[int]] = {}
        now = modules(files, torch.__version__)
        for spec in cell.specs:
            found = stand(spec, store, code)
            words = _words(found, store, now)
            seeds.setdefault((found.verdict, words), []).append(spec.seed)
        for (verdict, words), own in seeds.items():
            yield Reason(cell.specs[0], f"seed {', '.join(map(str, own))}", verdict, words)
        if {verdict for verdict, _ in seeds} == {"skipped"}:
            continue  # nothing is measured of what cannot be done
        cost = stand_cost(cell.specs[0], store, machine(device), measuring)
        yield Reason(cell.specs[0], "cost", cost.verdict, _of_cost(cost, store, files, device))


def _words(found: Standing, store: Store, now: dict[str, str]) -> str:
    words = [MEANING[found.verdict], found.words]
    if found.verdict in ("replay", "again", "kept") and found.run is not None:
        words.append(changed(store.get_code(found.run.fingerprint), now))
    if found.verdict == "missing":
        words.append(nearest(found.spec, _beside(found.spec, store)))
    return "; ".join(filter(None, words))


def _of_cost(found: Standing, store: Store, files: list[Path], device: torch.device) -> str:
    if found.verdict == "again":
        cost = store.get_cost(found.spec, machine(device))
        assert cost is not None
        what = changed(store.get_code(cost.fingerprint), modules(files, torch.__version__, MEASURING))
        return f"measured by other code, and will be measured again; {what}"
    if found.verdict == "missing":
        return f"not measured on this machine ({machine(device)})"
    return f"{MEANING[found.verdict]}; {found.words}" if found.words else MEANING[found.verdict]


def _beside(spec: Spec, store: Store) -> list[Run]:
    """The readable runs of the same task, kind of network and rule."""
    found = []
    for path in sorted(store.run_path(spec).parent.glob("seed-*.json")):
        try:
            record = read(path)
        except CreditbenchError:
            continue  # `doctor` names it
        if isinstance(record, Run):
            found.append(record)
    return found


def stored_specs(store: Store, place: str) -> list[Spec]:
    """The specifications of what lies below TASK/NETWORK/RULE, or below the first one or two of these."""
    parts = [part for part in place.strip("/").split("/") if part]
    if not 1 <= len(parts) <= 3:
        raise CreditbenchError(f"'{place}' is no place in a folder of records; write TASK/NETWORK/RULE.")
    found: dict[str, Spec] = {}
    kinds = [part.partition(":")[0] if number == 1 else part for number, part in enumerate(parts)]
    for path in store.paths(*kinds):
        try:
            spec = read(path).spec
        except CreditbenchError:
            continue  # `doctor` names it
        if isinstance(spec, Audited):
            continue
        if len(parts) < 2 or parts[1] in (spec.network, spec.network.partition(":")[0]):
            found.setdefault(spec.key, spec)
    if not found:
        raise CreditbenchError(
            f"{store.folder} holds nothing of {place}; `creditbench why --suite SUITE` says what is missing"
            " of a suite."
        )
    return list(found.values())
