"""batch/counter.py: how often a name came before, exactly, however many names there are."""

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
    """Whether a name is held or lies in the file; against a plain counter."""
    tally, plain = SpillCounter(most), Counter[bytes]()
    for chunk in chunks:
        expected = []
        for name in chunk:
            expected.append(plain[name])
            plain[name] += 1
        assert await tally.before(chunk) == expected
        assert len(tally._lately) <= most or tally._lately == {}
    tally.close()


async def test_to_close_forgets() -> None:
    """And may be done twice; counting begins anew."""
    tally = SpillCounter(0)
    assert await tally.before([b"a", b"a"]) == [0, 1]
    tally.close()
    tally.close()
    assert await tally.before([b"a"]) == [0]
    tally.close()
