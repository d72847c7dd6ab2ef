"""One connection to the database that is made anew after each outage, by whoever needs it next.

Nobody fails because the database is away, or does not work: it is read-only after a failover, its disk is
full. Work waits, is tried every second by a new connection, which may lead to another server, and one line of
the log says so, and one that it is over. Work may thus be done twice, where only its answer was lost: it must
be harmless to repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from kling_async.fleet.database import connection_options, open_connection, refusals, shown_dsn, telling_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["OUTAGE", "DatabaseLink", "OutageLog"]

T = TypeVar("T")
Work: TypeAlias = "Callable[[AsyncConnection[Any]], Awaitable[T]]"

log = logging.getLogger("kling_async.fleet")

OUTAGE: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""Errors of a database that is away, was restarted, or does not work now, for example is read-only."""
_ONE_OF_TWO: Final = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
"""Errors of transactions that waited for each other: the server has undone one of them."""
_ANSWER: Final = 10.0
_FIRST: Final = 0.1
"""Seconds until the first repetition; doubles up to `_RETRY`."""
_RETRY: Final = 1.0


class OutageLog:
    """Tell once that the database cannot be used, and once that it can be again, for all links of a program.

    Args:
        dsn: The database.
        what: Who waits meanwhile, in words.
    """

    def __init__(self, dsn: str, what: str) -> None:
        self._where = shown_dsn(dsn)
        self._what = what
        self._failing: set[DatabaseLink] = set()
        """Links whose last work failed, over a new connection: some others may work, those that only read."""
        self._since = 0.0
        """When the outage began, by the monotonic clock."""
        self.latest = -float("inf")
        """When an outage was last noticed, by the monotonic clock."""
        self.leaving = False
        """Whether nobody waits for the end of an outage any more: the program ends."""
        self.given_up = False
        """Whether an outage was met since: what is left to do is not tried any more, each with a wait."""

    def noticed(self) -> None:
        """Note that a connection was lost; the next one shows whether the outage lasts."""
        self.latest = time.monotonic()

    def began(self, link: DatabaseLink, error: Exception) -> None:
        """Note a failure of a link's new connection; the first one of an outage is a warning."""
        self.noticed()
        if not self._failing:
            self._since = self.latest
            text = "the fleet's database %s cannot be used, %s: %s"
            log.warning(text, self._where, self._what, telling_line(error))
        self._failing.add(link)

    def ended(self, link: DatabaseLink) -> None:
        """Note that a link works; once all do that did not, the outage is over."""
        if link in self._failing:
            self.forget(link)
            if not self._failing:
                seconds = time.monotonic() - self._since
                text = "the fleet's database %s can be used again after %.0f s"
                log.warning(text, self._where, seconds)

    def forget(self, link: DatabaseLink) -> None:
        """Expect nothing of a link any more: it is closed."""
        self._failing.discard(link)


class DatabaseLink:
    """One connection, used by one piece of work at a time.

    Args:
        dsn: The database.
        outages: Told of outages.
        ready: Done with each new connection first.
        answer: Seconds after which a connection that does not answer is given up.
    """

    def __init__(
        self, dsn: str, outages: OutageLog, *, ready: Work[None] | None = None, answer: float = _ANSWER
    ) -> None:
        self._dsn = dsn
        self._options = connection_options(dsn)
        self._answer = answer
        self.outages = outages
        self._ready = ready
        self._turn = asyncio.Lock()
        self._db: AsyncConnection[Any] | None = None

    async def once(self, work: Work[T]) -> T:
        """Do work; its transaction is committed when this returns.

        Raises:
            psycopg.Error: One of `OUTAGE`: the database is away, or does not work; whether the work was done
                is not known. Any other: the work is wrong.
        """
        async with self._turn:
            try:
                db = await self._connected()
                async with asyncio.timeout(self._answer):
                    result = await work(db)
            except TimeoutError:
                await self._drop()
                raise psycopg.OperationalError(f"no answer within {self._answer:g} s") from None
            except BaseException as error:
                # the next connection may lead to a server that works
                broken = isinstance(error, OUTAGE) and not isinstance(error, _ONE_OF_TWO)
                if broken or (self._db is not None and _is_busy(self._db)):
                    await self._drop()
                raise
        self.outages.ended(self)
        return result

    async def patient(self, work: Work[T]) -> T:
        """Do work, again and again until the database has answered.

        Raises:
            psycopg.Error: One of `OUTAGE`: the database is away, and the program is about to end. An
                `IntegrityError`, say: the work is wrong.
            ConfigurationError: The server refuses, for lack of rights or of a table.
        """
        pause, failed = _FIRST, False
        while True:
            if self.outages.given_up:
                raise psycopg.OperationalError("the database was away before, and the program ends")
            try:
                with refusals(self._dsn):
                    return await self.once(work)
            except _ONE_OF_TWO:
                continue
            except OUTAGE as error:
                if not failed:  # a connection of before: a new one tells more
                    failed = True
                    self.outages.noticed()
                    continue
                self.outages.began(self, error)
                if self.outages.leaving:
                    self.outages.given_up = True
                    raise
            await asyncio.sleep(pause)
            pause = min(_RETRY, 2 * pause)

    async def close(self) -> None:
        """Close the connection; the next piece of work would make a new one."""
        async with self._turn:
            await self._drop()
        self.outages.forget(self)

    async def _connected(self) -> AsyncConnection[Any]:
        """Return the connection, made anew if it has ended: from each host of the DSN in turn, if need be."""
        if self._db is None or self._db.closed:
            async with contextlib.AsyncExitStack() as on_error:
                db = await open_connection(self._options)
                on_error.push_async_callback(db.close)
                if self._ready is not None:
                    async with asyncio.timeout(self._answer):
                        await self._ready(db)
                on_error.pop_all()
            self._db = db
        return self._db

    async def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(psycopg.Error):
                await db.close()


def _is_busy(db: AsyncConnection[Any]) -> bool:
    """Tell whether a connection is not ready for new work."""
    return db.info.transaction_status is not TransactionStatus.IDLE
