"""The site as files: every link leads somewhere, records are data in it, and nothing is averaged away."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import run
from site_records import EVIL, folder, site, trained

from creditbench.reports.board import board
from creditbench.reports.site.build import MARKER, Content, write_site
from creditbench.reports.site.curves import curve
from creditbench.reports.site.evidence import Evidence
from creditbench.reports.site.places import RESERVED, slug
from creditbench.reports.site.tables import COLUMNS, embedded
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import load_results, read_results
from creditbench.suite.store import Store

VOID = {"meta", "link", "br", "img", "path", "circle", "input"}


class Reader(HTMLParser):
    """Follows the tags, keeps what they name."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += data


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == [], path
    return reader


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    site(folder(place / "records"), place / "out")
    return place / "out"


def pages(out: Path) -> list[Path]:
    return sorted(out.rglob("*.html"))


def rows(path: Path) -> dict[str, list[object]]:
    """Rule -> the texts or values of its first row, from the data of a page."""
    data = json.loads(read(path).data)
    found: dict[str, list[object]] = {}
    for row in data["rows"]:
        shown = [value if text is None else text for value, text in zip(row["v"], row["t"], strict=True)]
        found.setdefault(row["v"][2], shown)
    return found


def test_every_link_of_every_page_leads_to_a_file_of_the_site(out: Path) -> None:
    found = pages(out)
    assert {path.relative_to(out).parts[0] for path in found} == {
        "index.html", "audit.html", "reading.html", "tasks", "rules", "suites", "cells",
    }  # fmt: skip
    for path in found:
        for tag, attributes in read(path).tags:
            for name in ("href", "src"):
                address = attributes.get(name)
                if address is None or address.startswith(("#", "data:")):
                    continue
                parts = urlsplit(address)
                assert not parts.scheme, (path, tag, address)
                assert not parts.netloc, (path, tag, address)
                assert (path.parent / unquote(parts.path)).is_file(), (path, tag, address)


def test_the_rows_of_a_page_name_pages_that_exist(out: Path) -> None:
    data = json.loads(read(out / "index.html").data)
    for row in data["rows"]:
        assert (out / "cells" / f"{row['cell']}.html").is_file()
        assert (out / "tasks" / f"{row['pages'][0]}.html").is_file()
        assert (out / "rules" / f"{row['pages'][1]}.html").is_file()
    for name in data["curves"].values():
        text = (out / "data" / "curves" / f"{name}.js").read_text(encoding="utf-8")
        assert text.startswith("creditbench.curves(")
        json.loads(text.removeprefix("creditbench.curves(").rstrip(");\n"))


def test_records_are_escaped_in_every_page(out: Path) -> None:
    for path in pages(out):
        reader = read(path)
        assert not any(tag == "img" for tag, _ in reader.tags), path
        assert not any(name.startswith("on") for _, own in reader.tags for name in own), path
        for tag, own in reader.tags:
            if tag == "script":
                assert own.get("type") == "application/json" or (own.get("src") or "").count("assets/") == 1
    name = slug(EVIL)
    assert "&lt;script&gt;alert(" in (out / "rules" / f"{name}.html").read_text(encoding="utf-8")


def test_no_page_says_where_on_this_machine_it_was_made(out: Path) -> None:
    for path in out.rglob("*"):
        if path.is_file():
            assert str(out.parent).encode() not in path.read_bytes(), path


def test_every_state_is_in_the_table_with_its_dash(out: Path) -> None:
    found = rows(out / "tasks" / "digits.html")
    assert found["shaky"][-1] == "2 of 3 ok, 1 diverged"
    assert found["picky"][3] == "–"
    assert found["picky"][-1] == "skipped"
    assert found["uncosted"][8:12] == ["–"] * 4
    assert rows(out / "suites" / "small.html")["absent"][-1] == "missing"


def test_the_page_of_a_cell_leads_to_its_records_and_to_what_makes_them_again(out: Path) -> None:
    for row in json.loads(read(out / "index.html").data)["rows"]:
        text = (out / "cells" / f"{row['cell']}.html").read_text(encoding="utf-8")
        assert "creditbench run --rule " in text
        records = list((out / "records" / row["cell"]).iterdir())
        assert records
        assert all(f"records/{row['cell']}/{record.name}" in text for record in records)


def test_downloads_hold_every_cell_and_every_seed(out: Path) -> None:
    cells = json.loads((out / "data" / "cells.json").read_text(encoding="utf-8"))
    seeds = json.loads((out / "data" / "seeds.json").read_text(encoding="utf-8"))
    assert len(cells) == len(list((out / "cells").iterdir())) == 20
    assert len({seed["key"] for seed in seeds}) == sum(len(cell["scores"].split()) for cell in cells) + 2


def test_the_audit_names_rules_that_nobody_asked(out: Path) -> None:
    text = (out / "audit.html").read_text(encoding="utf-8")
    assert "weight transport: yes, evidence 1.1" in text
    assert "Not audited" in text
    assert ">dfa</a>" in text.split("Not audited")[1]


def test_a_site_is_replaced_and_anything_else_is_left_alone(tmp_path: Path) -> None:
    records = folder(tmp_path / "records")
    site(records, tmp_path / "out")
    (tmp_path / "out" / "old").write_text("of the old site")
    site(records, tmp_path / "out")
    assert not (tmp_path / "out" / "old").exists()
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("precious")
    with pytest.raises(CreditbenchError, match="no site of creditbench"):
        site(records, foreign)
    assert (foreign / "thesis.tex").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "records"]


def test_a_site_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = folder(tmp_path / "records")
    site(records, tmp_path / "out")
    before = (tmp_path / "out" / MARKER).read_text()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CreditbenchError, match="No space left on device"):
        site(records, tmp_path / "out")
    assert (tmp_path / "out" / MARKER).read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "records"]


def test_unreadable_records_are_named_on_the_first_page(tmp_path: Path) -> None:
    records = folder(tmp_path / "records")
    place = Store(records).put(run(0.5, rule="broken"))
    place.write_text("{")
    evidence = Evidence()
    frame, problems = read_results(records, seen=evidence.saw)
    write_site(Content(frame, evidence, problems=problems), tmp_path / "out")
    assert "1 record could not be read" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


# -------------------------------------------------------------------------------------- file names


@given(st.lists(st.text(max_size=80), max_size=8))
def test_pages_get_safe_names_that_are_distinct_even_where_case_is_not_told_apart(names: list[str]) -> None:
    found = {name: slug(name) for name in names}
    assert len({place.casefold() for place in found.values()}) == len(found)
    for place in found.values():
        assert re.fullmatch(r"[a-z0-9_=-]+(\.[0-9a-f]{10})?", place)
        assert place not in RESERVED
        assert len(place) < 80


def test_plain_names_stay_as_they_are_and_cases_are_kept_apart() -> None:
    assert slug("fa") == "fa"
    assert slug("FA") not in ("fa", "FA")
    assert slug("con") != "con"
    assert slug("../../etc") not in ("..", "etc")


@given(
    st.recursive(
        st.text() | st.none() | st.integers(), lambda own: st.lists(own) | st.dictionaries(st.text(), own)
    )
)
def test_embedded_json_ends_no_element_and_comes_back_the_same(data: object) -> None:
    text = str(embedded([data]))
    assert not set(text) & set("<>&'\u2028\u2029")
    assert json.loads(text) == [data]


# ------------------------------------------------------------------------------------------ curves


def test_a_band_is_the_mean_and_deviation_of_the_seeds_that_ended_ok(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(trained(0.8, seed=0, epochs=5))
    store.put(trained(0.9, seed=1, epochs=5))
    store.put(trained(None, status="diverged", seed=2, epochs=5))  # its curve ends at 0.5
    evidence = Evidence()
    frame, _ = read_results(tmp_path, seen=evidence.saw)
    (row,) = board(frame)
    own = curve(row, evidence.of(row.cell))
    assert own is not None
    assert own["epochs"] == [1, 2, 3, 4, 5]
    assert own["mean"][-1] == pytest.approx(0.85)
    assert own["high"][-1] - own["mean"][-1] == pytest.approx(
        0.0707107, abs=1e-6
    )  # of 0.8 and 0.9, with n - 1
    assert own["seconds"] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert "modelled" not in own  # no cost was measured
    assert [(lost["seed"], lost["status"], lost["points"][-1]) for lost in own["lost"]] == [
        (2, "diverged", (5, 0.5))
    ]


def test_a_single_seed_has_no_band(tmp_path: Path) -> None:
    Store(tmp_path).put(trained(0.8, epochs=5))
    evidence = Evidence()
    read_results(tmp_path, seen=evidence.saw)
    (row,) = board(load_results(tmp_path))
    own = curve(row, evidence.of(row.cell))
    assert own is not None
    assert "low" not in own


def test_an_error_is_told_as_an_error_and_draws_no_share(tmp_path: Path) -> None:
    store, evidence = Store(tmp_path / "records"), Evidence()
    for seed in range(3):
        own = trained(0.65 + seed / 100, seed=seed, epochs=5)
        store.put(replace(own, metric="mse", higher_is_better=False))
    frame, _ = read_results(tmp_path / "records", seen=evidence.saw)
    (row,) = board(frame)
    texts = {column.key: column.text(row) for column in COLUMNS}
    assert (texts["score"], texts["spread"]) == ("0.6600 MSE ±0.01000", "0.6500 0.6600 0.6700")
    assert curve(row, evidence.of(row.cell)) is None
    assert curve(replace(row, metric="accuracy"), evidence.of(row.cell)) is not None
    site(tmp_path / "records", tmp_path / "site")
    (page,) = (tmp_path / "site" / "cells").iterdir()
    assert "<b>0.6600 MSE</b>" in page.read_text(encoding="utf-8")
