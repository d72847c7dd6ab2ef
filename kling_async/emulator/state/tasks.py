"""The tasks of the account: submitted, processing, then succeed or failed, each at its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from decimal import Decimal

    from kling_async.emulator.state.clock import Clock
    from kling_async.emulator.state.library import Thing
    from kling_async.emulator.state.lookups import Source

__all__ = ["Ending", "Task", "Tasks"]

Ending = Literal["succeed", "failed"]


@dataclass(slots=True)
class Task:
    """One task. Times are seconds since the emulator started, those in ``_ms`` the API's wall time."""

    task_id: str
    endpoint: str
    body: dict[str, Any]
    """What is set, defaults filled in, files replaced by their fingerprint."""
    external_task_id: str | None
    pool: str
    weight: int
    """Slots held until the end."""
    units: Decimal
    """Price, taken at the create and given back if the task fails."""
    created: float
    starts: float
    ends: float
    created_ms: int
    updated_ms: int
    result_id: str
    """Of the video, sound, voice or element that will be made."""
    seconds: float
    """Length of what will be made."""
    aspect: str
    """Shape of what will be made, such as ``16:9``."""
    count: int
    """Images that will be made."""
    source: Source
    """What it works on."""
    made: list[Thing] = field(default_factory=list["Thing"])
    """What later calls may name, once it has succeeded."""
    ending: Ending = "succeed"
    """How it will end."""
    message: str = ""
    """Why it failed, once it has."""
    status: Literal["submitted", "processing", "succeed", "failed"] = "submitted"
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.status in ("succeed", "failed")


class Tasks:
    """All tasks ever made, and the timers of those that run."""

    def __init__(self, clock: Clock, ended: Callable[[Task], None]) -> None:
        self.by_id: dict[str, Task] = {}
        self._by_external: dict[str, Task] = {}
        self._by_endpoint: dict[str, list[Task]] = {}
        self._clock = clock
        self._ended = ended

    def add(self, task: Task) -> None:
        """Let a task run; its slots are taken already."""
        self.by_id[task.task_id] = task
        self._by_endpoint.setdefault(task.endpoint, []).append(task)
        if task.external_task_id:
            self._by_external[task.external_task_id] = task
        task.timer = self._clock.at(task.starts, partial(self._start, task))

    def knows_external(self, external_task_id: str) -> bool:
        """Whether the account has used this id, on whatever endpoint."""
        return external_task_id in self._by_external

    def find(self, endpoint: str, its_id: str, *, external: bool) -> Task | None:
        """Return the endpoint's task of this id: the account's own, or with ``external`` the caller's too."""
        task = self.by_id.get(its_id) or (self._by_external.get(its_id) if external else None)
        return task if task is not None and task.endpoint == endpoint else None

    def anywhere(self, either_id: str, *, external: bool) -> Task | None:
        """Return the task of this id, whatever its endpoint."""
        return (self._by_external if external else self.by_id).get(either_id)

    def page(self, endpoint: str, number: int, size: int) -> list[Task]:
        """Return one page of an endpoint's tasks, newest first; pages count from 1."""
        rows = self._by_endpoint.get(endpoint, [])
        last = len(rows) - (number - 1) * size
        return rows[max(0, last - size) : max(0, last)][::-1]

    def finish(self, task: Task, ending: Ending, message: str = "") -> None:
        """End a task now; nothing happens to one that has ended."""
        if task.done:
            return
        if task.timer is not None:
            task.timer.cancel()
        task.status, task.message, task.timer = ending, message, None
        task.ends, task.updated_ms = self._clock.time(), self._clock.wall_ms()
        self._ended(task)

    def resume(self) -> None:
        """Let the tasks go on that `suspend` stopped; what ended meanwhile ends now."""
        for task in self.by_id.values():
            if task.status == "submitted":
                task.timer = self._clock.at(task.starts, partial(self._start, task))
            elif task.status == "processing":
                task.timer = self._clock.at(task.ends, partial(self._end, task))

    def suspend(self) -> None:
        """Stop the timers; whatever runs stays as it is."""
        for task in self.by_id.values():
            if task.timer is not None:
                task.timer.cancel()
                task.timer = None

    def _start(self, task: Task) -> None:
        task.status, task.updated_ms = "processing", self._clock.wall_ms()
        task.timer = self._clock.at(task.ends, partial(self._end, task))

    def _end(self, task: Task) -> None:
        message = FAILURE if task.ending == "failed" else ""
        self.finish(task, task.ending, message)


FAILURE = "Failure to pass the risk control system"
"""What a task says that the content check stopped on its way."""
