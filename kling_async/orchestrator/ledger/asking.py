"""Asking: one process asks about the tasks of all, and the others read results once they have ended.

The process that asks polls a *shadow* of every task in the ledger, with a poller of its own. What it sees of
this process's tasks goes to their handles at once; of others' tasks it writes down that they have ended, and
sends the results as letters, past what the ledger keeps. All other pollers are passive: they ask only about
what the ledger cannot tell them.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Protocol

from kling_async.core.callbacks import CallbackChannels
from kling_async.core.queue import Phase, Ticket
from kling_async.events import Hooks
from kling_async.orchestrator.contention import ContentionListener
from kling_async.orchestrator.scheduling import TaskScheduling
from kling_async.orchestrator.tracked import TrackedState, TrackedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from kling_async.core.poll_groups import PolledTask
    from kling_async.core.schedule import Schedule
    from kling_async.events import EventKind, Subject
    from kling_async.orchestrator.ledger.mailbox import Letter
    from kling_async.orchestrator.ledger.steps import HeldTask, TaskFacts
    from kling_async.orchestrator.tracked import TaskKey
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope
    from kling_async.wire.endpoints import Endpoint

__all__ = [
    "Asking",
    "BelievesCallbacks",
    "OwnPoller",
    "ShadowParts",
    "ShadowsPoller",
    "TellsEnds",
    "new_asking",
]


class TellsEnds(Protocol):
    """Takes which tasks have ended (`ledger.shared.SharedLimiter`)."""

    def end(self, about: TaskFacts, record: TaskRecord | None, /) -> None:
        """Tell all processes that a task was seen ended; with its record, if that has its whole result."""

    def note_ended(self, task: TrackedTask, /) -> None:
        """Note that another process has seen a task of this one ended."""


class OwnPoller(Protocol):
    """A poller of this process's tasks (`orchestrator.poller.Poller`)."""

    def find(self, endpoint: Endpoint[Any], id: str, /) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return the tracked task of that id, polled or not."""
        ...

    def found(self, endpoint: Endpoint[Any], record: TaskRecord, /) -> TrackedTask:
        """Take the record of a task."""
        ...

    def told(self, task: TrackedTask, record: TaskRecord, /) -> None:
        """Take a record that no query of this process has read."""

    def hinted(self, task: TrackedTask, /) -> None:
        """Ask about a task as soon as the rates allow."""

    def ask_soon(self) -> None:
        """Ask in the loop's next turn."""


class ShadowsPoller(ContentionListener, Protocol):
    """A poller of shadows (`orchestrator.poller.Poller`)."""

    def watch(self, task: TrackedTask, /) -> TrackedTask:
        """Start to poll a task."""
        ...

    def forget(self, task: TrackedTask, /) -> None:
        """Poll a task no more."""

    def ask_soon(self) -> None:
        """Ask in the loop's next turn."""

    def stop_timers(self) -> None:
        """Set no more timers."""

    def on_loop_replaced(self) -> None:
        """Start anew in another loop."""


class ShadowParts:
    """Parts of a poller of shadows: they hold no slots, and report ends to the ledger.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the event ``asked``.
        ledger: Takes which tasks have ended.
        new_schedule: Makes a schedule that asks.
        deliver: Takes records of this process's own tasks.
    """

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        ledger: TellsEnds,
        new_schedule: Callable[[], Schedule],
        deliver: Callable[[Endpoint[Any], TaskRecord], None],
    ) -> None:
        self._ledger = ledger
        self._new_schedule = new_schedule
        self.hooks: Hooks = _ShadowHooks(hooks, deliver)
        self.shadows: dict[Ticket, tuple[TaskFacts, TrackedTask]] = {}
        """By the tickets that stand for those of the ledger."""
        self.leases: dict[TrackedTask, tuple[HeldTask, float]] = {}
        """Of each shadow: what the ledger says, and when its task began, by the client's clock."""
        self.scheduling: TaskScheduling = _ShadowScheduling(scope, self.leases)
        self.schedule: Schedule

    def new_schedule(self) -> Schedule:
        """Make the poller's schedule, in each loop anew."""
        self.schedule = self._new_schedule()
        return self.schedule

    def occupy(self, name: str, weight: int, age: float, holder: Subject) -> Ticket:  # noqa: ARG002
        """Make a ticket that stands for nothing."""
        return Ticket(weight, phase=Phase.HELD)

    def take_over(self, name: str, weight: int, holder: Subject) -> None:
        """Do nothing: a shadow stands for a task that has its slots."""

    def held_by(self, ticket: Ticket, holder: Subject) -> None:
        """Do nothing."""

    def release(self, ticket: Ticket) -> None:
        """Tell all processes that a task was seen ended."""
        facts, shadow = self.shadows.pop(ticket, (None, None))
        if facts is not None and shadow is not None:
            self._ledger.end(facts, shadow.record if shadow.done else None)

    def give_up(self, ticket: Ticket) -> None:
        """Do nothing: the other handle's ticket tells the end."""

    def claim(self, task: TrackedTask) -> Ticket | None:  # noqa: ARG002 - as the protocol says
        """Know no create of unknown fate."""
        return None

    def subscribe(self, listener: ContentionListener) -> None:
        """Do nothing: `Asking` says what is queued."""

    def keep(self, poller: Any, busy: bool) -> None:
        """Do nothing: `Asking` keeps it."""


class _ShadowHooks(Hooks):
    """Passes on events of queries about shadows, and delivers the records they show; drops other events."""

    def __init__(self, hooks: Hooks, deliver: Callable[[Endpoint[Any], TaskRecord], None]) -> None:
        super().__init__(None, lambda: 0.0)
        self._hooks = hooks
        self._deliver = deliver

    def emit(self, kind: EventKind, *about: Subject, **more: Any) -> None:
        """Pass on that a query was sent, and a record that has changed."""
        if kind == "asked":
            self._hooks.emit(kind, *about, **more)
        for task in about if kind in ("changed", "ended") else ():
            if isinstance(task, TrackedTask) and task.record is not None:
                self._deliver(task.endpoint, task.record)


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


class BelievesCallbacks(Protocol):
    """Acts on verified callbacks (`orchestrator.believing.Believer`)."""

    def believe(self, record: TaskRecord, skew: float, /) -> bool:
        """Take a record: it may settle a create, and end a wait."""
        ...

    def hinted(self, external_task_id: str, /) -> None:
        """Look an unresolved create up soon."""


class Asking:
    """Lets this process ask about the tasks of all, when it is its turn, and hear of its own otherwise.

    Args:
        scope: The client's loop and clock.
        pollers: Those of this process, which are passive.
        parts: Those of the poller that asks for all.
        poller: That poller.
        endpoint_at: Returns the endpoint of a path and a pool.
        believer: Acts on callbacks that came to other processes.
        ledger: Hears which tasks have ended.
    """

    def __init__(
        self,
        scope: LoopScope,
        pollers: Iterable[OwnPoller],
        parts: ShadowParts,
        poller: ShadowsPoller,
        endpoint_at: Callable[[str, str], Endpoint[Any]],
        believer: BelievesCallbacks,
        ledger: TellsEnds,
    ) -> None:
        self._ledger = ledger
        self._believer = believer
        self._scope = scope
        self._pollers = pollers
        self._parts = parts
        self._poller = poller
        self._endpoint_at = endpoint_at
        self._shadows: dict[TaskKey, TrackedTask] = {}
        self._wanted: dict[TrackedTask, PolledTask] = {}
        self._contended: frozenset[str] = frozenset()
        scope.subscribe(self)

    def on_tasks(self, tasks: Sequence[HeldTask], contended: frozenset[str], now: float) -> None:
        """Ask about these tasks and no others; none: another process asks.

        Args:
            tasks: All that hold slots; those that nobody wants are only known.
            contended: Pools that anybody queues for.
            now: The time of the ledger's clock.
        """
        left, changed = dict(self._shadows), False
        for key, held in _by_id(tasks).items():
            shadow = left.pop(key, None) or self._new(key, held, now)
            changed |= self._set_wanted(shadow, held.wanted)
        for key, shadow in left.items():  # ended, or its task id has become known: it has a new shadow
            self._drop(key, shadow)
        asked = contended if tasks else frozenset[str]()
        for pool in self._contended ^ asked:
            self._poller.on_contention(pool, pool in asked)
        self._contended = asked
        if changed:
            self._poller.ask_soon()

    def _new(self, key: TaskKey, held: HeldTask, now: float) -> TrackedTask:
        about, ticket = held.about, Ticket(held.weight, phase=Phase.HELD)
        shadow = TrackedTask(
            self._endpoint_at(about.endpoint, held.pool),
            key[1],
            ticket=ticket,
            by_external_id=not about.task_id,
            confirmed=bool(about.task_id),
        )
        self._parts.shadows[ticket] = about, shadow
        self._parts.leases[shadow] = held, self._scope.time() - max(0.0, now - held.since)
        self._shadows[key] = shadow
        self._poller.watch(shadow)
        return shadow

    def _set_wanted(self, shadow: TrackedTask, wanted: bool) -> bool:
        """Take whether anybody wants a task's end; return whether that is new."""
        if wanted and shadow not in self._wanted and _is_polled(shadow):
            self._wanted[shadow] = self._parts.schedule.add_waiter(shadow)
            return True
        if not wanted and (token := self._wanted.pop(shadow, None)) is not None:
            self._parts.schedule.remove_waiter(token)
        return False

    def _drop(self, key: TaskKey, shadow: TrackedTask) -> None:
        """Ask no more about a task that left the ledger."""
        del self._shadows[key]
        if shadow.ticket is not None:
            self._parts.shadows.pop(shadow.ticket, None)
        self._wanted.pop(shadow, None)
        if _is_polled(shadow):
            self._poller.forget(shadow)
        self._parts.leases.pop(shadow, None)

    def on_ended(self, holder: Subject) -> None:
        """Read the result of a task of this process, or look for one that it may have created."""
        if not isinstance(holder, TrackedTask):
            self._believer.hinted(holder.external_task_id or "")
        elif not holder.done:
            for poller in self._pollers:
                poller.hinted(holder)

    def on_letter(self, letter: Letter) -> None:
        """Take the result of a task of this process, which another one has read, or was called back about."""
        if not letter.endpoint:
            self._believer.believe(letter.record, 0.0)
            return
        endpoint = self._endpoint_at(letter.endpoint, letter.pool)
        for poller in self._pollers:
            task = poller.find(endpoint, letter.record.task_id)
            if task is not None and not task.done:
                self._ledger.note_ended(task)
                poller.told(task, letter.record)

    def on_turn(self) -> None:
        """Send what waits for its turn to read."""
        self._poller.ask_soon()
        for poller in self._pollers:
            poller.ask_soon()

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._poller.stop_timers()

    def on_loop_replaced(self) -> None:
        """Start anew in another loop."""
        self._wanted.clear()
        self._contended = frozenset()
        self._poller.on_loop_replaced()


def new_asking(
    scope: LoopScope,
    hooks: Hooks,
    pollers: Iterable[OwnPoller],
    new_poller: Callable[[ShadowParts], ShadowsPoller],
    new_schedule: Callable[[], Schedule],
    endpoint_at: Callable[[str, str], Endpoint[Any]],
    believer: BelievesCallbacks,
    ledger: TellsEnds,
) -> Asking:
    """Put together what lets this process ask about the tasks of all.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the event ``asked``.
        pollers: Those of this process.
        new_poller: Makes one that asks about tasks of any process.
        new_schedule: Makes a schedule that asks.
        endpoint_at: Returns the endpoint of a path and a pool.
        believer: Acts on callbacks that came to other processes.
        ledger: Takes which tasks have ended.
    """

    def deliver(endpoint: Endpoint[Any], record: TaskRecord) -> None:
        """Hand a record to the handles of this process."""
        for poller in pollers:
            known = poller.find(endpoint, record.task_id)
            if known is not None and not known.done:
                poller.found(endpoint, record)

    parts = ShadowParts(scope, hooks, ledger, new_schedule, deliver)
    return Asking(scope, pollers, parts, new_poller(parts), endpoint_at, believer, ledger)


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


def _is_polled(shadow: TrackedTask) -> bool:
    """Tell whether a shadow is polled still: neither ended nor missing."""
    return shadow.state in (TrackedState.UNSEEN, TrackedState.RUNNING)


def _kind(text: str) -> Hashable:
    """Parse what `facts_of` wrote with `repr`; return other text as it is."""
    try:
        read: Hashable = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return read
