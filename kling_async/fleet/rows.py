"""Rows of a fleet's table of jobs: made of requests and entries, and read back. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from kling_async.batch.entry import Entry, pack, unpack
from kling_async.catalog import request_from_dict
from kling_async.errors import Problem
from kling_async.records import TaskRecord
from kling_async.wire.endpoints import JournaledRequest
from kling_async.wire.requests import TaskRequest

__all__ = [
    "NEW_COLUMNS",
    "NewRow",
    "StoredJob",
    "dump_addresses",
    "dump_request",
    "load_addresses",
    "load_request",
    "new_row",
    "stored_job",
    "wrong_texts",
]

_json: Final = msgspec.json.Encoder()
_records: Final = msgspec.json.Decoder(TaskRecord)

NEW_COLUMNS: Final = (
    *("identity", "position", "state", "attempt", "priority", "label", "key", "pool", "endpoint", "entry"),
    *("request", "planned_at"),
)
"""The columns of a new row, in the order of `NewRow`."""


class NewRow(NamedTuple):
    """A job as it is first written."""

    identity: bytes
    position: int
    state: int
    attempt: int
    priority: int
    label: str
    key: str | None
    pool: str
    endpoint: str
    entry: bytes
    request: bytes | None
    """The request as JSON; None: it is not at hand, only what was sent can be followed up."""
    planned_at: float | None
    """When its create may have been sent, by whoever began it, seconds since 1970."""


class StoredJob(NamedTuple):
    """A job as it stands in the table."""

    entry: Entry
    request: TaskRequest[Any]
    """The request, or a `JournaledRequest` where it is not at hand."""
    fence: int
    """Counts how often a worker took the job; a write under an older number is refused."""


def new_row(entry: Entry, request: TaskRequest[Any] | None, priority: int) -> NewRow:
    """Return the row of a job.

    Args:
        entry: How far it has come.
        request: The request, files as bytes; None: it is not at hand.
        priority: Higher ones go first.
    """
    return NewRow(
        identity=bytes.fromhex(entry.identity),
        position=entry.position,
        state=int(entry.state),
        attempt=entry.attempt,
        priority=priority,
        label=entry.label,
        key=entry.key,
        pool=entry.pool,
        endpoint=entry.endpoint,
        entry=pack(entry),
        request=None if request is None else dump_request(request),
        planned_at=entry.times.planned,
    )


def stored_job(entry: bytes, request: bytes | None, fence: int) -> StoredJob:
    """Return the job of a row."""
    read = unpack(entry)
    return StoredJob(read, load_request(request, read), fence)


def dump_request(request: TaskRequest[Any]) -> bytes:
    """Encode a request as JSON; files must stand in it as bytes."""
    return _json.encode(request.to_dict())


def load_request(data: bytes | None, entry: Entry) -> TaskRequest[Any]:
    """Return the request of a row.

    Raises:
        RequestInvalid: A newer version wrote a field that this one does not know.
    """
    if data is None:
        return JournaledRequest(endpoint=entry.endpoint, pool=entry.pool)
    found = request_from_dict(msgspec.json.decode(data))
    assert isinstance(found, TaskRequest)  # noqa: S101 - only such are written
    return found


def dump_addresses(record: TaskRecord) -> bytes:
    """Encode the record of a task that succeeded, whole: with its addresses, which fetch the files."""
    return _json.encode(record)


def load_addresses(data: bytes) -> TaskRecord:
    """Decode what `dump_addresses` wrote."""
    return _records.decode(data)


_LABEL_MAX: Final = 500
"""Most bytes of a label: an index of the table holds labels, and PostgreSQL limits its rows to 2,704."""


def wrong_texts(key: str | None, label: str) -> list[Problem]:
    """Return why a key or label cannot stand in the table; nothing if both can."""
    nul = "holds a NUL character, which PostgreSQL cannot store"
    found = [Problem(name, nul) for name, text in (("key", key), ("label", label)) if "\0" in (text or "")]
    if (size := len(label.encode())) > _LABEL_MAX:
        found.append(Problem("label", f"has {size} bytes; a fleet takes {_LABEL_MAX} at most"))
    return found
