"""Synchronous calls, and what they leave for later ones: faces, marks, speech, elements, voices."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from kling_async.emulator.judging.pixels import image_size
from kling_async.testing import Clip
from tests.emulator.calls.test_examples import described, paths_of
from tests.emulator.facts import ENDPOINTS, path, sample
from tests.emulator.support import Caller, Reply, calling

pytestmark = pytest.mark.anyio

URL = "https://example.com/clip.mp4"


async def post(call: Caller, name: str, **body: Any) -> Reply:
    """Call a synchronous endpoint."""
    return await call("POST", path(name), json=body)


async def mark(call: Caller, step: str, **body: Any) -> dict[str, Any]:
    """Make one call of an editing session; return the data, which has documented fields only."""
    name = f"multi_elements.{step}_selection"
    data: dict[str, Any] = (await post(call, name, **body)).data
    assert paths_of(data) <= described(ENDPOINTS[name])
    assert data["final_unit_deduction"] == "0"
    return data


async def made(call: Caller, name: str, **changes: Any) -> dict[str, Any]:
    """Make a task of a sample with changes, end it and return its result."""
    task_id = (await call("POST", path(name), json=sample(name, external_task_id=None, **changes))).data[
        "task_id"
    ]
    call.emu.finish(task_id)
    result: dict[str, Any] = (await call("GET", f"{path(name)}/{task_id}")).data["task_result"]
    return result


# --- marking -----------------------------------------------------------------------------------


async def test_marking_a_video() -> None:
    """A video is read, marked, previewed and edited; the result names its session."""
    async with calling() as (_, call):
        read = await mark(call, "init", video_url=URL, video_id="")
        session = read["session_id"]
        assert (read["status"], read["fps"], read["total_frame"]) == (0, 30.0, 150)
        assert (read["width"], read["height"], read["original_duration"]) == (1280, 720, 5000)
        file = await call("GET", read["normalized_video"], auth=None)
        assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
        points = [{"x": 0.5, "y": 0.25}]
        added = await mark(call, "add", session_id=session, frame_index=0, points=points)
        (mask,) = added["res"]["rle_mask_list"]
        assert added["status"] == 0 and added["res"]["frame_index"] == 0
        assert mask["rle_mask"]["size"] == mask["png_mask"]["size"] == [720, 1280]
        assert image_size(base64.b64decode(mask["png_mask"]["base64"])) == (1280, 720)
        shown = await mark(call, "preview", session_id=session)
        files = [await call("GET", url, auth=None) for url in shown["res"].values()]
        assert [file.headers["Content-Type"] for file in files] == ["video/mp4", "image/png", "video/mp4"]
        (video,) = (await made(call, "multi_elements", session_id=session))["videos"]
        assert video["session_id"] == session


async def test_marks_are_removed() -> None:
    """Marks are removed by exactly the same points, or all at once; a removal without marks is refused."""
    async with calling() as (_, call):
        session = (await mark(call, "init", video_url=URL))["session_id"]
        here: dict[str, Any] = {"session_id": session, "frame_index": 3}
        near, far = {"x": 0.1, "y": 0.1}, {"x": 0.9, "y": 0.9}
        await mark(call, "add", **here, points=[near, far])
        assert (await mark(call, "delete", **here, points=[{"x": 0.11, "y": 0.1}]))["status"] != 0
        left = await mark(call, "delete", **here, points=[near])
        assert left["status"] == 0 and len(left["res"]["rle_mask_list"]) == 1
        assert (await mark(call, "delete", **here, points=[far]))["res"]["rle_mask_list"] == []
        assert (await mark(call, "delete", **here, points=[far]))["status"] != 0
        await mark(call, "add", **here, points=[near])
        assert (await mark(call, "clear", session_id=session))["status"] == 0
        assert (await mark(call, "preview", session_id=session))["status"] != 0
        refused = await post(call, "multi_elements", **sample("multi_elements", session_id=session))
        assert refused.refusal[1] == 1201 and "removal needs marks" in refused.refusal[2]


async def test_marks_have_limits() -> None:
    """Ten points per frame, ten frames, existing frames only; on a frame's edge nothing is recognised."""
    async with calling() as (_, call):
        session = (await mark(call, "init", video_url=URL))["session_id"]

        async def add(frame: int, *xs: float) -> Reply:
            points = [{"x": x, "y": 0.5} for x in xs]
            body = {"session_id": session, "frame_index": frame, "points": points}
            return await post(call, "multi_elements.add_selection", **body)

        assert (await add(0, 0.0)).data["status"] == (await add(0, 1)).data["status"] == 1
        assert (await add(149, *(0.05 * i for i in range(1, 11)))).data["status"] == 0
        assert "at most 10 points" in (await add(149, 0.7)).refusal[2]
        assert "frame_index must be between 0 and 149" in (await add(150, 0.5)).refusal[2]
        for frame in range(9):
            assert (await add(frame, 0.5)).data["status"] == 0
        assert "at most 10 frames" in (await add(9, 0.5)).refusal[2]
        assert (await add(8, 0.6)).data["status"] == 0


@pytest.mark.parametrize(
    ("seconds", "status"), [(1.9, 1), (2, 0), (5, 0), (6, 1), (7, 0), (10, 0), (10.1, 1)]
)
async def test_videos_of_a_wrong_length_are_refused_within_the_answer(seconds: float, status: int) -> None:
    """The answer has code 0, another status and no session; an unknown id is an error of the API."""
    async with calling() as (emu, call):
        emu.know(Clip(id="7", seconds=seconds))
        data = await mark(call, "init", video_id="7")
        assert (data["status"], bool(data["session_id"])) == (status, not status)
        refused = await post(call, "multi_elements.init_selection", video_id="1")
        assert refused.refusal == (400, 1201, "From video not found by id: 1")


async def test_a_session_lives_for_a_day() -> None:
    """All steps of an expired session are refused."""
    async with calling() as (_, call):
        session = (await mark(call, "init", video_url=URL))["session_id"]
        await asyncio.sleep(86400)
        assert (await mark(call, "clear", session_id=session))["status"] == 0
        await asyncio.sleep(1)
        for step in ("clear", "preview"):
            refused = await post(call, f"multi_elements.{step}_selection", session_id=session)
            assert refused.refusal == (400, 1201, f"Session not found by id: {session}")


# --- faces and speech --------------------------------------------------------------------------


async def test_lip_sync_from_face_to_video() -> None:
    """Identify, speak, choose, create: the video is as long as its source, which the answer shows."""
    async with calling(units={"video": 10}) as (emu, call):
        found = (await post(call, "identify_face", video_url=URL, video_id="")).data
        assert [face["face_id"] for face in found["face_data"]] == ["0", "1"]
        spans = [(face["start_time"], face["end_time"]) for face in found["face_data"]]
        assert spans == [(0, 5000), (2500, 5000)]
        picture = await call("GET", found["face_data"][1]["face_image"], auth=None)
        assert picture.status == 200 and image_size(picture.raw) == (512, 512)
        spoken = (await post(call, "text_to_speech", **sample("text_to_speech"))).data
        (audio,) = spoken["task_result"]["audios"]
        assert (audio["duration"], spoken["final_unit_deduction"]) == ("1.4", "0.05")
        file = await call("GET", audio["url"], auth=None)
        assert (file.headers["Content-Type"], file.raw[:2]) == ("audio/mpeg", b"\xff\xfb")
        words = sample("text_to_speech", text="Welcome aboard. " * 3)
        audio = (await post(call, "text_to_speech", **words)).data["task_result"]["audios"][0]
        face = {"face_id": "0", "audio_id": audio["id"], "sound_start_time": 0}
        face |= {"sound_end_time": 2500, "sound_insert_time": 1000}
        body = {"session_id": found["session_id"], "face_choose": [face]}
        task_id = (await post(call, "advanced_lip_sync", **body)).data["task_id"]
        emu.finish(task_id)
        done = (await call("GET", f"{path('advanced_lip_sync')}/{task_id}")).data
        assert done["task_info"]["parent_video"]["url"] == URL
        assert done["task_result"]["videos"][0]["duration"] == "5"
        assert emu.units["video"] == pytest.approx(10 - 3 * 0.05 - 0.5)


async def test_voices_of_elements_do_not_read_texts() -> None:
    """Text to speech refuses preset voices of elements, and rounds the speed to its bounds."""
    async with calling() as (_, call):
        preset = (await call("GET", path("custom_voices.presets"))).data[0]["task_result"]["voices"][0]
        words = sample("text_to_speech", voice_id=preset["voice_id"])
        assert (await post(call, "text_to_speech", **words)).refusal == (400, 1201, "Voice id not found")
        fast = await post(call, "text_to_speech", **sample("text_to_speech", voice_speed=9.0))
        assert fast.data["task_result"]["audios"][0]["duration"] == "0.7"


async def test_masks_of_a_picture() -> None:
    """All four kinds of masks are listed; the one that was not found has no file."""
    async with calling() as (_, call):
        data = (await post(call, "image_recognize", image=URL)).data
        masks = data["task_result"]["images"]
        assert [mask["type"] for mask in masks] == ["object_seg", "head_seg", "face_seg", "cloth_seg"]
        for mask in masks:
            assert bool(mask["url"]) is mask["is_contain"]
            assert not mask["url"] or (await call("GET", mask["url"], auth=None)).status == 200


async def test_calls_cost_and_may_be_refused() -> None:
    """A call with a price needs units and a pack; refused ones and those without a price cost nothing."""
    async with calling(slots={"image": 9}) as (_, call):
        assert (await post(call, "image_recognize", image=URL)).refusal[1] == 1102
        assert (await call("GET", path("custom_elements.presets"))).code == 0
    async with calling(units={"video": 0.1}) as (emu, call):
        assert (await post(call, "identify_face", video_id="1")).refusal[1] == 1201
        refused = await post(call, "text_to_speech", **sample("text_to_speech", text="emulator:refuse"))
        assert refused.refusal[:2] == (400, 1301)
        assert emu.units["video"] == 0.1
        for code in (0, 0, 1102):
            assert (await post(call, "identify_face", video_url=URL)).code == code
        emu.account_code = 1101
        assert (await post(call, "identify_face", video_url=URL)).refusal[1] == 1101
        assert [row.endpoint for row in emu.ledger.calls] == ["identify_face", "text_to_speech"] + [
            "identify_face"
        ] * 4
        assert emu.ledger.calls[1].body == sample("text_to_speech", text="emulator:refuse")
        assert emu.ledger.peak("video") == 0 and not emu.tasks


async def test_calls_can_go_wrong_by_script() -> None:
    """Faults select calls by kind and by name; a refusal within code 0 can be scripted, too."""
    async with calling() as (emu, call):
        emu.fault("call", status=503, code=5001)
        assert (await post(call, "identify_face", video_url=URL)).refusal[:2] == (503, 5001)
        emu.fault("multi_elements.init_selection", kind="wrong_types", value={"status": 7})
        reply = await post(call, "multi_elements.init_selection", video_url=URL)
        assert reply.code == 0 and reply.data == {"status": 7}


# --- the library -------------------------------------------------------------------------------


async def test_an_element_lives_until_it_is_deleted() -> None:
    """An element is made, used, deleted by its number as text, then refused and shown as deleted."""
    async with calling() as (_, call):
        (element,) = (await made(call, "custom_elements"))["elements"]
        its_id = element["element_id"]
        assert isinstance(its_id, int) and its_id > 2**53 and element["status"] == "succeed"
        assert element["tag_list"][0]["name"] == "item"
        front = await call("GET", element["element_image_list"]["frontal_image"], auth=None)
        assert front.status == 200 and image_size(front.raw) == (512, 512)
        video = sample("image_to_video", model_name="kling-v3", element_list=[{"element_id": its_id}])
        assert (await post(call, "image_to_video", **video)).code == 0
        wrong = await post(call, "custom_elements.delete", element_id=its_id)
        assert "element_id must be of type string" in wrong.refusal[2]
        deleted = await post(call, "custom_elements.delete", element_id=str(its_id))
        assert deleted.code == 0 and "data" not in deleted.json
        (shown,) = (await call("GET", path("custom_elements"))).data
        assert shown["task_result"]["elements"][0]["status"] == "deleted"
        video["external_task_id"] = ""
        for name, body, words in (
            ("image_to_video", video, "Element id not found: {}"),
            (
                "custom_elements.delete_alias",
                {"element_id": str(its_id)},
                "Element already be deleted for id: {}",
            ),
            ("custom_elements.delete", {"element_id": "7"}, "Element id not found: 7"),
        ):
            refused = await post(call, name, **body)
            assert refused.refusal == (400, 1201, words.format(its_id))


async def test_an_element_may_come_from_a_video_and_speak() -> None:
    """Its voice comes from the library; image endpoints refuse it, video endpoints accept it."""
    async with calling() as (_, call):
        (voice,) = (await made(call, "custom_voices"))["voices"]
        film = {"element_image_list": None, "element_video_list": {"refer_videos": [{"video_url": URL}]}}
        spoken = {"reference_type": "video_refer", "element_voice_id": voice["voice_id"]}
        (element,) = (await made(call, "custom_elements", **film, **spoken))["elements"]
        assert element["element_voice_info"] == voice and element["element_image_list"] == {}
        file = await call("GET", element["element_video_list"]["refer_videos"][0]["video_url"], auth=None)
        assert file.headers["Content-Type"] == "video/mp4"
        named = {"element_list": [{"element_id": element["element_id"]}]}
        assert (await post(call, "image_generation", **sample("image_generation", **named))).refusal[
            1
        ] == 1201
        assert (await post(call, "omni_video", **sample("omni_video", **named))).code == 0


async def test_a_voice_lives_until_it_is_deleted() -> None:
    """A voice is made from a URL, heard, used in a video, and deleted."""
    async with calling() as (_, call):
        (voice,) = (await made(call, "custom_voices"))["voices"]
        trial = await call("GET", voice["trial_url"], auth=None)
        assert (trial.status, trial.headers["Content-Type"]) == (200, "audio/mpeg")
        film = {"voice_list": [{"voice_id": voice["voice_id"]}], "sound": "on", "image_tail": None}
        result = await made(call, "image_to_video", **film, prompt="<<<voice_1>>> speaks")
        assert result["videos"]
        assert [task.units for task in call.emu.tasks.values()][-1] == 6
        assert (await post(call, "custom_voices.delete", voice_id=voice["voice_id"])).code == 0
        for name, body in (
            ("custom_voices.delete", {"voice_id": voice["voice_id"]}),
            ("image_to_video", sample("image_to_video", external_task_id=None, **film)),
        ):
            assert (await post(call, name, **body)).refusal == (400, 1201, "Voice id not found")


@pytest.mark.parametrize(
    ("name", "kind", "count"), [("custom_elements", "elements", 55), ("custom_voices", "voices", 20)]
)
async def test_presets_come_in_pages_and_stay(name: str, kind: str, count: int) -> None:
    """Presets come as tasks of the vendor, can be used but not deleted, and cost nothing."""
    async with calling() as (_, call):
        pages = [
            (await call("GET", path(f"{name}.presets"), params={"pageNum": str(page), "pageSize": "30"})).data
            for page in (1, 2, 3)
        ]
        tasks = [task for page in pages for task in page]
        assert len(tasks) == count
        assert set(tasks[0]) == {"task_id", "task_status", "task_result", "created_at", "updated_at"}
        things = [task["task_result"][kind][0] for task in tasks]
        assert {thing["owned_by"] for thing in things} == {"kling"}
        key = f"{kind.removesuffix('s')}_id"
        refused = await post(call, f"{name}.delete", **{key: str(things[0][key])})
        assert refused.refusal[1] == 1201 and "official library" in refused.refusal[2]
        most = 1000 if kind == "voices" else 500
        assert (await call("GET", path(name), params={"pageSize": str(most)})).code == 0
        assert (await call("GET", path(name), params={"pageSize": str(most + 1)})).refusal[1] == 1201


async def test_elements_of_the_first_service() -> None:
    """They are made at once with small ids, which newer calls neither find nor delete."""
    async with calling() as (emu, call):
        body = sample("custom_elements_v0", tag_list=[{"tag_id": "o_104"}])
        elements = [(await post(call, "custom_elements_v0", **body)).data for _ in range(2)]
        assert [element["element_id"] for element in elements] == [160, 161]
        assert paths_of(elements[0]) <= described(ENDPOINTS["custom_elements_v0"])
        assert (await call("GET", path("custom_elements_v0.list"))).data == elements[::-1]
        presets = (await call("GET", path("custom_elements_v0.presets"))).data
        assert presets and presets[0]["owned_by"] == "kling"
        assert (await call("GET", elements[0]["element_frontal_image"], auth=None)).status == 200
        assert (await post(call, "custom_elements_v0.delete", element_id="160")).refusal[1] == 1201
        assert (await post(call, "custom_elements.delete", element_id="none")).refusal[1] == 1201
        assert not emu.tasks


# --- chains of videos --------------------------------------------------------------------------


async def test_an_extended_video_is_extended_again() -> None:
    """Each extension names the video before, adds 5 s, and costs by the model and mode of the first one."""
    async with calling() as (emu, call):
        emu.know(Clip(id="7", mode="pro"))
        video_id, lengths = "7", list[str]()
        for _ in range(2):
            task_id = (await post(call, "video_extend", video_id=video_id)).data["task_id"]
            emu.finish(task_id)
            done = (await call("GET", f"{path('video_extend')}/{task_id}")).data
            (video,), parent = done["task_result"]["videos"], done["task_info"]["parent_video"]
            assert done["final_unit_deduction"] == "3.5" and parent["id"] == video_id
            assert (await call("GET", parent["url"], auth=None)).status == 200
            lengths += [parent["duration"], video["duration"]]
            video_id = video["id"]
        assert lengths == ["5", "10", "10", "15"]


async def test_a_video_made_here_is_known_once_it_has_succeeded() -> None:
    """The video of a running or failed task cannot be named; that of a succeeded one can."""
    async with calling() as (emu, call):
        ids = [(await call.video(duration="10")).data["task_id"] for _ in range(2)]
        results = [emu.tasks[task_id].output.id for task_id in ids]
        emu.finish(ids[1], "failed")
        for video_id in results:
            assert (await post(call, "video_to_audio", video_id=video_id)).refusal[1] == 1201
        emu.finish(ids[0])
        task_id = (await post(call, "video_to_audio", video_id=results[0])).data["task_id"]
        emu.finish(task_id)
        done = (await call("GET", f"{path('video_to_audio')}/{task_id}")).data["task_result"]
        (sound,), (video,) = done["audios"], done["videos"]
        assert (sound["duration_mp3"], video["duration"]) == ("10.0", "10")
        files = [
            await call("GET", url, auth=None) for url in (sound["url_mp3"], sound["url_wav"], video["url"])
        ]
        assert [file.headers["Content-Type"] for file in files] == ["audio/mpeg", "audio/wav", "video/mp4"]
        assert (await post(call, "avatar", image=URL, audio_id=sound["id"])).code == 0
