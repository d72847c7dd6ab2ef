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
from typing import TYPE_CHECKING, Final

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.connection import LedgerLost
from kling_async.orchestrator.ledger.database import begin, identity_of, open_database, passes
from kling_async.orchestrator.ledger.facts import Stage
from kling_async.orchestrator.ledger.membership import Membership
from kling_async.orchestrator.ledger.places import refuse_network
from kling_async.orchestrator.ledger.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kling_async.orchestrator.ledger.steps import Step, Synced

__all__ = ["LedgerFile"]

_LOOK_AT_LOCKS: Final = 1.0
"""Seconds between two looks whether other processes are dead."""
_AHEAD: Final = 60.0
"""Seconds that a time written down may lie ahead: turns to read are given some seconds in advance."""
_GATHERING: Final = 1.5
"""Seconds for which a new file grants nothing where others live that used another file before: within a
second they find out, and write down what they hold."""


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
        self._clock = clock
        self._version = -1
        self._looked_at_locks = self._next_places = -math.inf
        self._presence = Presence(path)
        self._db: sqlite3.Connection
        try:
            self._db = open_database(path)
            self._own = self._join(base_url, account, limits, label_limits, boot, life)
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
        life: float,
    ) -> Membership:
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
        (row,) = db.execute(query, (base_url, account)).fetchone()
        new = "INSERT INTO owners (account, token, beat) VALUES (?, ?, ?)"
        owner = db.execute(new, (row, self._presence.token, now)).lastrowid or 0
        self._own = own = Membership(db, row, owner, life)
        self._bury_dead(now)
        own.settle_limits(now, limits, label_limits)
        db.execute("COMMIT")
        return own

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
            found = db.execute("UPDATE owners SET beat=? WHERE id=?", (now, self._own.owner)).rowcount
            if not found:
                self._revive(now)
            if now >= self._looked_at_locks + _LOOK_AT_LOCKS:
                self._bury_dead(now)
            book = self._own.book(now)
            book.wake()
            book.take(steps)
            book.finish()
            synced = self._own.heard(now, book.confirmed, demand=demand)._replace(
                reads=book.reads,
                missing=book.missing,
                revived=not found,
                letters=self._presence.mailbox.receive(),
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
        """Return how many go before each ticket of this process; nothing if that was asked a moment ago."""
        return self._own.places(now)

    def _token_of(self, owner: int) -> str:
        found = self._db.execute("SELECT token FROM owners WHERE id=?", (owner,)).fetchone()
        return "" if found is None else str(found[0])

    def _revive(self, now: float) -> None:
        """Be one of the living again: somebody removed the lock file, so that others took it for free."""
        self._presence.renew()
        new = "INSERT INTO owners (id, account, token, beat) VALUES (?, ?, ?, ?)"
        self._db.execute(new, (self._own.owner, self._own.account, self._presence.token, now))
        self._db.execute("UPDATE leases SET orphan=NULL WHERE owner=?", (self._own.owner,))

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
        now = self._clock()
        letters, places = self._presence.mailbox.receive(), self.places(now)
        return self._own.look(now)._replace(letters=letters, places=places)

    def leave(self, steps: Sequence[Step]) -> None:
        """Take the last steps, and leave: what still runs becomes an orphan."""
        db = self._db
        with contextlib.suppress(sqlite3.Error):
            begin(db, self.path)
            now = self._clock()
            book = self._own.book(now)
            book.take(steps)
            book.finish()
            self._own.bury([self._own.owner], now)
            db.execute("COMMIT")
        self.give_up()

    def fileno(self) -> None:
        """Return None: a file does not tell that others have changed it."""

    def interrupt(self) -> None:
        """Do nothing: a file is waited for, and for how long SQLite says."""

    def abandon(self) -> None:
        """Close the file as the end of this process would: the others find out that it is dead."""
        with contextlib.suppress(sqlite3.Error, AttributeError):  # it may not have been opened
            self._db.close()
        self._presence.end()

    # -- within a transaction

    def _bury_dead(self, now: float) -> None:
        """Find the processes that are dead: their locks are free."""
        self._looked_at_locks = now
        query = "SELECT id, token FROM owners WHERE account=? AND id<>?"
        dead: list[int] = []
        for owner, token in self._db.execute(query, (self._own.account, self._own.owner)).fetchall():
            if not self._presence.lives(token):
                dead.append(owner)
                self._presence.remove(token)
        self._own.bury(dead, now)
