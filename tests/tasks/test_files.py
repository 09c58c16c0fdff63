"""How a task gets its files."""

import hashlib
import http.server
import io
import logging
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pooch
import pytest

from creditbench.suite.errors import CreditbenchError
from creditbench.tasks.files import DataFile, fetch, fetch_members, unpack

RETRIEVE = pooch.retrieve  # the real one: every test runs with one that refuses


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


CONTENT = b"zero to nine"
FILE = DataFile("SET/raw/labels.gz", "https://example.org/labels.gz", sha256(CONTENT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's with the file in it."""
    folder = tmp_path / "given"
    (folder / "SET/raw").mkdir(parents=True)
    (folder / FILE.name).write_bytes(CONTENT)
    monkeypatch.setenv("CREDITBENCH_DATA", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where downloads go instead of the user's cache, and real downloads."""
    monkeypatch.delenv("CREDITBENCH_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setattr(pooch, "retrieve", RETRIEVE)
    return tmp_path / "cache" / "creditbench"


class Site:
    """A web site on this machine."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []

    def offer(self, name: str, content: bytes) -> DataFile:
        self.pages[f"/{Path(name).name}"] = content
        return DataFile(name, f"{self.address}/{Path(name).name}", sha256(content))


@pytest.fixture
def site(cache: Path) -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append(self.path)
            content = here.pages.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield here
        server.shutdown()
        thread.join()


# ---------------------------------------------------------------- a folder of the user's


def test_a_file_in_the_given_folder_is_used_where_it_lies(folder: Path) -> None:
    assert fetch(FILE) == folder / FILE.name


def test_published_md5s_are_understood_too(folder: Path) -> None:
    assert fetch(replace(FILE, hash=f"md5:{hashlib.md5(CONTENT).hexdigest()}")) == folder / FILE.name
    with pytest.raises(CreditbenchError, match="expected md5:00, found md5:"):
        fetch(replace(FILE, hash="md5:00"))


def test_a_file_that_the_given_folder_lacks_is_never_downloaded(folder: Path) -> None:
    (folder / FILE.name).unlink()
    with pytest.raises(CreditbenchError) as caught:
        fetch(FILE)
    assert str(caught.value) == (
        f"SET/raw/labels.gz is not in CREDITBENCH_DATA={folder}; put it there, or unset CREDITBENCH_DATA to"
        " let creditbench download it from https://example.org/labels.gz."
    )


def test_a_folder_in_a_files_place_is_a_missing_file(folder: Path) -> None:
    with pytest.raises(CreditbenchError, match="is not in"):
        fetch(replace(FILE, name="SET/raw"))


def test_a_changed_file_is_noticed_on_the_next_load(folder: Path) -> None:
    fetch(FILE)
    (folder / FILE.name).write_bytes(b"one to ten")
    with pytest.raises(CreditbenchError) as caught:
        fetch(FILE)
    for part in (str(folder / FILE.name), FILE.hash, sha256(b"one to ten"), FILE.url):
        assert part in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_sentence(folder: Path) -> None:
    (folder / FILE.name).chmod(0)
    with pytest.raises(CreditbenchError, match="cannot be read"):
        fetch(FILE)


# ---------------------------------------------------------------- downloads


def test_without_a_folder_a_file_is_downloaded_once(site: Site, cache: Path) -> None:
    file = site.offer(FILE.name, CONTENT)
    assert fetch(file) == fetch(file) == cache / FILE.name
    assert (cache / FILE.name).read_bytes() == CONTENT
    assert site.asked == ["/labels.gz"]


def test_an_empty_variable_is_an_unset_one(site: Site, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITBENCH_DATA", "")
    assert fetch(site.offer(FILE.name, CONTENT)) == cache / FILE.name


def test_a_damaged_download_is_mended(site: Site, cache: Path) -> None:
    file = site.offer(FILE.name, CONTENT)
    fetch(file).write_bytes(b"damaged")
    assert fetch(file).read_bytes() == CONTENT


def test_a_download_says_nothing_and_leaves_poochs_logger_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    logger = pooch.get_logger()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(said)])
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    fetch(site.offer(FILE.name, CONTENT))
    assert said.getvalue() == ""
    assert logger.level == logging.DEBUG


def test_a_download_with_another_hash_is_refused_and_not_kept(site: Site, cache: Path) -> None:
    file = replace(site.offer(FILE.name, b"something else"), hash=FILE.hash)
    with pytest.raises(CreditbenchError) as caught:
        fetch(file)
    for part in (file.name, file.url, FILE.hash, sha256(b"something else").removeprefix("sha256:")):
        assert part in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_file_that_the_site_does_not_have_is_a_sentence(site: Site) -> None:
    file = DataFile("a/b", f"{site.address}/b", FILE.hash)
    with pytest.raises(
        CreditbenchError, match=rf"^a/b could not be had from {file.url} \(404 .*CREDITBENCH_DATA\.$"
    ):
        fetch(file)


@pytest.mark.usefixtures("cache")
def test_no_network_is_a_sentence() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        closed = server.server_port
    with pytest.raises(
        CreditbenchError, match=r"could not be had from .*; try again with a network"
    ) as caught:
        fetch(DataFile("a/b", f"http://127.0.0.1:{closed}/b", FILE.hash))
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_a_sentence(site: Site, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file in the folder's place")
    with pytest.raises(CreditbenchError, match="could not be had"):
        fetch(site.offer(FILE.name, CONTENT))


# ---------------------------------------------------------------- archives


def archive(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """A tar.gz of files (name, content), and of whatever else."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for entry in entries:
            if isinstance(entry, tuple):
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                tar.addfile(info, io.BytesIO(entry[1]))
            else:
                tar.addfile(entry)
    return stream.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


GOOD = (special("set", tarfile.DIRTYPE), ("set/one.bin", b"1"), ("set/readme", b"?"), ("set/two.bin", b"2"))
MEMBERS = {"set/one.bin": b"1", "set/two.bin": b"2"}


def members(of: DataFile) -> list[DataFile]:
    return [DataFile(name, of.url, sha256(content)) for name, content in MEMBERS.items()]


def written(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_only_the_expected_members_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive(*GOOD))
    unpack(tmp_path / "a.tar.gz", [*MEMBERS], tmp_path / "out")
    assert written(tmp_path / "out") == MEMBERS


@pytest.mark.parametrize(
    "evil",
    [
        ("../evil", b"!"),
        ("set/../../evil", b"!"),
        ("/tmp/evil", b"!"),
        special("set/evil", tarfile.SYMTYPE, "../../outside"),
        special("set", tarfile.SYMTYPE, "/tmp"),
        special("set/two.bin", tarfile.SYMTYPE, "/etc/passwd"),
        special("set/evil", tarfile.LNKTYPE, "../outside"),
        special("set/evil", tarfile.FIFOTYPE),
        special("set/evil", tarfile.CHRTYPE),
        special("../evil", tarfile.DIRTYPE),
    ],
    ids=lambda entry: (
        f"{entry.name} type {entry.type.decode()}" if isinstance(entry, tarfile.TarInfo) else entry[0]
    ),
)
@pytest.mark.parametrize("first", [True, False])
def test_an_archive_with_a_harmful_member_is_refused_whole(
    evil: tarfile.TarInfo | tuple[str, bytes], first: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(archive(evil, *GOOD) if first else archive(*GOOD, evil))
    with pytest.raises(CreditbenchError, match="is refused: its member"):
        unpack(path, [*MEMBERS], tmp_path / "out")
    assert list(written(tmp_path)) == ["a.tar.gz"]


def test_an_archive_without_an_expected_member_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive(*GOOD[:2]))
    with pytest.raises(CreditbenchError, match=r"has no file set/two\.bin in it"):
        unpack(tmp_path / "a.tar.gz", [*MEMBERS], tmp_path / "out")


@pytest.mark.parametrize("damage", [lambda c: c[:-40], lambda c: c[:20], lambda c: b"junk", lambda c: b""])
def test_an_archive_that_is_none_or_was_cut_off_is_a_sentence(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = archive(*GOOD, ("set/padding", os.urandom(2000)))
    (tmp_path / "a.tar.gz").write_bytes(damage(content))
    with pytest.raises(CreditbenchError, match="could not be unpacked into"):
        unpack(tmp_path / "a.tar.gz", [*MEMBERS], tmp_path / "out")


def test_a_given_folder_holds_members_unpacked(folder: Path) -> None:
    (folder / "set").mkdir()
    (folder / "set/one.bin").write_bytes(b"1")
    files = members(replace(FILE, url="https://example.org/a.tar.gz"))
    with pytest.raises(
        CreditbenchError, match=r"set/two\.bin is not in .* from https://example.org/a\.tar\.gz"
    ):
        fetch_members(FILE, files)
    (folder / "set/two.bin").write_bytes(b"2")
    assert fetch_members(FILE, files) == [folder / name for name in MEMBERS]


def test_an_archive_is_downloaded_and_unpacked_once(site: Site, cache: Path) -> None:
    packed = site.offer("a.tar.gz", archive(*GOOD))
    paths = fetch_members(packed, members(packed))
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]
    (cache / "a.tar.gz").unlink()  # what is unpacked needs it no more
    assert fetch_members(packed, members(packed)) == paths == [cache / name for name in MEMBERS]
    assert site.asked == ["/a.tar.gz"]


def test_a_damaged_member_is_unpacked_again(site: Site) -> None:
    packed = site.offer("a.tar.gz", archive(*GOOD))
    fetch_members(packed, members(packed))[1].write_bytes(b"damaged")
    assert fetch_members(packed, members(packed))[1].read_bytes() == b"2"


def test_a_member_with_another_hash_than_published_is_refused(site: Site) -> None:
    packed = site.offer("a.tar.gz", archive(*GOOD[:3], ("set/two.bin", b"3")))
    with pytest.raises(CreditbenchError, match=f"expected {sha256(b'2')}, found {sha256(b'3')}"):
        fetch_members(packed, members(packed))
