"""What happens inside a client: counted, logged, and told to whoever listens (``Client(on_event=...)``).

All three hang on the same call, so that they cannot disagree. An event is made, and a line of the log put
together, only if somebody takes it.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

import msgspec

from kling_async.core.status import TaskState, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.wire.endpoints import Endpoint

__all__ = ["Event", "EventKind", "Hooks", "RequestKind", "Subject", "facts"]

logging.getLogger("kling_async").addHandler(logging.NullHandler())  # silent unless logging is set up

log = logging.getLogger("kling_async")

EventKind: TypeAlias = Literal[
    "queued",  # waits for slots: first of all, or (with error) after an attempt that surely made nothing
    "admitted",  # has its slots and is sent
    "refused",  # by a full account (1303); it waits again, unless its submitter left or does not queue
    "left",  # the submit ended without a task: refused for good, given up, or of unknown fate; error says why
    "created",
    "adopted",  # its answer was lost, its task was found
    "asked",  # one question, be it about one task or many; detail: its form and how many
    "changed",
    "ended",  # seen ended; with error: the vendor no longer knows it
    "slot_expired",  # held for max_task_life: its slots count no longer
    "downloaded",  # one file; detail: its name
]

RequestKind: TypeAlias = Literal["create", "one", "ids", "list", "lookup", "other"]
"""What a request is for: a create; a question about one task, about some ids, about the newest of a list; a
look for a create whose answer was lost; anything else (packs, calls, ``client.list``, ``client.request``)."""

_LEVELS: Final = {"adopted": logging.INFO, "slot_expired": logging.WARNING}
"""Of the log; all others are DEBUG."""


class Subject(Protocol):
    """What an event is about: a create on its way, or a task."""

    @property
    def endpoint(self) -> Endpoint[Any]:
        """Where it was, or is to be, made."""
        ...

    @property
    def external_task_id(self) -> str | None:
        """The id its create carries, if known."""
        ...

    @property
    def task_id(self) -> str | None:
        """The vendor's id, if known."""
        ...


def facts(*about: Subject, pool: str = "") -> dict[str, Any]:
    """Return the endpoint, pool and ids that these have in common; "" and None where they have none.

    Every event tells them, and every log record carries them as ``extra``.
    """
    alone = about[0] if len(about) == 1 else None
    endpoints = {subject.endpoint.name for subject in about}
    pools = {subject.endpoint.pool for subject in about}
    return {
        "endpoint": endpoints.pop() if len(endpoints) == 1 else "",
        "pool": pools.pop() if len(pools) == 1 else pool,
        "external_task_id": None if alone is None else alone.external_task_id,
        "task_id": None if alone is None else alone.task_id,
    }


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. Ids, endpoint and pool are there wherever they are known and it has one."""

    kind: EventKind
    at: float
    """Seconds of the client's clock, which never goes back."""
    endpoint: str = ""
    pool: str = ""
    external_task_id: str | None = None
    task_id: str | None = None
    status: str = ""
    """The vendor's word, on ``created``, ``adopted``, ``changed`` and ``ended``."""
    detail: str = ""
    """For people."""
    error: str = ""
    """Name of the error that led to it, on ``queued``, ``refused``, ``left`` and ``ended``; on ``left`` also
    ``CancelledError``."""
    waited: float = 0.0
    """Seconds from the submit to its latest admission, on ``admitted``, ``created`` and ``adopted``."""
    size: int = 0
    """Bytes, on ``downloaded``."""


class Hooks:
    """Counts what happens, logs it, passes it on; a listener that raises harms nobody."""

    def __init__(self, listener: Callable[[Event], object] | None, clock: Callable[[], float]) -> None:
        self._listener = listener
        self._clock = clock
        self._counts: defaultdict[str, Any] = defaultdict(int)
        self._left = Counter[str]()
        self._requests: dict[str, int] = dict.fromkeys(get_args(RequestKind), 0)

    def emit(
        self,
        kind: EventKind,
        *about: Subject,
        status: str = "",
        detail: str = "",
        error: str = "",
        waited: float = 0.0,
        size: int = 0,
    ) -> None:
        """Something happened: count it, log it, tell the listener if there is one."""
        self._count(kind, status, error, waited, size)
        level = _LEVELS.get(kind, logging.DEBUG)
        logged = log.isEnabledFor(level)
        if self._listener is None and not logged:
            return
        known = facts(*about)
        if logged:
            words = (known["endpoint"], known["external_task_id"], known["task_id"], status, error, detail)
            log.log(level, "%s: %s", kind, " ".join(filter(None, words)), extra=known)
        if self._listener is None:
            return
        more: dict[str, Any] = {"status": status, "detail": detail, "error": error}
        try:
            self._listener(Event(kind=kind, at=self._clock(), waited=waited, size=size, **more, **known))
        except Exception:
            log.exception("on_event raised at %r", kind, extra=known)

    def _count(self, kind: EventKind, status: str, error: str, waited: float, size: int) -> None:
        counts = self._counts
        match kind:
            case "queued":
                counts["requeued" if error else "submitted"] += 1
            case "left":
                self._left[error] += 1
            case "ended":
                good = state_of(status) is TaskState.SUCCEEDED
                counts["gone" if error else "succeeded" if good else "failed"] += 1
            case _:
                counts[kind] += 1
        if kind in ("created", "adopted"):
            counts["waited"] += waited
            counts["waited_max"] = max(counts["waited_max"], waited)
        elif kind == "downloaded":
            counts["downloaded_bytes"] += size

    def sending(self, kind: RequestKind, size: int) -> None:
        """A request goes out, with a body of so many bytes."""
        self._requests[kind] += 1
        self._counts["bytes_sent"] += size

    def received(self, size: int) -> None:
        """A body of so many bytes came."""
        self._counts["bytes_received"] += size

    def unanswered(self) -> None:
        """A request brought no answer of the API's form."""
        self._counts["unanswered"] += 1

    def retried(self) -> None:
        """A read brought nothing to go on with."""
        self._counts["retried"] += 1

    def counted(self) -> dict[str, Any]:
        """Return all counts since the client was made, by the names of the fields of `Stats`."""
        return {**self._counts, "left": dict(self._left), "requests": dict(self._requests)}
