"""The status reader: sends status queries (a GET, list pages, or up to 20 ids) and reads their answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.core.status import TaskState, latest, state_of
from kling_async.core.verdict import Again, Got, Missing, Refused
from kling_async.errors import BadResponse
from kling_async.orchestrator.tracked import TrackedTask
from kling_async.orchestrator.unified import about_one, query_of
from kling_async.records import PAGE_SIZE_MAX, decode_list, decode_task, decode_unified_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kling_async.core.queries import Form, StatusQuery
    from kling_async.core.verdict import ReadVerdict
    from kling_async.http.transport import Transport
    from kling_async.options import Timeouts
    from kling_async.records import TaskRecord
    from kling_async.wire.endpoints import Endpoint

__all__ = ["StatusAnswer", "StatusReader", "record_about", "record_of", "tasks_of"]


_BAD_ANSWERS_MAX: Final = 3
"""Answers in a row, such as only a broken gateway gives, after which a form is given up."""


class StatusAnswer(NamedTuple):
    """The verdict on a status query, and the records read of the tasks it was about."""

    verdict: ReadVerdict
    records: dict[TrackedTask, TaskRecord]
    malformed: bool = False
    """Whether an answer came that is not of the form it should have, or is about another task."""
    form: Form = "one"
    """The form in which a single task was asked about."""


class StatusReader:
    """Sends status queries, and finds the tasks they were about in the answers."""

    def __init__(self, transport: Transport, timeouts: Timeouts) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._unreadable: dict[tuple[Form, str], int] = {}
        """Answers in a row that could not be read, by form and path."""
        """What the answers tell of the vendor's clock."""

    def readable(self, query: StatusQuery) -> None:
        """Note an answer that could be read."""
        self._unreadable.pop((query.form, query.path), None)

    def unreadable(self, query: StatusQuery) -> bool:
        """Count an answer that could not be read; return whether its form is to be given up."""
        key = (query.form, query.path)
        self._unreadable[key] = self._unreadable.get(key, 0) + 1
        return self._unreadable[key] >= _BAD_ANSWERS_MAX

    @property
    def host(self) -> str:
        """The host that is asked."""
        return self._transport.host

    async def ask(self, query: StatusQuery, tasks: list[TrackedTask]) -> StatusAnswer:
        """Send one status query about these tasks."""
        match query.form:
            case "one" if tasks[0].looks.confirmed and tasks[0].looks.wants_other_form:
                return await self._other_form(tasks[0])
            case "one":
                return await self._one(tasks[0])
            case "ids":
                return await self._ids(tasks)
            case "list":
                return await self._list(tasks, query.size)

    async def get(self, task: TrackedTask, timeouts: Timeouts) -> ReadVerdict:
        """Send a GET of one task; search for one whose endpoint takes no external id in the path.

        Of the second generation: a query of all tasks for its id alone.
        """
        if at := task.endpoint.asked_at:
            params, read = query_of(task.id, external=task.task_id is None), self._transport.read
            verdict = await read("GET", at, params=params, timeouts=timeouts, kind="one", about=(task,))
            return about_one(verdict, task.id)
        id_ = task.id
        if task.by_external_id and task.endpoint.lookup == "search":
            if task.record is None:
                return await self._search(task, timeouts)
            id_ = task.record.task_id
        path = f"{task.endpoint.path}/{id_}"
        return await self._transport.read("GET", path, timeouts=timeouts, kind="one", about=(task,))

    async def _search(self, task: TrackedTask, timeouts: Timeouts) -> ReadVerdict:
        """Ask ``/tasks`` for an external id, or else the newest of the endpoint's list."""
        read = partial(self._transport.read, "GET", timeouts=timeouts, kind="one", about=(task,))
        if self._transport.unified:
            verdict = await read("/tasks", params={"external_task_ids": task.id})
            if not isinstance(verdict, Refused):  # else this account has no use of it
                return _only(task, verdict, decode_unified_page)
        params = {"pageNum": "1", "pageSize": str(PAGE_SIZE_MAX)}
        verdict = await read(task.endpoint.path, params=params)
        return _only(task, verdict, partial(decode_list, task.endpoint.name))

    async def _one(self, task: TrackedTask) -> StatusAnswer:
        verdict = await self.get(task, self._timeouts)
        if not isinstance(verdict, Got):
            return StatusAnswer(verdict, {})
        try:
            return StatusAnswer(verdict, {task: record_about(task, verdict)})
        except BadResponse as error:
            return StatusAnswer(Again(error), {}, malformed=True)

    async def _other_form(self, task: TrackedTask) -> StatusAnswer:
        """Ask in another form about a task that a GET does not know: by ids, or by the newest of its list."""
        # the second generation has one form, as some gateways; answers of many know no external ids
        if task.task_id is None or task.endpoint.asked_at or not self._transport.dialects.current.lists:
            task.looks.one_form = True
            return await self._one(task)
        answer = await (self._ids([task]) if self._transport.unified else self._list([task], PAGE_SIZE_MAX))
        match answer.verdict:
            case Got() if not answer.records:
                form: Form = "ids" if self._transport.unified else "list"
                missing = Missing("neither a query of the task nor one of many shows it", "")
                return StatusAnswer(missing, {}, form=form)
            case Refused() | Missing():  # the path of many is taken for a task's, or not served at all
                task.looks.one_form = True
                return await self._one(task)
        return answer

    async def _ids(self, tasks: list[TrackedTask]) -> StatusAnswer:
        params = query_of(*map(_id, tasks), external=False)
        at = tasks[0].endpoint.asked_at or "/tasks"  # one query is about tasks of one path
        verdict = await self._transport.read(
            "GET", at, params=params, timeouts=self._timeouts, kind="ids", about=tasks
        )
        if not isinstance(verdict, Got):
            return StatusAnswer(verdict, {})
        try:
            found = latest(decode_unified_page(verdict.data))
        except msgspec.DecodeError as error:
            return StatusAnswer(Again(_bad(verdict, error)), {}, malformed=True)
        return StatusAnswer(verdict, _match(tasks, found))

    async def _list(self, tasks: list[TrackedTask], size: int) -> StatusAnswer:
        found: list[TaskRecord] = []
        endpoint = tasks[0].endpoint
        page = 0
        while True:
            page += 1
            params = {"pageNum": str(page), "pageSize": str(min(max(1, size), PAGE_SIZE_MAX))}
            verdict = await self._transport.read(
                "GET", endpoint.path, params=params, timeouts=self._timeouts, kind="list", about=tasks
            )
            if not isinstance(verdict, Got):
                return StatusAnswer(verdict, {})
            try:
                records = decode_list(endpoint.name, verdict.data)
            except msgspec.DecodeError as error:
                return StatusAnswer(Again(_bad(verdict, error)), {}, malformed=True)
            found += records
            if page * PAGE_SIZE_MAX >= size:
                return StatusAnswer(verdict, _match(tasks, latest(found)))


def tasks_of(query: StatusQuery) -> list[TrackedTask]:
    """Return the tasks that a status query is about."""
    return [key for key in query.keys if isinstance(key, TrackedTask)]


def record_of(endpoint: Endpoint[Any], got: Got) -> TaskRecord:
    """Return the record in the answer to a GET of one task.

    Raises:
        BadResponse: The answer is not a task.
    """
    try:
        return decode_task(endpoint.name, got.data)
    except msgspec.DecodeError as error:
        raise _bad(got, error) from None


def record_about(task: TrackedTask, got: Got) -> TaskRecord:
    """Return the record in the answer to a GET of a task.

    Raises:
        BadResponse: The answer is no task, or another one: a cache or a proxy mixed answers up.
    """
    record = record_of(task.endpoint, got)
    if not task.may_be(record):
        answer = got.answer
        raise BadResponse(
            "the answer is about another task", http_status=answer.http_status, request_id=answer.request_id
        )
    return record


def _only(
    task: TrackedTask, verdict: ReadVerdict, decode: Callable[[bytes], Iterable[TaskRecord]]
) -> ReadVerdict:
    """Return the verdict on a search for one task: its own object, out of those that were shown."""
    if not isinstance(verdict, Got):
        return verdict
    try:
        records = decode(verdict.data)
    except msgspec.DecodeError as error:
        return Again(_bad(verdict, error))
    found = next((record for record in records if record.external_task_id == task.id), None)
    if found is not None:
        return verdict._replace(data=bytes(found.data))
    answer = verdict.answer
    # some lists leave external ids out: while one without runs, it may be this task
    if any(
        not record.external_task_id and state_of(record.status) is TaskState.RUNNING for record in records
    ):
        reason = "the answer shows tasks without their external ids, so this one cannot be told from them"
        return Again(BadResponse(reason, http_status=answer.http_status, request_id=answer.request_id))
    return Missing("no task of that external id is shown", answer.request_id)


def _bad(got: Got, error: msgspec.DecodeError) -> BadResponse:
    answer = got.answer
    return BadResponse(
        f"the task cannot be read: {error}",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )


def _id(task: TrackedTask) -> str:
    return task.id if task.record is None else task.record.task_id


def _match(tasks: list[TrackedTask], found: dict[str, TaskRecord]) -> dict[TrackedTask, TaskRecord]:
    """Find the tasks asked about; one known by its external id alone is left out, and then asked alone."""
    records: dict[TrackedTask, TaskRecord] = {}
    for task in tasks:
        record = next((found[id_] for id_ in (_id(task), *task.aliases) if id_ in found), None)
        if record is not None and task.may_be(record):
            name = task.endpoint.name  # which answers of /tasks leave out
            records[task] = (
                record if record.endpoint == name else msgspec.structs.replace(record, endpoint=name)
            )
    return records
