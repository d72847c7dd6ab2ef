"""Submitter: run creates whose slots are taken. Each is sent by the client, and never lost from sight.

No caller runs a create, so cancelling a caller cancels no request on its way: a create that was sent runs to
its own end in the client's care. What an answer means is decided by `core.verdict`; an answer that was lost
is the business of `recovery`, what waits for slots that of `queueing`.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kling_async.core.queue import Phase
from kling_async.core.verdict import Accepted, Again, Full, Lost, Refused, Unknown
from kling_async.errors import (
    AmbiguousCreate,
    APIError,
    ClientClosed,
    ExternalIdTaken,
    JournalError,
    KlingError,
    OutOfUnits,
    TaskWithdrawn,
    TransportError,
)
from kling_async.http.failures import CancelledUnsent
from kling_async.orchestrator.bodies import encode
from kling_async.orchestrator.model_pools import model_of
from kling_async.orchestrator.submission import SentTooLate, SlotsLapsed, SubmissionState
from kling_async.orchestrator.tracked import TrackedTask

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable

    from kling_async.core.queue import Ticket
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.events import EventKind, Hooks
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.departures import Departures
    from kling_async.orchestrator.recovery import Recovery
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.orchestrator.submission import Submission
    from kling_async.runtime.loop import LoopScope

__all__ = ["Submitter", "UnitsListener"]

_LATE_MAX: Final = 10
"""Connections of a create in a row that may be made too late for its first byte."""


class UnitsListener(Protocol):
    """Act on a change of the account's units (`kling_async.orchestrator.packs.PackReader`)."""

    def units_changed(self) -> None:
        """Find out soon what the account has now."""


class Submitter:
    """All submissions of a client that have not become tasks yet."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        transport: Transport,
        limiter: SlotKeeper,
        recovery: Recovery,
        departures: Departures,
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
        self._departures = departures
        self._units = units
        self._rng = rng
        self._queueing = queueing
        self._in_flight: dict[Submission, asyncio.Task[None]] = {}
        scope.subscribe(self)

    @property
    def in_flight(self) -> int:
        """How many creates are on their way, or looked for after their answer was lost."""
        return len(self._in_flight)

    def adopt(self, submission: Submission, found: Accepted) -> None:
        """Look after the task of an unresolved create that was found after all."""
        self._made(submission, found)

    def told(self, submission: Submission, found: Accepted) -> None:
        """Look after the task of a create on its way: a callback was faster than its answer.

        The answer would tell nothing more, whatever it says, so it is not waited for any more.
        """
        work = self._in_flight.pop(submission, None)
        self._conclude(submission, found)
        if work is not None:
            work.cancel()

    # -- one create

    def start(self, submission: Submission) -> None:
        """Send a create whose slots are taken."""
        wait = submission.wait
        wait.waited = self._scope.time() - wait.since
        submission.move(SubmissionState.PREPARING)
        work, name = self._run(submission), f"create {submission.external_task_id}"
        task = self._in_flight[submission] = self._scope.spawn(work, name, lasting=True)
        task.add_done_callback(lambda task: self._given_back(submission, task))
        self._emit("admitted", submission, waited=wait.waited)

    def _given_back(self, submission: Submission, task: asyncio.Task[None]) -> None:
        """Settle a create whose work was cancelled before its first step."""
        if self._in_flight.get(submission) is task:
            del self._in_flight[submission]
            self._interrupted(submission, "it was cancelled")

    async def _run(self, submission: Submission) -> None:
        try:
            first = await self._first(submission)
            verdict = await self._recovery.resolve(submission, first, self._send)
        except SlotsLapsed:
            self._lapsed(submission)
            return
        except TaskWithdrawn as error:
            verdict = Refused(error)  # the batch's own decision; a doubt of before stays written down there
        except KlingError as error:  # the input files changed, the journal is lost, or the loop is gone
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
            await self._confirm(submission)
            return Lost(TransportError("an earlier run may have sent it", sent=True))
        return await self._send(submission)

    async def _confirm(self, submission: Submission) -> None:
        """Check that the slots that were granted still are: others may have been faster.

        Raises:
            SlotsLapsed: They are not.
        """
        if submission.ticket.phase is Phase.SENT and not await self._limiter.confirm(submission.ticket):
            raise SlotsLapsed("its slots were not used in time")

    async def _send(self, submission: Submission) -> CreateVerdict:
        """Send a create; its body is encoded once, and a repetition sends the same bytes."""
        if submission.state is SubmissionState.LOOKING_UP:
            submission.move(SubmissionState.PREPARING)
        create, hooks, attempts = submission.create, submission.hooks, submission.attempts
        if not hooks.may_send():
            raise TaskWithdrawn(submission.external_task_id)
        if attempts.body is None:
            attempts.body = await encode(create.request, create.extra_fields, self._scope, hooks.digests)
        if not attempts.sent:
            _look_at_caller(submission)  # files may have been read for long
            await self._confirm(submission)
            await hooks.before_send()
            attempts.begin(self._scope.now())
        else:
            await hooks.before_repeat()
        submission.move(SubmissionState.SENDING)
        attempts.sending(self._scope.time())
        try:
            verdict = await self._exchange(submission, attempts.body)
        except (TaskWithdrawn, SlotsLapsed, JournalError):  # before the first byte
            if not attempts.doubtful:
                attempts.refused()
                hooks.on_refused()
            raise
        self._limiter.judged(submission.ticket, verdict)  # before any look-up: others are sent meanwhile
        return await self._recovery.confirm(submission, verdict)

    async def _exchange(self, submission: Submission, body: bytes) -> CreateVerdict:
        """Send a create and judge the answer; nothing is sent that others may believe will never be."""
        create = submission.create
        for _ in range(_LATE_MAX):
            try:
                return await self._transport.create(
                    create.endpoint.create_path(create.request),
                    body,
                    endpoint=create.endpoint.name,
                    external_task_id=create.external_task_id,
                    timeouts=submission.settings.timeouts,
                    about=(submission,),
                    before_first_byte=partial(_first_byte, submission, weakref.WeakMethod(self._is_late)),
                )
            except SentTooLate as error:  # once ledger and journal are reached, they say whose this is
                if submission.ticket.phase is not Phase.SENT:
                    raise SlotsLapsed(error.message) from None
                await self._confirm(submission)
                await submission.hooks.before_repeat()
        return Again(TransportError("connecting takes longer than a create may wait for it", sent=False))

    def _is_late(self, submission: Submission) -> bool:
        """Tell whether ledger or journal were not reached for so long that nothing may be sent now."""
        if submission.hooks.is_late():
            return True
        by = self._limiter.send_by(submission.ticket)
        return by is not None and self._scope.time() > by

    # -- its end

    def _conclude(self, submission: Submission, verdict: Resolved) -> None:
        if isinstance(verdict, Accepted | Unknown):  # by a look-up, perhaps: that counts like an answer
            self._limiter.judged(submission.ticket, verdict)
        match verdict:
            case Accepted():
                self._made(submission, verdict)
            case Full(error):
                self._refused_by_full(submission, error)
            case Again(error, after):
                self._put_off(submission, error, after)
            case Unknown(error):
                self._unresolved(submission, str(error))
            case Refused():
                self._refused(submission, verdict)

    def _refused(self, submission: Submission, verdict: Refused) -> None:
        """End a create that the vendor, or its own side, has refused for good."""
        error, closes = verdict
        if closes:  # first, or what queues next would still be sent
            self._limiter.close(error, submission.endpoint.pool if closes == "pool" else None)
        self._limiter.free(submission.ticket, opens=submission.attempts.sent and not closes)
        if isinstance(error, TaskWithdrawn):
            self._departures.end(submission, partial(submission.withdraw, error))
        else:
            self._departures.refuse(submission, error)
        if isinstance(error, OutOfUnits):
            self._units.units_changed()
        if isinstance(error, ExternalIdTaken):  # by an earlier create of ours, perhaps
            self._recovery.hinted(submission.external_task_id)

    def _made(self, submission: Submission, found: Accepted) -> None:
        """Hand over a task that exists: by its answer, or found after the answer was lost."""
        create, record = submission.create, found.record
        if create.endpoint.takes_external_id:  # whatever the answer showed: we know what it carried
            record = msgspec.structs.replace(record, external_task_id=create.external_task_id)
        tracked = TrackedTask(
            create.endpoint,
            record.task_id,
            request=create.request,
            record=record,
            ticket=submission.ticket,
            aliases=found.ids - {record.task_id},
            callback_url=create.callback_url,
        )
        kind: EventKind = "created" if submission.state is SubmissionState.SENDING else "adopted"
        submission.accept(tracked)
        time = self._scope.time()  # our own clock knows when it began, whatever ``created_at`` says
        tracked.looks.seen_at = time
        if kind == "created":
            tracked.started = time
            self._limiter.accepted(submission.ticket, tracked)
        else:
            age = submission.attempts.age(time, self._scope.now())
            tracked.started = None if age is None else time - age
            tracked.ticket = self._ticket_of_found(submission.ticket, tracked, age or 0.0)
        if (spare := self._recovery.claim(tracked)) is not None:
            self._limiter.release(spare)  # an earlier create of unknown fate under this id: it is this task
        model = model_of(submission.create.request, submission.endpoint)
        self._emit(kind, submission, status=record.status, waited=submission.wait.waited, model=model)
        submission.attempts.body = None
        submission.hand_over(submission.watcher.watch(tracked))
        self._departures.pending.settled(submission, heard=True)

    def _ticket_of_found(self, ticket: Ticket, task: TrackedTask, age: float) -> Ticket:
        """Return the ticket of the slots of a task that was found after its create was in doubt.

        A create that left the queue in doubt holds none: its task takes some now. What held them for longer
        than a task's life takes none again.
        """
        if ticket.phase is Phase.GONE and age < self._limiter.life:
            return self._limiter.occupy(ticket.pool, ticket.weight, age, task)
        self._limiter.held_by(ticket, task)
        return ticket

    def _unresolved(self, submission: Submission, reason: str) -> None:
        if submission.ticket.phase is Phase.SENT:
            self._limiter.unknown(submission.ticket)
        self._departures.unresolved(submission, reason, self)

    def _refused_by_full(self, submission: Submission, error: KlingError) -> None:
        """Queue again after the account was full (1303): the caller sees nothing of it."""
        model = model_of(submission.create.request, submission.endpoint)
        self._emit("refused", submission, error=type(error).__name__, detail=error.message, model=model)
        if not self._queueing:
            self._limiter.free(submission.ticket)
            self._departures.refuse(submission, error)
            return
        drop = _back_to_queue(submission, error)
        self._limiter.refused(submission.ticket, drop=drop)
        self._dropped_or_queued(submission, drop=drop)

    def _put_off(self, submission: Submission, error: KlingError, after: float | None) -> None:
        """Queue again after an attempt that surely made nothing, as often as `Retry` allows."""
        attempts, retry = submission.attempts, submission.settings.retry
        attempts.count += 1
        answered = isinstance(error, APIError)
        if attempts.count >= retry.max_tries:
            self._limiter.free(submission.ticket, opens=answered)
            self._departures.refuse(submission, error)
            return
        pause = retry.pause(attempts.count - 1, self._rng.random()) if after is None else after
        drop = _back_to_queue(submission, error)
        if not drop:
            detail = f"again in {pause:.1f} s: {error.message}"
            self._emit("queued", submission, error=type(error).__name__, detail=detail)
        self._limiter.requeue(submission.ticket, pause, drop=drop, opens=answered)
        self._dropped_or_queued(submission, drop=drop)

    def _dropped_or_queued(self, submission: Submission, *, drop: bool) -> None:
        """End a refused create that nobody wants, or that queues again out of its time."""
        if drop:
            error = TaskWithdrawn(submission.external_task_id)
            self._departures.end(submission, partial(submission.withdraw, error))
        else:
            self._departures.check_deadline(submission, self)

    def _emit(self, kind: EventKind, submission: Submission, **facts: Any) -> None:
        """Emit an event of a create; what a listener raises that is no `Exception` goes to its caller.

        Raised here it would leave this create, or others that were admitted with it, half settled.
        """
        try:
            self._hooks.emit(kind, submission, **facts)
        except BaseException as error:  # noqa: BLE001 - SystemExit, say; the caller's task raises it
            submission.interrupt(error)

    def _lapsed(self, submission: Submission) -> None:
        """Queue again, in its place, after its slots went to others before they were used."""
        drop = submission.abandoned and not submission.attempts.doubtful
        if not drop:
            submission.move(SubmissionState.QUEUED)
        self._limiter.requeue(submission.ticket, 0.0, drop=drop, opens=False)
        self._dropped_or_queued(submission, drop=drop)

    def _interrupted(self, submission: Submission, reason: str) -> None:
        """Settle a create whose loop ended, or whose work failed, as far as that can be known."""
        if not submission.in_flight:
            return
        if submission.attempts.sent or submission.state is SubmissionState.LOOKING_UP:
            self._unresolved(submission, reason)
        else:
            self._limiter.free(submission.ticket, opens=False)
            error = ClientClosed("the client or its event loop ended before this was sent")
            self._departures.refuse(submission, error)

    def on_loop_replaced(self) -> None:
        """Settle what was on its way in the loop that ended."""
        for submission in list(self._in_flight):
            self._in_flight.pop(submission, None)
            self._interrupted(submission, "its event loop ended while it was on its way")


def _look_at_caller(submission: Submission) -> None:
    """Check, before the first byte, that somebody still waits for the task.

    Raises:
        TaskWithdrawn: The caller has left, and nothing was sent that may have made the task.
    """
    if submission.abandoned and not submission.attempts.doubtful:
        raise TaskWithdrawn(submission.external_task_id)


def _first_byte(submission: Submission, is_late: weakref.WeakMethod[Callable[[Submission], bool]]) -> None:
    """Look at caller and clock for the last time, and note that bytes go out: no way back from here.

    Args:
        submission: The create.
        is_late: Held weakly: a connection keeps its last body, and must not keep a client that was dropped.

    Raises:
        TaskWithdrawn: The caller has left.
        SentTooLate: The ledger or the journal was not reached for too long.
    """
    _look_at_caller(submission)
    late = is_late()
    if late is not None and late(submission):
        raise SentTooLate("the slot ledger or the journal was not reached in time")
    submission.attempts.written = True


def _back_to_queue(submission: Submission, error: KlingError) -> bool:
    """Let a refused create queue again; return whether to drop it instead: its caller has left."""
    submission.wait.reason = error.message
    if not submission.attempts.doubtful:
        submission.attempts.refused()
        submission.hooks.on_refused()
    abandoned = submission.abandoned  # a batch that is stopped cancels its submit in `on_refused`
    if not abandoned:
        submission.move(SubmissionState.QUEUED)
    return abandoned
