"""Two folders of records, one older: has anything become worse?

limits       what is tolerated, from a TOML file
sides        a folder, or a file of pytest-benchmark, as cells
judge        one finding for each figure of each cell, and whether it fails the gate
forms        findings as text, Markdown, JSON, JUnit, GitHub annotations
dashboards   figures as other tools' JSON: pytest-benchmark, github-action-benchmark, Bencher, asv
"""
