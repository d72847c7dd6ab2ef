"""Asks about running tasks while somebody waits, and tells those who wait.

Work belongs to the client, demand to the waiters: a question runs in a task of the client's, so a waiter that
gives up cancels nothing, and without any waiter no new question is asked. What to ask and when is decided by
`core.schedule`, what an answer means by `core.verdict`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kling_async.core.durations import KNOWN
from kling_async.core.status import TaskState, is_known_status, state_of
from kling_async.core.verdict import Again, Got, Missing, Refused
from kling_async.errors import APIError, BadResponse, KlingError, TaskNotFound, TransportError
from kling_async.events import facts
from kling_async.http.retry import not_found, read_patiently
from kling_async.orchestrator.status_reader import StatusReader, path_of, record_of
from kling_async.orchestrator.tracked import TaskRegistry, TrackedTask
from kling_async.redaction import redact
from kling_async.runtime.loop import Timer, is_pending

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Iterator

    from kling_async.core.admission import Ticket
    from kling_async.core.queries import StatusQuery
    from kling_async.core.schedule import Schedule
    from kling_async.core.verdict import ReadVerdict
    from kling_async.events import Hooks
    from kling_async.http.transport import Transport
    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.orchestrator.status_reader import StatusAnswer
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Poller"]

log = logging.getLogger("kling_async.polling")

_MISSES: Final = 3
"""Looks in a row that must miss before a task that was seen once counts as gone."""
_ODD: Final = 3
"""Answers in a row that only a broken gateway gives before they are believed."""
_LATE: Final = 0.99
"""Share of tasks of a kind that end before one counts as late."""


class UnresolvedCreates(Protocol):
    """Creates of unknown fate, which hold slots (`kling_async.orchestrator.recovery.Recovery`)."""

    def claim(self, external_task_id: str | None, /) -> Ticket | None:
        """Give up the ticket of the create whose task was found; None: there is no such create."""
        ...


class Poller:
    """All tasks that a client looks after."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        transport: Transport,
        limiter: Limiter,
        schedule: Callable[[], Schedule],
        rng: random.Random,
        timeouts: Timeouts,
        unresolved: UnresolvedCreates,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._transport = transport
        self._asker = StatusReader(transport, timeouts)
        self._limiter = limiter
        self._new_schedule = schedule
        self._schedule = schedule()
        self._rng = rng
        self._lives: dict[tuple[str, str], TrackedTask] = {}
        self.known = TaskRegistry(limiter)
        self._alarm = Timer(scope, self._pump)
        self._reported: set[str] = set()
        self._strikes: dict[tuple[str, str], int] = {}
        self._unresolved = unresolved
        limiter.subscribe(self)
        scope.subscribe(self)

    def __iter__(self) -> Iterator[TrackedTask]:
        """All tasks not seen ended."""
        return iter(list(self._lives.values()))

    @property
    def running(self) -> int:
        """How many these are."""
        return len(self._lives)

    def find(self, endpoint: Endpoint[Any], id: str) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return what stands for a task, looked after or not."""
        return self.known.find(endpoint, id)

    def watch(self, live: TrackedTask, *, at_once: bool = False) -> TrackedTask:
        """Look after a task; return the one already looked after, if it is the same."""
        known = self._lives.setdefault((live.endpoint.path, live.id), live)
        if live.record is not None:
            self.known.seen(live)
        if known is live:
            self._look_after(live, at_once=at_once)
            if live.record is not None and live.done:  # adopted after it had ended
                self._end(live, live.record)
            self._pump_soon()
        elif live.ticket is not None:  # attached to while its create was in doubt
            self.known.take_over(known, live)
        return known

    def _look_after(self, live: TrackedTask, *, at_once: bool) -> None:
        now, endpoint, request = self._scope.time(), live.endpoint, live.request
        kind = "attached" if request is None else endpoint.kind(request)
        self._schedule.add(
            live,
            pool=endpoint.pool,
            path=endpoint.path,
            kind=(endpoint.name, kind),
            median=endpoint.median,
            now=now,
            weight=1 if request is None else max(1, endpoint.weight(request)),
            started=now - self._age(live.record),
            at_once=at_once,
        )

    def _age(self, record: TaskRecord | None) -> float:
        if record is None or not record.created_at:
            return 0.0
        return max(0.0, self._scope.now() - record.created_at / 1000)

    def nudge(self, live: TrackedTask) -> None:
        """Something says that this task has changed: ask as soon as the rates allow."""
        self._schedule.hurry(live, self._scope.time())
        self._pump(self._scope.time())

    def eta(self, live: TrackedTask) -> float | None:
        """Return the seconds until half of the tasks like this one have ended; None if that is not known."""
        now = self._scope.time()
        end = self._schedule.expected_end(live, now=now)
        return None if end is None else max(0.0, end - now)

    async def wait(self, live: TrackedTask) -> None:
        """Return when the task was seen ended.

        Raises:
            KlingError: It cannot be known: the key was refused, the task does not exist.
        """
        await self._await(live, live.waiters)

    async def change(self, live: TrackedTask) -> None:
        """Return when anything was seen to change."""
        await self._await(live, live.changes)

    async def _await(self, live: TrackedTask, crowd: dict[asyncio.Future[None], None]) -> None:
        if live.done:  # known for good, also when the client is closed
            return
        loop = self._scope.enter()
        if (live.endpoint.path, live.id) not in self._lives:
            self.watch(live, at_once=True)  # it was found missing, or given up, and is asked for again
        future: asyncio.Future[None] = loop.create_future()
        schedule = self._schedule  # another one, if the loop is replaced while this waits
        crowd[future] = None
        wish = schedule.add_waiter(live)
        self._pump_soon()
        try:
            await future
        finally:
            crowd.pop(future, None)
            schedule.remove_waiter(wish)

    async def refresh(self, live: TrackedTask, retry: Retry, timeouts: Timeouts) -> None:
        """Ask now, patiently but not for ever."""

        async def read() -> ReadVerdict:
            self._hooks.emit("asked", live, detail="one: 1")
            return await self._transport.read(
                "GET", path_of(live), timeouts=timeouts, kind="one", about=(live,)
            )

        got = await read_patiently(read, retry=retry, rng=self._rng, what=live.id)
        self._apply(live, record_of(live.endpoint, got))
        if not live.done and (live.endpoint.path, live.id) not in self._lives:
            self.watch(live)  # it holds slots now, so its end must be seen

    def fail_all(self, error: KlingError) -> None:
        """Let every waiter fail; the tasks themselves are not affected."""
        for live in list(self._lives.values()):
            _fail(live, error)

    def silence(self) -> None:
        """Set no more timers: the client is closed."""
        self._alarm.clear()

    # -- asking

    def _pump_soon(self) -> None:
        """Once in the loop's next turn, however many come or wait in this one."""
        self._alarm.advance(self._scope.time())

    def _pump(self, now: float) -> None:
        if self._scope.closed:
            return
        try:
            for question in self._schedule.ask(now):
                self._scope.spawn(self._look(question), f"look {question.number}")
            self._alarm.set(self._schedule.next_time())
        except Exception as error:  # a bug must not leave anyone waiting for ever
            log.exception("asking about tasks broke", extra=facts())
            self.fail_all(TransportError(f"asking about tasks broke: {type(error).__name__}", sent=False))

    async def _look(self, question: StatusQuery) -> None:
        lives = [key for key in question.keys if isinstance(key, TrackedTask)]
        self._hooks.emit("asked", *lives, detail=f"{question.form}: {len(lives)}")
        try:
            self._answered(question, lives, await self._asker.ask(question, lives))
        except Exception as error:  # a bug must not leave anyone waiting for ever
            log.exception("asking about %d tasks broke", len(lives), extra=facts(*lives))
            self._schedule.failed(question, self._scope.time(), self._rng.random())
            reason = f"asking about the task broke: {type(error).__name__}"
            for live in lives:
                _fail(live, error if isinstance(error, KlingError) else TransportError(reason, sent=True))
        self._pump(self._scope.time())

    def _answered(self, question: StatusQuery, lives: list[TrackedTask], seen: StatusAnswer) -> None:
        match seen.verdict:
            case Got():
                self._strikes.pop((question.form, question.path), None)
                self._found_all(question, seen.records)
            case Again():
                self._again(question, seen.verdict, odd=seen.odd)
            case _ if question.form != "one":
                self._refused_form(question, seen.verdict)
            case Missing():
                self._missed(question, lives[0], seen.verdict)
            case Refused(error=BadResponse() | APIError(code=None)) if lives[0].odd + 1 < _ODD:
                lives[0].odd += 1
                self._again(question, Again(seen.verdict.error))
            case Refused():
                lives[0].odd = 0
                self._schedule.failed(question, self._scope.time(), self._rng.random())
                _fail(lives[0], seen.verdict.error)
            case _:  # pragma: no cover - the transport renews tokens itself
                raise AssertionError(seen.verdict)

    def _found_all(self, question: StatusQuery, records: dict[TrackedTask, TaskRecord]) -> None:
        running, ended = set[TrackedTask](), set[TrackedTask]()
        for live, record in records.items():
            live.misses = live.odd = 0
            (running if state_of(record.status) is TaskState.RUNNING else ended).add(live)
        self._schedule.answered(question, running, ended, self._scope.time())
        for live, record in records.items():
            self._apply(live, record)
        for live in running:
            if live.patient and not live.late:
                self._warn_if_late(live)

    def _warn_if_late(self, live: TrackedTask) -> None:
        """Tell who waits without a deadline, once, that nearly all tasks like this one would have ended."""
        end = self._schedule.expected_end(live, _LATE, least=KNOWN)
        if end is not None and self._scope.time() > end:
            live.late = True
            log.warning(
                "task %s takes longer than 99 in 100 like it; it is waited for without a deadline",
                live.id,
                extra=facts(live),
            )

    def _again(self, question: StatusQuery, verdict: Again, *, odd: bool = False) -> None:
        count = self._schedule.failed(question, self._scope.time(), self._rng.random(), verdict.after)
        if count == 1:  # what follows in a row is news no more
            lives = [key for key in question.keys if isinstance(key, TrackedTask)]
            log.info("no answer about %d tasks: %s", len(lives), verdict.error, extra=facts(*lives))
        if odd:
            self._strike(question)

    def _refused_form(self, question: StatusQuery, verdict: ReadVerdict) -> None:
        """This account, or a gateway before it, does not answer such questions: ask otherwise."""
        if isinstance(verdict, Refused) and isinstance(verdict.error, BadResponse):
            self._schedule.failed(question, self._scope.time(), self._rng.random())
            self._strike(question)
        else:
            self._give_up(question)

    def _give_up(self, question: StatusQuery) -> None:
        """Do not use this form any more."""
        log.info("questions of form %r do not work at %r", question.form, question.path, extra=facts())
        self._schedule.unsupported(question, self._scope.time())

    def _strike(self, question: StatusQuery) -> None:
        """Answers that only a broken gateway gives: a few of them, and that form is not used any more."""
        key = (question.form, question.path)
        self._strikes[key] = self._strikes.get(key, 0) + 1
        if self._strikes[key] >= _ODD:
            self._give_up(question)

    def _missed(self, question: StatusQuery, live: TrackedTask, verdict: Missing) -> None:
        """A task that was seen once is asked for again before it counts as gone; its slots are free then."""
        live.misses += 1
        if (live.sure or live.record is not None) and live.misses < _MISSES:
            self._schedule.answered(question, (), (), self._scope.time())
            return
        error: TaskNotFound = not_found(verdict, live.id)
        self._forget(live)
        if live.record is not None:
            self._hooks.emit("ended", live, error=type(error).__name__, detail=error.message)
        _fail(live, error)

    # -- what was seen

    def _apply(self, live: TrackedTask, record: TaskRecord) -> None:
        before, live.record = live.record, _merged(live.record, record)
        record = live.record
        state = state_of(record.status)
        if not is_known_status(record.status) and record.status not in self._reported:
            self._reported.add(record.status)
            word = record.status[:50]
            log.warning("unknown task status %r counts as running", word, extra=facts(live))
        if before is None or (before.status, before.updated_at) != (record.status, record.updated_at):
            if self.known.is_holder(live):
                self._hooks.emit("changed", live, status=record.status, detail=redact(record.message))
            _wake(live.changes)
        if before is None:
            self._found(live, record, state)
        if state is not TaskState.RUNNING and (
            before is None or state_of(before.status) is TaskState.RUNNING
        ):
            self._end(live, record)

    def _found(self, live: TrackedTask, record: TaskRecord, state: TaskState) -> None:
        """An attached task was seen for the first time: if it runs, it holds slots."""
        if live.ticket is None:
            live.ticket = self._unresolved.claim(record.external_task_id)
            if live.ticket is not None:
                self._limiter.held_by(live.ticket, live)
        if self.known.seen(live) and live.ticket is None and state is TaskState.RUNNING:
            weight = live.endpoint.weight(live.request) if live.request is not None else 1
            live.ticket = self._limiter.occupy(live.endpoint.pool, weight, self._age(record), live)

    def _end(self, live: TrackedTask, record: TaskRecord) -> None:
        told = self.known.is_holder(live)
        self._forget(live)
        if told:
            self._hooks.emit("ended", live, status=record.status, detail=redact(record.message))
        _wake(live.changes)
        _wake(live.waiters)

    def _forget(self, live: TrackedTask) -> None:
        self._lives.pop((live.endpoint.path, live.id), None)
        self._schedule.remove(live)
        self.known.over(live)

    def on_contention(self, pool: str, contended: bool) -> None:
        """Ask about the tasks of a pool that submits wait for."""
        if self._schedule.set_contention(pool, contended):
            self._pump(self._scope.time())

    def on_loop_replaced(self) -> None:
        """The loop was replaced: those who waited in it are gone, the tasks are not."""
        self._alarm.clear()
        self._schedule = self._new_schedule()
        for live in self._lives.values():
            live.waiters.clear()
            live.changes.clear()
            self._look_after(live, at_once=True)


def _merged(old: TaskRecord | None, new: TaskRecord) -> TaskRecord:
    """Keep the external id where an answer leaves it out, as some do."""
    if old is None or new.external_task_id or not old.external_task_id:
        return new
    return msgspec.structs.replace(new, external_task_id=old.external_task_id)


def _wake(crowd: dict[asyncio.Future[None], None]) -> None:
    for future in crowd:
        if is_pending(future):
            future.set_result(None)


def _fail(live: TrackedTask, error: KlingError) -> None:
    for future in (*live.waiters, *live.changes):
        if is_pending(future):
            future.set_exception(error.again())
            future.exception()  # seen: a waiter that is being cancelled will not look
