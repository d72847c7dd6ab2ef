"""Workers carry jobs to their ends, each once, whatever becomes of workers and of the database."""

from __future__ import annotations

import pytest

from tests.fleet.support import film, rows
from tests.fleet.working import at_work, read, site

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_jobs_run_and_their_results_have_addresses(dsn: str) -> None:
    """All jobs of a batch end well, each created once; nothing of them is left in the queue."""
    async with site(dsn) as (fleet, emu):
        made = await fleet.submit([film(f"shot {n}") for n in range(10)], batch="films")
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 10
        assert all(outcome.result.videos[0].url for outcome in outcomes)
        assert len(emu.tasks) == 10
        counts = "SELECT total, done, succeeded, failed FROM batches WHERE id=%s"
        assert await rows(dsn, counts, made.batch) == [(10, 10, 10, 0)]
        assert await rows(dsn, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]
        assert await rows(dsn, "SELECT count(*) FROM workers") == [(0,)]
