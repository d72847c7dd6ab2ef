"""Damage to a journal is noticed: flipped bits, a file that was removed or replaced while it was open."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import JournalError
from kling_async.batch.checksums import with_checksum, without_checksum
from kling_async.batch.digests import Digest
from kling_async.batch.entry import Entry, Failure, JobState, JournaledFile, Times, pack
from kling_async.batch.journal import Journal
from kling_async.batch.journal_store import Store
from tests.victim import entry_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def job(n: int, state: JobState = JobState.PLANNED) -> Entry:
    """Return an entry with all that one can hold."""
    return Entry(
        identity=f"{n:032x}",
        position=n,
        endpoint="text_to_video",
        external_task_id=f"{n:032x}",
        key=f"schlüssel {n}",
        label="夜",
        state=state,
        task_id=f"84757{n}" if state else None,
        units="3.5",
        files=(JournaledFile("a.mp4", 9, "5e" * 32),) if state is JobState.DONE else None,
        error=Failure("TaskFailed", "ä" * 20) if state is JobState.FAILED else None,
        times=Times(planned=1.5),
    )


def write(path: Path, picture: Path, jobs: int) -> None:
    """Write a journal with jobs in every state and the digest of a file."""
    store = Store(path)
    found = picture.stat()
    digest = Digest(str(picture), found.st_size, found.st_mtime_ns, "ab" * 32)
    store.write([job(n, list(JobState)[n % 5]) for n in range(jobs)], [digest])
    store.close()


def contents(path: Path, picture: Path) -> tuple[Any, ...]:
    """Return all that a plan depends on."""
    store = Store(path)
    try:
        rows = store.page(0, 1000)
        names = [bytes.fromhex(job(n).identity) for n in range(len(rows))]
        asked = [store.find([name], 0).get(name) for name in names]
        return store.id, [data for _, data in rows], asked, store.extent(), store.digest(str(picture))
    finally:
        store.close()


def test_flipped_bits_are_noticed(tmp_path: Path) -> None:
    """With any bit flipped the journal is refused, or says what it said; a digest is made anew."""
    picture, path = tmp_path / "in.png", tmp_path / "jobs.sqlite"
    picture.write_bytes(b"x")
    write(path, picture, 25)
    good, data, rng = contents(path, picture), path.read_bytes(), random.Random(9)
    refused = 0
    for place in rng.sample(range(len(data)), 400):
        broken = bytearray(data)
        broken[place] ^= 1 << rng.randrange(8)
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(broken)
        try:
            found = contents(copy, picture)
        except JournalError:
            refused += 1
        else:
            assert found[:4] == good[:4] and found[4] in (good[4], None), place
        for beside in ("-wal", "-shm"):
            copy.with_name(copy.name + beside).unlink(missing_ok=True)
    assert refused > 20


def test_every_bit_of_a_row_is_covered() -> None:
    """Any flipped bit of an entry or of a column is damage, or leaves bytes that are no entry."""
    identity, data = bytes(16), pack(job(3, JobState.DONE))
    stored = with_checksum(identity, 3, 3, 0, data)
    assert without_checksum(identity, 3, 3, 0, stored) == data
    assert without_checksum(identity, 3, 3, 0, data) == data  # of an earlier version
    for columns in (
        (b"\1" + bytes(15), 3, 3, 0),
        (identity, 2, 3, 0),
        (identity, 3, 1, 0),
        (identity, 3, 3, 1),
    ):
        assert without_checksum(*columns, stored) is None
    for bit in range(8 * len(stored)):
        broken = bytearray(stored)
        broken[bit // 8] ^= 1 << bit % 8
        found = without_checksum(identity, 3, 3, 0, bytes(broken))
        assert found is None or len(found) > len(data)  # bytes behind an entry make it unreadable


async def test_damaged_text_of_an_earlier_version_is_a_journal_error(tmp_path: Path) -> None:
    """Without a checksum damaged UTF-8 is still told as damage, never as a UnicodeDecodeError."""
    path = tmp_path / "jobs.sqlite"
    Store(path).close()
    data = pack(job(1)).replace("夜".encode(), b"\xff\xfe\xfd")
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO jobs VALUES (NULL, ?, 1, 0, 0, ?)", (bytes.fromhex(job(1).identity), data))
    db.close()
    async with Journal(path) as journal:
        with pytest.raises(JournalError, match="damaged"):
            await entry_of(journal, job(1).identity)


@pytest.mark.parametrize("how", ["removed", "replaced", "moved", "log removed"])
async def test_a_journal_that_is_gone_is_noticed_at_the_next_commit(tmp_path: Path, how: str) -> None:
    """No later put succeeds, since nothing that it stores would be found again."""
    path = tmp_path / "folder" / "jobs.sqlite"
    path.parent.mkdir()
    async with Journal(path) as journal:
        await journal.put(job(1))
        if how == "replaced":
            shutil.copy(path, tmp_path / "copy")
            os.replace(tmp_path / "copy", path)  # noqa: PTH105 - in one step
        elif how == "moved":
            path.parent.rename(tmp_path / "elsewhere")
        else:
            (path if how == "removed" else path.with_name("jobs.sqlite-wal")).unlink()
        for n in (2, 3):
            with pytest.raises(JournalError, match="removed or replaced"):
                await journal.put(job(n))
