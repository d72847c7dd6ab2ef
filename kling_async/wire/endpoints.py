"""What a row of the catalog says of an endpoint, and what may become part of a path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeVar

from msgspec import Meta

from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.checks import Rule, check_free
from kling_async.wire.requests import CallRequest, RawResult, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["Call", "Endpoint", "Lookup", "RawTask", "check_id", "check_path"]

R = TypeVar("R")

Lookup = Literal["path", "search", "none"]
"""How a create whose answer was lost is found: by its external_task_id in the path; by asking ``/tasks``
for it under an API key, else among the newest tasks of the list; not at all."""


class Endpoint(NamedTuple, Generic[R]):
    """An endpoint that makes tasks."""

    name: str
    request: type[TaskRequest[R]]
    result: type[R]
    path: str
    """Create by POST, list by GET; one task by GET at ``path/{id}``."""
    pool: str
    weight: Callable[[Any], int]
    """Slots that a request takes."""
    lookup: Lookup = "path"
    kind: Callable[[Any], Hashable] = lambda _: None
    """Of what in a request the task's duration depends: tasks of one kind take about as long."""
    median: float = 60.0
    """Seconds to expect of a kind that was never seen; only a first guess."""
    takes_external_id: bool = True
    """Whether creates carry an external_task_id."""
    idempotent: bool = True
    """Whether the vendor surely refuses a second create of one external_task_id: only then is a create that
    could not be found sent again."""
    sure: bool = True
    """Whether pool and weight are known, or only the best reading of what the vendor says."""
    page_size_max: int = 500


class Call(NamedTuple, Generic[R]):
    """An endpoint that answers at once."""

    name: str
    request: type[CallRequest[R]]
    result: type[R]
    method: Literal["GET", "POST"]
    path: str
    read: bool = False
    """Whether a POST changes nothing and costs nothing, so that it may be repeated."""
    array: str = ""
    """The field of the result that takes an answer which is a bare array."""


class RawTask(TaskRequest[RawResult], frozen=True, kw_only=True, omit_defaults=True):
    """A task at an endpoint this package has no types for; its result is plain data in ``raw``.

    Asked for at ``path/{id}``. Of the body nothing is checked but that it can be sent.
    """

    rules: ClassVar[tuple[Rule, ...]] = (lambda r: check_free("body", r.body),)

    path: str
    body: dict[str, Any]
    pool: str = "video"
    weight: Annotated[int, Meta(ge=0, description="Slots it takes")] = 1


_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")


def check_id(value: str, name: str) -> str:
    """Return an id that may become part of a path.

    Raises:
        RequestInvalid: It could name another path.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value) or not value.strip("."):
        raise RequestInvalid("id", [Problem(name, "use 1 to 128 of A-Z a-z 0-9 . _ -, and not dots alone")])
    return value


def check_path(path: str) -> str:
    """Return a path that stays below the base URL.

    Raises:
        RequestInvalid: It does not.
    """
    segments = path.split("/")
    if not _PATH.fullmatch(path) or any(s and not s.strip(".") for s in segments):
        raise RequestInvalid("path", [Problem("path", "use /segments of A-Z a-z 0-9 . _ -, not dots alone")])
    return path
