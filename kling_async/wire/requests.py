"""Bases of requests and results, the same for both generations of the API."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec

from kling_async.redaction import Discreet
from kling_async.wire.checks import Rule
from kling_async.wire.coercion import coerce
from kling_async.wire.construction import FieldsByName

__all__ = ["CallRequest", "File", "Part", "RawResult", "Request", "Result", "TaskRequest"]

R_co = TypeVar("R_co", covariant=True)


class Request(Discreet, metaclass=FieldsByName, frozen=True, kw_only=True, omit_defaults=True):
    """Describe one call. It is checked and encoded by the ``Meta`` of its fields.

    Fields left at None are not sent, so the vendor's default applies; an empty text counts as not set. Each
    class ends with a field ``extra``: editors show fields in the order of their declaration, those of a base
    first.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Checks over several fields; each a small named function."""

    extra = cast("dict[str, Any]", {})
    """Fields of the API that a class lacks (the vendor adds some monthly); merged into the body last."""

    def __post_init__(self) -> None:
        """Turn values into plain ones, lists into tuples, files and addresses into `Media`; see `coerce`."""
        coerce(self)


class Part(Discreet, metaclass=FieldsByName, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the objects within a request."""

    def __post_init__(self) -> None:
        """Turn values into plain ones, lists into tuples, files and addresses into `Media`; see `coerce`."""
        coerce(self)


class TaskRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that starts a task; ``client.submit()`` takes it. R is the type of the task's result."""


class CallRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that is answered at once; ``client.call()`` takes it. R is the type of the answer."""


class File(Discreet, frozen=True):
    """One file of a result."""

    url: str
    """Address of the file."""
    suffix: str
    """Suffix of the format that the address should hold, with its dot: ``.mp4``."""
    name: str = ""
    """Name that differs from those of the result's other files, ``0`` or ``watermarked``."""


class Result(Discreet, frozen=True, kw_only=True):
    """Base of all results."""

    has_files: ClassVar[bool] = False
    """Whether results of this kind name files: true where `files` is overridden."""
    in_task_info: ClassVar[tuple[str, ...]] = ()
    """Fields, each an object, that answers hold in the task's ``task_info`` instead of its result."""

    raw: dict[str, Any] = msgspec.field(name="__raw__", default_factory=dict)
    """The vendor's own object, with the fields that the types here lack."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.has_files = cls.files is not Result.files

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:  # noqa: ARG002 - for subclasses
        """Return the files that can be downloaded; with ``watermarked``, the marked copies instead."""
        return ()

    def refusal(self) -> tuple[int | None, str] | None:
        """Return code (if any) and words of a refusal that came inside an accepting answer, else None."""
        return None


class RawResult(Result, frozen=True, kw_only=True):
    """The result of an endpoint this package has no types for: see ``raw``."""
