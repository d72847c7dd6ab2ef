"""Grouping: which tasks are wanted, in which form they are asked about, and hence their poll group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.core.poll_groups import PollGroup
from kling_async.core.queries import group_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.core.poll_groups import PolledTask
    from kling_async.core.queries import Form, QueryForms, StatusQuery

__all__ = ["Demand", "Grouping"]


_REACH: Final = 3
"""Tasks end in another order than they began: a list reaches back over so many for each that runs."""
_REACH_MARGIN: Final = 60
"""The least that a list may reach back: as cheap as one more query."""


class Demand:
    """The tasks that somebody wants news of: a waiter, or a submit that queues for their pool."""

    def __init__(self) -> None:
        self._pools: dict[str, dict[PolledTask, None]] = {}  # of sets that keep the order
        self._contended: set[str] = set()

    def add(self, task: PolledTask) -> None:
        """Know a task."""
        self._pools.setdefault(task.pool, {})[task] = None

    def remove(self, task: PolledTask) -> None:
        """Forget a task: nobody can want it any more."""
        del self._pools[task.pool][task]

    def wants(self, task: PolledTask) -> bool:
        """Return whether anybody wants news of a task."""
        wanted = task.waiters > 0 or task.pool in self._contended
        return wanted and task in self._pools[task.pool]

    def contend(self, pool: str, contended: bool) -> Iterable[PolledTask] | None:
        """Take whether anybody queues for a pool; return its tasks, or None if nothing changed."""
        if contended == (pool in self._contended):
            return None
        (self._contended.add if contended else self._contended.discard)(pool)
        return self._pools.get(pool, {})


class Grouping:
    """The poll group of each task, by the forms that cost the fewest requests just now."""

    def __init__(self, forms: QueryForms) -> None:
        self._forms = forms
        self._groups: dict[tuple[Form, str], PollGroup] = {}
        self._together: dict[str, dict[PolledTask, None]] = {}
        """By path: active tasks that may be asked about together."""
        self._chosen: dict[str, Form] = {}
        self._made: dict[str, int] = {}
        """How many tasks each path has ever had; a task's rank is its place among them."""
        self.outdated = False
        """Whether the counts changed since the forms were chosen."""

    def __len__(self) -> int:
        return len(self._groups)

    def next_rank(self, path: str) -> int:
        """Return the rank of the next task of a path."""
        rank = self._made[path] = self._made.get(path, 0) + 1
        return rank

    def page_size(self, path: str, tasks: Iterable[PolledTask]) -> int:
        """Return how many tasks to ask a list for, so that it reaches back to the oldest of these."""
        return self._forms.page_size(path, self._made[path] + 1 - min(task.rank for task in tasks))

    def far_behind(self, path: str, tasks: Iterable[PolledTask]) -> list[PolledTask]:
        """Return the tasks that stand far behind the others of a list, whose size follows what runs.

        A task is far behind if more than `_REACH` times as many tasks were made since it as run that are
        newer, give or take `_REACH_MARGIN`: it is cheaper to ask about it alone.
        """
        newest_first = sorted(tasks, key=lambda task: -task.rank)
        made = self._made[path]
        return [
            task
            for place, task in enumerate(newest_first, 1)
            if made + 1 - task.rank > _REACH * place + _REACH_MARGIN
        ]

    def count(self, task: PolledTask) -> bool:
        """Update the counts after a task changed; return whether the forms must be chosen at once."""
        together = self._together.setdefault(task.path, {})
        if task.active and not task.omissions.ask_alone:
            together[task] = None
        else:
            together.pop(task, None)
        self.outdated = True
        return task.path not in self._chosen

    def choose(self, now: float) -> list[PolledTask]:
        """Choose the forms anew; return the tasks whose form changed."""
        before, self.outdated = self._chosen, False
        self._forms.retry_broken(now)
        self._chosen = self._forms.choose(
            {path: len(tasks) for path, tasks in self._together.items() if tasks}
        )
        changed = [path for path, form in self._chosen.items() if before.get(path, form) != form]
        return [task for path in changed for task in self._together[path]]

    def group_of(self, task: PolledTask) -> PollGroup:
        """Return the group where a task belongs."""
        form = "one" if task.omissions.ask_alone else self._chosen[task.path]
        if form == "one":
            return self._own(task)
        task.own_group = None
        place = (form, group_path(form, task.path))
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = PollGroup(*place)
        return group

    def asking(self, query: StatusQuery, task: PolledTask) -> PollGroup:
        """Return the group that sent a query about this task."""
        return self._own(task) if query.form == "one" else self._groups[query.form, query.path]

    def _own(self, task: PolledTask) -> PollGroup:
        task.own_group = task.own_group or PollGroup("one", task.path)
        return task.own_group
