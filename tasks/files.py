"""How a task gets its files: out of a folder of the user's, or downloaded once; verified every time.

Where the environment variable CREDITBENCH_DATA names a folder, only that folder is looked at. Elsewhere
files are downloaded into the cache folder that the operating system has for such things.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import textwrap
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from creditbench.suite.errors import CreditbenchError

VARIABLE = "CREDITBENCH_DATA"


@dataclass(frozen=True)
class DataFile:
    """A published file, or a member of a published archive."""

    name: str  # below the data folder, with slashes: "MNIST/raw/train-images-idx3-ubyte.gz"
    url: str  # of the file, or of the archive that it comes in
    hash: str  # "sha256:..." or "md5:..."


def fetch(file: DataFile) -> Path:
    """Where the file lies on this machine, its hash checked just now."""
    folder = folder_of_the_user()
    return _download(file) if folder is None else _verified(folder, file)


def find_folder(name: str, url: str) -> Path:
    """A folder of the user's with files that are published in a form that is not unpacked here (zip, or many
    files); the task verifies what is in it. Raises CreditbenchError, saying from where to get it."""
    folder = folder_of_the_user()
    if folder is None or not (folder / name).is_dir():
        where = f"{VARIABLE}={folder}" if folder else f"a folder named by {VARIABLE}"
        raise CreditbenchError(f"The folder {name} is not in {where}; get it from {url} and unpack it there.")
    return folder / name


def fetch_members(archive: DataFile, members: Sequence[DataFile]) -> list[Path]:
    """As `fetch`, for files that are published together in one tar archive.

    A folder of the user's holds them unpacked."""
    folder = folder_of_the_user()
    if folder is not None:
        return [_verified(folder, member) for member in members]
    folder = cache_folder()
    with suppress(CreditbenchError):  # raised where they are not unpacked yet, or damaged since
        return [_verified(folder, member) for member in members]
    unpack(_download(archive), [member.name for member in members], folder)
    return [_verified(folder, member) for member in members]


def unpack(archive: Path, names: Sequence[str], folder: Path) -> None:
    """Writes the members called `names` below `folder`, and nothing else.

    An archive with any member that is not a plain file or folder, or that would lie elsewhere, is
    refused whole. Paths, modes and owners in the archive are never used: only contents are."""
    try:
        with tarfile.open(archive) as tar:
            entries = {entry.name: entry for entry in tar.getmembers()}
            for entry in tar.getmembers():
                _refuse_if_harmful(entry, archive)
            for name in names:
                content = tar.extractfile(entries[name]) if name in entries else None
                if content is None:
                    raise CreditbenchError(f"{archive} has no file {name} in it; delete it and try again.")
                write(folder / name, content.read())
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise CreditbenchError(
            f"{archive} could not be unpacked into {folder} ({_in_short(error)}); make room, or delete the"
            " archive and try again."
        ) from error


def _refuse_if_harmful(entry: tarfile.TarInfo, archive: Path) -> None:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or not (entry.isfile() or entry.isdir()):
        raise CreditbenchError(
            f"{archive} is refused: its member '{entry.name}' is a link or leads out of the folder; delete"
            " the archive and get it from its source."
        )


def write(path: Path, content: bytes) -> None:
    """A whole file or none."""
    # Renamed when complete: another process may be unpacking or reading the same file.
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(content)
    part.replace(path)


def folder_of_the_user() -> Path | None:
    """What CREDITBENCH_DATA names, or None."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


def _verified(folder: Path, file: DataFile) -> Path:
    path = folder / file.name
    if not path.is_file():
        raise CreditbenchError(
            f"{file.name} is not in {VARIABLE}={folder}; put it there, or unset {VARIABLE} to let"
            f" creditbench download it from {file.url}."
        )
    algorithm = file.hash.partition(":")[0]
    try:
        with path.open("rb") as stream:
            found = f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"
    except OSError as error:
        raise CreditbenchError(f"{path} cannot be read ({_in_short(error)}); mend that.") from error
    if found != file.hash:
        raise CreditbenchError(
            f"{path} is not the file it should be: expected {file.hash}, found {found}; replace it by the"
            f" one from {file.url}."
        )
    return path


def cache_folder() -> Path:
    """Where the operating system has room for what can be had again."""
    import pooch

    return Path(pooch.os_cache("creditbench"))


def _download(file: DataFile) -> Path:
    """The file in the cache; what lies there already is verified, and fetched again where it is damaged."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        return Path(pooch.retrieve(file.url, known_hash=file.hash, fname=file.name, path=cache_folder()))
    except (OSError, ValueError) as error:  # the network's errors are OSErrors, a wrong hash is a ValueError
        raise CreditbenchError(
            f"{file.name} could not be had from {file.url} ({_in_short(error)}); try again with a network, or"
            f" put the file into a folder and name that folder in {VARIABLE}."
        ) from error
    finally:
        logger.setLevel(level)


def _in_short(error: Exception) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" ...").rstrip(".")
