"""The ledger: a record of all requests and of the slots in use, for tests to rely on.

It holds no secret: no Authorization header, and fingerprints in place of files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeVar

__all__ = ["Ledger", "Row", "SentCallback"]

_T = TypeVar("_T")

ROWS_MAX: Final = 200_000
"""Rows, and slot changes per pool, that are kept; when as many are reached, the older half is dropped."""


@dataclass(slots=True)
class Row:
    """One request and its answer."""

    at: float
    """Seconds since the emulator started."""
    wall: float
    """Seconds since 1970 by the server's clock, skew included."""
    kind: str
    """create, query, list, tasks, call, costs, media or other."""
    method: str
    path: str
    """The path without the emulator's prefix and without the query string."""
    endpoint: str | None = None
    asked: str | None = None
    """Id in the path of a query."""
    query: dict[str, str] = field(default_factory=dict[str, str])
    task_id: str | None = None
    """Task that a create made or a query showed."""
    external_task_id: str | None = None
    status: int | None = None
    """HTTP status of the answer; None if none was sent."""
    code: int | None = None
    """The API's code; None for an answer without an envelope, and for requests that a fault met unjudged."""
    message: str = ""
    """The API's message."""
    fault: str | None = None
    """Kind of the scripted fault that the request met."""
    authorized: bool = False
    """Whether the request had an Authorization header. Requests for media never should."""
    body: dict[str, Any] | None = None
    """Body of a create or a call, with a fingerprint in place of each file."""
    body_sha256: str | None = None
    """SHA-256 of the body's bytes: equal if a client sent the same bytes again."""
    unknown_fields: list[str] = field(default_factory=list[str])
    """Fields of the body that the API does not know and ignores."""


@dataclass(slots=True)
class SentCallback:
    """One callback, sent or lost."""

    at: float
    """Seconds since the emulator started."""
    wall: float
    """Seconds since 1970 by the server's clock, skew included."""
    task_id: str
    task_status: str
    """Status of the task that it tells."""
    url: str
    """The callback_url of the create."""
    webhook_id: str
    """Id of the callback; the same when it is sent again."""
    fault: str | None = None
    """Kind of the scripted fault that it met."""
    answer: int | None = None
    """HTTP status of the receiver's answer; None if there was none."""
    error: str = ""
    """Reason why there was no answer."""


class Ledger:
    """All requests in the order of arrival, the callbacks sent, and the slots held over time."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.callbacks: list[SentCallback] = []
        """Callbacks in the order in which they were sent, scripted doubles and losses included."""
        self.slots: dict[str, list[tuple[float, int]]] = {}
        """By pool, (time, slots held by tasks) after every change; foreign slots are not counted."""
        self._peaks: dict[str, int] = {}

    def add(self, row: Row) -> None:
        """Add a request on its arrival; its row is completed when it is answered."""
        _append(self.rows, row)

    def add_callback(self, row: SentCallback) -> None:
        """Add a callback when it is sent; its row is completed when it is answered."""
        _append(self.callbacks, row)

    def held(self, pool: str, at: float, used: int) -> None:
        """Note that tasks hold ``used`` slots of a pool since ``at``."""
        _append(self.slots.setdefault(pool, []), (at, used))
        self._peaks[pool] = max(used, self.peak(pool))

    def peak(self, pool: str) -> int:
        """Return the most slots of a pool ever held at the same time."""
        return self._peaks.get(pool, 0)

    def used(self, pool: str) -> int:
        """Return the slots of a pool that tasks hold now."""
        return self.slots[pool][-1][1] if pool in self.slots else 0

    def of(self, kind: str) -> list[Row]:
        """Return the requests of one kind."""
        return [row for row in self.rows if row.kind == kind]

    @property
    def creates(self) -> list[Row]:
        """All creates, whether they made a task or not."""
        return self.of("create")

    @property
    def created(self) -> list[Row]:
        """Creates that made a task, even if a fault replaced the answer."""
        return [row for row in self.creates if row.task_id]

    @property
    def refused(self) -> list[Row]:
        """Creates that were answered with an error code and made no task."""
        return [row for row in self.creates if not row.task_id and row.code]

    @property
    def refusals(self) -> list[Row]:
        """Requests of every kind that were answered with a code other than 0."""
        return [row for row in self.rows if row.code]

    @property
    def queries(self) -> list[Row]:
        """Queries of one task."""
        return self.of("query")

    @property
    def lists(self) -> list[Row]:
        """Requests for a page of tasks."""
        return self.of("list")

    @property
    def calls(self) -> list[Row]:
        """Synchronous calls: faces, speech, marks, presets, deletions, bills."""
        return self.of("call")

    @property
    def costs(self) -> list[Row]:
        """Requests for the resource packs."""
        return self.of("costs")

    @property
    def media(self) -> list[Row]:
        """Downloads of media files."""
        return self.of("media")

    @property
    def faults(self) -> list[Row]:
        """Requests that met a scripted fault."""
        return [row for row in self.rows if row.fault]

    def as_json(self) -> dict[str, Any]:
        """Return rows, callbacks and slots as JSON-ready data."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "callbacks": [asdict(row) for row in self.callbacks],
            "slots": self.slots,
            "peak": self._peaks,
            "used": {pool: self.used(pool) for pool in self.slots},
        }


def _append(rows: list[_T], row: _T) -> None:
    if len(rows) >= ROWS_MAX:
        del rows[: ROWS_MAX // 2]
    rows.append(row)
