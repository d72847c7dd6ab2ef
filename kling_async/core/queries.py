"""The forms of a status query, what they cost, and which of them work on this account.

A *list* is the newest page of one product (path); *ids* are up to 20 task ids at ``/tasks``, whatever
their paths; *one* is a GET of a single task. A round uses the fewest requests, then the fewest bytes. A form
that is refused, or whose answers keep leaving out tasks they were asked for, is not used for an hour.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from kling_async.decoding.generations import asked_at
from kling_async.records import PAGE_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from kling_async.wire.dialects.dialect import Speaker

__all__ = ["IDS_MAX", "Form", "QueryForms", "StatusQuery", "group_path"]

IDS_MAX: Final = 20
"""Ids that ``/tasks`` takes at once; 21 are refused."""
_WRONG_OMISSIONS_MAX: Final = 3
"""Tasks wrongly left out, with none found between them, after which a form counts as broken."""
_RETRY_AFTER: Final = 3600.0
"""Seconds after which a broken form is tried again: a gateway may have had a bad day."""
_SURPLUS_START: Final = 1.0
"""Tasks of others assumed among ours on a list page before anything is learned."""
_SURPLUS_DECAY: Final = 0.995
"""Factor per complete answer: after about 140 of them the surplus has halved."""
_SURPLUS_MARGIN: Final = 50
"""The surplus grows to at most the tasks asked for plus this."""

Form = Literal["list", "ids", "one"]


class StatusQuery(NamedTuple):
    """One query to send: the newest ``size`` tasks of a list, some ids at ``/tasks``, or a single GET."""

    form: Form
    path: str
    """Of the list or of the one task; for ids empty, or ``/solutions``."""
    keys: tuple[Hashable, ...]
    """The tasks that the answer should contain."""
    size: int
    """How many tasks to ask a list for; more than a page holds is asked page after page."""
    asked_at: float
    number: int
    """Unique within a schedule."""

    @property
    def requests(self) -> int:
        """How many HTTP requests it takes."""
        return math.ceil(self.size / PAGE_SIZE_MAX)


def group_path(form: Form, path: str) -> str:
    """Return the path that stands for the tasks of a path which are asked about together in a form.

    ``/tasks`` answers for all tasks by their ids; those of ``/solutions`` have a query of their own.
    """
    if form != "ids":
        return path
    return at if (at := asked_at(path)) == "/solutions" else ""


class QueryForms:
    """The forms known to work on this account; shared by all schedules of one account.

    Args:
        batch_ids: Whether ``/tasks`` may be asked at all.
        server: Tells what can be asked, as far as that is known; None: whatever the vendor can be.
    """

    def __init__(self, *, batch_ids: bool, server: Speaker | None = None) -> None:
        self._batch_ids = batch_ids
        self._server = server
        self._broken: dict[tuple[Form, str], float] = {}
        """Until when a form is not used."""
        self._wrong_omissions: dict[tuple[Form, str], int] = {}
        self._surplus: dict[str, float] = {}

    @property
    def min_interval(self) -> float:
        """Seconds between two rounds below which the server's answers cannot be newer."""
        return 0.0 if self._server is None else self._server.current.min_interval

    def works(self, form: Form, path: str) -> bool:
        """Return whether that form can be used for tasks of this path."""
        if form != "one" and self._server is not None and not self._server.current.lists:
            return False
        later = bool(asked_at(path))  # the second generation knows ids on every account, and no lists
        if form == "ids" and (
            not (self._batch_ids or later) or ("ids", group_path(form, path)) in self._broken
        ):
            return False
        return (form, path) not in self._broken and not (later and form == "list")

    def mark_broken(self, form: Form, path: str, now: float) -> None:
        """Stop using a form: ids for the whole account if ``path`` is empty, else for that path's tasks.

        For tasks of the second generation, single queries are then left.
        """
        if form != "one":  # documented for every account: there is nothing to fall back on
            self._broken[form, path] = now + _RETRY_AFTER

    def retry_broken(self, now: float) -> None:
        """Let forms that broke long enough ago be used again."""
        for key in [key for key, until in self._broken.items() if until <= now]:
            del self._broken[key]

    def record_answer(self, form: Form, path: str, found: int, missing: int) -> None:
        """Learn from an answer how many of the tasks asked for it had, and how many it left out."""
        if found:
            self._wrong_omissions.pop((form, path), None)
        if form == "list":
            surplus = self._surplus.get(path, _SURPLUS_START)
            grown = min(2 * surplus + missing, found + missing + _SURPLUS_MARGIN)
            self._surplus[path] = max(surplus, grown) if missing else surplus * _SURPLUS_DECAY

    def record_wrong_omission(self, form: Form, path: str, now: float) -> bool:
        """Count a task that an answer left out though it exists; return whether the form is given up."""
        count = self._wrong_omissions[form, path] = self._wrong_omissions.get((form, path), 0) + 1
        if count < _WRONG_OMISSIONS_MAX:
            return False
        self.mark_broken(form, path, now)
        return True

    def page_size(self, path: str, own: int) -> int:
        """Return how many tasks to ask a list for, if the oldest one that matters is our ``own``-th newest.

        Tasks of others stand between ours; how many is learned from those of ours that were missing.
        """
        return own + math.ceil(self._surplus.get(path, _SURPLUS_START))

    def choose(self, running: Mapping[str, int]) -> dict[str, Form]:
        """Return the form for the tasks of each path, given how many run there.

        The paths with the most tasks are listed, as many as saves requests; ids serve the others together. On
        a tie ids win: their answers hold nothing else. One task alone is asked for by a GET, which is
        documented for every account and says most.
        """
        if sum(running.values()) == 1:
            return dict.fromkeys(running, "one")
        chosen: dict[str, Form] = {}
        by_ids: dict[str, int] = {}
        for path, count in running.items():
            if self.works("ids", path):
                chosen[path] = "ids"
                if not group_path("ids", path):
                    by_ids[path] = count
            else:
                chosen[path] = "list" if count > 1 and self.works("list", path) else "one"
        chosen.update(dict.fromkeys(self._better_listed(by_ids), "list"))
        return chosen

    def _better_listed(self, by_ids: Mapping[str, int]) -> list[str]:
        """Return the paths whose lists save requests, of those that could be asked by ids."""
        rest = sum(by_ids.values())
        if rest <= IDS_MAX:
            return []
        listable = [path for path in by_ids if self.works("list", path)]
        listable.sort(key=lambda path: -by_ids[path])
        best = math.ceil(rest / IDS_MAX)
        lists = pages = 0
        for place, path in enumerate(listable, 1):
            pages += math.ceil(by_ids[path] / PAGE_SIZE_MAX)
            rest -= by_ids[path]
            cost = pages + math.ceil(rest / IDS_MAX)
            if cost < best:
                best, lists = cost, place
        return listable[:lists]
