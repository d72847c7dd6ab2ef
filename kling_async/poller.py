"""Asks about running tasks while somebody waits, and tells those who wait.

Work belongs to the client, demand to the waiters: a question runs in a task of the client's, so a waiter that
gives up cancels nothing, and without any waiter no new question is asked. What to ask and when is decided by
`core.schedule`, what an answer means by `core.verdict`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.core.verdict import Again, Got, Missing, Refused, State, is_known_status, state_of
from kling_async.errors import APIError, BadResponse, KlingError, TaskFailed, TaskNotFound, TransportError
from kling_async.loops import Alarm, is_pending
from kling_async.retry import not_found, read_patiently
from kling_async.wire import TaskRecord, decode_task

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Iterator

    from kling_async.catalog import Endpoint
    from kling_async.core.admission import Ticket
    from kling_async.core.schedule import Schedule
    from kling_async.core.verdict import ReadVerdict
    from kling_async.events import Hooks
    from kling_async.limiter import Limiter
    from kling_async.loops import Home
    from kling_async.options import Retry, Timeouts
    from kling_async.transport import Transport
    from kling_async.wire import TaskRequest

__all__ = ["Live", "Poller"]

log = logging.getLogger("kling_async")

_MISSES: Final = 3
"""Looks in a row that must miss before a task that was seen once counts as gone."""
_ODD: Final = 3
"""Answers in a row that only a broken gateway gives before they are believed."""


class Live:
    """What the client knows of one task, shared by all handles on it."""

    __slots__ = (
        "__weakref__",
        "changes",
        "endpoint",
        "id",
        "misses",
        "odd",
        "record",
        "request",
        "ticket",
        "waiters",
    )

    def __init__(
        self,
        endpoint: Endpoint[Any],
        id: str,  # noqa: A002 - the field's word
        *,
        request: TaskRequest[Any] | None = None,
        record: TaskRecord | None = None,
        ticket: Ticket | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.id = id
        """What to ask by: the task id, or the external one while only that is known."""
        self.request = request
        self.record = record
        self.ticket = ticket
        self.waiters: set[asyncio.Future[None]] = set()
        self.changes: set[asyncio.Future[None]] = set()
        self.misses = 0
        self.odd = 0

    @property
    def state(self) -> State:
        """Where the task stands, as far as known."""
        return State.RUNNING if self.record is None else state_of(self.record.status)

    @property
    def done(self) -> bool:
        """Whether the task was seen ended."""
        return self.state is not State.RUNNING

    @property
    def external_task_id(self) -> str | None:
        """The id its create carried, if known."""
        return self.record.external_task_id if self.record is not None else None

    def raise_if_failed(self) -> None:
        """Raise `TaskFailed` if that is how it ended."""
        if self.record is not None and self.state is State.FAILED:
            raise TaskFailed(self.record)


class Poller:
    """All tasks that a client looks after."""

    def __init__(
        self,
        home: Home,
        hooks: Hooks,
        transport: Transport,
        limiter: Limiter,
        schedule: Callable[[], Schedule],
        rng: random.Random,
        timeouts: Timeouts,
    ) -> None:
        self._home = home
        self._hooks = hooks
        self._transport = transport
        self._limiter = limiter
        self._new_schedule = schedule
        self._schedule = schedule()
        self._rng = rng
        self._timeouts = timeouts
        self._lives: dict[tuple[str, str], Live] = {}
        self._alarm = Alarm(home, self._pump)
        self._reported: set[str] = set()
        self.find_ticket: Callable[[str | None], Ticket | None] = lambda _: None
        """Gives up the slots of a create of unknown fate whose task was found."""
        limiter.on_crowd.append(self._crowd)
        home.on_move.append(self._moved)

    def __iter__(self) -> Iterator[Live]:
        """All tasks not seen ended."""
        return iter(list(self._lives.values()))

    def find(self, endpoint: Endpoint[Any], id: str) -> Live | None:  # noqa: A002 - the field's word
        """Return what is known of a task that is looked after."""
        return self._lives.get((endpoint.path, id))

    def watch(self, live: Live, *, at_once: bool = False) -> Live:
        """Look after a task; return the one already looked after, if it is the same."""
        known = self._lives.setdefault((live.endpoint.path, live.id), live)
        if known is live:
            self._schedule.add(live, live.endpoint.pool, self._home.time(), at_once=at_once)
            if live.record is not None and live.done:  # adopted after it had ended
                self._end(live, live.record)
            self._pump(self._home.time())
        return known

    async def wait(self, live: Live) -> None:
        """Return when the task was seen ended.

        Raises:
            KlingError: It cannot be known: the key was refused, the task does not exist.
        """
        await self._await(live, live.waiters)

    async def change(self, live: Live) -> None:
        """Return when anything was seen to change."""
        await self._await(live, live.changes)

    async def _await(self, live: Live, crowd: set[asyncio.Future[None]]) -> None:
        if live.done:  # known for good, also when the client is closed
            return
        loop = self._home.enter()
        if (live.endpoint.path, live.id) not in self._lives:
            self.watch(live, at_once=True)  # it was found missing, or given up, and is asked for again
        future: asyncio.Future[None] = loop.create_future()
        schedule = self._schedule  # another one, if the loop is replaced while this waits
        crowd.add(future)
        wish = schedule.want(live)
        self._pump(self._home.time())
        try:
            await future
        finally:
            crowd.discard(future)
            schedule.unwant(wish)

    async def refresh(self, live: Live, retry: Retry, timeouts: Timeouts) -> None:
        """Ask now, patiently but not for ever."""

        async def read() -> ReadVerdict:
            return await self._transport.read("GET", _path(live), timeouts=timeouts)

        got = await read_patiently(read, retry=retry, rng=self._rng, what=live.id)
        self._apply(live, _decode(live, got))

    def see(self, live: Live, record: TaskRecord) -> None:
        """Take what is known of a task from elsewhere: a list, a create's answer."""
        self._apply(live, record)

    def fail_all(self, error: KlingError) -> None:
        """Let every waiter fail; the tasks themselves are not affected."""
        for live in list(self._lives.values()):
            _fail(live, error)

    def silence(self) -> None:
        """Set no more timers: the client is closed."""
        self._alarm.clear()

    # -- asking

    def _pump(self, now: float) -> None:
        if self._home.closed:
            return
        try:
            for key in self._schedule.ask(now):
                assert isinstance(key, Live)  # noqa: S101 - what `watch` put in
                self._home.spawn(self._look(key), f"look {key.id}")
            self._alarm.set(self._schedule.next_time())
        except Exception as error:  # a bug must not leave anyone waiting for ever
            log.exception("asking about tasks broke")
            self.fail_all(TransportError(f"asking about tasks broke: {type(error).__name__}", sent=False))

    async def _look(self, live: Live) -> None:
        self._hooks.emit(
            "asked", self._home.time(), endpoint=live.endpoint.name, pool=live.endpoint.pool, task_id=live.id
        )
        try:
            verdict = await self._transport.read("GET", _path(live), timeouts=self._timeouts)
            self._answered(live, verdict)
        except Exception as error:  # a bug must not leave anyone waiting for ever
            log.exception("looking at task %s broke", live.id)
            self._schedule.failed(live, self._home.time(), self._rng.random())
            reason = f"asking about task {live.id} broke: {type(error).__name__}"
            _fail(live, error if isinstance(error, KlingError) else TransportError(reason, sent=True))
        self._pump(self._home.time())

    def _answered(self, live: Live, verdict: ReadVerdict) -> None:
        match verdict:
            case Got():
                try:
                    record = _decode(live, verdict)
                except BadResponse as error:
                    self._again(live, Again(error))
                    return
                live.misses = live.odd = 0
                self._schedule.answered(live, self._home.time())
                self._apply(live, record)
            case Again():
                self._again(live, verdict)
            case Missing():
                self._missed(live, verdict)
            case Refused(error=BadResponse() | APIError(code=None)) if live.odd + 1 < _ODD:
                live.odd += 1
                self._again(live, Again(verdict.error))
            case Refused():
                live.odd = 0
                self._schedule.failed(live, self._home.time(), self._rng.random())
                _fail(live, verdict.error)
            case _:  # pragma: no cover - the transport renews tokens itself
                raise AssertionError(verdict)

    def _again(self, live: Live, verdict: Again) -> None:
        count = self._schedule.failed(live, self._home.time(), self._rng.random(), verdict.after)
        log.info("no answer about task %s (%d in a row): %s", live.id, count, verdict.error)

    def _missed(self, live: Live, verdict: Missing) -> None:
        """A task that was seen once is asked for again before it counts as gone; its slots are free then."""
        live.misses += 1
        if live.record is not None and live.misses < _MISSES:
            self._schedule.answered(live, self._home.time())
            return
        error: TaskNotFound = not_found(verdict, live.id)
        self._forget(live)
        _fail(live, error)

    # -- what was seen

    def _apply(self, live: Live, record: TaskRecord) -> None:
        before, live.record = live.record, _merged(live.record, record)
        record = live.record
        state = state_of(record.status)
        if not is_known_status(record.status) and record.status not in self._reported:
            self._reported.add(record.status)
            log.warning("unknown task status %r counts as running", record.status[:50])
        if before is None or (before.status, before.updated_at) != (record.status, record.updated_at):
            self._tell("changed", live, record)
            _wake(live.changes)
        if before is None:
            self._found(live, record, state)
        if state is not State.RUNNING and (before is None or state_of(before.status) is State.RUNNING):
            self._end(live, record)

    def _found(self, live: Live, record: TaskRecord, state: State) -> None:
        """An attached task was seen for the first time: if it runs, it holds slots."""
        if live.ticket is None:
            live.ticket = self.find_ticket(record.external_task_id)
        twin = self._lives.get((live.endpoint.path, record.task_id), live)
        if live.ticket is None and state is State.RUNNING and twin is live:
            age = max(0.0, self._home.now() - record.created_at / 1000) if record.created_at else 0.0
            weight = live.endpoint.weight(live.request) if live.request is not None else 1
            live.ticket = self._limiter.occupy(live.endpoint.pool, weight, age, live)

    def _end(self, live: Live, record: TaskRecord) -> None:
        self._forget(live)
        self._tell("ended", live, record)
        _wake(live.changes)
        _wake(live.waiters)

    def _forget(self, live: Live) -> None:
        self._lives.pop((live.endpoint.path, live.id), None)
        self._schedule.remove(live)
        if live.ticket is not None:
            self._limiter.release(live.endpoint.pool, live.ticket)
            live.ticket = None

    def _tell(self, kind: Any, live: Live, record: TaskRecord) -> None:
        if self._hooks:
            self._hooks.emit(
                kind,
                self._home.time(),
                endpoint=live.endpoint.name,
                pool=live.endpoint.pool,
                external_task_id=record.external_task_id,
                task_id=record.task_id,
                status=record.status,
                detail=record.message,
            )

    def _crowd(self, pool: str, crowded: bool) -> None:
        self._schedule.crowd(pool, crowded)
        self._pump(self._home.time())

    def _moved(self) -> None:
        """The loop was replaced: those who waited in it are gone, the tasks are not."""
        self._alarm.clear()
        self._schedule = self._new_schedule()
        for live in self._lives.values():
            live.waiters.clear()
            live.changes.clear()
            self._schedule.add(live, live.endpoint.pool, self._home.time(), at_once=True)


def _path(live: Live) -> str:
    return f"{live.endpoint.path}/{live.id}"


def _decode(live: Live, got: Got) -> TaskRecord:
    try:
        return decode_task(live.endpoint.name, got.data)
    except msgspec.DecodeError as error:
        reason = f"the task cannot be read: {error}"
    raise BadResponse(reason, http_status=got.answer.http_status, request_id=got.answer.request_id)


def _merged(old: TaskRecord | None, new: TaskRecord) -> TaskRecord:
    """Keep the external id where an answer leaves it out, as some do."""
    if old is None or new.external_task_id or not old.external_task_id:
        return new
    return msgspec.structs.replace(new, external_task_id=old.external_task_id)


def _wake(crowd: set[asyncio.Future[None]]) -> None:
    for future in crowd:
        if is_pending(future):
            future.set_result(None)


def _fail(live: Live, error: KlingError) -> None:
    for future in (*live.waiters, *live.changes):
        if is_pending(future):
            future.set_exception(error.again())
            future.exception()  # seen: a waiter that is being cancelled will not look
