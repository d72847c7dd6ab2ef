"""Pending: find the submissions of a client by external id, before their tasks exist."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.orchestrator.submission import Submission

__all__ = ["Pending"]

log = logging.getLogger("kling_async.orchestrator")

UNHEARD_FOR: Final = 600.0
"""Seconds for which a submission that ended without anybody hearing of it can still be found."""
UNHEARD_MAX: Final = 1000
"""Most of these that are kept; the oldest go first."""


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
        self._forget_old()
        self._unheard[name] = (self._clock(), submission)

    def _forget_old(self) -> None:
        """Forget ends that are long past, and the oldest of too many."""
        oldest_kept = self._clock() - UNHEARD_FOR
        for name, (ended, _) in list(self._unheard.items()):
            if ended >= oldest_kept and len(self._unheard) < UNHEARD_MAX:
                break
            del self._unheard[name]
