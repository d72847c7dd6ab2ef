"""Queueing: take submissions into the queue, and let callers wait for them, share them and withdraw them.

A caller awaits a future and nothing else. What is admitted goes to `submitter`, which runs the create.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from kling_async.errors import KlingError, QueueFull, TaskWithdrawn
from kling_async.orchestrator.submission import SubmissionState

if TYPE_CHECKING:
    from kling_async.core.verdict import Accepted
    from kling_async.events import Hooks
    from kling_async.orchestrator.departures import Departures, Pending
    from kling_async.orchestrator.matching import Matcher
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.orchestrator.spending import UnitTotals
    from kling_async.orchestrator.submission import Submission
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Creator", "SubmitQueue", "ToldJudge"]


class Creator(Protocol):
    """Runs creates (`kling_async.orchestrator.submitter.Submitter`)."""

    @property
    def in_flight(self) -> int:
        """How many creates are on their way, or looked for after their answer was lost."""
        ...

    def start(self, submission: Submission, /) -> None:
        """Send a create whose slots are taken."""

    def adopt(self, submission: Submission, found: Accepted, /) -> None:
        """Look after the task of a submission that was found."""

    def told(self, submission: Submission, found: Accepted, /) -> None:
        """Look after the task of a create on its way that a callback has shown."""


_ANSWERABLE: Final = frozenset({SubmissionState.SENDING, SubmissionState.LOOKING_UP})
"""States in which a task may have been made of which no answer has told yet."""


class ToldJudge(Protocol):
    """Decide whether the task of a callback is that of a create in doubt (`recovery.Recovery.judge_told`)."""

    def __call__(self, submission: Submission, record: TaskRecord, /) -> Accepted | None:
        """Return the task as accepted; None: somebody else made it, or that is not clear."""


class UnitKeeper(Protocol):
    """Keeps the limit of units (`kling_async.orchestrator.spending.Spending`)."""

    def reserve(self, submission: Submission, /) -> None:
        """Set aside what a submission may cost, or raise that it could pass the limit."""

    def totals(self) -> UnitTotals:
        """Return the units spent and the units reserved, by pool."""
        ...


class _Claim:
    """One submission's claim on slots: what the limiter decides about it comes here."""

    __slots__ = ("_queue", "subject")

    def __init__(self, queue: SubmitQueue, submission: Submission) -> None:
        self._queue = queue
        self.subject = submission

    def admitted(self) -> None:
        self._queue.admitted(self.subject)

    def purged(self, error: KlingError) -> None:
        self._queue.departures.refuse(self.subject, error)


class SubmitQueue:
    """All submissions of a client that wait for their turn, and the calls that wait for them.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the events ``queued`` and ``adopted``.
        limiter: Decides whose turn it is.
        matcher: Looks for tasks that the account has already.
        departures: Ends what makes no task.
        creator: Runs the creates.
        units: Keeps the limit of units.
        max_queued: Most submissions that may wait; a batch waits for room by itself.
    """

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        limiter: SlotKeeper,
        matcher: Matcher[Submission],
        departures: Departures,
        creator: Creator,
        units: UnitKeeper,
        *,
        max_queued: int,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._limiter = limiter
        self._matcher = matcher
        self.departures = departures
        self.creator = creator
        self.units = units
        self._max_queued = max_queued
        self._stopped: KlingError | None = None
        """The error of all that would queue: no more is admitted."""

    @property
    def pending(self) -> Pending:
        """The submissions that have no task yet."""
        return self.departures.pending

    @property
    def in_flight(self) -> int:
        """How many creates are on their way, or looked for after their answer was lost."""
        return self.creator.in_flight

    @property
    def waiting(self) -> int:
        """How many submissions wait for their turn."""
        return self._limiter.queued + len(self._matcher)

    def fail_all(self, error: KlingError) -> None:
        """Fail all that wait for their turn."""
        self._matcher.stop(error)
        self._limiter.fail_queued(error)

    def stop(self, error: KlingError) -> None:
        """Admit nothing more: fail all that waits, and whatever comes to the queue from now on."""
        self._stopped = error
        self.fail_all(error)

    def check_room(self) -> None:
        """Check that one more submission may wait.

        Raises:
            QueueFull: As many wait as may.
            KlingError: No more is admitted: the error given to `stop`.
        """
        if self._stopped is not None:
            raise self._stopped.again()
        if self.waiting >= self._max_queued:
            raise QueueFull(self.waiting)

    # -- callers

    def share(self, held: Submission, timeout: float | None) -> None:
        """Let a submission without a task wait as long as one more caller allows, if that is longer."""
        if held.wait.extend(timeout, self._scope.time()):
            self._set_timer(held)

    async def submit(self, submission: Submission) -> TrackedTask:
        """Wait for slots, create, and return the task; a submission that waits already is shared.

        A caller who leaves takes it out of the queue, unless somebody else wants it.

        Raises:
            KlingError: It was refused, or its fate is unknown.
        """
        # no await before the entry: the ids and the room in the queue were just looked at
        loop = self._scope.enter()
        if (known := submission.settled()) is not None:  # a shared one, meanwhile
            return known
        self._check_units(submission)
        callers = submission.callers
        future = callers.join(loop, holds=True)
        try:
            if submission.state is SubmissionState.NEW:
                self._begin(submission)
            return await future
        except BaseException as error:
            callers.leave(future)
            waits = submission.waiting
            if not callers.wanted and (waits or not isinstance(error, KlingError)):
                self.departures.count(submission, error)
            raise
        finally:
            callers.leave(future)
            if submission.waiting and not callers.wanted:
                self.departures.leave(submission, None, self.creator)

    def enqueue(self, submission: Submission) -> None:
        """Put a submission in the queue, where it is wanted until it is withdrawn, whoever waits.

        One that another call has put there stays when that call leaves.
        """
        self._scope.enter()
        self._check_units(submission)
        submission.callers.kept = True
        if submission.state is SubmissionState.NEW:
            self._begin(submission)

    async def accepted(self, submission: Submission) -> TrackedTask:
        """Wait until the task exists; to stop waiting affects nothing.

        Raises:
            KlingError: It was refused or withdrawn, or its fate is unknown.
        """
        if (known := submission.settled()) is not None:  # also when the client is closed
            return known
        loop = self._scope.enter()  # takes what other threads have handed over, which may settle it
        if (known := submission.settled()) is not None:
            return known
        future = submission.callers.join(loop, holds=False)
        try:
            return await future
        finally:
            submission.callers.leave(future)

    def withdraw(self, submission: Submission) -> bool:
        """Give up a submission; return whether surely nothing was sent, by this run or an earlier one.

        Those who wait get `TaskWithdrawn`. A create on its way goes on, and its task is looked after.
        """
        unsent, error = submission.unsent, TaskWithdrawn(submission.external_task_id)
        if submission.waiting:
            self.departures.leave(submission, error, self.creator)
        elif unsent:  # its body is being made: the look at the caller before the first byte ends it
            self.departures.end(submission, partial(submission.tell, error))
        submission.callers.kept = False
        return unsent

    def told(self, record: TaskRecord, judge: ToldJudge) -> bool:
        """Settle the create on its way whose task a callback shows; return whether there is one.

        Args:
            record: The task, as its create's answer would have shown it.
            judge: Decides whether the task is that of the create.
        """
        submission = self.pending.find(record.external_task_id or "")
        if submission is None or submission.state not in _ANSWERABLE:
            return False
        found = judge(submission, record)
        if found is not None:
            self.creator.told(submission, found)
        return found is not None

    # -- into the queue

    def _check_units(self, submission: Submission) -> None:
        """Reserve the units of a new submission; one that may find its task costs nothing until it queues."""
        if submission.state is SubmissionState.NEW and not submission.create.attach:
            self.units.reserve(submission)

    def _begin(self, submission: Submission) -> None:
        """Enter the queue, now or after a look whether the account has its task already."""
        self._hooks.emit("queued", submission)  # first of all: a listener may raise what is no Exception
        submission.wait.start(self._scope.time())
        self._set_timer(submission)
        self.pending.add(submission)
        if submission.create.attach:
            submission.move(SubmissionState.MATCHING)
            self._matcher.match(submission, self._matched)
        else:
            self._enter(submission)

    def admitted(self, submission: Submission) -> None:
        """Start the create of a submission whose slots are taken."""
        if self._stopped is None:
            self.creator.start(submission)
            return
        self._limiter.free(submission.ticket, opens=False)  # back in the queue after a refusal (1303)
        self.departures.refuse(submission, self._stopped.again())

    def _set_timer(self, submission: Submission) -> None:
        """Look at the deadline when it has come."""
        wait = submission.wait
        wait.stop()
        if wait.deadline is not None:
            wait.timer = self._scope.call_at(
                wait.deadline, lambda: self.departures.check_deadline(submission, self.creator)
            )

    def _enter(self, submission: Submission) -> None:
        """Wait for slots."""
        submission.move(SubmissionState.QUEUED)
        try:
            if self._stopped is not None:
                raise self._stopped.again()
            self.units.reserve(submission)
            self._limiter.enter(submission.endpoint.pool, submission.ticket, _Claim(self, submission))
        except KlingError as error:  # a closed pool's names the create that closed it, not this one
            self.departures.refuse(submission, error)

    def _matched(self, submission: Submission, found: TaskRecord | KlingError | None) -> None:
        """Go on after the look: take the task that was found, or queue."""
        if submission.state is not SubmissionState.MATCHING:  # withdrawn, or out of time, meanwhile
            return
        if isinstance(found, KlingError):
            self.departures.refuse(submission, found)
        elif found is None:
            self._enter(submission)
        else:
            self._attach(submission, found)

    def _attach(self, submission: Submission, record: TaskRecord) -> None:
        """Hand over a task that the account had already; the request that made it is not known."""
        tracked = submission.watcher.found(submission.endpoint, record)
        submission.accept(tracked)
        self._hooks.emit("adopted", submission, status=record.status)
        submission.hand_over(tracked)
        self.pending.settled(submission, heard=True)
