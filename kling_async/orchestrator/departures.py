"""Departures: which submissions have no task yet, and how one ends without: counted, told and logged once."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.errors import KlingError, QueueTimeout
from kling_async.events import facts
from kling_async.orchestrator.attempts import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.core.queue import Ticket
    from kling_async.events import Hooks
    from kling_async.orchestrator.submission import Submission
    from kling_async.runtime.loop import LoopScope

__all__ = ["Departures", "Pending", "PlaceKeeper", "UnresolvedKeeper"]

log = logging.getLogger("kling_async.orchestrator")


UNHEARD_FOR: Final = 600.0
"""Seconds for which a submission that ended without anybody hearing of it can still be found."""
UNHEARD_MAX: Final = 1000
"""Most of these that are kept; the oldest go first."""


class PlaceKeeper(Protocol):
    """The queue for slots, as far as it is left (`kling_async.orchestrator.limiter.Limiter`)."""

    def leave(self, ticket: Ticket, /) -> None:
        """Take a ticket out of the queue."""

    def why_held(self, ticket: Ticket, /) -> str:
        """Return why creates like this one are held, empty if they are not."""
        ...


class UnresolvedKeeper(Protocol):
    """Keeps creates of unknown fate (`kling_async.orchestrator.recovery.Recovery`)."""

    def keep(self, submission: Submission, reason: str, adopter: Any, /) -> None:
        """Tell the callers that nobody knows, and look again later."""


class Pending:
    """The submissions that have no task yet, and those that ended lately without anybody hearing of it.

    Args:
        clock: The client's time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[str, Submission] = {}
        self._unheard: dict[str, tuple[float, Submission]] = {}
        """With the time of the end, oldest first."""

    def __iter__(self) -> Iterator[Submission]:
        """Iterate over those that wait or whose create is on its way, oldest first."""
        return iter(list(self._open.values()))

    def add(self, submission: Submission) -> None:
        """Know a submission by its external id."""
        self._unheard.pop(submission.external_task_id, None)
        self._open[submission.external_task_id] = submission

    def find(self, external_task_id: str) -> Submission | None:
        """Return the submission of that id: one without a task yet, or one that ended unheard lately."""
        if (found := self._open.get(external_task_id)) is not None:
            return found
        self._forget_old()
        unheard = self._unheard.get(external_task_id)
        return None if unheard is None else unheard[1]

    def settled(self, submission: Submission, *, heard: bool) -> None:
        """Note that a submission has its task, has ended, or is of unknown fate: then `Recovery` keeps it.

        Args:
            submission: The submission.
            heard: Whether anybody was told. An end that nobody hears of is a warning in the log.
        """
        name = submission.external_task_id
        if self._open.get(name) is submission:
            del self._open[name]
        if heard or not submission.ended:
            return
        text = "the submit of %s ended without a task, and nobody waited for it: %s"
        log.warning(text, name, submission.error, extra=facts(submission))
        self._unheard[name] = (self._clock(), submission)
        self._forget_old()

    def _forget_old(self) -> None:
        """Forget ends that are long past, and the oldest of too many."""
        oldest_kept = self._clock() - UNHEARD_FOR
        for name, (ended, _) in list(self._unheard.items()):
            if ended >= oldest_kept and len(self._unheard) <= UNHEARD_MAX:
                break
            del self._unheard[name]


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
        self,
        scope: LoopScope,
        hooks: Hooks,
        limiter: PlaceKeeper,
        recovery: UnresolvedKeeper,
        pending: Pending,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._limiter = limiter
        self._recovery = recovery
        self.pending = pending

    def refuse(self, submission: Submission, error: KlingError) -> None:
        """End a submission with an error."""
        self.end(submission, partial(submission.refuse, error))

    def unresolved(self, submission: Submission, reason: str, adopter: Any) -> None:
        """Tell the callers of a submission that nobody knows whether it has a task; look for it later."""
        self.end(submission, partial(self._recovery.keep, submission, reason, adopter))

    def leave(self, submission: Submission, error: KlingError | None, adopter: Any) -> None:
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

    def check_deadline(self, submission: Submission, adopter: Any) -> None:
        """End a submission that waits although its time in the queue is over, never one on its way."""
        wait = submission.wait
        if submission.waiting and wait.deadline is not None and self._scope.time() >= wait.deadline:
            reason = self._limiter.why_held(submission.ticket) or wait.reason
            late = QueueTimeout(submission.external_task_id, wait.timeout or 0.0, reason)
            self.leave(submission, late, adopter)

    def end(self, submission: Submission, step: Callable[[], object]) -> None:
        """End a submission by a step that tells its callers; count it, and note whether anybody heard."""
        callers = submission.callers
        wanted, heard, leaving = callers.wanted, callers.waiting, callers.leaving
        step()
        self.pending.settled(submission, heard=heard or not wanted)
        if (error := submission.error) is not None and not leaving:
            self.count(submission, error)

    def count(self, submission: Submission, error: BaseException) -> None:
        """Count a submission that its callers left without a task, with the first error that one got."""
        if submission.callers.counted:
            return
        submission.callers.counted = True
        detail = error.message if isinstance(error, KlingError) else ""
        self._hooks.emit("left", submission, error=type(error).__name__, detail=detail)
