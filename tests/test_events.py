"""events.py: whoever listens is told what happens, and listening harms nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from kling_async import Event, PolicyViolation, RequestRejected, TaskNotFound, Timeouts, v1
from kling_async import events as module
from kling_async.catalog import endpoint_of
from kling_async.errors import KlingError
from kling_async.events import EventKind, Hooks, facts
from kling_async.orchestrator.tracked import TrackedTask
from tests.support import Recorder, client_of, clip, pair, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


TASK = TrackedTask(endpoint_of(still()), "77")


def test_without_a_listener_no_event_is_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a listener an event is counted, and neither made nor given facts or a time."""
    for name in ("Event", "facts"):
        monkeypatch.setattr(module, name, None)
    hooks = Hooks(None, lambda: pytest.fail("nobody wants to know the time"))
    caplog.set_level(logging.INFO, "kling_async")
    hooks.emit("asked", TASK)
    assert hooks.counts.asked == 1
    assert caplog.records == []


def test_a_listener_gets_the_facts() -> None:
    """Kind, time, subject and whatever was passed arrive; the rest has harmless defaults."""
    heard = Recorder()
    hooks = Hooks(heard, lambda: 2.5)
    hooks.emit("ended", TASK, status="failed", detail="too dark")
    named = {"endpoint": TASK.endpoint.name, "pool": "image", "task_id": "77"}
    expected = {"kind": "ended", "at": 2.5, "status": "failed", "detail": "too dark", **named}
    assert heard.events == [msgspec.convert(expected, Event)]
    assert (heard.events[0].external_task_id, heard.events[0].error) == (None, "")


def test_an_event_about_many_tells_what_they_have_in_common() -> None:
    """Ids are told of one subject only, endpoint and pool where all share them."""
    named = TrackedTask(endpoint_of(still()), "mine", by_external_id=True)
    video = TrackedTask(endpoint_of(clip()), "78")
    assert facts(named) == {**facts(TASK), "external_task_id": "mine", "task_id": None}
    assert facts(TASK, named) == {**facts(TASK), "task_id": None}
    assert facts(TASK, video) == facts()
    assert facts(pool="video") == {**facts(), "pool": "video"}


def test_events_are_frozen_and_plain() -> None:
    """One listener cannot change what the next one sees, and an event can be sent on as JSON."""
    event = Event(kind="created", at=1.0, task_id="77")
    with pytest.raises(AttributeError):
        event.task_id = "78"  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event
    assert hash(event) == hash(Event(kind="created", at=1.0, task_id="77"))


def test_what_a_listener_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The error of a listener does not reach the code that emits."""

    def broken(event: Event) -> None:
        raise ValueError("a listener's own trouble")

    Hooks(broken, lambda: 1.0).emit("asked", TASK)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("kling_async", logging.ERROR)
    assert record.getMessage() == "on_event raised at 'asked'" and record.exc_info is not None
    assert vars(record)["task_id"] == "77"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_who_wants_to_end_the_program_may(kind: type[BaseException]) -> None:
    """Only exceptions are swallowed, not KeyboardInterrupt or SystemExit."""

    def leave(event: Event) -> None:
        raise kind

    with pytest.raises(kind):
        Hooks(leave, lambda: 1.0).emit("asked")


async def test_a_listener_that_always_raises_harms_no_task() -> None:
    """Submit, wait and all events in between go on."""
    seen: list[str] = []

    def broken(event: Event) -> None:
        seen.append(event.kind)
        raise ValueError("no")

    async with pair(client={"on_event": broken}) as (_, client):
        await client.run(clip())
    assert {"queued", "admitted", "created", "asked", "changed", "ended"} <= set(seen)


async def test_the_events_of_one_task_tell_its_story(tmp_path: Path) -> None:
    """Events come in order, with the task's ids, at times that never go back."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (_, client):
        task = await client.submit(still(), external_task_id="order-17")
        await task.wait()
        await task.download(tmp_path)
    story = [event.kind for event in heard.events if event.kind not in ("asked", "changed")]
    assert story == ["queued", "admitted", "created", "ended", "downloaded"]
    assert {event.external_task_id for event in heard.events} == {"order-17"}
    assert {event.task_id for event in heard.events[2:]} == {task.id}
    assert {event.task_id for event in heard.events[:2]} == {None}
    assert {event.pool for event in heard.events} == {"image"}
    assert {event.endpoint for event in heard.events} == {endpoint_of(still()).name}
    assert [event.at for event in heard.events] == sorted(event.at for event in heard.events)
    assert heard.of("ended")[0].status == "succeed" and heard.of("downloaded")[0].detail.endswith(".png")
    assert heard.of("downloaded")[0].size == (tmp_path / heard.of("downloaded")[0].detail).stat().st_size


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
    """Counts come out even: both what waits again and what will never be a task is told."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        emu.fault("create", code=code, acts=False)
        with contextlib.suppress(KlingError):
            await client.submit(clip())
    assert heard.kinds() == story
    assert {event.external_task_id for event in heard.events} == {heard.events[0].external_task_id} != {None}
    assert all(event.error for event in heard.events if event.kind in ("left", "refused"))
    assert [bool(event.error) for event in heard.of("queued")] == [False, True][: len(heard.of("queued"))]


async def test_every_kind_is_one_that_the_type_names(tmp_path: Path) -> None:
    """A listener that matches on all kinds misses none, and no kind is named in vain."""
    heard = Recorder()
    options = {"on_event": heard, "max_task_life": 50, "timeouts": Timeouts(read=5)}
    async with pair({"video": 2}, seconds=100, foreign={"video": 1}, client=options) as (emu, client):
        emu.fault("create", kind="lost_after")
        tasks = await asyncio.gather(*(client.submit(clip()) for _ in range(2)))
        await asyncio.gather(*(task.download(tmp_path) for task in tasks))
        emu.fault("create", code=1301)
        with pytest.raises(PolicyViolation):
            await client.submit(clip())
        emu.fault("create", code=1203, times=None)
        for _ in range(10):
            with pytest.raises(RequestRejected):
                await client.submit(clip())
        client.account.reopen()
    assert set(heard.kinds()) == set(get_args(EventKind))
    one = [event for event in heard.events if event.kind != "asked" or event.detail == "one: 1"]
    assert all(event.pool == "video" and event.endpoint for event in one)
    assert all(event.external_task_id for event in one if event.kind not in ("held", "released"))
    made = ("created", "adopted", "asked", "changed", "ended", "slot_expired", "downloaded")
    assert {event.task_id for event in one if event.kind in made} == {task.id for task in tasks}


async def test_an_attached_task_is_named_by_what_is_known_of_it() -> None:
    """Before it is seen it has the id it was attached by, from then on both ids."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        async with client_of(emu) as other:
            made = await other.submit(clip(), external_task_id="order-17")
        task = client.attach(v1.TextToVideo, external_task_id="order-17")
        assert task.external_task_id == "order-17"
        await task.wait()
    first, *later = [(event.external_task_id, event.task_id) for event in heard.events]
    assert first == ("order-17", None)
    assert set(later) == {("order-17", made.id)}


async def test_a_refusal_is_told_before_what_follows_from_it() -> None:
    """An emptied pool tries again at once; the events still come as refused, admitted."""
    heard = Recorder()
    async with pair({"video": 1}, foreign={"video": 1}, client={"on_event": heard}) as (emu, client):
        emu.fault("create", code=1302, retry_after=0, acts=False)
        submit = asyncio.create_task(client.submit(clip()))
        await until(lambda: len(heard.of("refused")) == 3)
        emu.set_foreign("video", 0)
        await submit
    again = ["refused", "admitted"] * len(heard.of("refused"))
    assert heard.kinds() == ["queued", "admitted", "queued", "admitted", *again, "created"]


async def test_a_refusal_is_told_though_nobody_waits_any_more() -> None:
    """A create whose caller left is refused all the same, and does not queue."""
    heard = Recorder()
    async with pair(foreign={"video": 5}, client={"on_event": heard}) as (emu, client):
        emu.fault("create", kind="slow", seconds=5)
        submit = asyncio.create_task(client.submit(clip()))
        await until(lambda: bool(heard.of("admitted")))
        submit.cancel()
        await until(lambda: bool(heard.of("refused")))
        assert client.stats().queued == client.stats().in_flight == 0
    assert heard.kinds() == ["queued", "admitted", "left", "refused"]
    assert heard.of("left")[0].error == "CancelledError"


async def test_a_task_that_is_gone_has_ended_for_whoever_counts() -> None:
    """Misses in both forms of query, over minutes, are an end with an error, not with a status."""
    heard = Recorder()
    async with pair(client={"on_event": heard}) as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", code=1201, message="Task not found by id/external id", times=None)
        emu.fault("tasks", kind="wrong_types", value=[], times=None)
        with pytest.raises(TaskNotFound):
            await task.wait()
        assert (client.stats().gone, client.stats().running) == (1, 0)
    (end,) = heard.of("ended")
    assert (end.task_id, end.status, end.error) == (task.id, "", "TaskNotFound")


async def test_a_listener_may_look_around() -> None:
    """A listener may ask the client for statistics, which count the event it is being told."""
    seen: list[tuple[str, int]] = []

    def look(event: Event) -> None:
        if event.kind in ("created", "asked"):
            seen.append((event.kind, getattr(client.stats(), event.kind)))

    async with pair(client={"on_event": look}) as (_, client):
        await client.run(clip())
        asked = client.stats().asked
    assert seen == [("created", 1), *(("asked", n) for n in range(1, asked + 1))]
