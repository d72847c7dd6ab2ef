"""The poller: asks about running tasks while somebody waits, and wakes the waiters.

Work belongs to the client, demand to the waiters: a status query runs in an asyncio task of the client's, so
a waiter that gives up cancels nothing, and without any waiter no new query is sent. `core.schedule` decides
what to ask and when; `core.verdict` decides what an answer means.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from kling_async.core.durations import KNOWN
from kling_async.core.looks import RefusalWeight, refusal_of
from kling_async.core.verdict import Again, Got, Missing, Refused
from kling_async.errors import BadResponse, KlingError, TransportError
from kling_async.events import facts
from kling_async.http.retry import not_found
from kling_async.orchestrator.poll_log import PollLog
from kling_async.orchestrator.refreshes import Refreshes
from kling_async.orchestrator.status_reader import tasks_of
from kling_async.orchestrator.tracked import ENDED, TrackedTask, sort_sightings
from kling_async.orchestrator.turns import ReadTurns
from kling_async.redaction import redact
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from kling_async.core.queries import StatusQuery
    from kling_async.core.schedule import Schedule
    from kling_async.core.verdict import ReadVerdict
    from kling_async.events import Hooks
    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.registry import PollerHome, TaskRegistry
    from kling_async.orchestrator.scheduling import TaskScheduling
    from kling_async.orchestrator.status_reader import StatusAnswer, StatusReader
    from kling_async.orchestrator.tracked import TaskKey
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Poller"]

log = logging.getLogger("kling_async.polling")

_REFUSED_FROM: Final = 400
"""HTTP status from which an answer that cannot be read is a failure of a server, and no odd answer."""
_LATE: Final = 0.99
"""Share of the tasks of a kind that have ended by the time at which one counts as late."""


class Poller:
    """All tasks that a client polls with the same settings."""

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        reader: StatusReader,
        registry: TaskRegistry,
        home: PollerHome,
        schedule: Callable[[], Schedule],
        scheduling: TaskScheduling,
        rng: random.Random,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._reader = reader
        self.registry = registry
        self._new_schedule = schedule
        self._schedule = schedule()
        self._scheduling = scheduling
        self._rng = rng
        self._tasks: dict[TaskKey, TrackedTask] = {}
        """By the id they are asked by; none has been seen ended."""
        self._timer = Timer(scope, self._ask_due)
        self._log = PollLog(scope, reader.host)
        self._refreshes = Refreshes(scope, hooks, reader, rng, ReadTurns(scope, self.ask_soon), self._read)
        self._home = home
        home.subscribe(self)

    def __iter__(self) -> Iterator[TrackedTask]:
        """Iterate over all tasks not seen ended."""
        return iter(list(self._tasks.values()))

    @property
    def turns(self) -> ReadTurns:
        """Where reads beside the status queries wait for their turn."""
        return self._refreshes.turns

    @property
    def running(self) -> int:
        """How many tasks have not been seen ended."""
        return len(self._tasks)

    def find(self, endpoint: Endpoint[Any], id: str) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return the tracked task of that id, polled or not."""
        return self.registry.find(endpoint, id)

    def watch(self, task: TrackedTask, *, at_once: bool = False) -> TrackedTask:
        """Start to poll a task, ``at_once`` if nothing is known of it; return the one that is polled."""
        polled = self._tasks.setdefault(task.key, task)
        self._home.keep(self, True)
        if task.record is not None:
            self.registry.add(task)
        if polled is task:
            self._scheduling.add(self._schedule, task, at_once=at_once)
            if task.record is not None and task.done:  # found only after it had ended
                self._end(task, task.record)
            self.ask_soon()
        elif task.ticket is not None:  # attached to while its create was in doubt
            self.registry.merge(polled, task)
        return polled

    def hinted(self, task: TrackedTask) -> None:
        """Ask as soon as the rates allow: something says that this task has changed.

        An end that the query finds counts as told by a callback, if the task has one to expect.
        """
        if task.done:
            self._scheduling.told_late(task)
        else:
            self._schedule.hurry(task, self._scope.time())
            self._ask_due(self._scope.time())

    def told(self, task: TrackedTask, record: TaskRecord) -> None:
        """Take the record of a callback that is believed: an end wakes its waiters, without a query.

        A success without its whole result is asked about at once. A record that is about another task, or
        earlier than what is known, changes nothing.
        """
        if task.done:
            self._scheduling.told_late(task)
        elif task.may_be(record) and task.is_newer(record):
            if task.state_in(record) in ENDED:
                self._schedule.told(task, self._scope.time())
            self._read(task, record)
            if task.lacks_result:
                self.hinted(task)

    def eta(self, task: TrackedTask) -> float | None:
        """Return the seconds until half of the tasks like this one have ended; None if that is not known."""
        now = self._scope.time()
        end = self._schedule.expected_end(task, now=now)
        return None if end is None else max(0.0, end - now)

    async def wait(self, task: TrackedTask) -> None:
        """Return when the task was seen ended.

        Raises:
            KlingError: Its end cannot be known: the key was refused, or the task does not exist.
        """
        await self._await(task, task.waiters.end)

    async def change(self, task: TrackedTask) -> None:
        """Return when the task was seen to change; raises as `wait` does."""
        await self._await(task, task.waiters.change)

    async def _await(self, task: TrackedTask, futures: dict[asyncio.Future[None], None]) -> None:
        loop = None if task.done else self._scope.enter()  # an end is known also when the client is closed
        if loop is None or task.done:  # steps handed over by other threads are taken in `enter`: callbacks
            return
        if task.key not in self._tasks:
            self.registry.take_over(task)
            self.watch(task, at_once=True)  # attached and never seen, or missing and asked for again
        future: asyncio.Future[None] = loop.create_future()
        schedule = self._schedule  # it is replaced if the loop is while this waits
        futures[future] = None
        token = schedule.add_waiter(task)
        self.ask_soon()
        try:
            await future
        finally:
            futures.pop(future, None)
            schedule.remove_waiter(token)

    async def refresh(self, task: TrackedTask, retry: Retry, timeouts: Timeouts) -> None:
        """Ask about one task as soon as the rate allows; try again as often as ``retry`` allows.

        Raises:
            KlingError: No answer came, or the task does not exist.
        """
        await self._refreshes.ask(task, retry, timeouts)

    def found(self, endpoint: Endpoint[Any], record: TaskRecord) -> TrackedTask:
        """Track a task that the account had already; return the tracked task to use."""
        task = self.registry.obtain(endpoint, record.task_id)
        self._read(task, record)
        return task

    def _read(self, task: TrackedTask, record: TaskRecord) -> None:
        """Take a record that no query of the schedule has read."""
        self._observe(task, record)
        if not task.done and task.key not in self._tasks:
            self.watch(task)  # it holds slots now, so its end must be seen

    def fail_all(self, error: KlingError) -> None:
        """Raise an error to every waiter; the tasks themselves are not affected."""
        for task in list(self._tasks.values()):
            task.waiters.fail(error)

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._timer.clear()
        self.turns.release()

    # -- status queries

    def ask_soon(self) -> None:
        """Ask in the loop's next turn: once, however many waiters come in this one."""
        self._timer.advance(self._scope.time())

    def _ask_due(self, now: float) -> None:
        """Send the queries that are due."""
        if self._scope.closed:
            return
        try:
            lookups, refreshes = self.turns.waiting()
            turns = self._schedule.take_turns(now, lookups=lookups, refreshes=refreshes)
            self.turns.admit(turns)
            for query in turns.queries:
                self._send(query)
            spare = any(self.turns.waiting())
            self._timer.set(self._schedule.next_time(spare=spare))
        except Exception as error:  # a bug must not leave anyone waiting for ever
            log.exception("sending status queries failed", extra=facts())
            self.turns.release()
            reason = f"sending status queries failed: {type(error).__name__}"
            self.fail_all(TransportError(reason, sent=False))

    def _send(self, query: StatusQuery) -> None:
        """Send a query in the background, and have it back whatever becomes of it."""
        schedule = self._schedule  # it is replaced if the loop is

        def give_back(_: object = None) -> None:
            # not in a `finally` of the coroutine: cancelled before its first step, that would never run
            schedule.failed(query, self._scope.time(), self._rng.random())  # unless it was settled
            if schedule is self._schedule and not self._scope.closed:
                self.ask_soon()

        try:
            work = self._scope.spawn(self._ask(query), f"status query {query.number}")
        except BaseException:
            give_back()
            raise
        work.add_done_callback(give_back)

    async def _ask(self, query: StatusQuery) -> None:
        """Send one query and take its answer."""
        tasks = tasks_of(query)
        self._hooks.emit("asked", *tasks, detail=f"{query.form}: {len(tasks)}")
        try:
            self._answered(query, tasks, await self._reader.ask(query, tasks))
        except asyncio.CancelledError:  # `_send` has it asked again: waiters lose nothing
            raise
        except BaseException as error:  # a bug must not leave anyone waiting for ever
            log.exception("a status query about %d tasks failed", len(tasks), extra=facts(*tasks))
            self._schedule.failed(query, self._scope.time(), self._rng.random())
            reason = f"the status query failed: {type(error).__name__}"
            known = error if isinstance(error, KlingError) else TransportError(reason, sent=True)
            for task in tasks:
                task.waiters.fail(known)
            if not isinstance(error, Exception):
                raise
        self._ask_due(self._scope.time())

    def _answered(self, query: StatusQuery, tasks: list[TrackedTask], answer: StatusAnswer) -> None:
        match answer.verdict:
            case Got():
                self._reader.readable(query)
                self._log.answered()
                self._scheduling.seen(answer.verdict.answer.date)
                self._found(query, tasks, answer.records)
            case Again():
                self._failed(query, tasks, answer.verdict)
                if answer.malformed and query.form != "one":
                    self._count_bad_answer(query)
            case Refused(error) if refusal_of(error) is RefusalWeight.FINAL and (
                query.form == "one" or isinstance(error, TransportError)
            ):
                self._refused_for_good(query, tasks, error)
            case _ if query.form != "one":
                self._form_refused(query, tasks, answer.verdict)
            case Missing():
                self._missed(query, tasks[0], answer)
            case Refused(error) if refusal_of(error) is RefusalWeight.WALL:
                self._walled(query, tasks[0], error)
            case Refused(error):
                self._failed(query, tasks, Again(error))
            case _:  # pragma: no cover - the transport renews tokens itself
                raise AssertionError(answer.verdict)

    def _found(
        self, query: StatusQuery, tasks: list[TrackedTask], records: dict[TrackedTask, TaskRecord]
    ) -> None:
        for task in tasks:
            if task not in records:
                task.looks.left_out(query.form)
        running, ended, pauses, strange = sort_sightings(records)
        self._log.strange(strange, records)
        now = self._scope.time()
        if query.form == "one" and pauses:
            self._schedule.failed(query, now, self._rng.random(), *pauses)
        else:  # tasks without their result are left out: so they are asked about alone
            self._schedule.answered(query, running, ended, now)
        for task, record in records.items():
            self._observe(task, record, final=task in ended)
        for task in running:
            if task.waiters.undated and not task.waiters.warned_late:
                self._log.late(task, self._schedule.expected_end(task, _LATE, least=KNOWN))

    def _failed(self, query: StatusQuery, tasks: list[TrackedTask], verdict: Again) -> None:
        """Ask again after a pause; tell of the failure unless the last one was the same."""
        self._schedule.failed(query, self._scope.time(), self._rng.random(), verdict.after)
        if not isinstance(verdict.error, BadResponse) or verdict.error.http_status >= _REFUSED_FROM:
            self._log.failed(verdict.error, tasks)
            return
        told = [task for task in tasks if task.looks.garbled()]
        if told:
            self._log.unreadable(verdict.error, told)
        task = tasks[0]
        if query.form == "one" and (seen := task.lacks_result) and task.looks.without_result() is None:
            self._observe(task, seen, final=True)  # its own path fails: take what was seen

    def _form_refused(self, query: StatusQuery, tasks: list[TrackedTask], verdict: ReadVerdict) -> None:
        """Ask in another form: this account, or a gateway before it, does not answer queries of this one."""
        if isinstance(verdict, Refused) and isinstance(verdict.error, BadResponse):
            self._failed(query, tasks, Again(verdict.error))
            self._count_bad_answer(query)
        else:
            self._give_up_form(query)

    def _give_up_form(self, query: StatusQuery) -> None:
        log.info("status queries of form %r do not work at %r", query.form, query.path, extra=facts())
        self._schedule.unsupported(query, self._scope.time())

    def _count_bad_answer(self, query: StatusQuery) -> None:
        """Give a form up after a few answers in a row that only a broken gateway gives."""
        if self._reader.unreadable(query):
            self._give_up_form(query)

    def _refused_for_good(self, query: StatusQuery, tasks: list[TrackedTask], error: KlingError) -> None:
        """Raise a refusal of the account, or of any connection, to the waiters; the tasks live on."""
        self._schedule.failed(query, self._scope.time(), self._rng.random())
        for task in tasks:
            task.waiters.fail(error)

    def _walled(self, query: StatusQuery, task: TrackedTask, error: KlingError) -> None:
        """Ask again where somebody before the vendor refuses; raise that once it has lasted."""
        now = self._scope.time()
        self._log.failed(error, [task])
        self._schedule.failed(query, now, self._rng.random())
        if task.looks.walled(now):
            task.waiters.fail(self._log.wall(error, task))

    def _missed(self, query: StatusQuery, task: TrackedTask, answer: StatusAnswer) -> None:
        """Count a miss; a task that counts as gone is polled no more, and its slots are free."""
        assert isinstance(answer.verdict, Missing)  # noqa: S101 - the caller has matched it
        now = self._scope.time()
        if task.done:  # a refresh saw the end while this query was out
            return
        miss = task.miss(answer.form, query.asked_at)
        if not miss.gone:
            self._schedule.failed(query, now, self._rng.random(), miss.pause)
            return
        error = not_found(answer.verdict, task.id)
        self.forget(task)
        if task.record is not None:
            self._hooks.emit("ended", task, error=type(error).__name__, detail=error.message)
        task.waiters.fail(error)

    # -- observations

    def _observe(self, task: TrackedTask, record: TaskRecord, *, final: bool = False) -> None:
        """Take a record that was just read; ``final`` takes a success though its result is not there."""
        seen = task.observe(record, final=final)
        task.looks.seen_at = self._scope.time()
        self._log.seen(task, record)
        if seen.changed:
            if self.registry.is_holder(task):
                self._hooks.emit("changed", task, status=record.status, detail=redact(record.message))
            task.waiters.wake_change()
        if seen.first:
            self.registry.add_attached(task, self._scope.time() - self._scheduling.started(task))
        if seen.ended:
            self._end(task, record)
        elif task.lacks_result:
            self.registry.free_slots(task)

    def _end(self, task: TrackedTask, record: TaskRecord) -> None:
        holder = self.registry.is_holder(task)
        self.forget(task)
        if holder:
            self._hooks.emit("ended", task, status=record.status, detail=redact(record.message))
        task.waiters.wake_all()

    def forget(self, task: TrackedTask) -> None:
        """Poll a task no more; its slots are free."""
        self._tasks.pop(task.key, None)
        self._home.keep(self, bool(self._tasks))
        self._schedule.remove(task)
        self.registry.retire(task)

    def on_contention(self, pool: str, contended: bool) -> None:
        """Note whether submits queue for the slots of a pool; ask at once if that is new."""
        if self._schedule.set_contention(pool, contended):
            self._ask_due(self._scope.time())

    def on_loop_replaced(self) -> None:
        """Start anew in another loop: the waiters of the old one are gone, the tasks are not."""
        self._timer.clear()
        self.turns.clear()
        self._refreshes.on_loop_replaced()
        self._schedule = self._new_schedule()
        for task in self._tasks.values():
            task.waiters.drop()
            self._scheduling.add(self._schedule, task, at_once=True)
