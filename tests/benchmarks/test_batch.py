"""The benchmark of batches runs, at a tiny size."""

from __future__ import annotations

import pytest

from benchmarks import batch


@pytest.mark.real
@pytest.mark.parametrize("journal", [False, True])
def test_memory_runs(journal: bool) -> None:
    """The benchmark makes every job in its own process, and memory hardly grows after the first tenth."""
    found, pace = batch.measure(400, journal=journal)
    assert len(found) == 10 and pace > 0
    assert found[-1] - found[0] < 2 * batch.TARGET
