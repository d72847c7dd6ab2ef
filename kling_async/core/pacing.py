"""When a pool may send its next create: pauses between probes, pauses the vendor asks for, closed pools."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final, TypeAlias

from kling_async.core.lifecycle import Lifecycle

if TYPE_CHECKING:
    from kling_async.core.lifecycle import Moves
    from kling_async.errors import KlingError

__all__ = ["ACCESS_MOVES", "HALF_OPEN_AFTER", "Access", "Closure", "Pacing", "PacingState"]

PAUSE: Final = 1.0
"""Seconds before the first probe after a refusal: several round trips, and far less than any task lasts."""
PAUSE_MAX: Final = 30.0
"""Longest pause between probes; each one doubles. A refusal (1303) does not tell a small limit from slots
that others hold, so the search for room slows down to two requests a minute but never ends."""
JITTER: Final = 0.25
"""Share of a pause added at random, so that several processes of one account do not probe in step."""
HALF_OPEN_AFTER: Final = 60.0
"""Seconds for which a pool stays closed before one create may find out whether the reason is gone: what
closes a pool (no units, a refused key) is mended by people."""


PacingState: TypeAlias = tuple[int, bool, float, float, float]
"""A `Pacing` as plain values: epoch, one_at_a_time, next_probe, quiet_until, and the next pause."""


class Pacing:
    """The pace of one pool's creates. Times are seconds of the caller's clock."""

    def __init__(self) -> None:
        self.epoch = 0
        """Refusals so far; those of creates that were in flight together count as one."""
        self.one_at_a_time = False
        """Whether no create sent after the last refusal was accepted yet."""
        self.next_probe = -math.inf
        """When a create that does not fit the belief may go."""
        self.quiet_until = -math.inf
        """Before this nothing is sent at all."""
        self._pause = PAUSE

    def refused(self, epoch: int, now: float, jitter: float) -> None:
        """Slow down after the refusal (1303) of a create sent in that epoch."""
        self.one_at_a_time = True
        if epoch == self.epoch:
            self.epoch += 1
            self.lengthen(now, jitter)

    def accepted(self, epoch: int) -> None:
        """Let creates go together again, if the accepted one was sent after the last refusal."""
        if epoch == self.epoch:
            self.one_at_a_time = False

    def lengthen(self, now: float, jitter: float) -> None:
        """Wait a pause before the next probe; the one after that will be longer."""
        self.next_probe = now + self._pause * (1 + JITTER * jitter)
        self._pause = min(PAUSE_MAX, self._pause * 2)

    def reset(self) -> None:
        """Start with the shortest pause after the next refusal."""
        self._pause = PAUSE

    def probe_from(self, when: float) -> None:
        """Allow the next probe from then on, if not allowed earlier."""
        self.next_probe = min(self.next_probe, when)

    def rest(self, until: float) -> None:
        """Send nothing until then."""
        self.quiet_until = max(self.quiet_until, until)

    def hurry(self) -> None:
        """Forget all pauses that run."""
        self.next_probe = self.quiet_until = -math.inf

    def dump(self) -> PacingState:
        """Return the whole state as plain values."""
        return self.epoch, self.one_at_a_time, self.next_probe, self.quiet_until, self._pause

    def load(self, state: PacingState) -> None:
        """Take a state that `dump` returned."""
        self.epoch, self.one_at_a_time, self.next_probe, self.quiet_until, self._pause = state


class Access(enum.Enum):
    """Whether a pool, or one endpoint and model in it, lets creates through."""

    OPEN = "open"  # creates go as the slots allow
    CLOSED = "closed"  # creates of a pool fail at once, with the error that closed it; held ones wait
    HALF_OPEN = "half-open"  # one create goes as a probe, the others wait for its answer


ACCESS_MOVES: Final[Moves[Access]] = {
    Access.OPEN: frozenset({Access.CLOSED}),
    # closed once more, for another reason: its time begins anew
    Access.CLOSED: frozenset({Access.CLOSED, Access.HALF_OPEN, Access.OPEN}),
    Access.HALF_OPEN: frozenset({Access.CLOSED, Access.OPEN}),
}


class Closure:
    """Whether one pool, or one endpoint and model in it, is open, and why not."""

    def __init__(self) -> None:
        self.life = Lifecycle(ACCESS_MOVES, Access.OPEN)
        self.error: KlingError | None = None
        """What closed the pool; None: it is open."""
        self.half_open_at = math.inf
        """When a closed pool lets a probe through."""

    def close(self, error: KlingError, now: float) -> None:
        """Let nothing through for `HALF_OPEN_AFTER` seconds."""
        self.life.move(Access.CLOSED)
        self.error, self.half_open_at = error, now + HALF_OPEN_AFTER

    def restore(self, error: KlingError, half_open_at: float, now: float) -> None:
        """Be closed as another process has noted: by that error, until then."""
        self.close(error, now)
        self.half_open_at = half_open_at
        self.advance(now)

    def open(self) -> None:
        """Let everything through, if that is not so already."""
        if self.life.state is not Access.OPEN:
            self.life.move(Access.OPEN)
            self.error, self.half_open_at = None, math.inf

    def advance(self, now: float) -> Access:
        """Become half-open when it is time; return how it stands."""
        if self.life.state is Access.CLOSED and now >= self.half_open_at:
            self.life.move(Access.HALF_OPEN)
        return self.life.state

    def shuts_out(self, sent: float) -> bool:
        """Tell whether a create sent at that time may not queue again: the pool has closed since."""
        return self.error is not None and sent < self.half_open_at

    def answered(self, sent: float) -> None:
        """Open on the answer to a probe; an answer to what was sent before the pool closed says nothing."""
        if sent >= self.half_open_at:
            self.open()
