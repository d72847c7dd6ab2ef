"""Count how often a name came before: exact over an endless input, in bounded memory."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from kling_async.runtime.loop import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["SpillCounter", "SpillMap"]

MOST: Final = 100_000
"""Most names held in memory, about 10 MB; more go to a temporary file."""


class SpillMap:
    """Holds a number for each name; those not used lately lie in a temporary database.

    Args:
        most: How many names to hold in memory.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._recent: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    @property
    def spilled(self) -> bool:
        """Whether names lie in the file, so that `load` comes before `get`."""
        return self._file is not None

    @property
    def full(self) -> bool:
        """Whether it is time to `spill`."""
        return len(self._recent) > self._most

    def get(self, name: bytes) -> int | None:
        """Return the number of a name; None if there is none in memory."""
        return self._recent.get(name)

    def put(self, name: bytes, number: int) -> None:
        """Note the number of a name."""
        self._recent[name] = number

    def load(self, names: Iterable[bytes]) -> None:
        """Bring names into memory, as far as the file has them; blocks."""
        if self._file is None:
            return
        for name in names:
            if name in self._recent:
                continue
            row = self._file.execute("SELECT number FROM seen WHERE name=?", (name,)).fetchone()
            if row is not None:
                self._recent[name] = row[0]

    def spill(self) -> None:
        """Move all names to the file; blocks."""
        if self._file is None:
            # "" makes a file without a name, which the system removes however this process ends;
            # each call may run in another thread, but never two at a time
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            # nothing needs to survive a crash, so nothing is flushed
            self._file.execute("PRAGMA synchronous=OFF")
            self._file.execute("CREATE TABLE seen (name BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID")
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", self._recent.items())
        self._file.execute("COMMIT")
        self._recent = {}

    def close(self) -> None:
        """Forget all names. Harmless to repeat; the map is usable again then."""
        self._recent = {}
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()


class SpillCounter:
    """Counts names; those not seen lately lie in a temporary database.

    Args:
        most: How many names to hold in memory.
    """

    def __init__(self, most: int = MOST) -> None:
        self._seen = SpillMap(most)

    async def count_before(self, names: Sequence[bytes]) -> list[int]:
        """Return how often each name came before, in this call and in earlier ones. One call at a time."""
        loop = asyncio.get_running_loop()
        if self._seen.spilled:
            await in_thread(loop, self._seen.load, names)
        counts = [self._count(name) for name in names]
        if self._seen.full:
            await in_thread(loop, self._seen.spill)
        return counts

    def _count(self, name: bytes) -> int:
        count = self._seen.get(name) or 0
        self._seen.put(name, count + 1)
        return count

    def close(self) -> None:
        """Forget all names. Harmless to repeat; counting then begins anew."""
        self._seen.close()
