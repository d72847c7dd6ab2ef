"""Departures: the ways in which a submission ends without a task, each counted, told and logged once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kling_async.errors import KlingError, QueueTimeout
from kling_async.orchestrator.attempts import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.events import Hooks
    from kling_async.orchestrator.limiter import Limiter
    from kling_async.orchestrator.pending import Pending
    from kling_async.orchestrator.recovery import Adopter, Recovery
    from kling_async.orchestrator.submission import Submission
    from kling_async.runtime.loop import LoopScope

__all__ = ["Departures"]


class Departures:
    """Ends submissions that make no task.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the event ``left``.
        limiter: The slots that they queue for.
        recovery: Takes those of unknown fate.
        pending: All submissions; keeps what nobody heard of for a while.
    """

    def __init__(
        self, scope: LoopScope, hooks: Hooks, limiter: Limiter, recovery: Recovery, pending: Pending
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._limiter = limiter
        self._recovery = recovery
        self.pending = pending

    def refuse(self, submission: Submission, error: KlingError) -> None:
        """End a submission with an error."""
        self.end(submission, partial(submission.refuse, error))

    def unresolved(self, submission: Submission, reason: str, adopter: Adopter) -> None:
        """Tell the callers of a submission that nobody knows whether it has a task; look for it later."""
        self.end(submission, partial(self._recovery.keep, submission, reason, adopter))

    def leave(self, submission: Submission, error: KlingError | None, adopter: Adopter) -> None:
        """Take a submission out of the queue; one whose earlier attempt is in doubt is looked for later.

        Args:
            submission: It waits for its turn.
            error: The error for its callers; None: they have left.
            adopter: Takes its task over, if one is found later.
        """
        if submission.queued:
            self._limiter.leave(submission.ticket)
        if submission.attempts.evidence is Evidence.LOST:
            self.unresolved(submission, submission.wait.reason, adopter)
        else:
            self.end(submission, partial(submission.withdraw, error))

    def check_deadline(self, submission: Submission, adopter: Adopter) -> None:
        """End a submission that waits although its time in the queue is over, never one on its way."""
        wait = submission.wait
        if submission.waiting and wait.deadline is not None and self._scope.time() >= wait.deadline:
            late = QueueTimeout(submission.external_task_id, wait.timeout or 0.0, wait.reason)
            self.leave(submission, late, adopter)

    def end(self, submission: Submission, step: Callable[[], object]) -> None:
        """End a submission by a step that tells its callers; count it, and note whether anybody heard."""
        callers = submission.callers
        wanted, heard = callers.wanted, callers.waiting
        step()
        if wanted and (error := submission.error) is not None:
            self._hooks.emit("left", submission, error=type(error).__name__, detail=error.message)
        self.pending.settled(submission, heard=heard or not wanted)
