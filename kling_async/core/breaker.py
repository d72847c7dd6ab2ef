"""Breaker: hold the creates of an endpoint and model that are refused again and again, whoever sends them.

A wall before the vendor and a model that the account may not use refuse every create alike. After ten equal
refusals of different creates in a row, none accepted between, further creates of that endpoint and model wait
in their places; after a pause one goes as a probe. All others of the pool go on.

Counted are answers that say nothing about the request itself: 3xx and 4xx without a code of the API, codes
that the reference does not list, 1103 and 1203. A 429 without a code is not: it is put off and sent again.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.pacing import Access, Closure
from kling_async.core.queue import Phase
from kling_async.core.verdict import Accepted, Lost, Refused, Unknown, is_wall
from kling_async.errors import CODES, APIError, BadResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.core.queue import Kind, Ticket
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.errors import KlingError

__all__ = [
    "EQUAL_REFUSALS",
    "Breaker",
    "BreakerState",
    "Breakers",
    "Hold",
    "HoldChange",
    "HoldStep",
    "RefusalSignature",
]

EQUAL_REFUSALS: Final = 10
"""Equal refusals in a row after which creates are held: fewer may be chance, more cost more requests."""
_NOT_GRANTED: Final = frozenset({1103, 1203})
"""Codes of the vendor about a model or a path that concern every request alike."""
_KINDS_MAX: Final = 64
"""Endpoints and models whose refusals are remembered; a caller may invent a model name for each request."""


class RefusalSignature(NamedTuple):
    """The facts that two refusals share if they are equal."""

    code: int | None
    http_status: int
    """0 where there is a code."""

    def __str__(self) -> str:
        return f"HTTP {self.http_status} without a code" if self.code is None else f"code {self.code}"

    @classmethod
    def of(cls, error: KlingError) -> RefusalSignature | None:
        """Return the refusal that an error tells of; None if it is not counted."""
        if not isinstance(error, APIError | BadResponse):
            return None
        if is_wall(error):
            return cls(None, error.http_status)
        code = error.code if isinstance(error, APIError) else None
        counted = code is not None and (code in _NOT_GRANTED or code not in CODES)
        return cls(code, 0) if counted else None


class Hold(NamedTuple):
    """The creates of one endpoint and model that are held."""

    kind: Kind
    refusal: RefusalSignature
    error: KlingError
    """The latest refusal."""
    refusals: int
    """How many creates were refused in that way, none accepted between."""
    probe_at: float
    """When a probe may go."""


class HoldStep(enum.Enum):
    """The effect of an answer on a hold."""

    BEGUN = "begun"  # further creates wait
    RENEWED = "renewed"  # the probe was refused, too: the next one goes a pause later
    ENDED = "ended"  # creates go again


class HoldChange(NamedTuple):
    """A hold that began, goes on or has ended."""

    step: HoldStep
    hold: Hold


class BreakerState(NamedTuple):
    """A `Breaker` as plain values, to be written down."""

    kind: Kind
    refusal: RefusalSignature | None
    refused: list[int]
    error: KlingError | None
    half_open_at: float
    probe: Ticket | None


class Breaker:
    """The refusals of one endpoint and model in a row, and whether its creates are held."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.closure = Closure()
        """Closed: creates wait; half-open: one of them is the probe."""
        self.refusal: RefusalSignature | None = None
        self._refused: set[int] = set()
        """Arrivals of the tickets that were refused in that way."""
        self._probe: Ticket | None = None

    @property
    def held(self) -> bool:
        """Whether creates wait."""
        return self.closure.life.state is not Access.OPEN

    @property
    def probing(self) -> bool:
        """Whether a probe is chosen and not yet answered."""
        return self._probe is not None and self._probe.phase in (Phase.QUEUED, Phase.SENT)

    def hold(self) -> Hold | None:
        """Return the hold as a value; None: there is none."""
        error, refusal = self.closure.error, self.refusal
        if error is None or refusal is None:
            return None
        return Hold(self.kind, refusal, error, len(self._refused), self.closure.half_open_at)

    def wants_probe(self, now: float) -> bool:
        """Tell whether the pause is over and no probe is on its way."""
        return self.closure.advance(now) is Access.HALF_OPEN and not self.probing

    def holds(self, ticket: Ticket, now: float) -> bool:
        """Tell whether a create must wait; the first one after the pause becomes the probe."""
        if self.wants_probe(now):
            self._probe = ticket
        return self.held and ticket is not self._probe

    def refused(
        self, ticket: Ticket, refusal: RefusalSignature, error: KlingError, now: float
    ) -> HoldStep | None:
        """Count a refusal, once for each create."""
        access = self.closure.advance(now)
        if access is Access.HALF_OPEN and ticket is self._probe:
            step = HoldStep.RENEWED
        elif access is not Access.OPEN or ticket.sequence in self._refused:
            return None  # sent before the hold began, or told of already
        else:
            step = HoldStep.BEGUN
            if refusal != self.refusal:
                self._refused.clear()
        self.refusal = refusal
        self._refused.add(ticket.sequence)
        if step is HoldStep.BEGUN and len(self._refused) < EQUAL_REFUSALS:
            return None
        self._probe = None
        self.closure.close(error.again(), now)
        return step

    def dump(self) -> BreakerState:
        """Return the whole state as plain values."""
        closure = self.closure
        refused, probe = sorted(self._refused), self._probe if self.probing else None
        return BreakerState(self.kind, self.refusal, refused, closure.error, closure.half_open_at, probe)

    @classmethod
    def load(cls, state: BreakerState, now: float) -> Breaker:
        """Return the breaker whose state `dump` returned."""
        breaker = cls(state.kind)
        breaker.refusal, breaker._probe = state.refusal, state.probe
        breaker._refused.update(state.refused)
        if state.error is not None:
            breaker.closure.restore(state.error, state.half_open_at, now)
        return breaker

    def passed(self, ticket: Ticket) -> bool:
        """Tell whether the vendor's answer to a create shows that creates of its kind need not wait."""
        return self.closure.life.state is Access.HALF_OPEN and ticket is self._probe


class Breakers:
    """The breakers of one pool: one for each endpoint and model of which a create was refused lately."""

    def __init__(self) -> None:
        self._breakers: dict[Kind, Breaker] = {}

    def __len__(self) -> int:
        return len(self._breakers)

    def dump(self) -> list[BreakerState]:
        """Return the whole state as plain values."""
        return [breaker.dump() for breaker in self._breakers.values()]

    def load(self, states: Iterable[BreakerState], now: float) -> None:
        """Take a state that `dump` returned."""
        self._breakers = {state.kind: Breaker.load(state, now) for state in states}

    def of(self, ticket: Ticket) -> Breaker | None:
        """Return the breaker for a ticket's create; None: nothing is known against it."""
        return None if ticket.kind is None else self._breakers.get(ticket.kind)

    def holds(self, ticket: Ticket, now: float) -> bool:
        """Tell whether a create must wait though it is its turn."""
        breaker = self.of(ticket)
        return breaker is not None and breaker.holds(ticket, now)

    def wants_probe(self, kind: Kind, now: float) -> bool:
        """Tell whether one of the creates held may go as a probe."""
        return self._breakers[kind].wants_probe(now)

    def next_probe(self, kind: Kind) -> float | None:
        """Return when the creates held of that kind want a probe; None: one is on its way."""
        breaker = self._breakers[kind]
        return None if breaker.probing else breaker.closure.half_open_at

    def judged(self, ticket: Ticket, verdict: CreateVerdict | Resolved, now: float) -> HoldChange | None:
        """Note what an attempt of a create came to; return the hold that changed by it.

        An accepted create ends a hold, and so does a probe that the vendor refuses for the request's own
        sake. A full account, a lost answer and what was never sent say nothing: the next probe goes.
        """
        match verdict:
            case Accepted():
                return self._end(ticket)
            case Refused(error=error) | Lost(error=error) | Unknown(error=error, wall=True):
                refusal = RefusalSignature.of(error)
                if refusal is not None:
                    return self._refused(ticket, refusal, error, now)
                breaker = self.of(ticket)
                if isinstance(verdict, Refused) and breaker is not None and breaker.passed(ticket):
                    return self._end(ticket)
        return None

    def _refused(
        self, ticket: Ticket, refusal: RefusalSignature, error: KlingError, now: float
    ) -> HoldChange | None:
        if ticket.kind is None:
            return None
        breaker = self._breakers.pop(ticket.kind, None) or Breaker(ticket.kind)
        self._breakers[ticket.kind] = breaker  # behind all others: the latest are remembered
        step = breaker.refused(ticket, refusal, error, now)
        self._sweep()
        hold = breaker.hold()
        return None if step is None or hold is None else HoldChange(step, hold)

    def _end(self, ticket: Ticket) -> HoldChange | None:
        breaker = None if ticket.kind is None else self._breakers.pop(ticket.kind, None)
        hold = None if breaker is None else breaker.hold()
        return None if hold is None else HoldChange(HoldStep.ENDED, hold)

    def _sweep(self) -> None:
        """Forget the oldest refusals of endpoints and models that are not held."""
        if len(self._breakers) > _KINDS_MAX:
            oldest = next((kind for kind, breaker in self._breakers.items() if not breaker.held), None)
            if oldest is not None:
                del self._breakers[oldest]

    def reset(self) -> list[HoldChange]:
        """Forget all refusals; return the holds that this ends."""
        ended = [HoldChange(HoldStep.ENDED, hold) for hold in self.all_holds()]
        self._breakers.clear()
        return ended

    def all_holds(self) -> list[Hold]:
        """Return the holds as they stand."""
        return [hold for breaker in self._breakers.values() if (hold := breaker.hold()) is not None]
