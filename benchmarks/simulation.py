"""Simulate an account: slots and status queries decided by `kling_async.core`, with an exact server.

Simulated time jumps from event to event: every create, answer and end is one. The code under test is that of
production: `core.admission` admits tasks and a *policy* sends status queries; `core.schedule` is one policy,
its rivals are others.
"""

from __future__ import annotations

import heapq
import math
import random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kling_async.core.admission import Phase, Pool, Ticket
from kling_async.core.durations import Durations
from kling_async.core.queries import IDS_MAX, QueryForms, StatusQuery
from kling_async.core.schedule import Schedule
from kling_async.core.schedule_parts import ScheduleParts
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
    """First guess of the task's duration, in seconds, for a kind that the client has never seen."""


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
        """The slots of one of our tasks; None for a foreign task."""
        self.end = end


class _Events:
    """The events to come, and the time of the last one played."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, time: float, act: Callable[..., None], *arguments: Any) -> None:
        """Call a function at that time."""
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, act, arguments))

    def play(self) -> None:
        """Play the next event."""
        self.now, _, act, arguments = heapq.heappop(self._heap)
        act(*arguments)


class _Server:
    """The account on the server: its slots, its tasks, and another program that uses it too."""

    def __init__(self, events: _Events, slots: int) -> None:
        self._events = events
        self._slots = slots
        self._used = 0
        self._foreign_running = 0
        self._lists: dict[str, list[_Task]] = {}
        self.bytes = 0
        """Bytes of all answers."""

    def create(self, job: Job, ticket: Ticket) -> _Task | None:
        """Start a task; None: all slots are taken."""
        if self._used + job.weight > self._slots:
            return None
        return self._begin(job, ticket)

    def _begin(self, job: Job, ticket: Ticket | None) -> _Task:
        task = _Task(job, ticket, self._events.now + job.duration)
        self._used += job.weight
        self._lists.setdefault(job.path, []).append(task)
        self._events.at(task.end, self._end, task)
        return task

    def _end(self, task: _Task) -> None:
        self._used -= task.job.weight
        if task.ticket is None:
            self._foreign_running -= 1

    def read(self, query: StatusQuery) -> set[_Task]:
        """Answer a status query: return the tasks asked about that the answer contains."""
        if query.form == "list":
            page = self._lists[query.path][-query.size :]
            asked = set(query.keys)
            self.bytes += HEAD * query.requests + RECORD * len(page)
            return {task for task in page if task in asked}
        shown = {task for task in query.keys if isinstance(task, _Task)}
        self.bytes += HEAD + RECORD * len(shown)
        return shown

    def visit(self, jobs: Sequence[Job], share: float, rng: random.Random) -> None:
        """Let another program use a share of the slots for ten minutes out of twenty."""
        if self._events.now % 1200 < 600:
            wanted = round(share * self._slots)
            while self._foreign_running < wanted and self._used < self._slots:
                self._foreign_running += 1
                self._begin(rng.choice(jobs), None)
        self._events.at(self._events.now + 5, self.visit, jobs, share, rng)


class Simulation:
    """One run: submits all jobs at 0, then plays the events until all have ended."""

    def __init__(
        self, jobs: Sequence[Job], slots: int, policy: Policy, *, foreign: float = 0.0, seed: int = 0
    ) -> None:
        self._jobs = jobs
        self._slots = slots
        self._policy = policy
        self._foreign = foreign
        self._rng = random.Random(seed)
        self._events = _Events()
        self._server = _Server(self._events, slots)
        self._pool = Pool("video", slots, source="caller")
        self._queued: dict[Ticket, Job] = {}
        self._wake = math.inf
        self.reads = self.creates = 0
        self.ends: list[tuple[float, int]] = []
        """Lag and weight of each task, in the order in which their ends were seen."""

    def run(self) -> Result:
        """Run until every end was seen; return what was measured."""
        for job in self._jobs:
            ticket = Ticket(job.weight)
            self._queued[ticket] = job
            self._pool.enter(ticket, 0.0)
        if self._foreign:
            self._server.visit(self._jobs, self._foreign, self._rng)
        self._act()
        tasks = len(self._jobs)
        while len(self.ends) < tasks:
            self._events.play()
        weighted = sum(weight * lag for lag, weight in self.ends)
        makespan = math.nan if self._foreign else self._events.now / ideal_makespan(self._jobs, self._slots)
        return Result(
            cost=(weighted + COST * self.reads) / tasks,
            stretch=makespan,
            requests=(self.reads + self.creates) / tasks,
            bytes=self._server.bytes / tasks,
            lag95=sorted(lag for lag, _ in self.ends)[int(0.95 * tasks)],
        )

    def _act(self) -> None:
        """Send all creates and queries that are due; wake up when more may be."""
        now = self._events.now
        arrival = now + ROUND_TRIP / 2
        for ticket in self._pool.admit(now):
            self.creates += 1
            self._events.at(arrival, self._create, ticket)
        for query in self._policy.ask(now):
            self.reads += query.requests
            self._events.at(arrival, self._read, query)
        wake = min(self._policy.next_time(), self._pool.next_time())
        if wake < self._wake:
            self._wake = wake
            self._events.at(wake, self._woken, wake)

    def _woken(self, wake: float) -> None:
        if wake == self._wake:
            self._wake = math.inf
            self._act()

    def _create(self, ticket: Ticket) -> None:
        """A create arrives at the server; its answer takes half a round trip, too."""
        task = self._server.create(self._queued[ticket], ticket)
        answer = self._events.now + ROUND_TRIP / 2
        if task is None:
            self._events.at(answer, self._refused, ticket)
        else:
            self._events.at(answer, self._created, task, ticket)

    def _refused(self, ticket: Ticket) -> None:
        self._pool.refused(ticket, self._events.now, self._rng.random())
        self._act()

    def _created(self, task: _Task, ticket: Ticket) -> None:
        job, now = task.job, self._events.now
        self._pool.accepted(ticket, now)
        self._policy.add(
            task,
            pool="video",
            path=job.path,
            kind=job.kind,
            median=job.median,
            weight=job.weight,
            now=now,
        )
        self._act()

    def _read(self, query: StatusQuery) -> None:
        """A query arrives at the server; its answer takes half a round trip, too."""
        now = self._events.now
        shown = self._server.read(query)
        ended = {task for task in shown if task.end <= now}
        self._events.at(now + ROUND_TRIP / 2, self._answered, query, shown - ended, ended)

    def _answered(self, query: StatusQuery, running: set[_Task], ended: set[_Task]) -> None:
        now = self._events.now
        self._policy.answered(query, running, ended, now)
        for task in ended:
            if task.ticket is not None and task.ticket.phase is Phase.HELD:
                self.ends.append((now - task.end, task.job.weight))
                self._pool.release(task.ticket, now)
        self._act()


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
    """Return the schedule as a client uses it, with submits that queue for the pool."""
    forms, rng = QueryForms(batch_ids=batch_ids), random.Random(seed)
    schedule = Schedule(ScheduleParts(polling or Polling(), Retry(), Durations(), forms, rng))
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
    """Asks each product's list at a fixed interval, for a page as long as the number of running tasks."""

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
        if len(running) + len(ended) < len(query.keys):  # foreign tasks pushed ours off the page
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


class AlignedIds(_Rival):
    """Asks about all running tasks at the ticks of one grid, 20 ids a request, whatever their product."""

    def __init__(self, period: float) -> None:
        super().__init__()
        self._period = period
        self._running: dict[Hashable, None] = {}
        self._tick = 0
        """Number of the next tick."""

    def add(self, key: Hashable, *, now: float, **_: Any) -> None:
        """Start to poll a task that was created."""
        if not self._running:
            self._tick = max(self._tick, math.ceil(now / self._period))
        self._running[key] = None

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now."""
        if now < self._tick * self._period or not self._running:
            return []
        self._tick += 1
        keys = tuple(self._running)
        return [
            self._query("ids", "", keys[at : at + IDS_MAX], IDS_MAX, now)
            for at in range(0, len(keys), IDS_MAX)
        ]

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer; forget the tasks that ended."""
        for key in ended:
            self._running.pop(key, None)

    def next_time(self) -> float:
        """Return when to ask next."""
        return self._tick * self._period if self._running else math.inf
