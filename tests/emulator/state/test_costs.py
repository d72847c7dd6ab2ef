"""Slots, units, time and shape of tasks, and the bills."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from kling_async.emulator.judging.pixels import image_size
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.rules.table import with_defaults
from kling_async.emulator.state.prices import units_of
from kling_async.emulator.state.result_aspect import result_aspect
from kling_async.emulator.state.weights import count_of, weight_of
from kling_async.testing import Clip
from tests.emulator.calls.test_examples import described, paths_of
from tests.emulator.facts import ENDPOINTS, MAKERS, SAMPLES, path, sample
from tests.emulator.support import Caller, calling, png, sound

pytestmark = pytest.mark.anyio

SLOTS = {"video": 50, "image": 50, "virtual_try_on": 9}
SERIES = {"result_type": "series"}
WINDOW = {"start_time": 0, "end_time": 99_999_999_999_999}


async def create(call: Caller, name: str, **changes: Any) -> str:
    """Make a task of an endpoint's sample with changes; return its id."""
    reply = await call("POST", path(name), json=sample(name, **{"external_task_id": "", **changes}))
    assert reply.code == 0, reply.json
    return str(reply.data["task_id"])


@pytest.mark.parametrize(
    ("name", "changes", "weight"),
    [
        ("image_generation", {"n": 3}, 3),
        ("multi_image_to_image", {"n": 9}, 9),
        ("image_expand", {"n": 2}, 2),
        ("omni_image", {"n": 4, "series_amount": 7}, 4),
        ("omni_image", {"n": 4, **SERIES}, 4),
        ("omni_image", {"n": 4, **SERIES, "series_amount": 7}, 7),
        ("omni_image", {**SERIES, "series_amount": "auto"}, 9),
        ("custom_elements", {}, 0),
        *((name, {}, 1) for name in MAKERS if name != "custom_elements"),
    ],
)
async def test_slots_and_when_they_are_free_again(name: str, changes: dict[str, Any], weight: int) -> None:
    """A task takes as many slots of its pool as the reference says, until its end."""
    async with calling(slots=SLOTS) as (emu, call):
        emu.know(*SAMPLES)
        task_id = await create(call, name, **changes)
        task = emu.tasks[task_id]
        pool = ENDPOINTS[name]["quota"]["pool"]
        assert task.weight == weight and task.pool == ("none" if pool == "unsure" else pool)
        assert sum(emu.ledger.used(pool) for pool in SLOTS) == weight
        await asyncio.sleep(1000)
        assert emu.tasks[task_id].status == "succeed"
        assert all(emu.ledger.used(pool) == 0 for pool in SLOTS)


async def test_elements_need_no_slot_and_no_pack() -> None:
    """Elements are made while every pool is full or missing; only trouble of the account stops them."""
    async with calling(slots={"video": 1}, foreign={"video": 1}) as (emu, call):
        await create(call, "custom_elements")
        emu.account_code = 1100
        refused = await call("POST", path("custom_elements"), json=sample("custom_elements"))
        assert refused.refusal[1] == 1100


def test_a_series_of_any_length_is_shorter_than_its_slots() -> None:
    """A series of open length takes 9 slots and makes 2 to 8 images."""
    endpoint = REFERENCE.endpoints["omni_image"]
    body = with_defaults(endpoint, {**SERIES, "series_amount": "auto"})
    counts = {count_of(endpoint, body, random.Random(seed)) for seed in range(99)}
    assert weight_of(endpoint, body) == 9 and counts == set(range(2, 9))


async def test_a_series_is_shown_apart() -> None:
    """The images of a series are in an array of their own, as many as were made and paid."""
    async with calling(slots=SLOTS) as (emu, call):
        task_id = await create(call, "omni_image", **SERIES, series_amount="auto")
        emu.finish(task_id)
        done = (await call("GET", f"{path('omni_image')}/{task_id}")).data
        result, count = done["task_result"], emu.tasks[task_id].count
        assert (result["result_type"], result["images"]) == ("series", [])
        assert [image["index"] for image in result["series_images"]] == list(range(count))
        assert done["final_unit_deduction"] == str(8 * count)
        assert (await call("GET", result["series_images"][-1]["url"], auth=None)).status == 200


@pytest.mark.parametrize(
    ("name", "changes", "seconds", "count", "units"),
    [
        ("image_to_video", {"mode": "pro"}, 5, 1, 2.5),
        ("multi_image_to_video", {"mode": "pro", "duration": "10"}, 10, 1, 7),
        ("omni_video", {}, 5, 1, 4),
        ("omni_video", {"sound": "on", "mode": "std"}, 10, 1, 8),
        ("omni_video", {"video_list": [{}]}, 5, 1, 6),
        ("omni_video", {"model_name": "kling-video-o1", "mode": "std"}, 7, 1, 4.2),
        ("motion_control", {}, 5.4, 1, 4),
        ("multi_elements", {"mode": "pro"}, 5, 1, 5),
        ("advanced_lip_sync", {}, 5, 1, 0.5),
        ("lip_sync", {}, 5.1, 1, 1),
        ("avatar", {}, 11.3, 1, 4.4),
        ("avatar", {"mode": "pro"}, 2, 1, 1.6),
        ("video_effects", {}, 5, 1, 2),
        ("image_recognize", {}, 5, 1, 0.1),
        ("omni_image", {"resolution": "4k"}, 5, 3, 48),
        ("multi_image_to_image", {}, 5, 2, 32),
        ("image_expand", {}, 5, 2, 16),
        ("virtual_try_on", {}, 5, 1, 1),
        ("ai_multi_shot", {}, 5, 1, 20),
        ("custom_elements", {}, 5, 1, 0),
        ("custom_voices", {}, 5, 1, 0.05),
        ("text_to_audio", {}, 10, 1, 0.25),
        ("video_to_audio", {}, 5, 1, 0.25),
    ],
)
def test_prices(name: str, changes: dict[str, Any], seconds: float, count: int, units: float) -> None:
    """Prices follow the table: per second, image, clip, call or started five seconds; seconds are rounded."""
    endpoint = REFERENCE.endpoints[name]
    body = with_defaults(endpoint, sample(name, **changes))
    assert float(units_of(endpoint, body, seconds, count)) == pytest.approx(units)


@pytest.mark.parametrize("name", MAKERS)
async def test_every_kind_of_task_takes_its_time(name: str) -> None:
    """Tasks of every endpoint take more than a moment and less than ten minutes."""
    async with calling(slots=SLOTS) as (emu, call):
        emu.know(*SAMPLES)
        task = emu.tasks[await create(call, name)]
        assert 2 < task.ends - task.created < 600


@pytest.mark.parametrize(
    ("name", "body", "shape"),
    [
        ("text_to_video", {}, "16:9"),
        ("text_to_video", {"aspect_ratio": "9:16"}, "9:16"),
        ("image_to_video", {"image": "https://example.com/a.png"}, "16:9"),
        ("image_to_video", {"image": png(400, 600)}, "400:600"),
        ("omni_image", {"image_list": [{"image": png(400, 300)}]}, "400:300"),
        ("omni_image", {"image_list": [{"image": png(400, 300)}], "aspect_ratio": "auto"}, "400:300"),
        ("omni_image", {"image_list": [{"image": png(400, 300)}], "aspect_ratio": "1:1"}, "1:1"),
        ("omni_image", {}, "16:9"),
        ("video_effects", {"input": {"images": [png(300, 500), png(600, 300)]}}, "300:500"),
        ("avatar", {"sound_file": sound("mp3", 3), "image": png(300, 300)}, "300:300"),
        (
            "image_expand",
            {
                "image": png(400, 400),
                "up_expansion_ratio": 0,
                "down_expansion_ratio": 0.5,
                "left_expansion_ratio": 0.25,
                "right_expansion_ratio": 0.25,
            },
            "600:600",
        ),
    ],
)
def test_the_shape_is_the_requested_one_or_the_pictures(name: str, body: Any, shape: str) -> None:
    """The shape is the requested ratio, else that of the first picture sent as a file, else 16:9."""
    assert result_aspect(REFERENCE.endpoints[name], body) == shape


async def test_files_have_the_shape_of_the_picture() -> None:
    """A tall picture makes tall images and clips; extreme ratios are limited."""
    async with calling(slots=SLOTS) as (emu, call):
        sides = {f"{side}_expansion_ratio": 0 for side in ("up", "down", "right")}
        task_id = await create(call, "image_expand", image=png(750, 300), left_expansion_ratio=2, **sides)
        emu.finish(task_id)
        result = (await call("GET", f"{path('image_expand')}/{task_id}")).data["task_result"]
        assert image_size((await call("GET", result["images"][0]["url"], auth=None)).raw) == (512, 96)
        task_id = await create(call, "image_to_video", image=png(300, 500), image_tail=None)
        emu.finish(task_id)
        result = (await call("GET", f"{path('image_to_video')}/{task_id}")).data["task_result"]
        file = await call("GET", result["videos"][0]["url"], auth=None)
        track = file.raw[file.raw.index(b"tkhd") + 4 :]
        width, height = (int.from_bytes(track[at : at + 4], "big") >> 16 for at in (76, 80))
        assert width * 500 == height * 300


# --- bills -------------------------------------------------------------------------------------


async def bill(call: Caller, **changes: Any) -> dict[str, Any]:
    """Request a bill."""
    name = "account_billing_package"
    data: dict[str, Any] = (await call("POST", path(name), json={**WINDOW, **changes})).data
    assert paths_of(data) <= described(ENDPOINTS[name])
    return data


async def test_a_bill_lists_what_ended_tasks_took() -> None:
    """Paid tasks are listed oldest first with the units left; failed, running and free tasks are not."""
    async with calling(slots=SLOTS, units={"video": 100}) as (emu, call):
        ids = [await create(call, "text_to_video") for _ in range(4)]
        ids.append(await create(call, "image_generation"))
        ids.append(await create(call, "custom_elements"))
        for task_id, ending in zip(ids, ("succeed", "failed", None, *["succeed"] * 3), strict=True):
            if ending == "failed":
                emu.finish(task_id, "failed")
            elif ending:
                emu.finish(task_id)
        data = await bill(call)
        entries = data["result"]["detail"]
        assert [entry["task_id"] for entry in entries] == [ids[0], ids[3], ids[4]]
        assert (data["result"]["count"], data["has_more"], data["next_cursor"]) == (3, False, "")
        first, second, image = entries
        assert (first["unit_before_deduction"], first["deduction_amount"]) == (100, 5)
        assert first["unit_after_deduction"] == second["unit_before_deduction"] == 95
        assert (first["resolution"], first["video_sound"], first["duration"]) == ("1080p", "native", "5")
        assert (image["product_type"], image["resolution"]) == ("image", "1k") and "duration" not in image


async def test_a_bill_is_filtered_and_comes_in_pages() -> None:
    """Filters select by product and time; the cursor continues the first request, whatever else is sent."""
    async with calling(slots=SLOTS) as (emu, call):
        ids = [await create(call, "text_to_video") for _ in range(3)]
        ids += [await create(call, "virtual_try_on")]
        for task_id in ids:
            emu.finish(task_id)
        only = {"filters": [{"key": "product_type", "values": ["try-on", "image"]}]}
        assert [entry["task_id"] for entry in (await bill(call, **only))["result"]["detail"]] == ids[3:]
        assert (await bill(call, end_time=1))["result"]["detail"] == []
        page = await bill(call, limit=2)
        assert page["has_more"] and len(page["result"]["detail"]) == 2
        rest = await bill(call, cursor=page["next_cursor"], limit=1)
        assert [entry["task_id"] for entry in rest["result"]["detail"]] == ids[2:]
        assert not rest["has_more"]
        wrong = await call("POST", path("account_billing_package"), json={"cursor": "x"})
        assert wrong.refusal == (400, 1201, "cursor is invalid")


async def test_added_items_have_files() -> None:
    """A video given by URL is shown as the parent, and served; so are the files that a session shows."""
    async with calling() as (emu, call):
        emu.know(*SAMPLES)
        task_id = await create(call, "advanced_lip_sync")
        info = (await call("GET", f"{path('advanced_lip_sync')}/{task_id}")).data["task_info"]
        assert (await call("GET", info["parent_video"]["url"], auth=None)).status == 200
        session = {"session_id": sample("multi_elements")["session_id"]}
        shown = await call("POST", path("multi_elements.preview_selection"), json=session)
        assert (await call("GET", shown.data["res"]["video"], auth=None)).status == 200
        emu.know(Clip(id="7", seconds=9, aspect="9:16"))
        task_id = await create(call, "video_to_audio", video_id="7", video_url="")
        info = (await call("GET", f"{path('video_to_audio')}/{task_id}")).data["task_info"]
        assert info["parent_video"]["duration"] == "9"
        assert (await call("GET", info["parent_video"]["url"], auth=None)).status == 200
