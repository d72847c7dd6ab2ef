"""Lookup: find a task by the external id its create carried, in the way its endpoint gives."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.core.queries import IDS_MAX
from kling_async.core.verdict import Again, Got
from kling_async.errors import APIError, BadResponse, ConfigurationError, ExternalIdTaken, TaskNotFound
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.calibration import Calibration
from kling_async.orchestrator.status_reader import record_of
from kling_async.orchestrator.unified import about_one, is_of_another, may_be_of, query_of
from kling_async.records import PAGE_SIZE_MAX, TaskRecord, decode_list, decode_unified
from kling_async.wire.hosts import is_vendors

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Container, Iterable, Mapping

    from kling_async.core.verdict import Answer, ReadVerdict
    from kling_async.errors import ExternalIdTaken
    from kling_async.http.transport import Transport
    from kling_async.orchestrator.calibration import AcceptedCreate
    from kling_async.orchestrator.submission import Submission
    from kling_async.wire.endpoints import Endpoint

__all__ = ["Lookup"]

_MARGIN: Final = 24 * 3600.0
"""Seconds by which a task in the list must be older than the create to end the search: the vendor's clock and
ours may differ, by a day at most."""
_NO_USE: Final = (APIError, BadResponse, TaskNotFound, msgspec.DecodeError)
"""Errors of ``/tasks`` after which the account is taken to have no use of it."""
_SINGLY_MAX: Final = 2
"""Ids that are asked about one by one; a page of a list is one question, but a large one."""
_PAGES_MAX: Final = 20
"""Pages of a list to look through: 10,000 tasks, more than an account makes while one create is in doubt."""


_NO_IDS: Final = (
    'if_exists="attach" needs a server that finds tasks by external id; gateways of the dialect {} do not.'
    " Leave it out, and keep the task ids"
)
_UNNAMED: Final = (
    'if_exists="attach": a gateway answered, and whether it finds tasks by external id depends on its'
    " dialect: name it, dialect=..."
)
_LOSES_IDS: Final = (
    'if_exists="attach" needs a server that finds tasks by external id, and this one does not: it did not'
    " find a task of ours. Leave it out, and keep the task ids"
)


class Lookup:
    """Looks for the tasks of creates whose answer was lost."""

    def __init__(self, transport: Transport, rng: random.Random) -> None:
        self._transport = transport
        self._rng = rng
        elsewhere = not is_vendors(transport.base_url)
        self._calibration = Calibration(lambda: elsewhere or transport.dialects.gateway)
        self.accepted = self._calibration.accepted

    def can_find(self, endpoint: Endpoint[Any]) -> bool:
        """Tell whether tasks of an endpoint can be found by their external ids."""
        return endpoint.lookup != "none" and self._transport.dialects.current.external_ids

    def may_rename(self) -> bool:
        """Tell whether the server may give tasks ids of its own, external ones too.

        Only gateways do: answers of the vendor's that show another id were mixed up on their way.
        """
        return self._calibration.needed()

    async def proves_absence(self, submission: Submission) -> bool:
        """Tell whether a create that was not found was surely not made, by a look for one that surely was.

        Raises:
            KlingError: No answer came.
        """
        path, calibration = submission.endpoint.path, self._calibration
        async with calibration.looking(path):
            known, sample = calibration.known(path), calibration.sample(path)
            if known is not None or sample is None:
                return known is True
            found = await _Look(self._transport, submission, self._rng, sample).run()
            proven = found is not None and sample.is_shown_by(found[0])
            calibration.looked(path, sample, found=proven)
            return proven

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

    async def find_all(
        self, submissions: Collection[Submission]
    ) -> dict[Submission, TaskRecord | ExternalIdTaken]:
        """Return the tasks that exist under the ids of submissions to one endpoint, with few questions.

        An id that a task of another endpoint has is an error in place of a task.

        Raises:
            KlingError: No answer came.
        """
        wanted = {submission.external_task_id: submission for submission in submissions}
        self._check_dialect()
        tasks: dict[str, TaskRecord | ExternalIdTaken] = {}
        at = next(iter(wanted.values())).endpoint.asked_at
        if (at or self._transport.unified) and (found := await self._by_ids(wanted)) is not None:
            tasks |= await self._at_home(found, wanted)
        else:
            tasks |= await self._listed_or_singly(wanted)
        if missed := wanted.keys() - tasks.keys():
            await self._check_misses(wanted[min(missed)])
        return {wanted[name]: task for name, task in tasks.items()}

    async def _listed_or_singly(self, wanted: Mapping[str, Submission]) -> dict[str, TaskRecord]:
        """Ask the endpoint's list, or about few ids one by one."""
        found: dict[str, TaskRecord] = {}
        rest = set(wanted)
        if len(wanted) > _SINGLY_MAX:
            found, rest = await self._by_pages(wanted)
        for name in rest:
            look = _Look(self._transport, wanted[name], self._rng)
            if (seen := await look.run(by_id=False)) is not None:
                found[name] = seen[0]
        return found

    async def _at_home(
        self, found: Mapping[str, TaskRecord], wanted: Mapping[str, Submission]
    ) -> dict[str, TaskRecord | ExternalIdTaken]:
        """Ask the endpoint itself about what ``/tasks`` showed, which names no endpoints."""
        mine = {name: wanted[name] for name in found}
        listed: Mapping[str, TaskRecord] = {}
        if len(mine) > _SINGLY_MAX and _lists_its_own(next(iter(mine.values())).endpoint):
            with contextlib.suppress(*_NO_USE):
                listed, _ = await self._by_pages(mine)
        tasks: dict[str, TaskRecord | ExternalIdTaken] = {}
        for name, record in found.items():
            look = _Look(self._transport, wanted[name], self._rng)
            is_ours = name in listed or await look.is_at_home(record)
            tasks[name] = record if is_ours else wanted[name].create.taken_elsewhere()
        return tasks

    def _check_dialect(self) -> None:
        current = self._transport.dialects.current
        if not current.external_ids:
            raise ConfigurationError(_NO_IDS.format(current.name))

    async def _check_misses(self, submission: Submission) -> None:
        """Raise if a miss, after which a task is paid for, surely proves nothing."""
        self._check_dialect()  # which the answers may have shown
        dialects = self._transport.dialects
        if dialects.gateway and dialects.found is None:
            raise ConfigurationError(_UNNAMED)
        path = submission.endpoint.path
        if self._calibration.sample(path) is not None and not await self.proves_absence(submission):
            raise ConfigurationError(_LOSES_IDS)

    async def _by_ids(self, wanted: Mapping[str, Submission]) -> dict[str, TaskRecord] | None:
        """Ask ``/tasks`` about 20 ids at a time; None: this account has no use of it."""
        found: dict[str, TaskRecord] = {}
        names = list(wanted)
        for start in range(0, len(names), IDS_MAX):
            group = names[start : start + IDS_MAX]
            look = _Look(self._transport, wanted[group[0]], self._rng)
            try:
                records, _ = await look.by_ids(group)
            except _NO_USE:
                if look.at:
                    raise
                return None
            found |= _named(records, wanted)
        return found

    async def _by_pages(self, wanted: Mapping[str, Submission]) -> tuple[dict[str, TaskRecord], set[str]]:
        """Go through the list while that takes fewer questions than asking about the rest singly.

        Returns:
            What was found, and the ids that the part of the list that was read says nothing about.
        """
        look = _Look(self._transport, next(iter(wanted.values())), self._rng)
        found: dict[str, TaskRecord] = {}
        for page in range(1, _PAGES_MAX + 1):
            records, _ = await look.page(page)
            found |= _named(records, wanted)
            if len(records) < PAGE_SIZE_MAX:
                return found, set()
            if page >= len(wanted) - len(found):
                break
        return found, wanted.keys() - found.keys()


class _Look:
    """One look for one task."""

    def __init__(
        self,
        transport: Transport,
        submission: Submission,
        rng: random.Random,
        sample: AcceptedCreate | None = None,
    ) -> None:
        self._transport = transport
        self._submission = submission
        self._endpoint = submission.endpoint
        self._name = submission.external_task_id if sample is None else sample.external_task_id
        self._since = submission.attempts.first_sent if sample is None else sample.first_sent
        self._rng = rng
        self.at = submission.endpoint.asked_at
        """Path of the only query that the second generation has; "" under ``/v1``."""

    async def run(self, *, by_id: bool = True) -> tuple[TaskRecord, Answer] | None:
        """Look for the task; ``by_id=False``: ``/tasks`` was asked just now and is of no use."""
        if self._endpoint.lookup == "path":
            return await self.by_path(self._name)
        if by_id and self._transport.unified and (got := await self._by_id()) is not None:
            found, answer = got
            at_home = found is not None and (
                not self._submission.create.attach or await self.is_at_home(found)
            )
            return (found, answer) if found is not None and at_home else None
        return await self._by_list()

    async def is_at_home(self, record: TaskRecord) -> bool:
        """Tell whether a task that ``/tasks`` shows is one of this endpoint, as far as that can be known."""
        if not may_be_of(self._endpoint, record):
            return False
        try:
            at_home = _lists_its_own(self._endpoint) and await self.by_path(record.task_id)
        except (APIError, BadResponse):  # the account has no use of that path
            return True
        return at_home is not None

    async def _read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        check: Callable[[Got], object] | None = None,
        translate: Callable[[ReadVerdict], ReadVerdict] = lambda verdict: verdict,
    ) -> Got:
        """Ask until there is an answer that passes the check, as often as `Retry` allows."""

        async def once() -> ReadVerdict:
            await self._submission.watcher.turns.lookup()
            timeouts = settings.timeouts
            verdict = translate(
                await self._transport.read(
                    "GET", path, params=params, timeouts=timeouts, kind="lookup", about=(self._submission,)
                )
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
            got = await self._about(name, check)
        except TaskNotFound:
            return None
        record = record_of(self._endpoint, got)
        if is_of_another(self._endpoint, record):
            raise self._taken(got.answer)
        return record, got.answer

    def _taken(self, answer: Answer) -> ExternalIdTaken:
        text = "a task of another product already has this external_task_id"
        return self._submission.create.taken(text, answer.request_id, answer.http_status)

    async def _about(self, name: str, check: Callable[[Got], object]) -> Got:
        if not self.at:
            return await self._read(f"{self._endpoint.path}/{name}", check=check)
        params = query_of(name, external=name == self._name)
        return await self._read(self.at, params, check, lambda verdict: about_one(verdict, name))

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
            records, answer = await self.by_ids([self._name])
        except _NO_USE:
            return None
        if (found := self._pick(records)) is not None or not records:
            return found, answer
        (first, *more) = records
        if more or not self._may_answer(self._name, first):
            return None  # about other tasks: the parameter is ignored, or answers are mixed up
        return first, answer

    async def by_ids(self, names: Collection[str]) -> tuple[list[TaskRecord], Answer]:
        """Return what ``/tasks`` shows for external ids; it leaves out those that it does not know."""
        got = await self._read(self.at or "/tasks", query_of(*names, external=True))
        records = decode_unified(got.data).values()
        name = self._endpoint.name
        # left out: then the create is sent, and the vendor refuses the id, without charge
        ours = [record for record in records if not is_of_another(self._endpoint, record)]
        return [msgspec.structs.replace(record, endpoint=name) for record in ours], got.answer

    async def page(self, number: int) -> tuple[list[TaskRecord], Answer]:
        """Return one page of the list, newest first."""
        query = {"pageNum": str(number), "pageSize": str(PAGE_SIZE_MAX)}
        got = await self._read(self._endpoint.path, query)
        return self._page(got), got.answer

    async def _by_list(self) -> tuple[TaskRecord, Answer] | None:
        """Go through the list, newest first, down to tasks that are surely older than the create."""
        for number in range(1, _PAGES_MAX + 1):
            records, answer = await self.page(number)
            if (found := self._pick(records)) is not None:
                return found, answer
            oldest = records[-1].created_at / 1000 if records else 0.0
            if len(records) < PAGE_SIZE_MAX or oldest < self._since - _MARGIN:
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
        return next((record for record in records if record.external_task_id == self._name), None)


def _named(records: Iterable[TaskRecord], wanted: Container[str]) -> dict[str, TaskRecord]:
    """Return the records that are wanted, by external id."""
    return {
        record.external_task_id: record
        for record in records
        if record.external_task_id and record.external_task_id in wanted
    }


def _lists_its_own(endpoint: Endpoint[Any]) -> bool:
    """Tell whether an endpoint shows its own tasks and no others: those of the first generation do."""
    return endpoint.path.startswith("/v1/")


def _about_another(got: Got) -> BadResponse:
    answer = got.answer
    return BadResponse(
        "the look-up's answer is about another task",
        http_status=answer.http_status,
        request_id=answer.request_id,
    )
