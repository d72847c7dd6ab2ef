"""The poller's log: warnings about queries that fail, and about tasks that behave unlike others.

Silence would look like a task that takes long, and a line for each failed query would drown the rest. So the
first failure of a kind is told, and the recovery.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kling_async.core.status import is_known_status
from kling_async.errors import APIError, BadResponse
from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kling_async.errors import KlingError
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["PollLog"]

log = logging.getLogger("kling_async.polling")


class PollLog:
    """Tells each kind of trouble once.

    Args:
        scope: The clock.
        host: The host that is asked.
    """

    def __init__(self, scope: LoopScope, host: str) -> None:
        self._scope = scope
        self._host = host
        self._since: dict[str, float] = {}
        """When each kind of failure began that still lasts."""
        self._unknown: set[str] = set()
        """Unknown status words that were told."""

    def failed(self, error: KlingError, tasks: Sequence[TrackedTask]) -> None:
        """Warn of a failed query, unless others fail in the same way just now."""
        kind = type(error).__name__
        if isinstance(error, APIError | BadResponse):
            kind += f" {error.http_status}" + (f" {error.code}" if isinstance(error, APIError) else "")
        if kind in self._since:
            return
        self._since[kind] = self._scope.time()
        parts = self._host, len(tasks), error
        log.warning("no answer from %s about %d tasks: %s; asking again", *parts, extra=facts(*tasks))

    def answered(self) -> None:
        """Tell that queries are answered again, if they were not."""
        if self._since:
            seconds = self._scope.time() - min(self._since.values())
            self._since.clear()
            log.warning("%s answers again, after %.0f s", self._host, seconds, extra=facts())

    def unreadable(self, error: KlingError, tasks: Sequence[TrackedTask]) -> None:
        """Warn that answers about some tasks cannot be read for the third time in a row."""
        text = "three answers in a row about %d tasks cannot be read: %s; asking again"
        log.warning(text, len(tasks), error, extra=facts(*tasks))

    def wall(self, error: KlingError, task: TrackedTask) -> BadResponse:
        """Return the error for waiters of a task that somebody before the vendor has refused for long."""
        status = error.http_status if isinstance(error, APIError | BadResponse) else 0
        reason = f"{self._host} has refused all queries of task {task.id} for 15 minutes, without a code"
        return BadResponse(reason, http_status=status)

    def seen(self, task: TrackedTask, record: TaskRecord) -> None:
        """Warn of a status word that is not known."""
        if not is_known_status(record.status) and record.status not in self._unknown:
            self._unknown.add(record.status)
            word = record.status[:50]
            log.warning("unknown task status %r counts as running", word, extra=facts(task))

    def strange(self, tasks: Sequence[TrackedTask], records: Mapping[TrackedTask, TaskRecord]) -> None:
        """Warn that the status of some tasks is not known for the third time in a row."""
        if tasks:
            results = sum(bytes(records[task].result_data) != b"null" for task in tasks)
            text = (
                "three answers in a row about %d tasks show a status that is not known (%d show a result); "
            )
            text += "they count as running, so a wait without a deadline may not end"
            log.warning(text, len(tasks), results, extra=facts(*tasks))

    def late(self, task: TrackedTask, end: float | None) -> None:
        """Warn once of a task that runs beyond ``end``, while somebody waits for it without a deadline.

        Args:
            task: The task.
            end: When nearly all tasks like it would have ended; None if that is not known.
        """
        if end is not None and self._scope.time() > end:
            task.waiters.warned_late = True
            text = "task %s takes longer than 99 in 100 like it; it is waited for without a deadline"
            log.warning(text, task.id, extra=facts(task))
