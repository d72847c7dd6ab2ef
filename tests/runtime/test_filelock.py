"""Test runtime/filelock.py: one holder, none after its end, whatever children it has."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from kling_async.runtime.filelock import FileLock, LockHeld

if TYPE_CHECKING:
    from pathlib import Path

FORKS = """
import os, signal, sys
from pathlib import Path
from kling_async.runtime.filelock import FileLock
lock = FileLock(Path(sys.argv[1]))
child = os.fork()
if not child:
    os.write(1, f"{os.getpid()}\\n".encode())
    signal.pause()
if sys.argv[2] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()
"""


def test_a_second_holder_is_refused(tmp_path: Path) -> None:
    """A second lock in one process is refused, names the holder, and succeeds after the release."""
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(LockHeld) as held:
        FileLock(tmp_path / "lock")
    assert held.value.holder == str(os.getpid())
    lock.release()
    lock.release()
    FileLock(tmp_path / "lock").release()


def test_the_file_is_private_and_stays(tmp_path: Path) -> None:
    """The file has mode 0600 and is not removed, for somebody else may be opening it."""
    FileLock(tmp_path / "lock").release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_longer_id_of_an_earlier_holder_is_overwritten(tmp_path: Path) -> None:
    """The file holds the present holder's process id only."""
    (tmp_path / "lock").write_text("99999999999999\n")
    lock = FileLock(tmp_path / "lock")
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing support for locks is an OSError, not `LockHeld`."""

    def none(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(OSError, match="No locks"):
        FileLock(tmp_path / "lock")


def forked(path: Path, then: str) -> tuple[subprocess.Popen[str], int]:
    """Start a holder that forks; return it and its child's process id."""
    holder = subprocess.Popen([sys.executable, "-c", FORKS, str(path), then], stdin=-1, stdout=-1, text=True)
    assert holder.stdout is not None
    return holder, int(holder.stdout.readline())


@pytest.mark.real
def test_a_child_does_not_keep_the_lock_of_a_killed_parent(tmp_path: Path) -> None:
    """A forked child that outlives its killed parent does not block the next holder."""
    holder, child = forked(tmp_path / "lock", "die")
    try:
        with holder:
            assert holder.wait(30) == -signal.SIGKILL
            os.kill(child, 0)
            FileLock(tmp_path / "lock").release()
            os.kill(child, signal.SIGKILL)
    finally:
        holder.kill()


@pytest.mark.real
def test_a_child_s_end_does_not_free_the_lock(tmp_path: Path) -> None:
    """The parent keeps the lock after its forked child was killed."""
    holder, child = forked(tmp_path / "lock", "stay")
    try:
        with holder:
            os.kill(child, signal.SIGKILL)
            with pytest.raises(LockHeld) as held:
                FileLock(tmp_path / "lock")
            assert held.value.holder == str(holder.pid)
            holder.kill()
    finally:
        holder.kill()
    FileLock(tmp_path / "lock").release()
