"""Test batch/source_thread.py: a source that blocks keeps nobody waiting, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
import sqlite3
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.batch.source import RequestSource
from kling_async.batch.source_thread import ThreadReader, may_block
from tests.support import clip

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def everything(reader: ThreadReader, most: int = 3) -> list[Any]:
    """Return all that a reader reads, and close it."""
    found: list[Any] = []
    try:
        while values := await reader.read(most):
            found += values
    finally:
        await reader.close()
    return found


async def positions(source: RequestSource) -> list[int]:
    """Return the positions of all items, read in growing chunks."""
    found: list[int] = []
    async for chunk in source.chunks():
        source.adapt(grow=True)
        found += [item.position for item in chunk]
    return found


@pytest.mark.parametrize("most", [1, 2, 1000])
async def test_everything_comes_in_order(most: int) -> None:
    """All values come, in order, read in one thread that is not the caller's."""
    threads = set[int]()

    def values() -> Iterator[int]:
        for n in range(1234):
            threads.add(threading.get_ident())
            yield n

    assert await everything(ThreadReader(values()), most) == list(range(1234))
    assert len(threads) == 1 and threading.get_ident() not in threads


@pytest.mark.parametrize(
    ("values", "blocks"),
    [
        ([], False),
        ((), False),
        (range(3), False),
        ({1}, False),
        (frozenset(), False),
        ({"a": 1}.items(), False),
        ({"a": 1}.values(), False),
        (iter([]), True),
        ((n for n in range(3)), True),
        (map(str, []), True),
        (itertools.count(), True),
        (sqlite3.Row, True),
    ],
)
async def test_what_is_in_memory_is_told_by_its_type(values: Any, blocks: bool) -> None:
    """Sequences, sets and views of dicts never block; all else may."""
    assert may_block(values) is blocks


async def test_an_iterable_begins_in_the_thread() -> None:
    """``iter()`` of the caller's object may open a file: it is called in the thread too, and once."""
    threads: list[int] = []

    class Lines:
        def __iter__(self) -> Iterator[int]:
            threads.append(threading.get_ident())
            return iter(range(5))

    assert await everything(ThreadReader(Lines())) == [0, 1, 2, 3, 4]
    assert len(threads) == 1 and threads[0] != threading.get_ident()


async def test_the_context_is_a_copy() -> None:
    """A source sees the caller's context variables; its own changes last, and do not leave it."""
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("caller's")

    def values() -> Iterator[str]:
        yield variable.get()
        variable.set("source's")
        yield variable.get()
        yield variable.get()

    assert await everything(ThreadReader(values()), 1) == ["caller's", "source's", "source's"]
    assert variable.get() == "caller's"


async def test_what_is_there_does_not_wait_for_what_blocks() -> None:
    """A value is handed over though the chunk is not full and the source blocks at its next value."""
    go = threading.Event()

    def values() -> Iterator[int]:
        yield from range(3)
        go.wait()
        yield from range(3, 6)

    reader = ThreadReader(values())
    found: list[int] = []
    while len(found) < 3:
        found += await reader.read(100)
    waiting = asyncio.ensure_future(reader.read(100))
    await asyncio.sleep(0.01)
    assert found == [0, 1, 2] and not waiting.done()
    go.set()
    found += await waiting
    assert found + await everything(reader) == [0, 1, 2, 3, 4, 5]


async def test_values_are_read_on_demand_only() -> None:
    """The thread reads no further than it was asked to, and no value twice."""
    read: list[int] = []

    def endless() -> Iterator[int]:
        for n in itertools.count():
            read.append(n)
            yield n

    reader = ThreadReader(endless())
    found: list[int] = []
    for most in (1, 1, 4, 1, 8, 1):
        values = await reader.read(most)
        found += values
        assert 1 <= len(values) <= most and len(read) <= len(found) + most
    await reader.close()
    assert found == list(range(len(found)))


async def test_a_generator_left_early_is_closed_in_its_thread() -> None:
    """Left early, a generator's ``finally`` has run, in the thread that ran the generator."""
    threads: list[tuple[str, int]] = []

    def values() -> Iterator[Any]:
        threads.append(("begun", threading.get_ident()))
        try:
            while True:
                yield clip()
        finally:
            threads.append(("closed", threading.get_ident()))

    chunks = RequestSource(values()).chunks()
    await anext(chunks)
    await chunks.aclose()
    (_, begun), (last, closed) = threads
    assert last == "closed" and begun == closed != threading.get_ident()


async def test_a_blocked_source_is_left_behind() -> None:
    """To close a source that blocks takes no time; once it comes back it is closed all the same."""
    go, closed = threading.Event(), threading.Event()

    def values() -> Iterator[Any]:
        try:
            go.wait()
            yield clip()
        finally:
            closed.set()

    chunks = RequestSource(values()).chunks()
    reading = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait([reading])
    await chunks.aclose()
    assert reading.cancelled() and not closed.is_set()
    go.set()
    assert await asyncio.get_running_loop().run_in_executor(None, closed.wait, 30)


def test_a_blocked_source_keeps_no_loop_from_ending(caplog: pytest.LogCaptureFixture) -> None:
    """``asyncio.run`` ends while a source blocks, and the source's later return disturbs nobody."""
    go, back = threading.Event(), threading.Event()

    def values() -> Iterator[Any]:
        try:
            go.wait()
            yield clip()
        finally:
            back.set()

    async def leave() -> None:
        source = RequestSource(values())
        await asyncio.wait([asyncio.ensure_future(anext(source.chunks()))], timeout=0.01)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(leave())
    assert not back.is_set()
    go.set()
    assert back.wait(30) and not caplog.records


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), OSError(5, "gone"), KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError()],
)
async def test_an_error_comes_after_the_values_before_it(error: BaseException) -> None:
    """A source's error is raised after its values, as itself; one that would end a loop becomes a cause."""

    def values() -> Iterator[int]:
        yield from range(5)
        raise error

    reader = ThreadReader(values())
    found: list[int] = []

    async def read() -> None:
        while True:
            found.extend(await reader.read(2))

    with pytest.raises((ValueError, OSError, RuntimeError)) as raised:
        await read()
    await reader.close()
    assert found == [0, 1, 2, 3, 4]
    if isinstance(error, Exception):
        assert raised.value is error and "source_thread" not in str(error)
    else:
        assert raised.value.__cause__ is error
        assert str(raised.value) == f"the batch's input ended with {type(error).__name__}"


def a_database(folder: Path, rows: int) -> sqlite3.Connection:
    """Return a connection to a new database of prompts."""
    connection = sqlite3.connect(folder / "prompts.sqlite")
    connection.execute("CREATE TABLE prompts (text)")
    connection.executemany("INSERT INTO prompts VALUES (?)", [(f"no {n}",) for n in range(rows)])
    connection.commit()
    return connection


async def test_a_cursor_of_another_thread_names_the_option(tmp_path: Path) -> None:
    """sqlite3 refuses a cursor of another thread: its error says how to read that; opted out, it is read."""
    connection = a_database(tmp_path, 5)

    def rows() -> Iterator[Any]:
        for (text,) in connection.execute("SELECT text FROM prompts"):
            yield clip(text)

    with pytest.raises(sqlite3.ProgrammingError, match=r"same thread.*source_thread=False"):
        await positions(RequestSource(connection.execute("SELECT text FROM prompts")))
    with pytest.raises(sqlite3.ProgrammingError, match="source_thread=False"):
        await positions(RequestSource(rows()))
    assert await positions(RequestSource(rows(), in_thread=False)) == [0, 1, 2, 3, 4]
    connection.close()


async def test_a_database_opened_by_the_generator_needs_no_option(tmp_path: Path) -> None:
    """A generator may open a connection of its own: it is closed where it was opened, left early or not."""
    a_database(tmp_path, 50).close()
    closed: list[bool] = []

    def rows() -> Iterator[Any]:
        connection = sqlite3.connect(tmp_path / "prompts.sqlite")
        try:
            for (text,) in connection.execute("SELECT text FROM prompts"):
                yield clip(text)
        finally:
            connection.close()
            closed.append(True)

    assert await positions(RequestSource(rows())) == list(range(50))
    chunks = RequestSource(rows()).chunks()
    await anext(chunks)
    await chunks.aclose()
    assert closed == [True, True]


class Bound(Exception):
    """An error whose words do not come from its arguments."""

    def __str__(self) -> str:
        return "cannot switch to a different thread"


@pytest.mark.parametrize(
    ("error", "in_words"),
    [
        (RuntimeError("main thread is not in main loop"), True),
        (RuntimeError("no running event loop"), True),
        (RuntimeError("There is no current event loop in thread 'x'."), True),
        (Bound(), False),
        (OSError(11, "cannot start a thread"), False),
    ],
)
async def test_errors_of_objects_bound_to_a_thread_name_the_option(error: Exception, in_words: bool) -> None:
    """Whatever its class, such an error keeps its class and names the option in its words, else in a note."""

    class Tied:
        def __iter__(self) -> Iterator[Any]:
            raise error

    with pytest.raises(type(error)) as raised:
        await ThreadReader(Tied()).read(1)
    told = str(error) if in_words else "".join(getattr(error, "__notes__", ()))
    assert raised.value is error and "source_thread=False" in told


async def test_a_generator_that_does_not_let_itself_be_closed_is_left_behind() -> None:
    """A ``finally`` that waits holds up the batch for a second at most; it goes on in its thread."""
    go, closed = threading.Event(), threading.Event()

    def values() -> Iterator[Any]:
        try:
            yield clip()
            yield clip()
        finally:
            go.wait()
            closed.set()

    chunks = RequestSource(values()).chunks()
    await anext(chunks)
    async with asyncio.timeout(30):
        await chunks.aclose()
    assert not closed.is_set()
    go.set()
    assert await asyncio.get_running_loop().run_in_executor(None, closed.wait, 30)


async def test_a_thread_hands_over_many_values_at_once() -> None:
    """A fast source costs few hops between thread and loop: chunks grow as those of a sequence do."""
    source = RequestSource(clip(str(n)) for n in range(4000))
    source.adapt(grow=True)
    hops = 0
    async for _ in source.chunks():
        source.adapt(grow=True)
        hops += 1
    assert hops < 100


async def test_any_pace_loses_nothing() -> None:
    """Whatever is asked for, and however the source dawdles, each value comes once, in order."""
    draw = random.Random(7)
    pauses = threading.Event()

    def values() -> Iterator[int]:
        for n in range(300):
            if draw.random() < 0.1:
                pauses.wait(draw.random() * 0.02)
            yield n

    reader = ThreadReader(values())
    found: list[int] = []
    while some := await reader.read(draw.choice([1, 1, 2, 7, 1000])):
        found += some
    await reader.close()
    assert found == list(range(300))


async def test_an_error_of_closing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that a generator raises while it is closed is logged with its traceback, and ends nothing."""

    def values() -> Iterator[Any]:
        try:
            while True:
                yield clip()
        finally:
            raise ValueError("odd")

    chunks = RequestSource(values()).chunks()
    await anext(chunks)
    await chunks.aclose()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("kling_async.batch", "WARNING")
    assert record.exc_info is not None and str(record.exc_info[1]) == "odd"
