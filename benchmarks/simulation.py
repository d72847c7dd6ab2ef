"""An account in simulated time: the slots and queries of `kling_async.core` against an exact server.

Nothing is sampled in time and nothing sleeps: every create, answer and end is an event. The code under
test runs in production, too: `core.admission` admits and a *policy* asks; `core.schedule` is one policy, its
rivals are others.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kling_async.core.admission import Phase, Pool, Ticket
from kling_async.core.durations import Durations
from kling_async.core.queries import QueryForms, StatusQuery
from kling_async.core.schedule import Schedule
from kling_async.options import Polling, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence

ROUND_TRIP = 0.1
COST = Polling().request_cost
HEAD, RECORD = 400, 650
"""Bytes of an exchange, and of one task in an answer."""


class Job(NamedTuple):
    """One task to run."""

    duration: float
    weight: int = 1
    path: str = "/v1/videos/text2video"
    kind: Hashable = "video"
    median: float = 90.0
    """Seconds that the client is told to expect of a kind it has never seen."""


class Result(NamedTuple):
    """The measurements of one run."""

    cost: float
    """J: the mean weighted lag in seconds plus request_cost x reads, per task."""
    stretch: float
    """Makespan, relative to an account that sees every end at once."""
    requests: float
    """Requests per task, creates included."""
    bytes: float
    """Bytes read per task."""
    lag95: float


class Policy(Protocol):
    """Decides which status queries to send and when; `Schedule` is one."""

    def add(
        self,
        key: Hashable,
        *,
        pool: str,
        path: str,
        kind: Hashable,
        median: float,
        now: float,
        weight: int = 1,
    ) -> None:
        """Start to poll a task that was created."""

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now."""
        ...

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; forget the tasks that ended."""

    def next_time(self) -> float:
        """Return when to ask next."""
        ...


class _Task:
    __slots__ = ("end", "job", "ticket")

    def __init__(self, job: Job, ticket: Ticket | None, end: float) -> None:
        self.job = job
        self.ticket = ticket
        self.end = end


class Simulation:
    """One run: submits all jobs at 0, then plays the events until all have ended."""

    def __init__(
        self, jobs: Sequence[Job], slots: int, policy: Policy, *, foreign: float = 0.0, seed: int = 0
    ) -> None:
        self.jobs = jobs
        self.slots = slots
        self.policy = policy
        self.pool = Pool("video", slots, source="caller")
        self.rng = random.Random(seed)
        self.foreign = foreign
        self.foreign_running = 0
        self.now = 0.0
        self.used = 0
        self.reads = self.creates = self.bytes = 0
        self.lags: list[float] = []
        self.weighted = 0.0
        self._queued: dict[Ticket, Job] = {}
        self._lists: dict[str, list[_Task]] = {}
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._wake = math.inf

    def run(self) -> Result:
        """Run until every end was seen; return what was measured."""
        for job in self.jobs:
            ticket = Ticket(job.weight)
            self._queued[ticket] = job
            self.pool.enter(ticket, 0.0)
        if self.foreign:
            self._visit()
        self._pump()
        while len(self.lags) < len(self.jobs):
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)
        tasks = len(self.jobs)
        return Result(
            cost=(self.weighted + COST * self.reads) / tasks,
            stretch=self.now / ideal_makespan(self.jobs, self.slots) if not self.foreign else math.nan,
            requests=(self.reads + self.creates) / tasks,
            bytes=self.bytes / tasks,
            lag95=sorted(self.lags)[int(0.95 * tasks)],
        )

    def _at(self, time: float, act: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, act, arguments))

    # -- the client

    def _pump(self) -> None:
        half = ROUND_TRIP / 2
        for ticket in self.pool.admit(self.now):
            self.creates += 1
            self._at(self.now + half, self._create, ticket)
        for query in self.policy.ask(self.now):
            self.reads += query.requests
            self._at(self.now + half, self._read, query)
        wake = min(self.policy.next_time(), self.pool.next_time())
        if wake < self._wake:
            self._wake = wake
            self._at(wake, self._woken, wake)

    def _woken(self, wake: float) -> None:
        if wake == self._wake:
            self._wake = math.inf
            self._pump()

    def _created(self, task: _Task) -> None:
        job = task.job
        assert task.ticket is not None
        self.pool.accepted(task.ticket, self.now)
        self.policy.add(
            task,
            pool="video",
            path=job.path,
            kind=job.kind,
            median=job.median,
            weight=job.weight,
            now=self.now,
        )
        self._pump()

    def _refused(self, ticket: Ticket) -> None:
        self.pool.refused(ticket, self.now, self.rng.random())
        self._pump()

    def _heard(self, query: StatusQuery, running: set[_Task], ended: set[_Task]) -> None:
        self.policy.answered(query, running, ended, self.now)
        for task in ended:
            if task.ticket is not None and task.ticket.phase is Phase.HELD:
                self.lags.append(self.now - task.end)
                self.weighted += task.job.weight * self.lags[-1]
                self.pool.release(task.ticket, self.now)
        self._pump()

    # -- the server

    def _create(self, ticket: Ticket) -> None:
        half = ROUND_TRIP / 2
        if self.used + ticket.weight > self.slots:
            self._at(self.now + half, self._refused, ticket)
            return
        self._at(self.now + half, self._created, self._begin(self._queued[ticket], ticket))

    def _begin(self, job: Job, ticket: Ticket | None) -> _Task:
        task = _Task(job, ticket, self.now + job.duration)
        self.used += job.weight
        self._lists.setdefault(job.path, []).append(task)
        self._at(task.end, self._end, task)
        return task

    def _end(self, task: _Task) -> None:
        self.used -= task.job.weight
        if task.ticket is None:
            self.foreign_running -= 1

    def _read(self, query: StatusQuery) -> None:
        if query.form == "list":
            page = self._lists[query.path][-query.size :]
            asked = set(query.keys)
            shown = {task for task in page if task in asked}
            self.bytes += HEAD * query.requests + RECORD * len(page)
        else:
            shown = {task for task in query.keys if isinstance(task, _Task)}
            self.bytes += HEAD + RECORD * len(shown)
        ended = {task for task in shown if task.end <= self.now}
        self._at(self.now + ROUND_TRIP / 2, self._heard, query, shown - ended, ended)

    def _visit(self) -> None:
        """Let somebody else use the account for ten minutes out of twenty."""
        if self.now % 1200 < 600:
            wanted = round(self.foreign * self.slots)
            while self.foreign_running < wanted and self.used < self.slots:
                self.foreign_running += 1
                self._begin(self.rng.choice(self.jobs), None)
        self._at(self.now + 5, self._visit)


def ideal_makespan(jobs: Sequence[Job], slots: int) -> float:
    """Return the makespan if every end were seen at once and creates took no time."""
    now, free = 0.0, slots
    running: list[tuple[float, int]] = []
    for job in jobs:
        while free < job.weight:
            now, weight = heapq.heappop(running)
            free += weight
        free -= job.weight
        heapq.heappush(running, (now + job.duration, job.weight))
    return max(end for end, _ in running)


# -- policies


def ours(seed: int, *, batch_ids: bool = True, polling: Polling | None = None) -> Schedule:
    """Return the schedule as a client uses it, with submits queueing for the pool."""
    rng = random.Random(seed)
    schedule = Schedule(polling or Polling(), Retry(), Durations(), QueryForms(batch_ids=batch_ids), rng)
    schedule.set_contention("video", contended=True)
    return schedule


class _Rival:
    """Base of the rival policies: numbers their queries."""

    def __init__(self) -> None:
        self._count = 0

    def _query(self, form: Any, path: str, keys: tuple[Hashable, ...], size: int, now: float) -> StatusQuery:
        self._count += 1
        return StatusQuery(form, path, keys, size, now, self._count)


class Sweep(_Rival):
    """Asks each product's list every so many seconds, as long a page as all that runs needs."""

    def __init__(self, interval: float) -> None:
        super().__init__()
        self._interval = interval
        self._paths: dict[str, dict[Hashable, int]] = {}
        self._made = 0
        self._extra = 5
        self._next = 0.0

    def add(self, key: Hashable, *, path: str, now: float, **_: Any) -> None:
        """Start to poll a task that was created."""
        if not any(self._paths.values()):
            self._next = max(self._next, now + self._interval)
        self._made += 1
        self._paths.setdefault(path, {})[key] = self._made

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now."""
        if now < self._next or not any(self._paths.values()):
            return []
        self._next = now + self._interval
        sized = (
            (path, tasks, self._made + self._extra - min(tasks.values()))
            for path, tasks in self._paths.items()
            if tasks
        )
        return [self._query("list", path, tuple(tasks), size, now) for path, tasks, size in sized]

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; forget the tasks that ended."""
        if len(running) + len(ended) < len(query.keys):  # others' tasks pushed ours off the page
            self._extra = 2 * self._extra
        for key in ended:
            self._paths[query.path].pop(key, None)

    def next_time(self) -> float:
        """Return when to ask next."""
        return self._next if any(self._paths.values()) else math.inf


class PerTask(_Rival):
    """Asks by one GET per task, after a first pause, then after pauses that grow up to a last one."""

    def __init__(self, first: float, factor: float = 1.0, last: float = math.inf) -> None:
        super().__init__()
        self._first, self._factor, self._last = first, factor, last
        self._pauses: dict[Hashable, float] = {}
        self._due: list[tuple[float, int, Hashable, str]] = []

    def add(self, key: Hashable, *, path: str, now: float, **_: Any) -> None:
        """Start to poll a task that was created."""
        self._pauses[key] = self._first
        self._push(key, path, now)

    def _push(self, key: Hashable, path: str, now: float) -> None:
        self._count += 1
        heapq.heappush(self._due, (now + self._pauses[key], self._count, key, path))

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now."""
        queries = []
        while self._due and self._due[0][0] <= now:
            _, _, key, path = heapq.heappop(self._due)
            queries.append(self._query("one", path, (key,), 1, now))
        return queries

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; forget the tasks that ended."""
        for key in running:
            self._pauses[key] = min(self._last, self._pauses[key] * self._factor)
            self._push(key, query.path, now)

    def next_time(self) -> float:
        """Return when to ask next."""
        return self._due[0][0] if self._due else math.inf
