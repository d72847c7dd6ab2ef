"""Runs creates: each waits its turn for slots, is sent by the client, and is never lost from sight.

The submitter awaits a future and nothing else, so cancelling it cancels no request on its way: a create that
was sent runs to its own end in the client's care. What an answer means is decided by `core.verdict`, whose
turn it is by `core.admission`; an answer that was lost is `recovery`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kling_async.core.admission import Phase
from kling_async.core.verdict import Accepted, Again, Full, Lost, Refused, Unknown
from kling_async.errors import (
    APIError,
    ClientClosed,
    JournalError,
    KlingError,
    OutOfUnits,
    QueueTimeout,
    TransportError,
)
from kling_async.orchestrator.bodies import encode
from kling_async.orchestrator.submission import Submission, Unresolved, Withdrawn
from kling_async.orchestrator.tracked import TrackedTask

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.events import EventKind, Hooks
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.orchestrator.recovery import Recovery
    from kling_async.runtime.loop import LoopScope

__all__ = ["Submission", "Submitter", "Unresolved"]


class Submitter:
    """All submits of a client that have not become tasks yet."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        transport: Transport,
        limiter: Limiter,
        recovery: Recovery,
        rng: random.Random,
        *,
        queueing: bool,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._transport = transport
        self._limiter = limiter
        self._rng = rng
        self._queueing = queueing
        self._flying: set[Submission] = set()
        self._recovery = recovery
        self.on_out_of_units: Callable[[], None] = lambda: None
        limiter.on_admit = lambda ticket: self._send(ticket.owner)
        limiter.on_purged = lambda ticket, error: ticket.owner.fail(error)
        recovery.on_found = lambda job, found: self._made(job, found.record)
        scope.on_loop_replaced.append(self._moved)

    async def submit(self, job: Submission) -> TrackedTask:
        """Wait for slots, create, and return the task.

        Raises:
            KlingError: It was refused, or its fate is unknown.
        """
        job.future = self._scope.enter().create_future()
        if job.queue_timeout is not None:
            job.deadline = self._scope.time() + job.queue_timeout
            job.timer = self._scope.call_at(job.deadline, lambda: self._overdue(job))
        job.since = self._scope.time()
        try:
            self._hooks.emit("queued", job)
            try:
                self._limiter.enter(job.endpoint.pool, job.ticket)
            except KlingError as error:  # of a closed pool: it names the create that closed it, not this one
                job.fail(error)
            live = await job.future
        except BaseException as error:
            message = error.message if isinstance(error, KlingError) else ""
            self._hooks.emit("left", job, error=type(error).__name__, detail=message)
            raise
        finally:
            if job.timer is not None:
                job.timer.cancel()
            if job.queued:
                self._limiter.leave(job.endpoint.pool, job.ticket)
        return live

    @property
    def in_flight(self) -> int:
        """How many are on their way, or being looked for after their answer was lost."""
        return len(self._flying)

    def oldest_wait(self) -> float:
        """Return the seconds since the submit of the one that queues longest; 0 if none does."""
        heads = [ticket for pool in self._limiter.pools.values() if (ticket := pool.oldest()) is not None]
        now = self._scope.time()
        return max((now - ticket.owner.since for ticket in heads), default=0.0)

    def unresolved(self) -> list[Unresolved]:
        """Return the creates whose fate is unknown."""
        return self._recovery.entries()

    def abandon(self, external_task_id: str) -> bool:
        """Give one up: its slots are free. False if there is none of that id."""
        ticket = self._recovery.claim(external_task_id)
        if ticket is None:
            return False
        self._limiter.release(ticket.owner.endpoint.pool, ticket)
        return True

    def fail_queued(self, error: KlingError) -> None:
        """Let everybody who queues fail."""
        for pool in self._limiter.pools.values():
            for ticket in pool.tickets():
                if ticket.queued:
                    ticket.owner.fail(error)

    # -- one create

    def _send(self, job: Submission) -> None:
        job.waited = self._scope.time() - job.since
        self._hooks.emit("admitted", job, waited=job.waited)
        self._flying.add(job)
        self._scope.spawn(self._run(job), f"create {job.external_task_id}", lasting=True)

    async def _run(self, job: Submission) -> None:
        try:
            verdict = await self._recovery.resolve(job, await self._first(job), self._post)
        except (Withdrawn, JournalError) as error:
            verdict = Refused(error)  # the caller's own word; what was in doubt before stays so with him
        except KlingError as error:  # the input files changed, or the loop is gone
            verdict = Unknown(error) if job.doubt else Refused(error)
        except BaseException as error:
            # cancelled with its loop, or a bug: if anything was sent, the task may exist
            self._interrupted(job, f"{type(error).__name__} while it was on its way")
            raise
        finally:
            self._flying.discard(job)
        self._conclude(job, verdict)

    async def _first(self, job: Submission) -> CreateVerdict:
        """Send it, unless another run of the program may have: then it is looked for before."""
        if job.doubt and not job.sent:
            return Lost(TransportError("an earlier run may have sent it", sent=True))
        return await self._post(job)

    async def _post(self, job: Submission) -> CreateVerdict:
        """Send a create; its body is made once, and a repetition sends the same bytes."""
        if job.allowed is not None and not job.allowed():
            raise Withdrawn
        if job.body is None:
            job.body = await encode(job.request, job.more, self._scope, job.digests)
        if not job.sent:
            if job.before is not None:
                await job.before()
            job.sent, job.first_sent = True, self._scope.now()
        return await self._transport.create(
            job.endpoint.path,
            job.body,
            endpoint=job.endpoint.name,
            external_task_id=job.external_task_id,
            timeouts=job.timeouts,
            about=(job,),
        )

    def _conclude(self, job: Submission, verdict: Resolved) -> None:
        pool = job.endpoint.pool
        match verdict:
            case Accepted(record):
                self._made(job, record)
            case Full(error):
                self._full(job, error)
            case Again(error, after):
                self._again(job, error, after)
            case Unknown(error):
                self._unknown(job, str(error))
            case Refused(error, closes):
                if closes:  # first, or what queues next would still be sent
                    self._limiter.close(error, pool if closes == "pool" else None)
                self._free(job, opens=job.sent and not closes)
                job.fail(error)
                if isinstance(error, OutOfUnits):
                    self.on_out_of_units()

    def _full(self, job: Submission, error: KlingError) -> None:
        """The account was full (1303): the submit waits again, and nobody sees the error."""
        self._hooks.emit("refused", job, error=type(error).__name__, detail=error.message)
        if not self._queueing:
            self._free(job)
            job.fail(error)
            return
        job.reason = error.message
        _unsent(job)
        self._limiter.refused(job.endpoint.pool, job.ticket, drop=job.left)
        self._requeued(job)

    def _made(self, job: Submission, record: Any) -> None:
        """Its task exists: by its answer, or found after the answer was lost."""
        if record.external_task_id is None and job.endpoint.takes_external_id:
            record = msgspec.structs.replace(record, external_task_id=job.external_task_id)
        live = TrackedTask(
            job.endpoint, record.task_id, request=job.request, record=record, ticket=job.ticket
        )
        adopted = job.ticket.phase is not Phase.SENT
        if not adopted:
            self._limiter.accepted(job.endpoint.pool, job.ticket)
        job.task_id = record.task_id
        kind: EventKind = "adopted" if adopted else "created"
        self._hooks.emit(kind, job, status=record.status, waited=job.waited)
        job.ticket.owner = live
        live = job.poller.watch(live)
        job.body = None
        job.succeed(live)

    def _free(self, job: Submission, *, opens: bool = True) -> None:
        """It made nothing: its slots are free."""
        if job.ticket.phase is Phase.SENT:
            self._limiter.withdrawn(job.endpoint.pool, job.ticket, opens=opens)
        else:
            self._limiter.release(job.endpoint.pool, job.ticket)

    def _unknown(self, job: Submission, reason: str) -> None:
        if job.ticket.phase is Phase.SENT:
            self._limiter.unknown(job.endpoint.pool, job.ticket)
        self._recovery.keep(job, reason)

    def _again(self, job: Submission, error: KlingError, after: float | None) -> None:
        job.tries += 1
        answered = isinstance(error, APIError)
        if job.tries >= job.retry.max_tries:
            self._free(job, opens=answered)
            job.fail(error)
            return
        pause = job.retry.pause(job.tries - 1, self._rng.random()) if after is None else after
        job.reason = error.message
        _unsent(job)
        left = job.left
        if not left:
            detail = f"again in {pause:.1f} s: {error.message}"
            self._hooks.emit("queued", job, error=type(error).__name__, detail=detail)
        self._limiter.requeue(job.endpoint.pool, job.ticket, pause, drop=left, opens=answered)
        self._requeued(job)

    def _requeued(self, job: Submission) -> None:
        """Back in the queue; its time there may be over by now."""
        if job.deadline is not None and self._scope.time() >= job.deadline:
            self._overdue(job)

    def _overdue(self, job: Submission) -> None:
        """The queue timeout ends what queues, never what is on its way."""
        if not job.queued:
            return
        self._limiter.leave(job.endpoint.pool, job.ticket)
        job.fail(QueueTimeout(job.external_task_id, job.queue_timeout or 0.0, job.reason))

    def _interrupted(self, job: Submission, reason: str) -> None:
        if job.sent and job.ticket.phase in (Phase.SENT, Phase.HELD):
            self._unknown(job, reason)
        elif job.ticket.phase is Phase.SENT:
            self._limiter.withdrawn(job.endpoint.pool, job.ticket, opens=False)
            job.fail(ClientClosed("the client or its event loop ended before this was sent"))

    def _moved(self) -> None:
        """The loop was replaced: what was on its way in it cannot be known any more."""
        for job in list(self._flying):
            self._flying.discard(job)
            self._interrupted(job, "its event loop ended while it was on its way")


def _unsent(job: Submission) -> None:
    """All that was sent was surely refused: until the next attempt nothing of it can exist."""
    if not job.doubt:
        job.sent = False
        if job.put_off is not None:
            job.put_off()
