"""A journal's database: one SQLite file, examined before it is opened, written by one thread.

``journal_mode=WAL``: a commit flushes one file, the write-ahead log. The other modes flush two or three and
reached a hundredth to a fifth of its pace, as measured. After a kill, the next start replays the log.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kling_async.batch.checksums import (
    checked_digest,
    checked_name,
    digest_with_checksum,
    name_with_checksum,
    with_checksum,
    without_checksum,
)
from kling_async.batch.entry import JobState, follows, pack
from kling_async.batch.journal_files import (
    APPLICATION,
    DAMAGED,
    HEADER,
    MOVED_TABLE,
    SCHEMA,
    SCHEMA_MOVED,
    Moved,
    file_id,
    flush_folder,
    journal_error,
    read_moved,
    size_and_time,
    wrong_header,
)
from kling_async.errors import JournalError
from kling_async.runtime.filelock import FileLock, LockHeld

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kling_async.batch.digests import Digest
    from kling_async.batch.entry import Entry

__all__ = ["Ahead", "Store"]

_SYNCHRONOUS_FULL: Final = 2
"""The value by which ``PRAGMA synchronous`` reports FULL."""

_TABLES: Final = (
    "CREATE TABLE journal (id TEXT NOT NULL)",
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY,
        identity BLOB NOT NULL UNIQUE,
        position INTEGER NOT NULL,
        state INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        entry BLOB NOT NULL)""",
    "CREATE INDEX by_position ON jobs (position)",
    """CREATE TABLE digests (
        path TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        sha256 TEXT NOT NULL) WITHOUT ROWID""",
)

Ahead = dict[bytes, bytes]
"""Packed entries by identity."""


class Store:
    """The open database of a journal, and the lock on it. Every method blocks.

    Args:
        path: The database file; made with its folder if there is none.
        make: Whether a file that is not there may be made.
        moved_too: Whether to open one whose jobs have moved to a fleet.

    Raises:
        JournalError: The file is not a journal of this kind, is damaged, cannot be written, another process
            holds it, or its jobs have moved to a fleet. Nothing was changed.
    """

    def __init__(self, path: Path, *, make: bool = True, moved_too: bool = False) -> None:
        self.path = path = path.resolve()  # links to one file must find the same lock and log
        if make:
            self._make_folder()
        elif self._examine():
            raise self.error("there is no such journal; give that of an earlier batch")
        lock_file = path.with_name(path.name + ".lock")
        if not lock_file.exists():
            self._examine()  # before a lock file appears beside a file that is no journal
        self._lock = self._acquire(lock_file)
        try:
            if self._examine():
                self._check_log()
                self._make()
            else:
                self._check_pages()
            self._db = self._connect()
            self._reader = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            self._files = self._identities()
            self.id = self._read_id(self._db)
            self.moved = read_moved(self._db)
            if not moved_too and self.moved is not None:
                go_on = f"kling fleet results {self.moved.batch} --follow"
                raise self.error(f"{self.moved}; go on with: {go_on}")
        except (sqlite3.Error, OSError) as error:
            failure = self.error(error)
        except JournalError as error:
            failure = error
        else:
            return
        self.close()
        raise failure

    _db: sqlite3.Connection | None = None
    _reader: sqlite3.Connection | None = None
    """A second connection: its reads do not wait for a commit under way."""
    moved: Moved | None = None
    """Where the jobs have moved to; None: they have not."""

    def error(self, error: sqlite3.Error | OSError | str) -> JournalError:
        """Return the journal's error for one of SQLite or the system, with advice."""
        return journal_error(self.path, error)

    # -- opening

    def _make_folder(self) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            text = f"its folder {str(folder)!r} cannot be made ({reason})"
            failure = self.error(f"{text}; give a path below a folder that can be written")
        else:
            return
        raise failure

    def _acquire(self, lock_file: Path) -> FileLock:
        try:
            return FileLock(lock_file)
        except LockHeld as held:
            failure = self.error(
                f"another process holds it ({held.holder or 'unknown'}); wait for it, or end it"
            )
        except OSError as error:
            failure = self.error(error)
        raise failure

    def _examine(self) -> bool:
        """Read the file's header without SQLite, which might begin repairs; return whether it is new."""
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            # an empty one would be replaced as a journal not begun yet: as root even /dev/null
            raise self.error("it is a pipe, a socket or a device, not a file; choose another name")
        try:
            with self.path.open("r+b") as file:  # for writing too: a read-only file is refused here
                header = file.read(HEADER)
        except FileNotFoundError:
            return True
        except OSError as error:
            failure = self.error(error)
        else:
            wrong = wrong_header(header)
            if wrong is None:
                return not header
            failure = self.error(wrong)
        raise failure

    def _check_pages(self) -> None:
        """Check every page through a read-only connection, which neither repairs nor moves the log."""
        logged = self.path.with_name(self.path.name + "-wal").exists()
        # immutable: SQLite makes no -wal and -shm files beside a database that it cannot change
        how = "mode=ro" if logged else "mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True)) as db:
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise self.error(f"{DAMAGED} ({found})")

    def _check_log(self) -> None:
        """Refuse a log without its database: SQLite would replay it into the new one."""
        log = self.path.with_name(f"{self.path.name}-wal")
        if log.exists() and log.stat().st_size:
            raise self.error(
                f"it is gone, but its write-ahead log {log.name!r} is there; restore it, or remove the log"
            )

    def _make(self) -> None:
        """Make the tables in a file beside, then rename it: a kill leaves no half-made journal."""
        beside = self.path.with_name(self.path.name + ".new")
        beside.unlink(missing_ok=True)
        # private from the start: a later chmod would leave a moment in which others could open it
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(beside, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={SCHEMA}")
            for table in _TABLES:
                db.execute(table)
            name = secrets.token_hex(16)
            db.execute("INSERT INTO journal VALUES (?)", (name_with_checksum(name),))
            db.execute("COMMIT")
        beside.replace(self.path)
        flush_folder(self.path.parent)

    def _connect(self) -> sqlite3.Connection:
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)  # SQLite gives the -wal and -shm files the same permissions
        self._db = db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        # the default in WAL mode, NORMAL, flushes at checkpoints only: a power cut would lose commits
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA fullfsync=ON")  # macOS: fsync() alone stops at the disk's cache
        if mode != "wal" or db.execute("PRAGMA synchronous").fetchone()[0] != _SYNCHRONOUS_FULL:
            raise self.error("this file system cannot keep commits safe; use a local disk")
        return db

    def _read_id(self, db: sqlite3.Connection) -> str:
        """Return the journal's name; journals of earlier versions hold it without a checksum."""
        name = checked_name(str(db.execute("SELECT id FROM journal").fetchone()[0]))
        if name is None:
            raise self.error(f"{DAMAGED} (its name)")
        return name

    # -- use

    def mark_moved(self, place: Moved | None) -> None:
        """Note that the jobs have moved to a fleet, so that no batch goes on with them; None: they have not.

        Raises:
            JournalError: Nothing was changed.
        """
        db = self._open()
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute(MOVED_TABLE)
            db.execute("DELETE FROM moved")
            if place is not None:
                db.execute("INSERT INTO moved VALUES (?, ?, ?)", place)
            db.execute(f"PRAGMA user_version={SCHEMA if place is None else SCHEMA_MOVED}")
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the header tells older programs
        except sqlite3.Error as error:
            failure = error
            with contextlib.suppress(sqlite3.Error):
                db.rollback()
        else:
            self.moved = place
            return
        raise self.error(failure)

    def write(self, entries: Sequence[Entry], digests: Sequence[Digest]) -> list[int]:
        """Commit all entries together, flushed to the disk; return the places of those that may not follow.

        Raises:
            JournalError: Nothing was committed.
        """
        db = self._open()
        try:
            # IMMEDIATE takes the write lock here: another program's lock shows before the first change
            db.execute("BEGIN IMMEDIATE")
            refused = [place for place, entry in enumerate(entries) if not self._put(db, entry)]
            rows = [(*digest[:3], digest_with_checksum(digest.sha256, *digest[:3])) for digest in digests]
            db.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
            db.execute("COMMIT")
            self._check_files()
        except sqlite3.Error as error:
            failure = error
            with contextlib.suppress(sqlite3.Error):
                db.rollback()
        else:
            return refused
        raise self.error(failure)

    @staticmethod
    def _put(db: sqlite3.Connection, entry: Entry) -> bool:
        identity = bytes.fromhex(entry.identity)
        row = db.execute("SELECT number, state, attempt FROM jobs WHERE identity=?", (identity,)).fetchone()
        columns = (entry.position, int(entry.state), entry.attempt)
        values = (*columns, with_checksum(identity, *columns, pack(entry)))
        if row is None:
            db.execute("INSERT INTO jobs VALUES (NULL, ?, ?, ?, ?, ?)", (identity, *values))
            return True
        number, state, attempt = row
        if not follows(JobState(state), attempt, entry.state, entry.attempt):
            return False
        db.execute(
            "UPDATE jobs SET position=?, state=?, attempt=?, entry=? WHERE number=?", (*values, number)
        )
        return True

    def find(self, identities: Iterable[bytes], ahead: int) -> Ahead:
        """Return the packed entries of these jobs, and of up to ``ahead`` jobs after each by position."""
        found: Ahead = {}
        for identity in identities:
            if identity in found:
                continue
            for row in self._rows(
                "SELECT identity, position, state, attempt, entry FROM jobs WHERE identity=?", identity
            ):
                found[identity] = self._entry(row)
                query = "SELECT identity, position, state, attempt, entry FROM jobs"
                query += " WHERE position>? ORDER BY position LIMIT ?"
                found.update((row[0], self._entry(row)) for row in self._rows(query, row[1], ahead))
        return found

    def has_position(self, position: int) -> bool:
        """Tell whether a job was at this position of an input."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE position=? LIMIT 1", position))

    def extent(self) -> tuple[int, int]:
        """Return how many jobs there are, and the highest position of one; -1 if there is none."""
        ((jobs, last),) = self._rows("SELECT count(*), coalesce(max(position), -1) FROM jobs")
        return jobs, last

    def page(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return row numbers and packed entries, in the order in which the jobs were first written."""
        query = (
            "SELECT number, identity, position, state, attempt, entry FROM jobs"
            " WHERE number>? ORDER BY number LIMIT ?"
        )
        return [(row[0], self._entry(row[1:])) for row in self._rows(query, after, limit)]

    def unfinished(self) -> list[bytes]:
        """Return the packed entries of jobs that are not finished."""
        query = "SELECT identity, position, state, attempt, entry FROM jobs WHERE state<?"
        return [self._entry(row) for row in self._rows(query, int(JobState.DONE))]

    def _entry(self, row: Sequence[Any]) -> bytes:
        """Return the packed entry of a row.

        Raises:
            JournalError: The row is damaged.
        """
        found = without_checksum(*row)
        if found is None:
            raise self.error(f"the entry of job {row[0].hex()} is damaged; restore a backup")
        return found

    # -- the files themselves

    def _identities(self) -> list[tuple[Path, tuple[int, int] | None]]:
        """Return the database and its log, each with the device and inode that identify the open file."""
        return [(path, file_id(path)) for path in (self.path, self.path.with_name(f"{self.path.name}-wal"))]

    def _check_files(self) -> None:
        """Check that no file was removed or replaced: commits would go to a file without a name.

        Raises:
            JournalError: A file was removed or replaced.
        """
        for place, (path, before) in enumerate(self._files):
            now = file_id(path)
            if before is None:  # the log is made by the first commit
                self._files[place] = (path, now)
            elif now != before:
                raise self.error(
                    f"{path.name!r} was removed or replaced while it was open; no more tasks are made, since"
                    " they could not be recorded. Restore the file, then start again"
                )

    def digest(self, path: str) -> str | None:
        """Return the SHA-256 of a file; None if it is not known, or the file's size or time has changed.

        Raises:
            OSError: There is no such file.
        """
        found = Path(path).stat()
        query = "SELECT sha256 FROM digests WHERE path=? AND size=? AND mtime_ns=?"
        rows = self._rows(query, path, found.st_size, found.st_mtime_ns)
        return checked_digest(str(rows[0][0]), path, found.st_size, found.st_mtime_ns) if rows else None

    def compact(self) -> None:
        """Drop the digests of files that are gone or changed, and give unused pages back to the disk.

        Raises:
            JournalError: The journal cannot be written; nothing of it is lost.
        """
        db = self._open()
        try:
            rows = db.execute("SELECT path, size, mtime_ns FROM digests").fetchall()
            old = [(path,) for path, *known in rows if known != size_and_time(path)]
            db.executemany("DELETE FROM digests WHERE path=?", old)
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            failure = error
        else:
            return
        raise self.error(failure)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        """Run a query on what is committed."""
        if self._reader is None:
            raise self.error("it is closed")
        try:
            return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            failure = error
        raise self.error(failure)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise self.error("it is closed")
        return self._db

    def close(self) -> None:
        """Close the database, then give the lock back; harmless to repeat."""
        for db in (self._reader, self._db):
            if db is not None:
                with contextlib.suppress(sqlite3.Error):
                    db.close()
        self._reader = self._db = None
        self._lock.release()
