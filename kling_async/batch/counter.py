"""How often a name came before: exact over an endless input, in bounded memory."""

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
"""Names held in memory, about 10 MB; more go to a nameless file that the system removes."""


class SpillCounter:
    """Counts names. What was not seen lately lies in a database of this process."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lately: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    async def before(self, names: Sequence[bytes]) -> list[int]:
        """Return how often each came before: among these, and in earlier calls. One call at a time."""
        loop = asyncio.get_running_loop()
        if self._file is not None:
            await in_thread(loop, self._recall, [name for name in names if name not in self._lately])
        counts = [self._count(name) for name in names]
        if len(self._lately) > self._most:
            await in_thread(loop, self._put_away)
        return counts

    def _count(self, name: bytes) -> int:
        count = self._lately.get(name, 0)
        self._lately[name] = count + 1
        return count

    def _recall(self, names: Iterable[bytes]) -> None:
        assert self._file is not None  # noqa: S101 - it is asked before
        for name in names:
            row = self._file.execute("SELECT times FROM seen WHERE name=?", (name,)).fetchone()
            if row is not None:
                self._lately[name] = row[0]

    def _put_away(self) -> None:
        if self._file is None:
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute("CREATE TABLE seen (name BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", self._lately.items())
        self._file.execute("COMMIT")
        self._lately = {}

    def close(self) -> None:
        """Forget all."""
        self._lately = {}
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()
