"""Handles on the vendor's tasks: wait for one, watch it, fetch its files."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from kling_async.downloads.naming import Template
from kling_async.downloads.result_files import fetch_all
from kling_async.downloads.showing import ShownHandle, with_source
from kling_async.downloads.stream import FileStream
from kling_async.errors import KlingError, TaskTimeout
from kling_async.orchestrator.leftovers import noted, running_words
from kling_async.orchestrator.record_updates import RecordUpdates
from kling_async.orchestrator.results import whole_result_of
from kling_async.orchestrator.showing import STATUS_WORDS, first_words, task_as_json
from kling_async.orchestrator.submission import Submission
from kling_async.orchestrator.tracked import TrackedState, TrackedTask
from kling_async.records import TaskRecord
from kling_async.runtime.loop import within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.orchestrator.engine import Engine
    from kling_async.wire.requests import TaskRequest

__all__ = ["Task", "still_runs"]

R = TypeVar("R")

_FAR: Final = 3600.0
"""Seconds from which a deadline is as good as none: tasks take minutes."""


class Task(ShownHandle[R]):
    """A handle on one task, from the queue to its files. Any number of handles may stand for the same task.

    There is no ``cancel()``: the vendor has none. A task without a waiter runs on, holds its slots until it
    ends, and is billed when it succeeds. What still queues can be taken back, by `withdraw`.
    """

    __slots__ = ("_decoded", "_engine", "_result", "_submission", "_tracked")

    def __init__(self, engine: Engine, of: TrackedTask | Submission) -> None:
        self._engine = engine
        self._submission = of if isinstance(of, Submission) else None
        self._tracked = None if isinstance(of, Submission) else of
        self._result: R | None = None
        self._decoded: TaskRecord | None = None

    @property
    def _known(self) -> TrackedTask | None:
        """The tracked task, once it exists."""
        if self._tracked is None and self._submission is not None:
            self._tracked = self._submission.tracked
        return self._tracked

    @property
    def tracked(self) -> TrackedTask:
        """The task as the client tracks it, once it exists; for this package's own use."""
        assert self._known is not None  # noqa: S101 - the caller knows that it exists
        return self._known

    @property
    def id(self) -> str:
        """The vendor's id; before that is known, the id it was submitted under or attached by."""
        if (tracked := self._known) is not None:
            return tracked.task_id or tracked.id
        return self._queued.external_task_id

    @property
    def external_task_id(self) -> str | None:
        """The id that the create carries, if known."""
        tracked = self._known
        return self._queued.external_task_id if tracked is None else tracked.external_task_id

    @property
    def endpoint(self) -> str:
        """Name of its endpoint, ``text_to_video``."""
        return self._queued.endpoint.name if self._known is None else self._known.endpoint.name

    @property
    def status(self) -> str:
        """The vendor's status word as last seen: ``submitted``, ``processing``, ``succeed`` or ``failed``.

        Before the vendor has it: ``queued`` while it waits for slots, ``creating`` while its create is on its
        way, ``unresolved`` where the create's answer was lost, ``refused`` or ``withdrawn`` where it ended
        without a task. ``unknown`` before an attached task was first seen.
        """
        tracked = self._known
        if tracked is None:
            return STATUS_WORDS[self._queued.state]
        return "unknown" if tracked.record is None else tracked.record.status

    @property
    def position(self) -> int | None:
        """How many submits go before this one, 0 for the next; None unless it waits for slots."""
        if self._known is not None:
            return None
        return self._engine.limiter.position(self._queued.ticket)

    @property
    def done(self) -> bool:
        """Whether it is over: the task was seen ended, or the submit ended without a task."""
        tracked = self._known
        return self._queued.ended if tracked is None else tracked.done

    @property
    def created_at(self) -> dt.datetime | None:
        """When the vendor made the task, aware, in UTC; None if unknown."""
        return None if self.record is None else self.record.created

    @property
    def eta(self) -> dt.datetime | None:
        """The time by which half of the tasks like this one have ended, aware, in UTC; None until some did.

        Learned on this account from tasks of the same endpoint, model, mode and length; while it waits for
        slots, as if those before it took as long. A guess, no promise.
        """
        engine, tracked = self._engine, self._known
        if self.done:
            return None
        seconds = engine.expected_end(self._queued) if tracked is None else engine.poller.eta(tracked)
        return None if seconds is None else dt.datetime.fromtimestamp(engine.scope.now() + seconds, dt.UTC)

    @property
    def request(self) -> TaskRequest[R] | None:
        """The request that made the task, if this client sent it."""
        tracked = self._known
        return self._queued.request if tracked is None else tracked.request

    @property
    def record(self) -> TaskRecord | None:
        """The known facts about the task, as plain data; None before the vendor has shown it."""
        return None if self._known is None else self._known.record

    @property
    def raw(self) -> dict[str, Any]:
        """The vendor's own object as last seen; empty before that."""
        return {} if self.record is None else self.record.raw

    @property
    def result(self) -> R | None:
        """The result; None before the task succeeded.

        Raises:
            BadResponse: The vendor shows no result, or not in the documented form; see ``raw``.
        """
        if (tracked := self._known) is None or tracked.state is not TrackedState.SUCCEEDED:
            return None
        if tracked.record is not None and tracked.record is not self._decoded:
            result = whole_result_of(tracked.endpoint, tracked.record)
            self._result = with_source(result, self._engine, tracked)
            self._decoded = tracked.record
        return self._result

    def to_dict(self, *, signed: bool = True) -> dict[str, Any]:
        """Return what is known of the task in JSON types, for status pages; nothing is asked.

        The names are those of this class (``id``, ``external_task_id``, ``endpoint``, ``status``, ``done``,
        ``position``, ``eta``, ``created_at``, ``result``; times in ISO 8601), ``units`` as in the record, and
        ``error``: type and message of why it failed or has no task; each is None where there is none.

        Args:
            signed: Whether addresses of the result are whole: whoever has one can fetch the file.
        """
        return task_as_json(self, self.record, self._result_so_far, signed=signed)

    def _result_so_far(self) -> R | None:
        """Return the result, None while there is none; raise why it failed or ended without a task."""
        if self._known is None:
            self._queued.raise_if_ended()
        else:
            self._known.raise_if_failed()
        return self.result

    # -- waiting

    async def accepted(self, timeout: float | None = None) -> Task[R]:
        """Wait until the vendor has accepted the task; return this handle.

        To stop waiting affects nothing: it goes on queueing.

        Args:
            timeout: Seconds to wait; None waits as long as it takes.

        Raises:
            TaskTimeout: The time is over; it still queues, or its create is on its way.
            TaskWithdrawn: It was withdrawn.
            KlingError: It ended without a task; the errors are those of ``client.submit``.
        """
        with within(timeout), noted(self._runs_on):
            await self._exists()
        if self._known is None:
            raise self._out_of_time(timeout)
        return self

    async def wait(self, timeout: float | None = None) -> R:
        """Wait until the task ends, its time in the queue included; return its result.

        Many callers may wait at once, and again after an interrupt: to stop waiting affects neither the task
        nor its place in the queue.

        Args:
            timeout: Seconds to wait; None waits as long as the task takes.

        Raises:
            TaskFailed: The vendor ended the task as failed; the error holds its record.
            TaskTimeout: The time is over; the task still runs, or still queues.
            TaskWithdrawn: It was withdrawn from the queue.
            TaskNotFound: The vendor knows no such task.
            AuthenticationError: The key was refused.
            KlingError: It ended without a task; the errors are those of ``client.submit``.
        """
        # a wait without a near deadline is warned about a task that runs unusually long
        left = anyio.current_effective_deadline() - anyio.current_time()
        undated = min(left, math.inf if timeout is None else timeout) >= _FAR
        with within(timeout), noted(self._runs_on):
            tracked = await self._exists()
            tracked.waiters.undated += undated
            try:
                await self._engine.poller.wait(tracked)
            finally:
                tracked.waiters.undated -= undated
        if not self.done:
            raise self._out_of_time(timeout)
        return self._ended()

    def _ended(self) -> R:
        """Return the result of a task that has ended, or raise that it failed."""
        self.tracked.raise_if_failed()
        result = self.result
        assert result is not None  # noqa: S101 - it is done and has not failed
        return result

    async def _exists(self) -> TrackedTask:
        """Wait until the task exists."""
        return self._known or await self._engine.queue.accepted(self._queued)

    def _runs_on(self) -> str:
        """Say that the task goes on without this wait."""
        if self.done:
            return ""
        if self._known is None:
            return f"{self.id} still queues: await its wait() again"
        return f"{running_words([self.id])}; await its wait() again, or attach() to it in another process"

    def _out_of_time(self, timeout: float | None) -> TaskTimeout:
        tracked = self._known
        if tracked is None:
            return TaskTimeout("", self.external_task_id, timeout or 0.0, queued=self._queued.waiting)
        return tracked.timed_out(timeout or 0.0)

    def updates(self) -> AsyncIterator[TaskRecord]:
        """Iterate over the task's records as they are seen to change, starting with the present one.

        The first one of a task that queues has the status ``queued``, and no task_id. The iteration ends when
        the task does; a task that fails is a last record with that status, no error.

        Raises:
            KlingError: It ended without a task; the errors are those of ``client.submit``.
        """
        return RecordUpdates(self._record_after)

    async def refresh(self, max_age: float | None = None) -> TaskRecord:
        """Return what the vendor knows of the task now, at the cost of one query at most.

        Nothing is asked about a task that was seen ended, or that still queues. Concurrent refreshes of a
        task are one query, and all of a client's keep `Polling.requests_per_second`.

        Args:
            max_age: Seconds; a record read so lately, whoever asked for it, is returned without a query.
                0 asks about an ended task, too: for fresh addresses. Default: what was not asked for
                by this call is too old.

        Raises:
            TaskNotFound: The vendor knows no such task.
            KlingError: No answer came, `Retry.max_tries` times; or it ended without a task.
        """
        tracked = self._known
        if tracked is None:
            return self._queued_record()
        if tracked.record is None or not self._is_fresh(tracked, max_age):
            await self._engine.poller.refresh(tracked, self._engine.retry, self._engine.timeouts)
        assert tracked.record is not None  # noqa: S101 - just seen
        return tracked.record

    def _is_fresh(self, tracked: TrackedTask, max_age: float | None) -> bool:
        """Tell whether a record needs no query: nothing changes in one of an ended task."""
        fresh = max_age is not None and self._engine.scope.time() - tracked.looks.seen_at < max_age
        return fresh or (tracked.done and max_age != 0)

    async def _record_after(self, shown: tuple[str, int] | None) -> TaskRecord | None:
        """Return the next record that differs in status or time; None: the task has ended."""
        if self._known is None and shown is None:
            return self._queued_record()
        tracked = await self._exists()
        while (record := tracked.record) is None or shown == (record.status, record.updated_at):
            if tracked.done:
                return None
            await self._engine.poller.change(tracked)
        return record

    def _queued_record(self) -> TaskRecord:
        """Return the record of a task that does not exist yet, or raise that it never will."""
        submission = self._queued
        self._engine.scope.refresh()  # what queued in a loop that ended has failed
        submission.raise_if_ended()
        return TaskRecord(
            endpoint=submission.endpoint.name,
            task_id="",
            external_task_id=submission.external_task_id,
            status=self.status,
        )

    def withdraw(self) -> bool:
        """Take the task out of the queue; return whether surely nothing was sent.

        True: no byte of its create was sent, nor will be; whoever waits for it gets `TaskWithdrawn`. False:
        it was too late, and the task exists or may exist; unless the vendor refuses it, it goes on, and is
        billed when it succeeds. May be called from any thread.
        """
        submission = self._submission
        if submission is None or self._known is not None:
            return False
        return self._engine.scope.result_of(lambda: self._engine.queue.withdraw(submission))

    # -- files

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
        task = await self._succeeded()
        values: dict[str, str | int] = {"key": self.external_task_id or self.id, "index": 0}
        stored = await fetch_all(
            self._engine,
            task,
            Path(directory),
            template,
            values,
            watermarked=watermarked,
            sidecar=sidecar,
        )
        return [file.path for file in stored]

    def stream(self, n: int = 0, *, watermarked: bool = False) -> FileStream:
        """Hand on the bytes of one file as they come, for object storage; see `FileStream`.

        Args:
            n: Number of the file in the result, from 0.
            watermarked: Take the watermarked copy instead, if the request asked for it.
        """
        return FileStream(self._engine, self._succeeded, n, watermarked=watermarked)

    async def _succeeded(self) -> TrackedTask:
        await self.wait()
        return self.tracked

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the record: a handle belongs to its client."""
        if self.record is None:
            raise TypeError("this task was not seen yet and has no record; refresh() it, or pickle its id")
        return self.record.__reduce__()

    def __repr__(self) -> str:
        words = first_words(self.request)
        return f"<Task {self.endpoint} {self.id} {self.status}{f' {words!r}' if words else ''}>"

    @property
    def _queued(self) -> Submission:
        """The submission, of a handle that was made before its task existed."""
        assert self._submission is not None  # noqa: S101 - a handle is on one or the other
        return self._submission


async def still_runs(task: Task[Any]) -> bool:
    """Ask whether a task runs; False where no answer comes: an outage of hours says nothing of the task."""
    try:
        await task.refresh()
    except KlingError:
        return False
    return not task.done
