"""The intake of callbacks: what they tell moves tracked tasks forward, and settles creates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kling_async.orchestrator.believing import Believer, claims_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.orchestrator.engine import Engine
    from kling_async.records import TaskRecord

__all__ = ["CallbackIntake"]


class CallbackIntake:
    """Takes the callbacks about a client's tasks: ``client.callbacks``.

    `kling_async.webhooks.CallbackReceiver` feeds it. Programs that get callbacks by other ways, such as a
    queue, verify and parse them, and pass on the record. Methods may be called from any thread; they act in
    the client's loop, at once if called there. A closed client takes nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._believer = Believer(engine.queue, engine.recovery, engine.pollers)

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
        # a callback that took long to come shows a clock behind ours: only what makes us stricter is taken
        skew = 0.0 if sent is None else max(0.0, sent - self._engine.scope.now())
        if claims_end(record):  # first: other processes hear of the end with its record
            self._pass_on(record, record)
        if not self._believer.believe(record, skew):
            self._told_late(record)

    def _hint(self, record: TaskRecord) -> None:
        self._believer.hinted(record.external_task_id or "")
        if not claims_end(record):
            return
        known = list(self._believer.tracked(record))
        for poller, task in known:
            poller.hinted(task)
        if not known:
            self._told_late(record)
            self._pass_on(record, None)

    def _told_late(self, record: TaskRecord) -> None:
        """Take a callback about a task that is not tracked here: a query may have just found its end."""
        if claims_end(record):
            self._engine.pollers.channels.told_late(record.task_id, self._engine.scope.time())

    def _pass_on(self, record: TaskRecord, believed: TaskRecord | None) -> None:
        """Tell the other processes that share the slots: the task may be one of theirs."""
        names = filter(None, (record.external_task_id, record.task_id))
        self._engine.limiter.hint(*names, record=believed)
