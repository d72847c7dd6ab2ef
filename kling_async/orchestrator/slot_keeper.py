"""Protocols of the slots: what the orchestrator asks of them, whoever keeps them.

`orchestrator.limiter.Limiter` keeps them in this process's memory, `ledger.shared.SharedLimiter` in a file
that several processes share. Answers of the latter may take a round trip to that file; what frees slots takes
effect here at once and is delivered afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.core.pool_sizes import LimitSource
    from kling_async.core.queue import Ticket
    from kling_async.core.schedule import Schedule
    from kling_async.core.schedule_parts import ScheduleParts
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.errors import KlingError
    from kling_async.events import Subject
    from kling_async.orchestrator.contention import ContentionListener
    from kling_async.orchestrator.holds import Holds
    from kling_async.records import TaskRecord

__all__ = ["PoolView", "SlotClaimant", "SlotKeeper"]


class SlotClaimant(Protocol):
    """Whoever entered the queue with a ticket, and is told what becomes of it."""

    @property
    def subject(self) -> Subject:
        """The create that the ticket is for."""
        ...

    def admitted(self) -> None:
        """Send the create: its slots are taken."""

    def purged(self, error: KlingError) -> None:
        """Fail with that error: the ticket was taken out of the queue for good."""


class PoolView(Protocol):
    """A pool, as far as others look at it."""

    @property
    def name(self) -> str:
        """Name of the pack type."""
        ...

    @property
    def limit(self) -> int:
        """Size of the pool."""
        ...

    @property
    def source(self) -> LimitSource:
        """Source of the size."""
        ...

    @property
    def belief(self) -> int:
        """How many slots may be held now, as far as known."""
        ...

    @property
    def held(self) -> int:
        """Slots of tasks that run or may run, creates in flight included."""
        ...

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        ...

    @property
    def closed(self) -> KlingError | None:
        """The error that creates fail with; None: they are let through."""
        ...

    def position(self, ticket: Ticket, /) -> int | None:
        """Return how many tickets go before one that waits here; None for any other."""
        ...


class SlotKeeper(Protocol):
    """Keeps the slots of one account. Each ticket is of the process that entered it."""

    def subscribe(self, listener: ContentionListener, /) -> None:
        """Tell a listener whenever submits of this process begin or cease to wait for a pool."""

    @property
    def pools(self) -> Mapping[str, PoolView]:
        """All pools used so far."""
        ...

    def pool(self, name: str, /) -> PoolView:
        """Return a pool, made when first asked for."""
        ...

    @property
    def holds(self) -> Holds:
        """The creates that wait because all like them were refused."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes take slots of the same account here."""
        ...

    @property
    def life(self) -> float:
        """Seconds after which a held slot stops counting."""
        ...

    # -- the queue

    def enter(self, name: str, ticket: Ticket, claimant: SlotClaimant, /) -> None:
        """Queue for slots of a pool; raises where that pool is closed, or can never hold that many."""

    def leave(self, ticket: Ticket, /) -> None:
        """Leave the queue."""

    def fail_queued(self, error: KlingError, /) -> None:
        """Purge all that this process queues."""

    def position(self, ticket: Ticket, /) -> int | None:
        """Return how many tickets go before one that waits; None for any other."""
        ...

    @property
    def queued(self) -> int:
        """How many tickets of this process wait."""
        ...

    def oldest_wait(self) -> float:
        """Return the seconds since the ticket of this process entered that waits longest."""
        ...

    def why_held(self, ticket: Ticket, /) -> str:
        """Return why creates like this one are held, empty if they are not."""
        ...

    # -- creates

    async def confirm(self, ticket: Ticket, /) -> bool:
        """Tell, before the first byte, whether slots that were granted still are; False: `requeue`."""
        ...

    def send_by(self, ticket: Ticket, /) -> float | None:
        """Return until when a create in these slots may send its first byte; None: at any time.

        By the client's clock. Later the others may take this process for dead, and ask about its creates.
        """
        ...

    def judged(self, ticket: Ticket, verdict: CreateVerdict | Resolved, /) -> None:
        """Note what an attempt of a create came to, before its slots are settled."""

    def accepted(self, ticket: Ticket, holder: Subject, /) -> None:
        """Note that a create made a task, which holds its slots from now on."""

    def refused(self, ticket: Ticket, /, *, drop: bool) -> None:
        """Put a create that the full account refused (1303) back in its place, or drop it."""

    def requeue(self, ticket: Ticket, after: float, /, *, drop: bool, opens: bool) -> None:
        """Put a create that surely made nothing back in its place; its pool waits ``after`` seconds."""

    def free(self, ticket: Ticket, /, *, opens: bool = True) -> None:
        """Free the slots of a create that surely made nothing and is not sent again."""

    def unknown(self, ticket: Ticket, /) -> None:
        """Keep the slots of a create whose fate is unknown."""

    def resume(self, ticket: Ticket, /) -> bool:
        """Send a create again in the slots it holds; False if it holds none any more."""
        ...

    # -- tasks that run

    def occupy(self, name: str, weight: int, age: float, holder: Subject, /) -> Ticket:
        """Take slots for a running task that was not created here."""
        ...

    def take_over(self, name: str, weight: int, holder: Subject, /) -> Ticket | None:
        """Take over the slots that other processes hold for a task, before it was seen here.

        Where there turn out to be none, the task has none either, until it is seen running.
        """
        ...

    def held_by(self, ticket: Ticket, holder: Subject, /) -> None:
        """Note whose slots a ticket holds."""

    def release(self, ticket: Ticket, /) -> None:
        """Free the slots of a task that was seen ended, or is given up; harmless to repeat."""

    def give_up(self, ticket: Ticket, /) -> None:
        """Give up one of two tickets of a task: the other one goes on to hold its slots."""

    def hint(self, *names: str, record: TaskRecord | None = None) -> None:
        """Tell other processes that a task of these ids may have changed.

        With the record of a verified callback, they take it as if it had come to them.
        """

    # -- pools

    def set_limits(self, limits: Mapping[str, int | None], /) -> None:
        """Take sizes from the caller; None: forget the caller's."""

    def resize(self, name: str, limit: int, source: LimitSource, /) -> None:
        """Take what the packs say; a caller's limit stays, a guess does not undo what was learned."""

    def close(self, error: KlingError, name: str | None = None, /) -> None:
        """Close one pool, or all: what queues there fails with that error."""

    def reopen(self, name: str | None = None, /) -> None:
        """Let creates through again at once."""

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""

    def new_schedule(self, parts: ScheduleParts, /, *, asks: bool = False) -> Schedule:
        """Make the schedule of a poller: one that ``asks``, or leaves that to another process if it can."""
        ...

    def ask_for_all(self, new_asking: Callable[[Any], Any], /) -> None:
        """Ask about the tasks of other processes, too, when it is this one's turn.

        Args:
            new_asking: Makes the part that asks (`ledger.asking.Asking`), for a ledger.
        """

    async def leave_ledger(self) -> None:
        """Write the last steps for other processes, once all work has ended."""
