"""Known differences between the client's check and the emulator, each with a reason and an example."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

Json = dict[str, Any]

PICTURE: Final = "https://a.example/file.png"
SOUND: Final = "https://a.example/file.mp3"
FACE: Final = {"face_id": "1", "sound_file": SOUND, "sound_start_time": 0, "sound_insert_time": 0}


class Difference(NamedTuple):
    """One way in which the two sides differ on purpose."""

    endpoints: str
    """A regular expression for names of endpoints."""
    says: str
    """A regular expression for the words of the side that refuses."""
    reason: str
    shown: tuple[str, Json]
    """An endpoint and a body on which the sides differ in this way."""
    given: tuple[str, ...] = ()
    """Fields that must be set for the difference to show."""


ONLY_OURS: Final = (
    Difference(
        "text_to_video|image_to_video",
        r"cfg_scale: kling-v2-\S+ in mode .* has no cfg_scale",
        "the vendor's pages say that these models do not support it; a refusal was never seen",
        ("text_to_video", {"model_name": "kling-v2-6", "prompt": "a fox", "cfg_scale": 0.5}),
    ),
    Difference(
        ".*",
        r"^\w+: model_name: must not be empty$",
        "an empty name asks for the vendor's default model, which is retired or was for a while",
        ("image_generation", {"model_name": "", "prompt": "a fox"}),
    ),
    Difference(
        "text_to_speech",
        r"voice_speed: \S+ is too (small|large)",
        "the vendor rounds values out of bounds, so the speed would not be the one asked for",
        (
            "text_to_speech",
            {"text": "hello", "voice_id": "ai_shatang", "voice_language": "zh", "voice_speed": 3.0},
        ),
    ),
    Difference(
        "account_.*",
        r"(start|end)_time: -1 is too small",
        "there are no bills from before 1970; the reference names no bounds",
        ("account_billing_balance", {"start_time": -1, "end_time": 5}),
    ),
    Difference(
        "custom_elements.delete",
        r"element_id: (must be a whole number|\S+ is too large)",
        "ids are numbers of 64 bits, sent as text here; any other text names no element",
        ("custom_elements.delete", {"element_id": "five"}),
    ),
    Difference(
        ".*",
        r"element_list\[\d+\]\.element_id: -1 is too small",
        "no id is below zero; the emulator looks the element up instead, and does not find it",
        ("omni_image", {"prompt": "a fox", "element_list": [{"element_id": -1}]}),
    ),
    Difference(
        "omni_video",
        r"image_list: images and elements are|element_list: has \d+ entries; at most 3 beside frames",
        "the emulator counts after looking the elements up: those made from videos count apart",
        (
            "omni_video",
            {
                "prompt": "a fox",
                "image_list": [{"image_url": PICTURE}] * 4,
                "element_list": [{"element_id": 1}] * 4,
            },
        ),
    ),
    Difference(
        "advanced_lip_sync",
        r"is after the end: sounds have at most|the sound would end at \d+ ms",
        "the emulator judges this after looking up how long the sound and the video are",
        (
            "advanced_lip_sync",
            {"session_id": "1", "face_choose": [{**FACE, "sound_end_time": 90_000}]},
        ),
    ),
    Difference(
        "motion_control",
        r"element_list: has \d+ entries; at most 1",
        "the capability map allows one element, the table of fields does not confirm that",
        (
            "motion_control",
            {
                "image_url": PICTURE,
                "video_url": "https://a.example/file.mp4",
                "element_list": [{"element_id": 1}] * 2,
                "character_orientation": "video",
                "mode": "std",
            },
        ),
    ),
    Difference(
        "account_costs",
        r"resource_pack_name: must be text",
        "in the query of an address everything is a text",
        ("account_costs", {"start_time": 0, "end_time": 5, "resource_pack_name": 5}),
    ),
    Difference(
        "video_effects",
        r"input\.(duration|mode): ",
        "no good source describes the form of 2025 any more; the check keeps the words it had then",
        (
            "video_effects",
            {"effect_scene": "happy_birthday", "input": {"image": PICTURE, "duration": "7"}},
        ),
    ),
)
"""Refused by the client's check, accepted by the emulator."""

ONLY_THEIRS: Final = (
    Difference(
        ".*",
        r"\(1203, .*(does not exist|discontinued)",
        "models come and go monthly: the check lets unknown and ended ones pass with a warning",
        ("text_to_video", {"model_name": "kling-v1", "prompt": "a fox"}),
    ),
    Difference(
        "omni_video",
        r"(multi_shot|Tail image) is not supported with video input",
        "refused in production, though the vendor's pages do not forbid it: the check warns only",
        (
            "omni_video",
            {
                "model_name": "kling-v3-omni",
                "prompt": "a fox",
                "multi_shot": True,
                "shot_type": "intelligence",
                "video_list": [{"video_url": "https://a.example/file.mp4", "refer_type": "feature"}],
            },
        ),
        given=("video_list",),
    ),
    Difference(
        "image_generation",
        r"element_list '\.\.\.' is not supported by kling-v2-1",
        "the capability map excludes it, the table of fields does not: the check warns only",
        (
            "image_generation",
            {"model_name": "kling-v2-1", "prompt": "a fox", "element_list": [{"element_id": 1}]},
        ),
    ),
    Difference(
        "custom_voices",
        r"exactly one of voice_url and video_id",
        "the vendor's pages do not forbid giving both outright: the check warns only",
        ("custom_voices", {"voice_name": "fox", "voice_url": SOUND, "video_id": "1"}),
        given=("voice_url", "video_id"),
    ),
)
"""Refused by the emulator; the client's check lets it pass, always with a warning."""


def listed(differences: tuple[Difference, ...], name: str, said: str, body: Json) -> Difference | None:
    """Find the listed difference that explains a refusal, if there is one."""
    for difference in differences:
        here = re.fullmatch(difference.endpoints, name) and all(body.get(key) for key in difference.given)
        if here and re.search(difference.says, said):
            return difference
    return None
