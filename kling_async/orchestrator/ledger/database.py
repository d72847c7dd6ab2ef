"""The database of a shared ledger: one SQLite file, made whole, opened, and told from others of its name."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.leases import LEASE_TABLES
from kling_async.orchestrator.ledger.lines import LINE_TABLES
from kling_async.orchestrator.ledger.stored_pool import POOL_TABLES
from kling_async.runtime.filelock import FileLock, LockHeld

__all__ = ["begin", "identity_of", "open_database", "passes"]

_BUSY: Final = 3.0
"""Seconds to wait for another process to end its transaction, which takes about a millisecond. Then the
messenger warns, and tries again."""
_MAKING: Final = 0.01
"""Seconds between two tries to get the lock under which the file is made."""
_WRITE_BYTE: Final = "120"
"""The byte of the ``-shm`` file that whoever writes in WAL mode has locked, as SQLite's file format says."""
_PASSING: Final = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR),
    *(sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_SCHEMA),
}
"""Primary codes of SQLite's errors that pass: the disk is full, or another program has the file locked."""
_PASSING_ERRNO: Final = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM),
    errno.ETIMEDOUT,
}
"""The same of the system's errors."""
APPLICATION: Final = 0x6B6C534C
"""Marks the file's header: a slot ledger of this package ("klSL")."""
SCHEMA: Final = 2
"""Stands in the file's header: the version of the tables."""

_TABLES: Final = (
    "CREATE TABLE ledger (boot TEXT NOT NULL, quiet_until REAL NOT NULL)",
    """CREATE TABLE accounts (
        id INTEGER PRIMARY KEY, base_url TEXT NOT NULL, account TEXT NOT NULL, asker INTEGER, read_at REAL,
        UNIQUE (base_url, account))""",
    # numbers are not used twice, so that nobody mistakes an old process for a new one
    """CREATE TABLE owners (
        id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL, token TEXT NOT NULL,
        beat REAL NOT NULL)""",
    *POOL_TABLES,
    *LEASE_TABLES,
    *LINE_TABLES,
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open a ledger's file, made if there is none.

    Raises:
        ConfigurationError: It is another program's, or of another version.
        sqlite3.Error: It cannot be opened; see `passes`.
        OSError: Likewise.
    """
    if _is_missing(path):
        making = _making(path)
        try:
            if _is_missing(path):  # else another was faster
                _make(path)
        finally:
            making.release()
    db = _connect(path)
    try:
        _need_ledger(db, path)
        # a power cut may lose the last commits, and starts the machine anew: then all processes are dead
        db.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _need_ledger(db: sqlite3.Connection, path: Path) -> None:
    found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
    if found != [APPLICATION, SCHEMA]:
        raise ConfigurationError(
            f"slots: {str(path)!r} is another program's database, or another version's; name another"
        )


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)


def _is_missing(path: Path) -> bool:
    return not path.exists() or not path.stat().st_size


def _making(path: Path) -> FileLock:
    """Return the lock under which the file is made: a second maker would remove the log of the first.

    Raises:
        TimeoutError: Another process has not finished making it, or is stopped.
    """
    until = time.monotonic() + _BUSY
    while True:  # in the thread of the messenger: it holds up no loop
        try:
            return FileLock(path.with_name(f"{path.name}.making"))
        except LockHeld:
            if time.monotonic() > until:
                raise TimeoutError(errno.ETIMEDOUT, "another process is making the ledger") from None
            threading.Event().wait(_MAKING)


def _make(path: Path) -> None:
    """Make the tables in a file beside, and give it the name.

    Made in place, the change to WAL would fail for whoever opens the file in the same moment.
    """
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        os.close(os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # private from the start
        with contextlib.closing(_connect(beside)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                db.execute(table)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={SCHEMA}")
            db.execute("COMMIT")
        for end in ("-wal", "-shm"):  # SQLite would take the log of a file that was removed for ours
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        try:
            os.link(beside, path)
        except FileExistsError:
            if not path.stat().st_size:  # an empty file was there
                beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def begin(db: sqlite3.Connection, path: Path) -> None:
    """Begin a transaction that writes.

    Raises:
        sqlite3.Error: That cannot be; if another process has had the file locked for long, it is named.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and (holder := _lock_holder(path)):
            error.args = (f"{error}, by {holder}",)
        raise


def _lock_holder(path: Path) -> str:
    """Name the process that has a ledger's file locked for writing; "" if the system does not tell."""
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        locks = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    for fields in map(str.split, locks.splitlines()):  # number: kind mode WRITE pid device:inode first last
        if (
            fields[3:4] == ["WRITE"]
            and fields[5].rpartition(":")[2] == str(inode)
            and fields[6] == _WRITE_BYTE
        ):
            return f"process {fields[4]}{_state(fields[4])}"
    return ""


def _state(pid: str) -> str:
    """Return what is odd about a process that has a file locked for long."""
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        if status.rpartition(")")[2].split()[0] in ("T", "t"):
            return f", which is stopped (kill -CONT {pid} lets it go on)"
    return ""


def identity_of(path: Path) -> list[tuple[int, int] | None]:
    """Return what tells the files under a ledger's name from others; None: there is none."""
    found: list[tuple[int, int] | None] = []
    for file in (path, path.with_name(f"{path.name}-shm")):
        try:
            status = file.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino))
    return found


def passes(error: sqlite3.Error | OSError) -> bool:
    """Tell whether it may be different in a moment."""
    if isinstance(error, OSError):
        return error.errno in _PASSING_ERRNO
    # the second byte says more about an error of the first; an error of the module itself has no code
    return getattr(error, "sqlite_errorcode", -1) & 0xFF in _PASSING
