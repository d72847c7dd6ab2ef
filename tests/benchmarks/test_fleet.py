"""The benchmark of a fleet runs, at a tiny size; its long queue also at the full one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from benchmarks import fleet

if TYPE_CHECKING:
    from tests.postgres import Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_workers_and_cost(dsn: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers end all their tasks within the account's slots; a task's cost is counted."""
    found = await fleet.measure(dsn, 2, 16, 0.3)
    assert (found.refused, found.peak <= fleet.SLOTS) == (0, True)
    assert found.makespan > 1 and found.requests >= 1
    monkeypatch.setattr(fleet, "IDLE", 1.0)
    spent = await fleet.cost(postgres.new_database(), 1, 16)
    assert spent.commits > 1 and spent.wal > 0 and spent.rows > 1 and spent.connections > 1


async def test_a_long_queue_stays_cheap(dsn: str, postgres: Postgres) -> None:
    """With 100,000 jobs in the queue a worker is as small as with few, and the server knows their number.

    Without that knowledge it would sort all of them whenever one is taken.
    """
    short = await fleet.queue(postgres.new_database(), 100, 10)
    long = await fleet.queue(dsn, fleet.QUEUED, 10)
    assert long.memory < short.memory + 15
    assert long.size < 2000
    with psycopg.connect(dsn) as db:
        known = fleet.one(
            db, "SELECT reltuples FROM pg_class WHERE oid='kling_fleet.procrastinate_jobs'::regclass"
        )
    assert known >= 0.9 * fleet.QUEUED
