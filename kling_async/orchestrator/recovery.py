"""Finds out what became of a create whose answer was lost, so that nothing is paid twice or lost.

The external id that every create carries is the key: a task found by it is adopted; an id that is not found
three times, ten seconds apart, was surely not used, and the same bytes may be sent again; what cannot be
known stays `Unresolved`, its slots held, and is looked up again later.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Final

from kling_async.core.verdict import Accepted, Lost, Refused, Unknown, is_ours
from kling_async.errors import AmbiguousCreate, ExternalIdTaken, KlingError, TransportError
from kling_async.events import facts
from kling_async.orchestrator.lookup import Lookup
from kling_async.orchestrator.submission import Submission, Unresolved
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from kling_async.core.queue import Ticket
    from kling_async.core.verdict import Answer, CreateVerdict, Resolved
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Recovery"]

log = logging.getLogger("kling_async.orchestrator")

LOOKS: Final = 3
"""Looks that must miss before an id counts as unused."""
PAUSE: Final = 10.0
"""Seconds between them."""
RECHECKS: Final = 6
"""Later looks in a row that must miss before an unresolved create is forgotten: nothing presses then."""
RECHECK_MAX: Final = 300.0
"""Longest pause between later looks; the first are `PAUSE` apart, each later pause doubles."""

_ELSEWHERE: Final = (
    "an earlier run may have sent it under another key, and this key does not find it: go on with that key;"
    " if it is gone for good, give the request another name: (key, request)"
)


class _Open:
    """An unresolved create and when to look at it again."""

    def __init__(self, job: Submission, entry: Unresolved, due: float) -> None:
        self.job = job
        self.entry = entry
        self.due = due
        self.pause = PAUSE
        self.misses = 0


class Recovery:
    """All creates of a client whose fate is, or was, in doubt."""

    def __init__(self, scope: LoopScope, transport: Transport, limiter: Limiter, rng: random.Random) -> None:
        self._scope = scope
        self._transport = transport
        self._limiter = limiter
        self._rng = rng
        self._open: dict[str, _Open] = {}
        self._alarm = Timer(scope, self._review)
        self.on_found: Callable[[Submission, Accepted], None] = lambda _, __: None
        """Told of a task found after its submitter was told that nobody knew."""
        scope.on_loop_replaced.append(self._moved)

    # -- while the submitter waits

    async def resolve(
        self, job: Submission, verdict: CreateVerdict, send: Callable[[Submission], Awaitable[CreateVerdict]]
    ) -> Resolved:
        """Turn a verdict that leaves something open into one that does not.

        Once an answer was lost, nothing but an acceptance is believed before the task was looked for: what
        refuses or puts off the second attempt says nothing about the first.

        Args:
            job: The create.
            verdict: What its last attempt came to.
            send: Sends its bytes once more.
        """
        while isinstance(verdict, Lost) or (job.doubt and not isinstance(verdict, Accepted)):
            job.doubt = True
            job.tries += job.sent  # an earlier run's attempt is none of ours
            self._limiter.unknown(job.endpoint.pool, job.ticket)  # it may run: its slots stay held
            found = await self._find(job)
            if found is not None:
                return found
            if isinstance(verdict, Refused):
                if isinstance(verdict.error, ExternalIdTaken):  # and yet it cannot be found: by whom?
                    return Unknown(verdict.error)
                break  # nothing of ours is there: the refusal was about the request
            spent = job.left or job.tries >= job.retry.max_tries
            if spent or not self._limiter.resume(job.endpoint.pool, job.ticket):
                return Unknown(verdict.error)  # nobody presses: later looks make surer still
            if not isinstance(verdict, Lost):
                break  # put off: back to its place
            verdict = await send(job)
        assert not isinstance(verdict, Lost)  # noqa: S101 - the loop's condition
        return verdict  # type: ignore[return-value]  # the transport renews tokens itself

    async def _find(self, job: Submission) -> Accepted | Refused | Unknown | None:
        """Look the create up, patiently; None: surely nothing was made."""
        if job.endpoint.lookup == "none":
            return Unknown(TransportError("this endpoint gives no way to look a task up", sent=True))
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(PAUSE)
            try:
                found = await self._look(job)
            except KlingError as error:
                return Unknown(error)
            if found is not None:
                return found
        if job.elsewhere:  # to send it here may be to pay for it on two accounts
            return Refused(AmbiguousCreate(_ELSEWHERE, external_task_id=job.external_task_id))
        if not job.endpoint.idempotent:
            return Unknown(TransportError("a second create here might be a second task", sent=True))
        return None

    async def _look(self, job: Submission) -> Accepted | Refused | None:
        """Ask once for the task of that external id, until there is an answer."""
        search = Lookup(self._transport, job, self._rng)
        found = await search.run(since=job.first_sent)
        return None if found is None else self._judge(job, *found)

    def _judge(self, job: Submission, record: TaskRecord, answer: Answer) -> Accepted | Refused | None:
        skew = answer.date - self._scope.now() if answer.date is not None else 0.0
        ours = is_ours(
            record,
            external_task_id=job.external_task_id,
            generated=job.generated,
            first_sent=job.first_sent + skew,
        )
        if ours is None:
            return None
        if ours:
            return Accepted(record)
        error = ExternalIdTaken(
            "another task of this account already has this external_task_id",
            code=1201,
            request_id=answer.request_id,
            http_status=answer.http_status,
            external_task_id=job.external_task_id,
        )
        return Refused(error)

    # -- after the submitter was told that nobody knows

    def keep(self, job: Submission, reason: str) -> None:
        """Nobody knows: tell the submitter, hold the slots, look again later."""
        name = job.external_task_id
        known = name if job.endpoint.takes_external_id else None
        entry = Unresolved(endpoint=job.endpoint.name, external_task_id=known, reason=reason)
        if (known_before := self._open.get(name)) is not None:  # another run of a batch had given it up
            self._limiter.release(job.endpoint.pool, known_before.job.ticket)
        self._open[name] = _Open(job, entry, self._scope.time() + PAUSE)
        job.body = None
        if job.endpoint.lookup == "none":
            text, level = "the fate of create %s is unknown and cannot be looked up: %s", logging.WARNING
        else:
            text, level = "the fate of create %s is unknown, it will be looked up again: %s", logging.INFO
        log.log(level, text, name, reason, extra=facts(job))
        job.fail(AmbiguousCreate(f"the create's answer was lost: {reason}", external_task_id=known))
        self._plan()

    def entries(self) -> list[Unresolved]:
        """Return what is unresolved."""
        return [item.entry for item in self._open.values()]

    def claim(self, external_task_id: str | None) -> Ticket | None:
        """Take one out, with the slots it holds."""
        item = self._open.pop(external_task_id or "", None)
        return None if item is None else item.job.ticket

    def silence(self) -> None:
        """Set no more timers: the client is closed."""
        self._alarm.clear()

    def _plan(self) -> None:
        lookable = [i.due for i in self._open.values() if i.job.endpoint.lookup != "none"]
        self._alarm.set(min(lookable, default=math.inf))

    def _review(self, now: float) -> None:
        for item in self._open.values():
            if item.due <= now and item.job.endpoint.lookup != "none":
                item.due = math.inf
                self._scope.spawn(self._recheck(item), f"recheck {item.job.external_task_id}")
        self._plan()

    async def _recheck(self, item: _Open) -> None:
        """Look once more; a create that is surely not there is forgotten: its submitter was told."""
        job = item.job
        try:
            found = await self._look(job)
            item.misses = item.misses + 1 if found is None else 0
        except KlingError as error:
            text = "create %s is still of unknown fate: %s"
            log.debug(text, job.external_task_id, error, extra=facts(job))
            found, item.misses = None, 0
        item.pause = min(RECHECK_MAX, item.pause * 2)
        item.due = self._scope.time() + item.pause
        if self._open.get(job.external_task_id) is item:
            self._settle(item, found)
        self._plan()

    def _settle(self, item: _Open, found: Accepted | Refused | None) -> None:
        job = item.job
        if isinstance(found, Accepted):
            self._open.pop(job.external_task_id)
            self.on_found(job, found)
        elif found is not None or (item.misses >= RECHECKS and job.endpoint.idempotent):
            log.info("create %s made nothing after all", job.external_task_id, extra=facts(job))
            self._open.pop(job.external_task_id)
            self._limiter.release(job.endpoint.pool, job.ticket)

    def _moved(self) -> None:
        self._alarm.clear()
        for item in self._open.values():
            item.due = self._scope.time() + PAUSE
        self._plan()
