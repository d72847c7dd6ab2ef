"""Attempts: what was sent of one create so far, and what that says about a task nobody has seen."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.lifecycle import Lifecycle
from kling_async.core.vendor_clock import AGE_MAX

if TYPE_CHECKING:
    from kling_async.core.lifecycle import Moves

__all__ = ["EVIDENCE_MOVES", "Attempts", "EarlierAttempt", "Evidence"]


class Evidence(enum.Enum):
    """Evidence of a task that this submission made and nobody has seen."""

    NONE = "none"  # nothing was sent, or all that was sent was surely refused
    SENT = "sent"  # bytes were sent, and their answer is awaited
    LOST = "lost"  # an answer was lost: whatever follows, a first task may exist
    EARLIER = "earlier"  # an earlier run of the program may have sent it
    ELSEWHERE = "elsewhere"  # an earlier run may have sent it under another key, maybe of another account


EVIDENCE_MOVES: Final[Moves[Evidence]] = {
    Evidence.NONE: frozenset({Evidence.SENT}),
    Evidence.SENT: frozenset({Evidence.NONE, Evidence.LOST}),
    Evidence.LOST: frozenset({Evidence.SENT}),  # looked up, and surely not made
    Evidence.EARLIER: frozenset({Evidence.NONE, Evidence.LOST}),  # likewise
    Evidence.ELSEWHERE: frozenset(),  # to send it here may be to pay for it on two accounts
}


class EarlierAttempt(NamedTuple):
    """A create that an earlier run of the program may have sent."""

    first_sent: float
    """When, seconds since 1970."""
    elsewhere: bool = False
    """Whether that was under another key."""


class Attempts:
    """Attempts to send one create so far, and the evidence that they left."""

    __slots__ = ("_begun", "_life", "body", "count", "doubted", "first_sent", "shown", "written")

    def __init__(self, earlier: EarlierAttempt | None) -> None:
        start = Evidence.NONE
        if earlier is not None:
            start = Evidence.ELSEWHERE if earlier.elsewhere else Evidence.EARLIER
        self._life = Lifecycle(EVIDENCE_MOVES, start)
        self.body: bytes | None = None
        """Encoded once: a repetition sends the same bytes."""
        self.count = 0
        """How many are used up, of those that `Retry` allows."""
        self.doubted = earlier is not None
        """Whether a task was ever looked for: should its id be taken after all, a late look may find it."""
        self.first_sent = 0.0 if earlier is None else earlier.first_sent
        """Wall time of the first attempt that may have made a task."""
        self.written = False
        """Whether a byte of what was begun may be on the wire: before, a connection is made."""
        self.shown: frozenset[str] = frozenset()
        """Ids of the task that the create's answer showed, believed or not."""
        self._begun: float | None = None
        """The same by the client's clock; None if an earlier run made that attempt."""

    @property
    def evidence(self) -> Evidence:
        """Evidence of a task that nobody has seen."""
        return self._life.state

    @property
    def sent(self) -> bool:
        """Whether this run has sent something that was not surely refused."""
        return self._life.state in (Evidence.SENT, Evidence.LOST)

    @property
    def doubtful(self) -> bool:
        """Whether a refusal may be about a task that this submission made already."""
        return self._life.state in (Evidence.LOST, Evidence.EARLIER, Evidence.ELSEWHERE)

    def sending(self, at: float) -> None:
        """Note that the bytes go out, perhaps again, at that time of the client's clock."""
        if self._begun is None or not self.doubtful:  # in doubt, an attempt before may have made the task
            self._begun = at

    def age(self, time: float, now: float) -> float | None:
        """Return the seconds since the attempt that made the task, or may have; None if that is not known.

        Args:
            time: The client's clock.
            now: The wall clock, for an attempt of an earlier run.
        """
        if self._begun is not None:
            return time - self._begun
        return min(max(0.0, now - self.first_sent), AGE_MAX) if self.first_sent else None

    def begin(self, now: float) -> None:
        """Note, before the first byte, that it is sent at that wall time."""
        self._life.move(Evidence.LOST if self.doubtful else Evidence.SENT)
        self.written = False
        if not self.doubted:
            self.first_sent = now

    def lost(self) -> None:
        """Note that an answer was lost."""
        if not self.doubtful:
            self._life.move(Evidence.LOST)
        self.doubted = True

    def cleared(self) -> None:
        """Note that a look-up found nothing: the doubt is over, what was sent made no task."""
        if self.doubtful:
            self._life.move(Evidence.SENT if self.sent else Evidence.NONE)

    def refused(self) -> None:
        """Note that all that was sent was surely refused."""
        self._life.move(Evidence.NONE)
