"""When to ask which question.

Tasks that are *wanted* (somebody waits for them, or queues for a slot that they hold) sit at *desks*: one for
each product's list, one for all that are asked by ids, one for each task asked alone. A desk is due when the
idle slot-seconds expected since its last look, the sum over its tasks of weight x the integral of
P(ended since), reach the price of its requests: for a constant stream of ends that balances lag against
requests exactly, and for a single task within half a per cent of the optimum. Rates bind on top of it.

Due times are stored, and found by Newton's method in logarithms, where the integral is nearly straight. A
desk is computed anew after an answer, or when an eighth of its tasks have changed: a task that comes costs
about a tenth of a millisecond, however many there are.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from typing import TYPE_CHECKING, Final

from kling_async.core.durations import KNOWN
from kling_async.core.poll_groups import PolledTask, PollGroup
from kling_async.core.queries import StatusQuery
from kling_async.records import PAGE_SIZE_MAX

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Hashable

    from kling_async.core.durations import Durations
    from kling_async.core.queries import Form, QueryForms
    from kling_async.options import Polling, Retry

__all__ = ["PolledTask", "Schedule"]

_JITTER: Final = 0.05
_STALE: Final = 8
"""A desk is computed anew when one in so many of its tasks has changed."""
_MISSES: Final = 2
"""After so many group answers without it, a task is always asked alone."""


class Schedule:
    """Which questions to ask now, and when to look again. Times are seconds of the caller's clock."""

    def __init__(
        self, polling: Polling, retry: Retry, durations: Durations, forms: QueryForms, rng: random.Random
    ) -> None:
        self._polling = polling
        self._retry = retry
        self._durations = durations
        self._forms = forms
        self._rng = rng
        self._tasks: dict[Hashable, PolledTask] = {}
        self._pools: dict[str, dict[PolledTask, None]] = {}
        self._paths: dict[str, dict[PolledTask, None]] = {}
        """Active tasks that may be asked about together."""
        self._made: dict[str, int] = {}
        """How many tasks each path has had."""
        self._chosen: dict[str, Form] = {}
        self._recounted = False
        self._desks: dict[tuple[Form, str], PollGroup] = {}
        self._stale: dict[PollGroup, None] = {}
        self._heap: list[tuple[float, int, PollGroup]] = []
        self._crowded: set[str] = set()
        self._count = self._order = 0
        self._now = self._next_round = self._next_question = -math.inf
        self._round = -math.inf
        """While a round is under way: what is due by then goes along with it."""

    def __len__(self) -> int:
        return len(self._tasks)

    # -- tasks and who wants them

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
        started: float | None = None,
        at_once: bool = False,
    ) -> None:
        """Begin to look after a task; ``at_once`` where nothing is known of it yet.

        Args:
            key: The caller's name for it.
            pool: Whose slots it holds.
            path: Its product's list.
            kind: Of what its duration depends on.
            median: What to expect of a kind never seen.
            now: The time.
            weight: How many slots it holds.
            started: When it began, if not now.
            at_once: Ask as soon as the rates allow.
        """
        self.remove(key)
        self._now = max(self._now, now)
        law = self._durations.law(kind, median)
        task = PolledTask(key, pool, path, law, weight, now if started is None else min(started, now))
        task.urgent, task.attended = at_once, not at_once
        task.rank = self._made[path] = self._made.get(path, 0) + 1
        self._tasks[key] = task
        self._pools.setdefault(pool, {})[task] = None
        self._sync(task)

    def remove(self, key: Hashable) -> None:
        """Forget a task."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.forgotten = True
            del self._pools[task.pool][task]
            self._sync(task)

    def want(self, key: Hashable) -> PolledTask:
        """One waiter more; what is returned ends the wish by `unwant`."""
        task = self._tasks[key]
        task.wants += 1
        self._sync(task)
        return task

    def unwant(self, wish: PolledTask) -> None:
        """One waiter less; harmless if the task was forgotten meanwhile."""
        wish.wants -= 1
        self._sync(wish)

    def crowd(self, pool: str, crowded: bool) -> bool:
        """Somebody queues for this pool, and asks at once; or nobody does any more. False: that was known."""
        if crowded == (pool in self._crowded):
            return False
        (self._crowded.add if crowded else self._crowded.discard)(pool)
        for task in self._pools.get(pool, ()):
            task.urgent = task.urgent or (crowded and task.number == 0)
            self._sync(task)
        return True

    def hurry(self, key: Hashable, now: float) -> None:
        """Ask about this task as soon as the rates allow."""
        task = self._tasks.get(key)
        if task is not None and task.number == 0:
            self._now = max(self._now, now)
            task.urgent = True
            self._sync(task)

    def expected_end(
        self, key: Hashable, share: float = 0.5, *, now: float = -math.inf, least: int = 1
    ) -> float | None:
        """Return by when that share of tasks like this one, of those that still run now, has ended.

        None where fewer than ``least`` durations are known.
        """
        task = self._tasks.get(key)
        if task is None or task.law.known < least:
            return None
        return task.started + task.law.quantile(share, max(0.0, now - task.started))

    # -- asking

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the questions to send now, each to be `answered`, `failed` or `unsupported`.

        What would be due before another round may be goes along with this one. Else two lists, each due a
        little less often than rounds may be, are asked in turns and wait for each other (7 % measured).
        """
        self._now = max(self._now, now)
        questions: list[StatusQuery] = []
        while self._next_question <= now and (desk := self._head()) is not None and self._when(desk) <= now:
            if self._round == -math.inf:
                self._round = now + self._polling.min_interval
            question = self._take(desk, now)
            spent = question.requests / self._polling.requests_per_second
            self._next_question = max(self._next_question, now) + spent
            questions.append(question)
            self._next_round = now + self._polling.min_interval
        desk = self._head()
        if desk is None or desk.due > max(self._round, now):  # else the round goes on as the rate allows
            self._round = -math.inf
        return questions

    def next_time(self) -> float:
        """Return when `ask` may have something to return; inf: not before another call changes things."""
        desk = self._head()
        return math.inf if desk is None else max(self._when(desk), self._next_question)

    def _when(self, desk: PollGroup) -> float:
        """Return when a desk may ask, as far as rounds go: at once, if it goes along with one under way."""
        if self._round == -math.inf:
            return max(desk.due, self._next_round)
        return -math.inf if desk.due <= self._round else desk.due

    def answered(
        self, question: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """An answer came. What was seen ended teaches its duration and is forgotten.

        What the answer of a list or of ids does not contain is asked about alone, at once. A single task that
        was not found is asked about again, alone: when it counts as gone the caller decides, and removes it.
        """
        self._now = max(self._now, now)
        found: dict[str, int] = {}
        tasks = self._returned(question)
        for task in tasks:
            found.setdefault(task.path, 0)
            self._desk(question, task).failures = 0
            if task.key in ended:
                found[task.path] += 1
                if task.attended:
                    task.law.learn(task.looked - task.started, question.asked - task.started)
                self.remove(task.key)
            elif task.key in running:
                found[task.path] += 1
                self._seen(task, question)
            elif question.form == "one":
                task.looked = question.asked
            else:
                task.misses += 1
                task.missed, task.urgent = question.form, True
                self._set_alone(task, alone=True)
            self._sync(task)
        if question.form != "one":
            asked = Counter(task.path for task in tasks)
            for path, hits in found.items():
                self._forms.noted(question.form, path, hits, asked[path] - hits)

    def failed(self, question: StatusQuery, now: float, jitter: float, after: float | None = None) -> int:
        """The question was not answered: again after a growing pause. Returns how often in a row."""
        tasks = self._returned(question)
        if not tasks:
            return 0
        desk = self._desk(question, tasks[0])
        self._now = max(self._now, now)
        pause = self._retry.pause(desk.failures, jitter)
        desk.failures += 1
        desk.due, desk.resume = math.inf, now + (pause if after is None else max(pause, after))
        for task in tasks:
            task.urgent = True
            self._sync(task)
        return desk.failures

    def unsupported(self, question: StatusQuery, now: float) -> None:
        """Lists or ids are refused here: ask otherwise, at once. Single GETs only ever have `failed`."""
        self._now = max(self._now, now)
        self._forms.broken(question.form, question.path, self._now)
        for task in self._returned(question):
            task.urgent = True
            self._sync(task)
        self._rechoose()

    # -- within: questions

    def _take(self, desk: PollGroup, now: float) -> StatusQuery:
        tasks = desk.worst(now, self._polling.max_interval)
        self._count += 1
        path = desk.path
        size = 1
        oldest = now
        for task in tasks:
            if task.joined and task.idle(now)[0] > 2 * self._polling.request_cost:
                task.attended = False  # nobody wanted it in time: when its end is seen says nothing
            task.number, task.urgent, task.joined = self._count, False, False
            oldest = min(oldest, task.looked)
            self._unseat(task)
        if desk.form == "list":
            size = self._forms.page(path, self._made[path] + 1 - min(task.rank for task in tasks))
        desk.gap, desk.due = now - oldest, math.inf
        desk.price = (1 + _JITTER * (2 * self._rng.random() - 1)) ** 2
        self._stale[desk] = None
        return StatusQuery(desk.form, path, tuple(task.key for task in tasks), size, now, self._count)

    def _returned(self, question: StatusQuery) -> list[PolledTask]:
        """Return those of its tasks that are still looked after; the question is over for them."""
        tasks = [task for key in question.keys if (task := self._tasks.get(key)) is not None]
        tasks = [task for task in tasks if task.number == question.number]
        for task in tasks:
            task.number = 0
        return tasks

    def _seen(self, task: PolledTask, question: StatusQuery) -> None:
        task.looked, task.attended = question.asked, True
        missed, task.missed = task.missed, None
        if question.form != "one":
            task.misses = 0
        elif missed is not None:
            if self._forms.wrong(missed, task.path, self._now):
                self._rechoose()
            self._set_alone(task, alone=task.misses >= _MISSES)

    # -- within: desks

    def _sync(self, task: PolledTask) -> None:
        """Bring a task to where it belongs, after anything about it changed."""
        wanted = not task.forgotten and (task.wants > 0 or task.pool in self._crowded)
        if wanted != task.active:
            task.active = wanted
            task.joined = wanted
            self._count_in(task)
        if not wanted or task.number:
            self._unseat(task)
            return
        desk = self._seat(task)
        if task.desk is not desk:
            self._unseat(task)
            task.desk = desk
            desk.tasks[task] = None
            self._joined(desk, task)
        elif task.urgent:
            self._stale[desk] = None

    def _joined(self, desk: PollGroup, task: PolledTask) -> None:
        """See that a desk is asked in time also for a task that came to it."""
        self._changed(desk)
        longest = self._polling.max_interval if task.law.known < KNOWN else math.inf
        if (
            task.urgent
            or desk.due == math.inf
            or task.looked + longest < desk.due
            or task.idle(desk.due)[0] > self._polling.request_cost / _STALE
        ):
            self._stale[desk] = None

    def _unseat(self, task: PolledTask) -> None:
        if task.desk is not None:
            del task.desk.tasks[task]
            self._changed(task.desk)
            task.desk = None

    def _changed(self, desk: PollGroup) -> None:
        desk.changes += 1
        if desk.changes * _STALE > len(desk.tasks):
            self._stale[desk] = None

    def _seat(self, task: PolledTask) -> PollGroup:
        """Return the desk where a task belongs."""
        form = "one" if task.alone else self._chosen[task.path]
        if form == "one":
            task.own = task.own or PollGroup("one", task.path)
            return task.own
        task.own = None
        place = (form, "" if form == "ids" else task.path)
        desk = self._desks.get(place)
        if desk is None:
            desk = self._desks[place] = PollGroup(*place)
        return desk

    def _desk(self, question: StatusQuery, task: PolledTask) -> PollGroup:
        """Return the desk that asked."""
        if question.form == "one":
            task.own = task.own or PollGroup("one", task.path)
            return task.own
        return self._desks[question.form, question.path]

    def _set_alone(self, task: PolledTask, *, alone: bool) -> None:
        if task.alone != alone:
            task.alone = alone
            self._count_in(task)

    def _count_in(self, task: PolledTask) -> None:
        """Keep the counts by which forms are chosen, anew before the next question."""
        path = self._paths.setdefault(task.path, {})
        if task.active and not task.alone:
            path[task] = None
        else:
            path.pop(task, None)
        self._recounted = True
        if task.path not in self._chosen:
            self._rechoose()

    def _rechoose(self) -> None:
        """Choose the forms anew; move the tasks of those paths where it changed."""
        before, self._recounted = self._chosen, False
        self._forms.forgive(self._now)
        self._chosen = self._forms.choose({path: len(tasks) for path, tasks in self._paths.items() if tasks})
        for path, form in self._chosen.items():
            if before.get(path, form) != form:
                for task in tuple(self._paths[path]):
                    self._sync(task)

    def _head(self) -> PollGroup | None:
        """Return the desk that is due first."""
        if self._recounted:
            self._rechoose()
        for desk in self._stale:
            if not desk.tasks:
                desk.due = math.inf
            elif desk.due > self._now:  # what is overdue keeps its turn
                price = desk.price * self._polling.request_cost * self._requests(desk)
                earliest = max(self._now, desk.resume, self._next_round)
                desk.due = desk.when(price, earliest, self._polling.max_interval)
                self._order += 1
                heapq.heappush(self._heap, (desk.due, self._order, desk))
            desk.changes = 0
        self._stale.clear()
        if len(self._heap) > 64 + 4 * (len(self._tasks) + len(self._desks)):
            self._heap = [item for item in self._heap if item[0] == item[2].due and item[2].tasks]
            heapq.heapify(self._heap)
        while self._heap:
            due, _, desk = self._heap[0]
            if due == desk.due and desk.tasks:
                return desk
            heapq.heappop(self._heap)
        return None

    def _requests(self, desk: PollGroup) -> int:
        return math.ceil(len(desk.tasks) / PAGE_SIZE_MAX) if desk.form == "list" else 1
