"""File names for pages: safe on every file system and distinct, whatever a record calls its rule."""

from __future__ import annotations

import hashlib
import re

PLAIN = re.compile(r"[a-z0-9][a-z0-9_=-]*")
LONGEST = 60  # letters
# What Windows gives to devices, whatever follows the dot.
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def slug(name: str) -> str:
    """The name itself where it is plain, else what is plain of it and a digest of the whole.

    Names that differ only in case get different slugs even where the file system cannot tell cases apart."""
    if PLAIN.fullmatch(name) and len(name) <= LONGEST and name not in RESERVED:
        return name
    plain = re.sub(r"[^a-z0-9_=-]+", "-", name.lower()).strip("-")[:LONGEST]
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{plain or 'unnamed'}.{digest}"  # a plain slug has no dot, so the two kinds never meet


def task_name(task: str, version: int) -> str:
    """A task as a reader knows it; versions other than the first are named."""
    return task if version == 1 else f"{task} (version {version})"
