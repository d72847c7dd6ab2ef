"""Handles on the vendor's tasks: wait for one, watch it, fetch its files."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from kling_async.catalog import endpoint_of
from kling_async.downloads.naming import Template
from kling_async.downloads.result_files import fetch_all
from kling_async.errors import Problem, RequestInvalid
from kling_async.orchestrator.results import whole_result_of
from kling_async.orchestrator.tracked import TrackedState, TrackedTask
from kling_async.runtime.loop import within
from kling_async.wire.endpoints import JournaledRequest, check_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.orchestrator.engine import Engine
    from kling_async.records import TaskRecord
    from kling_async.wire.requests import TaskRequest

__all__ = ["Task", "attach", "running_tasks"]

R = TypeVar("R")


class Task(Generic[R]):
    """A handle on one task. Handles are cheap, and any number of them may stand for the same task.

    There is no ``cancel()``: the vendor has none. A task without a waiter runs on, holds its slots until it
    ends, and is billed when it succeeds.
    """

    __slots__ = ("_decoded", "_engine", "_result", "_tracked")

    def __init__(self, engine: Engine, tracked: TrackedTask) -> None:
        self._engine = engine
        self._tracked = tracked
        self._result: R | None = None
        self._decoded: TaskRecord | None = None

    @property
    def id(self) -> str:
        """The vendor's id; before an attached task was first seen, the id it was attached by."""
        record = self._tracked.record
        return self._tracked.id if record is None else record.task_id

    @property
    def external_task_id(self) -> str | None:
        """The id that the create carried, if known."""
        return self._tracked.external_task_id

    @property
    def status(self) -> str:
        """The vendor's status word as last seen: ``submitted``, ``processing``, ``succeed`` or ``failed``.

        ``unknown`` before an attached task was first seen.
        """
        return "unknown" if self._tracked.record is None else self._tracked.record.status

    @property
    def done(self) -> bool:
        """Whether the task was seen ended, in success or failure."""
        return self._tracked.done

    @property
    def created_at(self) -> dt.datetime | None:
        """When the vendor made the task, aware, in UTC; None if unknown."""
        return None if self._tracked.record is None else self._tracked.record.created

    @property
    def eta(self) -> dt.datetime | None:
        """The time by which half of the tasks like this one have ended, aware, in UTC; None until some did.

        Learned on this account from tasks of the same endpoint, model, mode and length. A guess, no promise.
        """
        seconds = None if self.done else self._engine.poller.eta(self._tracked)
        if seconds is None:
            return None
        return dt.datetime.fromtimestamp(self._engine.scope.now() + seconds, dt.UTC)

    @property
    def request(self) -> TaskRequest[R] | None:
        """The request that made the task, if this client sent it."""
        return self._tracked.request

    @property
    def record(self) -> TaskRecord | None:
        """The known facts about the task, as plain data; None before an attached task was first seen."""
        return self._tracked.record

    @property
    def raw(self) -> dict[str, Any]:
        """The vendor's own object as last seen; empty before that."""
        return {} if self._tracked.record is None else self._tracked.record.raw

    @property
    def result(self) -> R | None:
        """The result; None before the task succeeded.

        Raises:
            BadResponse: The vendor shows no result, or not in the documented form; see ``raw``.
        """
        record = self._tracked.record
        if (
            record is not None
            and record is not self._decoded
            and self._tracked.state is TrackedState.SUCCEEDED
        ):
            self._result = whole_result_of(self._tracked.endpoint, record)
            self._decoded = record
        return self._result

    async def wait(self, timeout: float | None = None) -> R:
        """Wait until the task ends; return its result.

        Many callers may wait at once, and again after an interrupt: to stop waiting does not affect the task.

        Args:
            timeout: Seconds to wait; None waits as long as the task takes.

        Raises:
            TaskFailed: The vendor ended the task as failed; the error holds its record.
            TaskTimeout: The time is over; the task still runs.
            TaskNotFound: The vendor knows no such task.
            AuthenticationError: The key was refused.
        """
        waiters = self._tracked.waiters
        # a wait without any deadline is warned about a task that runs unusually long
        undated = timeout is None and anyio.current_effective_deadline() == math.inf
        waiters.undated += undated
        try:
            with within(timeout):
                await self._engine.poller.wait(self._tracked)
        finally:
            waiters.undated -= undated
        if not self.done:
            raise self._tracked.timed_out(timeout or 0.0)
        self._tracked.raise_if_failed()
        result = self.result
        assert result is not None  # noqa: S101 - it is done and has not failed
        return result

    def updates(self) -> AsyncIterator[TaskRecord]:
        """Iterate over the task's records as they are seen to change, starting with the present one.

        The iteration ends when the task does; a task that fails is a last record with that status, no error.
        """
        return _Updates(self._engine, self._tracked)

    async def refresh(self) -> TaskRecord:
        """Ask the vendor now, without waiting for the next round; return the record that came.

        Raises:
            TaskNotFound: The vendor knows no such task.
            KlingError: No answer came, `Retry.max_tries` times.
        """
        await self._engine.poller.refresh(self._tracked, self._engine.retry, self._engine.timeouts)
        assert self._tracked.record is not None  # noqa: S101 - just seen
        return self._tracked.record

    async def download(
        self,
        directory: str | Path,
        *,
        name: str = "{task_id}",
        watermarked: bool = False,
        sidecar: bool = False,
    ) -> list[Path]:
        """Wait for the task and store its files in a folder, made if needed; return their paths.

        Files appear whole or not at all. A broken download is resumed, at once and by later calls. A file
        that is there already, with equal length, first 64 KiB and last 4 KiB, is not fetched again. Another
        file of that name is never replaced, not even a damaged copy: ``-2`` (``-3``, ...) is added to the new
        one's name, and the path returned is where the file is. Once the vendor has deleted its copy, a file
        of that name with the first bytes of its kind counts as whole. A fresh address that is refused is
        tried a few times more, then renewed once.

        Args:
            directory: The folder.
            name: Template of the files' names, without suffix: text with ``{key}`` (the external_task_id),
                ``{index}`` (0), ``{task_id}``, ``{endpoint}``, and, for one file of several, ``{name}`` or
                its number ``{n}``; without either, ``-{name}`` is added to the names of several (``.{name}``
                after a ``{key}``). Numbers take leading zeros: ``{index:05d}``, ``{n:02d}``. Characters that
                a file system might refuse or confuse are replaced, and a hash is added; so it is where
                another task could have the same name.
            watermarked: Fetch the watermarked copies instead, if the request asked for them.
            sidecar: Write the task's record beside each file, as ``<file>.json``, without the signed part of
                addresses.

        Raises:
            DownloadError: A file could not be fetched. The others were.
            ResultExpired: The vendor has deleted a file (30 days after the task ended) that is not there.
            RequestInvalid: The template has an unknown field, or makes no valid file name.
        """
        # before the wait: a wrong template should not show only after minutes
        template = Template(name)
        await self.wait()
        values: dict[str, str | int] = {"key": self.external_task_id or self.id, "index": 0}
        stored = await fetch_all(
            self._engine,
            self._tracked,
            Path(directory),
            template,
            values,
            watermarked=watermarked,
            sidecar=sidecar,
        )
        return [file.path for file in stored]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the record: a handle belongs to its client."""
        if self._tracked.record is None:
            raise TypeError("this task was not seen yet and has no record; refresh() it, or pickle its id")
        return self._tracked.record.__reduce__()

    def __repr__(self) -> str:
        return f"<Task {self._tracked.endpoint.name} {self.id} {self.status}>"


class _Updates:
    """Iterate over a task's records; hold nothing between two steps, so that leaving early leaks nothing."""

    def __init__(self, engine: Engine, tracked: TrackedTask) -> None:
        self._engine = engine
        self._tracked = tracked
        self._shown: tuple[str, int] | None = None

    def __aiter__(self) -> _Updates:
        return self

    async def __anext__(self) -> TaskRecord:
        while True:
            record = self._tracked.record
            if record is not None and self._shown != (record.status, record.updated_at):
                self._shown = (record.status, record.updated_at)
                return record
            if self._tracked.done:
                raise StopAsyncIteration
            await self._engine.poller.change(self._tracked)


def attach(
    engine: Engine,
    kind: type[TaskRequest[R]] | TaskRequest[R],
    *,
    task_id: str | None = None,
    external_task_id: str | None = None,
    confirmed: bool = False,
) -> Task[R]:
    """Return a handle on a task known by one id.

    Args:
        engine: The client's engine.
        kind: The type of its request; or the request, of which the weight is known too.
        task_id: The vendor's id.
        external_task_id: The id that its create carried.
        confirmed: Whether the vendor gave that id: then one answer that does not know it proves nothing.

    Raises:
        RequestInvalid: Not exactly one id, or one that could name another path.
    """
    endpoint = endpoint_of(kind)
    if (task_id is None) == (external_task_id is None):
        text = "give task_id or external_task_id, exactly one of them"
        raise RequestInvalid("attach", [Problem("task_id", text)])
    name, value = ("task_id", task_id) if external_task_id is None else ("external_task_id", external_task_id)
    id_ = check_id(value or "", name)
    # clients that share slots share their tasks too: tracked twice, a task would hold its slots twice
    for poller in engine.pollers:
        if (tracked := poller.find(endpoint, id_)) is not None:
            return Task(engine.looking_after(poller), tracked)
    request = None if isinstance(kind, type | JournaledRequest) else kind
    tracked = TrackedTask(endpoint, id_, request=request, by_external_id=task_id is None, confirmed=confirmed)
    engine.poller.registry.attach(tracked)
    return Task(engine, tracked)


def running_tasks(engine: Engine) -> list[Task[Any]]:
    """Return the tasks that a client has seen made or running, and not yet seen ended."""
    engine.scope.refresh()
    return [
        Task(engine.looking_after(poller), tracked)
        for poller in engine.pollers
        for tracked in poller
        if tracked.record is not None and poller.registry.is_holder(tracked)
    ]
