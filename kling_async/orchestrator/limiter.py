"""Limiter: drive the pools. Admit what `core.admission` decides, keep its timers.

The rest of the client knows it as a `slot_keeper.SlotKeeper`: a shared ledger can stand in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.core.admission import Pool, Ticket
from kling_async.core.pool_sizes import DEFAULTS
from kling_async.core.queue import Phase
from kling_async.core.schedule import Schedule
from kling_async.errors import ClientClosed, ConfigurationError, KlingError
from kling_async.orchestrator.driven_pool import DrivenPool
from kling_async.orchestrator.holds import Holds
from kling_async.orchestrator.pool_limits import (
    checked_label_limits,
    checked_limits,
    too_heavy,
)
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from kling_async.core.pool_sizes import LimitSource
    from kling_async.core.schedule_parts import ScheduleParts
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.events import Hooks, Subject
    from kling_async.options import SlotOptions
    from kling_async.orchestrator.contention import ContentionListener
    from kling_async.orchestrator.slot_keeper import SlotClaimant
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Limiter"]

_MOMENT: Final = 0.05
"""Seconds until others move up after a ticket left. When a loop ends it cancels every submit in turn; without
this pause each of them would start the next create in a loop that is about to close."""


class Limiter:
    """The slots of one account, as this process sees them.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the events ``slot_expired``, ``held`` and ``released``.
        rng: Source of jitter.
        options: Sizes of pools, whether to queue, and how long a slot counts.
        host: The host that creates are sent to.
    """

    shared = False

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        rng: random.Random,
        options: SlotOptions,
        *,
        host: str,
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._rng = rng
        limits = checked_limits(options.limits or {})
        self._limits = {name: limit for name, limit in limits.items() if limit is not None}
        self.life = options.max_task_life
        self._gate = options.queueing
        self._label_limits = checked_label_limits(options)
        self._driven: dict[str, DrivenPool] = {}
        self._claimants: dict[Ticket, SlotClaimant] = {}  # of tickets that queue, or whose create is open
        self._holders: dict[Ticket, Subject] = {}  # the tasks that hold slots
        self._listeners: list[ContentionListener] = []
        self.holds = Holds(scope, hooks, host, lambda: (driven.pool for driven in self._driven.values()))
        scope.subscribe(self)

    def subscribe(self, listener: ContentionListener) -> None:
        """Tell a listener whenever submits begin or cease to wait for a pool; of those that do, at once."""
        self._listeners.append(listener)
        for name, driven in self._driven.items():
            if driven.contended:
                listener.on_contention(name, True)

    @property
    def pools(self) -> Mapping[str, Pool]:
        """All pools used so far."""
        return {name: driven.pool for name, driven in self._driven.items()}

    def pool(self, name: str) -> Pool:
        """Return a pool, made when first asked for."""
        return self._drive(name).pool

    def _drive(self, name: str) -> DrivenPool:
        driven = self._driven.get(name)
        if driven is None:
            source: LimitSource = "caller" if name in self._limits else "default"
            limit = self._limits.get(name, DEFAULTS.get(name, 1))
            pool = Pool(
                name,
                limit,
                source=source,
                life=self.life,
                gate=self._gate,
                label_limits=self._label_limits,
            )
            timer = Timer(self._scope, lambda now: self._admit_due(self._driven[name], now))
            driven = self._driven[name] = DrivenPool(pool, timer)
        return driven

    # -- the queue

    def enter(self, name: str, ticket: Ticket, claimant: SlotClaimant) -> None:
        """Queue for slots of a pool; the claimant is told when they are taken, perhaps at once.

        Raises:
            KlingError: The pool is closed: the error that closed it.
            RequestInvalid: The pool, or the label in it, can never hold that many.
        """
        driven = self._drive(name)
        pool = driven.pool
        if not pool.fits_ever(ticket.weight):
            raise too_heavy(pool, ticket)
        if not pool.labels.fits_ever(ticket):
            raise too_heavy(pool, ticket, pool.labels.limits[ticket.label])
        error = pool.enter(ticket, self._scope.time())
        if error is not None:
            raise error.again()
        self._claimants[ticket] = claimant
        if pool.queued == 1 or pool.is_next(ticket):  # else it changes nothing for anybody
            self._admit_due(driven)

    def leave(self, ticket: Ticket) -> None:
        """Leave the queue; those behind move up a moment later."""
        driven = self._driven[ticket.pool]
        driven.pool.leave(ticket)
        self._forget(ticket)
        driven.timer.advance(self._scope.time() + _MOMENT)

    def fail_queued(self, error: KlingError) -> None:
        """Purge all that queues, in all pools."""
        for driven in self._driven.values():
            waiting = sorted(driven.pool.waiting, key=lambda ticket: ticket.sequence)
            for ticket in waiting:
                driven.pool.leave(ticket)
            self._purge(waiting, error)

    def why_held(self, ticket: Ticket) -> str:
        """Return why creates like this one are held, empty if they are not."""
        return self.holds.reason(ticket)

    def position(self, ticket: Ticket) -> int | None:
        """Return how many tickets go before one that waits; None for any other."""
        driven = self._driven.get(ticket.pool)
        return None if driven is None else driven.pool.position(ticket)

    @property
    def queued(self) -> int:
        """How many tickets wait, in all pools."""
        return sum(driven.pool.queued for driven in self._driven.values())

    def oldest_wait(self) -> float:
        """Return the seconds since the ticket entered that waits longest; 0 if none does."""
        oldest = [ticket for pool in self.pools.values() if (ticket := pool.oldest()) is not None]
        now = self._scope.time()
        return max((now - ticket.entered for ticket in oldest), default=0.0)

    # -- answers to creates

    async def confirm(self, ticket: Ticket) -> bool:
        """Tell whether slots that were granted still are: in one process they do not lapse."""
        return ticket.phase is Phase.SENT

    def send_by(self, ticket: Ticket) -> float | None:  # noqa: ARG002 - as `SlotKeeper` says
        """Return None: nobody else knows these slots."""
        return None

    def judged(self, ticket: Ticket, verdict: CreateVerdict | Resolved) -> None:
        """Note what an attempt of a create came to, before its slots are settled: a hold may begin or end."""
        driven = self._driven[ticket.pool]
        change = driven.pool.judged(ticket, verdict, self._scope.time())
        if change is not None:
            self.holds.changed(change)
            driven.timer.advance(self._scope.time() + _MOMENT)

    def accepted(self, ticket: Ticket, holder: Subject) -> None:
        """Note that a create made a task, which holds its slots from now on."""
        driven = self._driven[ticket.pool]
        driven.pool.accepted(ticket, self._scope.time())
        self.held_by(ticket, holder)
        self._admit_due(driven)

    def refused(self, ticket: Ticket, *, drop: bool) -> None:
        """Put a create that the full account refused (1303) back in its place, or drop it."""
        driven = self._driven[ticket.pool]
        returned = driven.pool.refused(ticket, self._scope.time(), self._rng.random(), drop=drop)
        self._returned(driven, ticket, returned=returned, drop=drop)

    def requeue(self, ticket: Ticket, after: float, *, drop: bool, opens: bool) -> None:
        """Put a create that surely made nothing back in its place; its pool waits ``after`` seconds."""
        driven = self._driven[ticket.pool]
        returned = driven.pool.requeue(ticket, self._scope.time(), after, drop=drop, opens=opens)
        self._returned(driven, ticket, returned=returned, drop=drop)

    def _returned(self, driven: DrivenPool, ticket: Ticket, *, returned: bool, drop: bool) -> None:
        """Let go of a ticket that did not return to the queue: dropped, or its pool has closed or shrunk."""
        pool = driven.pool
        if drop:
            self._forget(ticket)
        elif not returned:
            self._purge([ticket], too_heavy(pool, ticket) if pool.closed is None else pool.closed)
        self._admit_due(driven)

    def free(self, ticket: Ticket, *, opens: bool = True) -> None:
        """Free the slots of a create that surely made nothing and is not sent again.

        Args:
            ticket: Its ticket.
            opens: The vendor did answer, so a half-open pool opens.
        """
        if ticket.phase is not Phase.SENT:
            self.release(ticket)
            return
        driven = self._driven[ticket.pool]
        driven.pool.withdrawn(ticket, opens=opens)
        self._forget(ticket)
        self._admit_due(driven)

    def unknown(self, ticket: Ticket) -> None:
        """Keep the slots of a create whose fate is unknown."""
        driven = self._driven[ticket.pool]
        driven.pool.unknown(ticket, self._scope.time())
        driven.timer.advance(self._scope.time() + _MOMENT)

    def resume(self, ticket: Ticket) -> bool:
        """Send a create again in the slots it holds: it was looked up; False if it holds none any more."""
        return self._driven[ticket.pool].pool.resume(ticket, self._scope.time())

    # -- tasks that run

    def occupy(self, name: str, weight: int, age: float, holder: Subject) -> Ticket:
        """Take slots for a running task that was not created here; one that has some already keeps these."""
        for ticket, other in self._holders.items():  # seen by another poller: one task holds its slots once
            if (other.endpoint.name, other.task_id) == (holder.endpoint.name, holder.task_id):
                return ticket
        driven = self._drive(name)
        ticket = Ticket(weight)
        driven.pool.occupy(ticket, self._scope.time(), age)
        self.held_by(ticket, holder)
        self._admit_due(driven)
        return ticket

    def take_over(self, name: str, weight: int, holder: Subject) -> None:
        """Return nothing: no other process has slots here."""

    def held_by(self, ticket: Ticket, holder: Subject) -> None:
        """Note whose slots a ticket holds, should they expire; its create is settled."""
        self._claimants.pop(ticket, None)
        if ticket.phase is Phase.HELD:
            self._holders[ticket] = holder

    def release(self, ticket: Ticket) -> None:
        """Free the slots of a task that was seen ended, or is given up; harmless to repeat."""
        driven = self._driven[ticket.pool]
        self._forget(ticket)
        if driven.pool.release(ticket, self._scope.time()):
            self._admit_due(driven)

    # -- the pools themselves

    def set_limits(self, limits: Mapping[str, int | None]) -> None:
        """Take sizes from the caller, checked by `checked_limits`; None: forget the caller's."""
        for name, limit in limits.items():
            if limit is None:
                self._limits.pop(name, None)
            else:
                self._limits[name] = limit
            driven = self._driven.get(name)
            if driven is None:
                continue
            if limit is not None:
                self._resize(driven, limit, "caller")
            elif driven.pool.source == "caller":
                self._resize(driven, DEFAULTS.get(name, 1), "default")

    def resize(self, name: str, limit: int, source: LimitSource) -> None:
        """Take what the packs say; a caller's limit stays, a guess does not undo what was learned."""
        driven = self._drive(name)
        pool = driven.pool
        if pool.source == "caller" or (source == "default" and pool.source == "learned"):
            return
        self._resize(driven, limit, source)

    def _resize(self, driven: DrivenPool, limit: int, source: LimitSource) -> None:
        pool = driven.pool
        for ticket in pool.resize(limit, source):
            self._purge([ticket], too_heavy(pool, ticket))
        self._admit_due(driven)

    def close(self, error: KlingError, name: str | None = None) -> None:
        """Close one pool, or all: what queues there fails with that error."""
        for driven in [self._drive(name)] if name else list(self._driven.values()):
            self._purge(driven.pool.close(error, self._scope.time()), error)
            self._admit_due(driven)

    def reopen(self, name: str | None = None) -> None:
        """Let creates through again at once.

        Raises:
            ConfigurationError: No such pool was used.
        """
        if name is not None and name not in self._driven:
            in_use = ", ".join(self._driven) or "none"
            raise ConfigurationError(f"no pool {name!r} in use; there are {in_use}")
        for driven in [self._drive(name)] if name else list(self._driven.values()):
            for change in driven.pool.reopen():
                self.holds.changed(change)
            self._admit_due(driven)

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        for driven in self._driven.values():
            driven.timer.clear()

    def new_schedule(
        self,
        parts: ScheduleParts,
        *,
        asks: bool = False,  # noqa: ARG002 - each asks about its own tasks
    ) -> Schedule:
        """Make the schedule of a poller."""
        return Schedule(parts)

    def give_up(self, ticket: Ticket) -> None:
        """Free the slots of one of two tickets of a task."""
        self.release(ticket)

    def ask_for_all(self, *_: object) -> None:
        """Do nothing: no other process has tasks here."""

    def hint(self, *names: str, record: TaskRecord | None = None) -> None:
        """Do nothing: no other process has tasks here."""

    async def leave_ledger(self) -> None:
        """Do nothing: no other process knows of these slots."""

    def on_loop_replaced(self) -> None:
        """Purge what queued in the loop that ended; what is held stays held."""
        for driven in self._driven.values():
            driven.timer.clear()
        self.fail_queued(ClientClosed("the event loop ended while this queued; nothing was sent"))
        for driven in self._driven.values():
            self._admit_due(driven)

    # -- driving

    def _admit_due(self, driven: DrivenPool, now: float | None = None) -> None:
        """Do all that is due in a pool, and set its timer for what is next."""
        if self._scope.closed:
            return
        now = self._scope.time() if now is None else now
        pool = driven.pool
        driven.log_changes()
        for ticket in pool.expire(now):
            self._expired(pool, ticket)
        if pool.queued and not self._scope.running:  # between two runs of the loop: the next one admits
            driven.timer.advance(now)
            return
        for ticket in pool.admit(now):
            self._claimants[ticket].admitted()
        driven.timer.set(pool.next_time(), idle=not pool.queued)
        contended = pool.contended
        if contended != driven.contended:
            driven.contended = contended
            for listener in self._listeners:
                listener.on_contention(pool.name, contended)

    def _expired(self, pool: Pool, ticket: Ticket) -> None:
        holder = self._holders.get(ticket)
        about = self._claimants[ticket].subject if holder is None else holder
        self._forget(ticket)
        detail = f"not seen ended in {pool.slots.life:g} s, its slots count no longer"
        self._hooks.emit("slot_expired", about, detail=detail)

    def _purge(self, tickets: Iterable[Ticket], error: KlingError) -> None:
        """Tell those who were taken out of the queue; each gets an error of its own."""
        for ticket in tickets:
            self._claimants.pop(ticket).purged(error.again())

    def _forget(self, ticket: Ticket) -> None:
        self._claimants.pop(ticket, None)
        self._holders.pop(ticket, None)
