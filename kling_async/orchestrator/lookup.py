"""Lookup: find a task by the external id its create carried, in the way its endpoint gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from kling_async.errors import APIError, BadResponse, TaskNotFound
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.answers import record_of
from kling_async.records import PAGE_SIZE_MAX, TaskRecord, decode_list, decode_unified

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping

    from kling_async.core.verdict import Answer, Got, ReadVerdict
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.submission import Submission

__all__ = ["Lookup"]

_MARGIN: Final = 24 * 3600.0
"""Seconds by which a task in the list must be older than the create to end the search: the vendor's clock and
ours may differ, by a day at most."""
_PAGES_MAX: Final = 20
"""Pages of a list to look through: 10,000 tasks, more than an account makes while one create is in doubt."""


class Lookup:
    """Looks for the tasks of creates whose answer was lost."""

    def __init__(self, transport: Transport, rng: random.Random) -> None:
        self._transport = transport
        self._rng = rng

    async def find(self, submission: Submission) -> tuple[TaskRecord, Answer] | None:
        """Look once, until there is an answer; None: there is no such task.

        Raises:
            KlingError: No answer came.
        """
        return await _Look(self._transport, submission, self._rng).run()

    async def find_all(self, submissions: Collection[Submission]) -> dict[Submission, TaskRecord]:
        """Return the tasks that exist under the ids of submissions to one endpoint, with few questions.

        Raises:
            KlingError: No answer came.
        """
        found: dict[Submission, TaskRecord] = {}
        for submission in submissions:
            seen = await self.find(submission)
            if seen is not None:
                found[submission] = seen[0]
        return found


class _Look:
    """One look for one task."""

    def __init__(self, transport: Transport, submission: Submission, rng: random.Random) -> None:
        self._transport = transport
        self._submission = submission
        self._endpoint = submission.endpoint
        self._name = submission.external_task_id
        self._rng = rng

    async def run(self) -> tuple[TaskRecord, Answer] | None:
        if self._endpoint.lookup == "path":
            return await self._by_path()
        if self._transport.unified and (got := await self._by_id()) is not None:
            found, answer = got
            return None if found is None else (found, answer)
        return await self._by_list()

    async def _read(self, path: str, params: Mapping[str, str] | None = None) -> Got:
        async def once() -> ReadVerdict:
            timeouts = settings.timeouts
            return await self._transport.read(
                "GET", path, params=params, timeouts=timeouts, kind="lookup", about=(self._submission,)
            )

        settings = self._submission.settings
        return await read_patiently(once, retry=settings.retry, rng=self._rng)

    async def _by_path(self) -> tuple[TaskRecord, Answer] | None:
        try:
            got = await self._read(f"{self._endpoint.path}/{self._name}")
        except TaskNotFound:
            return None
        return record_of(self._endpoint, got), got.answer

    async def _by_id(self) -> tuple[TaskRecord | None, Answer] | None:
        """Ask ``/tasks``, which leaves out what it does not know; None: this account has no use of it."""
        try:
            got = await self._read("/tasks", {"external_task_ids": self._name})
            records = decode_unified(got.data).values()
        except (APIError, BadResponse, TaskNotFound, msgspec.DecodeError):
            return None
        return self._pick(records), got.answer

    async def _by_list(self) -> tuple[TaskRecord, Answer] | None:
        """Go through the list, newest first, down to tasks that are surely older than the create."""
        since = self._submission.attempts.first_sent
        for page in range(1, _PAGES_MAX + 1):
            query = {"pageNum": str(page), "pageSize": str(PAGE_SIZE_MAX)}
            got = await self._read(self._endpoint.path, query)
            records = self._page(got)
            if (found := self._pick(records)) is not None:
                return found, got.answer
            oldest = records[-1].created_at / 1000 if records else 0.0
            if len(records) < PAGE_SIZE_MAX or oldest < since - _MARGIN:
                return None
        raise BadResponse("the list has too many new tasks to find one in", http_status=200)

    def _page(self, got: Got) -> list[TaskRecord]:
        try:
            return decode_list(self._endpoint.name, got.data)
        except msgspec.DecodeError as error:
            reason = f"the list cannot be read: {error}"
            answer = got.answer
            raise BadResponse(reason, http_status=answer.http_status, request_id=answer.request_id) from None

    def _pick(self, records: Iterable[TaskRecord]) -> TaskRecord | None:
        found = next((r for r in records if r.external_task_id == self._name), None)
        return None if found is None else msgspec.structs.replace(found, endpoint=self._endpoint.name)
