"""kling_async/events.py: what happens is told to whoever listens, and listening harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import get_args

import msgspec
import pytest

from kling_async import Event
from kling_async import events as module
from kling_async.errors import KlingError
from kling_async.events import EventKind, Hooks
from tests.support import Recorder, clip, pair, still

pytestmark = pytest.mark.anyio


def test_without_a_listener_no_event_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Free when unused: those who emit can see it beforehand, and nothing is built if they do not."""
    monkeypatch.setattr(module, "Event", None)
    hooks = Hooks(None)
    assert not hooks
    hooks.emit("asked", 1.0, nonsense=object())
    assert caplog.records == []


def test_a_listener_gets_the_facts() -> None:
    """Kind, time and whatever was passed; the rest has harmless defaults."""
    heard = Recorder()
    hooks = Hooks(heard)
    assert hooks
    hooks.emit("ended", 2.5, pool="video", task_id="77", status="failed", detail="too dark")
    assert heard.events == [
        Event(kind="ended", at=2.5, pool="video", task_id="77", status="failed", detail="too dark")
    ]
    assert (heard.events[0].endpoint, heard.events[0].external_task_id) == ("", None)


def test_events_are_frozen_and_plain() -> None:
    """One listener cannot change what the next one sees, and an event can be sent on as JSON."""
    event = Event(kind="created", at=1.0, task_id="77")
    with pytest.raises(AttributeError):
        event.task_id = "78"  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert hash(event) == hash(Event(kind="created", at=1.0, task_id="77"))


@pytest.mark.parametrize("facts", [{}, {"no_such_fact": 1}], ids=["listener", "our own slip"])
def test_what_goes_wrong_in_telling_is_logged(
    facts: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """It is the listener's trouble, never that of who emits."""

    def broken(event: Event) -> None:
        raise ValueError("a listener's own trouble")

    Hooks(broken).emit("asked", 1.0, **facts)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("kling_async", logging.ERROR)
    assert record.getMessage() == "on_event raised at 'asked'" and record.exc_info is not None


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_end_the_program_may(kind: type[BaseException]) -> None:
    """Only exceptions are swallowed."""

    def leave(event: Event) -> None:
        raise kind

    with pytest.raises(kind):
        Hooks(leave).emit("asked", 1.0)


async def test_a_listener_that_always_raises_harms_no_task() -> None:
    """Submit, wait, and every event in between."""
    seen: list[str] = []

    def broken(event: Event) -> None:
        seen.append(event.kind)
        raise ValueError("no")

    async with pair(client={"on_event": broken}) as (_, client):
        await client.run(clip())
    assert {"queued", "admitted", "created", "asked", "changed", "ended"} <= set(seen)


async def test_the_events_of_one_task_tell_its_story(tmp_path: object) -> None:
    """In order, with the ids that belong to it, at times that never go back."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (_, client):
        task = await client.submit(still(), external_task_id="order-17")
        await task.wait()
        await task.download(str(tmp_path))
    story = [event.kind for event in heard.events if event.kind not in ("asked", "changed")]
    assert story == ["queued", "admitted", "created", "ended", "downloaded"]
    assert {event.external_task_id for event in heard.events if event.kind != "asked"} == {"order-17"}
    assert {event.task_id for event in heard.events[3:]} == {task.id}
    assert {event.pool for event in heard.events} == {"image"}
    assert [event.at for event in heard.events] == sorted(event.at for event in heard.events)
    assert heard.of("ended")[0].status == "succeed" and heard.of("downloaded")[0].detail.endswith(".png")


@pytest.mark.parametrize(
    ("code", "story"),
    [
        pytest.param(1301, ["queued", "admitted", "left"], id="refused for good"),
        pytest.param(1302, ["queued", "admitted", "queued", "admitted", "created"], id="too fast"),
        pytest.param(1303, ["queued", "admitted", "refused", "admitted", "created"], id="account full"),
        pytest.param(5000, ["queued", "admitted", "created"], id="lost, and surely not made"),
    ],
)
async def test_the_events_of_a_create_that_did_not_go_well(code: int, story: list[str]) -> None:
    """Whoever counts comes out even: what waits again is told, and so is what will never be a task."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        emu.fault("create", code=code, acts=False)
        with contextlib.suppress(KlingError):
            await client.submit(clip())
    assert heard.kinds() == story


async def test_every_kind_is_one_that_the_type_names() -> None:
    """So a listener that matches on them all misses none; a full account and an old slot included."""
    heard = Recorder()
    options = {"on_event": heard, "max_task_life": 50}
    async with pair({"video": 2}, seconds=100, foreign={"video": 1}, client=options) as (_, client):
        await asyncio.gather(*(client.run(clip()) for _ in range(2)))
    assert {"refused", "slot_expired"} <= set(heard.kinds()) <= set(get_args(EventKind))
