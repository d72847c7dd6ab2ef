"""Processes that share a ledger, in one process of the tests: each with the file open, and a clock to set."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts
from kling_async.orchestrator.ledger.steps import Confirm, Enter
from kling_async.orchestrator.ledger.store import LedgerFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kling_async.orchestrator.ledger.steps import HeldTask, PoolFacts, Step, Synced, TicketNews

VIDEO = "/v1/videos/text2video"


class Machine:
    """A machine with a clock, and with processes that come and go."""

    def __init__(
        self,
        path: Path,
        *,
        limit: int | None = None,
        life: float = 7200.0,
        label_limits: Mapping[str, int] | None = None,
    ) -> None:
        self.label_limits = dict(label_limits or {})
        self.path = path
        self.now = 1000.0
        self.boot = "first"
        self._limits = {} if limit is None else {"video": limit}
        self._life = life
        self.processes: list[Process] = []

    def start(self, account: str = "mine", limits: Mapping[str, int] | None = None) -> Process:
        """Start one more process."""
        file = LedgerFile(
            self.path,
            "https://api.example",
            account,
            limits=self._limits if limits is None else limits,
            label_limits=self.label_limits,
            life=self._life,
            clock=lambda: self.now,
            boot=self.boot,
        )
        process = Process(self, file)
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End all processes."""
        for process in self.processes:
            process.kill()


class Process:
    """One process, which does nothing by itself."""

    def __init__(self, machine: Machine, file: LedgerFile) -> None:
        self._machine = machine
        self.file = file
        self.alive = True
        self.granted: list[int] = []
        """Its tickets that have slots and are not confirmed."""
        self.news: list[TicketNews] = []
        self.pools: Mapping[str, PoolFacts] = {}
        self.tasks: list[HeldTask] = []
        self.asking = False
        self._number = 0

    def sync(self, *steps: Step, demand: bool = False) -> Synced:
        """Take steps, and hear."""
        synced = self.file.sync(steps, demand=demand)
        self.news += synced.news
        for news in synced.news:
            if news.kind is NewsKind.GRANTED:
                self.granted.append(news.number)
        self.pools, self.tasks, self.asking = synced.pools, list(synced.tasks), synced.asking
        return synced

    def number(self) -> int:
        """Return the number of the next ticket: the time, in nanoseconds."""
        self._number = max(self._number + 1, int(self._machine.now * 1e9))
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
