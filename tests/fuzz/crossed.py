"""Combinations of fields that break a rule between fields or just keep it, laid over a right body.

Fields drawn one by one seldom meet like this. In a combination None leaves a field out.
"""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

PICTURE: Final = "https://a.example/file.png"
CLIP: Final = "https://a.example/file.mp4"
SOUND: Final = "https://a.example/file.mp3"
ELEMENT: Final = {"element_id": 1}
FIRST: Final = {"image_url": PICTURE, "type": "first_frame"}
END: Final = {"image_url": PICTURE, "type": "end_frame"}
PLAIN: Final = {"image_url": PICTURE}
BASE: Final = [{"video_url": CLIP, "refer_type": "base"}]
UNSAID: Final = [{"video_url": CLIP}]
FEATURE: Final = [{"video_url": CLIP, "refer_type": "feature"}]


def shots(*lengths: int, start: int = 1, step: int = 1) -> list[Json]:
    """Make shots of these lengths in seconds, with indices from ``start`` on."""
    return [
        {"index": start + at * step, "prompt": "a fox", "duration": str(length)}
        for at, length in enumerate(lengths)
    ]


V3: Final[Json] = {"model_name": "kling-v3", "mode": "std", "duration": "5", "image_tail": None}
V3_4K: Final[Json] = {**V3, "mode": "4k", "multi_shot": None, "prompt": "a fox"}
"""A mode of which the capabilities are unconfirmed, so that only rules between fields can refuse."""
CUSTOM: Final[Json] = {**V3, "multi_shot": True, "shot_type": "customize", "prompt": None}

SHOTS: Final[tuple[Json, ...]] = (
    {**CUSTOM, "shot_type": None},
    {**CUSTOM, "multi_prompt": None},
    {**CUSTOM, "multi_prompt": shots(3, 3)},
    {**CUSTOM, "multi_prompt": shots(2, 3)},
    {**CUSTOM, "multi_prompt": shots(2, 3, start=2)},
    {**CUSTOM, "multi_prompt": shots(2, 3, step=2)},
    {**CUSTOM, "multi_prompt": shots(4), "duration": None},
    {**CUSTOM, "shot_type": "intelligence"},
    {**V3, "multi_shot": None, "prompt": None},
)
SIMPLE: Final = {"type": "simple", "config": {"pan": 1}}
CAMERAS: Final[tuple[Json, ...]] = tuple(
    {**V3_4K, "camera_control": camera, "static_mask": None, "dynamic_masks": None}
    for camera in (
        SIMPLE,
        {"type": "simple"},
        {"type": "simple", "config": {"pan": 0}},
        {"type": "simple", "config": {"pan": 1, "zoom": -2}},
        {"type": "down_back"},
        {"type": "down_back", "config": {"pan": 1}},
    )
)
MASKS: Final = [{"mask": PICTURE, "trajectories": [{"x": 1, "y": 1}, {"x": 2, "y": 2}]}]
V26: Final[Json] = {"model_name": "kling-v2-6", "mode": "pro", "duration": "5", "element_list": None}

IMAGES: Final[tuple[Json, ...]] = (
    {**V3_4K, "image_tail": PICTURE, "camera_control": SIMPLE},
    {**V3_4K, "image_tail": PICTURE, "static_mask": PICTURE, "camera_control": None},
    {**V3_4K, "dynamic_masks": MASKS, "camera_control": SIMPLE},
    {**V3_4K, "static_mask": PICTURE, "dynamic_masks": MASKS, "camera_control": None},
    {**V3, "image": None, "image_tail": PICTURE},
    {**V3, "image": None},
    {**V3, "image_tail": PICTURE, "multi_shot": True, "shot_type": "intelligence", "prompt": "a fox"},
    {**V26, "image_tail": PICTURE, "sound": "on", "multi_shot": None, "voice_list": None},
    {**V26, "image_tail": PICTURE, "sound": "off", "multi_shot": None, "voice_list": None},
    {**V26, "voice_list": [{"voice_id": "1"}], "sound": "off", "image_tail": None},
    {**V26, "voice_list": [{"voice_id": "1"}], "sound": "on", "image_tail": None},
    {**V3_4K, "voice_list": [{"voice_id": "1"}], "element_list": [ELEMENT], "sound": "on"},
    {**V3, "multi_shot": None, "prompt": "<<<element_2>>>", "element_list": [ELEMENT]},
    {**V3, "multi_shot": None, "prompt": "<<<voice_1>>>"},
)

OMNI: Final[Json] = {
    "model_name": "kling-v3-omni",
    "mode": "std",
    "duration": "5",
    "multi_shot": None,
    "sound": None,
    "prompt": "a fox",
    "image_list": None,
    "element_list": None,
    "video_list": None,
}
O1: Final[Json] = {**OMNI, "model_name": "kling-video-o1"}
OMNIS: Final[tuple[Json, ...]] = (
    {**OMNI, "image_list": [FIRST, FIRST]},
    {**OMNI, "image_list": [END]},
    {**OMNI, "image_list": [END, FIRST]},
    {**OMNI, "image_list": [FIRST], "video_list": BASE},
    {**OMNI, "image_list": [FIRST], "video_list": UNSAID},
    {**OMNI, "image_list": [FIRST], "video_list": FEATURE},
    {**O1, "image_list": [FIRST, PLAIN, PLAIN]},
    {**O1, "image_list": [FIRST, END], "element_list": [ELEMENT]},
    {**O1, "image_list": [FIRST, PLAIN], "element_list": [ELEMENT]},
    {**OMNI, "image_list": [FIRST, *[PLAIN] * 5], "element_list": [ELEMENT] * 2},
    {**OMNI, "image_list": [PLAIN] * 4, "element_list": [ELEMENT] * 4},
    {**OMNI, "image_list": [FIRST], "element_list": [ELEMENT] * 4},
    {**OMNI, "image_list": [PLAIN] * 4, "element_list": [ELEMENT], "video_list": FEATURE},
    {**OMNI, "video_list": FEATURE, "sound": "on"},
    {**OMNI, "video_list": BASE, "sound": "on"},
    {**OMNI, "video_list": FEATURE, "duration": "12"},
    {**OMNI, "video_list": BASE, "duration": "12"},
    {**OMNI, "image_list": [PLAIN], "prompt": "<<<image_2>>>"},
    {**OMNI, "element_list": [ELEMENT], "prompt": "<<<element_1>>> <<<element_2>>>"},
    {**OMNI, "prompt": "<<<video_1>>>"},
    {**O1, "sound": "on"},
    {**O1, "duration": "12"},
    {**O1, "mode": "4k"},
    *({**OMNI, **cross, "model_name": "kling-v3-omni"} for cross in SHOTS),
)

FACE: Final[Json] = {"face_id": "1", "sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 0}
ONE_IMAGE: Final = [{"image": PICTURE}]
TEXT: Final = {"video_id": "1", "mode": "text2video", "text": "hello", "voice_id": "oversea_male1"}
SINGLE: Final = {"image": PICTURE}
DUAL: Final = {"images": [PICTURE] * 2}

CROSSES: Final[dict[str, tuple[Json, ...]]] = {
    "text_to_video": (*SHOTS, *CAMERAS),
    "image_to_video": (*SHOTS, *CAMERAS, *IMAGES),
    "omni_video": OMNIS,
    "motion_control": (
        {"model_name": "kling-v3", "element_list": [ELEMENT], "character_orientation": "image"},
        {"model_name": "kling-v3", "element_list": [ELEMENT], "character_orientation": "video"},
    ),
    "multi_elements": (
        {"edit_mode": "swap", "image_list": ONE_IMAGE, "prompt": "<<<video_1>>> <<<image_1>>> <<<image_2>>>"},
        {"edit_mode": "swap", "image_list": ONE_IMAGE, "prompt": "<<<video_1>>>"},
        {"edit_mode": "addition", "image_list": ONE_IMAGE, "prompt": "<<<image_1>>>"},
        {"edit_mode": "removal", "image_list": ONE_IMAGE, "prompt": "<<<video_1>>> <<<image_1>>>"},
    ),
    "advanced_lip_sync": tuple(
        {"face_choose": [{**FACE, **cross}]}
        for cross in (
            {"audio_id": "1", "sound_file": SOUND},
            {},
            {"audio_id": "1", "sound_end_time": 1999},
            {"audio_id": "1", "sound_end_time": 2000},
        )
    ),
    "lip_sync": tuple(
        {"input": {**TEXT, **cross}}
        for cross in (
            {"voice_language": "zh"},
            {"voice_language": "en"},
            {},
            {"text": ""},
            {"mode": "audio2video", "audio_type": "url", "audio_file": None},
        )
    ),
    "video_effects": (
        {"effect_scene": "hug_pro", "input": SINGLE},
        {"effect_scene": "happy_birthday", "input": DUAL},
        {"effect_scene": "a_new_one", "input": DUAL},
        {"effect_scene": "happy_birthday", "input": {**SINGLE, **DUAL}},
    ),
    "image_generation": (
        {"model_name": "kling-v3", "image": PICTURE, "element_list": [ELEMENT] * 10, "negative_prompt": None},
        {"model_name": "kling-v2-1", "image": None, "image_reference": "face"},
        {"model_name": "kling-v3", "image": PICTURE, "negative_prompt": "rain"},
        {"model_name": "kling-v3", "image": PICTURE, "image_reference": "face", "negative_prompt": None},
        {"model_name": "kling-v2-1", "element_list": [ELEMENT]},
    ),
    "omni_image": (
        {"image_list": [{"image": PICTURE}] * 6, "element_list": [ELEMENT] * 5},
        {"image_list": [{"image": PICTURE}] * 5, "element_list": [ELEMENT] * 5},
        {"image_list": ONE_IMAGE, "prompt": "<<<image_2>>>"},
        {"element_list": [ELEMENT], "prompt": "<<<element_1>>> and <<<element_2>>>"},
        {"model_name": "kling-image-o1", "resolution": "1k", "result_type": "series"},
        {"model_name": "kling-image-o1", "resolution": "4k", "result_type": None},
    ),
    "text_to_speech": (
        {"voice_id": "oversea_male1", "voice_language": "zh"},
        {"voice_id": "oversea_male1", "voice_language": "en"},
    ),
    "custom_elements": (
        {"reference_type": "video_refer", "element_video_list": None},
        {"reference_type": "image_refer", "element_image_list": None},
    ),
    "custom_voices": ({"voice_url": None, "video_id": None}, {"voice_url": SOUND, "video_id": "1"}),
    "account_billing_package": (
        {
            "filters": [{"key": key, "values": ["1"]} for key in ("package_name", "package_id")],
            "cursor": None,
        },
        {"start_time": 5, "end_time": 5, "cursor": None},
        {"start_time": None, "cursor": None},
    ),
    "account_billing_balance": (
        {"start_time": 5, "end_time": 5, "cursor": None},
        {"end_time": None, "cursor": None},
    ),
}
"""Combinations by endpoint. Others have no rules between fields, or rules that any drawn body meets."""


def crossed(body: Json, cross: Json, params: Json) -> Json:
    """Return a copy of the body with these fields, as far as the endpoint has them."""
    both = {**body, **cross}
    return {name: value for name, value in both.items() if value is not None and name in params}
