"""Property of downloads/stream.py: whatever the server does, a stream is exactly the file, or it raises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from hypothesis import event, given
from hypothesis import strategies as st

from kling_async import DownloadError
from tests.clock import new_event_loop
from tests.downloads.contexts import Streamer, context_of
from tests.downloads.flaky_host import Conduct, Step, hosting

if TYPE_CHECKING:
    from collections.abc import Sequence

EDGES: Final = (0, 1, 15, 16, 511, 512, 513, 4095, 4096, 4097, 8192)
"""Sizes at which the client's conduct changes: the head that tells the format, and the overlap."""
HARMLESS: Final = frozenset({"good", "before headers", "within headers", "busy"})
"""Conduct that a stream survives, wherever it is cut."""


class Seen(NamedTuple):
    """What a consumer saw of a stream."""

    got: bytes
    error: DownloadError | None
    contents: Sequence[bytes]
    requests: int


def film(size: int) -> bytes:
    """Make a file that begins like an MP4 and in which no two places look alike."""
    numbers = b"".join(number.to_bytes(4) for number in range(size // 4 + 1))
    return (b"\0\0\0\x20ftypisom" + numbers)[:size]


def streamed(size: int, plan: Sequence[Step], tries: int) -> Seen:
    """Stream a file from a host that follows a plan."""

    async def main() -> Seen:
        context = context_of(tries=tries)
        got, error = bytearray(), None
        async with hosting(film(size), plan) as host:
            stream = Streamer(context, f"http://127.0.0.1:{host.port}/a.mp4")()
            try:
                async for chunk in stream:
                    assert chunk
                    got += chunk
            except DownloadError as caught:
                error = caught
            await context.sessions.close()
        return Seen(bytes(got), error, host.contents, host.requests)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


sizes = st.sampled_from([size for size in EDGES if size >= 12]) | st.integers(12, 20_000)
cuts = st.none() | st.sampled_from(EDGES) | st.integers(0, 20_000)
plans = st.lists(st.builds(Step, st.sampled_from(get_args(Conduct)), cuts), max_size=6)
cut_plans = st.lists(st.builds(Step, st.sampled_from(sorted(HARMLESS)), cuts), max_size=6)


@given(sizes, plans, st.integers(1, 8))
def test_a_stream_is_exactly_the_file_or_it_raises(size: int, plan: list[Step], tries: int) -> None:
    """A clean end has handed on one whole content; before an error came the beginning of one."""
    seen = streamed(size, plan, tries)
    if seen.error is None:
        assert seen.got in seen.contents
        event("whole, after a cut" if seen.requests > 1 else "whole at once")
    else:
        assert any(content.startswith(seen.got) for content in seen.contents)
        event("an error after the first chunk" if seen.got else "an error before the first chunk")


@given(sizes, cut_plans)
def test_mere_cuts_are_survived(size: int, plan: list[Step]) -> None:
    """With attempts enough, cuts of a file with a strong ETag cost requests and nothing else."""
    seen = streamed(size, plan, tries=len(plan) + 1)
    assert (seen.error, seen.got) == (None, film(size))


@given(sizes, st.integers(0, 20_000), st.sampled_from(sorted(set(get_args(Conduct)) - HARMLESS)))
def test_odd_answers_after_a_cut(size: int, at: int, conduct: Conduct) -> None:
    """Every odd answer in the place of the rest: nothing is joined that does not belong together."""
    cut = at % size
    seen = streamed(size, [Step("good", cut), Step(conduct)], tries=3)
    if seen.error is None:
        assert seen.got in seen.contents
        resumed = cut >= min(512, size)
        assert not resumed or conduct in ("too little", "good")
    else:
        assert seen.contents[0].startswith(seen.got)
