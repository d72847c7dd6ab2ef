"""The emulator's second generation, judged by wire samples that people took from production."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async.emulator.judging.second import SECOND
from kling_async.testing import Clip, Element, Voice
from tests.emulator.support import Caller, calling, png
from tests.reference import V2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TEXT: Final = "/text-to-video/kling-3.0"
CREATES: Final = {
    row["name"]: row
    for row in V2["requests"]
    if row["method"] == "POST" and not row["path"].startswith(("/v1/", "/tasks"))
}
UNSHAPED: Final = {"omni prompt only", "omni feature video"}
"""Samples of the documentation that lack the ``aspect_ratio`` which production asks for."""
REFUSALS: Final = {
    row["body"]["message"]: row
    for row in V2["answers"]
    if row["name"].startswith("refusal: ") and "/kling" in row["path"] and "/v1/" not in row["path"]
}


def ready(row: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a sample without the callback address that nobody listens at."""
    body: dict[str, Any] = {**row["body"], "options": {**row["body"].get("options", {})}}
    body["options"].pop("callback_url", None)
    return body


async def film(call: Caller, path: str = TEXT, **body: Any) -> Any:
    """Create a video of the second generation."""
    return await call("POST", path, json={"prompt": "p", **body})


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Caller]:
    """Start an emulator and a caller of it."""
    async with calling(**options) as (_, call):
        yield call


def learn(call: Caller, body: dict[str, Any]) -> None:
    """Let the account know the elements and voices that a body names."""
    for entry in body.get("contents", ()):
        if "element_id" in entry:
            call.emu.know(Element(id=int(entry["element_id"])))
        if "voice_id" in entry:
            call.emu.know(Voice(id=entry["voice_id"]))


@pytest.mark.parametrize("name", [name for name in CREATES if name not in UNSHAPED])
async def test_a_sample_makes_a_task_that_tasks_shows(name: str) -> None:
    """Each create is accepted with the sample's fields, and ends with a video, its length and its price."""
    row = CREATES[name]
    body = ready(row)
    async with served() as call:
        learn(call, body)
        made = await call("POST", row["path"], json=body)
        assert made.code == 0, made.json
        assert {"id", "status", "message", "create_time", "update_time"} <= set(made.data)
        assert not call.emu.ledger.rows[-1].unknown_fields
        call.emu.finish(made.data["id"])
        (task,) = (await call("GET", "/tasks", params={"task_ids": made.data["id"]})).data
        (clip,) = task["outputs"]
        assert task["status"] == "succeeded" and clip["type"] == "video" and float(clip["duration"]) >= 3
        (bill,) = task["billing"]
        assert bill["charge_type"] == "unit" and bill["package_type"] == "video" and float(bill["amount"]) > 0
        reply = await call("GET", clip["url"], auth=None)
        assert reply.status == 200 and reply.raw[4:8] == b"ftyp"


@pytest.mark.parametrize("name", sorted(UNSHAPED))
async def test_production_asks_for_a_shape_where_the_documentation_does_not(name: str) -> None:
    """Without a first frame or a clip to edit, an omni video needs its aspect ratio."""
    row = CREATES[name]
    async with served() as call:
        refused = await call("POST", row["path"], json=ready(row))
        assert refused.refusal == (400, 1201, "aspect_ratio is required")
        body = ready(row)
        body["settings"] = {**body.get("settings", {}), "aspect_ratio": "1:1"}
        assert (await call("POST", row["path"], json=body)).code == 0


BODIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "contents cannot be empty": ("/omni-video/kling-v3-omni", {"contents": []}),
    "contents value type is invalid, expected array": ("/omni-video/kling-v3-omni", {"contents": {}}),
    "contents[0].type value 'end_frame' is invalid": (
        "/omni-video/kling-v3-omni",
        {"contents": [{"type": "end_frame", "url": "https://a.example/x.png"}]},
    ),
    "content item of type 'prompt' must have non-blank text": (
        "/omni-video/kling-v3-omni",
        {"contents": [{"type": "prompt", "text": " "}]},
    ),
    "content item of type 'first_frame' must have a non-blank url": (
        "/omni-video/kling-v3-omni",
        {"contents": [{"type": "prompt", "text": "p"}, {"type": "first_frame"}]},
    ),
    "Video URL is invalid": (
        "/omni-video/kling-v3-omni",
        {"contents": [{"type": "prompt", "text": "p"}, {"type": "base_video", "url": "clip.mp4"}]},
    ),
    "Element id not found: 1": (
        "/omni-video/kling-v3-omni",
        {
            "contents": [{"type": "prompt", "text": "p"}, {"type": "element", "element_id": "1", "id": "e"}],
            "settings": {"aspect_ratio": "1:1"},
        },
    ),
    "Invalid element id: ": (
        "/omni-video/kling-v3-omni",
        {"contents": [{"type": "prompt", "text": "p"}, {"type": "element", "element_id": "", "id": "e"}]},
    ),
    "audio mode 'original' is not supported by the current model": (
        "/omni-video/kling-v3-omni",
        {
            "contents": [{"type": "prompt", "text": "p"}],
            "settings": {"aspect_ratio": "1:1", "audio": "original"},
        },
    ),
    "settings.seed value 'x' is invalid": (
        "/omni-video/kling-v3-omni",
        {
            "contents": [{"type": "prompt", "text": "p"}],
            "settings": {"aspect_ratio": "1:1", "seed": "x"},
        },
    ),
    "model is not supported": ("/omni-video/kling-v3-1-omni", {"contents": []}),
    "prompt is required": ("/text-to-video/kling-3.0-turbo", {}),
}


def test_every_seen_refusal_of_a_create_is_tried() -> None:
    """No message of the samples is left out."""
    assert set(BODIES) == set(REFUSALS)


@pytest.mark.parametrize("message", BODIES)
async def test_a_refusal_has_the_words_that_production_has(message: str) -> None:
    """Same status, same message; nothing is made."""
    path, body = BODIES[message]
    async with served() as call:
        status, _, words = (await call("POST", path, json=body)).refusal
        assert (status, words) == (REFUSALS[message]["http"], message)
        assert not call.emu.tasks


async def test_what_production_ignores_is_ignored_and_charged() -> None:
    """Unknown fields and the wrong content types change nothing; the ledger names them."""
    body = {
        "contents": [
            {"type": "prompt", "text": "p", "words": 3},
            {"type": "image", "url": "https://a.example/x.png"},
        ],
        "settings": {"aspect_ratio": "1:1", "duration": "99", "cfg_scale": 0.5},
        "callback_url": "http://127.0.0.1:1/never",
        "external_task_id": "at the top level it is no id",
    }
    async with served() as call:
        made = await call("POST", "/omni-video/kling-3.0-omni", json=body)
        assert made.code == 0 and "external_id" not in made.data
        assert call.emu.ledger.rows[-1].unknown_fields == [
            "contents[0].words",
            "contents[1].type=image",
            "callback_url",
            "external_task_id",
            "settings.cfg_scale",
        ]
        assert call.emu.tasks[made.data["id"]].seconds == 15 and not call.emu.ledger.callbacks


@pytest.mark.parametrize(
    "entry",
    [
        {"type": "first_frame", "url": "https://nowhere.invalid/x.png"},
        None,
    ],
    ids=["an address that nobody can fetch", "480p"],
)
async def test_what_passes_the_create_and_fails_later(entry: dict[str, Any] | None) -> None:
    """The task holds its slot, then fails, and nothing is charged."""
    contents = [{"type": "prompt", "text": "p"}, *([] if entry is None else [entry])]
    settings = {"aspect_ratio": "1:1", "resolution": "480p" if entry is None else "720p"}
    async with served(units={"video": 100}) as call:
        made = await call(
            "POST", "/omni-video/kling-3.0-omni", json={"contents": contents, "settings": settings}
        )
        assert call.emu.ledger.peak("video") == 1
        task = call.emu.tasks[made.data["id"]]
        call.emu.finish(task.task_id, task.ending, task.failure)
        (shown,) = (await call("GET", "/tasks", params={"task_ids": task.task_id})).data
        assert shown["status"] == "failed" and shown["billing"] == [{"amount": "0"}]
        assert call.emu.units == {"video": 100}


async def test_a_signed_token_is_refused() -> None:
    """Creates, queries and lists of the second generation take API keys only."""
    async with served() as call:
        for method, path in [
            ("POST", "/text-to-video/kling-3.0"),
            ("GET", "/tasks"),
            ("POST", "/tasks"),
            ("GET", "/solutions"),
        ]:
            reply = await call(method, path, auth="Bearer a.b.c", json={} if method == "POST" else None)
            assert reply.refusal[:2] == (401, 1002) and "does not support AK/SK" in reply.refusal[2]


async def test_external_ids_are_unique_across_generations() -> None:
    """An id that a task of /v1 has is taken, and the other way round; an empty one counts as none."""
    async with served() as call:
        assert (await call.video(prompt="p", external_task_id="mine")).code == 0
        taken = await film(call, options={"external_task_id": "mine"})
        assert taken.refusal == (400, 1201, "External_task_id mine already exists")
        made = await film(call, options={"external_task_id": "yours"})
        assert made.data["external_id"] == "yours"
        assert (await call.video(prompt="p", external_task_id="yours")).code == 1201
        for _ in range(2):
            none = await call(
                "POST", "/text-to-video/kling-3.0", json={"prompt": "p", "options": {"external_task_id": ""}}
            )
            assert none.code == 0


async def test_both_generations_share_the_slots() -> None:
    """Two slots hold one task of each; the next one is refused."""
    async with served(slots={"video": 2}) as call:
        assert (await call.video(prompt="p")).code == 0
        assert (await film(call)).code == 0
        assert (await film(call, "/text-to-video/kling-2.6")).refusal[:2] == (429, 1303)


# --- lists ----------------------------------------------------------------------------------------


async def test_a_cursor_goes_through_all_tasks() -> None:
    """Newest first, both generations; pages keep to their limit, and the last one has no cursor."""
    async with served(slots={"video": 99}) as call:
        ids = [(await call.video(prompt=str(n))).data["task_id"] for n in range(3)]
        ids += [(await film(call)).data["id"] for _ in range(4)]
        body: dict[str, Any] = {"limit": 3}
        seen: list[str] = []
        while True:
            data = (await call("POST", "/tasks", json=body)).data
            assert data["count"] == len(data["result"]) <= 3
            seen += [task["id"] for task in data["result"]]
            if not data["has_more"]:
                break
            body = {"limit": 3, "cursor": data["next_cursor"]}
        assert seen == ids[::-1] and "next_cursor" not in data


async def test_filters_choose_tasks() -> None:
    """By status and by product; times may come as text; an empty page has no result."""
    async with served(slots={"video": 9, "image": 9}) as call:
        clip = (await film(call)).data["id"]
        still = (await call.image()).data["task_id"]
        call.emu.finish(clip)

        async def listed(*filters: tuple[str, list[str]], **more: Any) -> list[str]:
            asked = [{"key": key, "values": values} for key, values in filters]
            data = (await call("POST", "/tasks", json={"filters": asked, **more})).data
            return [task["id"] for task in data.get("result", ())]

        assert await listed() == [still, clip]
        assert await listed(("status", ["succeeded"])) == [clip]
        assert await listed(("product_type", ["image"])) == [still]
        assert await listed(("product_type", ["video", "image"]), ("status", ["submitted"])) == [still]
        assert await listed(end_time="1000") == []
        assert (await call("POST", "/tasks", json={"end_time": 1000})).data == {"count": 0, "has_more": False}


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 501},
        {"limit": "many"},
        {"cursor": "nonsense"},
        {"filters": [{"key": "status", "values": ["done"]}]},
        {"filters": [{"key": "product_type", "values": ["sound"]}]},
        {"filters": {"status": "failed"}},
        {"start_time": -1},
    ],
    ids=str,
)
async def test_a_list_that_is_asked_for_wrongly_is_refused(body: dict[str, Any]) -> None:
    """Each wrong field is 1201."""
    async with served() as call:
        assert (await call("POST", "/tasks", json=body)).refusal[:2] == (400, 1201)


# --- solutions -------------------------------------------------------------------------------------

PICTURE: Final = {"url": "https://a.example/x.png"}
CLIP: Final = {"url": "https://a.example/x.mp4"}
SOLUTIONS: Final[dict[str, tuple[dict[str, Any], set[str]]]] = {
    "/solutions/e-commerce/clothing_dupe": (
        {
            "contents": [
                {"type": "product_info", "text": "a coat"},
                {"type": "source_video", **CLIP},
                {"type": "product_image", **PICTURE},
            ]
        },
        {"product_image", "model_images", "product_video"},
    ),
    "/solutions/e-commerce/goods_studio": (
        {
            "contents": [{"type": "ref_image", **PICTURE}, {"type": "goods_title", "text": "a cup"}],
            "settings": {"resolution": "720p", "aspect_ratio": "1:1", "duration": 15},
        },
        {"video"},
    ),
    "/solutions/talking_agent": (
        {
            "contents": [
                {"type": "avatar_id", "text": "avatar_lee_male"},
                {"type": "speech_script", "text": "Good morning"},
            ]
        },
        {"video"},
    ),
    "/solutions/virtual_try_on": (
        {"contents": [{"type": "product_image", **PICTURE}, {"type": "person_image", **PICTURE}]},
        {"image"},
    ),
    "/solutions/drama_subtitle": (
        {"contents": [{"type": "source_video", **CLIP}]},
        {"subbed_video", "srt", "ass"},
    ),
}


def test_every_solution_is_tried() -> None:
    """No path is left out."""
    assert set(SOLUTIONS) == {second.endpoint.path for second in SECOND.values() if second.solution}


@pytest.mark.parametrize("path", SOLUTIONS)
async def test_a_solution_has_a_query_and_a_list_of_its_own(path: str) -> None:
    """``/solutions`` shows its task with all its files; ``/tasks`` does not know it."""
    body, kinds = SOLUTIONS[path]
    async with served() as call:
        made = await call("POST", path, json=body)
        assert made.code == 0, made.json
        name = made.data.get("id") or made.data["task_id"]
        assert ("task_id" in made.data) is (path == "/solutions/virtual_try_on")
        call.emu.finish(name)
        (task,) = (await call("GET", "/solutions", params={"task_ids": name})).data
        assert {output["type"] for output in task["outputs"]} == kinds
        for output in task["outputs"]:
            assert (await call("GET", output["url"], auth=None)).status == 200
        assert (await call("GET", "/tasks", params={"task_ids": name})).data == []
        assert [one["id"] for one in (await call("POST", "/solutions", json={})).data["result"]] == [name]
        assert "result" not in (await call("POST", "/tasks", json={})).data


async def test_base64_pictures_are_judged_and_not_kept() -> None:
    """A picture that is too small is refused; another gives the film its shape; its fingerprint stays."""
    async with served() as call:

        def frame(data: str) -> dict[str, Any]:
            return {"contents": [{"type": "prompt", "text": "p"}, {"type": "first_frame", "url": data}]}

        small = await call("POST", "/image-to-video/kling-3.0", json=frame(png(100, 100)))
        assert small.refusal[:2] == (400, 1201)
        made = await call("POST", "/image-to-video/kling-3.0", json=frame(png(400, 300)))
        task = call.emu.tasks[made.data["id"]]
        assert task.aspect == "400:300"
        kept = task.body["contents"][1]["url"]
        assert kept.startswith("<") and "sha256" in kept
        noted = call.emu.ledger.rows[-1].body or {}
        assert noted["contents"][1]["url"].startswith("<")


async def test_a_clip_made_here_can_be_named_later() -> None:
    """The video of a task of the second generation is in the library, like those of /v1."""
    async with served() as call:
        made = await film(call)
        call.emu.finish(made.data["id"])
        (clip,) = call.emu.tasks[made.data["id"]].output.items
        assert isinstance(clip, Clip) and clip.model == "kling-3.0"


def test_the_emulator_has_every_path_of_the_facts() -> None:
    """Names, paths, models and content types are those of the copy that the client is compared with."""
    facts = V2["endpoints"]
    assert set(SECOND) == set(facts)
    for name, second in SECOND.items():
        row = facts[name]
        assert (second.endpoint.path, second.model) == (row["create"]["path"], row.get("model")), name
        variants = row["params"].get("contents", {}).get("variants", {})
        assert set(second.contents) == set(variants), name
