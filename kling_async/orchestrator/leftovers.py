"""Tasks that run on when their client has ended: named, so that they can be found again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Final, Protocol

from kling_async.events import facts
from kling_async.runtime.kernels import show_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kling_async.runtime.loop import LoopScope

__all__ = ["ClientHold", "name_leftovers", "noted", "running_words", "sent_words"]

log = logging.getLogger("kling_async")

_NAMED_MAX: Final = 20
"""Most ids in one line of the log."""


def name_leftovers(why: str, running: Sequence[str]) -> str:
    """Log which tasks run on, if any; return the line."""
    if not running:
        return ""
    text = f"{why}; tasks run on ({len(running)}), attach() to them later: {_first(running)}"
    log.warning("%s", text, extra=facts())
    return text


def running_words(ids: Sequence[str]) -> str:
    """Say which tasks run on, for whoever stopped waiting."""
    if not ids:
        return ""
    what = "the task runs" if len(ids) == 1 else f"{len(ids)} tasks run"
    return f"{what} on at the vendor's: {_first(ids)}"


def sent_words(submission: Queued) -> str:
    """Say that a create goes on though its caller has left; empty where nothing was sent."""
    if not submission.in_flight:
        return ""
    name = submission.external_task_id
    return f"the create {name} was sent and goes on: client.tasks() lists its task"


def _first(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED_MAX} more" if len(ids) > _NAMED_MAX else ""
    return ", ".join(ids[:_NAMED_MAX]) + more


@contextlib.contextmanager
def noted(words: Callable[[], str]) -> Iterator[None]:
    """Add a note to a cancellation on its way out, as of an interrupted cell: tracebacks show it.

    Args:
        words: Returns what goes on though nobody waits for it; empty for nothing.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if (text := words()) and text not in getattr(error, "__notes__", ()):
            error.add_note(text)
        raise


class Queued(Protocol):
    """A submit that has no task yet (`kling_async.orchestrator.submission.Submission`)."""

    @property
    def external_task_id(self) -> str:
        """The id that its create carries."""
        ...

    @property
    def in_flight(self) -> bool:
        """Whether its create is on its way."""
        ...


class Work(Protocol):
    """The work of a client (`kling_async.orchestrator.engine.Engine`)."""

    @property
    def scope(self) -> LoopScope:
        """Whether it was closed."""
        ...

    def running(self) -> list[str]:
        """Return the ids of tasks that run, or may."""
        ...

    def queued(self) -> Iterable[Queued]:
        """Return the submits without a task."""
        ...


class ClientHold:
    """Object that all `Client` objects of one account share, and nothing else: freed with the last of them.

    A cell of a notebook that makes a client is run again, and the client before it is dropped without
    ``aclose()``. Handles of its tasks work on; its connections end when nothing of it is left.
    """

    __slots__ = ("_work",)

    def __init__(self, work: Work) -> None:
        self._work = work

    def __del__(self) -> None:
        if sys.is_finalizing() or self._work.scope.closed:
            return
        why = "a client was dropped without aclose()"
        ids = [submission.external_task_id for submission in self._work.queued()]
        if text := name_leftovers(why, [*self._work.running(), *ids]):
            show_warning(text)
