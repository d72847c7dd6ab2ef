"""The benchmark of the journal runs, at a tiny size."""

from __future__ import annotations

import pytest

from benchmarks import journal


@pytest.mark.real
def test_writing_runs() -> None:
    """Both ways of writing write their rows."""
    row = journal.writing(50, rows=100, pairs=1)
    assert row.ours > 0 and row.other > 0 and row.ratio == row.ours / row.other


@pytest.mark.real
def test_resuming_runs_and_rows_are_small() -> None:
    """Every job is found finished; a finished row takes less than 400 bytes."""
    rows = journal.resuming(2000, pairs=1)
    assert all(row.ratio > 0 for row in rows.ratios.values())
    assert 0 < rows.size < 400
