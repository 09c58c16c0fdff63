"""The page: it stands alone, it is well-formed, and records are data in it."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from records import cost, run

from creditbench.reports.leaderboard import BoardRow, board, page, write_page
from creditbench.reports.page import axis_of
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.frame import load_results
from creditbench.suite.store import Store

EVIL = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "link", "br", "img", "path", "circle"}


class Reader(HTMLParser):
    """Follows the tags; `open` must be empty at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def rows(tmp_path: Path) -> list[BoardRow]:
    store = Store(tmp_path)
    for seed, score in enumerate([0.981, 0.982, 0.983]):
        store.put(run(score, seed=seed))
    store.put(cost(1.25e-3))
    store.put(run(0.97, rule="fa"))
    store.put(run(None, "failed", rule="dfa", reason=EVIL))
    store.put(run(0.5, rule=f"rule{EVIL}", task=f"task{EVIL}", network=f"net{EVIL}"))
    return board(load_results(tmp_path))


def test_records_are_escaped_everywhere(rows: list[BoardRow]) -> None:
    text = page(rows, title=f"title{EVIL}", notes=[f"note{EVIL}"])
    reader = read(text)
    assert not any(tag == "script" for tag, _ in reader.tags)
    assert not any(tag == "img" for tag, _ in reader.tags)
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert text.count("&lt;script&gt;alert(") >= 5


def test_nothing_may_run_in_the_page(rows: list[BoardRow]) -> None:
    text = page(rows)
    assert "default-src 'none'" in text
    assert "script-src" not in text


def test_the_page_needs_nothing_from_the_network(rows: list[BoardRow]) -> None:
    text = page(rows)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    places = [a.get("src") or a.get("href") for _, a in read(text).tags if "src" in a or "href" in a]
    assert all(place and place.startswith(("#", "data:")) for place in places)


def test_every_row_has_as_many_cells_as_its_table_has_columns(rows: list[BoardRow]) -> None:
    cells = read(page(rows)).cells
    wide = [row for row in cells if len(row) > 8]
    assert {len(row) for row in wide} == {17}
    assert sum(row[0].startswith("rule") and "status" in row for row in wide) == 2  # headings


def test_figures_and_dashes_stand_in_their_columns(rows: list[BoardRow]) -> None:
    found = {
        row[0].split("lr")[0]: [cell.strip() for cell in row[1:]] for row in read(page(rows)).cells if row
    }
    assert found["bp"][:2] == ["98.20", "±0.10"]
    assert found["bp"][6:16] == ["1.00", "1.25", "1.85", "254 k", "85.0 k", "–", "–", "85.0 k", "0", "ok"]
    assert found["fa"][0] == "97.00*"
    assert found["fa"][6:15] == ["–"] * 9
    assert found["dfa"][0] == "–"
    assert found["dfa"][15] == "failed"


def test_the_legend_says_how_it_was_measured_and_what_was_not(rows: list[BoardRow]) -> None:
    text = page(rows)
    for words in (
        "after the last epoch", "scored once", "validation", "operator dispatch", "alive at one time",
        "not measured", "Memory inside kernels", "creditbench 0.1.0", "Testing Processor",
        "fewer than 3 seeds",
    ):  # fmt: skip
        assert words in text, words


def test_points_lie_on_the_axis_and_in_the_order_of_their_scores(rows: list[BoardRow]) -> None:
    reader = read(page(rows[:3]))
    places = [float(a["cx"] or 0) for tag, a in reader.tags if tag == "circle"]
    assert all(4 <= place <= 146 for place in places)
    ours = places[:3]  # the seeds of bp, from the first
    assert ours == sorted(ours)


def test_a_low_outlier_does_not_squeeze_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name, score in {"bp": 0.98, "fa": 0.97, "dfa": 0.96, "bad": 0.1}.items():
        store.put(run(score, rule=name))
    text = page(board(load_results(tmp_path)))
    assert "<span>96</span><span>98 %</span>" in text
    assert text.count('class="below"') == 1


def test_a_board_of_failures_alone_has_no_axis(tmp_path: Path) -> None:
    Store(tmp_path).put(run(None, "skipped", reason="no"))
    text = page(board(load_results(tmp_path)))
    wide = [row for row in read(text).cells if len(row) > 8]
    assert {len(row) for row in wide} == {16}


def test_a_board_without_rows_says_so() -> None:
    assert "No results." in page([])


def test_the_page_is_the_same_every_time(rows: list[BoardRow]) -> None:
    assert page(rows) == page(rows)


def test_a_title_that_is_no_unicode_spoils_no_page(tmp_path: Path, rows: list[BoardRow]) -> None:
    place = write_page(rows, tmp_path / "page.html", title="\udc80")
    assert "<h1>?</h1>" in place.read_text(encoding="utf-8")


def test_a_page_is_written_whole_or_not_at_all(
    tmp_path: Path, rows: list[BoardRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out" / "leaderboard.html"
    assert write_page(rows, place) == place
    before = place.read_text(encoding="utf-8")
    assert before == page(rows)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CreditbenchError, match="No space left on device"):
        write_page(rows[:1], place)
    assert place.read_text(encoding="utf-8") == before
    assert list(place.parent.iterdir()) == [place]


def test_an_axis_of_errors_begins_at_zero_and_holds_them_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for rule, error in (("bp", 0.31), ("fa", 2.4), ("dfa", 0.4)):
        store.put(replace(run(error, rule=rule), metric="mse", higher_is_better=False))
    rows = board(load_results(tmp_path))
    axis = axis_of(rows)
    assert axis is not None
    assert (axis.low, axis.high) == (0.0, 3.0)
    assert not any(axis.misses(row.score) for row in rows if row.score is not None)
    assert axis.reference == axis.place(0.31)
    text = page(rows)
    assert "score, MSE" in text
    assert "0.3100 MSE" in text
    assert "31.00" not in text
