"""Passive schedule: leave it to another process to ask about the tasks of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.core.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from kling_async.core.poll_groups import PolledTask
    from kling_async.core.queries import StatusQuery
    from kling_async.core.rounds import Rounds
    from kling_async.core.schedule_parts import ScheduleParts

__all__ = ["LedgerWants", "PassiveSchedule"]

_LAG: Final = 1.0
"""Seconds by which a task may have ended before the process that asks sees it, about."""


class LedgerWants(Protocol):
    """Takes which tasks somebody here waits for, knows which have ended (`ledger.shared.SharedLimiter`)."""

    def want(self, task: object, wanted: bool, /) -> None:
        """Note whether somebody here waits for the end of a task."""

    def has_ended(self, task: Hashable, /) -> bool:
        """Tell whether another process has seen a task of this one ended."""
        ...


class PassiveSchedule(Schedule):
    """A schedule of tasks that another process asks about.

    Only tasks that the ledger does not know yet, those that are nudged, and those that were seen ended
    elsewhere are asked about here: the last until the end is seen here, too.
    """

    def __init__(self, parts: ScheduleParts, rounds: Rounds, ledger: LedgerWants) -> None:
        super().__init__(parts)
        self._rounds = rounds
        self._ledger = ledger
        self._waiting: dict[Hashable, int] = {}
        self._asked_here: dict[Hashable, PolledTask] = {}

    def add(self, key: Hashable, *, at_once: bool = False, **facts: Any) -> None:
        """Know a task; one of which nothing is known yet is asked about here."""
        super().add(key, at_once=at_once, **facts)
        if at_once:
            self._ask_here(key)

    def remove(self, key: Hashable) -> None:
        """Forget a task."""
        self._asked_here.pop(key, None)
        super().remove(key)

    def add_waiter(self, key: Hashable) -> PolledTask:
        """Count one waiter more for a task."""
        self._waiting[key] = self._waiting.get(key, 0) + 1
        self._want(key)
        return self._tasks[key]

    def remove_waiter(self, task: PolledTask) -> None:
        """Count one waiter less."""
        left = self._waiting.pop(task.key, 1) - 1
        if left:
            self._waiting[task.key] = left
        self._want(task.key)

    def _want(self, key: Hashable) -> None:
        self._ledger.want(key, key in self._waiting)

    def set_contention(self, pool: str, contended: bool) -> bool:  # noqa: ARG002 - as `Schedule` says
        """Change nothing: whoever asks for all knows what is queued."""
        return False

    def hurry(self, key: Hashable, now: float) -> None:
        """Ask about this task as soon as the rates allow."""
        polled = self._tasks.get(key)
        if polled is not None:
            if self._ledger.has_ended(key):  # a moment ago: that teaches how long such tasks take
                polled.idleness.seen_running(max(polled.idleness.looked, now - _LAG))
            self._ask_here(key)
        super().hurry(key, now)

    def told(self, key: Hashable, now: float) -> None:
        """Take the end of a task without a query of this process; it teaches how long such tasks take."""
        polled = self._tasks.get(key)
        if polled is not None:
            polled.idleness.seen_running(max(polled.idleness.looked, now - _LAG))
            if self._ledger.has_ended(key):
                polled.idleness.callback = None  # it was no callback that told the end
        super().told(key, now)

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; what runs still is left to the process that asks for all."""
        super().answered(query, running, ended, now)
        for key in running:
            if not self._ledger.has_ended(key) and (polled := self._asked_here.pop(key, None)) is not None:
                super().remove_waiter(polled)
                self._want(key)

    def _ask_here(self, key: Hashable) -> None:
        if key not in self._asked_here:
            self._asked_here[key] = super().add_waiter(key)
