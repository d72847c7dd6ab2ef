"""Rules between fields: each has a body that passes, and one that breaks only this rule."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async.emulator.judging.judge import judge_body
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.rules.table import RULES, check_rules
from tests.emulator.facts import ENDPOINTS, sample
from tests.emulator.support import sound

URL = "https://example.com/file"
SHOTS = [{"index": 1, "prompt": "a", "duration": "2"}, {"index": 2, "prompt": "b", "duration": "3"}]
MULTI = {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}
V3 = {"model_name": "kling-v3", "image_tail": None, "mode": None}
MOVE = {"type": "simple", "config": {"pan": 3}}
PATH = [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
ELEMENTS = [{"element_id": 1}, {"element_id": 2}]
VOICES = [{"voice_id": "1"}]
SPOKEN = {"image_tail": None, "sound": "on", "voice_list": VOICES}
O1 = {"model_name": "kling-video-o1", "prompt": "x"}
FIRST, END = ({"image_url": URL, "type": kind} for kind in ("first_frame", "end_frame"))
PLAIN = {"image_url": URL}
BASE, FEATURE = ({"video_url": URL, "refer_type": kind} for kind in ("base", "feature"))
EDIT = {"image_list": [{"image": URL}], "prompt": "<<<video_1>>> <<<image_1>>>"}
FACE = ENDPOINTS["advanced_lip_sync"]["example"]["request"]["face_choose"][0]
VIDEO = {"video_id": "1"}
SPEECH = {**VIDEO, "mode": "text2video", "text": "x", "voice_id": "oversea_male1", "voice_language": "en"}
FILM = {**VIDEO, "mode": "audio2video"}
SIDES = ("up", "down", "left", "right")
REFERENCES = {"prompt": "x", "image_list": [{"image": URL}]}


def expansion(*ratios: float) -> dict[str, float]:
    """Return the four expansion ratios of an image."""
    return {f"{side}_expansion_ratio": ratio for side, ratio in zip(SIDES, ratios, strict=True)}


CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # endpoint, changes to its sample that pass, changes that are refused, words of the refusal
    ("image_to_video", V3, {"image": None, "image_tail": None}, "image or image_tail is required"),
    ("image_to_video", {}, {"image": None}, "Image tail is not supported without image"),
    (
        "image_to_video",
        {**V3, "static_mask": URL, "dynamic_masks": [{"mask": URL, "trajectories": PATH}]},
        {**V3, "static_mask": URL, "image_tail": URL},
        "only one of image_tail",
    ),
    (
        "image_to_video",
        {**V3, "camera_control": MOVE},
        {**V3, "camera_control": {"type": "simple"}},
        "one value",
    ),
    ("image_to_video", {**V3, "camera_control": MOVE}, {"camera_control": MOVE}, "only one of image_tail"),
    ("image_to_video", {**V3, **MULTI}, {**V3, **MULTI, "image_tail": URL}, "when multi_shot is true"),
    ("image_to_video", {}, {"sound": "on"}, "Image tail is not supported when sound is on"),
    ("image_to_video", {"model_name": "kling-v3", "sound": "on"}, {"mode": "std"}, "image_tail"),
    ("image_to_video", SPOKEN, {**SPOKEN, "element_list": ELEMENTS}, "cannot be used together"),
    ("image_to_video", SPOKEN, {**SPOKEN, "sound": "off"}, "sound must be on"),
    ("image_to_video", SPOKEN, {**SPOKEN, "mode": "std"}, "is not supported by kling-v2-6 mode std"),
    ("image_to_video", SPOKEN, {**SPOKEN, **V3}, "voice_list '...' is not supported by kling-v3"),
    (
        "image_to_video",
        {**SPOKEN, "prompt": "<<<voice_1>>> and <<<image_9>>>"},
        {**SPOKEN, "prompt": "<<<voice_2>>>"},
        "<<<voice_2>>> is not in voice_list",
    ),
    (
        "image_to_video",
        {**V3, "element_list": ELEMENTS, "prompt": "<<<element_2>>>"},
        {**V3, "prompt": "<<<element_1>>>"},
        "<<<element_1>>> is not in element_list",
    ),
    ("image_to_video", {**V3, **MULTI, "prompt": None}, {**V3, "prompt": None}, "prompt is required"),
    ("omni_video", {"image_list": [FIRST, END, PLAIN]}, {"image_list": [END, PLAIN]}, "needs a first_frame"),
    ("omni_video", {"image_list": [FIRST, PLAIN]}, {"image_list": [FIRST, FIRST]}, "at most one first_frame"),
    (
        "omni_video",
        {"image_list": [FIRST], "video_list": [FEATURE]},
        {"image_list": [FIRST], "video_list": [{"video_url": URL}]},
        "together with a base video",
    ),
    (
        "omni_video",
        {**O1, "image_list": [FIRST, END]},
        {**O1, "image_list": [FIRST, END, PLAIN]},
        "no frame among more than two images",
    ),
    (
        "omni_video",
        {**O1, "image_list": [FIRST, PLAIN], "element_list": ELEMENTS},
        {**O1, "image_list": [FIRST, END], "element_list": ELEMENTS},
        "not supported with first_frame and end_frame by kling-video-o1",
    ),
    ("omni_video", {**O1, "duration": "7"}, {**O1, "duration": "11"}, "duration '11' is not supported"),
    ("omni_video", O1, {**O1, **MULTI, "duration": "5"}, "multi_shot 'True' is not supported"),
    ("omni_video", O1, {**O1, "sound": "on"}, "sound 'on' is not supported"),
    ("omni_video", {"mode": "4k"}, {**O1, "mode": "4k"}, "mode '4k' is not supported"),
    (
        "omni_video",
        {"sound": "on"},
        {"sound": "on", "video_list": [FEATURE]},
        "sound on is not supported with video input",
    ),
    (
        "omni_video",
        {"video_list": [BASE], "duration": "15"},
        {"video_list": [FEATURE], "duration": "11"},
        "between 3 and 10 with a reference video",
    ),
    (
        "omni_video",
        {"video_list": [FEATURE], "prompt": "<<<image_1>>> in <<<video_1>>>"},
        {"prompt": "<<<video_1>>>"},
        "<<<video_1>>> is not in video_list",
    ),
    (
        "omni_video",
        {**MULTI, "prompt": "<<<image_9>>>"},
        {**MULTI, "multi_prompt": [SHOTS[0], {**SHOTS[1], "prompt": "<<<image_2>>>"}]},
        "<<<image_2>>> is not in image_list",
    ),
    (
        "omni_video",
        {"image_list": [FIRST], "video_list": [FEATURE]},
        {"image_list": [FIRST, END], "video_list": [FEATURE]},
        "Tail image is not supported with video input",
    ),
    ("omni_video", MULTI, {**MULTI, "video_list": [BASE]}, "multi_shot is not supported with video input"),
    (
        "omni_video",
        {**MULTI, "multi_prompt": [{**SHOTS[0], "duration": "5"}]},
        {**MULTI, "multi_prompt": [{**SHOTS[0], "duration": "9"}]},
        "sum of duration",
    ),
    ("omni_video", {"prompt": "<<<object_1>>>"}, {"prompt": "<<<image_0>>>"}, "<<<image_0>>>"),
    (
        "motion_control",
        {"element_list": ELEMENTS[:1], "character_orientation": "video"},
        {"element_list": ELEMENTS[:1]},
        "character_orientation must be video",
    ),
    ("multi_elements", {"image_list": [], "negative_prompt": ""}, EDIT, "must hold 0 images"),
    ("multi_elements", {**EDIT, "edit_mode": "swap"}, {"edit_mode": "swap"}, "must hold 1 images"),
    ("multi_elements", {**EDIT, "edit_mode": "addition"}, {"edit_mode": "addition"}, "must hold 1 or 2"),
    ("multi_elements", {}, {"prompt": "the chick"}, "prompt must name <<<video_1>>>"),
    (
        "multi_elements",
        {**EDIT, "edit_mode": "swap"},
        {**EDIT, "edit_mode": "swap", "prompt": "<<<video_1>>>"},
        "prompt must name <<<image_1>>>",
    ),
    ("multi_elements", {}, {"prompt": "<<<video_1>>> <<<image_1>>>"}, "<<<image_1>>> is not in image_list"),
    (
        "multi_elements.init_selection",
        {**VIDEO, "video_url": ""},
        {},
        "exactly one of video_id and video_url",
    ),
    (
        "video_effects",
        {"effect_scene": "brand_new", "input": {"image": URL}},
        {"effect_scene": "brand_new", "input": {"image": URL, "images": [URL, URL]}},
        "exactly one of image and images",
    ),
    ("video_effects", {}, {"input": {"image": URL}}, "input.images is required by effect_scene 'hug_pro'"),
    (
        "video_effects",
        {"effect_scene": "skateskate", "input": {"image": URL}},
        {"effect_scene": "skateskate"},
        "input.image is required by effect_scene",
    ),
    ("identify_face", {}, VIDEO, "exactly one of video_id and video_url"),
    (
        "advanced_lip_sync",
        {"face_choose": [{**FACE, "sound_end_time": 2000}]},
        {"face_choose": [{**FACE, "sound_end_time": 1999}]},
        "must last at least 2000 ms",
    ),
    ("advanced_lip_sync", {}, {"face_choose": [{**FACE, "audio_id": "1"}]}, "exactly one of audio_id"),
    ("lip_sync", {}, {"input": {**SPEECH, "video_url": URL}}, "exactly one of video_id and video_url"),
    ("lip_sync", {"input": SPEECH}, {"input": {**SPEECH, "text": ""}}, "input.text is required"),
    ("lip_sync", {"input": SPEECH}, {"input": {**SPEECH, "voice_id": ""}}, "input.voice_id is required"),
    (
        "lip_sync",
        {"input": {**SPEECH, "voice_id": "brand_new"}},
        {"input": {**SPEECH, "voice_language": "zh"}},
        "voice_language 'zh' is not supported by voice_id 'oversea_male1'",
    ),
    (
        "lip_sync",
        {"input": {**FILM, "audio_type": "url", "audio_url": URL}},
        {"input": {**FILM, "audio_url": URL}},
        "input.audio_type is required",
    ),
    (
        "lip_sync",
        {"input": {**FILM, "audio_type": "file", "audio_file": sound("mp3", 8)}},
        {"input": {**FILM, "audio_type": "file", "audio_url": URL}},
        "input.audio_file is required",
    ),
    ("avatar", {}, {"audio_id": "1"}, "exactly one of audio_id and sound_file"),
    ("custom_voices", {"video_id": ""}, {"video_id": "1"}, "exactly one of voice_url and video_id"),
    ("text_to_speech", {"voice_id": "brand_new"}, {"voice_language": "zh"}, "voice_language 'zh'"),
    ("text_to_speech", {"voice_speed": 3}, {"voice_id": "reader_en_m-v1"}, "Voice id not found"),
    ("text_to_audio", {"duration": 3.1}, {"duration": 3.14}, "at most one decimal place"),
    ("text_to_audio", {"duration": 3}, {"duration": 2.9}, "duration must be between 3 and 10"),
    ("video_to_audio", {}, VIDEO, "exactly one of video_id and video_url"),
    (
        "image_generation",
        {"image": URL},
        {"image_reference": "face"},
        "image is required when image_reference is set",
    ),
    ("image_generation", {}, {"image": URL, "negative_prompt": "x"}, "not supported together with image"),
    (
        "image_generation",
        {"image": URL, "element_list": ELEMENTS * 4},
        {"image": URL, "element_list": ELEMENTS * 5},
        "must not exceed 10",
    ),
    (
        "omni_image",
        {**REFERENCES, "image_list": [{"image": URL}] * 8, "element_list": ELEMENTS},
        {**REFERENCES, "image_list": [{"image": URL}] * 9, "element_list": ELEMENTS},
        "must not exceed 10",
    ),
    (
        "omni_image",
        {"prompt": "<<object_1>>"},
        {"prompt": "<<<image_2>>>"},
        "<<<image_2>>> is not in image_list",
    ),
    (
        "omni_image",
        {"result_type": "series", "series_amount": "auto"},
        {"result_type": "series", "model_name": "kling-image-o1"},
        "result_type 'series' is not supported by kling-image-o1",
    ),
    (
        "omni_image",
        {"resolution": "4k"},
        {"resolution": "4k", "model_name": "kling-image-o1"},
        "resolution '4k' is not supported by kling-image-o1",
    ),
    (
        "image_expand",
        expansion(0.1495, 0.1495, 0.6547, 0.6547),
        expansion(0.5, 0.5, 0.3, 0.3),
        "3 times the area",
    ),
    (
        "custom_elements",
        {
            "reference_type": "video_refer",
            "element_image_list": None,
            "element_video_list": {"refer_videos": [{"video_url": URL}]},
        },
        {"reference_type": "video_refer"},
        "element_video_list is required",
    ),
    ("custom_elements", {}, {"element_image_list": None}, "element_image_list is required"),
    (
        "account_billing_package",
        {"start_time": None, "end_time": None, "cursor": "x"},
        {"end_time": 1},
        "later",
    ),
    (
        "account_billing_package",
        {"filters": [{"key": "package_name", "values": ["a", "b"]}]},
        {"filters": [{"key": key, "values": ["a"]} for key in ("package_name", "package_id")]},
        "package_name and package_id",
    ),
    ("account_billing_balance", {}, {"start_time": None}, "Missing Request Parameter: start_time"),
]


def verdict(endpoint: str, changes: dict[str, Any]) -> str:
    """Return the refusal of an endpoint's sample with these changes, empty if it passes."""
    row = REFERENCE.endpoints[endpoint]
    try:
        kept, _ = judge_body(row, sample(endpoint, **changes))
        check_rules(row, kept)
    except Refusal as refusal:
        return refusal.message
    return ""


@pytest.mark.parametrize(("endpoint", "passes", "breaks", "words"), CASES)
def test_each_rule_refuses_its_own_fault(
    endpoint: str, passes: dict[str, Any], breaks: dict[str, Any], words: str
) -> None:
    """A body that keeps the rule passes; one that breaks it is refused with words that name the fault."""
    assert verdict(endpoint, passes) == ""
    assert words in verdict(endpoint, breaks)


def test_every_endpoint_with_rules_is_tried() -> None:
    """Every endpoint with rules has a case above, or a test file of its own."""
    tried = {endpoint for endpoint, *_ in CASES}
    assert set(RULES) - tried == {"text_to_video"}


@pytest.mark.parametrize("endpoint", ["multi_image_to_video", "multi_elements"])
def test_ended_models_are_served_where_there_is_no_other(endpoint: str) -> None:
    """Endpoints for which only ended models are documented accept them; all others refuse ended models."""
    assert verdict(endpoint, {"model_name": "kling-v1-6"}) == ""
    assert "discontinued" in verdict("image_to_video", {"model_name": "kling-v1-6"})
    assert "does not exist" in verdict(endpoint, {"model_name": "kling-v9"})


@pytest.mark.parametrize("model", ["kling-v2-6", "kling-v3"])
def test_uncertain_capabilities_are_granted(model: str) -> None:
    """Uncertain capabilities are granted: elements in motion control with the older model, and mode 4k."""
    orientation = {"character_orientation": "video", "element_list": ELEMENTS}
    assert verdict("motion_control", {**orientation, "model_name": model}) == ""
    film = {**V3, "mode": "4k", "element_list": ELEMENTS, "camera_control": MOVE}
    assert verdict("image_to_video", film) == ""
