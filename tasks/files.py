"""The files of a task: from a folder of the user's, or fetched once from their public home, always verified."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path

from creditbench.suite.errors import CreditbenchError

VARIABLE = "CREDITBENCH_DATA"


@dataclass(frozen=True)
class DataFile:
    """name: the path below the data folder. hash: "sha256:..." or, where nothing else is published,
    "md5:...". url: where it is fetched from; None for a member of an archive."""

    name: str
    hash: str
    url: str | None = None


def data_folder() -> Path | None:
    """The folder that CREDITBENCH_DATA names: with it nothing is ever downloaded."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def cache() -> Path:
    """Where fetched files are kept."""
    import pooch

    return Path(pooch.os_cache("creditbench"))


def path_of(file: DataFile) -> Path:
    """The verified file. Raises CreditbenchError where it is missing, corrupt or cannot be fetched."""
    own = data_folder()
    path = (own or cache()) / file.name
    if own is not None and not path.is_file():
        mend = f" or unset {VARIABLE} to have it fetched from {file.url}" if file.url else ""
        raise CreditbenchError(f"{file.name} is not in {VARIABLE}={own}; put it there{mend}.")
    if own is None and not path.is_file():
        _fetch(file, path)
    verify(path, file.hash)
    return path


def verify(path: Path, expected: str) -> None:
    """Raises CreditbenchError unless the file's hash is the expected one."""
    kind, _, digest = expected.partition(":")
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, kind).hexdigest()
    if found != digest:
        raise CreditbenchError(
            f"{path} is corrupt: its {kind} is {found} and should be {digest}. Delete it and run again."
        )


def _fetch(file: DataFile, path: Path) -> None:
    import pooch

    if file.url is None:
        raise CreditbenchError(f"{file.name} is missing and has no address to be fetched from.")
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(file.url, known_hash=file.hash, fname=path.name, path=path.parent)
    except Exception as error:  # pooch passes on whatever its downloader raises
        raise CreditbenchError(
            f"{file.name} could not be fetched from {file.url}: {type(error).__name__}: {error}. Check the"
            f" network, or set {VARIABLE} to a folder that holds it."
        ) from error


def extract(archive: Path, members: tuple[str, ...], folder: Path) -> None:
    """Unpacks these members of a tar archive and nothing else. Refuses members that are not plain files
    or would land outside the folder."""
    try:
        with tarfile.open(archive) as tar:
            for name in members:
                member = tar.getmember(name)
                if not member.isfile():
                    raise CreditbenchError(f"{archive}: {name} is not a plain file; refused.")
                tar.extract(member, folder, filter="data")
    except KeyError as error:
        raise CreditbenchError(f"{archive} lacks {error}; delete it and run again.") from None
    except (tarfile.TarError, OSError) as error:
        raise CreditbenchError(f"{archive} cannot be unpacked: {error}") from error
