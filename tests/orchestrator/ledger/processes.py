"""Processes that share a ledger, in one process of the tests: each with it open, and a clock to set."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg

from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts
from kling_async.orchestrator.ledger.postgres import Joining, PostgresLedger
from kling_async.orchestrator.ledger.postgres_tables import LOCKS
from kling_async.orchestrator.ledger.server_time import ServerTime, SteeredClock
from kling_async.orchestrator.ledger.steps import Confirm, Enter
from kling_async.orchestrator.ledger.store import LedgerFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.orchestrator.ledger.steps import HeldTask, PoolFacts, Step, Synced, TicketNews

VIDEO = "/v1/videos/text2video"


class _TimeOf:
    """The server's clock, as a machine of the tests says."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def now(self) -> str:
        """The SQL that reads it."""
        return f"({self._machine.now!r}::float8)"

    @property
    def started(self) -> str:
        """The SQL that reads when the server began."""
        return f"({self._machine.server_began!r}::float8)"


class Machine:
    """A machine with a clock, and with processes that come and go.

    Args:
        place: The file of the ledger, or the DSN of its database: processes may then be on many machines.
        limit: Size of the pool of videos.
        life: Seconds after which a slot stops counting.
        label_limits: Of the processes that start.
        apart: Seconds between the clocks of the machines, where there are many: a process on each.
    """

    def __init__(
        self,
        place: Path | str,
        *,
        limit: int | None = None,
        life: float = 7200.0,
        label_limits: Mapping[str, int] | None = None,
        apart: float = 0.0,
    ) -> None:
        self.apart = apart
        self.label_limits = dict(label_limits or {})
        self.place = place
        self.now = 1000.0
        self.server_began = 0.0
        self.boot = "first"
        self._limits = {} if limit is None else {"video": limit}
        self._life = life
        self.processes: list[Process] = []

    def start(self, account: str = "mine", limits: Mapping[str, int] | None = None) -> Process:
        """Start one more process."""
        limits = self._limits if limits is None else limits
        process = Process(self, self._open(account, limits))
        self.processes.append(process)
        return process

    def _open(self, account: str, limits: Mapping[str, int]) -> LedgerFile | PostgresLedger:
        url, labels, life = "https://api.example", self.label_limits, self._life
        if isinstance(self.place, Path):
            more: dict[str, Any] = {"clock": lambda: self.now, "boot": self.boot, "life": life}
            return LedgerFile(self.place, url, account, limits=limits, label_limits=labels, **more)
        joining = Joining(url, account, limits, labels, life)
        ledger = PostgresLedger(self.place, joining, self.clock(), cast("ServerTime", _TimeOf(self)))
        ledger.join()
        return ledger

    def clock(self) -> SteeredClock:
        """Return the clock of one more process, which need not show what the server's does."""
        ahead = self.apart * len(self.processes)
        return SteeredClock(lambda: self.now + ahead)

    @property
    def path(self) -> Path:
        """The file of the ledger."""
        assert isinstance(self.place, Path)
        return self.place

    def await_deaths(self) -> None:
        """Wait until the server has seen the connections of ended processes closed."""
        alive = [process for process in self.processes if process.alive]
        query = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid=l.database"
        query += f" WHERE locktype='advisory' AND classid={LOCKS} AND datname=current_database()"
        with psycopg.connect(str(self.place), autocommit=True) as db:
            while (db.execute(query.encode()).fetchone() or (0,))[0] > len(alive):
                db.execute("SELECT pg_sleep(0.002)")

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()


class Process:
    """One process, which does nothing by itself."""

    def __init__(self, machine: Machine, file: LedgerFile | PostgresLedger) -> None:
        self._machine = machine
        self.ahead = machine.apart * len(machine.processes)
        """Seconds by which its clock is ahead."""
        self.file = file
        self.alive = True
        self.granted: list[int] = []
        """Its tickets that have slots and are not confirmed."""
        self.news: list[TicketNews] = []
        self.missing: list[int] = []
        """Its tickets that the ledger does not know."""
        self.pools: Mapping[str, PoolFacts] = {}
        self.tasks: list[HeldTask] = []
        self.asking = False
        self._number = 0

    def sync(self, *steps: Step, demand: bool = False) -> Synced:
        """Take steps, and hear."""
        synced = self.file.sync(steps, demand=demand)
        self.news += synced.news
        self.missing += synced.missing
        for news in synced.news:
            if news.kind is NewsKind.GRANTED:
                self.granted.append(news.number)
        self.pools, self.tasks, self.asking = synced.pools, list(synced.tasks), synced.asking
        return synced

    def number(self) -> int:
        """Return the number of the next ticket: the time, in nanoseconds."""
        self._number = max(self._number + 1, int((self._machine.now + self.ahead) * 1e9))
        return self._number

    def enter(
        self, weight: int = 1, *, priority: int = 0, label: str = "", name: str = "", pool: str = "video"
    ) -> int:
        """Queue a ticket; return its number."""
        number = self.number()
        about = TaskFacts(VIDEO, name or f"task-{number}")
        self.sync(Enter(pool, number, weight, priority, label, about))
        return number

    def confirm(self, number: int) -> bool:
        """Use slots that were granted; return whether they still are."""
        with contextlib.suppress(ValueError):
            self.granted.remove(number)
        return self.sync(Confirm(number)).confirmed[number]

    def kill(self) -> None:
        """End as by ``kill -9``: the system releases the lock."""
        if self.alive:
            self.alive = False
            self.file.abandon()
            if isinstance(self._machine.place, str):
                self._machine.await_deaths()
