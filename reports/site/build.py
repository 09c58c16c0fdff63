"""The site, written as one folder: whole, or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditbench.reports.board import REFERENCE, BoardRow, board
from creditbench.reports.figures import exact, prefixed, rounded
from creditbench.reports.legend import LEGEND, footnotes, not_measured, origins
from creditbench.reports.rows import json_rows
from creditbench.reports.site import audits, curves, tables
from creditbench.reports.site.evidence import Evidence, Expected
from creditbench.reports.site.places import slug, task_name
from creditbench.reports.site.standing import all_standings, bar, signed
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.scores import told, unit
from creditbench.suite.specification import Spec, format_label

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

MARKER = "creditbench-site.json"  # says that a folder is a site and may be replaced
FLOOR = "last-layer"
SCRIPTS = ("dataTables.min.js", "dataTables.buttons.min.js", "d3.min.js", "plot.umd.min.js")


def no_command(specs: Sequence[Spec]) -> str | None:
    return None


def no_words(rule: str) -> tuple[str, str]:
    return "", ""


@dataclass(frozen=True)
class Content:
    """What a site is made of.

    command: what to type to have a cell's seeds done again, None if nothing does. about: a rule's summary
    and source. problems: sentences about records that could not be read."""

    frame: pd.DataFrame  # of `read_results`
    evidence: Evidence  # which saw the same records
    suites: Sequence[Expected] = ()
    command: Callable[[Sequence[Spec]], str | None] = no_command
    about: Callable[[str], tuple[str, str]] = no_words
    problems: Sequence[str] = ()
    folders: Sequence[Path] = field(default=())  # that the records lie below, for their shown paths


def write_site(content: Content, out: Path) -> int:
    """Writes the site at `out` and returns the number of its pages.

    A site that lies there is replaced when the new one is whole; anything else is left alone. Raises
    CreditbenchError where the folder is not one of ours or cannot be written."""
    if out.exists() and not (out / MARKER).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise CreditbenchError(
            f"{out} is there and is no site of creditbench; choose another place for --out."
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            pages = _Site(content, fresh).write()
            fresh.chmod(0o755)
            old = fresh.with_name(fresh.name + ".old")
            if out.exists():
                os.replace(out, old)
            try:
                os.replace(fresh, out)
            except OSError:
                if old.exists():
                    os.replace(old, out)
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise CreditbenchError(f"Cannot write {out}: {error.strerror}. Choose another place.") from error
    return pages


class _Site:
    """One site while it is being written: what all of its pages share."""

    def __init__(self, content: Content, folder: Path) -> None:
        self.content, self.folder = content, folder
        self.rows = board(content.frame)
        self.data = {row["cell"]: row for row in tables.table_rows(self.rows)}
        self.by_cell = {row.cell: row for row in self.rows}
        self.audits = audits.audited(content.evidence)
        self.rules = sorted({row.rule for row in self.rows} | {one.audit.spec.rule for one in self.audits})
        self.tasks = sorted({(row.task, row.task_version) for row in self.rows})
        self.suites = [
            own for own in content.suites if any(_cell(specs) in self.by_cell for specs, _ in own.cells)
        ]
        self.held_by: dict[str, list[str]] = {}  # cell -> suites
        for suite in self.suites:
            for specs, _ in suite.cells:
                self.held_by.setdefault(_cell(specs), []).append(suite.name)
        self.references = {
            (tables.group(row), row.track, row.rule): row
            for row in self.rows
            if row.rule in (REFERENCE, FLOOR)
        }
        self.environment = _environment()
        self.pages = 0

    def write(self) -> int:
        self._assets()
        self._downloads()
        self._curves()
        self._page(
            "index.html",
            "index.html",
            **self._board(self.rows),
            standings=all_standings(self.content.frame),
            without=[own.name for own in self.content.suites if own not in self.suites],
        )
        for task, version in self.tasks:
            own = [row for row in self.rows if (row.task, row.task_version) == (task, version)]
            name = task_name(task, version)
            self._page(f"tasks/{slug(name)}.html", "task.html", name=name, **self._board(own, ("task",)))
        for suite in self.suites:
            self._suite(suite)
        for rule in self.rules:
            self._rule(rule)
        self._page(
            "audit.html", "audit.html", audits=self.audits, questions=audits.questions(self.audits),
            unaudited=audits.unaudited(self.rules, self.audits),
        )  # fmt: skip
        self._page(
            "reading.html", "reading.html", legend=LEGEND, not_measured=not_measured(self.rows),
            licences=sorted(path.name for path in _vendored() if path.name.endswith(".LICENSE.txt")),
        )  # fmt: skip
        for row in self.rows:
            self._provenance(row)
        self._file(MARKER, json.dumps({"pages": self.pages, "cells": len(self.rows)}) + "\n")
        return self.pages

    # ---------------------------------------------------------------------------------- the pages

    def _suite(self, suite: Expected) -> None:
        held = [self.by_cell[cell] for specs, _ in suite.cells if (cell := _cell(specs)) in self.by_cell]
        missing = [
            tables.missing_row(specs, track)
            for specs, track in suite.cells
            if _cell(specs) not in self.by_cell
        ]
        short = {
            _cell(specs): len(lacking)
            for specs, _ in suite.cells
            if _cell(specs) in self.by_cell and (lacking := self._lacking(specs))
        }
        self._page(
            f"suites/{slug(suite.name)}.html", "suite.html", name=suite.name, summary=suite.summary,
            missing=len(missing), planned=len(suite.cells), short=sum(short.values()),
            **self._board(held, (), missing, short),
        )  # fmt: skip

    def _lacking(self, specs: Sequence[Spec]) -> set[int]:
        return {spec.seed for spec in specs} - set(self.by_cell[_cell(specs)].seeds)

    def _rule(self, rule: str) -> None:
        own = [row for row in self.rows if row.rule == rule]
        groups = {(tables.group(row), row.track) for row in own}
        beside = [row for (group, track, name), row in self.references.items()
                  if (group, track) in groups and name != rule]  # fmt: skip
        summary, source = self.content.about(rule)
        mine = [one for one in self.audits if one.audit.spec.rule == rule]
        self._page(
            f"rules/{slug(rule)}.html", "rule.html", name=rule, summary=summary, source=source, audits=mine,
            beside=sorted({row.rule for row in beside}),
            **self._board([*own, *beside]),
        )  # fmt: skip

    def _provenance(self, row: BoardRow) -> None:
        seeds = self.content.evidence.of(row.cell)
        costs = sorted(self.content.evidence.costs.get(row.cell, {}).items())
        for seed in seeds:
            self._copy(seed.path, f"records/{row.cell}/{seed.path.name}")
        for _, (_, path) in costs:
            self._copy(path, f"records/{row.cell}/{path.name}")
        specs = [seed.spec for seed in seeds]
        data = {"cell": row.cell, "name": row.rule, "rule": row.rule, "curve": curves.curve(row, seeds)}
        self._page(
            f"cells/{row.cell}.html", "cell.html", row=row, seeds=seeds, costs=costs, spec=seeds[0].spec,
            options=format_label, command=self.content.command(specs),
            task=task_name(row.task, row.task_version), suites=self.held_by.get(row.cell, []),
            columns=[(own.title, own.text(row), own.value(row)) for own in tables.COLUMNS
                     if own.key != "spread"],
            data={"curves": [data], "rules": self.rules},
        )  # fmt: skip

    def _board(
        self,
        rows: Sequence[BoardRow],
        hidden: Iterable[str] = (),
        missing: Sequence[dict[str, Any]] = (),
        short: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """What a page with a table and charts is made of."""
        data = [self.data[row.cell] for row in rows]
        for cell, count in (short or {}).items():
            place = next(place for place, row in enumerate(data) if row["cell"] == cell)
            reasons = [*data[place]["reasons"], f"{count} of the seeds that the suite asks for were not run"]
            data[place] = data[place] | {"reasons": reasons}
        data += missing
        groups = sorted({row["group"] for row in data})
        return {
            "rows": rows,
            "footnotes": footnotes(rows),
            "origins": origins(rows),
            "groups": groups,
            "data": {
                "columns": tables.heads(hidden),
                "rows": data,
                "curves": {group: slug(group) for group in groups},
                "rules": self.rules,
            },
        }

    def _page(self, place: str, template: str, **words: Any) -> None:
        root = "../" * place.count("/")
        if isinstance(words.get("data"), dict):
            words["data"] = tables.embedded({"root": root, **words["data"]})
        text = self.environment.get_template(template).render(
            root=root, place=place, scripts=SCRIPTS, problems=self.content.problems, shown=self._shown,
            suite_names=[own.name for own in self.suites], task_names=[task_name(*own) for own in self.tasks],
            rule_names=self.rules, cells=len(self.rows), **words,
        )  # fmt: skip
        self._file(place, text)
        self.pages += 1

    # ------------------------------------------------------------------------------ what they stand on

    def _assets(self) -> None:
        for path in (*_vendored(), *(files("creditbench.reports") / "assets").iterdir()):
            if path.name.endswith((".js", ".css", ".txt", ".toml")):
                self._file(f"assets/{path.name}", path.read_text(encoding="utf-8"))

    def _downloads(self) -> None:
        self._file("data/seeds.csv", self.content.frame.to_csv(index=False))
        self._file("data/seeds.json", json_rows(self.content.frame))
        cells = tables.plain_cells(self.rows)
        self._file("data/cells.json", json.dumps(cells, indent=1, allow_nan=False))
        sheet = io.StringIO()
        writer = csv.DictWriter(sheet, list(cells[0]) if cells else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)
        self._file("data/cells.csv", sheet.getvalue())
        for one in self.audits:
            self._copy(one.path, f"records/audits/{one.path.name}")

    def _curves(self) -> None:
        """One file per group, fetched when a reader looks at its curves. As a script, since pages that are
        opened as files may not read other files in any other way."""
        groups: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            if own := curves.curve(row, self.content.evidence.of(row.cell)):
                groups.setdefault(tables.group(row), {})[row.cell] = own
        for group in {tables.group(row) for row in self.rows}:
            text = f"creditbench.curves({tables.embedded([group, groups.get(group, {})])});\n"
            self._file(f"data/curves/{slug(group)}.js", text)

    def _shown(self, path: Path) -> str:
        """A record's place below the folder that was given; of this machine's folders a page says nothing."""
        for folder in self.content.folders:
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
        return path.name

    def _file(self, place: str, text: str) -> None:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode(errors="replace"))

    def _copy(self, path: Path, place: str) -> None:
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("creditbench.reports", "templates/site"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    made.filters |= {
        "told": told, "unit": unit, "rounded": rounded, "prefixed": prefixed, "exact": exact, "slug": slug,
        "signed": signed,
    }  # fmt: skip
    made.globals |= {
        "figure": audits.figure, "figures": audits.figures, "marks": audits.MARKS,
        "counted": Counter, "bar": bar,
    }  # fmt: skip
    return made


def _vendored() -> list[Any]:
    return list((files("creditbench.reports") / "vendor").iterdir())


def _cell(specs: Sequence[Spec]) -> str:
    return specs[0].cell
