"""When to ask about which task.

One question a task, each on a plain interval; later, the questions are chosen and timed by what they are
worth, behind the same four calls. Due times are stored, not intervals. A key is asked about only while it is
*wanted*: somebody waits for that task, or queues for a slot that it holds.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from kling_async.options import Polling, Retry

__all__ = ["INTERVAL", "Schedule", "Wish"]

INTERVAL: Final = 5.0
"""Seconds between two looks at one task, within the bounds that `Polling` sets."""


class Wish:
    """A task in the schedule; to a waiter, the proof of its wish."""

    __slots__ = ("asking", "due", "failures", "forgotten", "key", "listed", "pool", "wants")

    def __init__(self, key: Hashable, pool: str, due: float) -> None:
        self.key = key
        self.pool = pool
        self.due = due
        self.wants = 0
        self.asking = False
        self.listed = False
        self.failures = 0
        self.forgotten = False


class Schedule:
    """Which tasks to ask about now, and when to look again. Times are seconds of the caller's clock."""

    def __init__(self, polling: Polling, retry: Retry) -> None:
        self._polling = polling
        self._retry = retry
        self._interval = min(max(INTERVAL, polling.min_interval), polling.max_interval)
        self._entries: dict[Hashable, Wish] = {}
        self._heap: list[tuple[float, int, Wish]] = []
        self._order = 0
        self._crowded: set[str] = set()
        self._next_round = -math.inf
        self._next_question = -math.inf

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: Hashable, pool: str, now: float, *, at_once: bool = False) -> None:
        """Begin to look after a task; ``at_once`` where nothing is known of it yet."""
        entry = Wish(key, pool, now if at_once else now + self._interval)
        self._entries[key] = entry
        self._list(entry)

    def remove(self, key: Hashable) -> None:
        """Forget a task."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            entry.forgotten, entry.listed = True, False

    def want(self, key: Hashable) -> Wish:
        """One waiter more; what is returned ends the wish by `unwant`."""
        entry = self._entries[key]
        entry.wants += 1
        self._list(entry)
        return entry

    def unwant(self, wish: Wish) -> None:
        """One waiter less; harmless if the task was forgotten meanwhile."""
        wish.wants -= 1

    def crowd(self, pool: str, crowded: bool) -> None:
        """Somebody queues for this pool, or nobody does any more."""
        if crowded == (pool in self._crowded):
            return
        if not crowded:
            self._crowded.discard(pool)
            return
        self._crowded.add(pool)
        for entry in self._entries.values():
            if entry.pool == pool:
                self._list(entry)

    def hurry(self, key: Hashable, now: float) -> None:
        """Ask about this task as soon as the rates allow."""
        entry = self._entries.get(key)
        if entry is not None and not entry.asking and entry.due > now:
            entry.due = now
            entry.listed = False
            self._list(entry)

    def ask(self, now: float) -> list[Hashable]:
        """Return the tasks to ask about now, each to be answered by `answered` or `failed`."""
        if now < self._next_round:
            return []
        keys: list[Hashable] = []
        while self._next_question <= now and (entry := self._head()) is not None and entry.due <= now:
            heapq.heappop(self._heap)
            entry.listed, entry.asking = False, True
            self._next_question = max(self._next_question, now) + 1 / self._polling.requests_per_second
            keys.append(entry.key)
        head = self._head()
        if keys and (head is None or head.due > now):  # else the round goes on as the rate allows
            self._next_round = now + self._polling.min_interval
        return keys

    def answered(self, key: Hashable, now: float) -> None:
        """The question was answered and the task runs on."""
        entry = self._entries.get(key)
        if entry is not None and entry.asking:
            entry.asking, entry.failures = False, 0
            entry.due = now + self._interval
            self._list(entry)

    def failed(self, key: Hashable, now: float, jitter: float, after: float | None = None) -> int:
        """The question was not answered: again after a growing pause. Returns how often in a row."""
        entry = self._entries.get(key)
        if entry is None or not entry.asking:
            return 0
        pause = min(self._retry.cap, self._retry.base * 2.0 ** min(entry.failures, 30)) * (0.5 + jitter / 2)
        entry.failures += 1
        entry.asking = False
        entry.due = now + (pause if after is None else max(pause, after))
        self._list(entry)
        return entry.failures

    def next_time(self) -> float:
        """Return when `ask` may have something to return; inf: not before another call changes things."""
        entry = self._head()
        if entry is None:
            return math.inf
        return max(entry.due, self._next_round, self._next_question)

    def _is_wanted(self, entry: Wish) -> bool:
        return not entry.forgotten and (entry.wants > 0 or entry.pool in self._crowded)

    def _list(self, entry: Wish) -> None:
        if not entry.listed and not entry.asking and self._is_wanted(entry):
            self._order += 1
            entry.listed = True
            heapq.heappush(self._heap, (entry.due, self._order, entry))

    def _head(self) -> Wish | None:
        """Return the next wanted entry; drop from the heap what is no longer wanted or was moved."""
        while self._heap:
            due, _, entry = self._heap[0]
            if entry.listed and due == entry.due and self._is_wanted(entry):
                return entry
            heapq.heappop(self._heap)
            if due == entry.due:
                entry.listed = False
        return None
