"""Rounds of status queries, the request rate, and poll groups in the order of their due times."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from kling_async.records import PAGE_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.core.poll_groups import PollGroup
    from kling_async.core.queries import QueryForms
    from kling_async.options import Polling

__all__ = ["DueGroups", "Rounds"]

_HEAP_SLACK: Final = 64
_HEAP_FACTOR: Final = 4
"""Outdated entries are swept out once the heap exceeds 64 + 4 entries for each task and group."""


class Rounds:
    """When a due group may ask: rounds start `min_interval` apart, and the request rate always binds.

    A round takes along whatever would be due before the next one may start: two lists that are each due a
    little less often than rounds would otherwise be asked in turns and wait for each other (7 % measured).
    """

    def __init__(self, polling: Polling, forms: QueryForms) -> None:
        self._polling = polling
        self._forms = forms
        self.rate_allows = -math.inf
        """When the request rate lets the next query go."""
        self.next_round = -math.inf
        """When the next round may start."""
        self._round_until = -math.inf
        """While a round is under way: groups due before then go along with it; else -inf."""

    @property
    def _interval(self) -> float:
        """Seconds between the starts of two rounds."""
        return max(self._polling.min_interval, self._forms.min_interval)

    def earliest(self, due: float) -> float:
        """Return when a group due then may ask, as far as rounds go."""
        if self._round_until == -math.inf:
            return max(due, self.next_round)
        return -math.inf if due < self._round_until else due

    def next_time(self, due: float) -> float:
        """Return when a group due then may ask."""
        return max(self.earliest(due), self.rate_allows)

    def allows(self, due: float, now: float) -> bool:
        """Return whether a group due then may ask now."""
        return self.rate_allows <= now and self.earliest(due) <= now

    def spend(self, requests: int, now: float) -> None:
        """Take note of a query that goes out now; it starts a round if none is under way."""
        if self._round_until == -math.inf:
            self._round_until = now + self._interval
        self.rate_allows = max(self.rate_allows, now) + requests / self._polling.requests_per_second
        self.next_round = now + self._interval

    def spend_spare(self, now: float) -> bool:
        """Take one request of the rate, outside of rounds; return whether one is to be had now."""
        if self.rate_allows > now:
            return False
        self.rate_allows = now + 1 / self._polling.requests_per_second
        return True

    def end_round(self, due: float, now: float) -> None:
        """End the round unless the next group, due then, still belongs to it and only the rate delays it."""
        if due >= self._round_until and due > now:
            self._round_until = -math.inf


class DueGroups:
    """The poll groups in the order of their due times, computed anew only for groups that changed."""

    def __init__(self, polling: Polling) -> None:
        self._polling = polling
        self._stale: dict[PollGroup, None] = {}  # a set that keeps the order
        self._heap: list[tuple[float, int, PollGroup]] = []
        """Some entries are outdated: their time is not their group's due time any more."""
        self._pushed = 0

    def __len__(self) -> int:
        return len(self._heap)

    def mark_stale(self, group: PollGroup) -> None:
        """Have the due time of a group computed anew before it counts."""
        self._stale[group] = None

    def first(self, now: float, next_round: float, tasks: int) -> PollGroup | None:
        """Return the group that is due first.

        Args:
            now: The time.
            next_round: When the next round may start: nothing is due before.
            tasks: How many tasks and groups there are, which bounds the heap.
        """
        self._refresh(self._stale, now, next_round)
        self._stale.clear()
        if len(self._heap) > _HEAP_SLACK + _HEAP_FACTOR * tasks:
            self._heap = [item for item in self._heap if item[0] == item[2].due and item[2].tasks]
            heapq.heapify(self._heap)
        while self._heap:
            due, _, group = self._heap[0]
            if due == group.due and group.tasks:
                return group
            heapq.heappop(self._heap)
        return None

    def _refresh(self, groups: Iterable[PollGroup], now: float, next_round: float) -> None:
        for group in groups:
            if not group.tasks:
                group.due = math.inf
            elif group.due > now:  # an overdue group keeps its turn
                price = group.price * self._polling.request_cost * _requests(group)
                earliest = max(now, group.not_before, next_round)
                group.due = group.due_time(price, earliest, self._polling.max_interval)
                self._pushed += 1
                heapq.heappush(self._heap, (group.due, self._pushed, group))
            group.changes = 0


def _requests(group: PollGroup) -> int:
    return math.ceil(len(group.tasks) / PAGE_SIZE_MAX) if group.form == "list" else 1
