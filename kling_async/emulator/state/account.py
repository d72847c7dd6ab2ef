"""The account behind the API: its tasks, slots, units and packs. Knows no HTTP and never awaits."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.calls.calls import CALLS
from kling_async.emulator.calls.context import Desk
from kling_async.emulator.footage.files import Shelf, shelf_of
from kling_async.emulator.footage.shapes import shape_of
from kling_async.emulator.http.answers import Refusal
from kling_async.emulator.judging.judge import judge, judge_query
from kling_async.emulator.judging.rules.table import check_rules, resolved
from kling_async.emulator.state.durations import (
    count_of,
    typical_seconds,
    units_of,
    uses_voices,
    weight_of,
    with_spread,
)
from kling_async.emulator.state.ledger import Ledger, Row, without_payloads
from kling_async.emulator.state.library import UNSEEN_SECONDS, Library
from kling_async.emulator.state.lookups import Source, look_up
from kling_async.emulator.state.outputs import made_by
from kling_async.emulator.state.packs import Pack, packs_for
from kling_async.emulator.state.pools import Pools
from kling_async.emulator.state.tasks import Task, Tasks

if TYPE_CHECKING:
    from kling_async.emulator.calls.results import Links
    from kling_async.emulator.judging.reference import Endpoint
    from kling_async.emulator.state.clock import Clock

__all__ = ["PROMPT_WORDS", "Account", "Duration"]

Duration = float | Callable[[Task], float]
"""Seconds a task takes, or what tells them."""

PROMPT_WORDS: Final = {
    "emulator:refuse": "the create is refused with code 1301",
    "emulator:fail": "the task ends as failed",
    "emulator:seconds=N": "the task takes N seconds",
}
"""Words in a prompt, or in any other text of a request, that the emulator obeys."""

_SECONDS: Final = re.compile(r"emulator:seconds=(\d+(?:\.\d+)?)")
IDS_MAX: Final = 20
"""Ids that one query takes."""
_FIRST_ID: Final = 847_570_360_000_000_000
"""Task ids have 18 digits."""


class Account:
    """One account. What may be changed while it runs is public."""

    def __init__(
        self,
        clock: Clock,
        ledger: Ledger,
        *,
        slots: Mapping[str, int],
        foreign: Mapping[str, int],
        units: Mapping[str, float],
        packs: Sequence[Pack] | None,
        speed: float,
        seed: int,
    ) -> None:
        self.units = dict(units)
        """Units left per pool; a pool that is not in it never runs out."""
        self.packs = packs
        """The resource packs shown; None for those that bring exactly the slots there are."""
        self.code: int | None = None
        """A code that answers every create, such as 1100 or 1101; 1304 answers every request."""
        self.forbidden_models: set[str] = set()
        """Models the account has no right to: 1103."""
        self.duration: Duration | None = None
        self.pools = Pools(slots, foreign, lambda pool, used: ledger.held(pool, clock.time(), used))
        self.tasks = Tasks(clock, self._settle)
        self.library = Library(clock.time, self._new_id)
        self._clock = clock
        self._speed = speed
        self._seed = seed
        self._ids = random.Random(f"{seed} ids")  # noqa: S311 - made up, not secret
        self._last_id = _FIRST_ID
        self._costs_read = float("-inf")

    def create(self, endpoint: Endpoint, body: dict[str, Any] | None, row: Row) -> Task:
        """Make a task, or refuse to; ``row`` is the ledger's entry of the request."""
        kept = self._judged(endpoint, body, row)
        source = look_up(endpoint.name, kept, self.library)
        shape = shape_of(endpoint, kept)
        full: dict[str, Any] = without_payloads(resolved(endpoint, kept), endpoint.params)
        if "emulator:refuse" in _texts(full):
            raise Refusal(1301, "Failure to pass the risk control system")
        if row.external_task_id and self.tasks.knows_external(row.external_task_id):
            raise Refusal(1201, f"external_task_id {row.external_task_id} already exists")
        task = self._admit(endpoint, full, source, shape)
        self.tasks.add(task)
        row.task_id = task.task_id
        return task

    def call(self, endpoint: Endpoint, body: dict[str, Any] | None, row: Row, links: Links) -> Any:
        """Do what is answered at once, and return the ``data``, or refuse to; only what is done is paid."""
        kept = self._judged(endpoint, body, row)
        full = resolved(endpoint, kept) | self._page(endpoint, row.query)
        units = units_of(endpoint, full)
        pool = _purse(endpoint)
        if pool != "none":
            if "emulator:refuse" in _texts(without_payloads(full, endpoint.params)):
                raise Refusal(1301, "Failure to pass the risk control system")
            self._afford(pool, units)
        desk = Desk(self.library, self.tasks, self._clock, links, units, self.units)
        data = CALLS[endpoint.name](desk, full)
        self._move_units(pool, -units)
        return data

    def shelf_of(self, its_id: str) -> Shelf | None:
        """Return what has the files of an id."""
        return shelf_of(its_id, self.tasks.by_id, self.library)

    @staticmethod
    def _judged(endpoint: Endpoint, body: dict[str, Any] | None, row: Row) -> dict[str, Any]:
        """Return the fields that are set, or refuse."""
        if endpoint.method == "GET":
            return {}
        if body is None:
            raise Refusal(1200, "Request body is not a JSON object")
        kept, row.unknown_fields = judge(endpoint, body)
        check_rules(endpoint, kept)
        return kept

    @staticmethod
    def _page(endpoint: Endpoint, query: Mapping[str, str]) -> dict[str, Any]:
        return judge_query(endpoint.pages, dict(query)) if endpoint.method == "GET" else {}

    def _afford(self, pool: str, units: Decimal, model: str | None = None) -> None:
        """Refuse what the account may not or cannot pay."""
        if self.code is not None:
            raise Refusal(self.code)
        if model in self.forbidden_models:
            raise Refusal(1103)
        left = self.units.get(pool, float("inf"))
        if pool != "none" and (pool not in self.pools.sizes or left <= 0 or left < units):
            raise Refusal(1102)

    def _admit(self, endpoint: Endpoint, body: dict[str, Any], source: Source, shape: str) -> Task:
        """Take slots and units for a task, or refuse."""
        pool, weight = endpoint.pool, weight_of(endpoint, body)
        seconds = float(body.get("duration", UNSEEN_SECONDS)) if source.seconds is None else source.seconds
        count = count_of(endpoint, body, self._ids)
        units = units_of(endpoint, _priced(body, source), seconds, count)
        self._afford(pool, units, body.get("model_name"))
        if not self.pools.take(pool, weight):
            raise Refusal(1303)
        self._move_units(pool, -units)
        now, now_ms = self._clock.time(), self._clock.wall_ms()
        task = Task(
            task_id=self._new_id(),
            endpoint=endpoint.name,
            body=body,
            external_task_id=body.get("external_task_id"),
            pool=pool,
            weight=weight,
            units=units,
            created=now,
            starts=now,
            ends=now,
            created_ms=now_ms,
            updated_ms=now_ms,
            result_id=self._new_id(),
            seconds=seconds,
            aspect=shape,
            count=count,
            source=source,
            ending="failed" if "emulator:fail" in _texts(body) else "succeed",
        )
        lasts = self._seconds(endpoint, task)
        task.starts, task.ends = now + min(1.0, lasts / 10), now + lasts
        return task

    def _new_id(self) -> str:
        self._last_id += self._ids.randrange(2, 1_000_000)
        return str(self._last_id)

    def _seconds(self, endpoint: Endpoint, task: Task) -> float:
        """Seconds until a new task ends: told by its prompt, by a test, or drawn for this task alone."""
        told = _SECONDS.search(_texts(task.body))
        if told is not None:
            return float(told[1])
        if callable(self.duration):
            return self.duration(task)
        if self.duration is not None:
            return self.duration
        rng = random.Random(f"{self._seed} {task.task_id}")  # noqa: S311 - a spread, not a secret
        typical = typical_seconds(endpoint, task.body, task.seconds, task.count)
        return with_spread(typical, rng) / self._speed

    def _settle(self, task: Task) -> None:
        """Free an ended task's slots; one that failed gets its units back, what one made can be used."""
        self.pools.free(task.pool, task.weight)
        if task.status == "failed":
            self._move_units(task.pool, task.units)
            return
        task.made = made_by(task)
        for thing in task.made:
            self.library.keep(thing)

    def _move_units(self, pool: str, by: Decimal) -> None:
        if pool in self.units:
            self.units[pool] = float(Decimal(str(self.units[pool])) + by)

    def find(self, endpoint: Endpoint, either_id: str) -> Task:
        """Return a task by the account's id, or by the caller's where the endpoint takes it."""
        task = self.tasks.find(endpoint.name, either_id, external=endpoint.answers.by_external_task_id)
        if task is None:
            raise Refusal(1201, "Task not found by id/external id")
        return task

    def by_ids(self, query: Mapping[str, str]) -> list[Task]:
        """Return the tasks of up to 20 ids of one kind, oldest first; unknown ids are left out."""
        kinds = [name for name in ("task_ids", "external_task_ids") if query.get(name)]
        if len(kinds) != 1:
            raise Refusal(1201, "task_ids or external_task_ids is required, one of them")
        ids = query[kinds[0]].split(",")
        if len(ids) > IDS_MAX:
            raise Refusal(1201, f"at most {IDS_MAX} ids at once, not {len(ids)}")
        found = (self.tasks.anywhere(name, external=kinds[0] != "task_ids") for name in dict.fromkeys(ids))
        return sorted((task for task in found if task is not None), key=lambda task: task.task_id)

    def page(self, endpoint: Endpoint, query: dict[str, str]) -> list[Task]:
        """Return the page of tasks that a list request asks for."""
        asked = judge_query(endpoint.pages, query)
        return self.tasks.page(endpoint.name, asked["pageNum"], asked["pageSize"])

    def costs(self, endpoint: Endpoint, query: dict[str, str]) -> dict[str, Any]:
        """Return the packs bought within the window asked for; at most once a second."""
        asked = judge_query(endpoint.params, query)
        now, wall = self._clock.time(), self._clock.wall()
        if now - self._costs_read < 1.0:
            raise Refusal(1302)
        self._costs_read = now
        packs = packs_for(self.pools.sizes, self.units) if self.packs is None else self.packs
        shown = [
            entry
            for entry in (pack.as_json(now, wall) for pack in packs)
            if asked["start_time"] <= entry["purchase_time"] <= asked["end_time"]
            and asked["resource_pack_name"] in (None, entry["resource_pack_name"])
        ]
        return {"code": 0, "msg": "success", **({"resource_pack_subscribe_infos": shown} if shown else {})}


def _purse(endpoint: Endpoint) -> str:
    """Return the pool that pays for a call."""
    return endpoint.prices[0]["pool"] if endpoint.prices else "none"


def _priced(body: dict[str, Any], source: Source) -> dict[str, Any]:
    """Return what a price follows from: the source's model, and voices only if the prompt names one."""
    if source.clip is not None:
        return {"model_name": source.clip.model, "mode": source.clip.mode, **body}
    return body if uses_voices(body) else {name: body[name] for name in body if name != "voice_list"}


def _texts(value: object) -> str:
    """All texts in a body, one a line."""
    if isinstance(value, dict):
        fields: dict[str, object] = value
        return "\n".join(_texts(field) for field in fields.values())
    if isinstance(value, list):
        items: list[object] = value
        return "\n".join(_texts(item) for item in items)
    return value if isinstance(value, str) else ""
