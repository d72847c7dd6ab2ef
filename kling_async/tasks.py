"""A handle on one task of the vendor's: wait for it, watch it, fetch its files."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from kling_async.catalog import endpoint_of
from kling_async.core.status import TaskState
from kling_async.downloads.naming import Template
from kling_async.downloads.result_files import fetch_all
from kling_async.errors import Problem, RequestInvalid, TaskTimeout
from kling_async.orchestrator.results import result_of
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.runtime.loop import within
from kling_async.wire.endpoints import check_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.orchestrator.engine import Engine
    from kling_async.records import TaskRecord
    from kling_async.wire.requests import TaskRequest

__all__ = ["Task", "attach"]

R = TypeVar("R")


class Task(Generic[R]):
    """One task. Handles are cheap, and any number of them may stand for the same task.

    There is no ``cancel()``: the vendor has none. Who stops waiting leaves a task that runs on, holds its
    slots until it ends, and is billed when it succeeds.
    """

    __slots__ = ("_decoded", "_engine", "_live", "_result")

    def __init__(self, engine: Engine, live: TrackedTask) -> None:
        self._engine = engine
        self._live = live
        self._result: R | None = None
        self._decoded: TaskRecord | None = None

    @property
    def id(self) -> str:
        """The vendor's id; before an attached task was first seen, what it was attached by."""
        record = self._live.record
        return self._live.id if record is None else record.task_id

    @property
    def external_task_id(self) -> str | None:
        """The id that the create carried, if known."""
        return self._live.external_task_id

    @property
    def status(self) -> str:
        """The vendor's word as last seen (``submitted``, ``processing``, ``succeed``, ``failed``)."""
        return "unknown" if self._live.record is None else self._live.record.status

    @property
    def done(self) -> bool:
        """Whether it was seen ended, in success or failure."""
        return self._live.done

    @property
    def created_at(self) -> dt.datetime | None:
        """When the vendor made it, aware, in UTC; None if unknown."""
        return None if self._live.record is None else self._live.record.created

    @property
    def eta(self) -> dt.datetime | None:
        """By when half of the tasks like this one have ended, aware, in UTC; None until some have been seen.

        Learned on this account from tasks of the same endpoint, model, mode and length. A guess, no promise.
        """
        seconds = None if self.done else self._engine.poller.eta(self._live)
        if seconds is None:
            return None
        return dt.datetime.fromtimestamp(self._engine.scope.now() + seconds, dt.UTC)

    @property
    def request(self) -> TaskRequest[R] | None:
        """The request it was made from, if this client made it."""
        return self._live.request

    @property
    def record(self) -> TaskRecord | None:
        """All that is known of it, as plain data; None before an attached task was first seen."""
        return self._live.record

    @property
    def raw(self) -> dict[str, Any]:
        """The vendor's own object as last seen; empty before that."""
        return {} if self._live.record is None else self._live.record.raw

    @property
    def result(self) -> R | None:
        """The result; None before the task succeeded.

        Raises:
            BadResponse: The vendor's result is not of the documented form; see ``raw``.
        """
        record = self._live.record
        if record is not None and record is not self._decoded and self._live.state is TaskState.SUCCEEDED:
            self._result = result_of(self._live.endpoint, record)
            self._decoded = record
        return self._result

    async def wait(self, timeout: float | None = None) -> R:
        """Wait until the task ends; return its result.

        May be awaited by many at once, and again after an interrupt: giving up harms nothing.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            TaskFailed: The vendor ended it as failed; the error holds its record.
            TaskTimeout: It still runs.
            TaskNotFound: The vendor knows no such task.
            AuthenticationError: The key was refused.
        """
        patient = timeout is None and anyio.current_effective_deadline() == math.inf
        self._live.patient += patient
        try:
            with within(timeout):
                await self._engine.poller.wait(self._live)
        finally:
            self._live.patient -= patient
        if not self.done:
            raise TaskTimeout(self.id, self.external_task_id, timeout or 0.0)
        self._live.raise_if_failed()
        result = self.result
        assert result is not None  # noqa: S101 - it is done and has not failed
        return result

    def updates(self) -> AsyncIterator[TaskRecord]:
        """Iterate over the records as they are seen to change, the present one first, the last one last.

        It ends when the task does; a task that fails is a last record with that status, not an error.
        """
        return _Updates(self._engine, self._live)

    async def refresh(self) -> TaskRecord:
        """Ask the vendor now, without waiting for the next round; return what it said.

        Raises:
            TaskNotFound: The vendor knows no such task.
            KlingError: No answer came, `Retry.max_tries` times.
        """
        await self._engine.poller.refresh(self._live, self._engine.retry, self._engine.timeouts)
        assert self._live.record is not None  # noqa: S101 - just seen
        return self._live.record

    async def download(
        self,
        directory: str | Path,
        *,
        name: str = "{task_id}",
        watermarked: bool = False,
        sidecar: bool = False,
    ) -> list[Path]:
        """Wait for the task and store its files in a folder, made if needed; return their paths.

        Files appear whole or not at all. What broke off is gone on with, now and by a later call; a file
        that is there already, whole, is not fetched again; once the vendor has deleted its own, one that has
        its name and the first bytes of its kind counts as whole. An address that has died is renewed by one
        query.

        Args:
            directory: Where to.
            name: How to name them, without suffix: text with ``{key}`` (the external_task_id), ``{index}``
                (0), ``{task_id}``, ``{endpoint}``, and, for one file of several, ``{name}`` or its number
                ``{n}``; without these two ``-{name}`` is added to the names of several (``.{name}`` behind a
                ``{key}``). What a file system might not take, or not tell apart, is changed, and a hash is
                added; so it is where another task could have the same name.
            watermarked: Fetch the marked copies instead, if the request asked for them.
            sidecar: Write what is known of the task beside each file, as ``<file>.json``, without the signed
                part of addresses.

        Raises:
            DownloadError: A file could not be fetched. The others were.
            ResultExpired: The vendor has deleted it (30 days after the task ended), and it is not there.
            RequestInvalid: The name has a field that there is not, or is no file's name.
        """
        template = Template(name)
        await self.wait()
        values: dict[str, str | int] = {"key": self.external_task_id or self.id, "index": 0}
        stored = await fetch_all(
            self._engine,
            self._live,
            Path(directory),
            template,
            values,
            watermarked=watermarked,
            sidecar=sidecar,
        )
        return [file.path for file in stored]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain data: a handle belongs to its client, its record to anybody."""
        if self._live.record is None:
            raise TypeError("this task was not seen yet: pickle its id")
        return self._live.record.__reduce__()

    def __repr__(self) -> str:
        return f"<Task {self._live.endpoint.name} {self.id} {self.status}>"


class _Updates:
    """Holds nothing between two steps, so leaving the loop early leaves nothing behind."""

    def __init__(self, engine: Engine, live: TrackedTask) -> None:
        self._engine = engine
        self._live = live
        self._shown: tuple[str, int] | None = None

    def __aiter__(self) -> _Updates:
        return self

    async def __anext__(self) -> TaskRecord:
        while True:
            record = self._live.record
            if record is not None and self._shown != (record.status, record.updated_at):
                self._shown = (record.status, record.updated_at)
                return record
            if self._live.done:
                raise StopAsyncIteration
            await self._engine.poller.change(self._live)


def attach(
    engine: Engine,
    kind: type[TaskRequest[R]] | TaskRequest[R],
    *,
    task_id: str | None = None,
    external_task_id: str | None = None,
    sure: bool = False,
) -> Task[R]:
    """Return a handle on a task known by one id; of a request, not only its type, the weight is known too.

    ``sure``: the vendor has told that id, so that one answer that does not know it proves nothing.

    Raises:
        RequestInvalid: Not exactly one id, or one that could name another path.
    """
    endpoint = endpoint_of(kind)
    if (task_id is None) == (external_task_id is None):
        raise RequestInvalid("attach", [Problem("task_id", "give task_id or external_task_id, one of them")])
    name, value = ("task_id", task_id) if external_task_id is None else ("external_task_id", external_task_id)
    known = check_id(value or "", name)
    for poller in engine.pollers:
        if (live := poller.find(endpoint, known)) is not None:
            return Task(engine.looking_after(poller), live)
    request = None if isinstance(kind, type) else kind
    live = TrackedTask(endpoint, known, request=request, named=task_id is None, sure=sure)
    engine.poller.known.attached(live)
    return Task(engine, live)
