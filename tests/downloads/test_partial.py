"""Test downloads/partial.py: parts are private, locked, and resumed only for the same content."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from kling_async.downloads import partial
from kling_async.downloads.partial import Partial, write_private
from kling_async.downloads.ranges import BEGINNING, NOTHING, OVERLAP, LocalPart, Whole
from kling_async.runtime import filelock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MP4: Final = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 40
COMING: Final = Whole(len(MP4), '"v1"')
PART: Final = ".a.mp4.part"
NOTE: Final = ".a.mp4.part.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


_open: Final[list[Partial]] = []


def opened(folder: Path) -> tuple[Partial, LocalPart]:
    part = Partial(folder / "a.mp4", "s")
    _open.append(part)
    return part, part.open()


@pytest.fixture(autouse=True)
def _all_closed() -> Iterator[None]:
    yield
    for part in _open:
        part.close(keep=False)
    _open.clear()


def left(folder: Path, data: bytes = MP4[:6000], coming: Whole = COMING) -> None:
    """Leave a part on disk, as a killed process does."""
    part, _ = opened(folder)
    part.begin(coming)
    part.append([data])
    assert part._file is not None
    part._file.close()


def test_a_part_becomes_the_file(tmp_path: Path) -> None:
    """A part is hidden and private in a folder made for it; the file has the permissions of any new one."""
    folder = tmp_path / "new" / "folder"
    part, local = opened(folder)
    assert local == NOTHING
    part.begin(COMING)
    part.append([MP4[:100]])
    assert names(folder) == [PART, NOTE]
    assert rights(folder / PART) == rights(folder / NOTE) == 0o600
    part.publish([MP4[100:]])
    part.close(keep=True)
    assert names(folder) == ["a.mp4"] and (folder / "a.mp4").read_bytes() == MP4
    (tmp_path / "other").touch()
    assert rights(folder / "a.mp4") == rights(tmp_path / "other")


def test_the_next_attempt_finds_what_a_crash_left(tmp_path: Path) -> None:
    """Opening returns the part's length, last bytes, total and ETag; the file can be completed from there."""
    left(tmp_path)
    part, local = opened(tmp_path)
    assert local == LocalPart(6000, MP4[6000 - OVERLAP : 6000], len(MP4), '"v1"')
    part.publish([MP4[6000:]])
    assert names(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == MP4


def test_close_keeps_only_a_resumable_part(tmp_path: Path) -> None:
    """A part stays if it has bytes, a length and an ETag, and is to be kept; else nothing stays."""
    for coming, data, left_on_disk in (
        (COMING, MP4[:10], [PART, NOTE]),
        (COMING, b"", []),
        (Whole(len(MP4)), MP4[:10], []),
        (Whole(None, '"v1"'), MP4[:10], []),
    ):
        part, _ = opened(tmp_path)
        part.begin(coming)
        part.append([data])
        part.close(keep=True)
        assert names(tmp_path) == left_on_disk
    left(tmp_path)
    part, _ = opened(tmp_path)
    part.close(keep=False)
    part.close(keep=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "note",
    [
        None,
        b"",
        b"{",
        b"\xff",
        b'{"source": "other", "etag": "\\"v1\\"", "total": 10252}',
        b'{"source": "s", "etag": "", "total": 10252}',
        b'{"source": "s", "etag": "\\"v1\\"", "total": 5999}',
    ],
)
def test_a_part_without_its_own_note_is_not_resumed(note: bytes | None, tmp_path: Path) -> None:
    """The note is lost, torn, of another source, without ETag, or of a shorter file."""
    left(tmp_path)
    if note is None:
        (tmp_path / NOTE).unlink()
    else:
        (tmp_path / NOTE).write_bytes(note)
    part, local = opened(tmp_path)
    assert local == NOTHING
    part.begin(COMING)
    part.publish([MP4])
    assert names(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == MP4


@pytest.mark.parametrize("data", [b"", b"<html>", b"older"])
def test_a_file_of_another_format_is_not_compared(data: bytes, tmp_path: Path) -> None:
    """A file whose first bytes are not of its kind counts as missing."""
    (tmp_path / "a.mp4").write_bytes(data)
    part, local = opened(tmp_path)
    part.close(keep=True)
    assert local == NOTHING and names(tmp_path) == ["a.mp4"]


def test_a_complete_file_is_compared(tmp_path: Path) -> None:
    """A small file is compared whole, others by end and beginning; a part beside the file goes first."""
    for more in (0, BEGINNING):
        data = MP4 + bytes(more)
        (tmp_path / "a.mp4").write_bytes(data)
        part, local = opened(tmp_path)
        tail, head = (data[-OVERLAP:], data[:BEGINNING]) if more else (data, b"")
        assert local == LocalPart(len(data), tail, len(data), head=head)
        part.close(keep=True)
        assert names(tmp_path) == ["a.mp4"]
    left(tmp_path)
    assert opened(tmp_path)[1].size == 6000


def test_a_second_writer_gets_a_part_of_its_own(tmp_path: Path) -> None:
    """Writers never share a part: all end well, and only the first one's part can be resumed."""
    first, _ = opened(tmp_path)
    first.begin(COMING)
    first.append([MP4[:6000]])
    second, local = opened(tmp_path)
    assert local == NOTHING and len(names(tmp_path)) == 3
    second.begin(COMING)
    second.append([MP4[:10]])
    third, _ = opened(tmp_path)
    third.begin(COMING)
    third.publish([MP4])
    second.close(keep=True)
    assert names(tmp_path) == [PART, NOTE, "a.mp4"]
    first.publish([MP4[6000:]])
    assert names(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == MP4


def kill(part: Partial) -> None:
    """Close a part's file, as the end of a killed process does."""
    assert part._file is not None
    part._file.close()


def test_extra_parts_that_crashes_left_are_removed(tmp_path: Path) -> None:
    """Opening a file removes the extra parts that nobody holds, and leaves those in use."""
    parts = [opened(tmp_path)[0] for _ in range(4)]
    assert len(names(tmp_path)) == 4
    for n in (0, 1, 3):
        parts[n].begin(COMING)
        parts[n].append([MP4[:5000]])
        kill(parts[n])
    part, local = opened(tmp_path)
    assert local.size == 5000 and names(tmp_path) == [".a.mp4.2.part", PART, NOTE]
    part.publish([MP4[5000:]])
    assert names(tmp_path) == [".a.mp4.2.part", "a.mp4"]
    kill(parts[2])
    part, _ = opened(tmp_path)
    part.close(keep=True)
    assert names(tmp_path) == ["a.mp4"] and (tmp_path / "a.mp4").read_bytes() == MP4


def test_further_writers_get_random_names(tmp_path: Path) -> None:
    """Twelve writers of one file have twelve parts, three of them beyond the fixed names."""
    parts = [opened(tmp_path)[0] for _ in range(12)]
    assert len(names(tmp_path)) == 12
    for part in parts:
        part.begin(COMING)
        part.publish([MP4])
    assert names(tmp_path) == ["a.mp4"]


def test_a_file_system_without_locks_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every writer gets a part with a random name."""

    def unable(_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(partial, "lock", unable)
    parts = [opened(tmp_path)[0] for _ in range(2)]
    assert parts[0]._path != parts[1]._path
    for part in parts:
        part.begin(COMING)
        part.publish([MP4])
    assert (tmp_path / "a.mp4").read_bytes() == MP4


@pytest.mark.parametrize(
    ("placed", "total", "size"),
    [
        pytest.param(None, None, None, id="nothing"),
        pytest.param(None, len(MP4), None, id="a part"),
        pytest.param(MP4, None, len(MP4), id="a file"),
        pytest.param(MP4, len(MP4), len(MP4), id="a file of the length in the part's note"),
        pytest.param(MP4, len(MP4) + 1, None, id="a file that was being replaced by a longer one"),
        pytest.param(b"<html>" + MP4, None, None, id="something else"),
    ],
)
def test_discard_removes_the_part_and_judges_the_file(
    placed: bytes | None, total: int | None, size: int | None, tmp_path: Path
) -> None:
    """The size of a complete file is returned unless its first bytes or the part's note contradict it."""
    if placed is not None:
        (tmp_path / "a.mp4").write_bytes(placed)
    if total is not None:
        left(tmp_path, coming=Whole(total, '"v1"'))
    assert Partial(tmp_path / "a.mp4", "s").discard() == size
    assert names(tmp_path) == ([] if placed is None else ["a.mp4"])


@pytest.mark.real
def test_another_process_is_kept_out_as_long_as_it_lives(tmp_path: Path) -> None:
    """A part of a living process is not shared; a killed process leaves it to the next."""
    program = (
        "import sys; from pathlib import Path; from kling_async.downloads.ranges import Whole\n"
        "from kling_async.downloads.partial import Partial\n"
        "p = Partial(Path(sys.argv[1]), 's'); p.open(); p.begin(Whole(9000, '\"v1\"'))\n"
        "p.append([b'x' * 100]); print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.mp4")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"ready\n"
        part, local = opened(tmp_path)
        part.close(keep=False)
        assert local == NOTHING and names(tmp_path) == [PART, NOTE]
        other.kill()
    assert opened(tmp_path)[1] == LocalPart(100, b"x" * 100, 9000, '"v1"')


def test_a_part_published_meanwhile_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part renamed between our open and our lock is a whole file now: a new part is opened."""
    left(tmp_path)
    lock = filelock.lock

    def late(file: int) -> None:
        monkeypatch.setattr(partial, "lock", lock)
        (tmp_path / PART).replace(tmp_path / "a.mp4")
        lock(file)

    monkeypatch.setattr(partial, "lock", late)
    part, local = opened(tmp_path)
    assert local.size == 6000 and local.etag == ""
    part.begin(COMING)
    part.append([b"new"])
    assert (tmp_path / "a.mp4").read_bytes() == MP4[:6000] and (tmp_path / PART).read_bytes() == b"new"


def test_a_link_in_the_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    """Somebody who may write to the folder cannot make us write elsewhere."""
    (tmp_path / "mine").write_text("mine")
    (tmp_path / PART).symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        opened(tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_small_private_files_are_written_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is private, and a failed write leaves the old one and nothing else."""
    path = tmp_path / "a.json"
    write_private(path, json.dumps({"a": 1}).encode())
    assert (rights(path), path.read_text(), names(tmp_path)) == (0o600, '{"a": 1}', ["a.json"])

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_private(path, b"{}")
    assert path.read_text() == '{"a": 1}' and names(tmp_path) == ["a.json"]


def test_bytes_are_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing flushes the bytes, then renames, then flushes the folder."""
    order: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(file: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        sync(file)

    def note_replace(old: Path, new: Path) -> None:
        order.append("name")
        replace(old, new)

    part, _ = opened(tmp_path)
    part.begin(Whole(None))
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    part.publish([MP4])
    assert order == ["file", "name", "folder"]


def test_a_folder_that_cannot_be_read_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its names cannot be flushed; file and sidecar are stored all the same."""
    real = os.open

    def forbid(path: Path, flags: int, mode: int = 0o777) -> int:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, mode)

    part, _ = opened(tmp_path)
    part.begin(COMING)
    monkeypatch.setattr(os, "open", forbid)
    part.publish([MP4])
    write_private(tmp_path / "a.json", b"{}")
    assert names(tmp_path) == ["a.json", "a.mp4"]
