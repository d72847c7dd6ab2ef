"""Watching tasks and batches: lines without a notebook, one display with one, and interrupts."""

from __future__ import annotations

import asyncio
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import TaskFailed
from kling_async.notebook import watch
from tests.support import clip, pair, settle, still

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Displays:
    """IPython as far as `watch` uses it, with what was displayed: by how, text and HTML."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[tuple[str, str, str]] = []
        self.times: list[float] = []
        displays = self

        class Handle:
            def display(self, data: dict[str, str], *, raw: bool) -> None:
                displays.add("display", data, raw=raw)

            def update(self, data: dict[str, str], *, raw: bool) -> None:
                displays.add("update", data, raw=raw)

        shell = SimpleNamespace(kernel=object())
        modules: dict[str, Any] = {
            "IPython": SimpleNamespace(get_ipython=lambda: shell),
            "IPython.display": SimpleNamespace(DisplayHandle=Handle),
        }
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def add(self, how: str, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append((how, data["text/plain"], data["text/html"]))
        self.times.append(asyncio.get_running_loop().time())


async def test_without_a_notebook_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Creating, running, done: a line each, however long it takes; the result comes back."""
    async with pair(seconds=120) as (_, client):
        task = await client.enqueue(clip())
        result = await watch(task)
        assert result is await task.wait()
    lines = capsys.readouterr().out.splitlines()
    assert 2 <= len(lines) <= 6
    assert "creating" in lines[0] and "succeed" in lines[-1] and "after 12" in lines[-1]


async def test_a_terminal_of_ipython_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shell without a kernel cannot update an output."""
    module: Any = SimpleNamespace(get_ipython=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "IPython", module)
    async with pair() as (_, client):
        await watch(await client.submit(still()))
    assert "succeed" in capsys.readouterr().out


async def test_a_notebook_gets_one_display_that_is_updated_each_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first state is displayed, all others replace it, and the last one has the picture."""
    displays = Displays(monkeypatch)
    async with pair(seconds=30) as (_, client):
        result = await watch(await client.submit(still("<script>")))
    hows = [how for how, _, _ in displays.shown]
    assert hows == ["display", *["update"] * (len(hows) - 1)]
    gaps = [after - before for before, after in pairwise(displays.times)]
    assert len(gaps) >= 28 and max(gaps) <= 1.01
    _, text, html = displays.shown[-1]
    assert result.images[0].url.replace("&", "&amp;") in html and "<script>" not in html
    assert "succeed" in text and "after 3" in text


async def test_an_interrupted_watch_names_the_task_and_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The display ends with what runs on, by id; so does the error; a later wait has the result."""
    displays = Displays(monkeypatch)
    async with pair(seconds=60) as (_, client):
        task = await client.submit(clip())
        waiting = asyncio.create_task(watch(task))
        await asyncio.sleep(5.5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        words = f"the task runs on at the vendor's: {task.id}"
        assert words in displays.shown[-1][1] and "interrupted" in displays.shown[-1][2]
        assert any(words in note for note in caught.value.__notes__)
        assert (await watch(task)) is await task.wait()


async def test_an_interrupted_watch_of_a_queued_task_does_not_say_that_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no id of the vendor's yet; display and error say that it queues."""
    displays = Displays(monkeypatch)
    async with pair({"video": 1}, seconds=60) as (_, client):
        task = [await client.enqueue(clip()) for _ in range(2)][-1]
        waiting = asyncio.create_task(watch(task))
        await asyncio.sleep(2.5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await waiting
        for text in (displays.shown[-1][1], *caught.value.__notes__):
            assert f"{task.id} still queues" in text and "runs on" not in text


async def test_neither_key_nor_answer_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A key and the vendor's reason stand in one line, without escape sequences."""
    nasty = "a\x1b[31m\x07\u202eb\nBatch: 9 done"
    async with pair(seconds=60) as (emu, client):
        waiting = asyncio.create_task(watch(client.batch([(nasty, clip())])))
        await asyncio.sleep(5)
        emu.finish(client.tasks()[0].id, "failed", nasty)
        (outcome,) = outcomes = await waiting
    assert outcome.error is not None
    out = capsys.readouterr().out + outcomes._repr_mimebundle_()["text/plain"]
    assert not set(out) & set("\x1b\x07\u202e") and "\nBatch: 9" not in out
    assert len([line for line in out.splitlines() if "[31m" in line]) == 2


async def test_nothing_but_a_task_or_a_batch_is_watched() -> None:
    """An await that was forgotten is named, and Python has nothing to add."""
    async with pair() as (emu, client):
        anything: Any = watch  # type checkers refuse these
        mistakes = (
            (client.submit(clip()), "await it first"),
            ("847", "not str"),
            (None, "not NoneType"),
        )
        for wrong, words in mistakes:
            with pytest.raises(TypeError, match=words):
                await anything(wrong)
        assert len(emu.tasks) == 0


async def test_a_failed_task_is_shown_and_raised(capsys: pytest.CaptureFixture[str]) -> None:
    """The last state says failed, and the error comes out of the call."""
    async with pair() as (emu, client):
        task = await client.submit(clip("emulator:fail"))
        del emu
        with pytest.raises(TaskFailed):
            await watch(task)
    assert "failed" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("entered", [False, True])
async def test_a_batch_is_watched_to_its_end(
    entered: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Entered by the caller or not: its outcomes come back, the display counts them, names the last file."""
    displays = Displays(monkeypatch)
    async with pair() as (_, client):
        batch = client.batch([still(str(n)) for n in range(5)], download_to=tmp_path)
        if entered:
            async with batch:
                outcomes = await watch(batch)
        else:
            outcomes = await watch(batch)
    assert [outcome.ok for outcome in outcomes] == [True] * 5
    _, text, html = displays.shown[-1]
    assert 'value="5" max="5"' in html and "5 of 5" in html
    assert "5 done" in text and outcomes[-1].files[0].name in html
    shown: Any = outcomes._repr_mimebundle_()
    assert shown["text/html"].count("<tr>") == 6
    assert shown["text/plain"].splitlines()[0].split()[:2] == ["key", "status"]


async def test_an_interrupted_batch_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The display names the journal, no task of the loop is left, and the same call takes all up again."""
    displays = Displays(monkeypatch)
    async with pair({"image": 2}) as (emu, client):
        requests = [(str(n), still(str(n))) for n in range(4)]
        journal = tmp_path / "jobs.sqlite"
        waiting = asyncio.create_task(watch(client.batch(requests, journal=journal)))
        await asyncio.sleep(45.5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert "still running at the vendor" in displays.shown[-1][1]
        assert "jobs.sqlite" in displays.shown[-1][1]
        await settle()
        assert not [task for task in asyncio.all_tasks() if "batch" in task.get_name()]
        outcomes = await watch(client.batch(requests, journal=journal))
        assert len(outcomes) == 4 and len(emu.ledger.created) == 4


async def test_a_view_that_fails_leaves_no_waiting_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that cannot be written ends the watch, and the wait behind it."""

    class Broken:
        def show(self, *_: object) -> None:
            raise OSError("no space left")

    monkeypatch.setattr("kling_async.notebook._new_screen", Broken)
    async with pair() as (_, client):
        task = await client.submit(still())
        before = asyncio.all_tasks()
        with pytest.raises(OSError, match="no space"):
            await watch(task)
        assert asyncio.all_tasks() == before


async def test_an_interrupted_wait_names_its_task() -> None:
    """A traceback of a cell shows by id what runs on, or still queues; afterwards the wait works."""
    async with pair({"image": 1}) as (_, client):
        running, queued = await client.submit(still()), await client.enqueue(still())
        for task, words in ((running, "runs on at the vendor's"), (queued, "still queues")):
            for call in (task.wait, task.accepted) if task is queued else (task.wait,):
                waiting = asyncio.ensure_future(call())
                await asyncio.sleep(1)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError) as caught:
                    await waiting
                (note,) = caught.value.__notes__
                assert words in note and task.id in note
        await queued.wait()
        done = asyncio.ensure_future(running.wait(timeout=5))
        assert await done is await running.wait()


async def test_an_interrupted_submit_and_batch_name_what_was_sent(tmp_path: Path) -> None:
    """A create on its way is named by its external id, one that queued is not; a batch names its tasks."""
    async with pair({"image": 1}) as (emu, client):
        emu.fault("create", kind="slow", seconds=30)
        sent = asyncio.create_task(client.submit(still(), external_task_id="mine"))
        queued = asyncio.create_task(client.submit(still()))
        await asyncio.sleep(5)
        notes: list[list[str]] = []
        for waiting in (sent, queued):
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await waiting
            notes.append(getattr(caught.value, "__notes__", []))
        assert notes[1] == [] and "mine" in notes[0][0] and "goes on" in notes[0][0]
    async with pair({"image": 1}) as (_, client):

        async def iterate() -> None:
            async with client.batch([still(), still()], journal=tmp_path / "j.sqlite") as results:
                async for _ in results:
                    pass

        running = asyncio.create_task(iterate())
        await asyncio.sleep(5)
        (task,) = client.tasks()[:1]
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await running
        (note,) = caught.value.__notes__
        assert task.id in note and "j.sqlite" in note
