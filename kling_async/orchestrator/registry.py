"""The registry of tracked tasks: finds them by either id, and lets each task hold its slots once."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

from kling_async.orchestrator.tracked import TrackedState, TrackedTask

if TYPE_CHECKING:
    from kling_async.core.queue import Ticket
    from kling_async.events import Subject
    from kling_async.orchestrator.contention import ContentionListener
    from kling_async.orchestrator.tracked import TaskKey
    from kling_async.wire.endpoints import Endpoint

__all__ = ["PollerHome", "RunningSlots", "TaskRegistry", "UnresolvedCreates"]


class RunningSlots(Protocol):
    """The slots that running tasks hold; a `Limiter` keeps them."""

    def occupy(self, name: str, weight: int, age: float, holder: Subject, /) -> Ticket:
        """Take slots for a running task that was not created here."""
        ...

    def take_over(self, name: str, weight: int, holder: Subject, /) -> Ticket | None:
        """Take over the slots that other processes hold for a task, before it was seen here."""
        ...

    def held_by(self, ticket: Ticket, holder: Subject, /) -> None:
        """Note the task that holds the slots of a ticket now."""

    def release(self, ticket: Ticket, /) -> None:
        """Free the slots of a task that was seen ended, or given up."""

    def give_up(self, ticket: Ticket, /) -> None:
        """Give up one of two tickets of a task: the other one goes on to hold its slots."""


class UnresolvedCreates(Protocol):
    """The creates whose fate is unknown; `Recovery` keeps them."""

    def claim(self, task: TrackedTask, /) -> Ticket | None:
        """Give up a create whose task was found; return the slots it holds."""
        ...


class PollerHome(Protocol):
    """The pollers of an account; `Pollers` is it."""

    def subscribe(self, listener: ContentionListener, /) -> None:
        """Tell a new poller which pools submits queue for now."""

    def keep(self, poller: Any, busy: bool, /) -> None:
        """Take whether a poller has tasks not seen ended."""


class TaskRegistry:
    """All tracked tasks that are polled, and those that somebody still holds a handle on.

    Handles by different ids may turn out to be one task. One of them, the *holder*, holds its slots and emits
    its events: the one that came with the slots of its create, else the one seen first.
    """

    def __init__(self, slots: RunningSlots, creates: UnresolvedCreates) -> None:
        self._slots = slots
        self._creates = creates
        self._polled: dict[TaskKey, TrackedTask] = {}
        """By either id; under the vendor's id stands the holder."""
        self._held: weakref.WeakValueDictionary[TaskKey, TrackedTask] = weakref.WeakValueDictionary()
        """Tasks that are not polled, while somebody holds a handle: attached ones, and ended ones."""
        self._paths: set[str] = set()
        """Endpoints of all tasks so far."""

    def find(self, endpoint: Endpoint[Any], id: str) -> TrackedTask | None:  # noqa: A002 - the field's word
        """Return the tracked task of that id, the vendor's or the external one."""
        key = (endpoint.path, id)
        return self._polled.get(key) or self._held.get(key)

    def named(self, id: str) -> list[TrackedTask]:  # noqa: A002 - the field's word
        """Return the tracked tasks of that id, whatever their endpoint: a callback names none."""
        keys = [(path, id) for path in self._paths]
        found = [task for known in (self._polled, self._held) for key in keys if (task := known.get(key))]
        return list(dict.fromkeys(found))

    def obtain(self, endpoint: Endpoint[Any], task_id: str) -> TrackedTask:
        """Return the tracked task of that id, made if there is none: the vendor has shown it."""
        task = self.find(endpoint, task_id)
        if task is None:
            task = TrackedTask(endpoint, task_id, confirmed=True)
            self.attach(task)
        return task

    def attach(self, task: TrackedTask) -> None:
        """Know a task for as long as somebody holds a handle on it."""
        self._paths.add(task.endpoint.path)
        self._held.setdefault(task.key, task)

    def is_holder(self, task: TrackedTask) -> bool:
        """Tell whether this is the handle that holds the task's slots and emits its events."""
        key = _vendor_key(task)
        return (self._polled.get(key) or self._held.get(key, task)) is task

    def add(self, task: TrackedTask) -> bool:
        """Know a task that was seen; return whether it is the holder."""
        path = task.endpoint.path
        self._paths.add(path)
        for id_ in task.ids - {task.task_id}:
            self._polled.setdefault((path, id_), task)
        holder = self._polled.setdefault(_vendor_key(task), task)
        if holder is task:
            return True
        if task.ticket is None:
            return False
        if holder.ticket is not None:
            self._slots.give_up(holder.ticket)
            holder.ticket = None
        self._polled[_vendor_key(task)] = task
        return True

    def add_attached(self, task: TrackedTask, age: float) -> None:
        """Know an attached task that was seen for the first time; if it runs, let it hold slots.

        Args:
            task: The task.
            age: Seconds since its create.
        """
        if task.ticket is None:
            task.ticket = self._creates.claim(task)
            if task.ticket is not None:
                self._slots.held_by(task.ticket, task)
        if self.add(task) and task.ticket is None and task.state is TrackedState.RUNNING:
            task.ticket = self._slots.occupy(task.endpoint.pool, _weight(task), age, task)

    def take_over(self, task: TrackedTask) -> None:
        """Let an attached task have the slots that another process may hold for it, before it was seen."""
        if task.ticket is None and task.looks.confirmed:
            task.ticket = self._slots.take_over(task.endpoint.pool, _weight(task), task)

    def retire(self, task: TrackedTask) -> None:
        """Free the slots of a task that is polled no more; know it while somebody holds a handle."""
        path = task.endpoint.path
        for id_ in task.ids:
            if self._polled.get((path, id_)) is task:
                del self._polled[path, id_]
                self._held[path, id_] = task
        self._release(task)

    def free_slots(self, task: TrackedTask) -> None:
        """Free the slots of a task that has ended at the vendor, but is still polled for its result."""
        self._release(task)

    def merge(self, old: TrackedTask, new: TrackedTask) -> None:
        """Merge two handles of one task: the old one goes on, with the slots of the new one."""
        self._release(old)
        old.ticket, new.ticket = new.ticket, None
        if old.ticket is not None:
            self._slots.held_by(old.ticket, old)
        old.aliases |= new.aliases
        for id_ in new.ids:
            self._polled[new.endpoint.path, id_] = old

    def _release(self, task: TrackedTask) -> None:
        if task.ticket is not None:
            self._slots.release(task.ticket)
            task.ticket = None


def _weight(task: TrackedTask) -> int:
    """Return the slots that a task holds, 1 where its request is not known."""
    return task.endpoint.weight(task.request) if task.request is not None else 1


def _vendor_key(task: TrackedTask) -> TaskKey:
    return task.endpoint.path, task.task_id or ""
