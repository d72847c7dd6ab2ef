"""The store of a shared ledger in PostgreSQL, for processes on many machines. Methods block.

Times are the server's. A process lives as long as it shows itself: it is dead when its last sign of life is a
lease old, or a beat old and its connection is gone. What was its own is then held on, never free: see
`Book.bury`. All transactions on one account follow each other, by a lock on its row.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import psycopg

from kling_async.orchestrator.ledger.connection import LedgerLost
from kling_async.orchestrator.ledger.facts import BEAT, LATE, LEASE
from kling_async.orchestrator.ledger.mailbox import Letter
from kling_async.orchestrator.ledger.membership import Membership
from kling_async.orchestrator.ledger.postgres_database import PostgresDatabase, faults
from kling_async.orchestrator.ledger.postgres_tables import LOCKS, VERSION, make_tables, need_version
from kling_async.orchestrator.ledger.server_time import ServerTime
from kling_async.orchestrator.ledger.steps import Enter, Known, Occupy, TaskMade, Want

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kling_async.orchestrator.ledger.connection import LedgerRows
    from kling_async.orchestrator.ledger.server_time import SteeredClock
    from kling_async.orchestrator.ledger.steps import Step, Synced

__all__ = ["Joining", "PostgresLedger"]

_CHANNEL: Final = "kling_slots_"
"""Each process listens to the channel of its own row; a notification says nothing but that there are news."""
_AT_ONCE: Final = 100
"""Steps that one transaction takes: some tenths of a second, for which the others wait."""
_LABEL_MAX: Final = 500
_FOR_THE_ASKER: Final = (TaskMade, Known, Want, Occupy)
"""Steps that change what there is to ask about."""
_SEND: Final = "INSERT INTO letters (owner, body) SELECT id, ? FROM owners WHERE id=?"
_LOCK: Final = "SELECT (SELECT oldest_reader FROM schema) FROM accounts WHERE id=? FOR UPDATE"
_CONNECTED: Final = (
    "SELECT 1 FROM pg_locks l WHERE l.locktype='advisory' AND l.objsubid=2 AND l.granted"  # noqa: S608
    f" AND l.classid={LOCKS} AND l.objid=owners.id::oid"
    " AND l.database=(SELECT oid FROM pg_database WHERE datname=current_database())"
)
"""Tells whether a process is connected: its session holds a lock."""


class Joining(NamedTuple):
    """Said by a process when it becomes one of those that share an account."""

    base_url: str
    account: str
    limits: Mapping[str, int]
    label_limits: Mapping[str, int]
    life: float


class _Taken(NamedTuple):
    """Steps that transactions have taken, and what these have to tell, while nobody has heard it."""

    steps: int = 0
    """How many, from the first on."""
    synced: Synced | None = None


class _Begun(NamedTuple):
    """A transaction that has begun: the account is locked, and this process has shown a sign of life."""

    now: float
    """By the server's clock."""
    dead: Sequence[int]
    """Processes to bury."""
    late: frozenset[int]
    """Processes that have not shown themselves for long."""
    before: _Taken | None = None
    """The last transaction, if its commit was not answered and came through all the same. This is known for
    sure: until it ends it keeps the lock that is held now."""
    revived: bool = False
    """Whether others took this process for dead."""


class PostgresLedger:
    """The ledger, as one process uses it for one account; `join` opens it, or the first `sync`.

    Args:
        dsn: Where the database is.
        joining: What this process says.
        clock: Of this process; kept in step with the server's.
        time: Reads the server's.
    """

    def __init__(
        self,
        dsn: str,
        joining: Joining,
        clock: SteeredClock,
        time: ServerTime = ServerTime(),  # noqa: B008
    ) -> None:
        self._dsn = dsn
        labels = {_short(label): most for label, most in joining.label_limits.items()}
        self._joining = joining._replace(label_limits=labels)
        self._clock = clock
        self._time = time
        self._serial = 0
        self._taken = _Taken()
        self._unsure: dict[int, _Taken] = {}
        """What is taken if a transaction came through whose commit was not answered, by serials."""
        self._db: PostgresDatabase | None = None
        self._joined = False
        self._own: Membership

    def join(self) -> None:
        """Become one of the processes that use the ledger, unless this is one.

        Raises:
            ConfigurationError: The database cannot be used; the message says why.
            LedgerUnreachable: It cannot be reached at the moment.
        """
        with faults(self._dsn, joined=self._joined):
            self._connected()

    def _enter(self, db: PostgresDatabase) -> Membership:
        """Write down that this process uses the ledger, and what it knows of limits."""
        joining = self._joining
        self._measure(db)
        with db.transaction():
            key = joining.base_url, joining.account
            db.execute("INSERT INTO accounts (base_url, account) VALUES (?, ?) ON CONFLICT DO NOTHING", key)
            account = "SELECT id FROM accounts WHERE base_url=? AND account=? FOR UPDATE"
            (account_row,) = db.execute(account, key).fetchone()
            new = f"INSERT INTO owners (account, name, beat, serial) VALUES (?, ?, {self._time.now}, 0)"  # noqa: S608
            owner, now = db.execute(f"{new} RETURNING id, beat", (account_row, _name())).fetchone()
            own = Membership(db, account_row, owner, joining.life)
            dead, _ = _dead_and_late(self._ask_silent(db, own))
            told = own.bury(dead, now)
            book = own.settle_limits(now, joining.limits, joining.label_limits)
            self._notify(db, told | book.told, but=owner)
        return own

    def _ask_silent(self, db: PostgresDatabase, own: Membership) -> LedgerRows:
        """Begin to look for processes that have not shown themselves: who is late, and who is dead.

        One that has nothing to lose lives while it is connected: what it said of limits counts.
        """
        now = self._time.now
        cut_off = f"beat<{now}-{LEASE} AND EXISTS (SELECT 1 FROM leases l WHERE l.owner=owners.id)"  # noqa: S608
        query = (
            # after a start of the server nobody was able to show a sign of life, and nobody is connected
            f"SELECT id, beat<{now}-{LATE}, {self._time.started}<{now}-{LEASE} AND ({cut_off}"  # noqa: S608
            f" OR NOT EXISTS ({_CONNECTED})) FROM owners WHERE account=? AND id<>? AND beat<{now}-{BEAT}"
        )
        return db.execute(query, (own.account, own.owner))

    def _measure(self, db: PostgresDatabase) -> None:
        """Compare the clocks, once by themselves: nothing is waited for but the answer."""
        before = self._clock()
        (now,) = db.execute(f"SELECT {self._time.now}").fetchone()
        self._clock.compare(before, now, self._clock())

    def _attend(self, db: PostgresDatabase) -> None:
        """Show the others that this process is connected, and hear of news."""
        db.execute(f"SELECT pg_advisory_lock_shared({LOCKS}, {self._own.owner})")
        db.execute(f"LISTEN {_CHANNEL}{self._own.owner}")

    # -- use

    def sync(self, steps: Sequence[Step], *, demand: bool) -> Synced:
        """Take steps, and whatever is due; return what this process has to hear.

        Many steps are taken in several transactions: others have the account between, and show themselves.

        Args:
            steps: What has happened here, in order; those that failed to come through before stand first.
            demand: Whether anybody here waits for slots or for the end of a task.

        Raises:
            LedgerUnreachable: It is not known whether anything has changed: the next call finds out.
            LedgerLost: The tables were removed.
            ConfigurationError: The database cannot be used.
        """
        with faults(self._dsn, joined=self._joined):
            synced = self._transact(steps, demand=demand)
            while self._taken.steps < len(steps):
                synced = self._transact(steps, demand=demand)
            self._taken = _Taken()
            db, places = self._connected(), dict[int, int]()
            with contextlib.suppress(psycopg.Error):  # the next call finds the connection cut
                places = self._own.places(synced.now)
        return self._clock.to_here(synced._replace(places=places, stale=db.take_notified()))

    def _transact(self, steps: Sequence[Step], *, demand: bool) -> Synced:
        """Take some steps in a transaction; return what is to be heard so far, by the server's time."""
        db, before = self._connected(), self._clock()
        with db.transaction():
            begun = self._begin(db)
            self._clock.compare(before, begun.now, self._clock())
            done, earlier = begun.before or self._taken
            new = steps[done : done + _AT_ONCE]
            synced, told = self._take(db, begun, new, demand=demand)
            synced = synced if earlier is None else _both(earlier, synced)
            self._notify(db, told, but=self._own.owner)
            self._unsure[self._serial] = taken = _Taken(done + len(new), synced)
        self._unsure.clear()
        self._taken = taken
        return synced

    def _begin(self, db: PostgresDatabase) -> _Begun:
        """Lock the account, show a sign of life, and look at those of others."""
        own, now = self._own, self._time.now
        self._serial += 1
        locked = db.execute(_LOCK, (own.account,))
        last = db.execute("SELECT serial FROM owners WHERE id=?", (own.owner,))
        beat = f"UPDATE owners SET beat={now}, serial=? WHERE id=? RETURNING beat"  # noqa: S608
        beaten = db.execute(beat, (self._serial, own.owner))
        silent = self._ask_silent(db, own)
        oldest = locked.fetchone()
        if oldest is None:
            raise LedgerLost("the rows of the slot ledger were removed in use; they are made anew")
        if oldest[0] > VERSION:
            need_version(db)
        serial, shown, (dead, late) = last.fetchone(), beaten.fetchone(), _dead_and_late(silent)
        if shown is None:
            return _Begun(self._revive(db), dead, late, revived=True)
        return _Begun(shown[0], dead, late, self._unsure.get(serial[0]))

    def _revive(self, db: PostgresDatabase) -> float:
        """Be one of the living again: this process was cut off for a lease."""
        own, joining = self._own, self._joining
        new = f"INSERT INTO owners (id, account, name, beat, serial) VALUES (?, ?, ?, {self._time.now}, ?)"  # noqa: S608
        values = own.owner, own.account, _name(), self._serial
        (now,) = db.execute(f"{new} RETURNING beat", values).fetchone()
        db.execute("UPDATE leases SET orphan=NULL WHERE owner=?", (own.owner,))
        own.restate_limits(now, joining.limits, joining.label_limits)
        return float(now)

    def _take(
        self, db: PostgresDatabase, begun: _Begun, steps: Sequence[Step], *, demand: bool
    ) -> tuple[Synced, set[int]]:
        """Take steps; return what is to be heard, and the processes that have news."""
        own = self._own
        told = self._bury(db, begun.dead, begun.now)
        book = own.book_of(begun.now, begun.late)
        book.wake()
        book.take(self._written(step) for step in steps)
        book.finish()
        came = db.execute("DELETE FROM letters WHERE owner=? RETURNING number, body", (own.owner,))
        heard = own.heard(begun.now, book.confirmed, demand=demand)
        synced = heard._replace(
            reads=book.reads, missing=book.missing, letters=_letters(came), revived=begun.revived
        )
        for owner, letter in book.letters:
            db.execute(_SEND, (msgspec.json.encode(letter), owner))
        if own.asker is not None and any(isinstance(step, _FOR_THE_ASKER) for step in steps):
            told = told | {own.asker}
        return synced, told | book.told

    def _written(self, step: Step) -> Step:
        """Return a step as it is written down: by the server's time, its label no longer than fits."""
        step = self._clock.to_server(step)
        return step._replace(label=_short(step.label)) if isinstance(step, Enter | Occupy) else step

    def _bury(self, db: PostgresDatabase, owners: Sequence[int], now: float) -> set[int]:
        """Make orphans of the tasks of processes, and erase their letters; return who has news of it."""
        told = self._own.bury(owners, now)
        if owners:
            db.execute("DELETE FROM letters WHERE owner NOT IN (SELECT id FROM owners)")
        return told

    # -- news

    def _notify(self, db: PostgresDatabase, told: Iterable[int], *, but: int) -> None:
        """Wake processes that have news, once these are committed."""
        for owner in sorted({*told} - {but}):
            db.execute(f"NOTIFY {_CHANNEL}{owner}")

    def look(self) -> None:
        """Return nothing: the server tells when there are news."""

    def places(self, now: float) -> dict[int, int]:
        """Return how many go before each ticket of this process; nothing if that was asked a moment ago."""
        found = self._own.places(now)
        return {self._clock.number_here(number): before for number, before in found.items()}

    def fileno(self) -> int | None:
        """Return the descriptor that becomes readable when there are news, or the server is gone."""
        return None if self._db is None else self._db.fileno()

    # -- connections

    def _connected(self) -> PostgresDatabase:
        """Return the connection, made anew if it was cut; the first time, join."""
        if self._db is None or self._db.is_cut() or not self._joined:
            self.give_up()
            self._db = db = PostgresDatabase(self._dsn)
            try:
                db.begin()
                if self._joined:
                    need_version(db)
                    self._own = Membership(db, self._own.account, self._own.owner, self._joining.life)
                else:
                    make_tables(db)
                    self._own = self._enter(db)
                self._attend(db)
                self._joined = True
            except BaseException:
                db.close()
                raise
        return self._db

    def interrupt(self) -> None:
        """End an errand whose answer is overdue, from another thread."""
        if self._db is not None:
            self._db.interrupt()

    def leave(self, steps: Sequence[Step]) -> None:
        """Take the last steps, and leave: what still runs becomes an orphan."""
        if self._joined:
            with contextlib.suppress(Exception), faults(self._dsn, joined=True):
                self._transact(steps, demand=False)
                while self._taken.steps < len(steps):
                    self._transact(steps, demand=False)
                db = self._connected()
                with db.transaction():
                    begun = self._begin(db)
                    self._notify(db, self._bury(db, [self._own.owner], begun.now), but=self._own.owner)
        self.give_up()

    def give_up(self) -> None:
        """Close the connection; write nothing."""
        if self._db is not None:
            self._db.close()

    def abandon(self) -> None:
        """Close the connection as the end of this process would: the others find out that it is dead."""
        self.give_up()


def _name() -> str:
    """Name this process, for those who look who holds slots."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _short(label: str) -> str:
    """Return a label if it fits into an index, else its beginning and its hash."""
    if len(label) <= _LABEL_MAX:
        return label
    return f"{label[:100]}... {hashlib.sha256(label.encode('utf-8', 'replace')).hexdigest()}"


def _dead_and_late(silent: LedgerRows) -> tuple[list[int], frozenset[int]]:
    """Return which processes are dead, and which of the others late."""
    found = silent.fetchall()
    dead = [owner for owner, _, is_dead in found if is_dead]
    return dead, frozenset(owner for owner, is_late, _ in found if is_late) - {*dead}


def _letters(rows: LedgerRows) -> list[Letter]:
    """Return the letters of rows, in the order in which they were written."""
    letters: list[Letter] = []
    for _, body in sorted(rows.fetchall()):
        with contextlib.suppress(msgspec.DecodeError):  # of another version: the news say enough
            letters.append(msgspec.json.decode(body, type=Letter))
    return letters


def _both(first: Synced, then: Synced) -> Synced:
    """Return what two transactions have brought, as if they had been one."""
    return then._replace(
        news=[*first.news, *then.news],
        confirmed={**first.confirmed, **then.confirmed},
        reads=[*first.reads, *then.reads],
        missing=[*first.missing, *then.missing],
        revived=first.revived or then.revived,
        letters=[*first.letters, *then.letters],
    )
