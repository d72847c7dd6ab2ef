"""The benchmark of shared slots runs, at a tiny size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import ledger

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_workers_run(tmp_path: Path) -> None:
    """Two workers end all their tasks within the account's slots."""
    found = await ledger.measure(tmp_path, 2, 12, 0.2)
    assert (found.refused, found.peak <= ledger.SLOTS) == (0, True)
    assert found.requests >= 1


async def test_pace_and_wake_up(tmp_path: Path) -> None:
    """Both paces and the wake-up are measured."""
    assert ledger.pace_in_memory(100) > ledger.pace_in_a_file(tmp_path, 20) > 0
    assert 0 < await ledger.wake_up(tmp_path, 2) < 10
