"""Submit inputs of every kind: large, slow, endless, wrong in one place, and two at once."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import v1
from kling_async.batch.readers import read_jsonl
from kling_async.errors import RequestInvalid
from kling_async.fleet import Fleet, intake, writing
from kling_async.fleet.database import connect
from kling_async.orchestrator.bodies import check_media_here
from kling_async.wire.media import media
from tests.fleet.support import film, rows
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


pytestmark = [pytest.mark.real, pytest.mark.anyio]

COUNTS = "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM procrastinate_jobs)"


@pytest.fixture
async def fleet(dsn: str) -> AsyncIterator[Fleet]:
    """A fleet without jobs."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet:
        yield fleet


async def test_25_000_jobs_are_three_chunks_and_equal_ones_are_counted_over_them(
    fleet: Fleet, dsn: str
) -> None:
    """Each chunk is one transaction; the same request in each of them is one more job, also a second time."""
    twin = film("the same")

    def films() -> Iterator[Any]:
        for number in range(25_000):
            yield twin if number % 10_000 == 0 else film(f"shot {number}")

    made = await fleet.submit(films(), batch="films")
    assert (made.new, made.known) == (25_000, 0)
    query = "SELECT count(*), min(position), max(position) FROM jobs GROUP BY xmin ORDER BY 2"
    assert await rows(dsn, query) == [(10_000, 0, 9_999), (10_000, 10_000, 19_999), (5_000, 20_000, 24_999)]
    assert await rows(dsn, "SELECT count(DISTINCT queueing_lock) FROM procrastinate_jobs") == [(25_000,)]
    # the queue's own order is that of the input
    order = """SELECT bool_and(a.position = b.place) FROM jobs a JOIN (
        SELECT args->>'identity' AS name, row_number() OVER (ORDER BY id) - 1 AS place FROM procrastinate_jobs
        ) b ON encode(a.identity, 'hex') = b.name"""
    assert await rows(dsn, order) == [(True,)]
    again = await fleet.submit([twin] * 4, batch="films")
    assert (again.new, again.known) == (1, 3)


async def test_two_submits_in_opposite_orders_do_not_block_each_other(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that submit the same jobs in other orders, in many small chunks, all end well."""
    monkeypatch.setattr(intake, "CHUNK", 50)
    films = [(f"shot-{n}", film(f"shot {n}")) for n in range(400)]
    orders = [films, films[::-1], films[200:] + films[:200], films[::2] + films[1::2]]
    made = await asyncio.gather(*(fleet.submit(order, batch="films") for order in orders))
    assert sum(each.new for each in made) == 400
    assert await rows(dsn, COUNTS) == [(400, 400)]


async def test_a_submit_that_dies_leaves_whole_chunks(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies between the rows of a chunk and their queue: neither is there, and the next one writes both."""
    monkeypatch.setattr(intake, "CHUNK", 100)
    handed = 0
    hand = writing.hand_to_queue

    async def die(*arguments: Any) -> None:
        nonlocal handed
        handed += 1
        if handed == 3:
            raise RuntimeError("killed")
        await hand(*arguments)

    films = [film(f"shot {number}") for number in range(450)]
    monkeypatch.setattr(writing, "hand_to_queue", die)
    with pytest.raises(RuntimeError, match="killed"):
        await fleet.submit(films, batch="films")
    assert await rows(dsn, COUNTS) == [(200, 200)]
    async with Fleet(dsn) as second:
        made = await second.submit(films, batch="films")
    assert (made.new, made.known) == (250, 200)
    assert await rows(dsn, COUNTS) == [(450, 450)]
    assert await rows(dsn, "SELECT total FROM batches") == [(450,)]


async def test_a_submit_waits_through_an_outage(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections are cut before and in the middle of chunks: all jobs are there, each once."""
    caplog.set_level(logging.WARNING, "kling_async.fleet")
    monkeypatch.setattr(intake, "CHUNK", 100)
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    kill += " AND datname = current_database() AND application_name = 'kling_async fleet'"
    cuts: dict[Any, Iterator[bool]] = {
        "hand_to_queue": iter([False, True, True, False, True]),
        "_enter_turn": iter([False, True]),
    }

    def cutting(name: str) -> Callable[..., Any]:
        inner = getattr(writing, name)

        async def cut(*arguments: Any) -> None:
            if next(cuts[name], False):
                await rows(dsn, kill)
            await inner(*arguments)

        return cut

    for name in cuts:
        monkeypatch.setattr(writing, name, cutting(name))
    made = await fleet.submit([film(f"shot {number}") for number in range(350)], batch="films")
    assert (made.new, made.known) == (350, 0)
    assert await rows(dsn, COUNTS) == [(350, 350)]
    texts = [record.getMessage() for record in caplog.records]
    assert any("cannot be used, commands wait for it" in text for text in texts)
    assert "can be used again after" in texts[-1]
    assert [next(cut, None) for cut in cuts.values()] == [None, None]
    await rows(dsn, kill)
    assert (await fleet.cancel_queued("films")).cancelled == 350


async def test_what_an_endless_input_has_brought_is_written_when_it_pauses(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs do not wait for the 10,000th of their chunk; cancelled meanwhile, the input is closed."""
    monkeypatch.setattr(intake, "_PAUSE", 0.05)
    closed = asyncio.Event()

    async def films() -> AsyncIterator[Any]:
        try:
            yield film("first")
            yield film("second")
            await asyncio.Event().wait()
        finally:
            closed.set()

    submitting = asyncio.create_task(fleet.submit(films(), batch="films"))
    async with connect(dsn) as db:
        for _ in range(600):
            if await (await db.execute(COUNTS)).fetchone() == (2, 2):
                break
            await asyncio.sleep(0.02)
    assert await rows(dsn, COUNTS) == [(2, 2)]
    assert not submitting.done()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert closed.is_set()


async def test_a_slow_input_is_written_though_it_never_pauses(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk that is old enough is written, full or not; so is one of nothing but wrong requests."""
    monkeypatch.setattr(intake, "_AGE", 0.0)
    told: list[RequestInvalid] = []

    def films() -> Iterator[Any]:
        yield from (film("good"), "wrong")
        assert len(told) <= 1
        yield from itertools.repeat("wrong", 20)

    made = await fleet.submit(films(), batch="films", on_bad=told.append)
    assert (made.new, made.bad) == (1, 21)
    assert await rows(dsn, COUNTS) == [(1, 1)]


GOOD = film("good")


def raising(request: object) -> str:
    """Return a label for one request only."""
    if request is not GOOD:
        raise KeyError("no such shot")
    return "day"


WRONG: Final[tuple[tuple[Any, dict[str, Any], str], ...]] = (
    (film("bad", duration=7), {}, r"requests\[1\]\.duration"),
    (("x\0", film("bad")), {}, r"requests\[1\] \('x\\x00'\)\.key: holds a NUL"),
    (("", film("bad")), {}, r"requests\[1\] key: must be a text that is not empty"),
    ((film("bad"), "x"), {}, r"requests\[1\]: .*the key comes first"),
    (v1.ImageToVideo(image=media(b"no picture"), prompt="go"), {}, r"requests\[1\]\.image: is not a"),
    (
        v1.ImageToVideo(image=media(Path("no such/file.png")), prompt="go"),
        {},
        r"requests\[1\]\.image: cannot read",
    ),
    (film("bad"), {"label": raising}, r"requests\[1\]\.label: raised KeyError"),
    (film("x"), {"label": "n\0"}, r"requests\[0\]\.label: holds a NUL"),
    (film("x"), {"label": "ü" * 251}, r"requests\[0\]\.label: has 502 bytes"),
    (film("x"), {"priority": 1 << 15}, r"priority: must be a whole number from -32768 to 32767"),
    (film("x"), {"priority": True}, r"priority: must be a whole number"),
    (film("x"), {"priority": "3"}, r"priority: must be a whole number"),
)
"""What cannot be submitted, after a good request, with these options; and the words of its error."""
KINDS: Final[tuple[Callable[[list[Any]], Any], ...]] = (
    list,
    tuple,
    lambda them: dict(enumerate(them)).values(),
)


async def test_nothing_is_written_of_a_collection_with_one_wrong_request(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the place, though good requests fill chunks before it; not even the batch is made."""
    monkeypatch.setattr(intake, "CHUNK", 1)
    for (wrong, options, words), kind in itertools.product(WRONG, KINDS):
        with pytest.raises(RequestInvalid, match=words):
            await fleet.submit(kind([GOOD, wrong]), batch="films", **options)
    assert await rows(dsn, COUNTS) == [(0, 0)]
    assert await rows(dsn, "SELECT count(*) FROM batches") == [(0,)]


async def test_a_file_of_jobs_is_checked_whole_a_stream_as_it_comes(
    fleet: Fleet, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong last line keeps a file out; one that leaves bad lines out itself tells of each once."""
    monkeypatch.setattr(intake, "CHUNK", 1)
    path = tmp_path / "jobs.jsonl"
    good = '{"endpoint": "text_to_video", "prompt": "a fox"}\n'
    path.write_text(good * 2 + '{"endpoint": "text_to_video"}\n')
    with pytest.raises(RequestInvalid, match=r"line 3"):
        await fleet.submit(read_jsonl(path), batch="films")
    assert await rows(dsn, COUNTS) == [(0, 0)]
    told: list[RequestInvalid] = []
    made = await fleet.submit(read_jsonl(path, on_bad=told.append), batch="films")
    assert (made.new, len(told)) == (2, 1)
    with path.open("rb") as stream, pytest.raises(RequestInvalid, match=r"line 3"):
        await fleet.submit(read_jsonl(stream), batch="others")
    assert await rows(dsn, "SELECT count(*) FROM jobs WHERE batch <> %s", made.batch) == [(2,)]


async def test_a_file_that_changes_while_it_is_submitted_is_refused(
    fleet: Fleet, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored is what the job's name stands for: the content that was hashed."""
    path = tmp_path / "a.png"
    path.write_bytes(png())
    judged = check_media_here

    def change(request: Any, *, local: bool) -> None:
        judged(request, local=local)
        path.write_bytes(png(640, 640))

    monkeypatch.setattr("kling_async.fleet.intake.check_media_here", change)
    request = v1.ImageToVideo(image=media(path), prompt="go", model_name="kling-v2-6")
    with pytest.raises(RequestInvalid, match=r"requests\[0\]\.image: .*has changed since it was read"):
        await fleet.submit(iter([request]), batch="films")
    assert await rows(dsn, COUNTS) == [(0, 0)]


async def test_memory_stays_bounded(dsn: str, tmp_path: Path) -> None:
    """A program that submits 20,000 jobs of 4 kB, in sum 80 MB, grows by less than 20 MB."""
    program = tmp_path / "submit.py"
    program.write_text(PROGRAM)
    running = await asyncio.create_subprocess_exec(sys.executable, str(program), dsn, stdout=-1)
    said, _ = await running.communicate()
    assert running.returncode == 0
    new, grown = map(int, said.split())
    assert new == 20_000
    assert grown < 20 << 10
    assert await rows(dsn, COUNTS) == [(20_000, 20_000)]


PROGRAM = """
import asyncio, resource, sys
from kling_async import v1
from kling_async.fleet import Fleet, intake

intake.CHUNK = 2_000

def films(most):
    for number in range(most):
        yield v1.TextToVideo(prompt=f"{number} ".ljust(2000, "x"), negative_prompt="y" * 2000)

async def main(dsn):
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet:
        await fleet.submit(films(4_000), batch="films")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made = await fleet.submit(films(20_000), batch="films")
        print(made.new + made.known, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main(sys.argv[1]))
"""
