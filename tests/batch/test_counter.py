"""Test batch/counter.py: counts are exact, however many names there are."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.batch.counter import SpillCounter

pytestmark = pytest.mark.anyio

names = st.lists(st.sampled_from([bytes([n]) for n in range(12)]), max_size=8)


@given(chunks=st.lists(names, max_size=12), most=st.integers(0, 5))
async def test_counts_are_exact_whatever_is_put_away(chunks: list[list[bytes]], most: int) -> None:
    """Counts equal a plain counter's, whether a name is in memory or in the file."""
    counter, plain = SpillCounter(most), Counter[bytes]()
    for chunk in chunks:
        expected = []
        for name in chunk:
            expected.append(plain[name])
            plain[name] += 1
        assert await counter.count_before(chunk) == expected
        assert len(counter._seen._recent) <= most
    counter.close()


async def test_closing_forgets_all_names() -> None:
    """A closed counter begins anew; closing twice is harmless."""
    counter = SpillCounter(0)
    assert await counter.count_before([b"a", b"a"]) == [0, 1]
    counter.close()
    counter.close()
    assert await counter.count_before([b"a"]) == [0]
    counter.close()
