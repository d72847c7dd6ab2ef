"""The book: one transaction on the slots of an account, in which the steps of one process are taken."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kling_async.core.lifecycle import IllegalMove
from kling_async.core.queue import AdmissionError, Phase
from kling_async.events import facts
from kling_async.orchestrator.ledger.facts import HEAVY, LABEL, NewsKind, Stage, TaskFacts
from kling_async.orchestrator.ledger.leases import Lease, LeaseTable
from kling_async.orchestrator.ledger.mailbox import Letter
from kling_async.orchestrator.ledger.plain_errors import dump_error
from kling_async.orchestrator.ledger.pool_names import PoolNames
from kling_async.orchestrator.ledger.steps import (
    AnswerLost,
    Close,
    Confirm,
    Ended,
    Enter,
    Free,
    FullRefusal,
    Hint,
    Judged,
    Known,
    Leave,
    LimitLabels,
    Occupy,
    Read,
    Reopen,
    Requeue,
    Resend,
    Resize,
    TaskMade,
    Want,
)
from kling_async.orchestrator.ledger.stored_pool import StoredPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.errors import KlingError
    from kling_async.orchestrator.ledger.connection import LedgerConnection
    from kling_async.orchestrator.ledger.steps import OwnStep, Step
    from kling_async.records import TaskRecord

__all__ = ["Book"]

log = logging.getLogger("kling_async.orchestrator")


class Book:
    """The slots of one account within one transaction.

    Args:
        db: Within a transaction.
        account: The row of the account.
        owner: The process whose steps are taken.
        late: Other processes that have not shown themselves for long.
        life: Seconds after which the slots of a task stop counting.
        now: The time.
    """

    def __init__(
        self,
        db: LedgerConnection,
        account: int,
        owner: int,
        *,
        late: frozenset[int],
        life: float,
        now: float,
    ) -> None:
        self._db = db
        self._account = account
        self._owner = owner
        self._life = life
        self._now = now
        self._leases = LeaseTable(db, late)
        self.told = self._leases.told
        """The processes that have news."""
        self._pools: dict[str, StoredPool] = {}
        self._names = PoolNames(db, account, now)
        self.confirmed: dict[int, bool] = {}
        """Answers to `Confirm`."""
        self.reads: list[tuple[int, float]] = []
        """Answers to `Read`."""
        self.letters: list[tuple[int, Letter]] = []
        """Results for other processes."""
        self.missing: list[int] = []
        """Tickets that should have been put back, and are not known."""

    def take(self, steps: Iterable[Step]) -> None:
        """Take steps in order; one that the state of its ticket does not allow changes nothing."""
        steps = list(steps)
        numbers = [getattr(step, "number", 0) for step in steps]  # 0: it is about no ticket of this process
        self._leases.fetch(self._owner, [number for number in numbers if number])
        for step in steps:
            try:
                self._take(step)
            except (AdmissionError, IllegalMove) as error:
                # the process that said so was dead to the others for a while, or its slots have expired
                log.debug("a step of the slot ledger was passed over: %s", error, extra=facts())

    def finish(self) -> None:
        """Do what is due in all pools that were touched, or whose time has come, and write everything."""
        for name in self._names.due:
            self._pool(name)
        for stored in self._pools.values():
            stored.settle(self._leases.late)
        self._leases.write()
        for stored in self._pools.values():
            stored.write()

    def _pool(self, name: str) -> StoredPool:
        stored = self._pools.get(name)
        if stored is None:
            stored = StoredPool(self._db, self._leases, self._account, name, self._life, self._now)
            self._pools[name] = stored
            self._names.add(stored.id, name)
        return stored

    def _pool_of(self, lease: Lease) -> StoredPool:
        if not lease.pool:
            lease.pool = self._names.all[lease.pool_id]
        return self._pool(lease.pool)

    def _all(self, name: str | None) -> list[StoredPool]:
        return [self._pool(found) for found in ([name] if name else list(self._names.all.values()))]

    # -- steps

    def _take(self, step: Step) -> None:
        match step:
            case Enter():
                self._enter(step)
            case Occupy():
                self._occupy(step)
            case Read():
                self._read(step)
            case Hint():
                self._hint(step)
            case Resize() | LimitLabels() | Close() | Reopen():
                self._take_of_pools(step)
            case Ended(_, about, record) if about is not None:
                # an orphan's create that was never made: whoever goes on with it now finds that out itself
                never_made = record is None and not about.task_id
                self._tell_ended(about, but=None, record=record, orphans=never_made)
            case _:
                self._take_of_own(step)

    def _hint(self, hint: Hint) -> None:
        """Tell the processes that have a task of these ids; news of its end is not replaced."""
        for lease in self._same_task(TaskFacts("", hint.names[0], hint.names[-1])):
            if lease.news is NewsKind.NONE and lease.phase is Phase.HELD:
                lease.tell(NewsKind.HINTED)
            if hint.record and lease.holds and lease.orphan is None and lease.owner != self._owner:
                self.letters.append((lease.owner, Letter("", "", hint.record)))
                self.told.add(lease.owner)

    def _take_of_own(self, step: OwnStep) -> None:
        """Take a step about a lease of this process, if the ledger has it still."""
        lease = self._leases.find(self._owner, step.number)
        if lease is not None:
            self._take_of(step, lease, self._pool_of(lease))
        elif isinstance(step, Confirm):
            self.confirmed[step.number] = False
        elif isinstance(step, Requeue | FullRefusal) and not step.drop:
            self.missing.append(step.number)

    def _take_of(self, step: OwnStep, lease: Lease, stored: StoredPool) -> None:
        match step:
            case Leave():
                self._leave(lease, stored)
            case Confirm():
                self._confirm(lease, stored)
            case Judged(_, verdict):
                stored.pool.judged(lease, verdict, self._now)
            case Ended():
                self._end(lease, stored)
            case Known(_, about):
                lease.about = about
                stored.settle_orphans(self._same_task(about))
            case Want(_, wanted):
                lease.wanted = wanted
            case TaskMade(_, about) if lease.phase is Phase.HELD:
                lease.about = about  # its process was taken for dead while the create was on its way
            case FullRefusal() | Requeue() if lease.phase is Phase.HELD:  # likewise
                stored.pool.release(lease, self._now)
                if not step.drop:
                    self.missing.append(step.number)
            case _:
                self._answered(step, lease, stored)

    def _answered(self, step: OwnStep, lease: Lease, stored: StoredPool) -> None:
        """Take what came of a create."""
        pool, now = stored.pool, self._now
        others = self._same_task(lease.about)
        if isinstance(step, FullRefusal | Requeue | Free) and lease.phase is Phase.SENT and lease.off is None:
            stored.take_back(lease, others)
        match step:
            case TaskMade(_, about):
                pool.accepted(lease, now)
                lease.about, lease.granted_at = about, None
                stored.settle_orphans(others)
            case FullRefusal(_, jitter, drop):
                returned = pool.refused(lease, now, jitter, drop=drop)
                self._returned(lease, stored, returned=returned, drop=drop)
            case Requeue():
                self._requeue(step, lease, stored)
            case Free(_, opens) if lease.off is None and lease.phase is Phase.SENT:
                pool.withdrawn(lease, opens=opens)
            case Free():
                self._leave(lease, stored)
            case AnswerLost():
                pool.unknown(lease, now)
                lease.granted_at = None
            case Resend():
                pool.resume(lease, now)
                stored.settle_orphans(others)  # looked up in vain, by the id of all
            case _:
                raise AssertionError(step)

    def _enter(self, step: Enter) -> None:
        if self._leases.find(self._owner, step.number) is not None:
            return
        stored = self._pool(step.pool)
        lease = Lease(
            self._owner,
            step.number,
            step.weight,
            about=step.about,
            priority=step.priority,
            label=step.label,
            kind=step.kind,
        )
        self._leases.add(lease, stored.id)
        if stored.pool.closed is None and stored.orphans(self._same_task(step.about)):
            stored.call(lease)
            return
        error = stored.why_never(lease)
        if error is None and (closed := stored.pool.enter(lease, self._now)) is not None:
            error = dump_error(closed)
        if error is not None:
            lease.pool = step.pool
            lease.life.move(Phase.HELD)  # a new ticket cannot be gone at once
            lease.life.move(Phase.GONE)
            lease.tell(NewsKind.PURGED, error)

    def _leave(self, lease: Lease, stored: StoredPool) -> None:
        """Take a ticket out of the queue; one that was granted slots meanwhile gives them back."""
        if lease.off is not None:
            lease.life.move(Phase.GONE)
        elif lease.queued:
            stored.pool.leave(lease)
        elif lease.phase is Phase.SENT:
            stored.pool.withdrawn(lease, opens=False)
        else:
            self._end(lease, stored)

    def _confirm(self, lease: Lease, stored: StoredPool) -> None:
        """Keep slots that were granted, unless they have lapsed; an heir gets those of the orphan."""
        if lease.off is Stage.HEIR and (orphans := stored.orphans(self._same_task(lease.about))):
            stored.lend(lease, orphans)
        granted = lease.phase is Phase.SENT and lease.off is None
        self.confirmed[lease.sequence] = granted
        if granted:
            lease.granted_at = None

    def _requeue(self, step: Requeue, lease: Lease, stored: StoredPool) -> None:
        pool = stored.pool
        if lease.off is not None and not step.drop:
            returned = pool.fits_ever(lease.weight) and pool.closed is None
            if returned and stored.orphans(self._same_task(lease.about)):
                stored.call(lease)
            elif returned:
                pool.rejoin(lease)
            else:
                lease.life.move(Phase.GONE)
        elif lease.off is not None:
            lease.life.move(Phase.GONE)
            returned = False
        else:
            returned = pool.requeue(lease, self._now, step.after, drop=step.drop, opens=step.opens)
        self._returned(lease, stored, returned=returned, drop=step.drop)

    def _returned(self, lease: Lease, stored: StoredPool, *, returned: bool, drop: bool) -> None:
        """Tell the process of a ticket that could not return to the queue."""
        lease.granted_at = None
        if not returned and not drop:
            closed = stored.pool.closed
            lease.tell(NewsKind.PURGED, HEAVY if closed is None else dump_error(closed))

    def _occupy(self, step: Occupy) -> None:
        """Take slots for a task that was found running; those that it has in the ledger already count."""
        if self._leases.find(self._owner, step.number) is not None:
            return
        stored, others = self._pool(step.pool), self._same_task(step.about)
        if step.unseen and not any(other.holds for other in others):
            self.missing.append(step.number)
            return
        orphans = stored.orphans(others)
        weight = step.weight - sum(other.weight for other in others if other.holds and other not in orphans)
        lease = Lease(self._owner, step.number, max(0, weight), about=step.about, label=step.label)
        self._leases.add(lease, stored.id)
        if orphans:
            stored.adopt(lease, orphans)
        else:
            stored.pool.occupy(lease, self._now, step.age)

    # -- ends

    def _same_task(self, about: TaskFacts) -> list[Lease]:
        """Return the leases of a task, by either id; callers' ids are unique only within an account."""
        found: dict[tuple[int, int], Lease] = {}
        own = "pool IN (SELECT id FROM pools WHERE account=?)"
        for column, value in (("task_id", about.task_id), ("external_task_id", about.external_task_id)):
            for lease in self._leases.select(f"{column}=? AND {own}", value, self._account) if value else ():
                if about.endpoint in ("", lease.about.endpoint):  # a callback does not name it
                    found[lease.name] = lease
        return list(found.values())

    def _end(self, lease: Lease, stored: StoredPool) -> None:
        """Free the slots of a task that this process saw ended, and tell the others."""
        stored.pool.release(lease, self._now)
        lease.news = NewsKind.NONE
        self._tell_ended(lease.about, but=lease)

    def _tell_ended(
        self, about: TaskFacts, but: Lease | None, record: TaskRecord | None = None, *, orphans: bool = False
    ) -> None:
        """Free the slots of a task in all its leases, or in ``orphans`` only, and tell all who have one."""
        for lease in self._same_task(about):
            if orphans and lease.orphan is None:
                continue
            if lease is not but and self._pool_of(lease).pool.release(lease, self._now):
                lease.tell(NewsKind.ENDED)
                if record is not None and lease.owner != self._owner and lease.orphan is None:
                    self.letters.append((lease.owner, Letter(about.endpoint, lease.pool, record)))

    # -- reads

    def _read(self, step: Read) -> None:
        """Give turns to read, after those of all others: as many, that far apart."""
        (last,) = self._db.execute("SELECT read_at FROM accounts WHERE id=?", (self._account,)).fetchone()
        begin = self._now if last is None else max(self._now, last)
        update = "UPDATE accounts SET read_at=? WHERE id=?"
        self._db.execute(update, (begin + step.turns / step.rate, self._account))
        self.reads.append((step.turns, begin))

    # -- pools

    def _take_of_pools(self, step: Resize | LimitLabels | Close | Reopen) -> None:
        match step:
            case Resize():
                self._resize(step)
            case LimitLabels():
                self._limit_labels(step)
            case Close(error, name):
                self._close(error, name)
            case Reopen(name):
                for stored in self._all(name):
                    stored.pool.reopen()

    def _resize(self, step: Resize) -> None:
        stored = self._pool(step.pool)
        pool = stored.pool
        told = step.source == "caller" or step.forced
        if not told and (pool.source == "caller" or (step.source == "default" and pool.source == "learned")):
            return
        stored.tell(pool.resize(step.limit, step.source), NewsKind.PURGED, HEAVY)

    def _limit_labels(self, step: LimitLabels) -> None:
        """Take limits of labels; what queues and can never fit fails. The first step of its transaction."""
        self._db.execute("DELETE FROM label_limits WHERE account=?", (self._account,))
        rows = ((self._account, label, most) for label, most in step.limits.items())
        self._db.executemany("INSERT INTO label_limits VALUES (?, ?, ?)", rows)
        for stored in self._all(None):
            for label in stored.line.shut_labels():
                stored.line.open(label)
            for ticket in [ticket for ticket in stored.line if not stored.pool.labels.fits_ever(ticket)]:
                stored.line.leave(ticket)
                stored.tell([ticket], NewsKind.PURGED, f"{LABEL} {step.limits[ticket.label]}")

    def _close(self, error: KlingError, name: str | None) -> None:
        text = dump_error(error)
        query = "stage IN (?, ?) AND pool=?"
        for stored in self._all(name):
            stored.tell(stored.pool.close(error, self._now), NewsKind.PURGED, text)
            for lease in self._leases.select(query, int(Stage.LAPSED), int(Stage.ASLEEP), stored.id):
                if lease.off is Stage.ASLEEP:  # one that lapsed asks again by itself
                    lease.life.move(Phase.GONE)
                    lease.tell(NewsKind.PURGED, text)

    # -- processes

    def wake(self) -> None:
        """Put what this process queues, and what was parked while it did not react, back in line."""
        names = self._names.ask()
        asleep = self._leases.ask("owner=? AND stage=?", self._owner, int(Stage.ASLEEP))
        self._names.take(names)
        for lease in list(self._leases.read(asleep)):
            if lease.off is Stage.ASLEEP:
                self._pool_of(lease).pool.rejoin(lease)

    def bury(self, owner: int) -> None:
        """Make orphans of the tasks of a process that is dead; what it queued leaves."""
        for lease in list(self._leases.select("owner=?", owner)):
            stored = self._pool_of(lease)
            lease.news = NewsKind.NONE
            if lease.off is not None or lease.queued or lease.granted:
                self._leave(lease, stored)
            elif lease.in_flight and not lease.stalled:
                stored.pool.unknown(lease, self._now)
            elif lease.phase is Phase.HELD and not lease.weight:
                stored.pool.release(lease, self._now)
            lease.stalled, lease.orphan = False, self._now
            if lease.phase is Phase.HELD:
                stored.pass_on(lease, self._same_task(lease.about))
