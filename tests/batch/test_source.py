"""Test batch/source.py: any input is read in order, no faster than needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kling_async import v1
from kling_async.batch.source import Item, RequestSource
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
        (5, "must be a request or (key, request), not int"),
        (None, "must be a request or (key, request), not NoneType"),
        ((None, None), "must be a request or (key, request), not NoneType"),
        ("a prompt", "must be a request or (key, request), not str"),
        (["key", clip()], "must be a request or (key, request), not list"),
        ((clip(), "key"), "must be a request or (key, request), not str; the key comes first"),
        (("a", "b", clip()), "must be a request or (key, request), not tuple of 3 values"),
        ((), "must be a request or (key, request), not tuple of 0 values"),
        (v1.TextToVideo, "must be a request or (key, request), not the class TextToVideo"),
        (
            v1.IdentifyFace(video_id="1"),
            "must be a request or (key, request), not IdentifyFace, which client.call() takes",
        ),
    ],
)
@pytest.mark.parametrize("kind", [list, iter])
async def test_a_value_that_is_no_request_fails_alone(value: Any, says: str, kind: Any) -> None:
    """A value that is no request is an item with its position and an error; the others are read on."""
    source = RequestSource(kind([clip(), value, clip("last")]))
    first, wrong, last = [item for chunk in await all_at_once(source) for item in chunk]
    assert first.error is None and last == Item(2, None, clip("last")) and wrong.position == 1
    assert wrong.error is not None
    (problem,) = [one for one in wrong.error.problems if "key" not in one.field]
    assert (problem.field, problem.text) == ("requests[1]", says)


async def test_a_wrong_request_keeps_its_key() -> None:
    """The key of a value that is no request tells which one it was; a wrong key is named besides."""
    values: list[Any] = [("night", None), (7, None)]
    ((named, doubly),) = await all_at_once(RequestSource(values))
    assert named.key == "night" and named.error is not None
    assert doubly.error is not None
    assert [problem.field for problem in doubly.error.problems] == ["requests[1]", "requests[1] key"]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "text that is not empty, not ''"),
        (7, "text that is not empty, not int; use str(...)"),
        (b"night", "text that is not empty, not bytes"),
        (("a", 1), "text that is not empty, not tuple"),
        ("a\ud800", "surrogate"),
    ],
)
async def test_a_wrong_key_concerns_one_request(key: Any, says: str) -> None:
    """A wrong key is its own request's error, with the position; the others are read on."""
    ((first, second),) = await all_at_once(RequestSource([(key, clip()), clip()]))
    assert first.key is None and first.error is not None and second.error is None
    (problem,) = first.error.problems
    assert problem.field == "requests[0] key" and says in problem.text


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ("a prompt", "an iterable of requests, not str"),
        (b"bytes", "an iterable of requests, not bytes"),
        ({"night": clip()}, r"not dict; its items\(\) are pairs of key and request"),
    ],
)
async def test_text_and_mappings_are_type_errors(requests: Any, says: str) -> None:
    """What is iterable but never holds requests is refused as a whole, not item by item."""
    with pytest.raises(TypeError, match=says):
        await all_at_once(RequestSource(requests))


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


async def test_longest_first_leaves_wrong_items_to_the_end() -> None:
    """A wrong item has no duration to sort by: it comes last, whatever it is."""
    values: list[Any] = [None, clip(duration=3), ("", clip(duration=4)), clip(duration=10)]
    chunks = [chunk async for chunk in RequestSource(values).longest(lambda request: request.duration)]  # type: ignore[attr-defined]
    assert [item.position for chunk in chunks for item in chunk] == [3, 1, 0, 2]


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
