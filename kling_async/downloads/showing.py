"""The forms of a task's handle in a notebook: its state, its files, and copies of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from kling_async.display.fields import fields_of
from kling_async.display.html import bundle, element, rows, titled
from kling_async.display.stored import stored_files
from kling_async.downloads.embedding import read_file, too_large
from kling_async.downloads.stream import FileStream
from kling_async.errors import DownloadError, KlingError
from kling_async.wire.players import EMBED_MAX, Embedded, EmbeddedFile
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from kling_async.display.html import Markup, MimeBundle
    from kling_async.downloads.result_addresses import DownloadContext
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.wire.requests import TaskRequest

__all__ = ["ResultSource", "ShownHandle", "read_stream", "with_source"]

R = TypeVar("R")


class ShownHandle(Generic[R]):
    """Base of `kling_async.Task`: how a notebook shows it."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def id(self) -> str:
            """The vendor's id, or the one it was submitted under."""
            ...

        @property
        def external_task_id(self) -> str | None:
            """The id that the create carries."""
            ...

        @property
        def status(self) -> str:
            """The status word."""
            ...

        @property
        def position(self) -> int | None:
            """The place in the queue."""
            ...

        @property
        def eta(self) -> dt.datetime | None:
            """The expected end."""
            ...

        @property
        def done(self) -> bool:
            """Whether it is over."""
            ...

        @property
        def request(self) -> TaskRequest[R] | None:
            """The request, if known."""
            ...

        @property
        def record(self) -> TaskRecord | None:
            """The known facts."""
            ...

        @property
        def result(self) -> R | None:
            """The result, once there is one."""
            ...

        async def wait(self) -> R:
            """Wait for the end; return the result."""
            ...

        def stream(self, n: int = 0, *, watermarked: bool = False) -> FileStream:
            """Hand on the bytes of one file."""
            ...

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        facts = self._facts()
        words = ", ".join(f"{name} {value}" for name, value in facts if name in {"position", "expected end"})
        text = f"{self!r}, {words}" if words else repr(self)
        return bundle(
            text, titled(f"Task {self.id}: {self.status}", self._shown_files(), rows(facts), self._asked())
        )

    def _facts(self) -> list[tuple[str, object]]:
        record, eta = self.record, self.eta
        facts: list[tuple[str, object]] = [
            ("position", self.position),
            ("expected end", None if eta is None else f"{eta.astimezone():%H:%M:%S}"),
            ("external_task_id", self.external_task_id),
        ]
        if record is not None:
            facts += [
                ("created", record.created),
                ("units", record.units),
                ("reason", record.message if self.done else None),
            ]
        return [(name, value) for name, value in facts if value not in (None, "")]

    def _shown_files(self) -> Markup:
        try:
            result: Any = self.result
        except KlingError as error:
            return element("div", str(error))
        return result.shown_files() if isinstance(result, Result) else element("div")

    def _asked(self) -> Markup:
        if self.request is None:
            return element("div")
        return element("details", element("summary", type(self.request).__name__), fields_of(self.request))

    async def embed(self, *, watermarked: bool = False, max_bytes: int = EMBED_MAX) -> Embedded:
        """Wait for the task; return its files as Base64 copies that a notebook shows and keeps.

        They are read from disk where they were downloaded, else fetched with the care of `stream`.

        Args:
            watermarked: Take the watermarked copies instead, if the request asked for them.
            max_bytes: Most bytes of all files together; the notebook's file grows by four thirds of it.

        Raises:
            DownloadError: The files are larger, or one could not be fetched or read.
            ResultExpired: The vendor has deleted a file.
            KlingError: The task failed, or ended in another way that `wait` raises.
        """
        result: Any = await self.wait()

        def stream(n: int) -> FileStream:
            return self.stream(n, watermarked=watermarked)

        return await _embedded(f"Task {self.id}", result, stream, self.id, max_bytes, watermarked=watermarked)


class ResultReader(Protocol):
    """The client that reads a result (`kling_async.orchestrator.engine.Engine`)."""

    @property
    def local(self) -> bool:
        """Whether the API is on this machine."""
        ...

    def found_again(self) -> Callable[[], DownloadContext | None]:
        """Return what finds its parts while anybody else holds them; None later."""
        ...


class ResultSource:
    """Gets the files of a task's result, as long as the client that read it lives.

    Args:
        reader: That client. A result must not keep it alive.
        task: The task.
    """

    __slots__ = ("_context", "_task", "local")

    def __init__(self, reader: ResultReader, task: TrackedTask) -> None:
        self._context = reader.found_again()
        self._task = task
        self.local = reader.local
        """Whether the API is on this machine, so that files may be there, too."""

    async def embed(self, result: Any, *, watermarked: bool, max_bytes: int) -> Embedded:
        """Return copies of the files of a result.

        Raises:
            DownloadError: As `Result.embed`; the client is gone.
        """
        task = self._task

        async def ended() -> TrackedTask:
            return task

        def stream(n: int) -> FileStream:
            if (context := self._context()) is None:
                text = f"the client that read this result is gone: attach() to task {task.id} for its embed()"
                raise DownloadError(text, task_id=task.id)
            return FileStream(context, ended, n, watermarked=watermarked)

        name = task.task_id or task.id
        return await _embedded(
            type(result).__name__, result, stream, name, max_bytes, watermarked=watermarked
        )


def with_source(result: R, reader: ResultReader, task: TrackedTask) -> R:
    """Let a result know who can fetch its files; no encoder shows that, and no copy has it."""
    if isinstance(result, Result):
        vars(result)["source"] = ResultSource(reader, task)
    return result


async def _embedded(
    title: str,
    result: object,
    stream: Callable[[int], FileStream],
    task_id: str,
    most: int,
    *,
    watermarked: bool,
) -> Embedded:
    """Return copies of the files of a result, from disk or by a stream of each."""
    found = result.files(watermarked=watermarked) if isinstance(result, Result) else ()
    if not found:
        raise DownloadError(f"the result of task {task_id} names no files", task_id=task_id)
    files: list[EmbeddedFile] = []
    left = most
    for n, file in enumerate(found):
        if (path := stored_files.find(file.url)) is not None:
            content = await read_file(path, left, most, task_id)
        else:
            content = await read_stream(stream(n), left, most, task_id)
        left -= len(content)
        files.append(EmbeddedFile(content, file.suffix, f"{file.name}{file.suffix}"))
    return Embedded(title, files)


async def read_stream(stream: FileStream, left: int, most: int, task_id: str) -> bytes:
    """Return the content of a file on its server; arguments and errors are those of `read_file`."""
    async with stream as file:
        if (file.length or 0) > left:
            raise too_large(most, task_id)
        content = bytearray()
        async for chunk in file:
            content += chunk
            if len(content) > left:
                raise too_large(most, task_id)
        return bytes(content)
