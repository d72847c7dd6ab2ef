"""The schedule of status queries: which to send now, and when to look again.

Tasks that are *wanted* (somebody waits for them, or queues for their slots) belong to *poll groups*:
one for each product's list, one for all tasks asked by ids, one for each task asked alone. A group is due
when the idle slot-seconds expected since its last look (the sum over its tasks of weight x the integral of
P(ended since)) reach the price of its requests, `Polling.request_cost` slot-seconds each. For a constant
stream of ends that balances lag against requests exactly, and for a single task within half a per cent of
the optimum. Rounds and rates bind on top; the silence of callbacks counts, too (`core.callbacks`).

Due times are stored. A group's is computed anew after an answer, or when an eighth of its tasks have changed,
so that a task that comes costs about a tenth of a millisecond.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from kling_async.core.callbacks import Reliance
from kling_async.core.grouping import Demand, Grouping
from kling_async.core.poll_groups import IdleEstimate, PolledTask
from kling_async.core.queries import StatusQuery
from kling_async.core.rounds import DueGroups, Rounds

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from kling_async.core.callbacks import ExpectedCallback
    from kling_async.core.poll_groups import PollGroup
    from kling_async.core.schedule_parts import ScheduleParts

__all__ = ["PolledTask", "Schedule", "Turns"]

_JITTER: Final = 0.05
"""Relative jitter of the pause between two looks, so that many clients do not ask in step. Idleness grows
about like the square of the pause, so the price is scaled by the square of this."""
_STALE_FRACTION: Final = 8
"""A group's due time is computed anew when one in so many of its tasks has changed."""


class Turns(NamedTuple):
    """The reads that go now."""

    lookups: int
    """How many look-ups of creates in doubt."""
    queries: list[StatusQuery]
    """The status queries to send."""
    refreshes: int
    """How many refreshes."""


class Schedule:
    """Decides which status queries to send and when. Times are seconds of the caller's clock."""

    def __init__(self, parts: ScheduleParts) -> None:
        self._polling, self._retry, self._durations, self._forms, self._rng = parts
        self._tasks: dict[Hashable, PolledTask] = {}
        self._demand = Demand()
        self._grouping = Grouping(parts.forms)
        self._due = DueGroups(parts.polling)
        self._rounds = Rounds(parts.polling, parts.forms)
        self._reliance = Reliance()
        self._queries = 0
        self._now = -math.inf

    def __len__(self) -> int:
        return len(self._tasks)

    # -- tasks and demand

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
        callback: ExpectedCallback | None = None,
    ) -> None:
        """Start to poll a task, as soon as it is wanted.

        Args:
            key: The caller's name for it.
            pool: The pool whose slots it holds.
            path: The path of its product's list.
            kind: What its duration depends on.
            median: Seconds to expect of a kind never seen.
            now: The time.
            weight: How many slots it holds.
            started: When it began, if not now.
            at_once: Nothing is known of it yet: ask as soon as the rates allow.
            callback: The callback that is to tell its end, if any.
        """
        self.remove(key)
        self._advance(now)
        law = self._durations.law(kind, median)
        began = now if started is None else min(started, now)
        estimate = IdleEstimate(law, weight, began, attended=not at_once, callback=callback)
        if callback is not None:
            self._reliance.add(callback.channel)
        task = PolledTask(key, pool, path, estimate, self._grouping.next_rank(path))
        task.urgent = at_once
        self._tasks[key] = task
        self._demand.add(task)
        self._sync(task)

    def remove(self, key: Hashable) -> None:
        """Forget a task."""
        task = self._tasks.pop(key, None)
        if task is not None:
            self._demand.remove(task)
            self._sync(task)

    def add_waiter(self, key: Hashable) -> PolledTask:
        """Count one waiter more for a task; return the token that `remove_waiter` takes."""
        task = self._tasks[key]
        task.waiters += 1
        self._sync(task)
        return task

    def remove_waiter(self, task: PolledTask) -> None:
        """Count one waiter less; harmless if the task was forgotten meanwhile."""
        task.waiters -= 1
        self._sync(task)

    def set_contention(self, pool: str, contended: bool) -> bool:
        """Take whether anybody queues for a pool, whose tasks are wanted then; return whether that is new."""
        tasks = self._demand.contend(pool, contended)
        if tasks is None:
            return False
        for task in tasks:
            task.urgent = task.urgent or (contended and task.query == 0)
            self._sync(task)
        return True

    def hurry(self, key: Hashable, now: float) -> None:
        """Ask about this task as soon as the rates allow: there is a hint that it has changed."""
        task = self._tasks.get(key)
        if task is not None:
            self._advance(now)
            task.hinted_at = now
            task.urgent = task.urgent or task.query == 0
            self._sync(task)

    def told(self, key: Hashable, now: float) -> None:
        """Take that a callback, which is believed, tells the end of a task; it is forgotten."""
        task = self._tasks.get(key)
        if task is not None:
            self._advance(now)
            task.idleness.told_ended(now)
            self.remove(key)

    def expected_end(
        self, key: Hashable, share: float = 0.5, *, now: float = -math.inf, least: int = 1
    ) -> float | None:
        """Return the time by which a share of the tasks like this one, of those that run now, have ended.

        None where fewer than ``least`` durations of its kind are known.
        """
        task = self._tasks.get(key)
        if task is None or task.idleness.law.known < least:
            return None
        started = task.idleness.started
        return started + task.idleness.law.quantile(share, max(0.0, now - started))

    # -- queries

    def ask(self, now: float) -> list[StatusQuery]:
        """Return the queries to send now; each must be `answered`, `failed` or `unsupported`."""
        self._advance(now)
        queries: list[StatusQuery] = []
        while (group := self._first()) is not None and self._rounds.allows(group.due, now):
            query = self._take(group, now)
            self._rounds.spend(query.requests, now)
            queries.append(query)
        self._rounds.end_round(math.inf if group is None else group.due, now)
        return queries

    def take_turns(self, now: float, *, lookups: int, refreshes: int) -> Turns:
        """Share the rate among all reads that wait.

        Look-ups of creates in doubt go first, because slots stay held and submits wait for their answers. The
        status queries that are due come next, then refreshes.

        Args:
            now: The time.
            lookups: How many look-ups wait, at most.
            refreshes: How many refreshes wait, at most.
        """
        first = self._spare(lookups, now)
        queries = self.ask(now)
        return Turns(first, queries, self._spare(refreshes, now))

    def _spare(self, wanted: int, now: float) -> int:
        """Take up to that many requests of the rate, outside of rounds; return how many were to be had."""
        self._advance(now)
        return next((taken for taken in range(wanted) if not self._rounds.spend_spare(now)), wanted)

    def next_time(self, *, spare: bool = False) -> float:
        """Return when `ask` may have something to return; inf: not before another call changes things.

        With ``spare``, also when the rate lets another read go.
        """
        group = self._first()
        due = math.inf if group is None else self._rounds.next_time(group.due)
        return min(due, self._rounds.rate_allows) if spare else due

    def answered(
        self, query: StatusQuery, running: Collection[Hashable], ended: Collection[Hashable], now: float
    ) -> None:
        """Take an answer: tasks seen ended teach their durations and are forgotten.

        Tasks that the answer of a group left out are asked about alone, at once. A single task that was not
        found is asked about again, alone; the caller decides when it counts as gone, and removes it.
        """
        self._advance(now)
        found: dict[str, int] = {}
        tasks = self._returned(query)
        for task in tasks:
            found.setdefault(task.path, 0)
            self._grouping.asking(query, task).failures = 0
            if task.key in ended:
                found[task.path] += 1
                task.idleness.seen_ended(query.asked_at, now, hinted=task.hinted_at < math.inf)
                self.remove(task.key)
            elif task.key in running:
                found[task.path] += 1
                self._seen_running(task, query)
            elif query.form == "one":
                task.idleness.looked = query.asked_at
            else:
                self._left_out(task, query)
            self._sync(task)
        if query.form != "one":
            asked = Counter(task.path for task in tasks)
            for path, hits in found.items():
                self._forms.record_answer(query.form, path, hits, asked[path] - hits)

    def failed(self, query: StatusQuery, now: float, jitter: float, after: float | None = None) -> int:
        """Take that a query was not answered: it is asked again after a growing pause.

        Args:
            query: The query.
            now: The time.
            jitter: A random number from 0 to 1.
            after: Seconds that the server asked to wait.

        Returns:
            How often it failed in a row.
        """
        tasks = self._returned(query)
        if not tasks:
            return 0
        group = self._grouping.asking(query, tasks[0])
        self._advance(now)
        pause = self._retry.pause(group.failures, jitter)
        group.failures += 1
        group.due, group.not_before = math.inf, now + (pause if after is None else max(pause, after))
        self._due.mark_stale(group)  # others may have joined it while the query was out
        self._ask_again(tasks)
        return group.failures

    def unsupported(self, query: StatusQuery, now: float) -> None:
        """Take that lists or ids are refused here: ask in another form, at once.

        Single GETs are never unsupported; they only have `failed`.
        """
        self._advance(now)
        self._forms.mark_broken(query.form, query.path, self._now)
        self._ask_again(self._returned(query))
        self._choose_forms()

    # -- within: queries

    def _advance(self, now: float) -> None:
        self._now = max(self._now, now)

    def _first(self) -> PollGroup | None:
        """Return the group that is due first."""
        if self._grouping.outdated:
            self._choose_forms()
        if self._reliance.fell():
            for task in self._tasks.values():
                if task.group is not None and task.idleness.callback is not None:
                    self._due.mark_stale(task.group)
        return self._due.first(self._now, self._rounds.next_round, len(self._tasks) + len(self._grouping))

    def _take(self, group: PollGroup, now: float) -> StatusQuery:
        """Make the query of a due group; its tasks are out of the group until it is answered."""
        tasks = group.most_pressing(now, self._polling.max_interval)
        if group.form == "list":
            tasks = self._without_stragglers(group.path, tasks)
        self._queries += 1
        oldest = now
        for task in tasks:
            task.idleness.ask(now, self._polling.request_cost)
            task.query, task.urgent = self._queries, False
            oldest = min(oldest, task.idleness.looked)
            self._leave_group(task)
        size = self._grouping.page_size(group.path, tasks) if group.form == "list" else 1
        group.last_gap, group.due = now - oldest, math.inf
        group.price = (1 + _JITTER * (2 * self._rng.random() - 1)) ** 2
        self._due.mark_stale(group)
        return StatusQuery(
            group.form, group.path, tuple(task.key for task in tasks), size, now, self._queries
        )

    def _without_stragglers(self, path: str, tasks: list[PolledTask]) -> list[PolledTask]:
        """Have tasks that are far behind asked about alone from now on; return the others."""
        far = self._grouping.far_behind(path, tasks)
        if len(far) == len(tasks):  # the query is under way and needs one: the next newest
            far = far[1:]
        for task in far:
            task.omissions.far_behind = True
            self._count(task)
            self._sync(task)
        return [task for task in tasks if task not in far]

    def _returned(self, query: StatusQuery) -> list[PolledTask]:
        """Return the tasks of a query that are still polled; the query is over for them."""
        tasks = [task for key in query.keys if (task := self._tasks.get(key)) is not None]
        tasks = [task for task in tasks if task.query == query.number]
        for task in tasks:
            task.query = 0
        return tasks

    def _ask_again(self, tasks: list[PolledTask]) -> None:
        for task in tasks:
            task.urgent = True
            self._sync(task)

    def _seen_running(self, task: PolledTask, query: StatusQuery) -> None:
        task.idleness.seen_running(query.asked_at)
        if task.idleness.callback is not None and query.asked_at < task.hinted_at < math.inf:
            task.urgent = True  # the callback came while the query was out, which may have missed the end
        else:
            task.hinted_at = math.inf
        if query.form != "one":
            task.omissions.clear()
        elif (form := task.omissions.form) is not None:  # it was there when a group's answer left it out
            if self._forms.record_wrong_omission(form, task.path, self._now):
                self._choose_forms()
            task.omissions.form = None
            if not task.omissions.ask_alone:
                self._count(task)

    def _left_out(self, task: PolledTask, query: StatusQuery) -> None:
        task.urgent = True
        was_alone = task.omissions.ask_alone
        task.omissions.add(query.form)
        if not was_alone:
            self._count(task)

    # -- within: groups

    def _sync(self, task: PolledTask) -> None:
        """Bring a task into the group where it belongs, after anything about it changed."""
        wanted = self._demand.wants(task)
        if wanted != task.active:
            task.active = task.idleness.resumed = wanted
            self._count(task)
        if not wanted or task.query:
            self._leave_group(task)
            return
        group = self._grouping.group_of(task)
        if task.group is not group:
            self._leave_group(task)
            task.group = group
            group.tasks[task] = None
            self._joined(group, task)
        elif task.urgent:
            self._due.mark_stale(group)

    def _count(self, task: PolledTask) -> None:
        if self._grouping.count(task):
            self._choose_forms()

    def _choose_forms(self) -> None:
        for task in self._grouping.choose(self._now):
            self._sync(task)

    def _joined(self, group: PollGroup, task: PolledTask) -> None:
        """See that a group is asked in time for a task that joined it, too."""
        self._changed(group)
        estimate = task.idleness
        if (
            task.urgent
            or group.due == math.inf
            or estimate.latest_look(self._polling.max_interval) < group.due
            or estimate.at(group.due)[0] > self._polling.request_cost / _STALE_FRACTION
        ):
            self._due.mark_stale(group)

    def _leave_group(self, task: PolledTask) -> None:
        if task.group is not None:
            del task.group.tasks[task]
            self._changed(task.group)
            task.group = None

    def _changed(self, group: PollGroup) -> None:
        group.changes += 1
        if group.changes * _STALE_FRACTION > len(group.tasks):
            self._due.mark_stale(group)
