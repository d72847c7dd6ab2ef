"""What happens inside a client, told to whoever listens: ``Client(on_event=...)``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Event", "EventKind", "Hooks"]

log = logging.getLogger("kling_async")

EventKind: TypeAlias = Literal[
    "queued",  # waits for slots, for the first time or after an attempt that surely made nothing
    "admitted",  # has its slots and is sent
    "refused",  # by a full account (1303), and waits again
    "left",  # the submit ended without a task: refused for good, given up, or of unknown fate
    "created",
    "adopted",  # its answer was lost, its task was found
    "asked",  # one question, be it about one task or many; detail: its form and how many
    "changed",
    "ended",
    "slot_expired",
    "downloaded",
]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    kind: EventKind
    at: float
    """Seconds of the client's clock, which never goes back."""
    endpoint: str = ""
    pool: str = ""
    external_task_id: str | None = None
    task_id: str | None = None
    status: str = ""
    """The vendor's word, on ``changed`` and ``ended``."""
    detail: str = ""


class Hooks:
    """Passes events on; a listener that raises harms nobody."""

    def __init__(self, listener: Callable[[Event], object] | None) -> None:
        self._listener = listener

    def __bool__(self) -> bool:
        return self._listener is not None

    def emit(self, kind: EventKind, at: float, **facts: Any) -> None:
        """Tell the listener, if there is one."""
        if self._listener is None:
            return
        try:
            self._listener(Event(kind=kind, at=at, **facts))
        except Exception:
            log.exception("on_event raised at %r", kind)
