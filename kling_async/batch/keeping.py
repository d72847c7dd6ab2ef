"""Where a batch writes down how far its jobs have come: in its journal, or nowhere."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from kling_async.batch.entry import next_attempt

if TYPE_CHECKING:
    from kling_async.batch.entry import Entry
    from kling_async.batch.journal import Journal

__all__ = ["NullJournal"]


class NullJournal:
    """A journal, or nothing in its place."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal

    async def put(self, entry: Entry) -> None:
        """Return when an entry is safe."""
        if self._journal is not None:
            await self._journal.put(entry)

    def put_soon(self, entry: Entry) -> None:
        """Keep what is no harm to lose."""
        if self._journal is not None:
            self._journal.put_soon(entry)

    def next_attempt(self, entry: Entry, account: str) -> Entry:
        """Return the entry of one more attempt, with an id of its own."""
        journal = uuid.uuid4().hex if self._journal is None else self._journal.id
        return next_attempt(entry, journal, account=account, defaults=entry.defaults)
