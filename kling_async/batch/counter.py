"""Count how often a name came before: exact over an endless input, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SpillCounter"]

MOST: Final = 100_000
"""Most names held in memory, about 10 MB; more go to a temporary file."""


class SpillCounter:
    """Counts names; those not seen lately lie in a temporary database.

    Args:
        most: How many names to hold in memory.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._recent: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    async def count_before(self, names: Sequence[bytes]) -> list[int]:
        """Return how often each name came before, in this call and in earlier ones. One call at a time."""
        loop = asyncio.get_running_loop()
        if self._file is not None:
            await in_thread(loop, self._load, [name for name in names if name not in self._recent])
        counts = [self._count(name) for name in names]
        if len(self._recent) > self._most:
            await in_thread(loop, self._spill)
        return counts

    def _count(self, name: bytes) -> int:
        count = self._recent.get(name, 0)
        self._recent[name] = count + 1
        return count

    def _load(self, names: Iterable[bytes]) -> None:
        assert self._file is not None  # noqa: S101 - the caller looks
        for name in names:
            row = self._file.execute("SELECT times FROM seen WHERE name=?", (name,)).fetchone()
            if row is not None:
                self._recent[name] = row[0]

    def _spill(self) -> None:
        if self._file is None:
            # "" makes a file without a name, which the system removes however this process ends;
            # each call may run in another thread of the executor, but never two at a time
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # nothing needs to survive a crash, so nothing is flushed
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute("CREATE TABLE seen (name BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", self._recent.items())
        self._file.execute("COMMIT")
        self._recent = {}

    def close(self) -> None:
        """Forget all names. Harmless to repeat; counting then begins anew."""
        self._recent = {}
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()
