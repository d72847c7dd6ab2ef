"""Act on verified callbacks: they settle creates in doubt and end waits, as answers would."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.core.status import TaskState, state_of
from kling_async.orchestrator.results import is_whole_in_callback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kling_async.core.verdict import Accepted
    from kling_async.orchestrator.poller import Poller
    from kling_async.orchestrator.queueing import SubmitQueue
    from kling_async.orchestrator.recovery import Recovery
    from kling_async.orchestrator.submission import Submission
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord

__all__ = ["Believer", "claims_end"]

_NO_RESULT: Final = msgspec.Raw(b"null")


class Believer:
    """Acts on the records of verified callbacks, in the client's loop; cheap to make.

    Args:
        queue: Creates on their way.
        recovery: Creates of unknown fate.
        pollers: All pollers of the account.
    """

    def __init__(self, queue: SubmitQueue, recovery: Recovery, pollers: Iterable[Poller]) -> None:
        self._queue = queue
        self._recovery = recovery
        self._pollers = pollers

    def believe(self, record: TaskRecord, skew: float) -> bool:
        """Take a record: it may settle a create, and end a wait; return whether its task is tracked.

        Args:
            record: As a callback shows it, without an endpoint.
            skew: Seconds by which the vendor's clock is ahead, at least.
        """
        created = _as_created(record)
        if not self._queue.told(created, partial(self._judge, skew)):
            self._recovery.told(created, skew)
        known = False
        for poller, task in self.tracked(record):
            known = True
            if task.looks.confirmed:
                poller.told(task, _for_task(task, record))
            elif claims_end(record):
                poller.hinted(task)
        return known

    def _judge(self, skew: float, submission: Submission, record: TaskRecord) -> Accepted | None:
        own = msgspec.structs.replace(record, endpoint=submission.endpoint.name)
        return self._recovery.judge_told(submission, own, skew)

    def hinted(self, external_task_id: str) -> None:
        """Look an unresolved create up soon: something says that its task exists."""
        self._recovery.hinted(external_task_id)

    def tracked(self, record: TaskRecord) -> Iterator[tuple[Poller, TrackedTask]]:
        """Yield the tasks that a record may be about, with their pollers."""
        ids: tuple[Any, ...] = (record.task_id, record.external_task_id)
        for poller in self._pollers:
            found = [task for id_ in filter(None, ids) for task in poller.registry.named(id_)]
            for task in dict.fromkeys(found):
                if task.may_be(record):
                    yield poller, task


def claims_end(record: TaskRecord) -> bool:
    """Tell whether a record says that its task has ended."""
    return state_of(record.status) is not TaskState.RUNNING


def _as_created(record: TaskRecord) -> TaskRecord:
    """Return a task as its create's answer would have shown it, so that what follows is news about it."""
    return msgspec.structs.replace(record, status="submitted", message="", result_data=_NO_RESULT)


def _for_task(task: TrackedTask, record: TaskRecord) -> TaskRecord:
    """Return a callback's record as one of a task: of its endpoint, without a result that may lack a part."""
    whole = is_whole_in_callback(task.endpoint, record, task.request)
    data = record.result_data if whole else _NO_RESULT
    return msgspec.structs.replace(record, endpoint=task.endpoint.name, result_data=data)
