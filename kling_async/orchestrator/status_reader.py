"""Sends the schedule's questions: one GET, a list page, or up to 20 ids at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from kling_async.core.verdict import Again, Got
from kling_async.errors import BadResponse
from kling_async.records import PAGE_SIZE_MAX, decode_list, decode_task, decode_unified

if TYPE_CHECKING:
    from kling_async.core.queries import StatusQuery
    from kling_async.core.verdict import ReadVerdict
    from kling_async.http.transport import Transport
    from kling_async.options import Timeouts
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["StatusAnswer", "StatusReader", "path_of", "record_of"]


class StatusAnswer(NamedTuple):
    """What a question brought: the verdict, and what was read of the tasks it was about."""

    verdict: ReadVerdict
    records: dict[TrackedTask, TaskRecord]
    odd: bool = False
    """An answer came, but not of the form it should have."""


def path_of(live: TrackedTask) -> str:
    """Return where to ask about one task."""
    return f"{live.endpoint.path}/{live.id}"


class StatusReader:
    """Puts questions to the API and finds in the answers the tasks they were about."""

    def __init__(self, transport: Transport, timeouts: Timeouts) -> None:
        self._transport = transport
        self._timeouts = timeouts

    async def ask(self, question: StatusQuery, lives: list[TrackedTask]) -> StatusAnswer:
        """Send one question about these tasks."""
        match question.form:
            case "one":
                return await self._one(lives[0])
            case "ids":
                return await self._ids(lives)
            case "list":
                return await self._list(lives, question.size)

    async def _one(self, live: TrackedTask) -> StatusAnswer:
        verdict = await self._transport.read(
            "GET", path_of(live), timeouts=self._timeouts, kind="one", about=(live,)
        )
        if not isinstance(verdict, Got):
            return StatusAnswer(verdict, {})
        try:
            return StatusAnswer(verdict, {live: record_of(live.endpoint, verdict)})
        except BadResponse as error:
            return StatusAnswer(Again(error), {})

    async def _ids(self, lives: list[TrackedTask]) -> StatusAnswer:
        params = {"task_ids": ",".join(_id(live) for live in lives)}
        verdict = await self._transport.read(
            "GET", "/tasks", params=params, timeouts=self._timeouts, kind="ids", about=lives
        )
        if not isinstance(verdict, Got):
            return StatusAnswer(verdict, {})
        try:
            found = decode_unified(verdict.data)
        except msgspec.DecodeError as error:
            return StatusAnswer(Again(_bad(verdict, error)), {}, odd=True)
        return StatusAnswer(verdict, _match(lives, found))

    async def _list(self, lives: list[TrackedTask], size: int) -> StatusAnswer:
        found: dict[str, TaskRecord] = {}
        endpoint = lives[0].endpoint
        page = 0
        while True:
            page += 1
            params = {"pageNum": str(page), "pageSize": str(min(max(1, size), PAGE_SIZE_MAX))}
            verdict = await self._transport.read(
                "GET", endpoint.path, params=params, timeouts=self._timeouts, kind="list", about=lives
            )
            if not isinstance(verdict, Got):
                return StatusAnswer(verdict, {})
            try:
                records = decode_list(endpoint.name, verdict.data)
            except msgspec.DecodeError as error:
                return StatusAnswer(Again(_bad(verdict, error)), {}, odd=True)
            found |= {record.task_id: record for record in records}
            if page * PAGE_SIZE_MAX >= size:
                return StatusAnswer(verdict, _match(lives, found))


def record_of(endpoint: Endpoint[Any], got: Got) -> TaskRecord:
    """Read the answer of a single GET.

    Raises:
        BadResponse: It is not a task.
    """
    try:
        return decode_task(endpoint.name, got.data)
    except msgspec.DecodeError as error:
        wrong = _bad(got, error)
    raise wrong


def _bad(got: Got, error: msgspec.DecodeError) -> BadResponse:
    answer = got.answer
    return BadResponse(
        f"the task cannot be read: {error}",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )


def _id(live: TrackedTask) -> str:
    return live.id if live.record is None else live.record.task_id


def _match(lives: list[TrackedTask], found: dict[str, TaskRecord]) -> dict[TrackedTask, TaskRecord]:
    """Find the tasks asked about; one known by its external id alone is asked for singly."""
    records: dict[TrackedTask, TaskRecord] = {}
    for live in lives:
        record = found.get(_id(live))
        if record is not None:
            named = record.endpoint == live.endpoint.name
            records[live] = record if named else msgspec.structs.replace(record, endpoint=live.endpoint.name)
    return records
