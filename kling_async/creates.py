"""Runs creates: each waits its turn for slots, is sent by the client, and is never lost from sight.

The submitter awaits a future and nothing else, so cancelling it cancels no request on its way: a create that
was sent runs to its own end in the client's care. What an answer means is decided by `core.verdict`, whose
turn it is by `core.admission`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.core.admission import Phase, Ticket
from kling_async.core.verdict import Accepted, Again, Full, Lost, Refused
from kling_async.errors import (
    AmbiguousCreate,
    APIError,
    ClientClosed,
    KlingError,
    OutOfUnits,
    QueueTimeout,
    TransportError,
)
from kling_async.files import encode
from kling_async.poller import Live

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Mapping

    from kling_async.catalog import Endpoint
    from kling_async.core.verdict import CreateVerdict
    from kling_async.events import Hooks
    from kling_async.limiter import Limiter
    from kling_async.loops import Home
    from kling_async.options import Retry, Timeouts
    from kling_async.poller import Poller
    from kling_async.transport import Transport
    from kling_async.wire import TaskRequest

__all__ = ["Creates", "Job", "Unresolved"]

log = logging.getLogger("kling_async")


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """A create whose fate is unknown: its task may exist and be billed. Its slots are held."""

    endpoint: str
    external_task_id: str | None
    reason: str


class Job:
    """One submit on its way from the queue to the vendor."""

    __slots__ = (
        "body",
        "deadline",
        "endpoint",
        "external_task_id",
        "future",
        "more",
        "poller",
        "queue_timeout",
        "reason",
        "request",
        "retry",
        "sent",
        "ticket",
        "timeouts",
        "timer",
        "tries",
    )

    def __init__(
        self,
        request: TaskRequest[Any],
        endpoint: Endpoint[Any],
        external_task_id: str,
        more: Mapping[str, Any],
        poller: Poller,
        *,
        retry: Retry,
        timeouts: Timeouts,
        priority: int = 0,
        label: str = "",
        queue_timeout: float | None = None,
    ) -> None:
        self.request = request
        self.endpoint = endpoint
        self.external_task_id = external_task_id
        self.more = more
        self.poller = poller
        self.queue_timeout = queue_timeout
        self.retry = retry
        self.timeouts = timeouts
        self.ticket = Ticket(endpoint.weight(request), priority=priority, label=label, owner=self)
        self.future: asyncio.Future[Live] | None = None
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.body: bytes | None = None
        self.sent = False
        self.tries = 0
        self.reason = ""

    @property
    def left(self) -> bool:
        """Whether the submitter is gone."""
        return self.future is None or self.future.done()

    @property
    def queued(self) -> bool:
        """Whether it waits for slots."""
        return self.ticket.phase in (Phase.QUEUED, Phase.ASIDE)


class Creates:
    """All submits of a client that have not become tasks yet."""

    def __init__(
        self,
        home: Home,
        hooks: Hooks,
        transport: Transport,
        limiter: Limiter,
        rng: random.Random,
        *,
        queueing: bool,
    ) -> None:
        self._home = home
        self._hooks = hooks
        self._transport = transport
        self._limiter = limiter
        self._rng = rng
        self._queueing = queueing
        self._flying: set[Job] = set()
        self._unresolved: dict[str, tuple[Job, Unresolved]] = {}
        self.on_out_of_units: Callable[[], None] = lambda: None
        limiter.on_admit = lambda ticket: self._send(ticket.owner)
        limiter.on_purged = lambda ticket, error: _fail(ticket.owner, error)
        home.on_move.append(self._moved)

    async def submit(self, job: Job) -> Live:
        """Wait for slots, create, and return the task.

        Raises:
            KlingError: It was refused, or its fate is unknown.
        """
        job.future = self._home.enter().create_future()
        if job.queue_timeout is not None:
            job.deadline = self._home.time() + job.queue_timeout
            job.timer = self._home.call_at(job.deadline, lambda: self._overdue(job))
        live: Live | None = None
        try:
            self._tell("queued", job)
            self._limiter.enter(job.endpoint.pool, job.ticket)
            live = await job.future
            return live
        finally:
            if live is None:
                self._tell("left", job)
            if job.timer is not None:
                job.timer.cancel()
            if job.queued:
                self._limiter.leave(job.endpoint.pool, job.ticket)

    def unresolved(self) -> list[Unresolved]:
        """Return the creates whose fate is unknown."""
        return [entry for _, entry in self._unresolved.values()]

    def abandon(self, external_task_id: str) -> bool:
        """Give one up: its slots are free. False if there is none of that id."""
        ticket = self.claim(external_task_id)
        if ticket is None:
            return False
        self._limiter.release(ticket.owner.endpoint.pool, ticket)
        return True

    def fail_queued(self, error: KlingError) -> None:
        """Let everybody who queues fail."""
        for pool in self._limiter.pools.values():
            for ticket in pool.tickets():
                if ticket.phase in (Phase.QUEUED, Phase.ASIDE):
                    _fail(ticket.owner, error)

    # -- one create

    def _send(self, job: Job) -> None:
        self._tell("admitted", job)
        self._flying.add(job)
        self._home.spawn(self._run(job), f"create {job.external_task_id}", lasting=True)

    async def _run(self, job: Job) -> None:
        try:
            if job.body is None:
                job.body = await encode(job.request, job.more, self._home)
            job.sent = True
            verdict = await self._transport.create(
                job.endpoint.path,
                job.body,
                endpoint=job.endpoint.name,
                external_task_id=job.external_task_id,
                timeouts=job.timeouts,
            )
        except KlingError as error:  # the input files changed, or the loop is gone
            verdict = Refused(error)
        except BaseException as error:
            # cancelled with its loop, or a bug: if anything was sent, the task may exist
            self._interrupted(job, f"{type(error).__name__} while it was on its way")
            raise
        finally:
            self._flying.discard(job)
        self._conclude(job, verdict)

    def _conclude(self, job: Job, verdict: CreateVerdict) -> None:
        pool = job.endpoint.pool
        match verdict:
            case Accepted(record):
                self._accepted(job, record)
            case Full(error) if self._queueing:
                left = job.left
                self._limiter.refused(pool, job.ticket, drop=left)
                self._requeued(job, error, None if left else "refused")
            case Full(error):
                self._limiter.withdrawn(pool, job.ticket)
                _fail(job, error)
            case Again(error, after):
                self._again(job, error, after)
            case Lost(error):
                self._lost(job, str(error))
            case Refused(error, closes):
                if closes:  # first, or what queues next would still be sent
                    self._limiter.close(error, pool if closes == "pool" else None)
                self._limiter.withdrawn(pool, job.ticket, opens=not closes)
                _fail(job, error)
                if isinstance(error, OutOfUnits):
                    self.on_out_of_units()
            case _:  # pragma: no cover - the transport renews tokens itself
                raise AssertionError(verdict)

    def _accepted(self, job: Job, record: Any) -> None:
        if record.external_task_id is None and job.endpoint.takes_external_id:
            record = msgspec.structs.replace(record, external_task_id=job.external_task_id)
        live = Live(job.endpoint, record.task_id, request=job.request, record=record, ticket=job.ticket)
        self._limiter.accepted(job.endpoint.pool, job.ticket)
        live = job.poller.watch(live)
        self._tell("created", job, task_id=record.task_id, status=record.status)
        job.body = None
        if job.future is not None and not job.future.done():
            job.future.set_result(live)

    def _again(self, job: Job, error: KlingError, after: float | None) -> None:
        job.tries += 1
        answered = isinstance(error, APIError)
        if job.tries >= job.retry.max_tries:
            self._limiter.withdrawn(job.endpoint.pool, job.ticket, opens=answered)
            _fail(job, error)
            return
        ceiling = min(job.retry.cap, job.retry.base * 2.0 ** min(job.tries - 1, 30))
        pause = ceiling * (0.5 + self._rng.random() / 2) if after is None else after
        log.info("create %s was not made, again in %.1f s: %s", job.external_task_id, pause, error)
        left = job.left
        self._limiter.requeue(job.endpoint.pool, job.ticket, pause, drop=left, opens=answered)
        self._requeued(job, error, None if left else "queued")

    def _requeued(self, job: Job, error: KlingError, event: str | None) -> None:
        """Back in the queue; its time there may be over by now."""
        if event is not None:
            self._tell(event, job, error.message)
        job.reason = error.message
        if job.deadline is not None and self._home.time() >= job.deadline:
            self._overdue(job)

    def _overdue(self, job: Job) -> None:
        """The queue timeout ends what queues, never what is on its way."""
        if not job.queued:
            return
        self._limiter.leave(job.endpoint.pool, job.ticket)
        _fail(job, QueueTimeout(job.external_task_id, job.queue_timeout or 0.0, job.reason))

    def _lost(self, job: Job, reason: str) -> None:
        self._limiter.unknown(job.endpoint.pool, job.ticket)
        name = job.external_task_id
        known = name if job.endpoint.takes_external_id else None
        entry = Unresolved(endpoint=job.endpoint.name, external_task_id=known, reason=reason)
        self._unresolved[name] = (job, entry)
        job.body = None
        log.warning("the fate of create %s is unknown: %s", name, reason)
        _fail(job, AmbiguousCreate(f"the create's answer was lost: {reason}", external_task_id=known))

    def _interrupted(self, job: Job, reason: str) -> None:
        if job.ticket.phase is not Phase.SENT:
            return
        if job.sent:
            self._lost(job, reason)
        else:
            self._limiter.withdrawn(job.endpoint.pool, job.ticket, opens=False)
            _fail(job, ClientClosed("the client or its event loop ended before this was sent"))

    def claim(self, external_task_id: str | None) -> Ticket | None:
        """Take over the slots of a create of unknown fate."""
        job, _ = self._unresolved.pop(external_task_id or "", (None, None))
        return None if job is None else job.ticket

    def _moved(self) -> None:
        """The loop was replaced: what was on its way in it cannot be known any more."""
        for job in list(self._flying):
            self._flying.discard(job)
            self._interrupted(job, "its event loop ended while it was on its way")

    def _tell(self, kind: Any, job: Job, detail: str = "", **facts: Any) -> None:
        if self._hooks:
            self._hooks.emit(
                kind,
                self._home.time(),
                endpoint=job.endpoint.name,
                pool=job.endpoint.pool,
                external_task_id=job.external_task_id,
                detail=detail,
                **facts,
            )


def _fail(job: Job, error: KlingError) -> None:
    if job.future is not None and not job.future.done():
        if isinstance(error, TransportError | APIError):
            error.external_task_id = job.external_task_id
        job.future.set_exception(error)
        job.future.exception()  # seen: a submitter that is being cancelled will not look
