"""Snapshots of a fleet: numbers from rows that were written by hand, and how often they are counted."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from kling_async.batch.entry import JobState
from kling_async.errors import ConfigurationError, OutOfUnits
from kling_async.fleet import Fleet
from kling_async.fleet.database import connect
from kling_async.fleet.status import FleetReader
from kling_async.orchestrator.ledger.facts import Stage
from kling_async.orchestrator.ledger.plain_errors import dump_error
from kling_async.orchestrator.ledger.postgres_database import PostgresDatabase
from kling_async.orchestrator.ledger.postgres_tables import make_tables

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from kling_async.fleet.status import FleetStatus

pytestmark = [pytest.mark.anyio, pytest.mark.real]

_JOB = """
    INSERT INTO jobs (batch, identity, position, state, attempt, priority, label, pool, endpoint, entry,
        fence, done, ended_at, cancelled, reason)
    SELECT %(batch)s, decode(md5(%(batch)s || %(first)s + n), 'hex'), %(first)s + n, %(state)s, 0,
        %(priority)s, %(label)s, 'video', 'text_to_video', '', %(fence)s,
        CASE WHEN %(ago)s::float8 IS NULL THEN NULL ELSE %(first)s + n END,
        now() - make_interval(secs => %(ago)s), %(cancelled)s, %(reason)s
    FROM generate_series(1, %(count)s) n"""


async def jobs(
    db: AsyncConnection[Any],
    batch: str,
    first: int,
    count: int,
    *,
    state: JobState = JobState.PLANNED,
    **facts: Any,
) -> None:
    """Write jobs that are alike."""
    usual = {"priority": 0, "label": "", "fence": 1, "ago": None, "cancelled": False, "reason": None}
    values = {"state": int(state), **usual, **facts}
    await db.execute(_JOB, {"batch": batch, "first": first, "count": count, **values})


async def write_batches(db: AsyncConnection[Any]) -> None:
    """Write two batches: one that runs, one that has ended."""
    batch = """INSERT INTO batches (id, name, created, total, done, succeeded, failed, cancelled, units)
        VALUES (%s, %s, to_timestamp(%s), %s, %s, %s, %s, %s, %s)"""
    await db.execute(batch, ("a", "open", 1000, 100, 30, 20, 7, 3, 12.5))
    await db.execute(batch, ("b", "ended", 2000, 5, 5, 5, 0, 0, 5))
    await jobs(db, "a", 0, 40, priority=1, label="day")
    await jobs(db, "a", 100, 11, label="night")
    await jobs(db, "a", 200, 15, state=JobState.CREATED)
    await jobs(db, "a", 300, 4, state=JobState.SUCCEEDED)
    done = {"state": JobState.DONE}
    await jobs(db, "a", 400, 8, **done, ago=10)
    await jobs(db, "a", 500, 12, **done, ago=120)
    await jobs(db, "a", 600, 2, state=JobState.FAILED, ago=30, reason="TaskFailed")
    await jobs(db, "a", 700, 5, state=JobState.FAILED, ago=3000, reason="PolicyViolation")
    await jobs(db, "a", 800, 3, ago=5, cancelled=True)
    await jobs(db, "b", 0, 5, **done, ago=5, fence=0)


async def status_of(dsn: str) -> FleetStatus:
    """Return a snapshot, as programs take one."""
    async with Fleet(dsn) as fleet:
        return await fleet.status()


async def test_jobs_are_counted_by_what_becomes_of_them(dsn: str) -> None:
    """By state, priority and label, batch and reason; the rate leaves out what no worker has done."""
    await Fleet(dsn).init()
    async with connect(dsn) as db:
        await write_batches(db)
    found = await status_of(dsn)
    assert (found.total, found.queued, found.running, found.storing) == (105, 51, 15, 4)
    assert (found.succeeded, found.failed, found.cancelled, found.ended) == (25, 7, 3, 35)
    assert found.units == 17.5
    shares = [(share.priority, share.label, share.jobs) for share in found.queue]
    assert shares == [(1, "day", 40), (0, "night", 11)]
    assert found.failures == {"PolicyViolation": 5, "TaskFailed": 2}
    assert (found.last_minute, found.failed_lately) == (10, 2)
    # 22 ends within the window, the first of them 120 s ago
    assert found.per_minute == pytest.approx(11, rel=0.05)
    assert found.seconds_left == pytest.approx(70 / 11 * 60, rel=0.05)
    first, second = found.batches
    assert (first.name, first.created, first.queued, first.running, first.storing) == (
        "open",
        1000,
        51,
        15,
        4,
    )
    assert (second.name, second.total, second.succeeded, second.queued) == ("ended", 5, 5, 0)
    assert (found.pools, found.members, found.orphans, found.batches_more) == ([], [], [], 0)
    assert json.loads(json.dumps(found.to_dict()))["queue"][0]["label"] == "day"


async def test_a_fleet_without_jobs_has_a_status(dsn: str) -> None:
    """Before the first submit all numbers are 0, and no time is left to wait for."""
    await Fleet(dsn).init()
    found = await status_of(dsn)
    assert (found.total, found.queued, found.per_minute, found.seconds_left) == (0, 0, 0.0, None)


async def test_long_lists_are_cut_and_say_so(dsn: str) -> None:
    """A label for each of many customers, and many batches, make no endless snapshot; totals count all."""
    await Fleet(dsn).init()
    async with connect(dsn) as db:
        await db.execute("INSERT INTO batches (id, name, total) SELECT n, n, 2 FROM generate_series(1, 60) n")
        for number in range(1, 61):
            await jobs(db, str(number), 0, 2, label=f"customer {number}")
    found = await status_of(dsn)
    assert (len(found.queue), found.queue_more) == (30, 30)
    assert (len(found.batches), found.batches_more, found.queued) == (50, 10, 120)


# -- the ledger

_POOL = """INSERT INTO pools (id, account, name, bound, source, belief, held, waiting, pacing, breakers,
    parked, error, half_open_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_LEASE = """INSERT INTO leases (owner, number, pool, stage, weight, priority, label, turn, epoch, probe,
    since, aside, orphan, wanted, news, endpoint, external_task_id, task_id, kind)
    VALUES (?, ?, ?, ?, ?, 0, '', 0, 0, 0, 0, 0, ?, 0, 0, '/v1/videos/text2video', ?, ?, '')"""
_CALM = "[0, false, -Infinity, -Infinity, 1.0]"


def write_ledger(dsn: str, *, accounts: int = 1) -> None:
    """Write pools, processes and leases as the ledger does."""
    with contextlib.closing(PostgresDatabase(dsn)) as db:
        db.begin()
        make_tables(db)
        fill_ledger(db, accounts)


def fill_ledger(db: PostgresDatabase, accounts: int) -> None:
    """Write the rows."""
    (now,) = db.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    for account in range(1, accounts + 1):
        db.execute("INSERT INTO accounts VALUES (?, 'https://h', ?, 11, 0)", (account, f"acc-{account}"))
    for owner, name, age in ((11, "node:1", 0.2), (12, "node:2", 4.0), (13, "web:9", 0.5)):
        db.execute("INSERT INTO owners VALUES (?, 1, ?, ?, 0)", (owner, name, now - age))
    db.execute(_POOL, (1, 1, "video", 10, "packs", 9, 9, 7, _CALM, "[]", 0, None, None))
    error = dump_error(OutOfUnits("no units left", code=1102))
    pacing = json.dumps([3, True, 0, now + 20, 2.0])
    full = (2, accounts, "image", 3, "caller", 1, 0, 1, pacing, "[]", 0, error, now + 30)
    db.execute(_POOL, full)
    held, sent, queued = int(Stage.HELD), int(Stage.SENT), int(Stage.QUEUED)
    for row in (
        (11, 1, 1, held, 2, None, "e1", "t1"),
        (11, 2, 1, sent, 1, None, "e2", ""),
        (12, 3, 1, held, 3, None, "e3", "t3"),
        (13, 4, 1, held, 1, None, "e4", "t4"),
        (77, 5, 1, held, 2, now - 6, "e5", "t5"),
        (11, 6, 1, queued, 5, None, "e6", ""),
    ):
        db.execute(_LEASE, row)


async def test_slots_are_told_by_who_holds_them(dsn: str) -> None:
    """Pools with their limits and why they are closed; workers by name with their slots; orphans."""
    await Fleet(dsn).init()
    write_ledger(dsn)
    async with connect(dsn) as db:
        ages = "now() - interval '60 s', now() - make_interval(secs => %s)"
        row = f"INSERT INTO workers VALUES (%s, %s, {ages}, 16, 9, 1)".encode()
        await db.execute(row, ("x", "node:1", 0.1))
        await db.execute(row, ("y", "node:2", 4))
    found = await status_of(dsn)
    video, image = found.pools
    assert (video.name, video.limit, video.source, video.usable, video.held) == ("video", 10, "packs", 9, 9)
    assert (video.orphaned, video.queued, video.reason) == (2, 7, "")
    assert image.reason.startswith("closed: no units left")
    assert "(tried again in 30 s)" in image.reason
    assert "rests for 20 s" in image.reason
    one, two, web = found.members
    assert (one.name, one.slots, one.asks, one.jobs, one.concurrency) == ("node:1", {"video": 3}, True, 9, 16)
    assert one.seconds == pytest.approx(60, abs=5)
    assert (two.name, two.slots, two.asks) == ("node:2", {"video": 3}, False)
    assert two.beat == pytest.approx(4, abs=2)
    assert (web.name, web.slots, web.concurrency, web.jobs) == ("web:9", {"video": 1}, None, None)
    (orphan,) = found.orphans
    assert (orphan.pool, orphan.slots, orphan.task_id, orphan.external_task_id) == ("video", 2, "t5", "e5")
    assert orphan.seconds == pytest.approx(6, abs=2)


async def test_pools_of_several_accounts_are_told_apart(dsn: str) -> None:
    """Two accounts in one database may have pools of the same name."""
    await Fleet(dsn).init()
    write_ledger(dsn, accounts=2)
    found = await status_of(dsn)
    assert [pool.name for pool in found.pools] == ["acc-1/video", "acc-2/image"]
    assert found.members[0].slots == {"acc-1/video": 3}


async def test_tables_of_a_newer_ledger_are_not_guessed_at(dsn: str) -> None:
    """What a newer program wrote may mean something else."""
    await Fleet(dsn).init()
    write_ledger(dsn)
    async with connect(dsn) as db:
        await db.execute("UPDATE kling_slots.schema SET version=9, oldest_reader=9")
    with pytest.raises(ConfigurationError, match="upgrade kling-async"):
        await status_of(dsn)


async def test_counts_are_kept_for_twenty_times_as_long_as_they_took(dsn: str) -> None:
    """A count that is slow burdens the server for a twentieth of the time; what is cheap is always new."""
    await Fleet(dsn).init()
    times = iter([0.0, 2.0, 41.9, 42.0, 44.0])
    reader = FleetReader(clock=lambda: next(times))
    async with connect(dsn) as db:
        await db.execute("INSERT INTO batches (id, name, total) VALUES ('a', 'a', 10)")
        await jobs(db, "a", 0, 10)
        assert [share.jobs for share in (await reader.read(db)).queue] == [10]
        await jobs(db, "a", 100, 5, state=JobState.CREATED)
        await db.execute("UPDATE batches SET total=15")
        kept = await reader.read(db)
        assert (kept.total, kept.queued, kept.running) == (15, 15, 0)
        assert kept.counted > 0
        new = await reader.read(db)
        assert (new.total, new.queued, new.running, new.counted) == (15, 10, 5, 0.0)


async def test_a_count_that_is_older_than_the_ends_never_makes_negative_numbers(dsn: str) -> None:
    """All running jobs end between two counts: none runs, none is queued."""
    await Fleet(dsn).init()
    times = iter([0.0, 100.0, 101.0])
    reader = FleetReader(clock=lambda: next(times))
    async with connect(dsn) as db:
        await db.execute("INSERT INTO batches (id, name, total) VALUES ('a', 'a', 10)")
        await jobs(db, "a", 0, 10, state=JobState.CREATED)
        assert (await reader.read(db)).running == 10
        await db.execute("UPDATE batches SET done=9, succeeded=9")
        found = await reader.read(db)
        assert (found.queued, found.running, found.storing) == (0, 1, 0)
        assert (found.batches[0].queued, found.batches[0].running) == (0, 1)


async def test_counting_reads_only_the_jobs_that_matter(dsn: str) -> None:
    """The queries use the indexes that the module names, so that a million ended jobs cost nothing."""
    from kling_async.fleet import status  # noqa: PLC0415 - its queries are looked at

    await Fleet(dsn).init()
    async with connect(dsn) as db:
        await db.execute("INSERT INTO batches (id, name, total) VALUES ('a', 'a', 10)")
        await jobs(db, "a", 0, 3000, state=JobState.DONE, ago=4000)
        await jobs(db, "a", 5000, 2000)
        await db.execute("VACUUM ANALYZE jobs")
        plans: dict[str, tuple[str, Any]] = {
            "jobs_open": (status._OPEN, {"planned": 0, "most": 9}),
            "jobs_ended": (status._ENDED, {"minute": 60, "window": 300, "failed": 4}),
            "jobs_failed": (status._REASONS, (9,)),
        }
        for index, (query, values) in plans.items():
            rows = await (await db.execute(f"EXPLAIN {query}".encode(), values)).fetchall()
            plan = "\n".join(line for (line,) in rows)
            assert index in plan
            assert "Seq Scan on jobs" not in plan


async def test_a_snapshot_needs_the_tables(dsn: str) -> None:
    """Without them the error is PostgreSQL's, for whoever reads without a `Fleet`."""
    async with connect(dsn) as db:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await FleetReader().read(db)
