"""A pool in a shared ledger: read into a `Pool`, which decides, and written back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.core.admission import Pool
from kling_async.core.breaker import BreakerState, Hold, RefusalSignature
from kling_async.core.pool_sizes import DEFAULTS
from kling_async.core.queue import Kind, Phase
from kling_async.orchestrator.ledger.facts import HEAVY, LABEL, Stage
from kling_async.orchestrator.ledger.leases import Lease
from kling_async.orchestrator.ledger.lines import StoredLine, ask_line
from kling_async.orchestrator.ledger.plain_errors import dump_error, load_error
from kling_async.orchestrator.ledger.steps import NewsKind, PoolFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kling_async.core.queue import Ticket
    from kling_async.orchestrator.ledger.connection import LedgerConnection, LedgerRows
    from kling_async.orchestrator.ledger.leases import LeaseTable

__all__ = ["LAPSE", "POOL_TABLES", "StoredPool", "ask_pool_facts", "pool_facts"]

LAPSE: Final = 5.0
"""Seconds within which slots that were granted must be used: then they go to the next."""

POOL_TABLES: Final = (
    """CREATE TABLE pools (
        id INTEGER PRIMARY KEY, account INTEGER NOT NULL, name TEXT NOT NULL, bound INTEGER NOT NULL,
        source TEXT NOT NULL, belief INTEGER NOT NULL, held INTEGER NOT NULL, waiting INTEGER NOT NULL,
        pacing TEXT NOT NULL, breakers TEXT NOT NULL, parked INTEGER NOT NULL, error TEXT,
        half_open_at REAL, next_time REAL, UNIQUE (account, name))""",
    """CREATE TABLE label_limits (
        account INTEGER NOT NULL, label TEXT NOT NULL, most INTEGER NOT NULL,
        PRIMARY KEY (account, label)) WITHOUT ROWID""",
)

_FACTS: Final = "bound, source, belief, held, waiting, pacing, breakers, parked, error, half_open_at"


_POOL: Final = f"SELECT id, {_FACTS} FROM pools WHERE account=? AND name=?"  # noqa: S608 - names as above
_HOLDING: Final = (
    "pool=(SELECT id FROM pools WHERE account=? AND name=?) AND stage IN (?, ?) ORDER BY stage, owner, number"
)


class _Row(NamedTuple):
    """The facts of a pool as they stand in the table."""

    bound: int
    source: Any
    belief: int
    held: int
    waiting: int
    pacing: str
    breakers: str
    parked: int
    error: str | None
    half_open_at: float | None


class StoredPool:
    """One pool within one transaction.

    Args:
        db: Within a transaction.
        leases: The rows that stand for tickets.
        account: The row of the account.
        name: Of the pool; it is made if there is none.
        life: Seconds after which the slots of a task stop counting.
        now: The time.
    """

    def __init__(
        self, db: LedgerConnection, leases: LeaseTable, account: int, name: str, life: float, now: float
    ) -> None:
        self._db = db
        self._leases = leases
        self._now = now
        found = db.execute(_POOL, (account, name))
        labels = db.execute("SELECT label, most FROM label_limits WHERE account=?", (account,))
        line = ask_line(db, account, name)
        holding = leases.ask(_HOLDING, account, name, int(Stage.SENT), int(Stage.HELD))
        facts, limits, seen = found.fetchone(), dict(labels), list(leases.read(holding))
        self.line = StoredLine(db, leases, line)
        if facts is None:
            self._make(account, name)
            facts = db.execute(_POOL, (account, name)).fetchone()
        self.id, row = facts[0], _Row(*facts[1:])
        self.line.begin(self.id, row.waiting)
        self.pool = pool = Pool(
            name, row.bound, source=row.source, life=life, label_limits=limits, waiting=self.line
        )
        pool.belief = row.belief
        epoch, one_at_a_time, next_probe, quiet_until, pause = json.loads(row.pacing)
        pool.pacing.load((epoch, one_at_a_time, next_probe, quiet_until, pause))
        if row.error is not None and row.half_open_at is not None:
            pool.closure.restore(load_error(row.error), row.half_open_at, now)
        pool.breakers.load(self._load_breakers(row.breakers), now)
        for lease in seen:
            lease.pool = name
            pool.slots.restore(lease)

    def _make(self, account: int, name: str) -> None:
        new = Pool(name, DEFAULTS.get(name, 1))
        (quiet_until,) = self._db.execute("SELECT quiet_until FROM ledger").fetchone()
        new.pacing.rest(quiet_until)
        pacing = json.dumps(new.pacing.dump())
        values = (account, name, new.limit, new.source, new.belief, 0, 0, pacing, "[]", 0)
        columns = "(account, name, bound, source, belief, held, waiting, pacing, breakers, parked)"
        self._db.execute(f"INSERT INTO pools {columns} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 - names of this module

    def _load_breakers(self, text: str) -> list[BreakerState]:
        """Read breakers; a probe whose process does not use its slots is none."""
        found: list[BreakerState] = []
        for kind, refusal, refused, error, half_open_at, probe in json.loads(text):
            lease = None if probe is None else self._leases.find(*probe)
            if lease is not None and lease.off is not None:
                lease = None
            signature = None if refusal is None else RefusalSignature(*refusal)
            closed_by = None if error is None else load_error(error)
            found.append(BreakerState(Kind(*kind), signature, refused, closed_by, half_open_at, lease))
        return found

    # -- what is due

    def settle(self, late: frozenset[int]) -> None:
        """Do all that is due: let grants lapse that were not used, free old slots, admit those next.

        Args:
            late: The processes that have not shown themselves for long; what they queue is passed over.
        """
        pool, now = self.pool, self._now
        for lease in [lease for lease in self._in_flight() if self._lapsed(lease)]:
            pool.lapse(lease)
            lease.granted_at, lease.off = None, Stage.LAPSED
            self._leases.mark(lease, Stage.LAPSED)
        for ticket in pool.expire(now):
            self.tell([ticket], NewsKind.EXPIRED)
        while (granted := pool.admit(now)) and self._pass_over(granted, late):
            pass

    def _pass_over(self, granted: Iterable[Any], late: frozenset[int]) -> bool:
        """Tell those who got slots; take back what a process got that does not react; return whether any."""
        asleep: set[int] = set()
        for lease in granted:
            if lease.owner in late:
                asleep.add(lease.owner)
                self.pool.lapse(lease)
                lease.off = Stage.ASLEEP
                self._leases.mark(lease, Stage.ASLEEP)
            else:
                lease.granted_at = self._now
                lease.tell(NewsKind.GRANTED)
        for owner in asleep:
            queued = "pool=? AND stage=? AND owner=?"
            for lease in list(self._leases.select(queued, self.id, int(Stage.QUEUED), owner)):
                self.line.put_off(lease, Stage.ASLEEP)
        return bool(asleep)

    def _in_flight(self) -> list[Lease]:
        return [ticket for ticket in self.pool.slots if isinstance(ticket, Lease) and ticket.granted]

    def _lapsed(self, lease: Lease) -> bool:
        return lease.granted_at is not None and lease.granted_at + LAPSE <= self._now

    def orphans(self, others: Iterable[Lease]) -> list[Lease]:
        """Return those leases of a task that hold slots here, and whose processes are dead."""
        return [orphan for orphan in self._all_orphans(others) if orphan.weight]

    def _all_orphans(self, others: Iterable[Lease]) -> Iterator[Lease]:
        """Yield orphans here, those whose slots are lent included: these have none themselves."""
        for other in others:
            if other.orphan is not None and other.phase is Phase.HELD and other.pool_id == self.id:
                other.pool = self.pool.name
                yield other

    def lend(self, heir: Lease, orphans: Sequence[Lease]) -> None:
        """Let a create go on in the slots of orphans, whose rows stay until it is known what became of it.

        Refused or withdrawn, it says nothing of a task that they may have made: `take_back` follows.
        """
        for orphan in orphans[1:]:
            self.pool.take_over(orphans[0], orphan)
        heir.off = None
        self.pool.lend(heir, orphans[0], self._now)

    def take_back(self, lease: Lease, others: Iterable[Lease]) -> None:
        """Give the slots of a create back to the orphan from which it has them, if it has."""
        for orphan in self._all_orphans(others):
            if not orphan.weight:
                self.pool.slots.take_back(orphan, lease)
                return

    def settle_orphans(self, others: Iterable[Lease]) -> None:
        """End the orphans of a create: it is known that they made no task, or whose it is now."""
        for orphan in self._all_orphans(others):
            self.pool.release(orphan, self._now)

    def adopt(self, lease: Lease, orphans: Sequence[Lease]) -> None:
        """Give a lease the slots of orphans of its task, at once, and not more than these or its own.

        Their processes are dead; that of the lease looks after the task, or finds out whether there is one.
        """
        weight = sum(orphan.weight for orphan in orphans)
        for orphan in orphans[1:]:
            self.pool.release(orphan, self._now)
        lease.weight = max(lease.weight, weight)  # attached by its id alone, a task counts as one slot
        self.pool.take_over(lease, orphans[0])

    def call(self, heir: Lease) -> None:
        """Tell a ticket that queues, or would, to go on with the create of an orphan.

        The orphan keeps its slots until that begins: whoever goes on may die first, or give up.
        """
        if heir.queued:
            self.line.put_off(heir, Stage.HEIR)
        elif heir.phase is Phase.NEW:
            heir.pool = self.pool.name
            heir.life.move(Phase.HELD)  # a new ticket cannot be sent at once
            heir.life.move(Phase.SENT)
        heir.off, heir.granted_at = Stage.HEIR, None
        heir.tell(NewsKind.GRANTED)

    def pass_on(self, orphan: Lease, others: Iterable[Lease]) -> None:
        """Give an orphan's slots to a living process that came before, to its task or to create it.

        Args:
            orphan: Its process was found dead just now.
            others: All leases of the same task.
        """
        here = [other for other in others if other.orphan is None and other.pool_id == self.id]
        for heir in here:
            if heir.phase is Phase.HELD and heir.owner != orphan.owner:
                orphan.pool = heir.pool = self.pool.name
                self.pool.take_over(heir, orphan)
                return
        for heir in here:
            if heir.phase is Phase.QUEUED and heir.owner != orphan.owner:
                self.call(heir)

    def why_never(self, ticket: Ticket) -> str | None:
        """Return why a ticket can never have its slots, as its news say it; None: it can."""
        if not self.pool.fits_ever(ticket.weight):
            return HEAVY
        labels = self.pool.labels
        return None if labels.fits_ever(ticket) else f"{LABEL} {labels.limits[ticket.label]}"

    def tell(self, tickets: Iterable[Any], news: NewsKind, error: str | None = None) -> None:
        """Leave a message for those who own tickets."""
        for lease in tickets:
            lease.tell(news, error)

    def write(self) -> None:
        """Write the facts of the pool."""
        pool, closure = self.pool, self.pool.closure
        lapses = [lease.granted_at + LAPSE for lease in self._in_flight() if lease.granted_at is not None]
        when = min([pool.next_time(), *lapses])
        self._db.execute(
            "UPDATE pools SET bound=?, source=?, belief=?, held=?, waiting=?, pacing=?, breakers=?,"
            " parked=?, error=?, half_open_at=?, next_time=? WHERE id=?",
            (
                *(pool.limit, pool.source, pool.belief, pool.held, self.line.count),
                json.dumps(pool.pacing.dump()),
                json.dumps([_plain_breaker(state) for state in pool.breakers.dump()]),
                self.line.parked,
                None if closure.error is None else dump_error(closure.error),
                None if closure.error is None else closure.half_open_at,
                None if when == math.inf else when,
                self.id,
            ),
        )


def _plain_breaker(state: BreakerState) -> list[Any]:
    error = None if state.error is None else dump_error(state.error)
    probe = state.probe.name if isinstance(state.probe, Lease) else None
    return [state.kind, state.refusal, state.refused, error, state.half_open_at, probe]


def _holds(text: str) -> list[Hold]:
    """Return the holds in the breakers of a pool."""
    return [
        Hold(Kind(*kind), RefusalSignature(*refusal), load_error(error), len(refused), half_open_at)
        for kind, refusal, refused, error, half_open_at, _ in json.loads(text)
        if error is not None and refusal is not None
    ]


def ask_pool_facts(db: LedgerConnection, account: int) -> LedgerRows:
    """Begin to read all pools of an account; `pool_facts` returns them."""
    query = f"SELECT name, next_time, {_FACTS} FROM pools WHERE account=? ORDER BY id"  # noqa: S608 - as above
    return db.execute(query, (account,))


def pool_facts(rows: LedgerRows) -> dict[str, PoolFacts]:
    """Return pools by name."""
    found: dict[str, PoolFacts] = {}
    for name, next_time, *facts in rows:
        row = _Row(*facts)
        found[name] = PoolFacts(
            row.bound,
            row.source,
            row.belief,
            row.held,
            row.waiting,
            None if row.error is None else load_error(row.error),
            math.inf if row.half_open_at is None else row.half_open_at,
            math.inf if next_time is None else max(next_time, 0.0),
            row.parked,
            _holds(row.breakers),
        )
    return found
