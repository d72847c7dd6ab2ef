"""The benchmark of shared slots runs, at a tiny size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import ledger

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@pytest.mark.parametrize("kind", ["file", "postgres"])
async def test_workers_and_wake_up(tmp_path: Path, dsn: str, kind: str) -> None:
    """Two workers end all their tasks within the account's slots; a release in one wakes another."""
    slots = dsn if kind == "postgres" else f"sqlite://{tmp_path}/slots.db"
    found = await ledger.measure(slots, 2, 12, 0.2)
    assert (found.refused, found.peak <= ledger.SLOTS) == (0, True)
    assert found.requests >= 1
    assert 0 < await ledger.wake_up(slots, 2) < 10


async def test_paces(tmp_path: Path, dsn: str) -> None:
    """The paces of all ledgers are measured, and the wake-up in memory."""
    assert ledger.pace_in_memory(100) > ledger.pace_in_a_file(tmp_path, 20) > 0
    assert ledger.pace_in_postgres(dsn, 5) > 0
    assert 0 <= await ledger.wake_up(None, 2) < 10
