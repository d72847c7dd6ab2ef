"""batch/source.py: the input is read in order, no faster than needed, whatever kind it is."""

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


async def sizes(intake: RequestSource, *, known: int, read: list[int] | None = None) -> list[int]:
    """Chunk sizes where the journal knows the first ``known`` requests."""
    found: list[int] = []
    async for chunk in intake.chunks():
        intake.familiar(all_of_it=chunk[-1].position < known)
        found.append(len(chunk))
        if read is not None and not chunk[-1].position < known:
            assert read[-1] <= chunk[-1].position + 1
    return found


async def all_at_once(intake: RequestSource) -> list[list[Item]]:
    """Chunks of an input that is known through and through."""
    intake.familiar(all_of_it=True)
    return [chunk async for chunk in intake.chunks()]


async def test_what_the_journal_knows_is_read_in_growing_chunks() -> None:
    """1, 2, 4 and so on, then one by one; nothing is left out, all in order."""
    read = [0]

    def requests() -> Iterator[Any]:
        for n in range(40):
            read[0] = n + 1
            yield clip(f"no {n}")

    found = await sizes(RequestSource(requests()), known=31, read=read)
    assert found == [1, 2, 4, 8, 16, 9] or found[:5] == [1, 2, 4, 8, 16]
    assert sum(found) == 40


async def test_an_endless_input_is_read_one_by_one() -> None:
    """What is not taken is not read."""
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


async def test_a_slow_source_is_passed_on_as_it_comes() -> None:
    """However large the chunks have grown, what is there does not wait for what is not."""
    loop = asyncio.get_running_loop()

    async def slow() -> AsyncIterator[Any]:
        for n in range(20):
            if n >= 10:
                await asyncio.sleep(60)
            yield clip(f"no {n}")

    intake = RequestSource(slow())
    seen: list[tuple[int, float]] = []
    async for chunk in intake.chunks():
        intake.familiar(all_of_it=True)
        seen += [(item.position, round(loop.time())) for item in chunk]
    start = seen[0][1]
    assert [(n, t - start) for n, t in seen] == [(n, max(0, n - 9) * 60) for n in range(20)]


async def test_keys_come_with_their_requests() -> None:
    """A pair is a key and a request; the position counts either way."""
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
async def test_what_is_no_request_is_named_by_its_place(value: Any, says: str) -> None:
    """Before anything is made of it."""
    with pytest.raises(RequestInvalid, match=says):
        [chunk async for chunk in RequestSource([clip(), value]).chunks()]


@pytest.mark.parametrize(
    ("key", "says"), [("", "text that is not empty"), (7, "text that is not empty"), ("a\ud800", "surrogate")]
)
async def test_a_wrong_key_is_its_item_s_affair(key: Any, says: str) -> None:
    """The others are read on; it is named by its place."""
    ((first, second),) = await all_at_once(RequestSource([(key, clip()), clip()]))
    assert first.key is None and first.error is not None and second.error is None
    (problem,) = first.error.problems
    assert problem.field == "requests[0] key" and says in problem.text


async def test_what_cannot_be_iterated_is_a_type_error() -> None:
    """A single request in the place of many says so."""
    with pytest.raises(TypeError, match="takes an iterable of requests, not TextToVideo"):
        [chunk async for chunk in RequestSource(clip()).chunks()]  # type: ignore[arg-type]


async def test_longest_first() -> None:
    """All of the input is read and ordered; each keeps its place's number."""
    clips = [clip(duration=n) for n in (3, 10, 5)]
    intake = RequestSource(clips)
    chunks = [chunk async for chunk in intake.longest(lambda request: getattr(request, "duration", 0))]
    assert [[item.position for item in chunk] for chunk in chunks] == [[1], [2], [0]]
    found: list[int] = []
    async for chunk in intake.longest(lambda request: getattr(request, "duration", 0)):
        found.append(len(chunk))
        intake.familiar(all_of_it=True)
    assert found == [1, 2]


@pytest.mark.parametrize("later", [False, True])
async def test_an_input_that_breaks_gives_what_came_before(later: bool) -> None:
    """Also in the middle of a chunk; then its error is raised."""

    def broken() -> Iterator[Any]:
        yield from (clip(str(n)) for n in range(5))
        raise ValueError("the file ends here")

    async def broken_later() -> AsyncIterator[Any]:
        for value in broken():
            yield value

    intake = RequestSource(broken_later() if later else broken())
    found: list[int] = []

    async def read() -> None:
        async for chunk in intake.chunks():
            intake.familiar(all_of_it=True)
            found.extend(item.position for item in chunk)

    with pytest.raises(ValueError, match="the file ends here"):
        await read()
    assert found == [0, 1, 2, 3, 4]


async def test_an_async_source_is_read_in_one_task() -> None:
    """So it may hold a cancel scope, or a task group, from one item to the next."""
    tasks: set[Any] = set()

    async def scoped() -> AsyncIterator[Any]:
        with anyio.fail_after(100):
            for n in range(5):
                tasks.add(asyncio.current_task())
                await asyncio.sleep(1)
                yield clip(str(n))

    intake = RequestSource(scoped())
    assert [len(chunk) async for chunk in intake.chunks()] == [1] * 5 and len(tasks) == 1
