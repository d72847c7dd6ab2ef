"""The waiting line of a pool in a shared ledger: `core.queue.WaitingLine`, with tables in place of lists.

Every step reads and writes a few rows through indexes, so that its cost does not grow with the queue.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.queue import AdmissionError, Kind, Phase
from kling_async.core.waiting_line import ASIDE_MAX
from kling_async.orchestrator.ledger.facts import Stage
from kling_async.orchestrator.ledger.leases import Lease

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kling_async.core.queue import Ticket
    from kling_async.orchestrator.ledger.connection import LedgerConnection, LedgerRows
    from kling_async.orchestrator.ledger.leases import LeaseTable

__all__ = ["LINE_TABLES", "StoredLine", "ask_line", "places"]

LINE_TABLES: Final = (
    """CREATE TABLE labels (
        pool INTEGER NOT NULL, priority INTEGER NOT NULL, label TEXT NOT NULL, turn INTEGER NOT NULL,
        waiting INTEGER NOT NULL, head_turn INTEGER, head_number INTEGER, head_owner INTEGER,
        PRIMARY KEY (pool, priority, label)) WITHOUT ROWID""",
    "CREATE INDEX heads ON labels (pool, priority DESC, head_turn, head_number) WHERE waiting > 0",
    """CREATE TABLE shut (
        pool INTEGER NOT NULL, label TEXT NOT NULL, PRIMARY KEY (pool, label)) WITHOUT ROWID""",
    """CREATE TABLE turns (
        pool INTEGER NOT NULL, priority INTEGER NOT NULL, turn INTEGER NOT NULL,
        PRIMARY KEY (pool, priority)) WITHOUT ROWID""",
)

_PLACES: Final = """
    WITH placed AS (
        SELECT l.owner, l.number, l.priority, CASE WHEN l.turn > 0 THEN l.turn ELSE b.turn - 1
            + row_number() OVER (PARTITION BY l.priority, l.label ORDER BY l.number)
            - sum(CASE WHEN l.turn > 0 THEN 1 ELSE 0 END) OVER (PARTITION BY l.priority, l.label) END AS place
        FROM leases l JOIN labels b ON b.pool = l.pool AND b.priority = l.priority AND b.label = l.label
        WHERE l.pool = ? AND l.stage = ?),
    ranked AS (
        SELECT owner, number, row_number() OVER (ORDER BY priority DESC, place, number) - 1 AS before
        FROM placed)
    SELECT number, before FROM ranked WHERE owner = ?"""
"""How many go before each ticket of a process: labels take turns, and those sent before keep theirs."""

_SET_TURN: Final = (
    "INSERT INTO turns VALUES (?, ?, ?) ON CONFLICT (pool, priority) DO UPDATE SET turn=excluded.turn"
)
_SET_LABEL: Final = (
    "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (pool, priority, label) DO UPDATE SET"
    " turn=excluded.turn, waiting=excluded.waiting, head_turn=excluded.head_turn,"
    " head_number=excluded.head_number, head_owner=excluded.head_owner"
)

_SWEEP: Final = 64
"""Turns between two looks through the labels that are remembered although nobody queues with them: there are
not many more than so many."""


_OFF: Final = (
    "SELECT stage, count(*) FROM leases WHERE pool=(SELECT id FROM pools WHERE account=? AND name=?)"
    " AND stage IN (?, ?) GROUP BY stage"
)
_SHUT: Final = "SELECT label FROM shut WHERE pool=(SELECT id FROM pools WHERE account=? AND name=?)"


class _StoredLabel(NamedTuple):
    """The tickets of one label in one priority, in short."""

    turn: int
    """The turn of its next ticket that never had one."""
    waiting: int


def ask_line(db: LedgerConnection, account: int, name: str) -> tuple[LedgerRows, LedgerRows]:
    """Begin to read the line of a pool: a `StoredLine` takes this."""
    off = db.execute(_OFF, (account, name, int(Stage.ASIDE), int(Stage.PARKED)))
    return off, db.execute(_SHUT, (account, name))


class StoredLine:
    """The tickets that wait for one pool, once it has begun; within one transaction.

    Args:
        db: Within a transaction.
        leases: The rows that stand for tickets.
        asked: By `ask_line`.
    """

    def __init__(
        self, db: LedgerConnection, leases: LeaseTable, asked: tuple[LedgerRows, LedgerRows]
    ) -> None:
        self._db = db
        self._leases = leases
        self._pool = 0
        self.count = 0
        """How many wait."""
        self._off = {Stage(stage) for stage, _ in asked[0].fetchall()}
        """ASIDE and PARKED, where any ticket may be so."""
        self._shut = {label for (label,) in asked[1].fetchall()}
        self._turns: dict[int, int] = {}
        """The last turns that were served, by priority, as far as read."""
        self._labels: dict[tuple[int, str], _StoredLabel | None] = {}
        """Labels by priority and name, as far as read."""

    def begin(self, pool: int, count: int) -> None:
        """Take the row of the pool, and how many wait."""
        self._pool, self.count = pool, count

    def __iter__(self) -> Iterator[Ticket]:
        """All that wait, in no particular order."""
        for stage in (Stage.QUEUED, Stage.ASIDE, Stage.PARKED):
            yield from self._leases.select("pool=? AND stage=?", self._pool, int(stage))

    def put(self, ticket: Ticket) -> None:
        """Add a ticket: a new one behind those of its label, one that was sent in its old place."""
        lease = _lease_of(ticket)
        self.count += lease.phase not in (Phase.ASIDE, Phase.PARKED)
        lease.life.move(Phase.QUEUED)
        lease.off = lease.granted_at = lease.back_at = None
        self._leases.write(lease)
        label = self._label(lease)
        if label is None or not label.waiting:  # it must not push in before labels that have waited
            turn = max(self._turn(lease.priority), 1 if label is None else label.turn)
            label = _StoredLabel(turn, 0)
        self._show(lease.priority, lease.label, label._replace(waiting=label.waiting + 1))
        self.open(lease.label)

    def step_aside(self, ticket: Ticket, now: float) -> None:
        """Add a ticket that was sent and lets those behind it pass for a pause."""
        lease = _lease_of(ticket)
        lease.life.move(Phase.ASIDE)
        lease.granted_at = None
        lease.back_at, lease.aside = now + lease.aside, min(ASIDE_MAX, lease.aside * 2)
        self.count += 1
        self._off.add(Stage.ASIDE)
        self._leases.write(lease)

    def bring_back(self, now: float) -> None:
        """Put those whose pause is over back in their places."""
        if Stage.ASIDE not in self._off:
            return
        due = "pool=? AND stage=? AND back_at<=? ORDER BY back_at, number"
        for lease in list(self._leases.select(due, self._pool, int(Stage.ASIDE), now)):
            self.put(lease)

    def next_return(self) -> float:
        """Return when the next pause is over; inf: nobody stepped aside."""
        if Stage.ASIDE not in self._off:
            return math.inf
        query = "SELECT min(back_at) FROM leases WHERE pool=? AND stage=?"
        (when,) = self._db.execute(query, (self._pool, int(Stage.ASIDE))).fetchone()
        return math.inf if when is None else float(when)

    # -- parked

    @property
    def parked(self) -> int:
        """How many are parked."""
        if Stage.PARKED not in self._off:
            return 0
        query = "SELECT count(*) FROM leases WHERE pool=? AND stage=?"
        return int(self._db.execute(query, (self._pool, int(Stage.PARKED))).fetchone()[0])

    @property
    def parked_kinds(self) -> list[Kind]:
        """The kinds of which tickets are parked."""
        if Stage.PARKED not in self._off:
            return []
        query = "SELECT DISTINCT catalog_name, model, kind_pool FROM leases WHERE pool=? AND stage=?"
        found = self._db.execute(query, (self._pool, int(Stage.PARKED))).fetchall()
        return [Kind(*row) for row in found]

    def park(self, head: Ticket) -> None:
        """Take the head out of the line until creates of its kind are held no longer."""
        lease, label = _lease_of(head), self._label(head)
        if lease.kind is None or label is None:
            raise AdmissionError(f"{head} has no kind to be parked with")
        lease.life.move(Phase.PARKED)
        self._off.add(Stage.PARKED)
        self._take_out(lease, Stage.PARKED, label)
        self.count += 1  # it waits still

    def parked_of(self, kind: Kind) -> Iterator[Ticket]:
        """Iterate over the parked tickets of a kind, in the order in which they come."""
        return iter(self._parked(kind, " ORDER BY priority DESC, number"))

    def unpark_first(self, tickets: Iterable[Ticket]) -> Ticket | None:
        """Put the first of some parked tickets back in its place; None: there are none."""
        first = next(iter(tickets), None)
        if first is not None:
            self.put(first)
        return first

    def unpark(self, kind: Kind) -> None:
        """Put all parked tickets of a kind back in their places."""
        for lease in self._parked(kind):
            self.put(lease)

    def _parked(self, kind: Kind, order: str = "") -> list[Lease]:
        condition = f"pool=? AND stage=? AND catalog_name=? AND model=?{order}"
        return list(self._leases.select(condition, self._pool, int(Stage.PARKED), kind.endpoint, kind.model))

    # -- labels at their limit

    def shut(self, label: str) -> None:
        """Pass over the tickets of a label, in all priorities: it has all the slots that it may have."""
        self._shut.add(label)
        self._db.execute("INSERT INTO shut VALUES (?, ?) ON CONFLICT DO NOTHING", (self._pool, label))

    def shut_labels(self) -> list[str]:
        """Return the labels that are passed over."""
        return list(self._shut)

    def open(self, label: str) -> None:
        """Let a label take its turns again; harmless for one that does."""
        if label not in self._shut:
            return
        self._shut.discard(label)
        self._db.execute("DELETE FROM shut WHERE pool=? AND label=?", (self._pool, label))
        query = "SELECT priority, turn, waiting FROM labels WHERE pool=? AND label=? AND waiting>0"
        for priority, turn, waiting in self._db.execute(query, (self._pool, label)).fetchall():
            # the turns that it missed are gone: it may not take them one after the other now
            self._show(priority, label, _StoredLabel(max(turn, self._turn(priority)), waiting))

    # -- in turn

    def head(self) -> Lease | None:
        """Return the ticket whose turn it is."""
        if not self.count:
            return None
        query = (
            "SELECT head_owner, head_number FROM labels WHERE pool=? AND waiting>0"
            " AND label NOT IN (SELECT label FROM shut WHERE pool=?)"
            " ORDER BY priority DESC, head_turn, head_number LIMIT 1"
        )
        found = self._db.execute(query, (self._pool, self._pool)).fetchone()
        return None if found is None else self._leases.find(*found)

    def serve(self, ticket: Ticket) -> None:
        """Take out the head: it is sent."""
        lease, label = _lease_of(ticket), self._label(ticket)
        assert label is not None  # noqa: S101 - it stands in its label
        turn = label.turn
        if not lease.turn:
            lease.turn, turn = turn, turn + 1
        served = max(self._turn(lease.priority), lease.turn)
        self._turns[lease.priority] = served
        self._db.execute(_SET_TURN, (self._pool, lease.priority, served))
        self._take_out(lease, Stage.SENT, _StoredLabel(turn, label.waiting))

    def put_off(self, lease: Lease, stage: Stage) -> None:
        """Take out a ticket, to be ASLEEP or HEIR; `put` brings it back to its place."""
        label = self._label(lease)
        lease.life.move(Phase.SENT)
        lease.off = stage
        if label is not None:
            self._take_out(lease, stage, label)
            self.open(lease.label)

    def leave(self, ticket: Ticket) -> None:
        """Take out any ticket for good."""
        lease = _lease_of(ticket)
        label = self._label(lease) if lease.phase is Phase.QUEUED else None
        lease.life.move(Phase.GONE)
        if label is None:
            self.count -= 1
        else:
            self._take_out(lease, Stage.GONE, label)
        self.open(lease.label)

    def _take_out(self, lease: Lease, stage: Stage, label: _StoredLabel) -> None:
        """Take a ticket out of its label."""
        self.count -= 1
        self._leases.mark(lease, stage)
        self._show(lease.priority, lease.label, label._replace(waiting=label.waiting - 1))

    def position(self, ticket: Ticket) -> int:
        """Return how many tickets go before one that waits, if no other comes."""
        lease = _lease_of(ticket)
        return places(self._db, self._pool, lease.owner).get(lease.sequence, 0)

    def oldest(self) -> Ticket | None:
        """Return the ticket that arrived first of all that wait, whoever's turn it is."""
        return min(self, key=lambda ticket: ticket.sequence, default=None)

    # -- within

    def _turn(self, priority: int) -> int:
        """Return the last turn that was served in a priority."""
        if priority not in self._turns:
            query = "SELECT turn FROM turns WHERE pool=? AND priority=?"
            found = self._db.execute(query, (self._pool, priority)).fetchone()
            self._turns[priority] = 0 if found is None else int(found[0])
        return self._turns[priority]

    def _label(self, ticket: Ticket) -> _StoredLabel | None:
        key = ticket.priority, ticket.label
        if key not in self._labels:
            query = "SELECT turn, waiting FROM labels WHERE pool=? AND priority=? AND label=?"
            found = self._db.execute(query, (self._pool, *key)).fetchone()
            self._labels[key] = None if found is None else _StoredLabel(*found)
        return self._labels[key]

    def _show(self, priority: int, name: str, label: _StoredLabel) -> None:
        """Write a label, with the ticket whose turn it is among its own."""
        key = (self._pool, priority, name)
        query = (
            "SELECT turn, number, owner FROM leases WHERE pool=? AND stage=? AND priority=? AND label=?"
            " ORDER BY number, owner LIMIT 1"
        )
        head = self._db.execute(query, (self._pool, int(Stage.QUEUED), *key[1:])).fetchone()
        turn, number, owner = (None, None, None) if head is None else head
        if head is None and label.turn <= self._turn(priority):  # its turn says nothing any more
            self._db.execute("DELETE FROM labels WHERE pool=? AND priority=? AND label=?", key)
            self._labels[priority, name] = None
            return
        label = label._replace(waiting=0 if head is None else label.waiting)
        self._labels[priority, name] = label
        row = (*key, *label, turn or label.turn, number, owner)
        self._db.execute(_SET_LABEL, row)
        if head is None and not label.turn % _SWEEP:
            self._sweep()

    def _sweep(self) -> None:
        """Forget labels that nobody queues with and whose turn has come: a caller may use many."""
        idle = "FROM labels WHERE pool=? AND waiting=0"
        (number,) = self._db.execute(f"SELECT count(*) {idle}", (self._pool,)).fetchone()
        if number > _SWEEP:
            passed = "turn <= (SELECT t.turn FROM turns t WHERE t.pool=labels.pool"
            passed += " AND t.priority=labels.priority)"
            self._db.execute(f"DELETE {idle} AND {passed}", (self._pool,))
            self._labels.clear()


def _lease_of(ticket: Ticket) -> Lease:
    assert isinstance(ticket, Lease)  # noqa: S101 - a stored pool is given leases only
    return ticket


def places(db: LedgerConnection, pool: int, owner: int) -> dict[int, int]:
    """Return how many tickets go before each one that a process queues for a pool, by its number."""
    return dict(db.execute(_PLACES, (pool, int(Stage.QUEUED), owner)))
