"""A site of 10,000 records: how long it takes to make, and how long its first page takes to open.

Run by `tox -e benchmark`; the figures are printed. Without playwright and a Chromium it makes the site and
skips the rest. The bound is on the tasks of the page's own thread: loading from disk is left out.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from large_folders import large_folder

from creditbench.reports.site.build import Content, write_site
from creditbench.reports.site.evidence import Evidence
from creditbench.suite.frame import read_results

BOUND = 2.0  # [s]


def test_ten_thousand_records_open_in_two_seconds(root: Path, tmp_path: Path) -> None:
    evidence = Evidence()
    frame, _ = read_results(large_folder(root / "results", tmp_path / "records", 10_000), seen=evidence.saw)
    started = time.process_time()
    pages = write_site(Content(frame, evidence), tmp_path / "out")
    size = (tmp_path / "out" / "index.html").stat().st_size
    print(f"\n{pages} pages in {time.process_time() - started:.1f} s; index.html has {size / 1e6:.1f} MB")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = []
    with sync_api.sync_playwright() as playwright:
        browser = _chromium(playwright)
        for _ in range(3):
            page = browser.new_page()
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            page.goto(f"file://{tmp_path}/out/index.html")
            page.wait_for_selector("#curves svg")
            shown = page.evaluate("performance.now()") / 1000
            metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            found.append(metrics["TaskDuration"])
            print(f"table and charts after {shown:.2f} s, {found[-1]:.2f} s of them tasks of the page")
            page.close()
        browser.close()
    assert min(found) < BOUND


def _chromium(playwright: Any) -> Any:
    import os
    import shutil

    path = os.environ.get("CREDITBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium is installed; CREDITBENCH_CHROMIUM may name one")
    return playwright.chromium.launch(
        executable_path=path, args=["--headless", "--no-sandbox", "--disable-gpu"]
    )
