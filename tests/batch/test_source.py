"""Test batch/source.py: any input is read in order, no faster than needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kling_async.batch.source import Item, RequestSource
from kling_async.errors import RequestInvalid
from tests.support import clip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


async def sizes(source: RequestSource, *, known: int, read: list[int] | None = None) -> list[int]:
    """Return the sizes of chunks where the journal knows the first ``known`` requests."""
    found: list[int] = []
    async for chunk in source.chunks():
        source.adapt(grow=chunk[-1].position < known)
        found.append(len(chunk))
        if read is not None and not chunk[-1].position < known:
            assert read[-1] <= chunk[-1].position + 1
    return found


async def all_at_once(source: RequestSource) -> list[list[Item]]:
    """Return the chunks of an input that the journal knows entirely."""
    source.adapt(grow=True)
    return [chunk async for chunk in source.chunks()]


async def test_known_requests_are_read_in_growing_chunks() -> None:
    """Chunks of known requests double in size; new requests come one by one."""
    read = [0]

    def requests() -> Iterator[Any]:
        for n in range(40):
            read[0] = n + 1
            yield clip(f"no {n}")

    found = await sizes(RequestSource(requests()), known=31, read=read)
    assert found == [1, 2, 4, 8, 16, 9] or found[:5] == [1, 2, 4, 8, 16]
    assert sum(found) == 40


async def test_an_endless_input_is_read_one_by_one() -> None:
    """An endless input is read no further than it is taken."""
    read = [0]

    def endless() -> Iterator[Any]:
        while True:
            read[0] += 1
            yield clip()

    chunks = RequestSource(endless()).chunks()
    for n in range(1, 6):
        chunk = await anext(chunks)
        assert (len(chunk), chunk[0].position, read[0]) == (1, n - 1, n)
    await chunks.aclose()


async def test_a_slow_source_is_yielded_as_it_comes() -> None:
    """A slow source's requests are yielded as they come, however large chunks have grown."""
    loop = asyncio.get_running_loop()

    async def slow() -> AsyncIterator[Any]:
        for n in range(20):
            if n >= 10:
                await asyncio.sleep(60)
            yield clip(f"no {n}")

    source = RequestSource(slow())
    seen: list[tuple[int, float]] = []
    async for chunk in source.chunks():
        source.adapt(grow=True)
        seen += [(item.position, round(loop.time())) for item in chunk]
    start = seen[0][1]
    assert [(n, t - start) for n, t in seen] == [(n, max(0, n - 9) * 60) for n in range(20)]


async def test_keys_come_with_their_requests() -> None:
    """A pair gives key and request; positions count both forms."""
    mixed: list[Any] = [clip("a"), ("second", clip("b"))]
    items = [item async for chunk in RequestSource(mixed).chunks() for item in chunk]
    assert items == [Item(0, None, clip("a")), Item(1, "second", clip("b"))]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5, r"requests\[1\]: must be a request or \(key, request\), not int"),
        ((clip(), "key"), r"requests\[1\]: must be a request or \(key, request\), not str"),
        (("a", "b", clip()), r"requests\[1\]: must be a request or \(key, request\), not tuple"),
    ],
)
async def test_a_value_that_is_no_request_is_an_error(value: Any, says: str) -> None:
    """A value that is no request is an error with its position."""
    with pytest.raises(RequestInvalid, match=says):
        [chunk async for chunk in RequestSource([clip(), value]).chunks()]


@pytest.mark.parametrize(
    ("key", "says"), [("", "text that is not empty"), (7, "text that is not empty"), ("a\ud800", "surrogate")]
)
async def test_a_wrong_key_concerns_one_request(key: Any, says: str) -> None:
    """A wrong key is its own request's error, with the position; the others are read on."""
    ((first, second),) = await all_at_once(RequestSource([(key, clip()), clip()]))
    assert first.key is None and first.error is not None and second.error is None
    (problem,) = first.error.problems
    assert problem.field == "requests[0] key" and says in problem.text


async def test_a_single_request_is_a_type_error() -> None:
    """A single request instead of an iterable is a TypeError."""
    with pytest.raises(TypeError, match="takes an iterable of requests, not TextToVideo"):
        [chunk async for chunk in RequestSource(clip()).chunks()]  # type: ignore[arg-type]


async def test_longest_first() -> None:
    """``longest`` sorts the whole input; each request keeps its position."""
    clips = [clip(duration=n) for n in (3, 10, 5)]
    source = RequestSource(clips)
    chunks = [chunk async for chunk in source.longest(lambda request: getattr(request, "duration", 0))]
    assert [[item.position for item in chunk] for chunk in chunks] == [[1], [2], [0]]
    found: list[int] = []
    async for chunk in source.longest(lambda request: getattr(request, "duration", 0)):
        found.append(len(chunk))
        source.adapt(grow=True)
    assert found == [1, 2]


@pytest.mark.parametrize("later", [False, True])
async def test_requests_before_an_error_are_yielded(later: bool) -> None:
    """The requests before an input's error are yielded, then it is raised."""

    def broken() -> Iterator[Any]:
        yield from (clip(str(n)) for n in range(5))
        raise ValueError("the file ends here")

    async def broken_later() -> AsyncIterator[Any]:
        for value in broken():
            yield value

    source = RequestSource(broken_later() if later else broken())
    found: list[int] = []

    async def read() -> None:
        async for chunk in source.chunks():
            source.adapt(grow=True)
            found.extend(item.position for item in chunk)

    with pytest.raises(ValueError, match="the file ends here"):
        await read()
    assert found == [0, 1, 2, 3, 4]


async def test_an_async_source_is_read_in_one_task() -> None:
    """An async source runs in one task, so that it may hold a cancel scope between items."""
    tasks: set[Any] = set()

    async def scoped() -> AsyncIterator[Any]:
        with anyio.fail_after(100):
            for n in range(5):
                tasks.add(asyncio.current_task())
                await asyncio.sleep(1)
                yield clip(str(n))

    source = RequestSource(scoped())
    assert [len(chunk) async for chunk in source.chunks()] == [1] * 5 and len(tasks) == 1
