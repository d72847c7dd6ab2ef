"""Run the benchmark of downloads at a tiny size."""

from __future__ import annotations

import pytest

from benchmarks import downloads


@pytest.mark.real
@pytest.mark.anyio
async def test_downloads_runs() -> None:
    """Each of the three ways stores all files and has its runs."""
    row = await downloads.measure(downloads.Case("tiny", 3, 200_000), repeats=1)
    assert [len(runs) for runs in (row.ours, row.bare, row.durable)] == [1, 1, 1]
    assert row.megabytes == pytest.approx(0.6)
    assert all(
        row.ratios(what, rival)[0] > 0.0 for what in ("time", "cpu") for rival in (row.bare, row.durable)
    )
