"""Tasks of the account: submitted, processing, then succeed or failed, each at its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from decimal import Decimal

    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.items import LibraryItem, TaskSource

__all__ = ["Ending", "Task", "TaskOutput", "TaskTimes", "Tasks"]

FAILURE: Final = "Failure to pass the risk control system"
"""Message of a task that the content check stopped while it ran."""
NOT_FETCHED: Final = "Something went wrong when we tried to get the contents of the file."
"""Message of a task whose input could not be fetched; seen in production."""

Ending = Literal["succeed", "failed"]


@dataclass(slots=True)
class TaskTimes:
    """Times of a task: seconds since the emulator's start, or wall time in ms where the name ends so."""

    created: float
    starts: float
    """When the task turns from submitted to processing."""
    ends: float
    created_ms: int
    updated_ms: int
    """Wall time of the last change of status."""


@dataclass(slots=True)
class TaskOutput:
    """The results that a task makes."""

    id: str
    """Id of the video, sound, voice or element."""
    seconds: float
    """Length of a video or sound."""
    aspect: str
    """Aspect ratio, such as ``16:9``."""
    count: int
    """Number of images."""
    items: list[LibraryItem] = field(default_factory=list["LibraryItem"])
    """Results that later calls may name; empty until the task has succeeded."""


@dataclass(slots=True)
class Task:
    """One task of the account."""

    task_id: str
    endpoint: str
    body: dict[str, Any]
    """The request, with defaults filled in and a fingerprint in place of each file."""
    external_task_id: str | None
    pool: str
    weight: int
    """Slots held until the end."""
    units: Decimal
    """Price, taken at the create and given back if the task fails."""
    times: TaskTimes
    source: TaskSource
    """Earlier results that the task works on."""
    output: TaskOutput
    ending: Ending = "succeed"
    """How the task will end."""
    message: str = ""
    """Why the task failed; empty otherwise."""
    status: Literal["submitted", "processing", "succeed", "failed"] = "submitted"

    @property
    def created(self) -> float:
        """Seconds since the emulator's start at the create."""
        return self.times.created

    @property
    def ends(self) -> float:
        """Seconds since the emulator's start at the end, past or to come."""
        return self.times.ends

    @property
    def seconds(self) -> float:
        """Length of the video or sound that the task makes."""
        return self.output.seconds

    @property
    def aspect(self) -> str:
        """Aspect ratio of what the task makes, such as ``16:9``."""
        return self.output.aspect

    @property
    def count(self) -> int:
        """Number of images that the task makes."""
        return self.output.count

    @property
    def failure(self) -> str:
        """Message of the task if it fails in the end."""
        return FAILURE if self.source.unreachable is None else NOT_FETCHED

    @property
    def done(self) -> bool:
        """Whether the task has ended."""
        return self.status in ("succeed", "failed")


class Tasks:
    """All tasks of the account, and the timers of the running ones.

    Args:
        clock: Gives the times, and runs the timers.
        on_end: Called with each task once it has ended.
        on_change: Called with each task after every change of its status, its creation and end included.
    """

    def __init__(
        self, clock: Clock, on_end: Callable[[Task], None], on_change: Callable[[Task], None]
    ) -> None:
        self.by_id: dict[str, Task] = {}
        self._by_external: dict[str, Task] = {}
        self._by_endpoint: dict[str, list[Task]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._clock = clock
        self._on_end = on_end
        self._on_change = on_change

    def add(self, task: Task) -> None:
        """Start the timer of a new task, whose slots are held already."""
        self.by_id[task.task_id] = task
        self._by_endpoint.setdefault(task.endpoint, []).append(task)
        if task.external_task_id:
            self._by_external[task.external_task_id] = task
        self._schedule(task)
        self._on_change(task)

    def knows_external(self, external_task_id: str) -> bool:
        """Tell whether a task of any endpoint has this external_task_id."""
        return external_task_id in self._by_external

    def find(self, endpoint: str, either_id: str, *, external: bool) -> Task | None:
        """Return the endpoint's task with this task_id or, if ``external``, with this external_task_id."""
        task = self.by_id.get(either_id) or (self._by_external.get(either_id) if external else None)
        return task if task is not None and task.endpoint == endpoint else None

    def find_anywhere(self, either_id: str, *, external: bool) -> Task | None:
        """Return the task of any endpoint with this task_id or, if ``external``, this external_task_id."""
        return (self._by_external if external else self.by_id).get(either_id)

    def page(self, endpoint: str, number: int, size: int) -> list[Task]:
        """Return one page of an endpoint's tasks, newest first; pages count from 1."""
        rows = self._by_endpoint.get(endpoint, [])
        last = len(rows) - (number - 1) * size
        return rows[max(0, last - size) : max(0, last)][::-1]

    def finish(self, task: Task, ending: Ending, message: str = "") -> None:
        """End a task now; does nothing to a task that has ended."""
        if task.done:
            return
        timer = self._timers.pop(task.task_id, None)
        if timer is not None:
            timer.cancel()
        task.status, task.message = ending, message
        task.times.ends, task.times.updated_ms = self._clock.time(), self._clock.wall_ms()
        self._on_end(task)
        self._on_change(task)

    def resume(self) -> None:
        """Start the timers again after `suspend`; tasks whose end has passed meanwhile end at once."""
        for task in self.by_id.values():
            self._schedule(task)

    def suspend(self) -> None:
        """Stop all timers; running tasks keep their status."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _schedule(self, task: Task) -> None:
        """Set the timer for the next change of status, if there is one to come."""
        if task.status == "submitted":
            self._timers[task.task_id] = self._clock.at(task.times.starts, partial(self._start, task))
        elif task.status == "processing":
            self._timers[task.task_id] = self._clock.at(task.times.ends, partial(self._end, task))

    def _start(self, task: Task) -> None:
        task.status, task.times.updated_ms = "processing", self._clock.wall_ms()
        self._schedule(task)
        self._on_change(task)

    def _end(self, task: Task) -> None:
        self.finish(task, task.ending, task.failure if task.ending == "failed" else "")
