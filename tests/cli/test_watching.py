"""Test cli/watching.py: how tasks go is shown while somebody waits, on a terminal and without one."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.cli import watching
from kling_async.cli.output import Output
from kling_async.cli.watching import block, reference_to, state_line
from tests.support import clip, pair, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async import Client, Task, v1

pytestmark = pytest.mark.anyio


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def now(client: Client) -> dt.datetime:
    """Return the time by the client's clock, which is virtual."""
    return dt.datetime.fromtimestamp(client._engine.scope.now(), dt.UTC)


async def tasks_of(client: Client, count: int) -> list[Task[v1.Videos]]:
    return [await client.enqueue(clip(f"no {n}"), external_task_id=f"mine-{n}") for n in range(count)]


async def test_a_line_tells_each_change_and_a_reminder_that_nothing_changed() -> None:
    """Queued with its place, then running; a task that changes nothing for long is told of again."""
    err = io.StringIO()
    async with pair({"video": 1}, seconds=100) as (_, client):
        tasks = await tasks_of(client, 2)
        async with watching.watching(Output(stderr=err, stdout=err), tasks, ["a", "b"]):
            await tasks[0].wait()
            await asyncio.sleep(1.5)
    lines = err.getvalue().splitlines()
    assert any(line == "b  queued, next" for line in lines)
    assert sum(line.startswith("b  queued") for line in lines) in (3, 4)  # each half minute
    assert any(line.startswith("a  processing, 0:") for line in lines)
    assert lines.count("a  succeed, storing its files") == 1


async def test_the_time_left_is_shown_once_it_can_be_guessed() -> None:
    """After one task of the kind has ended, the next one shows how long it still takes."""
    async with pair({"video": 1}, seconds=100) as (_, client):
        first, second = await tasks_of(client, 2)
        await first.wait()
        await second.accepted()
        await asyncio.sleep(20)
        assert reference_to(second) == f"text_to_video:{second.id}"
        assert ", 0:20, about 1:" in state_line(second, now(client))


@pytest.mark.parametrize(
    ("status", "position", "created", "left", "done", "line"),
    [
        ("queued", 0, None, None, False, "queued, next"),
        ("queued", 7, None, 600, False, "queued, 7 before it, about 10:00 left"),
        ("unknown", None, None, None, False, "not asked yet"),
        ("processing", None, 65, 30, False, "processing, 1:05, about 0:30 left"),
        ("processing", None, 65, -9, False, "processing, 1:05, any moment now"),
        ("succeeded", None, 65, None, True, "succeed, storing its files"),
    ],
)
def test_a_state_is_a_few_words(
    status: str, position: int | None, created: int | None, left: int | None, done: bool, line: str
) -> None:
    """Status, place, time taken and left, as far as they are known."""
    at = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
    task: Any = SimpleNamespace(status=status, position=position, done=done)
    task.created_at = None if created is None else at - dt.timedelta(seconds=created)
    task.eta = None if left is None else at + dt.timedelta(seconds=left)
    assert state_line(task, at) == line


@pytest.fixture
async def many() -> AsyncIterator[list[Task[v1.Videos]]]:
    """Twelve tasks, of which five run."""
    async with pair({"video": 5}, seconds=50) as (_, client):
        tasks = await tasks_of(client, 12)
        await until(lambda: sum(task.position is None for task in tasks) == 5)
        yield tasks


async def test_a_block_shows_some_tasks_and_counts_the_others(many: list[Task[v1.Videos]]) -> None:
    """Eight lines at most, the rest as a number, and how many have ended; one task needs no count."""
    names = [f"t{n}" for n in range(12)]
    display = watching.Display(Output(), many, names)
    lines = block(display)
    assert [line.split()[0] for line in lines] == [*names[:8], "and", "0"]
    assert lines[-2:] == ["and 4 more", "0 of 12 ended"] and lines[5] == "t5  queued, next"
    display.finished |= {0, 1, 2, 3}
    assert block(display)[-1] == "4 of 12 ended" and len(block(display)) == 9
    assert len(block(watching.Display(Output(), many[:1], names[:1]))) == 1


async def test_a_terminal_has_one_block_that_leaves_no_trace(many: list[Task[v1.Videos]]) -> None:
    """The block is redrawn each second, makes room for other lines, and is erased at the end."""
    err = Terminal()
    async with watching.watching(Output(stderr=err, stdout=err), many[:1], ["a"]) as display:
        await asyncio.sleep(3.5)
        drawn = err.getvalue().count("a  ")
        assert drawn >= 3
        with display.paused():
            before = err.getvalue()
            await asyncio.sleep(0)
            assert err.getvalue() == before
        await asyncio.sleep(1.5)
        assert err.getvalue().count("a  ") > drawn
    assert err.getvalue().rstrip().endswith("\x1b[2K")  # the last thing is the erased line


@pytest.mark.parametrize(
    ("mode", "json_lines", "terminal", "kind"),
    [
        ("auto", False, True, "_Live"),
        ("auto", False, False, "_Lines"),
        ("auto", True, True, "_Live"),
        ("auto", True, False, "Display"),
        ("plain", False, True, "_Lines"),
        ("plain", False, False, "_Lines"),
        ("none", False, True, "Display"),
    ],
)
async def test_the_display_fits_who_reads_it(mode: str, json_lines: bool, terminal: bool, kind: str) -> None:
    """A block on a terminal, lines elsewhere, nothing beside JSON that a machine reads."""
    output = Output(json_lines=json_lines, stderr=Terminal() if terminal else io.StringIO())
    async with watching.watching(output, [], [], mode) as display:
        assert type(display).__name__ == kind


async def test_without_rich_a_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not needed."""
    monkeypatch.setattr(watching, "has_rich", lambda: False)
    async with watching.watching(Output(stderr=Terminal()), [], []) as display:
        assert type(display).__name__ == "_Lines"
