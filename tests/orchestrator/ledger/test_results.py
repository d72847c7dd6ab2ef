"""Rule 19: results reach the process whose task it is, past the ledger's file, and cost no query."""

from __future__ import annotations

import asyncio
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from kling_async import TaskFailed
from kling_async.orchestrator.ledger.facts import NewsKind, TaskFacts
from kling_async.orchestrator.ledger.mailbox import Letter, Mailbox
from kling_async.orchestrator.ledger.steps import Ended, Occupy, TaskMade
from kling_async.records import decode_task
from tests.orchestrator.ledger.processes import VIDEO, Machine
from tests.orchestrator.ledger.test_clients import clients
from tests.support import clip, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kling_async import Client

RECORD = decode_task(
    "text_to_video",
    b'{"task_id": "t-1", "task_status": "succeed",'
    b' "task_result": {"videos": [{"url": "https://cdn/x?sig=1"}]}}',
)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with a ledger of two video slots, and nobody using it."""
    machine = Machine(tmp_path / "slots.db", limit=2)
    yield machine
    machine.close()


def content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_whoever_has_the_task_gets_its_record_with_the_news(machine: Machine) -> None:
    """All other processes that have it, whole; the file never holds its addresses."""
    a, b, c = machine.start(), machine.start(), machine.start()
    number = a.enter()
    assert a.confirm(number)
    about = TaskFacts(VIDEO, "mine", "t-1")
    a.sync(TaskMade(number, about))
    b.sync(Occupy("video", b.number(), 1, 0.0, about))
    c.sync(Ended(0, about, RECORD))
    for process in (a, b):
        heard = process.sync()
        assert heard.letters == [Letter(VIDEO, "video", RECORD)]
        assert NewsKind.ENDED in [news.kind for news in heard.news]
        assert process.sync().letters == []
    assert c.sync().letters == []
    assert b"cdn" not in content(machine.path.parent)


def test_a_box_that_is_full_or_gone_holds_nobody_up(machine: Machine) -> None:
    """A stopped process reads nothing: what does not fit is left out, and the news still comes."""
    a, b = machine.start(limits={"video": 2000}), machine.start(limits={})
    large = decode_task("text_to_video", b'{"task_id": "t", "rest": "%s"}' % (b"x" * 100_000))
    numbers = [a.enter() for _ in range(20)]
    for number in numbers:
        assert a.confirm(number)
        a.sync(TaskMade(number, TaskFacts(VIDEO, "", f"t-{number}")))
    for number in numbers:
        b.sync(Ended(0, TaskFacts(VIDEO, "", f"t-{number}"), large))
    heard = a.sync()
    assert [news.number for news in heard.news] == numbers
    assert 0 < len(heard.letters) < len(numbers)
    last = a.enter()
    assert a.confirm(last)
    a.sync(TaskMade(last, TaskFacts(VIDEO, "", "t-last")))
    for path in machine.path.parent.glob("*.sock"):
        path.unlink()
    b.sync(Ended(0, TaskFacts(VIDEO, "", "t-last"), RECORD))
    assert [news.number for news in a.sync().news] == [last]


def test_boxes_are_private_and_none_are_left(machine: Machine) -> None:
    """Other users of the machine cannot write to them; whoever is dead or has left has none."""
    a, b = machine.start(), machine.start()
    boxes = list(machine.path.parent.glob("*.sock"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in boxes] == [0o600, 0o600]
    a.kill()
    machine.now += 1.1
    b.sync()
    b.file.leave([])
    b.alive = False
    assert list(machine.path.parent.glob("*.sock")) == []


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b'["p", "video", {"endpoint": 1}]', b"null" * 9000])
def test_what_is_no_letter_is_passed_over(text: bytes, tmp_path: Path) -> None:
    """One of another version, or rubbish, hides none of those after it."""
    box, other = Mailbox(tmp_path / "a.sock"), Mailbox(tmp_path / "b.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(text, str(tmp_path / "a.sock"))
    letter = Letter(VIDEO, "video", RECORD)
    assert other.send(tmp_path / "a.sock", letter)
    assert box.receive() == [letter]
    assert not other.send(tmp_path / "nobody.sock", letter)
    for made in (box, other):
        made.close()
    assert (box.receive(), box.send(tmp_path / "b.sock", letter)) == ([], False)


def test_where_the_path_is_too_long_there_is_no_box(tmp_path: Path) -> None:
    """Nothing fails: results are asked for instead."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    box = Mailbox(folder / "a.sock")
    assert box.receive() == []
    assert not box.send(folder / "b.sock", Letter(VIDEO, "video", RECORD))
    box.close()


def asked(client: Client) -> int:
    return client.stats().asked


@pytest.mark.real
@pytest.mark.anyio
async def test_only_one_process_sends_status_queries(tmp_path: Path) -> None:
    """The others have their results, and errors, without any, and learn how long tasks take."""
    async with clients(tmp_path, slots=2, limits={"video": 2}) as (emu, (a, b)):
        emu.set_duration(60.0)
        lasting = await a.submit(clip("a"))
        waiting = asyncio.create_task(lasting.wait())
        await until(lambda: asked(a) > 0, 10)
        emu.set_duration(0.5)
        results = await asyncio.wait_for(asyncio.gather(*(b.run(clip(f"{n}")) for n in range(4))), 30)
        assert all(result.videos for result in results)
        assert asked(b) == 0
        failing = await b.submit(clip("more"))
        assert failing.eta is not None
        emu.finish(failing.id, "failed", "too dark")
        with pytest.raises(TaskFailed, match="too dark"):
            await failing.wait()
        emu.finish(lasting.id)
        assert (await waiting).videos
        assert asked(b) == 0
        assert b".mp4" not in content(tmp_path)
