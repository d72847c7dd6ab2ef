"""Read who holds the slots that a fleet shares, in the tables of the ledger (`orchestrator.ledger`).

Each query reads few rows, however many jobs wait: pools and processes are few, and leases are read by the
index ``lease_places`` (pool, stage), only those that hold slots.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.errors import ConfigurationError
from kling_async.orchestrator.ledger.facts import Stage
from kling_async.orchestrator.ledger.plain_errors import load_error
from kling_async.orchestrator.ledger.postgres_database import SCHEMA
from kling_async.orchestrator.ledger.postgres_tables import VERSION
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

__all__ = ["FleetOrphan", "FleetPool", "SlotHolder", "SlotUse", "read_slots"]

_ORPHANS_MAX: Final = 20
"""Most orphans that are named."""
_ACCOUNT_MAX: Final = 12
"""Characters of an account's name before that of a pool."""
_HOLDING: Final = [int(Stage.SENT), int(Stage.HELD)]
_THERE: Final = "SELECT FROM pg_catalog.pg_tables WHERE schemaname=%s AND tablename='schema'"
_VERSION: Final = f"SELECT version, oldest_reader FROM {SCHEMA}.schema"  # noqa: S608 - a name of ours, as below
_POOLS: Final = f"""
    SELECT p.id, a.account, p.name, p.bound, p.source, p.belief, p.held, p.waiting, p.error, p.half_open_at,
        p.pacing, p.breakers
    FROM {SCHEMA}.pools p JOIN {SCHEMA}.accounts a ON a.id=p.account ORDER BY a.id, p.id"""  # noqa: S608
_OWNERS: Final = f"""
    SELECT o.id, o.name, o.beat, o.id IS NOT DISTINCT FROM a.asker
    FROM {SCHEMA}.owners o JOIN {SCHEMA}.accounts a ON a.id=o.account ORDER BY o.id"""  # noqa: S608
_HELD: Final = f"""
    SELECT owner, pool, orphan IS NOT NULL, sum(weight)::bigint FROM {SCHEMA}.leases
    WHERE pool = ANY(%s) AND stage = ANY(%s) GROUP BY 1, 2, 3"""  # noqa: S608
_ORPHANS: Final = f"""
    SELECT pool, weight, endpoint, task_id, external_task_id, orphan FROM {SCHEMA}.leases
    WHERE pool = ANY(%s) AND stage = ANY(%s) AND orphan IS NOT NULL
    ORDER BY orphan, owner, number LIMIT {_ORPHANS_MAX}"""  # noqa: S608


class FleetPool(Serializable, frozen=True, kw_only=True):
    """One pool of slots, shared by all processes of an account."""

    name: str
    """``video``; with more than one account in the database ``ACCOUNT/video``."""
    limit: int
    """Slots of the account, as far as anybody knows."""
    source: str
    """Where the limit is known from: ``caller``, ``packs``, ``default``, ``1303``."""
    usable: int
    """Slots that can be had at the moment: fewer than the limit while others outside hold some."""
    held: int
    """Slots in use, those of orphans included."""
    orphaned: int = 0
    """Slots of tasks whose process is dead: in use until such a task is adopted or has ended."""
    queued: int = 0
    """Creates that wait for slots, in all processes."""
    reason: str = ""
    """Why creates of this pool are refused or held back; empty: they go as the slots allow."""


class FleetOrphan(Serializable, frozen=True, kw_only=True):
    """A task that holds slots and whose process is dead."""

    pool: str
    slots: int
    endpoint: str
    task_id: str
    """Empty: whether the task was created is not known yet."""
    external_task_id: str
    seconds: float
    """How long its process has been dead to the others."""


class SlotHolder(NamedTuple):
    """A process that shares the slots."""

    name: str
    """Host and process id."""
    beat: float
    """Seconds since its last sign of life."""
    asks: bool
    """Whether it asks the API for all processes of its account."""
    slots: Mapping[str, int]
    """Slots by pool."""


class SlotUse(NamedTuple):
    """The ledger as it stands; empty where there is none."""

    pools: Sequence[FleetPool] = ()
    holders: Sequence[SlotHolder] = ()
    orphans: Sequence[FleetOrphan] = ()


async def read_slots(db: AsyncConnection[Any], now: float) -> SlotUse:
    """Read the pools, who holds their slots, and orphans, of all accounts in the database.

    Args:
        db: Any connection to the database, best within a transaction that sees one state of it.
        now: The server's time, seconds since 1970.

    Raises:
        ConfigurationError: A newer program has made tables that this one cannot read.
    """
    if await (await db.execute(_THERE, (SCHEMA,))).fetchone() is None:
        return SlotUse()
    version = await (await db.execute(_VERSION.encode())).fetchone()
    if version is not None and version[1] > VERSION:
        raise ConfigurationError(f"the slot ledger has version {version[0]}; upgrade kling-async here")
    found = await (await db.execute(_POOLS.encode())).fetchall()
    names = _shown_names(found)
    wanted = [*names], _HOLDING
    owners = await (await db.execute(_OWNERS.encode())).fetchall()
    held = await (await db.execute(_HELD.encode(), wanted)).fetchall()
    orphans = await (await db.execute(_ORPHANS.encode(), wanted)).fetchall()
    slots: dict[int, dict[str, int]] = {}
    orphaned: dict[int, int] = {}
    for owner, pool, is_orphan, count in held:
        if is_orphan:
            orphaned[pool] = orphaned.get(pool, 0) + count
        else:
            slots.setdefault(owner, {})[names[pool]] = count
    return SlotUse(
        [_pool(row, names, orphaned.get(row[0], 0), now) for row in found],
        [SlotHolder(name, max(0.0, now - beat), asks, slots.get(n, {})) for n, name, beat, asks in owners],
        [_orphan(row, names, now) for row in orphans],
    )


def _shown_names(pools: Iterable[Sequence[Any]]) -> dict[int, str]:
    """Return the names of pools by their rows, with the account's where there are several."""
    rows = list(pools)
    several = len({row[1] for row in rows}) > 1
    return {row[0]: f"{row[1][:_ACCOUNT_MAX]}/{row[2]}" if several else row[2] for row in rows}


def _pool(row: Sequence[Any], names: Mapping[int, str], orphaned: int, now: float) -> FleetPool:
    number, _, _, limit, source, usable, held, waiting, *state = row
    return FleetPool(
        name=names[number],
        limit=limit,
        source=source,
        usable=usable,
        held=held,
        orphaned=orphaned,
        queued=waiting,
        reason="; ".join(_reasons(*state, now=now)),
    )


def _reasons(
    error: str | None, half_open_at: float | None, pacing: str, breakers: str, *, now: float
) -> list[str]:
    """Return why creates of a pool are refused, or held back."""
    found: list[str] = []
    if error is not None:
        found.append(f"closed: {load_error(error)}{_tried_in(half_open_at, now)}")
    for kind, refusal, _, held_by, back_at, _ in json.loads(breakers):
        if held_by is not None and refusal is not None:
            what = " ".join(str(part) for part in kind[:2] if part) or "some"
            found.append(f"{what} held back: {load_error(held_by)}{_tried_in(back_at, now)}")
    _, one_at_a_time, _, quiet_until, _ = json.loads(pacing)
    if quiet_until > now:
        found.append(f"rests for {quiet_until - now:.0f} s: too many requests")
    if one_at_a_time and error is None:
        found.append("the account is full: creates go one at a time")
    return found


def _tried_in(when: float | None, now: float) -> str:
    return "" if when is None or when <= now else f" (tried again in {when - now:.0f} s)"


def _orphan(row: Sequence[Any], names: Mapping[int, str], now: float) -> FleetOrphan:
    pool, weight, endpoint, task_id, external_task_id, since = row
    return FleetOrphan(
        pool=names[pool],
        slots=weight,
        endpoint=endpoint,
        task_id=task_id,
        external_task_id=external_task_id,
        seconds=max(0.0, now - since),
    )
