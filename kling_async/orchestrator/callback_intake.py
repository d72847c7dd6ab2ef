"""The intake of callbacks: what they tell moves tracked tasks forward, and settles creates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.core.status import TaskState, state_of
from kling_async.orchestrator.results import is_whole_in_callback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.core.verdict import Accepted
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.poller import Poller
    from kling_async.orchestrator.submission import Submission
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.records import TaskRecord

__all__ = ["CallbackIntake"]

_NO_RESULT: Final = msgspec.Raw(b"null")


class CallbackIntake:
    """Takes the callbacks about a client's tasks: ``client.callbacks``.

    `kling_async.webhooks.CallbackReceiver` feeds it. Programs that get callbacks by other ways, such as a
    queue, verify and parse them, and pass on the record. Methods may be called from any thread; they act in
    the client's loop, at once if called there. A closed client takes nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def closed(self) -> bool:
        """Whether the client is closed."""
        return self._engine.scope.closed

    @property
    def now(self) -> Callable[[], float]:
        """The client's wall clock, seconds since 1970."""
        return self._engine.scope.now

    def count(self, outcome: str) -> None:
        """Count a callback by what became of it, for ``client.stats().callbacks``."""

        def add() -> None:
            counts = self._engine.hooks.counts.callbacks
            counts[outcome] = counts.get(outcome, 0) + 1

        self._act(add)

    def believe(self, record: TaskRecord, *, sent: float | None = None) -> None:
        """Take the record of a callback that was verified: it may end a wait, and settle a create.

        A task merely attached, which no answer has shown yet, is asked about instead: a callback names no
        endpoint, so it does not tell whether that of ``attach`` is right.

        Args:
            record: The task; of `kling_async.webhooks.parse`.
            sent: When it was sent by the vendor's clock, in seconds since 1970.
        """
        self._act(partial(self._believe, record, sent))

    def hint(self, record: TaskRecord) -> None:
        """Take the record of a callback that may be forged: an end that it claims is asked about at once.

        An unresolved create of its external id is looked up soon. An unknown id costs no query.
        """
        self._act(partial(self._hint, record))

    # -- in the client's loop

    def _act(self, step: Callable[[], object]) -> None:
        self._engine.scope.act(lambda: None if self.closed else step())

    def _believe(self, record: TaskRecord, sent: float | None) -> None:
        scope, created = self._engine.scope, _as_created(record)
        # a callback that took long to come shows a clock behind ours: only what makes us stricter is taken
        skew = 0.0 if sent is None else max(0.0, sent - scope.now())
        if not self._engine.queue.told(created, partial(self._judge, skew)):
            self._engine.recovery.told(created, skew)
        known = False
        for poller, task in self._tracked(record):
            known = True
            if task.looks.confirmed:
                poller.told(task, _for_task(task, record))
            elif _claims_end(record):
                poller.hinted(task)
        if not known:
            self._told_late(record)

    def _judge(self, skew: float, submission: Submission, record: TaskRecord) -> Accepted | None:
        own = msgspec.structs.replace(record, endpoint=submission.endpoint.name)
        return self._engine.recovery.judge_told(submission, own, skew)

    def _hint(self, record: TaskRecord) -> None:
        self._engine.recovery.hinted(record.external_task_id or "")
        if not _claims_end(record):
            return
        known = list(self._tracked(record))
        for poller, task in known:
            poller.hinted(task)
        if not known:
            self._told_late(record)

    def _told_late(self, record: TaskRecord) -> None:
        """Take a callback about a task that is not tracked here.

        A query may have just found its end; or it is of another process that shares the slots, which asks for
        the result itself: no addresses travel between processes.
        """
        if not _claims_end(record):
            return
        self._engine.pollers.channels.told_late(record.task_id, self._engine.scope.time())
        self._engine.limiter.hint(record.external_task_id or record.task_id)

    def _tracked(self, record: TaskRecord) -> Iterator[tuple[Poller, TrackedTask]]:
        """Yield the tasks that a record may be about, with their pollers."""
        ids: tuple[Any, ...] = (record.task_id, record.external_task_id)
        for poller in self._engine.pollers:
            found = [task for id_ in filter(None, ids) for task in poller.registry.named(id_)]
            for task in dict.fromkeys(found):
                if task.may_be(record):
                    yield poller, task


def _claims_end(record: TaskRecord) -> bool:
    return state_of(record.status) is not TaskState.RUNNING


def _as_created(record: TaskRecord) -> TaskRecord:
    """Return a task as its create's answer would have shown it, so that what follows is news about it."""
    return msgspec.structs.replace(record, status="submitted", message="", result_data=_NO_RESULT)


def _for_task(task: TrackedTask, record: TaskRecord) -> TaskRecord:
    """Return a callback's record as one of a task: of its endpoint, without a result that may lack a part."""
    whole = is_whole_in_callback(task.endpoint, record, task.request)
    data = record.result_data if whole else _NO_RESULT
    return msgspec.structs.replace(record, endpoint=task.endpoint.name, result_data=data)
