"""Bases of requests and results, the same for both generations of the API."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from kling_async.redaction import Discreet
from kling_async.wire.checks import Rule, coerce

__all__ = ["CallRequest", "File", "Part", "RawResult", "Request", "Result", "TaskRequest"]

R_co = TypeVar("R_co", covariant=True)


class Request(Discreet, frozen=True, kw_only=True, omit_defaults=True):
    """A value that describes one call. It is checked and encoded by what its fields' ``Meta`` say.

    Fields left at None are not sent, so the vendor's default applies; an empty text counts as not set.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Checks over several fields; each a small named function."""

    extra: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    """Fields this package does not know (the vendor adds some monthly); merged into the body last."""

    def __post_init__(self) -> None:
        """Turn lists into tuples and addresses, bytes and paths into `Media`; see `checks.coerce`."""
        coerce(self)


class Part(Discreet, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the objects within a request."""

    def __post_init__(self) -> None:
        """As a request does."""
        coerce(self)


class TaskRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that starts a task; ``client.submit()`` takes it. R is the type of the task's result."""


class CallRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that is answered at once; ``client.call()`` takes it. R is the type of the answer."""


class File(Discreet, frozen=True):
    """One file of a result: where it is and how to name it."""

    url: str
    suffix: str
    """With its dot, ``.mp4``: what the address should hold."""
    name: str = ""
    """What tells it from its siblings, ``0`` or ``watermarked``."""


class Result(Discreet, frozen=True, kw_only=True):
    """Base of all results. ``raw`` is the vendor's own object, with what the types here do not name."""

    raw: dict[str, Any] = msgspec.field(name="__raw__", default_factory=dict)

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:  # noqa: ARG002 - for subclasses
        """Return what can be downloaded; with ``watermarked``, the marked copies instead."""
        return ()

    def refusal(self) -> tuple[int | None, str] | None:
        """Return the code, if any, and the words of a refusal that came inside an accepting answer."""
        return None


class RawResult(Result, frozen=True, kw_only=True):
    """The result of an endpoint this package has no types for: see ``raw``."""
