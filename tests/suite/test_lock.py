"""Two drivers and one folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import creditbench
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.lock import locked
from creditbench.suite.shards import WHOLE, Shard

HOLDER = """
import sys, time
from pathlib import Path
from creditbench.suite.lock import locked
from creditbench.suite.shards import WHOLE
with locked(Path(sys.argv[1]), WHOLE):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_driver_is_told_who_the_first_is(tmp_path: Path) -> None:
    words = rf"Another creditbench \(process {os.getpid()} on "
    with locked(tmp_path, WHOLE), pytest.raises(CreditbenchError, match=words):
        creditbench.run(task="digits", rule="last-layer", results=tmp_path, device="cpu")
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path, WHOLE):
        pass


def test_a_lock_whose_owner_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CreditbenchError, match=f"process {other.pid} on"), locked(tmp_path, WHOLE):
            pass
        other.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 1  # it is still there, and no longer held
    with locked(tmp_path, WHOLE):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        (Shard(1, 3), Shard(2, 3), True),
        (Shard(1, 3), Shard(1, 3), False),
        (Shard(1, 3), Shard(2, 4), False),
        (Shard(1, 3), WHOLE, False),
        (WHOLE, Shard(2, 2), False),
    ],
)
def test_parts_of_one_split_share_a_folder_and_nothing_else_does(
    tmp_path: Path, first: Shard, second: Shard, together: bool
) -> None:
    with locked(tmp_path, first):
        if together:
            with locked(tmp_path, second):
                pass
        else:
            with pytest.raises(CreditbenchError, match="--shard"), locked(tmp_path, second):
                pass


def test_a_folder_that_cannot_be_written_is_a_sentence_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CreditbenchError, match="choose another folder"):
        creditbench.run(task="digits", rule="last-layer", results=tmp_path / "file" / "r", device="cpu")


def test_a_file_system_without_locks_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(CreditbenchError, match="keeps no locks"), locked(tmp_path, WHOLE):
        pass
