"""The options of a batch: listed, given defaults and checked here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from kling_async.batch.outcomes import Outcome
from kling_async.batch.progress import ProgressBar, ShowProgress
from kling_async.core.budget import wrong_units
from kling_async.downloads.naming import Template
from kling_async.downloads.placing import prove_folder
from kling_async.errors import Problem, RequestInvalid
from kling_async.options import wrong_function
from kling_async.runtime.loop import in_thread
from kling_async.wire.plain import plain
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BatchArguments",
    "BatchOptions",
    "OnError",
    "Order",
    "ResumeArguments",
    "ready_folder",
    "resume_options",
]

OnError = Literal["collect", "raise", "stop"]
Order = Literal["given", "longest"]


class BatchArguments(TypedDict, total=False):
    """The keywords of ``client.batch()``; its docstring explains them, `BatchOptions` holds the defaults."""

    journal: str | Path | None
    download_to: str | Path | None
    name: str
    watermarked: bool
    sidecar: bool
    refetch: bool
    max_units: float | Mapping[str, float] | None
    price: Callable[[TaskRequest[Any]], float | None] | None
    on_error: OnError
    retries: int
    retry_failed: bool | Callable[[Outcome[Any]], object]
    stop_after_refusals: int | None
    job_timeout: float | None
    order: Order
    priority: int
    label: str | Callable[[TaskRequest[Any]], str]
    ahead: int | None
    downloads: int | None
    source_thread: bool
    signals: bool
    progress: ShowProgress | None


class ResumeArguments(TypedDict, total=False):
    """The keywords of ``client.resume()``: those of ``client.batch()`` that concern no creates."""

    download_to: str | Path | None
    name: str
    watermarked: bool
    sidecar: bool
    refetch: bool
    on_error: OnError
    ahead: int | None
    downloads: int | None
    signals: bool
    progress: ShowProgress | None


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The options of one batch, checked.

    Raises:
        RequestInvalid: Names every option that cannot be used.
    """

    journal: str | Path | None = None
    download_to: str | Path | None = None
    name: str = "{index}-{task_id}"
    watermarked: bool = False
    sidecar: bool = False
    refetch: bool = True
    max_units: float | Mapping[str, float] | None = None
    price: Callable[[TaskRequest[Any]], float | None] | None = None
    on_error: OnError = "collect"
    retries: int = 0
    retry_failed: bool | Callable[[Outcome[Any]], object] = False
    stop_after_refusals: int | None = 10
    job_timeout: float | None = None
    order: Order = "given"
    priority: int = 0
    label: str | Callable[[TaskRequest[Any]], str] = ""
    ahead: int | None = None
    downloads: int | None = None
    source_thread: bool = True
    signals: bool = True
    progress: ShowProgress | None = None

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise RequestInvalid("batch", problems)

    @cached_property
    def folder(self) -> Path | None:
        """The folder for files; None: none are stored."""
        return None if self.download_to is None else Path(self.download_to)

    @property
    def refetch_folder(self) -> Path | None:
        """The folder in which the files of finished jobs must still be; None: they may be moved away."""
        return self.folder if self.refetch else None

    @cached_property
    def template(self) -> Template:
        """The template of file names."""
        return Template(self.name)

    def label_of(self, request: TaskRequest[Any]) -> str:
        """Return the label of a request's task.

        Raises:
            RequestInvalid: The caller's function raises, or returns no text.
        """
        try:
            label: str = plain(self.label if isinstance(self.label, str) else self.label(request))
        except Exception as error:
            problem = Problem("label", f"raised {type(error).__name__}: {error}")
            raise RequestInvalid("batch", [problem]) from error
        if wrong := _wrong_label(label):
            raise RequestInvalid("batch", [Problem("label", f"returned {wrong}")])
        return label

    def _problems(self) -> Iterator[Problem]:
        yield from _unless_one_of("on_error", self.on_error, ("collect", "raise", "stop"))
        yield from _unless_one_of("order", self.order, ("given", "longest"))
        for field, count, least in (
            ("retries", self.retries, 0),
            ("stop_after_refusals", self.stop_after_refusals, 1),
            ("ahead", self.ahead, 1),
            ("downloads", self.downloads, 1),
        ):
            yield from _unless_count(field, count, least)
        yield from _unless_function("retry_failed", self.retry_failed, bool, "a bool")
        yield from _unless_function("price", self.price, type(None), "None")
        yield from _unless_function("label", self.label, str, "text")
        if not isinstance(self.progress, ProgressBar):
            yield from _unless_function("progress", self.progress, type(None), "None, a bar of tqdm")
        if isinstance(self.label, str) and (wrong := _wrong_label(plain(self.label))):
            yield Problem("label", f"must be text or a function of the request, not {wrong}")
        yield from _unless_seconds("job_timeout", self.job_timeout)
        yield from wrong_units(self.max_units)
        yield from self._wrong_name()

    def _wrong_name(self) -> Iterator[Problem]:
        try:
            fields = self.template.fields
        except RequestInvalid as error:
            yield from error.problems
            return
        if not fields & {"index", "task_id", "key"}:
            yield Problem("name", "needs {index}, {task_id} or {key}, or two jobs would share a file")


def _wrong_label(label: object) -> str:
    """Return what a label is if it is not a text; empty if it is one."""
    if not isinstance(label, str):
        return f"{type(label).__name__}, which is not text; use str(...)"
    try:
        label.encode()
    except UnicodeEncodeError:
        return "half a character (a lone surrogate); labels must be valid Unicode"
    return ""


def _unless_one_of(field: str, value: object, words: tuple[str, ...]) -> Iterator[Problem]:
    if value not in words:
        yield Problem(field, f"{value!r:.40} is not one of {', '.join(map(repr, words))}")


def _unless_function(field: str, value: object, other: type, words: str) -> Iterator[Problem]:
    if isinstance(value, other) or (text := wrong_function(value)) is None:
        return
    if not callable(value):
        text = f"must be {words} or a function, not {value!r:.40}"
    yield Problem(field, text)


def _unless_count(field: str, count: object, least: int) -> Iterator[Problem]:
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < least):
        yield Problem(field, f"must be a whole number from {least}, not {count!r:.40}")


def _unless_seconds(field: str, seconds: object) -> Iterator[Problem]:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
    if seconds is not None and not is_number:
        yield Problem(field, f"must be a number of seconds above 0, not {seconds!r:.40}")


def resume_options(journal: str | Path, options: ResumeArguments) -> BatchOptions:
    """Return the options of a batch that has no input but its journal.

    Raises:
        RequestInvalid: Names every option that cannot be used.
        TypeError: There is no such option.
    """
    for name in options.keys() - ResumeArguments.__annotations__.keys():
        raise TypeError(f"resume() got an unexpected keyword argument {name!r}")
    given: object = journal
    if not isinstance(given, str | Path):  # None would be a batch without a journal
        text = f"must be the path of a batch's journal, not {type(given).__name__}"
        raise RequestInvalid("resume", [Problem("journal", text)])
    return BatchOptions(journal=journal, **options)


async def ready_folder(folder: Path | None) -> None:
    """Make the folder of a batch, write in it and read from it, before any task is paid for.

    Raises:
        RequestInvalid: The folder cannot be made, or nothing can be stored in it.
    """
    if folder is None:
        return
    try:
        await in_thread(asyncio.get_running_loop(), prove_folder, folder)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        return
    raise RequestInvalid("batch", [Problem("download_to", f"{str(folder)!r} cannot be used: {reason}")])
