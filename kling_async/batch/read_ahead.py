"""Read a journal's entries ahead: a resumed batch asks for them in the order of their positions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Executor

    from kling_async.batch.journal_store import Ahead, Store

__all__ = ["ReadAhead"]

_AHEAD_MIN: Final = 16
_AHEAD_MAX: Final = 4096
"""Bounds for how many entries to read ahead; the number doubles while reading ahead pays."""


class ReadAhead:
    """Entries read from the file before they are asked for, and the reads under way."""

    def __init__(self) -> None:
        self._entries: Ahead = {}
        self._window = _AHEAD_MIN
        """How many to read ahead next time."""
        self._outdated: dict[asyncio.Future[Ahead], set[bytes]] = {}
        """For each read under way, the jobs whose commit ended since it began: it may have missed these."""

    def found(self, keys: Iterable[bytes]) -> Ahead:
        """Return those of these entries that were read ahead."""
        return {key: self._entries[key] for key in keys if key in self._entries}

    def drop(self, identity: str) -> None:
        """Forget the entry of a job that was put, or asked for."""
        self._entries.pop(bytes.fromhex(identity), None)

    def committed(self, identity: str) -> None:
        """Note that the commit of a job's entry has ended."""
        for outdated in self._outdated.values():
            outdated.add(bytes.fromhex(identity))

    async def read(
        self, store: Store, thread: Executor, keys: Sequence[bytes], uncommitted: Iterable[str]
    ) -> tuple[Ahead, set[bytes]]:
        """Read entries, and ahead those that follow; return them, and the keys of those outdated by now."""
        # entries that were read ahead and never asked for show an input in another order: start small again
        self._window = _AHEAD_MIN if self._entries else min(_AHEAD_MAX, self._window * 2)
        reading = asyncio.get_running_loop().run_in_executor(thread, store.find, keys, self._window)
        outdated = self._outdated[reading] = set()
        try:
            read = await reading
        finally:
            del self._outdated[reading]
        if read:
            # no entry may stay that a put has overtaken: its job would be taken for one not made yet
            self._entries = read.copy()
            for key in (*outdated, *map(bytes.fromhex, uncommitted)):
                self._entries.pop(key, None)
        return read, outdated
