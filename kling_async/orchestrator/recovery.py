"""Recovery: find out what became of a create whose answer was lost, so that nothing is paid twice or lost.

The external id that every create carries is the key: a task found by it is adopted; an id that is not found
three times, ten seconds apart, was surely not used, and the same bytes may be sent again; what cannot be
known stays `Unresolved`, its slots held, and is looked up again later.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kling_async.core.misses import ELSEWHERE, NO_WAY, UNPROVEN, after_miss, needs_proof
from kling_async.core.queue import Phase
from kling_async.core.rechecks import LOOKS, PAUSE, RecheckPlan
from kling_async.core.verdict import (
    Accepted,
    AfterMiss,
    Again,
    Full,
    Lost,
    NewToken,
    Refused,
    Unknown,
    judge_failed_look,
)
from kling_async.errors import AmbiguousCreate, BadResponse, ExternalIdTaken, KlingError, TransportError
from kling_async.events import facts
from kling_async.orchestrator.attempts import Evidence
from kling_async.orchestrator.findings import judge_found, judge_told
from kling_async.orchestrator.submission import Submission, SubmissionState, Unresolved
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async.core.queue import Ticket
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.orchestrator.finding import Adopter, Finder
    from kling_async.orchestrator.slot_keeper import SlotKeeper
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Recovery"]

_Open: TypeAlias = Again | Full | Lost | NewToken | Refused
"""A verdict that leaves open whether there is a task."""

log = logging.getLogger("kling_async.orchestrator")


@dataclass(eq=False, slots=True)
class _OpenCase:
    """An unresolved create, and when to look for it again."""

    submission: Submission
    entry: Unresolved
    adopter: Adopter[Submission]
    plan: RecheckPlan
    lookable: bool
    """Whether there is a way to look it up."""


class Recovery:
    """All creates of a client whose fate is, or was, in doubt."""

    def __init__(self, scope: LoopScope, limiter: SlotKeeper, finder: Finder[Submission]) -> None:
        self._scope = scope
        self._limiter = limiter
        self._finder = finder
        self._open: dict[str, _OpenCase] = {}  # the unresolved ones, by external id
        self._timer = Timer(scope, self._review)
        scope.subscribe(self)

    # -- while the caller waits

    async def confirm(self, submission: Submission, verdict: CreateVerdict) -> CreateVerdict:
        """Hold the answer to a create against what it carried; return the verdict that follows.

        An answer that shows a task of another external id, as a cache or a proxy that mixes answers up gives,
        is believed if one query of that task does not show another one, too. Else the create is looked for
        by its own id, and is not sent again.
        """
        if isinstance(verdict, Accepted) and submission.endpoint.takes_external_id:
            verdict = await self._compared(submission, verdict)
        if isinstance(verdict, Accepted):
            self._finder.accepted(submission, verdict.record)
        return verdict

    async def _compared(self, submission: Submission, verdict: Accepted) -> Accepted | Lost:
        record, ours = verdict.record, {None, submission.external_task_id}
        if record.external_task_id == submission.external_task_id:
            return verdict
        other = submission.watcher.find(submission.endpoint, record.task_id)
        taken = other is not None and not other.done and other.external_task_id not in ours
        if not taken and record.external_task_id in ours:
            return verdict
        text = "the create was answered with another task"
        if not taken:
            submission.attempts.shown = verdict.ids
            try:
                seen = await self._finder.confirm(submission, record.task_id)
                if other is None and self._finder.may_rename():
                    ours.add(record.external_task_id)
                if seen is not None and seen.external_task_id in ours:
                    return verdict
            except KlingError as error:
                text += f", or so it seems: {error}"
        return Lost(BadResponse(text, http_status=200), AfterMiss.HOLD)

    async def resolve(
        self,
        submission: Submission,
        verdict: CreateVerdict,
        send: Callable[[Submission], Awaitable[CreateVerdict]],
    ) -> Resolved:
        """Turn a verdict that leaves something open into one that does not.

        Once an answer was lost, nothing but an acceptance is believed before the task was looked for: what
        refuses or puts off the second attempt says nothing about the first. Looked for and surely not made,
        the doubt is over.

        Args:
            submission: Whose create.
            verdict: What its last attempt came to.
            send: Sends its bytes once more.
        """
        attempts = submission.attempts
        while self._is_open(submission, verdict):
            assert not isinstance(verdict, Accepted)  # noqa: S101 - it leaves nothing open
            if isinstance(verdict, Again) and _is_resent(submission, verdict):
                attempts.lost()
                return verdict
            submission.move(SubmissionState.LOOKING_UP)
            first = not attempts.doubted
            attempts.lost()
            if isinstance(verdict, Lost):
                attempts.count += attempts.sent  # an earlier run's attempt is none of ours
            self._limiter.unknown(submission.ticket)  # a task may run: its slots stay held
            miss = after_miss(verdict)
            found = await self._find(submission, verdict, first=first)
            if found is not None:
                return found
            if isinstance(verdict, Refused):
                break  # nothing of ours is there: the refusal was about the request
            if miss is not AfterMiss.RESEND:
                attempts.cleared()  # looked for and not made: a batch may take its reserved units back
                return Refused(verdict.error)
            lost = isinstance(verdict, Lost)
            spent = submission.abandoned or attempts.count >= submission.settings.retry.max_tries
            if (lost and spent) or not self._limiter.resume(submission.ticket):
                return Unknown(verdict.error)  # nobody waits for it: later looks make surer still
            attempts.cleared()
            if not lost:
                break  # put off: back to its place
            verdict = await send(submission)
        assert not isinstance(verdict, Lost)  # noqa: S101 - the loop's condition
        return verdict  # type: ignore[return-value]  # the transport renews tokens itself

    def _is_open(self, submission: Submission, verdict: CreateVerdict) -> bool:
        """Tell whether a task may exist of which a verdict says nothing."""
        attempts = submission.attempts
        match verdict:
            case Accepted():
                return False
            case Lost() | Again(doubtful=True):
                return True
            case Refused(error=ExternalIdTaken()) if submission.create.generated or attempts.doubted:
                return True  # an attempt of ours may have made that task
            case _:
                return attempts.doubtful

    async def _find(
        self, submission: Submission, verdict: _Open, *, first: bool
    ) -> Accepted | Refused | Unknown | None:
        """Look the create up as often as its verdict asks for; None: it may be sent again."""
        miss = after_miss(verdict)
        if not self._finder.can_find(submission.endpoint):
            if not submission.settings.retry.resend_lost:
                return _unknown(NO_WAY)
            await asyncio.sleep(PAUSE * (LOOKS - 1))  # as looks would take: what broke the answer may last
            return None
        for look in range(1 if miss is AfterMiss.REFUSE else LOOKS):
            if look:
                await asyncio.sleep(PAUSE)
            try:
                found = await self._look(submission)
            except KlingError as error:
                return judge_failed_look(error)
            if found is not None:
                return found
        return await self._missed(submission, verdict.error, miss, first=first)

    async def _missed(
        self, submission: Submission, error: KlingError, miss: AfterMiss, *, first: bool
    ) -> Refused | Unknown | None:
        """Return what it means that no look found the task; None: surely nothing was made."""
        if submission.attempts.evidence is Evidence.ELSEWHERE:
            return Refused(AmbiguousCreate(ELSEWHERE, external_task_id=submission.external_task_id))
        taken = isinstance(error, ExternalIdTaken)  # and yet it cannot be found: by whom?
        if taken and first and submission.create.attach:  # nothing else was sent under this id
            submission.attempts.cleared()
            return Refused(submission.create.taken_elsewhere())
        if not submission.endpoint.idempotent:
            return _unknown("a second create here might be a second task")
        if taken or miss is AfterMiss.HOLD:
            return Unknown(error)
        if needs_proof(miss, error):
            try:
                proven = await self._finder.proves_absence(submission)
            except KlingError:
                proven = False
            return None if proven else _unknown(UNPROVEN)
        return None

    async def _look(self, submission: Submission) -> Accepted | Refused | Unknown | None:
        """Ask once for the task of that external id, until there is an answer."""
        found = await self._finder.find(submission)
        return (
            None
            if found is None
            else judge_found(submission.create, submission.attempts, *found, self._scope.now())
        )

    # -- after the caller was told that nobody knows

    def keep(self, submission: Submission, reason: str, adopter: Adopter[Submission]) -> None:
        """Tell the caller that nobody knows, hold the slots, and look again later.

        Args:
            submission: Whose create.
            reason: Why nobody knows.
            adopter: Takes the task over if it is found.
        """
        submission.move(SubmissionState.UNRESOLVED)
        name = submission.external_task_id
        known = name if submission.endpoint.takes_external_id else None
        entry = Unresolved(endpoint=submission.endpoint.name, external_task_id=known, reason=reason)
        self.abandon(name)  # a batch that goes on in another run may have given the same create up before
        lookable = self._finder.can_find(submission.endpoint)
        plan = RecheckPlan(self._scope.time(), blind=not lookable)
        self._open[name] = case = _OpenCase(submission, entry, adopter, plan, lookable)
        submission.attempts.body = None
        if case.lookable:
            text, level = "the fate of create %s is unknown, it will be looked up again: %s", logging.INFO
        else:
            text, level = "the fate of create %s is unknown and cannot be looked up: %s", logging.WARNING
        log.log(level, text, name, reason, extra=facts(submission))
        submission.tell(AmbiguousCreate(f"the create's answer was lost: {reason}", external_task_id=known))
        self._plan()

    def entries(self) -> list[Unresolved]:
        """Return the creates that are unresolved."""
        return [case.entry for case in list(self._open.values())]  # copied: a thread may ask

    def claim(self, task: TrackedTask) -> Ticket | None:
        """Return the ticket of an unresolved create whose task was found by somebody else; None: no slots."""
        case = self._open.pop(task.external_task_id or "", None)
        if case is None:
            return None
        case.submission.accept(task)
        ticket = case.submission.ticket
        return ticket if ticket.phase is Phase.HELD else None  # it may have left the queue in doubt

    def judge_told(self, submission: Submission, record: TaskRecord, skew: float) -> Accepted | None:
        """Return the task of a create in doubt that a callback shows; None: whose it is, is not clear.

        Args:
            submission: Whose create.
            record: The task.
            skew: Seconds by which the vendor's clock is ahead of ours.
        """
        if self._finder.may_rename():  # a gateway does not know the vendor's own id
            return None
        return judge_told(submission.create, submission.attempts, record, skew)

    def told(self, record: TaskRecord, skew: float) -> bool:
        """Settle the unresolved create whose task a callback shows; return whether there is one.

        One that may be somebody else's is looked up soon.
        """
        name = record.external_task_id or ""
        if (case := self._open.get(name)) is None:
            return False
        shown = msgspec.structs.replace(record, endpoint=case.submission.endpoint.name)
        found = self.judge_told(case.submission, shown, skew)
        if found is None:
            self.hinted(name)
            return False
        del self._open[name]
        case.adopter.adopt(case.submission, found)
        self._plan()
        return True

    def hinted(self, external_task_id: str) -> None:
        """Look an unresolved create up soon: something says that its task exists."""
        if (case := self._open.get(external_task_id)) is not None:
            case.plan.hinted(self._scope.time())
            self._plan()

    def abandon(self, external_task_id: str) -> bool:
        """Give an unresolved create up: its slots are free. False if there is none of that id."""
        case = self._open.pop(external_task_id, None)
        if case is None:
            return False
        case.submission.withdraw()
        self._limiter.release(case.submission.ticket)
        return True

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._timer.clear()

    def _plan(self) -> None:
        self._timer.set(min((case.plan.due for case in self._open.values()), default=math.inf))

    def _review(self, now: float) -> None:
        for case in list(self._open.values()):
            if case.plan.due > now:
                continue
            case.plan.begin()
            if not case.lookable:
                self._limiter.release(case.submission.ticket)
            else:
                work = self._recheck(case)
                task = self._scope.spawn(work, f"recheck {case.submission.external_task_id}")
                task.add_done_callback(partial(self._given_back, case))
        self._plan()

    async def _recheck(self, case: _OpenCase) -> None:
        """Look once more."""
        submission = case.submission
        found: Accepted | Refused | Unknown | None = None
        try:
            found = await self._look(submission)
            case.plan.answered(missed=found is None)
        except KlingError as error:
            text = "create %s is still of unknown fate: %s"
            log.debug(text, submission.external_task_id, error, extra=facts(submission))
            case.plan.unanswered()
        case.plan.end(self._scope.time(), contended=self._contended(case))
        if self._open.get(submission.external_task_id) is case:
            self._settle(case, found)
        self._plan()

    def _contended(self, case: _OpenCase) -> bool:
        """Tell whether submits wait for slots of the pool in which a case holds some."""
        return self._limiter.pool(case.submission.endpoint.pool).queued > 0

    def _given_back(self, case: _OpenCase, _: asyncio.Task[None]) -> None:
        """Look again after a look that broke or was cancelled, perhaps before its first step: no miss."""
        if case.plan.due == math.inf and not self._scope.closed:
            case.plan.end(self._scope.time(), contended=False)
            self._plan()

    def _settle(self, case: _OpenCase, found: Accepted | Refused | Unknown | None) -> None:
        """Close a case that a look has decided; a create that is surely not there is forgotten."""
        submission = case.submission
        if isinstance(found, Accepted):
            self._open.pop(submission.external_task_id)
            case.adopter.adopt(submission, found)
        elif isinstance(found, Refused) or (
            submission.endpoint.idempotent and case.plan.exhausted(contended=self._contended(case))
        ):
            log.info("create %s made nothing after all", submission.external_task_id, extra=facts(submission))
            self._open.pop(submission.external_task_id)
            submission.move(SubmissionState.REFUSED)
            self._limiter.release(submission.ticket)

    def on_loop_replaced(self) -> None:
        """Look again soon: looks of the loop that ended brought nothing."""
        self._timer.clear()
        for case in self._open.values():
            case.plan.restart(self._scope.time())
        self._plan()


def _unknown(reason: str) -> Unknown:
    return Unknown(TransportError(reason, sent=True))


def _is_resent(submission: Submission, verdict: Again) -> bool:
    """Tell whether a create refused by a 429 without a code is sent again before it is looked up."""
    if not verdict.doubtful or submission.abandoned:
        return False
    spent = submission.attempts.count + 1 >= submission.settings.retry.max_tries
    return submission.endpoint.idempotent and not spent
