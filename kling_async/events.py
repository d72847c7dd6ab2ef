"""Events inside a client: counted, logged, and passed to a listener (``Client(on_event=...)``).

One call does all three, so that they cannot disagree. An `Event` is made only for a listener, a line of the
log only if its level is enabled.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, get_args

import msgspec

from kling_async.core.status import TaskState, state_of
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ClientCounts",
    "Event",
    "EventKind",
    "Hooks",
    "ModelCounts",
    "RequestKind",
    "Subject",
    "facts",
]

logging.getLogger("kling_async").addHandler(logging.NullHandler())  # silent unless logging is set up

log = logging.getLogger("kling_async")

EventKind: TypeAlias = Literal[
    "queued",  # a submit waits for slots: the first time, or (with error) after a create that made nothing
    "admitted",  # a submit has its slots, and its create is sent
    "refused",  # a full account refused a create (1303): it queues again, unless it left or may not queue
    "left",  # a submit ended without a task: refused for good, given up, or of unknown fate; error says why
    "created",  # a create made its task
    "adopted",  # a create's answer was lost, and its task was found
    "asked",  # a status query is sent, about one task or many; detail: its form and how many
    "changed",  # a task was seen with another status
    "ended",  # a task was seen ended; with error: the vendor no longer knows it
    "slot_expired",  # slots were held for max_task_life and count no longer
    "held",  # creates of an endpoint and model wait, since all were refused alike; detail: by whom, how often
    "released",  # creates of that endpoint and model go again
    "downloaded",  # one file was stored, or streamed to its end; detail: its name
]

RequestKind: TypeAlias = Literal["create", "one", "ids", "list", "lookup", "other"]
"""Purpose of a request: a create; a status query about one task, about some ids, about the newest of a list;
a look-up of a create whose answer was lost; any other (packs, calls, ``client.list``, ``client.request``).
"""

_LEVELS: Final = {
    "adopted": logging.INFO,
    "slot_expired": logging.WARNING,
    "held": logging.WARNING,
    "released": logging.WARNING,
}
"""Level in the log of each kind of event; all others are DEBUG."""


class Place(Protocol):
    """The endpoint of a subject, as far as events name it."""

    @property
    def name(self) -> str:
        """Name of its row in the catalog."""
        ...

    @property
    def pool(self) -> str:
        """The pool whose slots its tasks take."""
        ...


class Subject(Protocol):
    """The subject of an event: a create on its way, or a task."""

    @property
    def endpoint(self) -> Place:
        """The endpoint of the create."""
        ...

    @property
    def external_task_id(self) -> str | None:
        """The external_task_id that the create carries, if known."""
        ...

    @property
    def task_id(self) -> str | None:
        """The vendor's id, if known."""
        ...


def facts(*about: Subject, pool: str = "") -> dict[str, Any]:
    """Return the endpoint, pool and ids that all subjects share; "" and None where they differ.

    Every event has these facts, and every log record carries them as ``extra``.
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


class Event(Serializable, frozen=True, kw_only=True):
    """One step of a submit, a task or a download, with its ids, endpoint and pool as far as known."""

    kind: EventKind
    at: float
    """Seconds of the client's clock, which never goes back."""
    endpoint: str = ""
    pool: str = ""
    external_task_id: str | None = None
    task_id: str | None = None
    status: str = ""
    """The vendor's status word, on ``created``, ``adopted``, ``changed`` and ``ended``."""
    detail: str = ""
    """More facts in words, for people to read."""
    error: str = ""
    """Name of the error that caused the event, on ``queued``, ``refused``, ``left``, ``held`` and ``ended``;
    on ``left`` also ``CancelledError``."""
    waited: float = 0.0
    """Seconds from the submit to its latest admission, on ``admitted``, ``created`` and ``adopted``."""
    size: int = 0
    """Bytes, on ``downloaded``."""
    seconds: float = 0.0
    """How long the file took, on ``downloaded``, its wait for a free download slot included."""
    model: str = ""
    """The model of the request, by its name in the second generation, on ``refused``, ``created`` and
    ``adopted``."""


class ModelCounts(Serializable, frozen=True, kw_only=True):
    """Count the creates of one model, as evidence whether the vendor counts slots by model."""

    created: int = 0
    """Tasks made."""
    refused: int = 0
    """Creates refused by a full account (1303)."""
    created_beside_refusals: int = 0
    """Tasks made although another model of the same pack type was refused last and no task has ended since:
    where all models share their slots, there are none."""


class ClientCounts(msgspec.Struct, kw_only=True):
    """Counts since the client was made; they only grow. `Stats` describes each field."""

    submitted: int = 0
    admitted: int = 0
    refused: int = 0
    requeued: int = 0
    created: int = 0
    adopted: int = 0
    left: dict[str, int] = {}
    models: dict[str, ModelCounts] = {}
    waited: float = 0.0
    waited_max: float = 0.0
    succeeded: int = 0
    failed: int = 0
    gone: int = 0
    changed: int = 0
    slot_expired: int = 0
    held: int = 0
    downloaded: int = 0
    downloaded_bytes: int = 0
    callbacks: dict[str, int] = {}
    asked: int = 0
    requests: dict[str, int] = {}
    retried: int = 0
    unanswered: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def copied(self) -> dict[str, Any]:
        """Return all counts by name, as they are now."""
        counts = msgspec.structs.asdict(self)
        return {name: dict(value) if isinstance(value, dict) else value for name, value in counts.items()}


class _Models:
    """Counts creates by model, and which models were refused since a task of their pack type ended."""

    def __init__(self, counts: dict[str, ModelCounts]) -> None:
        self._counts = counts
        self._refused: dict[str, set[str]] = {}

    def count(self, kind: EventKind, pool: str, model: str) -> None:
        """Count an event of a create, or of the end of a task that may have freed slots."""
        packs = pool.partition("/")[0]
        refused = self._refused.setdefault(packs, set())
        if kind in ("ended", "slot_expired"):
            refused.clear()
        known = self._counts.get(model, ModelCounts())
        match kind:
            case "refused" if model:
                refused.add(model)
                known = msgspec.structs.replace(known, refused=known.refused + 1)
            case "created" | "adopted" if model:
                beside = known.created_beside_refusals + bool(refused - {model})
                known = msgspec.structs.replace(
                    known, created=known.created + 1, created_beside_refusals=beside
                )
            case _:
                return
        self._counts[model] = known


class Hooks:
    """Count events, log them, and pass them to the listener; its exceptions are logged and go no further."""

    def __init__(self, listener: Callable[[Event], object] | None, clock: Callable[[], float]) -> None:
        self._listener = listener
        self._clock = clock
        self.counts = ClientCounts(requests=dict.fromkeys(get_args(RequestKind), 0))
        self._models = _Models(self.counts.models)

    def emit(
        self,
        kind: EventKind,
        *about: Subject,
        status: str = "",
        detail: str = "",
        error: str = "",
        waited: float = 0.0,
        size: int = 0,
        seconds: float = 0.0,
        model: str = "",
    ) -> None:
        """Count an event, log it, and tell the listener if there is one."""
        self._count(kind, status, error, waited, size)
        if about:
            self._models.count(kind, about[0].endpoint.pool, model)
        level = _LEVELS.get(kind, logging.DEBUG)
        logged = log.isEnabledFor(level)
        if self._listener is None and not logged:
            return
        known = facts(*about)
        if logged:
            # ids stand in the text for readers, and in `extra` for programs
            words = (known["endpoint"], known["external_task_id"], known["task_id"], status, error, detail)
            log.log(level, "%s: %s", kind, " ".join(filter(None, words)), extra=known)
        if self._listener is None:
            return
        more: dict[str, Any] = {"status": status, "detail": detail, "error": error, "seconds": seconds}
        more["model"] = model
        try:
            self._listener(Event(kind=kind, at=self._clock(), waited=waited, size=size, **more, **known))
        except Exception:
            log.exception("on_event raised at %r", kind, extra=known)

    def _count(self, kind: EventKind, status: str, error: str, waited: float, size: int) -> None:  # noqa: C901, PLR0912 - one line a kind
        counts = self.counts
        match kind:
            case "queued" if error:
                counts.requeued += 1
            case "queued":
                counts.submitted += 1
            case "admitted":
                counts.admitted += 1
            case "refused":
                counts.refused += 1
            case "left":
                counts.left[error] = counts.left.get(error, 0) + 1
            case "created":
                counts.created += 1
                self._count_wait(waited)
            case "adopted":
                counts.adopted += 1
                self._count_wait(waited)
            case "asked":
                counts.asked += 1
            case "changed":
                counts.changed += 1
            case "ended":
                self._count_end(status, error)
            case "slot_expired":
                counts.slot_expired += 1
            case "held":
                counts.held += 1
            case "downloaded":
                counts.downloaded += 1
                counts.downloaded_bytes += size

    def _count_wait(self, waited: float) -> None:
        self.counts.waited += waited
        self.counts.waited_max = max(self.counts.waited_max, waited)

    def _count_end(self, status: str, error: str) -> None:
        if error:
            self.counts.gone += 1
        elif state_of(status) is TaskState.SUCCEEDED:
            self.counts.succeeded += 1
        else:
            self.counts.failed += 1

    def sending(self, kind: RequestKind, size: int) -> None:
        """Count a request that goes out, with a body of so many bytes."""
        self.counts.requests[kind] += 1
        self.counts.bytes_sent += size

    def received(self, size: int) -> None:
        """Count the body of a whole answer, of so many bytes."""
        self.counts.bytes_received += size

    def unanswered(self) -> None:
        """Count a request without an answer of the API's form."""
        self.counts.unanswered += 1

    def retried(self) -> None:
        """Count a request, other than a create, without a usable answer; most are repeated."""
        self.counts.retried += 1
