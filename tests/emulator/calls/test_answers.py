"""Tasks at ``/tasks`` held against the vendor's table of output types and its samples, and their judge.

The judge (tests/emulator/answers.py) also looks at every other answer in the tests of the emulator.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.emulator.http.answers import HttpAnswer
from kling_async.testing import Voice
from tests.emulator.answers import faults_of, output_faults, unified_faults
from tests.emulator.facts import ENDPOINTS, MAKERS, SAMPLES, path, sample
from tests.emulator.support import IMAGE, VIDEO, Caller, calling
from tests.reference import V2

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

SLOTS = {"video": 5, "image": 9, "virtual_try_on": 1}
FILMED = {
    "reference_type": "video_refer",
    "element_image_list": None,
    "element_video_list": {"refer_videos": [{"video_url": "https://example.com/a.mp4"}]},
    "element_voice_id": "mine",
}
MARKED = {"watermark_info": {"enabled": True}}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in MAKERS),
    *((name, MARKED) for name in MAKERS if "watermark_info" in ENDPOINTS[name]["params"]),
    ("custom_elements", FILMED),
    ("omni_image", {"result_type": "series", "series_amount": 3}),
    ("image_generation", {"n": 4}),
]


async def unified(call: Caller, task_id: str) -> dict[str, Any]:
    """Return a task as ``/tasks`` shows it."""
    (task,) = (await call("GET", "/tasks", params={"task_ids": task_id})).data
    return dict(task)


async def made(call: Caller, name: str, **changes: Any) -> str:
    """Make a task of an endpoint's sample with changes; return its id."""
    call.emu.know(*SAMPLES, Voice(id="mine"))
    reply = await call("POST", path(name), json=sample(name, **changes))
    assert reply.code == 0, reply.json
    return str(reply.data["task_id"])


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
async def test_every_endpoints_tasks_have_the_documented_names(name: str, changes: dict[str, Any]) -> None:
    """Running, succeeded and failed, a task of any endpoint has all the table's fields and no others."""
    async with calling(slots=SLOTS) as (emu, call):
        task_id = await made(call, name, **changes)
        assert list(unified_faults(await unified(call, task_id))) == []
        emu.finish(task_id)
        assert list(unified_faults(await unified(call, task_id))) == []
        failed = await made(call, name, **{**changes, "external_task_id": "other"})
        emu.finish(failed, "failed", "no")
        task = await unified(call, failed)
        assert list(unified_faults(task)) == [] and task["billing"] == [{"amount": "0"}]


async def test_all_files_of_a_result_are_among_the_outputs() -> None:
    """Every URL of a ``task_result`` stands in the outputs too; only the source video is missing there."""
    for name in MAKERS:
        async with calling(slots=SLOTS) as (emu, call):
            task_id = await made(call, name)
            emu.finish(task_id)
            result = (await call("GET", f"{path(name)}/{task_id}")).data["task_result"]
            outputs = (await unified(call, task_id))["outputs"]
            assert sorted(addresses(result)) == sorted(addresses(outputs)), name


def addresses(value: Any) -> Iterator[str]:
    """Yield all URLs of a JSON value."""
    if isinstance(value, str) and value.startswith("http"):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from addresses(item)


async def test_a_series_is_a_group() -> None:
    """Images of a series share a group_id; single images have none."""
    async with calling(slots=SLOTS) as (emu, call):
        series = await made(call, "omni_image", result_type="series", series_amount=3)
        single = await made(call, "omni_image", external_task_id="")
        emu.finish(series)
        emu.finish(single)
        groups = {output.get("group_id") for output in (await unified(call, series))["outputs"]}
        assert len(groups) == 1 and groups != {None}
        assert all("group_id" not in output for output in (await unified(call, single))["outputs"])


async def test_elements_and_voices_have_text_ids_numeric_tags_and_their_material() -> None:
    """An element from a video names video and voice; one from images its frontal and further images."""
    async with calling(slots=SLOTS) as (emu, call):
        images = await made(call, "custom_elements")
        filmed = await made(call, "custom_elements", **FILMED, external_task_id="")
        for task_id in (images, filmed):
            emu.finish(task_id)
        (first,) = (await unified(call, images))["outputs"]
        (second,) = (await unified(call, filmed))["outputs"]
        roles = [(one["type"], one["role"]) for one in first["references"]]
        assert roles == [("image", "frontal"), ("image", "refer")]
        assert [one["type"] for one in second["references"]] == ["video", "voice"]
        kinds = [one["element_type"] for one in (first, second)]
        assert kinds == ["multi_image_elements", "video_character_elements"]
        assert first["id"].isdigit() and first["tags"][0]["id"] == 104
        await call("POST", path("custom_elements.delete"), json={"element_id": first["id"]})
        (first,) = (await unified(call, images))["outputs"]
        assert first["status"] == "deleted"
        spoken = await made(call, "custom_voices", external_task_id="")
        emu.finish(spoken)
        (voice,) = (await unified(call, spoken))["outputs"]
        await call("POST", path("custom_voices.delete"), json={"voice_id": voice["id"]})
        assert (await unified(call, spoken))["outputs"] == [{**voice, "status": "deleted"}]


# --- the judge itself --------------------------------------------------------------------------


def samples(live: bool) -> list[dict[str, Any]]:
    """Return the tasks in the vendor's answers to GET /tasks: seen in production, or with placeholders."""
    rows = [row for row in V2["answers"] if row["path"].startswith("GET /tasks") and row["http"] == 200]
    return [task for row in rows if ("live" in row["name"]) is live for task in row["body"]["data"]]


def test_the_judge_passes_what_the_vendor_answers() -> None:
    """Tasks seen in production pass, and so do the documented outputs, whose values are placeholders."""
    assert [list(unified_faults(task)) for task in samples(live=True)] == [[]] * 2
    (task,) = samples(live=False)
    outputs = [fault for output in task["outputs"] for fault in output_faults(output)]
    assert len(task["outputs"]) == 5 and [fault for fault in outputs if "'role': 'string'" not in fault] == []


def broken(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of a task in which one field is renamed, missing, or of another type, at any depth."""
    for where in places(task):
        for change in ("renamed", "dropped", "number"):
            spoiled = copy.deepcopy(task)
            *above, name = where
            at: Any = spoiled
            for step in above:
                at = at[step]
            value = at.pop(name)
            if change == "renamed":
                at[f"{name}_"] = value
            elif change == "number":
                at[name] = 7.5
            yield spoiled


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all fields that a task must have."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*above, index))
    elif isinstance(value, dict):
        for name, item in value.items():
            if name != "external_id":
                yield (*above, name)
            yield from places(item, (*above, name))


@pytest.mark.parametrize("name", ["text_to_audio", "custom_voices", "custom_elements", "image_generation"])
async def test_the_judge_finds_every_wrong_field(name: str) -> None:
    """Each field of a right answer is needed, under its name and with its type."""
    async with calling(slots=SLOTS) as (emu, call):
        task_id = await made(call, name)
        emu.finish(task_id)
        task = await unified(call, task_id)
    spoiled = list(broken(task))
    assert len(spoiled) > 20 and all(list(unified_faults(one)) for one in spoiled)


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(payload={"code": 0, "message": "SUCCEED", "data": []}),
        HttpAnswer(payload={"code": "0", "message": "SUCCEED", "request_id": "r", "data": []}),
        HttpAnswer(400, {"code": 0, "message": "SUCCEED", "request_id": "r", "data": []}),
        HttpAnswer(400, {"code": 1303, "message": "full", "request_id": "r"}),
        HttpAnswer(429, {"code": 1303, "message": "full", "request_id": "r", "data": None}),
        HttpAnswer(429, {"code": 1303, "message": "", "request_id": "r"}),
        HttpAnswer(400, {"code": 7, "message": "no such code", "request_id": "r"}),
        HttpAnswer(payload={"code": 0, "message": "SUCCEED", "request_id": "r", "data": [], "extra": 1}),
    ],
)
def test_the_judge_finds_wrong_envelopes(answer: HttpAnswer) -> None:
    """Missing, wrong and additional fields of an envelope, and statuses that do not fit the code."""
    assert faults_of("tasks", None, answer)


# --- the vendor's words ------------------------------------------------------------------------

RECORDED = {row["message"] for row in V2["messages"]} | {
    row["body"]["message"] for row in V2["answers"] if row["body"]["code"]
}


async def test_refusals_have_the_recorded_words() -> None:
    """Each of these refusals was seen in production, with these words."""
    async with calling(slots={"video": 1}) as (_, call):
        made = await call.video(external_task_id="mine")
        element_id = (await call("POST", path("custom_elements"), json=sample("custom_elements"))).data[
            "task_id"
        ]
        call.emu.finish(element_id)
        shown = (await call("GET", f"{path('custom_elements')}/{element_id}")).data["task_result"]
        number = str(shown["elements"][0]["element_id"])
        gone = {"element_id": number}
        await call("POST", path("custom_elements.delete"), json=gone)
        said = [
            await call("GET", f"{IMAGE}/nope"),
            await call("GET", "/tasks"),
            await call("GET", "/tasks", params={"task_ids": ",".join(map(str, range(21)))}),
            await call.video(external_task_id="mine"),
            await call.video(),
            await call.image(),
            await call("POST", path("custom_elements.delete"), json=gone),
            await call("GET", VIDEO, auth=None),
            await call("GET", VIDEO, auth="Bearer nobody"),
        ]
        assert made.code == 0
    words = [reply.refusal[2].replace("mine", "<id>").replace(number, "") for reply in said]
    assert {word.removesuffix(": ") for word in words} <= RECORDED
