"""Rechecks: when to look again for the task of a create whose fate is unknown, and when to give up."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["BLIND_HOLD", "LOOKS", "PAUSE", "RecheckPlan"]

LOOKS: Final = 3
"""Looks that must miss before an id counts as unused: a task may show up a moment after it was made."""
PAUSE: Final = 10.0
"""Seconds between these looks."""
RECHECKS: Final = 6
"""Later looks in a row that must miss before an unresolved create is forgotten, while no submit waits for its
slots: then there is time to be surer. Where one does, `LOOKS` suffice."""
BLIND_HOLD: Final = 600.0
"""Seconds for which a create that nobody can look up holds its slots: twice what a video may take by the
documentation. A gateway that restarts leaves many of them at once, which must not stop a client for hours."""
RECHECK_MAX: Final = 300.0
"""Longest pause between later looks; the first are `PAUSE` apart, each later pause doubles."""


class RecheckPlan:
    """Plans the looks for one task. Times are seconds of the caller's clock.

    Args:
        now: When the caller was told that nobody knows.
        blind: Whether there is no way to look: then it is due once, to give its slots up.
    """

    __slots__ = ("_blind", "_pause", "_planned", "due", "misses")

    def __init__(self, now: float, *, blind: bool = False) -> None:
        self._blind = blind
        self.due = now + (BLIND_HOLD if blind else PAUSE)
        """When to look next; infinite while a look is under way."""
        self.misses = 0
        """Planned looks in a row that found nothing."""
        self._pause = PAUSE
        self._planned: float | None = None
        """When to look by plan, while a look that a hint asked for comes before; else None."""

    def exhausted(self, *, contended: bool) -> bool:
        """Tell whether enough looks in a row have missed: fewer suffice where others wait for its slots."""
        return self.misses >= (LOOKS if contended else RECHECKS)

    def hinted(self, now: float) -> None:
        """Look at once, beside the planned looks: something says that the task exists.

        A miss of this look counts for nothing: whoever sends hints must not bring it about that a create is
        forgotten.
        """
        if not self._blind and self._planned is None and now < self.due < math.inf:
            self._planned, self.due = self.due, now

    def begin(self) -> None:
        """Note that a look is under way."""
        self.due = math.inf

    def answered(self, *, missed: bool) -> None:
        """Count a look that was answered."""
        if not missed:
            self.misses = 0
        elif self._planned is None:
            self.misses += 1

    def unanswered(self) -> None:
        """Count a look that brought no answer."""
        self.misses = 0

    def end(self, now: float, *, contended: bool) -> None:
        """Plan the next look: soon after a miss if others wait for its slots, else after a longer pause."""
        if self._planned is not None:
            self.due, self._planned = max(now, self._planned), None
        else:
            self._pause = PAUSE if contended and self.misses else min(RECHECK_MAX, self._pause * 2)
            self.due = now + self._pause

    def restart(self, now: float) -> None:
        """Look soon: a look that was under way brought nothing."""
        if not self._blind:
            self.due, self._planned = now + PAUSE, None
