"""The life of tasks over HTTP, and the start, stop and restart of the emulator."""

from __future__ import annotations

import asyncio
import math

import aiohttp
import pytest

from kling_async.testing import emulator
from tests.clock import new_event_loop
from tests.emulator.support import IMAGE, VIDEO, Caller, calling

pytestmark = pytest.mark.anyio


async def test_a_create_answers_as_the_reference_says() -> None:
    """The answer to a create has ids, status and times in ms, and no result."""
    async with calling(now=lambda: 1_790_000_000.5) as (emu, call):
        reply = await call.video(external_task_id="order-17")
        assert reply.status == 200
        assert set(reply.json) == {"code", "message", "request_id", "data"}
        assert (reply.code, reply.json["message"]) == (0, "SUCCEED")
        task_id = reply.data["task_id"]
        assert task_id.isdigit() and len(task_id) == 18
        assert reply.data == {
            "task_id": task_id,
            "task_status": "submitted",
            "task_info": {"external_task_id": "order-17"},
            "created_at": 1_790_000_000_500,
            "updated_at": 1_790_000_000_500,
        }
        task = emu.tasks[task_id]
        assert (task.endpoint, task.pool, task.weight, task.created) == ("text_to_video", "video", 1, 0.0)
        assert (task.seconds, task.aspect, task.count) == (5.0, "16:9", 1)


async def test_a_task_goes_from_submitted_over_processing_to_succeed() -> None:
    """Status, times and price follow the clock, whichever id is queried."""
    async with calling(now=lambda: 1_790_000_000) as (emu, call):
        emu.set_duration(60)
        task_id = (await call.video(external_task_id="mine", duration="10", mode="pro")).data["task_id"]
        path = f"{VIDEO}/{task_id}"
        first = (await call("GET", path)).data
        assert (first["task_status"], first["task_status_msg"]) == ("submitted", "")
        assert "final_unit_deduction" not in first and "task_result" not in first
        await asyncio.sleep(30)
        assert await call.status("mine") == "processing"
        await asyncio.sleep(31)
        done = (await call("GET", path)).data
        assert done["task_status"] == "succeed"
        assert done["updated_at"] == 1_790_000_060_000 and done["created_at"] == 1_790_000_000_000
        assert done["final_unit_deduction"] == "8"  # 10 s of pro at 0.8
        assert done["final_balance_deduction"] == {"quota": "0", "list_price": "0"}
        assert done["watermark_info"] == {"enabled": False}
        (video,) = done["task_result"]["videos"]
        assert video["duration"] == "10" and video["id"].isdigit() and video["id"] != task_id
        assert "watermark_url" not in video


@pytest.mark.parametrize(
    ("body", "units"),
    [
        ({}, "3"),
        ({"sound": "on"}, "4.5"),
        ({"mode": "4k", "duration": "3"}, "9"),
        ({"model_name": "kling-v2-6", "mode": "pro", "sound": "on"}, "5"),
        ({"model_name": "kling-v2-5-turbo", "duration": "10"}, "3"),
    ],
)
async def test_a_video_costs_what_the_price_list_says(body: dict[str, str], units: str) -> None:
    """The units depend on model, mode, sound and length."""
    async with calling() as (emu, call):
        task_id = (await call.video(**body)).data["task_id"]
        emu.finish(task_id)
        assert (await call("GET", f"{VIDEO}/{task_id}")).data["final_unit_deduction"] == units


async def test_images_come_as_many_as_asked_for_and_are_paid_one_by_one() -> None:
    """The result has n images, with watermarked copies on request, for n times the price."""
    async with calling() as (emu, call):
        made = await call.image(model_name="kling-v2-1", n=3, watermark_info={"enabled": True})
        task_id = made.data["task_id"]
        assert emu.ledger.used("image") == 3
        emu.finish(task_id)
        done = (await call("GET", f"{IMAGE}/{task_id}")).data
        assert [image["index"] for image in done["task_result"]["images"]] == [0, 1, 2]
        assert len({image["url"] for image in done["task_result"]["images"]}) == 3
        assert all(image["watermark_url"] for image in done["task_result"]["images"])
        assert done["final_unit_deduction"] == "12" and done["watermark_info"] == {"enabled": True}


async def test_a_prompt_can_fail_its_task() -> None:
    """Such a task runs, ends as failed with a reason, costs nothing and frees its slot."""
    async with calling(units={"video": 100}) as (emu, call):
        task_id = (await call.video(prompt="x emulator:fail emulator:seconds=12")).data["task_id"]
        assert emu.units["video"] == 97
        await asyncio.sleep(11.9)
        assert await call.status(task_id) == "processing" and emu.ledger.used("video") == 1
        await asyncio.sleep(0.2)
        done = (await call("GET", f"{VIDEO}/{task_id}")).data
        assert (done["task_status"], done["final_unit_deduction"]) == ("failed", "0")
        assert done["task_status_msg"] and "task_result" not in done
        assert emu.ledger.used("video") == 0 and emu.units["video"] == 100


async def test_a_test_can_end_a_task() -> None:
    """`finish` ends a running task at once, and does nothing to an ended one."""
    async with calling() as (emu, call):
        task_id = (await call.video()).data["task_id"]
        emu.finish(task_id, "failed", "on purpose")
        emu.finish(task_id, "succeed")
        done = (await call("GET", f"{VIDEO}/{task_id}")).data
        assert (done["task_status"], done["task_status_msg"]) == ("failed", "on purpose")
        assert emu.ledger.used("video") == 0


async def test_unknown_ids_and_foreign_endpoints_are_not_found() -> None:
    """A task is found at its own endpoint only; the refusal has the vendor's words."""
    async with calling() as (_, call):
        task_id = (await call.video(external_task_id="a b")).data["task_id"]
        text = "Task not found by id/external id: {}"
        assert (await call("GET", f"{VIDEO}/nobody")).refusal == (400, 1201, text.format("nobody"))
        assert (await call("GET", f"{IMAGE}/{task_id}")).refusal == (400, 1201, text.format(task_id))
        assert (await call("GET", f"{VIDEO}/a%20b")).data["task_id"] == task_id


async def test_lists_are_bare_arrays_newest_first() -> None:
    """Pages count from 1 and have 30 tasks by default; each endpoint lists its own tasks."""
    async with calling(slots={"video": 99, "image": 9}) as (_, call):
        ids = [(await call.video()).data["task_id"] for _ in range(33)]
        await call.image()
        newest = [entry["task_id"] for entry in (await call("GET", VIDEO)).data]
        assert newest == ids[:2:-1]
        second = await call("GET", VIDEO, params={"pageNum": "2", "pageSize": "20"})
        assert [entry["task_id"] for entry in second.data] == ids[12::-1]
        assert (await call("GET", VIDEO, params={"pageNum": "3", "pageSize": "20"})).data == []
        assert len((await call("GET", VIDEO, params={"pageSize": "500"})).data) == 33


@pytest.mark.parametrize(
    "params",
    [{"pageNum": "0"}, {"pageNum": "1001"}, {"pageSize": "0"}, {"pageSize": "501"}, {"pageSize": "x"}],
)
async def test_pages_have_bounds(params: dict[str, str]) -> None:
    """A page number or size out of bounds is refused, naming the field."""
    async with calling() as (_, call):
        status, code, message = (await call("GET", VIDEO, params=params)).refusal
        assert (status, code) == (400, 1201) and next(iter(params)) in message


async def test_wrong_methods_and_paths() -> None:
    """Both answer 404, each with its own code."""
    async with calling() as (emu, call):
        for method, path in (("PUT", VIDEO), ("DELETE", f"{VIDEO}/1"), ("POST", "/account/costs")):
            assert (await call(method, path)).refusal[:2] == (404, 1202)
        for path in ("/v1/videos/text3video", "/v2", "/account/costs/1"):
            assert (await call("GET", path)).refusal[:2] == (404, 1203)
        assert {row.kind for row in emu.ledger.rows} == {"other"}
        assert (await call("POST", VIDEO + "/", json={"model_name": "kling-v3", "prompt": "x"})).code == 0


async def test_durations_are_those_of_the_vendor_and_follow_the_seed() -> None:
    """An image takes about 24 s, a short silent clip 30 to 90 s, pro minutes; equal seeds repeat them."""
    spans: list[list[float]] = []
    for seed in (1, 1, 2):
        async with calling(seed=seed, slots={"video": 99, "image": 99}) as (emu, call):
            for _ in range(8):
                await call.image()
                await call.video(duration="3")
                await call.video(mode="pro", sound="on")
            spans.append([task.ends - task.created for task in emu.tasks.values()])
    assert spans[0] == pytest.approx(spans[1]) and spans[0] != pytest.approx(spans[2])
    images, short, pro = spans[0][0::3], spans[0][1::3], spans[0][2::3]
    assert all(12 <= s <= 36 for s in images) and 20 < sum(images) / 8 < 28
    assert all(20 <= s <= 90 for s in short) and len({round(s, 3) for s in short}) == 8
    assert all(90 <= s <= 400 for s in pro)


async def test_speed_divides_realistic_durations_only() -> None:
    """At twenty times the speed a task takes a twentieth of the time; fixed durations stay."""
    async with calling() as (slow, call):
        await call.video()
    async with calling(speed=20) as (fast, call):
        await call.video()
        fast.set_duration(lambda task: 7.0 if task.body["duration"] == "5" else 0)
        await call.video()
        fast.set_duration(None)
    (usual,) = (task.ends - task.created for task in slow.tasks.values())
    quick, fixed = (task.ends - task.created for task in fast.tasks.values())
    assert math.isclose(quick, usual / 20) and math.isclose(fixed, 7)


async def test_a_base_path_may_stand_in_front() -> None:
    """With a prefix, all paths are below it and nowhere else."""
    async with calling(prefix="/kling/") as (emu, call):
        assert emu.url.endswith("/kling")
        task_id = (await call.video()).data["task_id"]
        emu.finish(task_id)
        done = (await call("GET", f"{VIDEO}/{task_id}")).data
        url = done["task_result"]["videos"][0]["url"]
        assert url.startswith(emu.url) and (await call("GET", url, auth=None)).status == 200
        outside = emu.url.removesuffix("/kling")
        assert (await call("GET", f"{outside}{VIDEO}/{task_id}")).refusal[:2] == (404, 1203)


async def test_stopping_leaves_nothing_behind() -> None:
    """After a stop there is no asyncio task, no timer of a running task, and no open port."""
    before = asyncio.all_tasks()
    async with calling() as (emu, call):
        task_id = (await call.video()).data["task_id"]
        port = int(emu.url.rpartition(":")[2])
    assert asyncio.all_tasks() == before
    await asyncio.sleep(1000)
    assert emu.tasks[task_id].status == "submitted"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await emu.stop()


async def test_a_restart_is_an_outage() -> None:
    """After a restart port, tasks and time are the same; tasks due meanwhile have ended."""
    async with calling() as (emu, call):
        emu.set_duration(60)
        early = (await call.video(external_task_id="early")).data["task_id"]
        await asyncio.sleep(30)
        url, late = emu.url, (await call.video()).data["task_id"]
        await emu.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await call.status(early)
        await asyncio.sleep(40)
        assert emu.ledger.used("video") == 2
        await emu.start()
        assert emu.url == url and await call.status(early) == "succeed"
        assert await call.status(late) == "processing"
        await asyncio.sleep(21)
        assert await call.status(late) == "succeed" and emu.ledger.used("video") == 0


async def test_the_emulator_runs_in_one_loop_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start while another loop runs the emulator raises an error that says so."""
    emu = emulator()
    emu._clock._loop = other = asyncio.SelectorEventLoop()
    monkeypatch.setattr(other, "is_running", lambda: True)
    with pytest.raises(RuntimeError, match="another event loop"):
        await emu.start()
    monkeypatch.undo()
    other.close()


def test_the_emulator_goes_on_in_the_next_loop() -> None:
    """After its loop ended it starts in another: same port and tasks, time advanced by the wall clock."""
    wall = [1_000_000.0]
    emu = emulator(now=lambda: wall[0])

    async def first() -> str:
        async with emu, aiohttp.ClientSession() as session:
            emu.set_duration(100)
            return str((await Caller(emu, session).video()).data["task_id"])

    async def second(task_id: str) -> tuple[str, str]:
        async with emu, aiohttp.ClientSession() as session:
            call = Caller(emu, session)
            early = await call.status(task_id)
            await asyncio.sleep(31)
            return early, await call.status(task_id)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        task_id = runner.run(first())
    wall[0] += 70
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(second(task_id)) == ("processing", "succeed")


async def test_connections_outlive_gaps_between_polls() -> None:
    """A connection that was idle for most of an hour still answers."""
    async with calling() as (emu, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(emu.url.rpartition(":")[2]))
        for _ in range(2):
            writer.write(b"GET /_emulator/ledger HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            await asyncio.sleep(3500)
        writer.close()
        await writer.wait_closed()


async def test_environment_banner_and_repr_tell_the_address() -> None:
    """The environment, the banner and the repr tell the address; the repr tells no secret."""
    async with emulator(slots={"video": 2}) as emu:
        assert emu.env() == {"KLING_BASE_URL": emu.url, "KLING_API_KEY": "emulator-key"}
        assert emu.url in emu.banner() and "emulator:fail" in emu.banner() and "video 2" in emu.banner()
        assert repr(emu) == f"<Emulator {emu.url} <SlotPools video 0+0/2> 0 tasks>"
        with pytest.raises(RuntimeError, match="runs already"):
            await emu.start()
    assert repr(emu) == "<Emulator stopped <SlotPools video 0+0/2> 0 tasks>"
    pair = emulator(api_key=None, access_key="a", secret_key="b")
    assert set(pair.env()) == {"KLING_BASE_URL", "KLING_ACCESS_KEY", "KLING_SECRET_KEY"}


async def test_wrong_hosts_and_speeds_are_refused() -> None:
    """Other hosts and speeds of 0 or less are refused; nothing works before the start."""
    with pytest.raises(ValueError, match="loopback only"):
        emulator(host="0.0.0.0")
    with pytest.raises(ValueError, match="speed"):
        emulator(speed=0)
    with pytest.raises(RuntimeError, match="not been started"):
        emulator()._clock.time()
    async with emulator(host="::1") as emu:
        assert emu.url.startswith("http://[::1]:")
