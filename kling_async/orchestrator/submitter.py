"""Submitter: run creates. Each waits its turn for slots, is sent by the client, and is never lost from sight.

The caller awaits a future and nothing else, so cancelling it cancels no request on its way: a create that
was sent runs to its own end in the client's care. What an answer means is decided by `core.verdict`, whose
turn it is by `core.admission`; an answer that was lost is the business of `recovery`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from kling_async.core.queue import Phase
from kling_async.core.verdict import Accepted, Again, Full, Lost, Refused, Unknown
from kling_async.errors import (
    AmbiguousCreate,
    APIError,
    ClientClosed,
    JournalError,
    KlingError,
    OutOfUnits,
    QueueTimeout,
    TransportError,
)
from kling_async.http.failures import CancelledUnsent
from kling_async.orchestrator.attempts import Evidence
from kling_async.orchestrator.bodies import encode
from kling_async.orchestrator.submission import SubmissionState, Withdrawn
from kling_async.orchestrator.tracked import TrackedTask

if TYPE_CHECKING:
    import random

    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.events import EventKind, Hooks
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.orchestrator.recovery import Recovery
    from kling_async.orchestrator.submission import Submission
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Submitter", "UnitsListener"]


class UnitsListener(Protocol):
    """Act on a change of the account's units (`kling_async.orchestrator.packs.PackReader`)."""

    def units_changed(self) -> None:
        """Find out soon what the account has now."""


class _Claim:
    """One submission's claim on slots: what the limiter decides about it comes here."""

    __slots__ = ("_submitter", "subject")

    def __init__(self, submitter: Submitter, submission: Submission) -> None:
        self._submitter = submitter
        self.subject = submission

    def admitted(self) -> None:
        self._submitter.start(self.subject)

    def purged(self, error: KlingError) -> None:
        self.subject.refuse(error)


class Submitter:
    """All submissions of a client that have not become tasks yet."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        transport: Transport,
        limiter: Limiter,
        recovery: Recovery,
        units: UnitsListener,
        rng: random.Random,
        *,
        queueing: bool,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._transport = transport
        self._limiter = limiter
        self._recovery = recovery
        self._units = units
        self._rng = rng
        self._queueing = queueing
        self._in_flight: dict[Submission, asyncio.Task[None]] = {}
        scope.subscribe(self)

    @property
    def in_flight(self) -> int:
        """How many creates are on their way, or looked for after their answer was lost."""
        return len(self._in_flight)

    async def submit(self, submission: Submission) -> TrackedTask:
        """Wait for slots, create, and return the task.

        Raises:
            KlingError: It was refused, or its fate is unknown.
        """
        loop = self._scope.enter()
        await asyncio.sleep(0)  # a caller who is cancelled, or whose time is over already, gets no task
        submission.future = loop.create_future()
        wait = submission.wait
        wait.start(self._scope.time())
        if wait.deadline is not None:
            wait.timer = self._scope.call_at(wait.deadline, lambda: self._overdue(submission))
        submission.move(SubmissionState.QUEUED)
        try:
            self._hooks.emit("queued", submission)
            try:
                self._limiter.enter(submission.endpoint.pool, submission.ticket, _Claim(self, submission))
            except KlingError as error:  # of a closed pool: it names the create that closed it, not this one
                submission.refuse(error)
            tracked = await submission.future
        except BaseException as error:
            message = error.message if isinstance(error, KlingError) else ""
            self._hooks.emit("left", submission, error=type(error).__name__, detail=message)
            raise
        finally:
            if wait.timer is not None:
                wait.timer.cancel()
            if submission.queued:
                self._leave_queue(submission, None)
        return tracked

    def adopt(self, submission: Submission, record: TaskRecord) -> None:
        """Look after the task of an unresolved create that was found after all."""
        self._made(submission, record)

    # -- one create

    def start(self, submission: Submission) -> None:
        """Send a create whose slots are taken."""
        wait = submission.wait
        wait.waited = self._scope.time() - wait.since
        submission.move(SubmissionState.PREPARING)
        self._hooks.emit("admitted", submission, waited=wait.waited)
        work, name = self._run(submission), f"create {submission.external_task_id}"
        task = self._in_flight[submission] = self._scope.spawn(work, name, lasting=True)
        task.add_done_callback(lambda task: self._given_back(submission, task))

    def _given_back(self, submission: Submission, task: asyncio.Task[None]) -> None:
        """Settle a create whose work was cancelled before its first step."""
        if self._in_flight.get(submission) is task:
            del self._in_flight[submission]
            self._interrupted(submission, "it was cancelled")

    async def _run(self, submission: Submission) -> None:
        try:
            first = await self._first(submission)
            verdict = await self._recovery.resolve(submission, first, self._send)
        except (Withdrawn, JournalError) as error:
            verdict = Refused(error)  # the batch's own decision; a doubt of before stays written down there
        except KlingError as error:  # the input files changed, or the loop is gone
            verdict = Unknown(error) if submission.attempts.doubtful else Refused(error)
        except BaseException as error:
            # cancelled with its loop, or a bug: if anything was sent, the task may exist
            if isinstance(error, CancelledUnsent) and not submission.attempts.doubtful:
                submission.attempts.refused()
            self._interrupted(submission, f"{type(error).__name__} while it was on its way")
            raise
        finally:
            self._in_flight.pop(submission, None)
        try:
            self._conclude(submission, verdict)
        except BaseException as error:  # a bug: its caller must not wait for ever
            self._interrupted(submission, f"{type(error).__name__} while it was settled")
            name = submission.external_task_id
            submission.tell(AmbiguousCreate("the create's answer was lost", external_task_id=name))
            raise

    async def _first(self, submission: Submission) -> CreateVerdict:
        """Send a create, unless another run of the program may have: then it is looked for before."""
        attempts = submission.attempts
        if attempts.doubtful and not attempts.sent:
            return Lost(TransportError("an earlier run may have sent it", sent=True))
        return await self._send(submission)

    async def _send(self, submission: Submission) -> CreateVerdict:
        """Send a create; its body is encoded once, and a repetition sends the same bytes."""
        if submission.state is SubmissionState.LOOKING_UP:
            submission.move(SubmissionState.PREPARING)
        create, hooks, attempts = submission.create, submission.hooks, submission.attempts
        if not hooks.may_send():
            raise Withdrawn
        if attempts.body is None:
            attempts.body = await encode(create.request, create.extra_fields, self._scope, hooks.digests)
        if not attempts.sent:
            _look_at_caller(submission)  # files may have been read for long
            await hooks.before_send()
            try:
                _look_at_caller(submission)
            except Withdrawn:
                hooks.on_refused()
                raise
            attempts.begin(self._scope.now())
        submission.move(SubmissionState.SENDING)
        verdict = await self._transport.create(
            create.endpoint.path,
            attempts.body,
            endpoint=create.endpoint.name,
            external_task_id=create.external_task_id,
            timeouts=submission.settings.timeouts,
            about=(submission,),
        )
        self._limiter.judged(submission.ticket, verdict)  # before any look-up: others are sent meanwhile
        return verdict

    # -- its end

    def _conclude(self, submission: Submission, verdict: Resolved) -> None:
        if isinstance(verdict, Accepted | Unknown):  # by a look-up, perhaps: that counts like an answer
            self._limiter.judged(submission.ticket, verdict)
        match verdict:
            case Accepted(record):
                self._made(submission, record)
            case Full(error):
                self._refused_by_full(submission, error)
            case Again(error, after):
                self._put_off(submission, error, after)
            case Unknown(error):
                self._unresolved(submission, str(error))
            case Refused(error, closes):
                if closes:  # first, or what queues next would still be sent
                    self._limiter.close(error, submission.endpoint.pool if closes == "pool" else None)
                self._limiter.free(submission.ticket, opens=submission.attempts.sent and not closes)
                submission.refuse(error)
                if isinstance(error, OutOfUnits):
                    self._units.units_changed()

    def _made(self, submission: Submission, record: TaskRecord) -> None:
        """Hand over a task that exists: by its answer, or found after the answer was lost."""
        create = submission.create
        if record.external_task_id is None and create.endpoint.takes_external_id:
            record = msgspec.structs.replace(record, external_task_id=create.external_task_id)
        tracked = TrackedTask(
            create.endpoint,
            record.task_id,
            request=create.request,
            record=record,
            ticket=submission.ticket,
            callback_url=create.callback_url,
        )
        kind: EventKind = "created" if submission.state is SubmissionState.SENDING else "adopted"
        submission.move(SubmissionState.ACCEPTED)
        if kind == "created":
            tracked.started = self._scope.time()  # our own clock knows it, whatever ``created_at`` says
            self._limiter.accepted(submission.ticket, tracked)
        else:
            self._limiter.held_by(submission.ticket, tracked)
        submission.task_id = record.task_id
        self._hooks.emit(kind, submission, status=record.status, waited=submission.wait.waited)
        submission.attempts.body = None
        submission.hand_over(submission.watcher.watch(tracked))

    def _unresolved(self, submission: Submission, reason: str) -> None:
        if submission.ticket.phase is Phase.SENT:
            self._limiter.unknown(submission.ticket)
        self._recovery.keep(submission, reason, self)

    def _refused_by_full(self, submission: Submission, error: KlingError) -> None:
        """Queue again after the account was full (1303): the caller sees nothing of it."""
        self._hooks.emit("refused", submission, error=type(error).__name__, detail=error.message)
        if not self._queueing:
            self._limiter.free(submission.ticket)
            submission.refuse(error)
            return
        drop = _back_to_queue(submission, error)
        self._limiter.refused(submission.ticket, drop=drop)
        self._after_requeue(submission)

    def _put_off(self, submission: Submission, error: KlingError, after: float | None) -> None:
        """Queue again after an attempt that surely made nothing, as often as `Retry` allows."""
        attempts, retry = submission.attempts, submission.settings.retry
        attempts.count += 1
        answered = isinstance(error, APIError)
        if attempts.count >= retry.max_tries:
            self._limiter.free(submission.ticket, opens=answered)
            submission.refuse(error)
            return
        pause = retry.pause(attempts.count - 1, self._rng.random()) if after is None else after
        drop = _back_to_queue(submission, error)
        if not drop:
            detail = f"again in {pause:.1f} s: {error.message}"
            self._hooks.emit("queued", submission, error=type(error).__name__, detail=detail)
        self._limiter.requeue(submission.ticket, pause, drop=drop, opens=answered)
        self._after_requeue(submission)

    def _after_requeue(self, submission: Submission) -> None:
        """End a submission whose time in the queue was over while its create was on its way."""
        deadline = submission.wait.deadline
        if deadline is not None and self._scope.time() >= deadline:
            self._overdue(submission)

    def _overdue(self, submission: Submission) -> None:
        """End what queues after its queue timeout, never what is on its way."""
        if not submission.queued:
            return
        wait = submission.wait
        reason = self._limiter.holds.reason(submission.ticket) or wait.reason
        late = QueueTimeout(submission.external_task_id, wait.timeout or 0.0, reason)
        self._leave_queue(submission, late)

    def _leave_queue(self, submission: Submission, error: KlingError | None) -> None:
        """Take a submission out of the queue; one whose earlier attempt is in doubt is looked for later."""
        self._limiter.leave(submission.ticket)
        if submission.attempts.evidence is Evidence.LOST:
            self._recovery.keep(submission, submission.wait.reason, self)
        else:
            submission.withdraw(error)

    def _interrupted(self, submission: Submission, reason: str) -> None:
        """Settle a create whose loop ended, or whose work failed, as far as that can be known."""
        if not submission.in_flight:
            return
        if submission.attempts.sent or submission.state is SubmissionState.LOOKING_UP:
            self._unresolved(submission, reason)
        else:
            self._limiter.free(submission.ticket, opens=False)
            submission.refuse(ClientClosed("the client or its event loop ended before this was sent"))

    def on_loop_replaced(self) -> None:
        """Settle what was on its way in the loop that ended."""
        for submission in list(self._in_flight):
            self._in_flight.pop(submission, None)
            self._interrupted(submission, "its event loop ended while it was on its way")


def _look_at_caller(submission: Submission) -> None:
    """Check, before the first byte, that somebody still waits for the task.

    Raises:
        Withdrawn: The caller has left, and nothing was sent that may have made the task.
    """
    if submission.abandoned and not submission.attempts.doubtful:
        raise Withdrawn


def _back_to_queue(submission: Submission, error: KlingError) -> bool:
    """Note that a refused create is to queue again; return whether to drop it: its caller has left."""
    submission.wait.reason = error.message
    if not submission.attempts.doubtful:
        submission.attempts.refused()
        submission.hooks.on_refused()
    abandoned = submission.abandoned  # a batch that is stopped cancels its submit in `on_refused`
    submission.move(SubmissionState.WITHDRAWN if abandoned else SubmissionState.QUEUED)
    return abandoned
