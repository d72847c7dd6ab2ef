"""Shared limiter: drive slots that lie in a ledger which all processes of a machine share.

What this process does to its own tickets shows at once here; the ledger hears of it a moment later, decides
for all, and tells each process what has become of its tickets.
"""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from kling_async.core.queue import Phase, Ticket
from kling_async.errors import ClientClosed, ConfigurationError
from kling_async.orchestrator.ledger.claims import Claim, entry
from kling_async.orchestrator.ledger.facts import LedgerPace, facts_of
from kling_async.orchestrator.ledger.messenger import Messenger
from kling_async.orchestrator.ledger.passive import PassiveSchedule
from kling_async.orchestrator.ledger.reads import AskingSchedule, LedgerRounds, ReadTurnStock
from kling_async.orchestrator.ledger.shared_pools import SharedPools
from kling_async.orchestrator.ledger.steps import (
    AnswerLost,
    Confirm,
    Ended,
    Free,
    FullRefusal,
    Judged,
    Known,
    Leave,
    NewsKind,
    Occupy,
    Read,
    Requeue,
    Resend,
    TaskFacts,
    TaskMade,
    Want,
)
from kling_async.orchestrator.pool_limits import too_heavy
from kling_async.orchestrator.tracked import TrackedState, TrackedTask
from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from kling_async.core.schedule import Schedule
    from kling_async.core.schedule_parts import ScheduleParts
    from kling_async.core.verdict import CreateVerdict, Resolved
    from kling_async.errors import KlingError
    from kling_async.events import Hooks, Subject
    from kling_async.options import SlotOptions
    from kling_async.orchestrator.ledger.claims import AsksForAll
    from kling_async.orchestrator.ledger.errands import SharedFile
    from kling_async.orchestrator.ledger.shared_pool import SharedPool
    from kling_async.orchestrator.ledger.steps import Step, Synced, TicketNews
    from kling_async.orchestrator.slot_keeper import SlotClaimant
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["SharedLimiter"]


class SharedLimiter(SharedPools):
    """The slots of one account, shared with other processes by a ledger.

    Args:
        scope: The client's loop and clock.
        hooks: Takes the event ``slot_expired``.
        rng: Source of jitter.
        clock: The system-wide monotonic clock.
        open_file: Opens the ledger.
        pace: How often to go there.
        options: Sizes of pools, and how long a slot counts.
        host: The host that creates are sent to.
    """

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        rng: random.Random,
        *,
        clock: Callable[[], float],
        open_file: Callable[[], SharedFile],
        options: SlotOptions,
        host: str,
        pace: LedgerPace = LedgerPace(),  # noqa: B008 - a tuple
    ) -> None:
        self._messenger = Messenger(scope, open_file, self, pace)
        super().__init__(scope, hooks, options, host, self._messenger.post)
        self._hooks = hooks
        self._rng = rng
        self._clock = clock
        self._claims: dict[int, Claim] = {}
        self._wanted: set[int] = set()
        """Numbers of tasks whose end somebody here waits for."""
        self._asking: AsksForAll | None = None
        self._reads = ReadTurnStock(lambda turns, rate: self._post(Read(turns, rate)))
        self._ended: weakref.WeakSet[Any] = weakref.WeakSet()
        """Tasks that another process has seen ended, and this one not yet."""
        scope.subscribe(self)

    def new_schedule(self, parts: ScheduleParts, *, asks: bool = False) -> Schedule:
        """Make the schedule of a poller: one that ``asks``, or leaves that to another process."""
        rounds = LedgerRounds(parts.polling, parts.forms, self._reads)
        return AskingSchedule(parts, rounds) if asks else PassiveSchedule(parts, rounds, self)

    def ask_for_all(self, new_asking: Callable[[SharedLimiter], AsksForAll]) -> None:
        """Ask about the tasks of other processes, too, when it is this one's turn."""
        self._asking = new_asking(self)

    # -- the queue

    def enter(self, name: str, ticket: Ticket, claimant: SlotClaimant) -> None:
        """Queue for slots of a pool; the claimant is told when they are taken.

        Raises:
            KlingError: The pool is closed: the error that closed it.
            RequestInvalid: The pool can never hold that many.
        """
        pool = self.pool(name)
        if self._messenger.current:  # else the ledger knows better: it may have been told anything since
            if not pool.fits_ever(ticket.weight):
                raise too_heavy(pool, ticket)
            if pool.closed is not None and self._clock() < pool.facts.half_open_at:
                raise pool.closed.again()
        self._number(ticket, pool, pool.arrival(self._clock()))
        ticket.entered = self._scope.time()
        ticket.life.move(Phase.QUEUED)
        self._claims[ticket.sequence] = Claim(ticket, claimant)
        pool.put(ticket)
        self._post(entry(ticket, claimant))
        self._tell_contention(pool)

    def _number(self, ticket: Ticket, pool: SharedPool, when: int) -> None:
        """Number a ticket by the time of its arrival: that is its place among those of all processes."""
        while when in self._claims:
            when += 1
        ticket.sequence, ticket.pool = when, pool.name

    def leave(self, ticket: Ticket) -> None:
        """Leave the queue."""
        self.give_up(ticket)
        self._post(Leave(ticket.sequence))

    def fail_queued(self, error: KlingError) -> None:
        """Purge all that this process queues."""
        for claim in [claim for claim in self._claims.values() if claim.ticket.queued]:
            self.leave(claim.ticket)
            if claim.claimant is not None:
                claim.claimant.purged(error.again())

    # -- creates

    async def confirm(self, ticket: Ticket) -> bool:
        """Tell, before the first byte, whether slots that were granted still are; False: `requeue`."""
        claim = self._claims.get(ticket.sequence)
        if claim is None or ticket.phase is not Phase.SENT:
            return False
        loop = asyncio.get_running_loop()  # not `scope.enter()`: also while the client is being closed
        future: asyncio.Future[bool] = loop.create_future()
        claim.confirming = future
        self._post(Confirm(ticket.sequence))
        return await future

    def send_by(self, ticket: Ticket) -> float | None:  # noqa: ARG002 - all of a process have one
        """Return until when a create may send its first byte, by the client's clock; None: at any time."""
        return self._messenger.send_by()

    def judged(self, ticket: Ticket, verdict: CreateVerdict | Resolved) -> None:
        """Note what an attempt of a create came to, before its slots are settled: a hold may begin or end."""
        if ticket.kind is not None:
            self._post(Judged(ticket.sequence, verdict))

    def accepted(self, ticket: Ticket, holder: Subject) -> None:
        """Note that a create made a task, which holds its slots from now on."""
        ticket.life.move(Phase.HELD)
        self._post(TaskMade(ticket.sequence, facts_of(holder)))
        self._hold(ticket, holder)

    def refused(self, ticket: Ticket, *, drop: bool) -> None:
        """Put a create that the full account refused (1303) back in its place, or drop it."""
        self._back(ticket, drop=drop)
        self._post(FullRefusal(ticket.sequence, self._rng.random(), drop))

    def requeue(self, ticket: Ticket, after: float, *, drop: bool, opens: bool) -> None:
        """Put a create that surely made nothing back in its place; its pool waits ``after`` seconds."""
        self._back(ticket, drop=drop)
        self._post(Requeue(ticket.sequence, after, drop, opens))

    def _back(self, ticket: Ticket, *, drop: bool) -> None:
        claim = self._claims.get(ticket.sequence)
        if claim is not None:
            claim.confirmed = False
        if drop:
            self.give_up(ticket)
        else:
            ticket.life.move(Phase.QUEUED)
            pool = self._pools[ticket.pool]
            pool.put(ticket)
            self._tell_contention(pool)

    def free(self, ticket: Ticket, *, opens: bool = True) -> None:
        """Free the slots of a create that surely made nothing and is not sent again."""
        if ticket.phase is not Phase.SENT:
            self.release(ticket)
            return
        self.give_up(ticket)
        self._post(Free(ticket.sequence, opens))

    def unknown(self, ticket: Ticket) -> None:
        """Keep the slots of a create whose fate is unknown."""
        ticket.life.move(Phase.HELD)
        self._post(AnswerLost(ticket.sequence))

    def resume(self, ticket: Ticket) -> bool:
        """Send a create again in the slots it holds; False if it holds none any more."""
        if ticket.phase is not Phase.HELD or ticket.sequence not in self._claims:
            return False
        ticket.life.move(Phase.SENT)
        self._post(Resend(ticket.sequence))
        return True

    # -- tasks that run

    def take_over(self, name: str, weight: int, holder: Subject) -> Ticket:
        """Take over the slots that other processes hold for a task, before it was seen here."""
        return self.occupy(name, weight, 0.0, holder, unseen=True)

    def occupy(self, name: str, weight: int, age: float, holder: Subject, *, unseen: bool = False) -> Ticket:
        """Take slots for a running task that was not created here, unless the ledger knows it already."""
        ticket = Ticket(weight)
        self._number(ticket, self.pool(name), int(self._clock() * 1e9))
        ticket.life.move(Phase.HELD)
        self._post(Occupy(name, ticket.sequence, weight, age, facts_of(holder), unseen=unseen))
        self._hold(ticket, holder)
        return ticket

    def held_by(self, ticket: Ticket, holder: Subject) -> None:
        """Note whose slots a ticket holds; its create is settled."""
        if ticket.phase is Phase.HELD:
            self._post(Known(ticket.sequence, facts_of(holder)))
            self._hold(ticket, holder)

    def _hold(self, ticket: Ticket, holder: Subject) -> None:
        self._claims[ticket.sequence] = Claim(ticket, holder=holder)
        if isinstance(holder, TrackedTask) and (holder.waiters.end or holder.waiters.change):
            self._want(ticket, True)

    def release(self, ticket: Ticket) -> None:
        """Free the slots of a task that was seen ended, or is given up; harmless to repeat."""
        if ticket.phase is Phase.HELD:
            ticket.life.move(Phase.GONE)
            self._post(Ended(ticket.sequence))
        self._forget(ticket)

    def give_up(self, ticket: Ticket) -> None:
        """Forget a ticket, of two that one task has: the ledger counts that once, until its end is seen."""
        if ticket.phase is not Phase.GONE:  # its slots have expired
            ticket.life.move(Phase.GONE)
        self._forget(ticket)

    def want(self, task: object, wanted: bool) -> None:
        """Note whether somebody here waits for the end of a task."""
        ticket = task.ticket if isinstance(task, TrackedTask) else None
        if ticket is not None:
            self._want(ticket, wanted)

    def _want(self, ticket: Ticket, wanted: bool) -> None:
        if ticket.sequence not in self._claims or wanted == (ticket.sequence in self._wanted):
            return
        (self._wanted.add if wanted else self._wanted.discard)(ticket.sequence)
        self._post(Want(ticket.sequence, wanted))

    def end(self, about: TaskFacts, record: TaskRecord | None) -> None:
        """Tell all processes that a task was seen ended; with its record, if that has its whole result."""
        self._post(Ended(0, about, record))

    def note_ended(self, task: TrackedTask) -> None:
        """Note that another process has seen a task of this one ended."""
        self._ended.add(task)

    def has_ended(self, task: object) -> bool:
        """Tell whether another process has seen a task of this one ended."""
        return task in self._ended

    # -- pools

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed."""
        self._messenger.stop_timers()
        if self._asking is not None:
            self._asking.stop_timers()

    async def leave_ledger(self) -> None:
        """Write the last steps for other processes, once all work has ended."""
        await self._messenger.leave()

    def on_loop_replaced(self) -> None:
        """Purge what queued in the loop that ended; what is held stays held."""
        self._reads.forget()
        self._messenger.on_loop_replaced()
        self.fail_queued(ClientClosed("the event loop ended while this queued; nothing was sent"))
        self._wanted.clear()

    # -- what the ledger says

    def demand(self) -> bool:
        """Tell whether anybody here waits for slots or for the end of a task."""
        return bool(self._wanted) or any(pool.queued_here for pool in self._pools.values())

    def hear(self, synced: Synced) -> None:
        """Act on what the ledger says."""
        self._hear_pools(synced)
        for turns, at in synced.reads:
            self._scope.call_at(
                self._scope.time() + max(0.0, at - synced.now), partial(self._may_read, turns)
            )
        for number, granted in synced.confirmed.items():
            claim = self._claims.get(number)
            if claim is not None and claim.confirming is not None and is_pending(claim.confirming):
                claim.confirmed = granted
                claim.confirming.set_result(granted)
        self._hear_places(synced.places)
        self._enter_again(synced)
        if self._asking is not None:
            for letter in synced.letters:
                self._asking.on_letter(letter)
        for news in synced.news:
            claim = self._claims.get(news.number)
            if claim is not None:
                self._hear_of(claim, news)
        if self._asking is not None and not self._scope.closed:
            contended = frozenset(name for name, facts in synced.pools.items() if facts.queued > facts.parked)
            self._asking.on_tasks(synced.tasks, contended, synced.now)

    def _hear_places(self, places: Mapping[int, int]) -> None:
        for number, before in places.items():
            if (claim := self._claims.get(number)) is not None:
                self._pools[claim.ticket.pool].place(claim.ticket, before)

    def _enter_again(self, synced: Synced) -> None:
        """Write down again what the ledger has lost; what queues, in its place."""
        if synced.revived:  # what it still has changes nothing
            for step in self.restore():
                self._post(step)
        lost = list(self._claims) if synced.revived else synced.missing
        for claim in [self._claims[number] for number in lost if number in self._claims]:
            if claim.ticket.queued and claim.claimant is not None and not synced.revived:
                self._post(entry(claim.ticket, claim.claimant))
            elif isinstance(claim.holder, TrackedTask) and not synced.revived:
                self._hold_alone(claim, claim.holder)
            elif claim.holder is not None and self._asking is not None:  # it may have ended meanwhile
                self._asking.on_ended(claim.holder)

    def _hold_alone(self, claim: Claim, task: TrackedTask) -> None:
        """Take slots for a task that no other process holds any for, if it was seen running meanwhile."""
        if task.state is not TrackedState.RUNNING:
            task.ticket = None
            self.release(claim.ticket)
        for step in claim.steps(self._scope.time()):
            self._post(step)
        if claim.ticket.sequence in self._wanted:
            self._post(Want(claim.ticket.sequence, True))

    def restore(self) -> list[Step]:
        """Return the steps that write all that this process queues and holds into a new file."""
        now = self._scope.time()
        steps = [step for claim in self._claims.values() for step in claim.steps(now)]
        return [*steps, *(Want(number, True) for number in self._wanted)]

    def _may_read(self, turns: int) -> None:
        self._reads.come(turns)
        if self._asking is not None and not self._scope.closed:
            self._asking.on_turn()

    def _hear_of(self, claim: Claim, news: TicketNews) -> None:
        ticket, claimant, holder = claim.ticket, claim.claimant, claim.holder
        subject = holder if claimant is None else claimant.subject
        match news.kind:
            case NewsKind.GRANTED if ticket.queued and claimant is not None and not self._scope.closed:
                pool = self._pools[ticket.pool]
                ticket.life.move(Phase.SENT)
                pool.take(ticket)
                claimant.admitted()
                self._tell_contention(pool)
            case NewsKind.PURGED if ticket.queued:
                self.give_up(ticket)
                error = news.error or too_heavy(self._pools[ticket.pool], ticket, news.most)
                if claimant is not None:
                    claimant.purged(error)
            case NewsKind.ENDED if holder is not None and self._asking is not None:
                self._ended.add(holder)
                self._asking.on_ended(holder)
            case NewsKind.HINTED if subject is not None and self._asking is not None:
                self._asking.on_ended(subject)
            case NewsKind.EXPIRED if ticket.phase is Phase.HELD:
                self.give_up(ticket)
                if holder is not None and self._asking is not None:  # nobody else asks about it any more
                    self._ended.add(holder)
                    self._asking.on_ended(holder)
                detail = "not seen ended in time, its slots count no longer"
                self._hooks.emit("slot_expired", *filter(None, [subject]), detail=detail)

    def unusable(self, error: ConfigurationError) -> None:
        """Fail what waits: the ledger's file cannot be used."""
        for claim in list(self._claims.values()):
            if claim.ticket.queued and claim.claimant is not None:
                self.give_up(claim.ticket)
                claim.claimant.purged(error.again())

    def _forget(self, ticket: Ticket) -> None:
        self._claims.pop(ticket.sequence, None)
        self._wanted.discard(ticket.sequence)
        pool = self._pools.get(ticket.pool)
        if pool is not None:
            pool.take(ticket)
            self._tell_contention(pool)
