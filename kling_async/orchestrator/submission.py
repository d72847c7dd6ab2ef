"""One submit on its way from the queue to the vendor, as plain state that the drivers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.core.admission import Phase, Ticket
from kling_async.errors import (
    APIError,
    KlingError,
    Problem,
    QueueTimeout,
    RequestInvalid,
    TaskTimeout,
    TransportError,
)
from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping

    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.poller import Poller
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.wire.endpoints import Endpoint
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["Submission", "Unresolved", "Withdrawn", "check_order"]


class Withdrawn(KlingError):
    """`Submission.allowed` says that it is not to be sent after all."""


def check_order(priority: object = 0, label: object = "", queue_timeout: object = None) -> None:
    """Refuse what cannot be ordered with the rest: one odd priority would stop the queue for everybody.

    Raises:
        RequestInvalid: With every wrong argument.
    """
    wrong: list[Problem] = []
    if not isinstance(priority, int):
        wrong.append(Problem("priority", f"must be a whole number, not {type(priority).__name__}"))
    if not isinstance(label, str):
        wrong.append(Problem("label", f"must be a text, not {type(label).__name__}"))
    if queue_timeout is not None and not (isinstance(queue_timeout, int | float) and queue_timeout >= 0):
        wrong.append(Problem("queue_timeout", f"must be a number of seconds, not {queue_timeout!r:.40}"))
    if wrong:
        raise RequestInvalid("submit", wrong)


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """A create whose fate is unknown: its task may exist and be billed. Its slots are held."""

    endpoint: str
    external_task_id: str | None
    reason: str


class Submission:
    """One submit on its way from the queue to the vendor."""

    __slots__ = (
        "allowed",
        "before",
        "body",
        "callback_url",
        "deadline",
        "digests",
        "doubt",
        "elsewhere",
        "endpoint",
        "external_task_id",
        "first_sent",
        "future",
        "generated",
        "poller",
        "put_off",
        "queue_timeout",
        "reason",
        "request",
        "retry",
        "sent",
        "since",
        "task_id",
        "ticket",
        "timeouts",
        "timer",
        "tries",
        "waited",
    )

    def __init__(
        self,
        request: TaskRequest[Any],
        endpoint: Endpoint[Any],
        external_task_id: str,
        poller: Poller,
        *,
        callback_url: str | None,
        generated: bool,
        retry: Retry,
        timeouts: Timeouts,
        priority: int = 0,
        label: str = "",
        queue_timeout: float | None = None,
    ) -> None:
        self.request = request
        self.endpoint = endpoint
        self.external_task_id = external_task_id
        self.generated = generated
        """Whether the id is ours: then whatever carries it is ours too."""
        self.callback_url = callback_url
        self.poller = poller
        self.queue_timeout = queue_timeout
        self.retry = retry
        self.timeouts = timeouts
        self.ticket = Ticket(endpoint.weight(request), priority=priority, label=label, owner=self)
        self.future: asyncio.Future[TrackedTask] | None = None
        self.task_id: str | None = None
        """The vendor's, once made."""
        self.since = 0.0
        """When it was submitted, by the client's clock."""
        self.waited = 0.0
        """Seconds from then to its latest admission."""
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.allowed: Callable[[], bool] | None = None
        """Asked before each attempt; False: it is not to be sent after all."""
        self.before: Callable[[], Awaitable[None]] | None = None
        """Awaited before the first byte, anew after each `put_off`; what it raises ends the create unsent."""
        self.put_off: Callable[[], None] | None = None
        """Called when what was sent was surely refused, and it queues again."""
        self.digests: Mapping[Media, str] | None = None
        """SHA-256 of files whose content must still be that one when they are read."""
        self.body: bytes | None = None
        self.sent = False
        self.first_sent = 0.0
        """Wall time of the first attempt."""
        self.doubt = False
        """An answer was lost: refusals may be about our own task."""
        self.elsewhere = False
        """What may have been sent was sent under another key, maybe of another account."""
        self.tries = 0
        self.reason = ""

    @property
    def more(self) -> dict[str, str]:
        """What the call adds to the request's own fields."""
        more = {"external_task_id": self.external_task_id} if self.endpoint.takes_external_id else {}
        return {**more, "callback_url": self.callback_url} if self.callback_url else more

    @property
    def left(self) -> bool:
        """Whether the submitter is gone."""
        return not is_pending(self.future)

    @property
    def queued(self) -> bool:
        """Whether it waits for slots."""
        return self.ticket.queued

    @property
    def in_doubt(self) -> bool:
        """Whether a task of it may exist that nobody has seen."""
        return self.doubt or self.task_id is not None or self.ticket.phase in (Phase.SENT, Phase.HELD)

    def fail(self, error: KlingError) -> None:
        """Raise to the submitter, if it is still there."""
        if self.future is not None and is_pending(self.future):
            if isinstance(error, TransportError | APIError):
                error.external_task_id = self.external_task_id
            self.future.set_exception(error)
            self.future.exception()  # seen: a submitter that is being cancelled will not look

    def out_of_time(self, timeout: float) -> TaskTimeout | QueueTimeout:
        """Return the error for a caller who waited long enough, by how far this has come."""
        if self.ticket.phase in (Phase.SENT, Phase.HELD):
            return TaskTimeout("", self.external_task_id, timeout)
        return QueueTimeout(self.external_task_id, timeout, self.reason)

    def succeed(self, live: TrackedTask) -> None:
        """Hand the task to the submitter, if it is still there."""
        if self.future is not None and is_pending(self.future):
            self.future.set_result(live)
