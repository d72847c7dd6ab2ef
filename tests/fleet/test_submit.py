"""Submit jobs to a fleet: each once, new ones into the queue, nothing of a wrong input."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import v1
from kling_async.batch.digests import InputDigests
from kling_async.batch.entry import JobState, unpack
from kling_async.batch.identity import external_id, fingerprint, identity
from kling_async.errors import RequestInvalid
from kling_async.fleet import Fleet, intake
from kling_async.fleet.rows import load_request
from kling_async.wire.endpoints import RawTask
from kling_async.wire.media import media
from tests.fleet.support import film, rows
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.anyio]

COUNTS = "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM procrastinate_jobs)"


async def no_digest(path: str) -> str | None:
    """Know no file."""
    return None


@pytest.fixture
async def fleet(dsn: str) -> AsyncIterator[Fleet]:
    """A fleet without jobs."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet:
        yield fleet


async def test_a_job_is_that_of_the_journal(fleet: Fleet, dsn: str) -> None:
    """Its identity, external id and fingerprint are those that a batch with a journal gives the request."""
    request = film("a fox", negative_prompt="rain")
    made = await fleet.submit([("fox", request), request, request], batch="films", priority=3, label="day")
    assert (made.new, made.known, made.name) == (3, 0, "films")
    names = [
        identity(key, fingerprint("text_to_video", request, {}), occurrence)
        for key, occurrence in (("fox", 0), (None, 0), (None, 1))
    ]
    query = "SELECT identity, entry, request, priority, label, key, state, pool FROM jobs ORDER BY position"
    found = await rows(dsn, query)
    assert [row[0].hex() for row in found] == names
    for position, (name, row) in enumerate(zip(names, found, strict=True)):
        entry = unpack(row[1])
        assert entry.external_task_id == external_id(made.batch, name, 0)
        assert (entry.position, entry.label, entry.state) == (position, "day", JobState.PLANNED)
        assert load_request(row[2], entry) == request
        assert row[3:] == (3, "day", "fox" if position == 0 else None, 0, "video")
    queued = await rows(dsn, "SELECT args, priority, queueing_lock FROM procrastinate_jobs ORDER BY id")
    assert [args for args, _, _ in queued] == [{"batch": made.batch, "identity": name} for name in names]
    assert {priority for _, priority, _ in queued} == {3}


async def test_submitted_again_nothing_is_new(fleet: Fleet, dsn: str) -> None:
    """Repeated, changed and longer inputs add what is new; another batch's jobs are others."""
    films = [(f"shot-{n}", film(f"shot {n}")) for n in range(5)]
    first = await fleet.submit(films, batch="films")
    again = await fleet.submit(iter(films), batch="films")
    films[2] = ("shot-2", film("another shot"))
    changed = await fleet.submit([*films, ("last", film("the end"))], batch="films")
    other = await fleet.submit(films, batch="others")
    told = [(made.new, made.known) for made in (first, again, changed, other)]
    assert told == [(5, 0), (0, 5), (2, 4), (5, 0)]
    assert first.batch == again.batch != other.batch
    assert await rows(dsn, COUNTS) == [(12, 12)]
    taken = await rows(dsn, "SELECT entry FROM jobs WHERE batch=%s ORDER BY number", first.batch)
    assert [unpack(entry).position_taken for (entry,) in taken] == [False] * 5 + [True] * 2


async def test_two_that_submit_at_once_write_each_job_once(fleet: Fleet, dsn: str) -> None:
    """Both end well; together they find each job new once."""
    films = [film(f"shot {n}") for n in range(300)]
    made = await asyncio.gather(*(fleet.submit(films, batch="films") for _ in range(3)))
    assert sum(each.new for each in made) == 300
    assert await rows(dsn, COUNTS) == [(300, 300)]
    assert await rows(dsn, "SELECT total FROM batches") == [(300,)]


async def test_chunks_are_whole_and_an_input_cut_short_is_gone_on_with(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk that was under way when the input failed is not there; the next submit writes the rest."""
    monkeypatch.setattr(intake, "CHUNK", 100)

    def endless() -> Iterator[Any]:
        for number in range(250):
            yield film(f"shot {number}")
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await fleet.submit(endless(), batch="films")
    assert await rows(dsn, COUNTS) == [(200, 200)]
    made = await fleet.submit((film(f"shot {number}") for number in range(260)), batch="films")
    assert (made.new, made.known) == (60, 200)


async def test_a_wrong_request_is_named_and_nothing_is_written(fleet: Fleet, dsn: str) -> None:
    """Of a sequence nothing is written at all; with ``on_bad`` the others are."""
    wrong: list[Any] = [
        film("good"),
        ("x", film("bad", duration=7)),
        "no request",
        RawTask(path="/v1/x", body={}),
    ]
    with pytest.raises(RequestInvalid, match=r"requests\[1\] \('x'\)\.duration"):
        await fleet.submit(wrong, batch="films")
    with pytest.raises(RequestInvalid, match=r"batch: must be 1 to 64"):
        await fleet.submit([film("good")], batch="my films")
    assert await rows(dsn, COUNTS) == [(0, 0)]
    told: list[RequestInvalid] = []
    made = await fleet.submit(wrong, batch="films", on_bad=told.append)
    assert (made.new, made.bad) == (1, 3)
    texts = [str(error) for error in told]
    assert "requests[1] ('x').duration" in texts[0]
    assert "requests[2]" in texts[1]
    assert "RawTask" in texts[2]


async def test_files_go_with_their_jobs(fleet: Fleet, dsn: str, tmp_path: Path) -> None:
    """A path, the same content as bytes, and Base64 are one job: the worker has no such file."""
    content = png()
    (tmp_path / "a.png").write_bytes(content)
    by_path = v1.ImageToVideo(image=media(tmp_path / "a.png"), prompt="go", model_name="kling-v2-6")
    by_bytes = msgspec.structs.replace(by_path, image=media(content))
    made = [await fleet.submit([request], batch="films") for request in (by_path, by_bytes)]
    assert [each.new for each in made] == [1, 0]
    ((entry, request),) = await rows(dsn, "SELECT entry, request FROM jobs")
    assert load_request(request, unpack(entry)) == by_bytes
    digests = await InputDigests(no_digest, time.time).of_request(by_path)
    name = identity(None, fingerprint("image_to_video", by_path, digests), 0)
    assert unpack(entry).identity == name
    with pytest.raises(RequestInvalid, match="cannot read"):
        await fleet.submit([v1.ImageToVideo(image=media(tmp_path / "b.png"), prompt="go")], batch="films")
