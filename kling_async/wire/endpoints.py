"""Rows of the catalog, and checks of values that become part of a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeVar

from msgspec import Meta

from kling_async.decoding.generations import asked_at
from kling_async.errors import Problem, RequestInvalid
from kling_async.records import PAGE_SIZE_MAX
from kling_async.wire.checks import Rule, check_free
from kling_async.wire.plain import plain
from kling_async.wire.requests import CallRequest, RawResult, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Call", "Endpoint", "JournaledRequest", "Lookup", "RawTask", "check_id", "check_path"]

R = TypeVar("R")

Lookup = Literal["path", "search", "none"]
"""How to find the task of a create whose answer was lost. ``path``: by its external_task_id in the path;
``search``: by asking ``/tasks`` for that id under an API key, else among the newest tasks of the list;
``none``: it cannot be found."""


class Endpoint(NamedTuple, Generic[R]):
    """An endpoint that makes tasks."""

    request: type[TaskRequest[R]]
    result: type[R]
    path: str
    """Path of create (POST) and list (GET); one task is at ``path/{id}`` (GET). Of the second generation, the
    path of creates without the model; see `asked_at`."""
    pool: str
    weight: Callable[[Any], int]
    """Returns the number of slots that a request takes."""
    lookup: Lookup = "path"
    kind: Callable[[Any], Hashable] = lambda _: None
    """Returns the values of a request on which the task's duration depends; tasks of one kind are alike."""
    median: float = 60.0
    """First guess of the seconds that a task takes, for kinds of which no duration is known."""
    takes_external_id: bool = True
    """Whether creates carry an external_task_id."""
    takes_callback: bool = True
    """Whether creates are known to take a callback_url."""
    idempotent: bool = True
    """Whether the vendor surely refuses a second create with the same external_task_id. Only then is a create
    whose task was not found sent again."""
    sure: bool = True
    """Whether pool and weight are known; False: they are the best reading of the vendor's pages."""
    whole_at_tasks: bool = True
    """Whether answers of ``/tasks`` hold all of a result; where not, a task seen succeeded there is asked for
    once more at its own path."""
    whole_in_callbacks: bool = True
    """Whether the vendor describes its whole result in callbacks; where not, a task that a callback tells to
    have succeeded is asked for once."""
    page_size_max: int = PAGE_SIZE_MAX
    """Most tasks on one page of its list."""
    model_in_path: bool = False
    """Whether creates go to ``path/{model_name}``."""

    @property
    def asked_at(self) -> str:
        """Path that is asked about its tasks by ids; "" for ``path/{id}``, as under ``/v1``."""
        return asked_at(self.path)

    def create_path(self, request: TaskRequest[Any]) -> str:
        """Return the path of the create of a request.

        Raises:
            RequestInvalid: The name of its model could lead elsewhere.
        """
        if not self.model_in_path:
            return self.path
        return f"{self.path}/{check_id(getattr(request, 'model_name', ''), 'model_name')}"

    @property
    def name(self) -> str:
        """Name of the endpoint, ``text_to_video``; of a `RawTask`, its path."""
        return self.path if self.request is RawTask else self.request.endpoint_name


class Call(NamedTuple, Generic[R]):
    """An endpoint that answers at once."""

    request: type[CallRequest[R]]
    result: type[R]
    method: Literal["GET", "POST"]
    path: str
    read: bool = False
    """Whether a POST changes nothing and costs nothing, so that it may be repeated."""
    array: str = ""
    """Field of the result that takes the answer where that is a bare array."""

    @property
    def name(self) -> str:
        """Name of the endpoint, ``identify_face``."""
        return self.request.endpoint_name


class RawTask(TaskRequest[RawResult], frozen=True, kw_only=True, omit_defaults=True):
    """A task at an endpoint this package has no types for; its result is plain data in ``raw``.

    The body is not checked, except that it can be sent as JSON.

    Args:
        path: Path of the create; the task is asked about at ``path/{id}``. Where it ends with a model, as
            ``/omni-video/kling-4.0``, or lies below ``/solutions/``, it is of the second generation: asked
            about at ``/tasks`` or ``/solutions``, with external id and callback under ``options``.
        body: The JSON object to send.
        pool: The slots it takes: ``video``, ``image``, ``virtual_try_on``. Default: video.
        weight: Number of slots it takes, at least 0. Default: 1.
        extra: Merged into the body last.
    """

    endpoint_name = "raw_task"

    path: str
    body: dict[str, Any]
    pool: str = "video"
    weight: Annotated[int, Meta(ge=0)] = 1
    extra: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it

    rules: ClassVar[tuple[Rule, ...]] = (lambda r: check_free("body", r.body),)


class JournaledRequest(TaskRequest[Any], frozen=True, kw_only=True, omit_defaults=True):
    """A request of which only a batch's journal knows, as a fingerprint; it cannot be submitted.

    Args:
        endpoint: Name of the endpoint; the path, if the request was a `RawTask`.
        pool: The slots that its task takes.
        extra: Not used.
    """

    endpoint: str
    pool: str = "video"
    extra: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it

    rules: ClassVar[tuple[Rule, ...]] = (lambda _: [Problem("request", "is known by its fingerprint only")],)


_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")


def check_id(value: str, name: str) -> str:
    """Return an id that may become part of a path.

    Raises:
        RequestInvalid: The id could name another path.
    """
    text = plain(value)
    if not isinstance(text, str):
        raise RequestInvalid("id", [Problem(name, f"must be text, not {type(value).__name__}")])
    if not _ID.fullmatch(text) or not text.strip("."):
        raise RequestInvalid("id", [Problem(name, "use 1 to 128 of A-Z a-z 0-9 . _ -, and not dots alone")])
    return text


def check_path(path: str) -> str:
    """Return a path that stays below the base URL.

    Raises:
        RequestInvalid: The path could lead elsewhere.
    """
    text = plain(path)
    if not isinstance(text, str):
        raise RequestInvalid("path", [Problem("path", f"must be text, not {type(path).__name__}")])
    segments = text.split("/")
    if not _PATH.fullmatch(text) or any(s and not s.strip(".") for s in segments):
        raise RequestInvalid("path", [Problem("path", "use /segments of A-Z a-z 0-9 . _ -, not dots alone")])
    return text
