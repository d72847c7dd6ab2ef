"""Judging of creates: each field by the reference, then the rules between fields."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kling_async.emulator.judging.judge import judge_body
from kling_async.emulator.judging.pixels import image_size
from kling_async.emulator.judging.reference import REFERENCE, ReferenceEndpoint
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import check_rules
from kling_async.emulator.state.prices import units_of
from tests.emulator.support import IMAGE, VIDEO, calling, jpeg, png

pytestmark = pytest.mark.anyio

SHOTS = [{"index": 1, "prompt": "a", "duration": "2"}, {"index": 2, "prompt": "b", "duration": "3"}]
MULTI = {"multi_shot": True, "shot_type": "customize", "prompt": "", "multi_prompt": SHOTS}
PRESET_ELEMENT = 820_000_000_000_000_001
CAMERA = {"type": "simple", "config": {"pan": 3}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model_name": "kling-v2-6", "mode": "pro", "sound": "on"},
        {"model_name": "kling-v2-5-turbo", "duration": "10"},
        {"mode": "4k", "duration": "15", "sound": "on"},
        MULTI,
        {"multi_shot": True, "shot_type": "intelligence"},
        {"multi_shot": False, "shot_type": "customize", "multi_prompt": SHOTS},
        {"prompt": "x" * 2500, "negative_prompt": "", "cfg_scale": 1, "aspect_ratio": "9:16"},
        {"external_task_id": "", "callback_url": None, "watermark_info": {"enabled": False}},
        {"model": "kling-v1", "camera_control": None},
    ],
)
async def test_videos_that_are_accepted(body: dict[str, Any]) -> None:
    """Bodies that the reference allows pass; null and the empty string count as unset."""
    async with calling() as (_, call):
        assert (await call.video(**body)).code == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": None, "multi_shot": True, "shot_type": "intelligence"}, "prompt is required"),
        ({"prompt": "x" * 2501}, "prompt size must be between 0 and 2500"),
        ({"prompt": 7}, "prompt must be of type string"),
        ({"duration": 5}, "duration must be of type string"),
        ({"duration": "16"}, "duration value '16' is invalid"),
        ({"duration": "five"}, "duration value 'five' is not a number"),
        ({"mode": "standard"}, "mode value 'standard' is invalid"),
        ({"mode": "s" * 100}, "mode value '" + "s" * 61 + "...' is invalid"),
        ({"sound": True}, "sound must be of type string"),
        ({"cfg_scale": 1.5}, "cfg_scale must be between 0 and 1"),
        ({"cfg_scale": "0.5"}, "cfg_scale must be of type float"),
        ({"cfg_scale": True}, "cfg_scale must be of type float"),
        ({"multi_shot": "true"}, "multi_shot must be of type boolean"),
        ({"watermark_info": []}, "watermark_info must be of type object"),
        ({"watermark_info": {"enabled": 1}}, "watermark_info.enabled must be of type boolean"),
        ({"multi_shot": True}, "shot_type is required"),
        ({"multi_shot": True, "shot_type": "customize"}, "multi_prompt is required"),
        ({**MULTI, "multi_prompt": []}, "multi_prompt size must be between 1 and 6"),
        ({**MULTI, "multi_prompt": SHOTS * 4}, "multi_prompt size must be between 1 and 6"),
        ({**MULTI, "multi_prompt": ["x"]}, "multi_prompt[0] must be of type object"),
        ({**MULTI, "multi_prompt": SHOTS[:1]}, "sum of duration"),
        ({**MULTI, "duration": "6"}, "sum of duration"),
        ({**MULTI, "multi_prompt": [SHOTS[0], {**SHOTS[1], "index": 3}]}, "index must count from 1"),
        (
            {**MULTI, "multi_prompt": [{**SHOTS[0], "index": 0}]},
            "multi_prompt[0].index must be between 1 and 6",
        ),
        ({**MULTI, "multi_prompt": [{**SHOTS[0], "index": 2**40}]}, "multi_prompt[0].index must be of type"),
        ({**MULTI, "multi_prompt": [{**SHOTS[0], "duration": "0"}]}, "[0].duration must be at least 1"),
        (
            {**MULTI, "multi_prompt": [{**SHOTS[0], "prompt": "x" * 513}]},
            "[0].prompt size must be between 0 and 512",
        ),
        ({"camera_control": {"type": "simple"}}, "exactly one value must be non-zero"),
        ({"camera_control": {"type": "simple", "config": {"pan": 1, "tilt": 1}}}, "exactly one value"),
        (
            {"camera_control": {"type": "simple", "config": {"pan": 11}}},
            "config.pan must be between -10 and 10",
        ),
        ({"camera_control": {"type": "down_back", "config": {"pan": 1}}}, "config must be empty"),
        ({"camera_control": {"type": "sideways"}}, "camera_control.type value 'sideways' is invalid"),
        ({"camera_control": CAMERA}, "camera_control '...' is not supported by kling-v3 mode std"),
        ({"camera_control": {"type": "down_back"}}, "camera_control '...' is not supported"),
        ({"model_name": "kling-v2-6", "sound": "on"}, "sound 'on' is not supported by kling-v2-6 mode std"),
        ({"model_name": "kling-v2-5-turbo", "sound": "on"}, "sound 'on' is not supported"),
        ({"model_name": "kling-v2-6", "mode": "4k"}, "mode '4k' is not supported by kling-v2-6"),
        ({"model_name": "kling-v2-6", "duration": "7"}, "duration '7' is not supported"),
        ({**MULTI, "model_name": "kling-v2-6"}, "multi_shot 'True' is not supported"),
    ],
)
async def test_videos_that_are_refused(body: dict[str, Any], words: str) -> None:
    """A wrong field or combination is refused with 400/1201, naming the field; nothing is made or charged."""
    async with calling() as (emu, call):
        status, code, message = (await call.video(**body)).refusal
        assert (status, code) == (400, 1201) and words in message
        assert not emu.tasks and not emu.ledger.created and emu.ledger.peak("video") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**MULTI, "multi_prompt": [{"index": 1, "prompt": "a"}]}, "multi_prompt[0].duration"),
        ({"camera_control": {}}, "camera_control.type"),
    ],
)
async def test_missing_fields_of_videos(body: dict[str, Any], field: str) -> None:
    """A missing required field, at any depth, is refused with 1200."""
    async with calling() as (_, call):
        assert (await call.video(**body)).refusal == (400, 1200, f"Missing Request Parameter: {field}")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"null", b"\xff"])
async def test_bodies_that_are_no_object(raw: bytes) -> None:
    """A body that is not a JSON object is refused."""
    async with calling() as (emu, call):
        reply = await call("POST", VIDEO, data=raw)
        assert reply.refusal == (400, 1200, "Request body is not a JSON object")
        assert emu.ledger.creates[0].body is None


async def test_ended_and_unknown_models() -> None:
    """Both are refused with 404/1203; the old field `model` is ignored, so that the ended default applies."""
    async with calling() as (_, call):
        gone = "The model '{}' has been discontinued and is no longer available."
        for name in ("kling-v1", "kling-v1-6", "kling-v2-master"):
            assert (await call.video(model_name=name)).refusal == (404, 1203, gone.format(name))
        assert (await call.image(model_name="kling-v2-new")).refusal == (
            404,
            1203,
            gone.format("kling-v2-new"),
        )
        assert (await call.video(model_name="kling-v9")).refusal[:2] == (404, 1203)
        only_model = {"model": "kling-v3", "prompt": "x"}
        assert (await call("POST", VIDEO, json=only_model)).refusal == (404, 1203, gone.format("kling-v1"))
        assert (await call("POST", IMAGE, json=only_model)).code == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 9, "resolution": "2k", "aspect_ratio": "21:9", "negative_prompt": "rain"},
        {"image": "https://example.com/a.png"},
        {"image": png(300, 750), "negative_prompt": ""},
        {"image": jpeg(750, 300)},
        {"model_name": "kling-v2-1", "image": png(300, 300), "image_reference": "face"},
        {"element_list": [{"element_id": PRESET_ELEMENT}] * 10},
    ],
)
async def test_images_that_are_accepted(body: dict[str, Any]) -> None:
    """Bodies that the reference allows pass, with pictures exactly at the limits, too."""
    async with calling() as (_, call):
        assert (await call.image(**body)).code == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"n": 10}, "n must be between 1 and 9"),
        ({"n": "3"}, "n must be of type int"),
        ({"n": 1.0}, "n must be of type int"),
        ({"aspect_ratio": "auto"}, "aspect_ratio value 'auto' is invalid"),
        ({"resolution": "4k"}, "resolution value '4k' is invalid"),
        ({"image": "data:image/png;base64," + png(300, 300)}, "image is invalid: send bare Base64"),
        ({"image": "no base64!"}, "neither a URL nor Base64"),
        ({"image": "aGFsbG8="}, "image format is invalid"),
        ({"image": png(299, 400)}, "at least 300px"),
        ({"image": png(751, 300)}, "aspect ratio"),
        ({"image": jpeg(300, 751)}, "aspect ratio"),
        ({"image": png(300, 300, 10 * 1024 * 1024)}, "larger than 10MB"),
        ({"image_reference": "subject"}, "image is required"),
        ({"image": png(300, 300), "negative_prompt": "rain"}, "negative_prompt is not supported together"),
        (
            {"image": png(300, 300), "image_reference": "face"},
            "image_reference 'face' is not supported by kling-v3",
        ),
        ({"element_list": [{"element_id": 1}] * 11}, "element_list size must be between 0 and 10"),
        ({"element_list": [{"element_id": 1}] * 10, "image": png(300, 300)}, "must not exceed 10"),
        ({"element_list": [{"element_id": "one"}]}, "element_list[0].element_id must be of type long"),
        (
            {"model_name": "kling-v2-1", "element_list": [{"element_id": 1}]},
            "element_list '...' is not supported",
        ),
    ],
)
async def test_images_that_are_refused(body: dict[str, Any], words: str) -> None:
    """Images are refused as videos are, and the message never repeats a file."""
    async with calling() as (emu, call):
        status, code, message = (await call.image(**body)).refusal
        assert (status, code) == (400, 1201) and words in message and len(message) < 200
        assert not emu.tasks and not emu.ledger.created


async def test_an_image_needs_a_prompt() -> None:
    """A required field that is empty is refused as missing."""
    async with calling() as (_, call):
        assert (await call.image(prompt="")).refusal == (400, 1200, "Missing Request Parameter: prompt")


async def test_the_content_check_refuses_on_demand() -> None:
    """A word in a prompt, or in a shot's prompt, makes the create fail with 1301; nothing is made."""
    async with calling() as (emu, call):
        shots = [{**SHOTS[0], "prompt": "emulator:refuse", "duration": "5"}]
        assert (await call.image(prompt="a emulator:refuse")).refusal[:2] == (400, 1301)
        assert (await call.video(**{**MULTI, "multi_prompt": shots})).refusal[:2] == (400, 1301)
        assert not emu.tasks


async def test_unknown_fields_are_ignored_and_noted() -> None:
    """Unknown fields refuse nothing; the ledger names each with its position."""
    async with calling() as (emu, call):
        body = {**MULTI, "multi_prompt": [{**SHOTS[0], "duration": "5", "mood": 1}], "extra": {"a": 1}}
        assert (await call.video(**body)).code == 0
        assert emu.ledger.created[0].unknown_fields == ["extra", "multi_prompt[0].mood"]


async def test_second_types_and_plain_arrays() -> None:
    """Types that no shipped endpoint uses yet work: a second type, arrays of plain values, open words."""
    endpoint = ReferenceEndpoint(
        name="made_up",
        family="image",
        pool="image",
        weight="1",
        method="POST",
        path="/made-up",
        makes_task=True,
        params={
            "amount": {"type": "int", "also_type": "string", "max": 9},
            "names": {"type": "array", "item_type": "string"},
            "scene": {"type": "string", "enum": ["hug"], "open": True},
        },
    )
    body = {"amount": "auto", "names": ["a"], "scene": "new"}
    assert judge_body(endpoint, body) == (body, [])
    assert judge_body(endpoint, {"amount": 9}) == ({"amount": 9}, [])
    with pytest.raises(Refusal, match=r"names\[1\] must be of type string"):
        judge_body(endpoint, {"names": ["a", 1]})


def test_an_endpoint_without_a_capability_map_or_prices() -> None:
    """Such an endpoint refuses no model, and costs nothing."""
    endpoint = replace(REFERENCE.endpoints["text_to_video"], capabilities=(), prices=())
    body = {"model_name": "kling-v3", "prompt": "x", "camera_control": {"type": "down_back"}}
    check_rules(endpoint, body)
    assert units_of(endpoint, body) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9" + b"\0" * 9,
        b"\xff\xd8\xff\xd0\xff\xd9" + b"\0" * 9,
    ],
)
async def test_broken_headers_have_no_size(data: bytes) -> None:
    """A header that is cut short or has no frame gives no picture size."""
    assert image_size(data) is None


async def test_numbers_json_should_not_have() -> None:
    """NaN is refused as out of bounds."""
    async with calling() as (_, call):
        raw = json.dumps({"model_name": "kling-v3", "prompt": "x", "cfg_scale": float("nan")})
        assert (await call("POST", VIDEO, data=raw)).refusal[:2] == (400, 1201)
