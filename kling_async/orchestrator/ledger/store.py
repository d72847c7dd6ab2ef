"""The store of a shared ledger: one SQLite file, the processes that use it, and its clock. Methods block.

Times are those of the system-wide monotonic clock, which all processes of a machine share, and which begins
anew when the machine does. A process lives as long as it holds the lock on a file of its own: the system
releases it however the process ends, and a stopped process keeps it. How late a process is decides who asks
about tasks and who is passed over for a while, never whose slots are free.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from kling_async.core.pool_sizes import DEFAULTS
from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.book import Book
from kling_async.orchestrator.ledger.database import begin, identity_of, open_database, passes
from kling_async.orchestrator.ledger.errands import LedgerLost
from kling_async.orchestrator.ledger.facts import HEAVY, LABEL, LATE, NewsKind, Stage, TaskFacts
from kling_async.orchestrator.ledger.lines import places
from kling_async.orchestrator.ledger.places import refuse_network
from kling_async.orchestrator.ledger.plain_errors import load_error
from kling_async.orchestrator.ledger.presence import Presence
from kling_async.orchestrator.ledger.steps import HeldTask, LimitLabels, Resize, Synced, TicketNews
from kling_async.orchestrator.ledger.stored_pool import pool_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from kling_async.orchestrator.ledger.steps import Step

__all__ = ["LedgerFile"]

_LOOK_AT_LOCKS: Final = 1.0
"""Seconds between two looks whether other processes are dead."""
_AHEAD: Final = 60.0
"""Seconds that a time written down may lie ahead: turns to read are given some seconds in advance."""
_GATHERING: Final = 1.5
"""Seconds for which a new file grants nothing where others live that used another file before: within a
second they find out, and write down what they hold."""
_PLACES_APART: Final = 0.2
"""Least seconds between two looks at the places of the tickets of this process."""
_PLACES_SHARE: Final = 20
"""The time between two such looks, in times of how long one takes."""
_DOUBT: Final = 10.0
"""Seconds until an orphan whose create was on its way is asked about: a task shows up a moment after it was
made."""


class LedgerFile:
    """The open ledger, as one process uses it for one account.

    Args:
        path: The database file; made if there is none.
        base_url: Address of the API.
        account: Names the key.
        limits: Sizes of pools that the caller knows.
        label_limits: Most slots of labels; those of the process that started last count for all.
        life: Seconds after which the slots of a task stop counting.
        clock: The system-wide monotonic clock.
        boot: Names this run of the machine.

    Raises:
        ConfigurationError: The file cannot be used; the message says why.
        sqlite3.Error: It cannot be used at the moment.
        OSError: Likewise.
    """

    def __init__(
        self,
        path: Path,
        base_url: str,
        account: str,
        *,
        limits: Mapping[str, int],
        label_limits: Mapping[str, int],
        life: float,
        clock: Callable[[], float],
        boot: str,
    ) -> None:
        # one path for all, whatever links lead here: files that lie beside are found by it
        self.path = path = path.resolve()
        refuse_network(path.parent)
        self._life = life
        self._clock = clock
        self._version = -1
        self._looked_at_locks = self._next_places = -math.inf
        self._presence = Presence(path)
        self._db: sqlite3.Connection
        try:
            self._db = open_database(path)
            self._owner = self._join(base_url, account, limits, label_limits, boot)
            self._files = identity_of(self.path)
        except BaseException as error:
            self.give_up()
            if not isinstance(error, sqlite3.Error | OSError) or passes(error):
                raise
            reason = f"slots: the ledger {str(path)!r} cannot be used: {error}"
        else:
            return
        raise ConfigurationError(reason)

    def give_up(self) -> None:
        """Close the file and remove this process's own ones; write nothing."""
        self.abandon()
        self._presence.remove(self._presence.token)

    # -- opening

    def _join(
        self,
        base_url: str,
        account: str,
        limits: Mapping[str, int],
        label_limits: Mapping[str, int],
        boot: str,
    ) -> int:
        """Become one of the processes that use the ledger."""
        self._presence.renew()
        db, now = self._db, self._clock()
        begin(db, self.path)
        last = db.execute("SELECT boot FROM ledger").fetchone()
        if last is None or last[0] != boot or self._clock_went_back(now):
            others = last is None and self._presence.has_company()
            self._begin_anew(boot, now, now + _GATHERING if others else 0.0)
        db.execute(
            "INSERT INTO accounts (base_url, account) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (base_url, account),
        )
        query = "SELECT id FROM accounts WHERE base_url=? AND account=?"
        (self._account,) = db.execute(query, (base_url, account)).fetchone()
        new = "INSERT INTO owners (account, token, beat) VALUES (?, ?, ?)"
        owner = db.execute(new, (self._account, self._presence.token, now)).lastrowid or 0
        self._owner = owner
        self._bury_dead(now)
        book = self._book(now)
        alone = self._is_alone()
        if label_limits or alone:
            book.take([LimitLabels(label_limits)])
        book.take(self._outdated_limits(limits) if alone else ())
        book.take(Resize(name, limit, "caller") for name, limit in limits.items())
        book.finish()
        db.execute("COMMIT")
        return owner

    def _is_alone(self) -> bool:
        """Tell whether no other process uses the ledger for this account."""
        others = "SELECT 1 FROM owners WHERE account=? AND id<>? LIMIT 1"
        return self._db.execute(others, (self._account, self._owner)).fetchone() is None

    def _outdated_limits(self, limits: Mapping[str, int]) -> list[Resize]:
        """Return the sizes to go back to, since no living process says what earlier ones said."""
        query = "SELECT name FROM pools WHERE account=? AND source='caller'"
        names = [name for (name,) in self._db.execute(query, (self._account,)) if name not in limits]
        return [Resize(name, DEFAULTS.get(name, 1), "default", forced=True) for name in names]

    def _clock_went_back(self, now: float) -> bool:
        """Tell whether times are written down that have not come yet: not all systems name their runs."""
        columns = (("beat", "owners"), ("since", "leases"), ("read_at", "accounts"))
        times = " UNION ALL ".join(f"SELECT {column} AS beat FROM {table}" for column, table in columns)  # noqa: S608
        (latest,) = self._db.execute(f"SELECT max(beat) FROM ({times})").fetchone()  # noqa: S608 - as above
        return latest is not None and latest > now + _AHEAD

    def _begin_anew(self, boot: str, now: float, quiet_until: float) -> None:
        """Forget times of an earlier run of the machine: what ran then may run still, from now on."""
        db = self._db
        db.execute("DELETE FROM ledger")
        db.execute("INSERT INTO ledger VALUES (?, ?)", (boot, quiet_until))
        for (token,) in db.execute("SELECT token FROM owners").fetchall():
            self._presence.remove(token)
        held = (int(Stage.SENT), int(Stage.HELD))
        db.execute("DELETE FROM owners")
        db.execute("DELETE FROM leases WHERE stage NOT IN (?, ?) OR granted_at IS NOT NULL", held)
        db.execute(
            "UPDATE leases SET stage=?, since=?, orphan=?, news=0, epoch=-1", (int(Stage.HELD), now, now)
        )
        db.execute("DELETE FROM labels")
        db.execute("DELETE FROM turns")
        db.execute("UPDATE accounts SET asker=NULL, read_at=NULL")
        pacing = "[0, false, -Infinity, -Infinity, 1.0]"
        db.execute(
            "UPDATE pools SET waiting=0, pacing=?, breakers='[]', parked=0, next_time=?,"
            " half_open_at=CASE WHEN error IS NULL THEN NULL ELSE ? END",
            (pacing, now, now),
        )

    # -- use

    def _need_own_files(self) -> None:
        """Raise if the file was removed or replaced: others, who open it by its name, see another one.

        Raises:
            LedgerLost: It was.
        """
        found = identity_of(self.path)
        if found == self._files and None not in found:
            return
        if found[0] is not None and found[0] == self._files[0]:
            self.path.unlink(missing_ok=True)  # without its log it is out of date, and not to be trusted
        self._db.close()  # the lock stays: it tells others to wait for what this process holds
        name = str(self.path)
        raise LedgerLost(f"the slot ledger {name!r} was removed or replaced in use; a new one is made")

    def sync(self, steps: Sequence[Step], *, demand: bool) -> Synced:
        """Take steps, and whatever is due, in one transaction; return what this process has to hear.

        Args:
            steps: What has happened here, in order.
            demand: Whether anybody here waits for slots or for the end of a task.

        Raises:
            sqlite3.Error: Nothing has changed.
            LedgerLost: The file is not the one that was opened.
        """
        self._need_own_files()
        db, now = self._db, self._clock()
        begin(db, self.path)
        try:
            now = max(now, self._clock())  # it may have waited for the lock
            found = db.execute("UPDATE owners SET beat=? WHERE id=?", (now, self._owner)).rowcount
            if not found:
                self._revive(now)
            if now >= self._looked_at_locks + _LOOK_AT_LOCKS:
                self._bury_dead(now)
            book = self._book(now)
            book.wake()
            book.take(steps)
            book.finish()
            self._choose_asker(now, demand=demand)
            synced = self._heard(now, book.confirmed, transaction=True)._replace(
                reads=book.reads, missing=book.missing, revived=not found
            )
            for owner, letter in book.letters:  # before: whoever hears of an end finds its result in the box
                self._presence.send(self._token_of(owner), letter)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.rollback()
            raise
        return synced._replace(places=self.places(now))

    def places(self, now: float) -> dict[int, int]:
        """Return how many go before each ticket of this process; nothing if that was asked a moment ago.

        Its cost grows with the queue, so it is asked outside of transactions, and for a part of the time.
        """
        found: dict[int, int] = {}
        if now < self._next_places:
            return found
        began = time.perf_counter()
        query = "SELECT DISTINCT pool FROM leases WHERE owner=? AND stage=?"
        for (pool,) in self._db.execute(query, (self._owner, int(Stage.QUEUED))).fetchall():
            found.update(places(self._db, pool, self._owner))
        self._next_places = now + max(_PLACES_APART, (time.perf_counter() - began) * _PLACES_SHARE)
        return found

    def _token_of(self, owner: int) -> str:
        found = self._db.execute("SELECT token FROM owners WHERE id=?", (owner,)).fetchone()
        return "" if found is None else str(found[0])

    def _revive(self, now: float) -> None:
        """Be one of the living again: somebody removed the lock file, so that others took it for free."""
        self._presence.renew()
        new = "INSERT INTO owners (id, account, token, beat) VALUES (?, ?, ?, ?)"
        self._db.execute(new, (self._owner, self._account, self._presence.token, now))
        self._db.execute("UPDATE leases SET orphan=NULL WHERE owner=?", (self._owner,))

    def look(self) -> Synced | None:
        """Return what other processes have changed, without a transaction of our own; None: nothing.

        Raises:
            LedgerLost: The file is not the one that was opened.
        """
        self._need_own_files()
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return None
        self._version = version
        return self._heard(self._clock(), {}, transaction=False)

    def leave(self, steps: Sequence[Step]) -> None:
        """Take the last steps, and leave: what still runs becomes an orphan."""
        db = self._db
        with contextlib.suppress(sqlite3.Error):
            begin(db, self.path)
            now = self._clock()
            book = self._book(now)
            book.take(steps)
            book.finish()
            self._bury([self._owner], now)
            db.execute("COMMIT")
        self.give_up()

    def abandon(self) -> None:
        """Close the file as the end of this process would: the others find out that it is dead."""
        with contextlib.suppress(sqlite3.Error, AttributeError):  # it may not have been opened
            self._db.close()
        self._presence.end()

    # -- within a transaction

    def _book(self, now: float) -> Book:
        query = "SELECT id FROM owners WHERE account=? AND beat<? AND id<>?"
        late = self._db.execute(query, (self._account, now - LATE, self._owner)).fetchall()
        names = frozenset(found for (found,) in late)
        return Book(self._db, self._account, self._owner, late=names, life=self._life, now=now)

    def _heard(self, now: float, confirmed: Mapping[int, bool], *, transaction: bool) -> Synced:
        """Return what this process has to hear; only a transaction marks it as heard."""
        db = self._db
        query = "SELECT number, news, error FROM leases WHERE owner=? AND news>0 ORDER BY number"
        rows = db.execute(query, (self._owner,)).fetchall()
        if rows and transaction:
            gone = "DELETE FROM leases WHERE owner=? AND news>0 AND stage=?"
            db.execute(gone, (self._owner, int(Stage.GONE)))
            db.execute("UPDATE leases SET news=0, error=NULL WHERE owner=? AND news>0", (self._owner,))
        (asker,) = db.execute("SELECT asker FROM accounts WHERE id=?", (self._account,)).fetchone()
        asking = asker == self._owner
        return Synced(
            now,
            [_news(*row) for row in rows] if transaction else (),
            confirmed,
            pool_facts(db, self._account),
            asking,
            self._tasks(now) if asking else (),
            stale=not transaction and (bool(rows) or asker is None),
            letters=self._presence.mailbox.receive(),
            places={} if transaction else self.places(now),
        )

    def _tasks(self, now: float) -> list[HeldTask]:
        """Return the tasks to ask about: held, and known by an id that can be asked by."""
        query = (
            "SELECT l.endpoint, l.external_task_id, l.task_id, l.kind, p.name, l.weight, l.since,"
            " l.wanted<>0 OR l.orphan IS NOT NULL FROM leases l JOIN pools p ON p.id = l.pool"
            " WHERE p.account=? AND l.stage=? AND (l.task_id<>'' OR l.orphan<?)"
        )
        rows = self._db.execute(query, (self._account, int(Stage.HELD), now - _DOUBT))
        return [
            HeldTask(TaskFacts(*row[:4]), pool=row[4], weight=row[5], since=row[6], wanted=bool(row[7]))
            for row in rows
        ]

    def _choose_asker(self, now: float, *, demand: bool) -> None:
        """Let one process ask for all: the first that wants anything, until it wants nothing or is late."""
        query = "SELECT a.asker, o.beat FROM accounts a LEFT JOIN owners o ON o.id = a.asker WHERE a.id=?"
        asker, beat = self._db.execute(query, (self._account,)).fetchone()
        if demand and (asker is None or beat is None or beat < now - LATE):
            self._db.execute("UPDATE accounts SET asker=? WHERE id=?", (self._owner, self._account))
        elif not demand and asker == self._owner:
            self._db.execute("UPDATE accounts SET asker=NULL WHERE id=?", (self._account,))

    def _bury_dead(self, now: float) -> None:
        """Find the processes that are dead: their locks are free."""
        self._looked_at_locks = now
        query = "SELECT id, token FROM owners WHERE account=? AND id<>?"
        dead: list[int] = []
        for owner, token in self._db.execute(query, (self._account, self._owner)).fetchall():
            if not self._presence.lives(token):
                dead.append(owner)
                self._presence.remove(token)
        self._bury(dead, now)

    def _bury(self, owners: Iterable[int], now: float) -> None:
        for owner in owners:
            book = self._book(now)
            book.bury(owner)
            book.finish()
            self._db.execute("DELETE FROM owners WHERE id=?", (owner,))
            self._db.execute("UPDATE accounts SET asker=NULL WHERE asker=?", (owner,))


def _news(number: int, kind: int, error: str | None) -> TicketNews:
    """Return the news of a row; a ticket that can never fit has no error of its own."""
    if error is None or error == HEAVY:
        return TicketNews(number, NewsKind(kind))
    if error.startswith(LABEL):
        return TicketNews(number, NewsKind(kind), most=int(error.removeprefix(LABEL)))
    return TicketNews(number, NewsKind(kind), load_error(error))
