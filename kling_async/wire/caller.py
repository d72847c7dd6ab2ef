"""Find the user's line that a warning is to point at, however deep inside this package it is given."""

from __future__ import annotations

import contextlib
import sys
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["pointing_here", "user_line", "warn_user"]

_INSIDE: Final = {"kling_async", "asyncio", "anyio", "contextlib"}
"""This package, and those whose frames lie between the user's and ours: in tasks, in exit stacks."""


class Line(NamedTuple):
    """A line of code, as `warnings.warn_explicit` wants it."""

    filename: str
    lineno: int
    module: str
    registry: dict[Any, Any]
    """Of the module: the warnings that it has shown."""


_pointed: ContextVar[Line | None] = ContextVar("kling_async line of warnings", default=None)


@contextlib.contextmanager
def pointing_here() -> Iterator[None]:
    """Let the warnings of asyncio tasks started in this context point at the user's present line.

    The user's frames are not on the stack of such a task.
    """
    token = _pointed.set(user_line())
    try:
        yield
    finally:
        _pointed.reset(token)


def user_line() -> Line:
    """Return the line of the innermost frame outside of this package."""
    frame: FrameType = sys._getframe()  # noqa: SLF001 - as stacklevel does, but the depth varies
    while _is_inside(frame) and frame.f_back is not None:
        frame = frame.f_back
    names = frame.f_globals
    registry = names.setdefault("__warningregistry__", {})
    return Line(frame.f_code.co_filename, frame.f_lineno, names.get("__name__", "<unknown>"), registry)


def _is_inside(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE


def warn_user(text: str, category: type[Warning]) -> None:
    """Give a warning that points at the user's line."""
    line = _pointed.get() or user_line()
    warnings.warn_explicit(
        text, category, line.filename, line.lineno, module=line.module, registry=line.registry
    )
