"""Read a journal without holding it: one consistent snapshot, also while a batch writes to it.

Nothing is changed: the database is opened for reading only, and its lock is left to the batch.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import msgspec

from kling_async.batch.checksums import checked_digest, checked_name, without_checksum
from kling_async.batch.entry import unpack
from kling_async.batch.journal_files import (
    DAMAGED,
    HEADER,
    journal_error,
    read_moved,
    size_and_time,
    wrong_header,
)
from kling_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kling_async.batch.entry import Entry
    from kling_async.batch.journal_files import Moved

__all__ = ["JournalView"]

_PAGE: Final = 1000
"""Rows that are read at once."""
_FOUND_MAX: Final = 100
"""Most damaged pages that SQLite lists."""


class _Row(NamedTuple):
    """One row of the table of jobs; its entry is None if that is damaged."""

    identity: str
    entry: Entry | None


class JournalView:
    """The committed jobs of a journal at the moment of entering.

    Args:
        path: The journal's file.

    Raises:
        JournalError: On entering, the file is no journal or cannot be read; later, it is damaged. On leaving,
            what was read may not be consistent: a batch has begun meanwhile.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).resolve()  # links to one file must find the same log
        self._db: sqlite3.Connection | None = None
        self._unlogged: tuple[object, ...] | None = None
        """State of the files of a journal that no batch writes; None: one may."""
        self.id = ""
        """The journal's own name, part of every external_task_id made from it."""
        self.moved: Moved | None = None
        """Where its jobs have moved to; None: they have not."""

    def __enter__(self) -> Self:
        self._examine()
        # a log belongs to a batch that runs, or was killed: shared memory keeps its readers in order. Without
        # one SQLite is told that nothing changes, or it would leave files behind; leaving looks if that held
        state = self._state()
        self._unlogged = None if state[0] else state
        how = "mode=ro" if state[0] else "mode=ro&immutable=1"
        try:
            uri = f"{self.path.as_uri()}?{how}"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
            self._db.execute("BEGIN")  # the first read takes the snapshot, which lasts until the end
            name = checked_name(str(self._rows("SELECT id FROM journal")[0][0]))
            self.moved = read_moved(self._db)
        except (sqlite3.Error, JournalError) as error:
            failure = error if isinstance(error, JournalError) else journal_error(self.path, error)
        else:
            if name is not None:
                self.id = name
                return self
            failure = journal_error(self.path, f"{DAMAGED} (its name)")
        self.close()
        raise failure

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None and self._unlogged is not None and self._unlogged != self._state():
            raise journal_error(self.path, "a batch began to write to it meanwhile; look again")

    def _state(self) -> tuple[object, ...]:
        """Return what changes as soon as a batch opens the journal."""
        logged = self.path.with_name(f"{self.path.name}-wal").exists()
        return logged, size_and_time(str(self.path))

    def close(self) -> None:
        """Let go of the snapshot. Harmless to repeat."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _examine(self) -> None:
        """Look at the file's header before SQLite does."""
        try:
            if not self.path.is_file():
                raise journal_error(self.path, "there is no such journal")
            with self.path.open("rb") as file:
                header = file.read(HEADER)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            failure = journal_error(self.path, f"it cannot be read ({reason})")
        else:
            wrong = wrong_header(header) if header else "it is empty: no batch has begun with it"
            if wrong is None:
                return
            failure = journal_error(self.path, wrong)
        raise failure

    def count(self) -> int:
        """Return the number of jobs."""
        return int(self._rows("SELECT count(*) FROM jobs")[0][0])

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of all jobs, in the order in which they were first put.

        Raises:
            JournalError: An entry is damaged.
        """
        for row in self.rows():
            if row.entry is None:
                raise journal_error(
                    self.path, f"the entry of job {row.identity} is damaged; restore a backup"
                )
            yield row.entry

    def rows(self) -> Iterator[_Row]:
        """Yield all rows, damaged ones too."""
        last = 0
        while rows := self._rows(
            "SELECT number, identity, position, state, attempt, entry FROM jobs"
            " WHERE number>? ORDER BY number LIMIT ?",
            last,
            _PAGE,
        ):
            last = rows[-1][0]
            yield from (self._row(*row[1:]) for row in rows)

    @staticmethod
    def _row(identity: bytes, *columns: Any) -> _Row:
        data = without_checksum(identity, *columns)
        try:
            entry = None if data is None else unpack(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            entry = None
        good = entry is not None and entry.identity == identity.hex()
        return _Row(identity.hex(), entry if good else None)

    def entry(self, identity: str) -> Entry | None:
        """Return the entry of a job; None if the journal does not know it, or the entry is damaged."""
        query = "SELECT identity, position, state, attempt, entry FROM jobs WHERE identity=?"
        rows = self._rows(query, bytes.fromhex(identity))
        return self._row(*rows[0]).entry if rows else None

    def has_position(self, position: int) -> bool:
        """Tell whether a job was at this position of an input."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE position=? LIMIT 1", position))

    def damage(self) -> list[str]:
        """Return what SQLite finds wrong with the file; empty if nothing."""
        found = [str(row[0]) for row in self._rows(f"PRAGMA integrity_check({_FOUND_MAX})")]
        return [] if found == ["ok"] else found

    async def digest(self, path: str) -> str | None:
        """Return the SHA-256 of an input file as the journal knows it; None: unknown, or changed."""
        rows = self._rows("SELECT size, mtime_ns, sha256 FROM digests WHERE path=?", path)
        if not rows or size_and_time(path) != [rows[0][0], rows[0][1]]:
            return None
        return checked_digest(str(rows[0][2]), path, rows[0][0], rows[0][1])

    def _rows(self, query: str, *values: object) -> Sequence[Any]:
        if self._db is None:
            raise JournalError(f"journal {str(self.path)!r}: it is closed", path=str(self.path))
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            failure = journal_error(self.path, error)
        raise failure
