"""The forms in which one can ask about tasks, what they cost, and which of them work on this account.

A *list* is the newest page of one product (path); *ids* are up to 20 task ids at ``/tasks``, whatever
their paths; *one* is a GET of a single task. A round uses the fewest requests, then the fewest bytes. A form
that is refused, or whose answers keep leaving out what they were asked for, is not used for an hour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from kling_async.records import PAGE_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

__all__ = ["IDS_MAX", "Form", "QueryForms", "StatusQuery"]

IDS_MAX: Final = 20
"""Ids that ``/tasks`` takes at once; 21 are refused."""
_WRONG_MAX: Final = 3
"""Tasks wrongly left out, none found between them, after which a form counts as not working."""

_AGAIN: Final = 3600.0
"""Seconds after which a form that was given up is tried once more: a gateway may have had a bad day."""

Form = Literal["list", "ids", "one"]


class StatusQuery(NamedTuple):
    """What to send: at ``path`` a list's newest ``size`` tasks, at ``/tasks`` these ids, or a single GET."""

    form: Form
    path: str
    """Of the list or of the one task; empty for ids."""
    keys: tuple[Hashable, ...]
    """The tasks that the answer should contain."""
    size: int
    """How many tasks to ask a list for; more than a page holds is asked page after page."""
    asked: float
    number: int
    """No two questions of a schedule have the same."""

    @property
    def requests(self) -> int:
        """How many requests it takes."""
        return math.ceil(self.size / PAGE_SIZE_MAX)


class QueryForms:
    """What is known of the forms on this account; shared by all schedules of one account."""

    def __init__(self, *, batch_ids: bool) -> None:
        self._ids = batch_ids
        self._broken: dict[tuple[Form, str], float] = {}
        self._wrong: dict[tuple[Form, str], int] = {}
        self._surplus: dict[str, float] = {}

    def works(self, form: Form, path: str) -> bool:
        """Whether to ask about tasks of this path in that form."""
        if form == "ids" and (not self._ids or ("ids", "") in self._broken):
            return False
        return (form, path) not in self._broken

    def broken(self, form: Form, path: str, now: float) -> None:
        """It was refused: ids for the whole account if ``path`` is empty, else for that path's tasks."""
        if form != "one":
            self._broken[form, path] = now + _AGAIN

    def forgive(self, now: float) -> None:
        """Let what was given up long ago be tried again."""
        for key in [key for key, until in self._broken.items() if until <= now]:
            del self._broken[key]

    def noted(self, form: Form, path: str, found: int, missing: int) -> None:
        """Take how many of the tasks that it was asked for an answer had."""
        if found:
            self._wrong.pop((form, path), None)
        if form == "list":
            surplus = self._surplus.get(path, 1.0)
            grown = min(2 * surplus + missing, found + missing + 50)
            self._surplus[path] = max(surplus, grown) if missing else surplus * 0.995

    def wrong(self, form: Form, path: str, now: float) -> bool:
        """A task that an answer had left out was found alone; return whether the form is given up."""
        count = self._wrong[form, path] = self._wrong.get((form, path), 0) + 1
        if count < _WRONG_MAX:
            return False
        self.broken(form, path, now)
        return True

    def page(self, path: str, own: int) -> int:
        """Return how many to ask a list for, where ``own`` of ours are newer than the oldest that matters.

        Others' tasks are in it too; how many is learned from those of ours that were missing.
        """
        return own + math.ceil(self._surplus.get(path, 1.0))

    def choose(self, running: Mapping[str, int]) -> dict[str, Form]:
        """Return the form for the tasks of each path, given how many run there.

        The paths with the most tasks are listed, as many as saves requests; ids serve the others together. On
        a tie ids win: their answers hold nothing else. One task alone is asked for by a GET, which is
        documented for every account and says most.
        """
        if sum(running.values()) == 1:
            return dict.fromkeys(running, "one")
        chosen: dict[str, Form] = {}
        both: list[str] = []
        rest = 0
        for path, count in running.items():
            if self.works("ids", path):
                chosen[path] = "ids"
                rest += count
                if self.works("list", path):
                    both.append(path)
            else:
                chosen[path] = "list" if count > 1 and self.works("list", path) else "one"
        if rest <= IDS_MAX:
            return chosen
        both.sort(key=lambda path: -running[path])
        cost = best = math.ceil(rest / IDS_MAX)
        lists = 0
        pages = 0
        for place, path in enumerate(both, 1):
            pages += math.ceil(running[path] / PAGE_SIZE_MAX)
            rest -= running[path]
            cost = pages + math.ceil(rest / IDS_MAX)
            if cost < best:
                best, lists = cost, place
        chosen.update((path, "list") for path in both[:lists])
        return chosen
