"""The benchmarks of CPU, memory and decoding run, at a tiny size; memory is held to its targets."""

from __future__ import annotations

import pytest

from benchmarks import codec, cost, waiting


@pytest.mark.real
def test_cost_runs() -> None:
    """Our client and the rival run all their tasks; each line of the table has its pairs."""
    rows = cost.table(tasks=20, repeats=1)
    assert [len(row.ours) == len(row.bare) == 1 for row in rows] == [True, True]
    assert all(row.cpu[0] > 0 and row.pace[0] > 0 for row in rows)


def test_codec_runs() -> None:
    """Our codec and the rival read and write the same."""
    rows = codec.table(tasks=5, image=320 * 320, repeats=1)
    assert [row.name for row in rows] == [
        "list page, its records",
        "list page, results as well",
        "image create",
    ]
    assert all(row.time[0] > 0 and row.peak > 0 for row in rows)


@pytest.mark.real
def test_waiting_runs_in_processes_of_its_own() -> None:
    """Memory and the time to cancel are measured."""
    assert all(figure >= 0 for figure in waiting.measure("submit", 200, repeats=1))


@pytest.mark.anyio
@pytest.mark.parametrize("kind", waiting.KINDS, ids=lambda kind: kind.name)
async def test_a_waiter_takes_little_memory(kind: waiting.Kind) -> None:
    """Beyond a bare task, twice the target at most; a wait has no target and is held to a submit's."""
    bare = await waiting.traced("bare", 1000)
    assert await waiting.traced(kind.name, 1000) - bare <= 2 * (kind.bytes or 1536)
