"""Recognize a journal by its header, and say what is wrong with its files."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final, NamedTuple

from kling_async.errors import JournalError

__all__ = [
    "APPLICATION",
    "DAMAGED",
    "ELSEWHERE",
    "HEADER",
    "MOVED_TABLE",
    "SCHEMA",
    "SCHEMA_MOVED",
    "Moved",
    "file_id",
    "flush_folder",
    "journal_error",
    "read_moved",
    "size_and_time",
    "wrong_header",
]

APPLICATION: Final = 0x6B6C4A31
"""Marks the file's header: a journal of this package ("klJ1")."""
SCHEMA: Final = 1
"""Stands in the file's header: the version of the tables."""
SCHEMA_MOVED: Final = 2
"""The version of a journal whose jobs have moved to a fleet: programs that know no fleet refuse it."""
_MAGIC: Final = b"SQLite format 3\x00"
HEADER: Final = 100
"""Bytes of the header of any SQLite file."""

DAMAGED: Final = (
    "it is damaged; restore a backup and remove the -wal and -shm files beside it,"
    " or begin a new journal under another name"
)


class Moved(NamedTuple):
    """Where the jobs of a journal have moved to."""

    when: float
    """Seconds since 1970."""
    place: str
    """The fleet's database, without its password."""
    batch: str
    """The name of the batch there."""

    def __str__(self) -> str:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.when))
        return f"its jobs moved to the fleet's batch {self.batch!r} on {day} ({self.place})"


ELSEWHERE: Final = "another machine"
"""The place of a mark that was made before it was known where the jobs go to."""
MOVED_TABLE: Final = (
    'CREATE TABLE IF NOT EXISTS moved ("when" REAL NOT NULL, place TEXT NOT NULL, batch TEXT NOT NULL)'
)

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; make room and start again: committed entries are safe",
    sqlite3.SQLITE_READONLY: "it cannot be written; check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_BUSY: "another program writes to it; close that and start again",
    sqlite3.SQLITE_IOERR: "the disk failed; start again when it works: committed entries are safe",
}
"""Advice by SQLite's error code."""


def journal_error(path: Path, error: sqlite3.Error | OSError | str) -> JournalError:
    """Return the error of a journal for one of SQLite or the system, with advice."""
    if isinstance(error, OSError):
        text = f"it cannot be written ({error.strerror}); check the permissions of file and folder"
    elif isinstance(error, sqlite3.Error):
        # the low byte of an extended code is the primary one
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        text = _ADVICE.get(code, "the database failed")
        text = f"{text} ({error})"
    else:
        text = error
    return JournalError(f"journal {str(path)!r}: {text}", path=str(path))


def read_moved(db: sqlite3.Connection) -> Moved | None:
    """Return where the jobs of a journal have moved to; None: they have not."""
    if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_MOVED:
        return None
    found = db.execute("SELECT * FROM moved").fetchone()
    return None if found is None else Moved(*found)


def size_and_time(path: str) -> list[int] | None:
    """Return size and time of a file's last change; None if it cannot be looked at."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def file_id(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def flush_folder(folder: Path) -> None:
    """Flush a folder, so that a new name in it survives a power cut; Windows needs no such call."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def wrong_header(header: bytes) -> str | None:
    """Return why this is not the header of a journal; None if it is, or the file is empty."""
    if not header:
        return None
    if not header.startswith(_MAGIC) or len(header) < HEADER:
        return "it is not a journal, or a damaged one; nothing was changed: choose another name"
    # the SQLite file format has application_id at byte 68 and user_version at byte 60
    if int.from_bytes(header[68:72], "big") != APPLICATION:
        return "it is a database of another program; nothing was changed: choose another name"
    schema = int.from_bytes(header[60:64], "big")
    if schema > SCHEMA_MOVED:
        return f"it was written by a newer version of this package (schema {schema}); upgrade to read it"
    return None
