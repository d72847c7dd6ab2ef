"""Lookup: find a task by the external id its create carried, in the way its endpoint gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from kling_async.core.verdict import Again, Got
from kling_async.errors import APIError, BadResponse, TaskNotFound
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.status_reader import record_of
from kling_async.records import PAGE_SIZE_MAX, TaskRecord, decode_list, decode_unified

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping

    from kling_async.core.verdict import Answer, ReadVerdict
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

    async def confirm(self, submission: Submission, task_id: str) -> TaskRecord | None:
        """Ask for a task that the answer to a create showed; None: there is no such task.

        Raises:
            KlingError: No answer came.
        """
        found = await _Look(self._transport, submission, self._rng).by_path(task_id)
        return None if found is None else found[0]


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
            return await self.by_path(self._name)
        if self._transport.unified and (got := await self._by_id()) is not None:
            found, answer = got
            return None if found is None else (found, answer)
        return await self._by_list()

    async def _read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        check: Callable[[Got], object] | None = None,
    ) -> Got:
        """Ask until there is an answer that passes the check, as often as `Retry` allows."""

        async def once() -> ReadVerdict:
            await self._submission.watcher.turns.lookup()
            timeouts = settings.timeouts
            verdict = await self._transport.read(
                "GET", path, params=params, timeouts=timeouts, kind="lookup", about=(self._submission,)
            )
            try:
                if check is not None and isinstance(verdict, Got):
                    check(verdict)
            except BadResponse as error:
                return Again(error)
            return verdict

        settings = self._submission.settings
        return await read_patiently(once, retry=settings.retry, rng=self._rng)

    async def by_path(self, name: str) -> tuple[TaskRecord, Answer] | None:
        """Ask for the task of an id, the external one or one that the create's answer showed."""

        def check(got: Got) -> None:
            if not self._may_answer(name, record_of(self._endpoint, got)):
                raise _about_another(got)

        try:
            got = await self._read(f"{self._endpoint.path}/{name}", check=check)
        except TaskNotFound:
            return None
        return record_of(self._endpoint, got), got.answer

    def _may_answer(self, name: str, record: TaskRecord) -> bool:
        """Tell whether a record can be the answer to the question for that id.

        A cache or a proxy that mixes answers up shows another task: taken for ours it would be stored as our
        result, taken for a miss it would have ours made twice.
        """
        if record.task_id == name or record.task_id in self._submission.attempts.shown:
            return True
        if name != self._name or record.external_task_id not in (None, name):
            return False
        if record.external_task_id == name:
            return True
        other = self._submission.watcher.find(self._endpoint, record.task_id)
        return other is None or other.external_task_id in (None, name)

    async def _by_id(self) -> tuple[TaskRecord | None, Answer] | None:
        """Ask ``/tasks``, which leaves out what it does not know; None: this account has no use of it."""
        try:
            got = await self._read("/tasks", {"external_task_ids": self._name})
            records = list(decode_unified(got.data).values())
        except (APIError, BadResponse, TaskNotFound, msgspec.DecodeError):
            return None
        if (found := self._pick(records)) is not None or not records:
            return found, got.answer
        (first, *more) = records
        if more or not self._may_answer(self._name, first):
            return None  # about other tasks: the parameter is ignored, or answers are mixed up
        return msgspec.structs.replace(first, endpoint=self._endpoint.name), got.answer

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


def _about_another(got: Got) -> BadResponse:
    answer = got.answer
    return BadResponse(
        "the look-up's answer is about another task",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )
