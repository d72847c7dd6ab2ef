"""Asking: one process asks about the tasks of all, and the others read results once they have ended.

The process that asks polls a *shadow* of every task in the ledger, with a poller of its own. What it sees of
this process's tasks goes to their handles at once; of others' tasks it writes down that they have ended, and
nothing else: addresses of results do not travel. All other pollers are passive: they ask only about what the
ledger cannot tell them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.catalog import TASKS, endpoint_of
from kling_async.core.callbacks import CallbackChannels
from kling_async.core.queue import Phase, Ticket
from kling_async.core.schedule import Schedule
from kling_async.events import Hooks
from kling_async.orchestrator.poller import Poller
from kling_async.orchestrator.registry import TaskRegistry
from kling_async.orchestrator.scheduling import TaskScheduling
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.wire.endpoints import RawTask

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

    from kling_async.core.durations import Durations
    from kling_async.core.poll_groups import PolledTask
    from kling_async.core.queries import QueryForms, StatusQuery
    from kling_async.events import EventKind, Subject
    from kling_async.options import Polling, Retry
    from kling_async.orchestrator.contention import ContentionListener
    from kling_async.orchestrator.ledger.steps import HeldTask, TaskFacts
    from kling_async.orchestrator.status_reader import StatusReader
    from kling_async.orchestrator.tracked import TaskKey
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Asking", "LedgerWants", "PassiveSchedule", "ShadowPoller"]

_LAG: Final = 1.0
"""Seconds by which a task may have ended before the process that asks sees it, about."""


class LedgerWants(Protocol):
    """Takes which tasks somebody here waits for, and which have ended (`ledger.shared.SharedLimiter`)."""

    def want(self, ticket: Ticket, wanted: bool, /) -> None:
        """Note whether somebody here waits for the end of a task."""

    def end(self, about: TaskFacts, /) -> None:
        """Tell all processes that a task was seen ended."""

    def has_ended(self, task: Hashable, /) -> bool:
        """Tell whether another process has seen a task of this one ended."""
        ...


class PassiveSchedule(Schedule):
    """A schedule of tasks that another process asks about.

    Only tasks that the ledger does not know yet, those that are nudged, and those that were seen ended
    elsewhere are asked about here: the last until the end is seen here, too.
    """

    def __init__(
        self,
        polling: Polling,
        retry: Retry,
        durations: Durations,
        forms: QueryForms,
        rng: random.Random,
        ledger: LedgerWants,
    ) -> None:
        super().__init__(polling, retry, durations, forms, rng)
        self._ledger = ledger
        self._waiting: dict[Hashable, int] = {}
        self._asked_here: dict[Hashable, PolledTask] = {}

    def add(self, key: Hashable, *, at_once: bool = False, **facts: Any) -> None:
        """Know a task; one of which nothing is known yet is asked about here."""
        super().add(key, at_once=at_once, **facts)
        if at_once:
            self._ask_here(key)

    def remove(self, key: Hashable) -> None:
        """Forget a task."""
        self._asked_here.pop(key, None)
        super().remove(key)

    def add_waiter(self, key: Hashable) -> PolledTask:
        """Count one waiter more for a task."""
        self._waiting[key] = self._waiting.get(key, 0) + 1
        self._want(key)
        return self._tasks[key]

    def remove_waiter(self, task: PolledTask) -> None:
        """Count one waiter less."""
        left = self._waiting.pop(task.key, 1) - 1
        if left:
            self._waiting[task.key] = left
        self._want(task.key)

    def _want(self, key: Hashable) -> None:
        if isinstance(key, TrackedTask) and key.ticket is not None:
            self._ledger.want(key.ticket, key in self._waiting)

    def set_contention(self, pool: str, contended: bool) -> bool:  # noqa: ARG002 - as `Schedule` says
        """Change nothing: whoever asks for all knows what is queued."""
        return False

    def hurry(self, key: Hashable, now: float) -> None:
        """Ask about this task as soon as the rates allow."""
        polled = self._tasks.get(key)
        if polled is not None:
            if self._ledger.has_ended(key):  # a moment ago: that teaches how long such tasks take
                polled.idleness.seen_running(max(polled.idleness.looked, now - _LAG))
            self._ask_here(key)
        super().hurry(key, now)

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; what runs still is left to the process that asks for all."""
        super().answered(query, running, ended, now)
        for key in running:
            if not self._ledger.has_ended(key) and (polled := self._asked_here.pop(key, None)) is not None:
                super().remove_waiter(polled)
                self._want(key)

    def _ask_here(self, key: Hashable) -> None:
        if key not in self._asked_here:
            self._asked_here[key] = super().add_waiter(key)


class _OnlyQueries(Hooks):
    """Counts the queries about shadows; all else is told by those whose tasks they are."""

    def __init__(self, hooks: Hooks) -> None:
        super().__init__(None, lambda: 0.0)
        self._hooks = hooks

    def emit(self, kind: EventKind, *about: Subject, **more: Any) -> None:
        """Pass on that a query was sent."""
        if kind == "asked":
            self._hooks.emit(kind, *about, **more)


class _Shadows:
    """Stands for slots, creates and home of the shadows, which hold nothing themselves."""

    def __init__(self, ledger: LedgerWants) -> None:
        self._ledger = ledger
        self.facts: dict[Ticket, TaskFacts] = {}

    def occupy(self, name: str, weight: int, age: float, holder: Subject) -> Ticket:  # noqa: ARG002
        """Make a ticket that stands for nothing."""
        return Ticket(weight, phase=Phase.HELD)

    def held_by(self, ticket: Ticket, holder: Subject) -> None:
        """Do nothing."""

    def release(self, ticket: Ticket) -> None:
        """Tell all processes that a task was seen ended."""
        facts = self.facts.pop(ticket, None)
        if facts is not None:
            self._ledger.end(facts)

    def claim(self, task: TrackedTask) -> Ticket | None:  # noqa: ARG002 - as the protocol says
        """Know no create of unknown fate."""
        return None

    def subscribe(self, listener: ContentionListener) -> None:
        """Do nothing: `ShadowPoller.follow` says what is queued."""

    def keep(self, poller: Any, busy: bool) -> None:
        """Do nothing: the client keeps it."""


class _ShadowScheduling(TaskScheduling):
    """Adds shadows to a schedule, by what the ledger says of their tasks."""

    def __init__(self, scope: LoopScope, leases: dict[TrackedTask, tuple[HeldTask, float]]) -> None:
        super().__init__(scope, CallbackChannels())
        self._leases = leases

    def add(self, schedule: Schedule, task: TrackedTask, *, at_once: bool) -> None:
        """Add a shadow; one that nobody wants is not urgent."""
        held, started = self._leases[task]
        task.started = started
        schedule.add(
            task,
            pool=held.pool,
            path=task.endpoint.path,
            kind=(task.endpoint.name, _kind(held.about.kind)),
            median=task.endpoint.median,
            now=self._scope.time(),
            weight=max(1, held.weight),
            started=started,
            at_once=at_once and held.wanted,
        )


class ShadowPoller(Poller):
    """Polls the shadows of all tasks in the ledger, while this process is the one that asks.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the event ``asked``.
        reader: Sends status queries.
        ledger: Takes which tasks have ended.
        schedule: Makes a schedule.
        rng: Source of jitter.
        deliver: Takes records of this process's own tasks.
    """

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        reader: StatusReader,
        ledger: LedgerWants,
        schedule: Callable[[], Schedule],
        rng: random.Random,
        deliver: Callable[[Endpoint[Any], TaskRecord], None],
    ) -> None:
        self._shadows = _Shadows(ledger)
        self._leases: dict[TrackedTask, tuple[HeldTask, float]] = {}
        """Of each shadow: what the ledger says, and when its task began, by the client's clock."""
        self._followed: dict[TaskKey, TrackedTask] = {}
        self._wanted: dict[TrackedTask, PolledTask] = {}
        self._contended: frozenset[str] = frozenset()
        self._deliver = deliver
        registry = TaskRegistry(self._shadows, self._shadows)
        scheduling = _ShadowScheduling(scope, self._leases)
        super().__init__(
            scope, _OnlyQueries(hooks), reader, registry, self._shadows, schedule, scheduling, rng
        )

    def follow(self, tasks: Iterable[HeldTask], contended: frozenset[str], now: float) -> None:
        """Ask about these tasks and no others.

        Args:
            tasks: All that hold slots; those that nobody wants are only known.
            contended: Pools that anybody queues for.
            now: The time of the ledger's clock.
        """
        left = dict(self._followed)
        for key, held in _by_id(tasks).items():
            shadow = left.pop(key, None) or self._new(key, held, now)
            self._set_wanted(shadow, held.wanted)
        for key, shadow in left.items():  # ended, or its task id has become known: it has a new shadow
            del self._followed[key]
            self._drop(shadow)
        for pool in self._contended ^ contended:
            self.on_contention(pool, pool in contended)
        self._contended = contended

    def _new(self, key: TaskKey, held: HeldTask, now: float) -> TrackedTask:
        about, ticket = held.about, Ticket(held.weight, phase=Phase.HELD)
        shadow = TrackedTask(
            _endpoint_at(about.endpoint, held.pool),
            key[1],
            ticket=ticket,
            by_external_id=not about.task_id,
            confirmed=bool(about.task_id),
        )
        self._shadows.facts[ticket] = about
        self._leases[shadow] = (held, self._scope.time() - max(0.0, now - held.since))
        self._followed[key] = shadow
        self.watch(shadow)
        return shadow

    def _set_wanted(self, shadow: TrackedTask, wanted: bool) -> None:
        if wanted and shadow not in self._wanted and self._tasks.get(shadow.key) is shadow:
            self._wanted[shadow] = self._schedule.add_waiter(shadow)
            self._ask_soon()
        elif not wanted and (token := self._wanted.pop(shadow, None)) is not None:
            self._schedule.remove_waiter(token)

    def _drop(self, shadow: TrackedTask) -> None:
        """Ask no more about a task that left the ledger."""
        if shadow.ticket is not None:
            self._shadows.facts.pop(shadow.ticket, None)
        self._wanted.pop(shadow, None)
        self._leases.pop(shadow, None)
        if self._tasks.get(shadow.key) is shadow:
            self._forget(shadow)

    def _observe(self, task: TrackedTask, record: TaskRecord, *, final: bool = False) -> None:
        super()._observe(task, record, final=final)
        self._deliver(task.endpoint, record)

    def on_loop_replaced(self) -> None:
        """Start anew in another loop."""
        self._wanted.clear()
        super().on_loop_replaced()


class Asking:
    """Lets this process ask about the tasks of all, when it is its turn, and hear of its own otherwise.

    Args:
        scope: The client's loop and clock.
        pollers: Those of this process, which are passive.
        new_shadows: Makes the poller that asks for all.
    """

    def __init__(
        self,
        scope: LoopScope,
        pollers: Iterable[Poller],
        new_shadows: Callable[[Callable[[Endpoint[Any], TaskRecord], None]], ShadowPoller],
    ) -> None:
        self._scope = scope
        self._pollers = pollers
        self._shadows = new_shadows(self._deliver)
        scope.subscribe(self._shadows)

    def on_tasks(self, tasks: Sequence[HeldTask], contended: frozenset[str], now: float) -> None:
        """Ask about these tasks, for all processes; none: another process asks."""
        self._shadows.follow(tasks, contended if tasks else frozenset(), now)

    def on_ended(self, holder: Subject) -> None:
        """Read the result of a task of this process, which another one has seen ended."""
        if isinstance(holder, TrackedTask) and not holder.done:
            for poller in self._pollers:
                poller.hinted(holder)

    def _deliver(self, endpoint: Endpoint[Any], record: TaskRecord) -> None:
        """Hand a record to the handles of this process."""
        for poller in self._pollers:
            known = poller.find(endpoint, record.task_id)
            if known is not None and not known.done:
                poller.found(endpoint, record)

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._shadows.stop_timers()


def _by_id(tasks: Iterable[HeldTask]) -> dict[TaskKey, HeldTask]:
    """Return the tasks by the id to ask by; one that several processes know stands once."""
    found: dict[TaskKey, HeldTask] = {}
    for held in tasks:
        key = (held.about.endpoint, held.about.task_id or held.about.external_task_id)
        other = found.get(key)
        if other is not None:
            first = max(other, held, key=lambda one: one.weight)  # whoever made it knows what it is
            found[key] = first._replace(wanted=other.wanted or held.wanted)
        else:
            found[key] = held
    return found


_BY_PATH: Final = {row.path: row for row in TASKS}


def _endpoint_at(path: str, pool: str) -> Endpoint[Any]:
    found = _BY_PATH.get(path)
    return endpoint_of(RawTask(path=path, body={}, pool=pool)) if found is None else found


def _kind(text: str) -> Hashable:
    """Return what a duration depends on, as it was before it was written down."""
    try:
        read: Hashable = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return read
