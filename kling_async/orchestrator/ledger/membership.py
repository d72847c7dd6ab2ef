"""Membership: the rows of one account as one of the processes that share them uses them, in any database."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from kling_async.core.pool_sizes import DEFAULTS
from kling_async.orchestrator.ledger.book import Book
from kling_async.orchestrator.ledger.facts import HEAVY, LABEL, LATE, NewsKind, Stage, TaskFacts
from kling_async.orchestrator.ledger.lines import places
from kling_async.orchestrator.ledger.plain_errors import load_error
from kling_async.orchestrator.ledger.steps import HeldTask, LimitLabels, Resize, Synced, TicketNews
from kling_async.orchestrator.ledger.stored_pool import ask_pool_facts, pool_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kling_async.orchestrator.ledger.connection import LedgerConnection, LedgerRows

__all__ = ["Membership"]

_PLACES_APART: Final = 0.2
"""Least seconds between two looks at the places of the tickets of this process."""
_PLACES_SHARE: Final = 20
"""The time between two such looks, in times of how long one takes."""
_DOUBT: Final = 10.0
"""Seconds until an orphan whose create was on its way is asked about: a task shows up a moment after it was
made."""


class Membership:
    """One process among those that share the slots of an account.

    Args:
        db: Within a transaction, unless a method says otherwise.
        account: The row of the account.
        owner: The row of the process.
        life: Seconds after which the slots of a task stop counting.
    """

    def __init__(self, db: LedgerConnection, account: int, owner: int, life: float) -> None:
        self._db = db
        self.account = account
        self.owner = owner
        self._life = life
        self._next_places = -math.inf
        self.asker: int | None = None
        """The process that asks about the tasks of all, as last heard."""

    def book(self, now: float) -> Book:
        """Begin to take steps."""
        query = "SELECT id FROM owners WHERE account=? AND beat<? AND id<>?"
        late = self._db.execute(query, (self.account, now - LATE, self.owner)).fetchall()
        return self.book_of(now, frozenset(found for (found,) in late))

    def book_of(self, now: float, late: frozenset[int]) -> Book:
        """Begin to take steps, where it is known which processes are late."""
        return Book(self._db, self.account, self.owner, late=late, life=self._life, now=now)

    # -- entering and leaving

    def settle_limits(self, now: float, limits: Mapping[str, int], label_limits: Mapping[str, int]) -> Book:
        """Write what a process that starts knows of limits; return the book of that, finished."""
        book = self.book(now)
        alone = self._is_alone()
        if label_limits or alone:
            book.take([LimitLabels(label_limits)])
        book.take(self._outdated_limits(limits) if alone else ())
        book.take(Resize(name, limit, "caller") for name, limit in limits.items())
        book.finish()
        return book

    def restate_limits(self, now: float, limits: Mapping[str, int], label_limits: Mapping[str, int]) -> None:
        """Write limits again after this process was dead to the others; what these have said since stays."""
        alone = self._is_alone()
        query = "SELECT name FROM pools WHERE account=? AND source='caller'"
        said = {name for (name,) in self._db.execute(query, (self.account,))}
        unsaid = {name: limit for name, limit in limits.items() if alone or name not in said}
        self.settle_limits(now, unsaid, label_limits if alone else {})

    def _is_alone(self) -> bool:
        """Tell whether no other process uses the ledger for this account."""
        others = "SELECT 1 FROM owners WHERE account=? AND id<>? LIMIT 1"
        return self._db.execute(others, (self.account, self.owner)).fetchone() is None

    def _outdated_limits(self, limits: Mapping[str, int]) -> list[Resize]:
        """Return the sizes to go back to, since no living process says what earlier ones said."""
        query = "SELECT name FROM pools WHERE account=? AND source='caller'"
        names = [name for (name,) in self._db.execute(query, (self.account,)) if name not in limits]
        return [Resize(name, DEFAULTS.get(name, 1), "default", forced=True) for name in names]

    def bury(self, owners: Iterable[int], now: float) -> set[int]:
        """Make orphans of the tasks of processes that are dead; return the processes that have news."""
        told: set[int] = set()
        for owner in owners:
            book = self.book(now)
            book.bury(owner)
            book.finish()
            told |= book.told
            self._db.execute("DELETE FROM owners WHERE id=?", (owner,))
            self._db.execute("UPDATE accounts SET asker=NULL WHERE asker=?", (owner,))
        return told

    # -- hearing

    def look(self, now: float) -> Synced:
        """Return what this process may know, outside of a transaction: what it has to hear stays written."""
        rows, asked, pools = self._ask()
        asker, _ = asked.fetchone()
        asking = asker == self.owner
        stale = bool(rows.fetchall()) or asker is None
        tasks = self._tasks(now) if asking else ()
        return Synced(now, (), {}, pool_facts(pools), asking, tasks, stale=stale)

    def heard(self, now: float, confirmed: Mapping[int, bool], *, demand: bool) -> Synced:
        """Return what this process has to hear, mark it as heard, and choose who asks."""
        asked = self._ask()
        rows, (asker, beat), facts = asked[0].fetchall(), asked[1].fetchone(), pool_facts(asked[2])
        if rows:
            gone = "DELETE FROM leases WHERE owner=? AND news>0 AND stage=?"
            self._db.execute(gone, (self.owner, int(Stage.GONE)))
            self._db.execute("UPDATE leases SET news=0, error=NULL WHERE owner=? AND news>0", (self.owner,))
        asking = self._choose_asker(asker, math.inf if beat is None else now - beat, demand=demand)
        tasks = self._tasks(now) if asking else ()
        return Synced(now, [_news(*row) for row in rows], confirmed, facts, asking, tasks)

    def _ask(self) -> tuple[LedgerRows, LedgerRows, LedgerRows]:
        """Begin to read news, who asks, and pools."""
        news = "SELECT number, news, error FROM leases WHERE owner=? AND news>0 ORDER BY number"
        asker = "SELECT a.asker, o.beat FROM accounts a LEFT JOIN owners o ON o.id = a.asker WHERE a.id=?"
        return (
            self._db.execute(news, (self.owner,)),
            self._db.execute(asker, (self.account,)),
            ask_pool_facts(self._db, self.account),
        )

    def _choose_asker(self, asker: int | None, silent: float, *, demand: bool) -> bool:
        """Let one process ask for all: the first that wants anything, until it wants nothing or is late.

        Args:
            asker: Who asks; None: nobody.
            silent: Seconds since its last sign of life.
            demand: Whether this process wants anything.

        Returns:
            Whether this process asks.
        """
        if demand and (asker is None or (asker != self.owner and silent > LATE)):
            self._db.execute("UPDATE accounts SET asker=? WHERE id=?", (self.owner, self.account))
            asker = self.owner
        elif not demand and asker == self.owner:
            self._db.execute("UPDATE accounts SET asker=NULL WHERE id=?", (self.account,))
            asker = None
        self.asker = asker
        return asker == self.owner

    def _tasks(self, now: float) -> list[HeldTask]:
        """Return the tasks to ask about: held, and known by an id that can be asked by."""
        query = (
            "SELECT l.endpoint, l.external_task_id, l.task_id, l.kind, p.name, l.weight, l.since,"
            " l.wanted<>0 OR l.orphan IS NOT NULL FROM leases l JOIN pools p ON p.id = l.pool"
            " WHERE p.account=? AND l.stage=? AND (l.task_id<>'' OR l.orphan<?)"
        )
        rows = self._db.execute(query, (self.account, int(Stage.HELD), now - _DOUBT))
        return [
            HeldTask(TaskFacts(*row[:4]), pool=row[4], weight=row[5], since=row[6], wanted=bool(row[7]))
            for row in rows
        ]

    def places(self, now: float) -> dict[int, int]:
        """Return how many go before each ticket of this process; nothing if that was asked a moment ago.

        Its cost grows with the queue, so it is asked outside of transactions, and for a part of the time.
        """
        found: dict[int, int] = {}
        if now < self._next_places:
            return found
        began = time.perf_counter()
        query = "SELECT DISTINCT pool FROM leases WHERE owner=? AND stage=?"
        for (pool,) in self._db.execute(query, (self.owner, int(Stage.QUEUED))).fetchall():
            found.update(places(self._db, pool, self.owner))
        self._next_places = now + max(_PLACES_APART, (time.perf_counter() - began) * _PLACES_SHARE)
        return found


def _news(number: int, kind: int, error: str | None) -> TicketNews:
    """Return the news of a row; a ticket that can never fit has no error of its own."""
    if error is None or error == HEAVY:
        return TicketNews(number, NewsKind(kind))
    if error.startswith(LABEL):
        return TicketNews(number, NewsKind(kind), most=int(error.removeprefix(LABEL)))
    return TicketNews(number, NewsKind(kind), load_error(error))
