"""The emulator's own record of what it was asked and what it held: what tests believe.

Nothing secret is kept: no Authorization header, and of files sent along only a fingerprint.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.judging.reference import Param

__all__ = ["Ledger", "Row", "without_payloads"]

_T = TypeVar("_T")

LIMIT: Final = 200_000
"""Rows and slot changes kept of each kind; beyond it the older half is dropped."""

_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]{200,}")


@dataclass(slots=True)
class Row:
    """One request."""

    at: float
    """Seconds since the emulator started."""
    wall: float
    """Seconds since 1970 by the server's clock, skew included."""
    kind: str
    """create, query, list, call, costs, media or other."""
    method: str
    path: str
    """Without the base path and the query string."""
    endpoint: str | None = None
    asked: str | None = None
    """The id a query asks for."""
    query: dict[str, str] = field(default_factory=dict[str, str])
    task_id: str | None = None
    """The task made by a create or shown by a query."""
    external_task_id: str | None = None
    status: int | None = None
    """HTTP status sent; None if no answer was."""
    code: int | None = None
    """The API's code; None if the request was not judged or its answer has no envelope."""
    message: str = ""
    fault: str | None = None
    """Kind of the scripted fault that befell it."""
    authorized: bool = False
    """Whether it carried an Authorization header. Requests for media never should."""
    body: dict[str, Any] | None = None
    """What a create or a call sent, files replaced by their fingerprint."""
    body_sha256: str | None = None
    """Of the bytes sent: equal for the same bytes sent again."""
    unknown_fields: list[str] = field(default_factory=list[str])
    """Fields sent that the API does not know and ignores."""


class Ledger:
    """All requests in order of arrival, and the slots held over time."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.slots: dict[str, list[tuple[float, int]]] = {}
        """Per pool, (time, slots held by tasks made here) at every change; foreign load is not in it."""
        self._peaks: dict[str, int] = {}

    def add(self, row: Row) -> None:
        """Note a request on its arrival; it is completed as it is answered."""
        _append(self.rows, row)

    def held(self, pool: str, at: float, used: int) -> None:
        """Note that a pool's use changed."""
        _append(self.slots.setdefault(pool, []), (at, used))
        self._peaks[pool] = max(used, self.peak(pool))

    def peak(self, pool: str) -> int:
        """Return the most slots held at one time."""
        return self._peaks.get(pool, 0)

    def used(self, pool: str) -> int:
        """Return the slots held now."""
        return self.slots[pool][-1][1] if pool in self.slots else 0

    def of(self, kind: str) -> list[Row]:
        """Return the requests of one kind."""
        return [row for row in self.rows if row.kind == kind]

    @property
    def creates(self) -> list[Row]:
        """All creates, whatever became of them."""
        return self.of("create")

    @property
    def created(self) -> list[Row]:
        """The creates that made a task, also those whose answer a fault spoilt."""
        return [row for row in self.creates if row.task_id]

    @property
    def refused(self) -> list[Row]:
        """The creates that were answered and made nothing."""
        return [row for row in self.creates if not row.task_id and row.code]

    @property
    def refusals(self) -> list[Row]:
        """All requests, of whatever kind, answered with a code other than 0."""
        return [row for row in self.rows if row.code]

    @property
    def queries(self) -> list[Row]:
        """Questions after one task."""
        return self.of("query")

    @property
    def lists(self) -> list[Row]:
        """Questions after pages of tasks."""
        return self.of("list")

    @property
    def calls(self) -> list[Row]:
        """Requests that are answered at once: faces, speech, marks, presets, deletions, bills."""
        return self.of("call")

    @property
    def costs(self) -> list[Row]:
        """Questions after the resource packs."""
        return self.of("costs")

    @property
    def media(self) -> list[Row]:
        """Downloads."""
        return self.of("media")

    @property
    def faults(self) -> list[Row]:
        """Requests that a scripted fault befell."""
        return [row for row in self.rows if row.fault]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "slots": self.slots,
            "peak": self._peaks,
            "used": {pool: self.used(pool) for pool in self.slots},
        }


def without_payloads(value: Any, params: Mapping[str, Param], media: bool = False) -> Any:
    """Return a copy in which every file sent along is replaced by its fingerprint."""
    if isinstance(value, dict):
        fields: dict[str, Any] = value
        known = {name: params.get(name, {}) for name in fields}
        return {
            name: without_payloads(item, known[name].get("items", {}), "media" in known[name])
            for name, item in fields.items()
        }
    if isinstance(value, list):
        items: list[Any] = value
        return [without_payloads(item, params, media) for item in items]
    if isinstance(value, str) and _is_payload(value, media):
        digest = hashlib.sha256(value.encode()).hexdigest()
        return f"<{len(value)} characters, sha256 {digest}>"
    return value


def _is_payload(text: str, media: bool) -> bool:
    if text.startswith(("http://", "https://")):
        return False
    return media or text.startswith("data:") or bool(_BASE64.fullmatch(text))


def _append(rows: list[_T], row: _T) -> None:
    if len(rows) >= LIMIT:
        del rows[: LIMIT // 2]
    rows.append(row)
