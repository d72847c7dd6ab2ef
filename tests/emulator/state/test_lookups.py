"""Lookups: the earlier results that a create names must exist, be unexpired and fit the use."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.state.items import TaskSource
from kling_async.emulator.state.library import RESULT_LIFETIME, Library
from kling_async.emulator.state.lookups import LOOKUPS, look_up
from kling_async.testing import Audio, Clip, Editing, Element, Face, Faces, Voice
from tests.emulator.support import sound

URL = "https://example.com/file"
PICTURED, FILMED = 820_000_000_000_000_001, 9
CHARACTER = {"element_id": FILMED}
SUBJECT = {"element_id": PICTURED}
PLAIN = {"image_url": URL}
FEATURE = {"video_url": URL, "refer_type": "feature"}
OMNI = {"model_name": "kling-v3-omni"}
SPOKEN = {"sound_start_time": 0, "sound_end_time": 3000, "sound_insert_time": 1000, "face_id": "0"}


class Clock:
    """Clock that tests set."""

    now = 0.0


def library(clock: Clock | None = None) -> Library:
    """Return a library with one or two things of each kind."""
    ids, clock = count(1000), clock or Clock()
    made = Library(lambda: clock.now, lambda: str(next(ids)))
    items = (
        Clip(id="old"),
        Clip(id="first", model="kling-v1"),
        Clip(id="new", model="kling-v2-6", mode="pro"),
        Clip(id="loud", model="kling-v2-6", sound=True),
        Clip(id="avatar", endpoint="avatar", model=""),
        Clip(id="short", seconds=1.5),
        Clip(id="ten", seconds=10, endpoint="image_to_video"),
        Clip(id="long", seconds=178, endpoint="video_extend"),
        Clip(id="whole", seconds=180, endpoint="video_extend"),
        Audio(id="spoken", seconds=8),
        Audio(id="click", seconds=1),
        Faces(
            id="faces",
            faces=[Face(id="0", start_ms=0, end_ms=5000), Face(id="1", start_ms=2500, end_ms=5000)],
        ),
        Editing(id="bare"),
        Editing(id="marked", marks={0: [(0.5, 0.5)]}),
        Editing(id="ten", clip=Clip(id="10", seconds=10), marks={0: [(0.5, 0.5)]}),
        Voice(id="mine"),
        Voice(id="gone", deleted=True),
        Element(id=FILMED, kind="video_refer"),
        Element(id=8, deleted=True),
    )
    for item in items:
        made.add(item)
    return made


def face(**changes: Any) -> dict[str, Any]:
    """Return a lip-sync body whose one face speaks."""
    return {"session_id": "faces", "face_choose": [{"sound_file": URL, **SPOKEN, **changes}]}


def edit(session: str, mode: str = "removal", duration: str = "5") -> dict[str, Any]:
    """Return the body of an edit."""
    return {"session_id": session, "edit_mode": mode, "duration": duration}


CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # endpoint, a body that passes, a body that is refused, words of the refusal
    (
        "image_to_video",
        {"element_list": [CHARACTER, SUBJECT]},
        {"element_list": [{"element_id": 8}]},
        "not found",
    ),
    (
        "image_to_video",
        {"voice_list": [{"voice_id": "mine"}]},
        {"voice_list": [{"voice_id": "gone"}]},
        "Voice id",
    ),
    ("image_generation", {"element_list": [SUBJECT]}, {"element_list": [CHARACTER]}, "only multi-image"),
    ("omni_image", {"element_list": [SUBJECT]}, {"element_list": [CHARACTER]}, "only multi-image"),
    (
        "motion_control",
        {"element_list": [CHARACTER]},
        {"element_list": [{"element_id": 7}]},
        "Element id not found: 7",
    ),
    (
        "omni_video",
        {**OMNI, "image_list": [PLAIN] * 6, "element_list": [SUBJECT]},
        {**OMNI, "image_list": [PLAIN] * 7, "element_list": [SUBJECT]},
        "together must not exceed 7",
    ),
    (
        "omni_video",
        {
            **OMNI,
            "image_list": [PLAIN | {"type": "first_frame"}, *[PLAIN] * 5],
            "element_list": [SUBJECT] * 2,
        },
        {
            **OMNI,
            "image_list": [PLAIN | {"type": "first_frame"}, *[PLAIN] * 6],
            "element_list": [SUBJECT] * 2,
        },
        "together must not exceed 7",
    ),
    (
        "omni_video",
        {**OMNI, "image_list": [PLAIN] * 3, "element_list": [SUBJECT], "video_list": [FEATURE]},
        {**OMNI, "image_list": [PLAIN] * 4, "element_list": [SUBJECT], "video_list": [FEATURE]},
        "together must not exceed 4",
    ),
    (
        "omni_video",
        {**OMNI, "image_list": [PLAIN] * 4, "element_list": [CHARACTER] * 3},
        {**OMNI, "image_list": [PLAIN] * 5, "element_list": [CHARACTER]},
        "together must not exceed 4",
    ),
    (
        "omni_video",
        {**OMNI, "element_list": [CHARACTER] * 3},
        {**OMNI, "element_list": [CHARACTER] * 4},
        "at most 3 video character elements",
    ),
    (
        "omni_video",
        {**OMNI, "element_list": [SUBJECT], "video_list": [FEATURE]},
        {**OMNI, "element_list": [CHARACTER], "video_list": [FEATURE]},
        "not supported with a reference video",
    ),
    ("omni_video", {"element_list": [SUBJECT]}, {"element_list": [CHARACTER]}, "with kling-video-o1"),
    (
        "omni_video",
        {**OMNI, "image_list": [PLAIN | {"type": "first_frame"}], "element_list": [SUBJECT] * 3},
        {**OMNI, "image_list": [PLAIN | {"type": "first_frame"}], "element_list": [SUBJECT] * 4},
        "at most 3 elements with a first frame",
    ),
    ("custom_elements", {"element_voice_id": "mine"}, {"element_voice_id": "other"}, "Voice id not found"),
    ("video_extend", {"video_id": "ten"}, {"video_id": "nobody"}, "From video not found by id: nobody"),
    ("video_extend", {"video_id": "long"}, {"video_id": "whole"}, "shorter than 3 minutes"),
    ("video_extend", {"video_id": "old"}, {"video_id": "new"}, "cannot be extended"),
    ("video_extend", {"video_id": "first"}, {"video_id": "avatar"}, "cannot be extended"),
    (
        "video_extend",
        {"video_id": "old", "negative_prompt": "x", "cfg_scale": 1},
        {"video_id": "first", "negative_prompt": "x"},
        "negative_prompt is not supported",
    ),
    (
        "video_extend",
        {"video_id": "first"},
        {"video_id": "first", "cfg_scale": 1},
        "cfg_scale is not supported",
    ),
    ("multi_elements", edit("marked"), edit("nobody"), "Session not found by id: nobody"),
    ("multi_elements", edit("bare", "addition"), edit("bare"), "removal needs marks"),
    ("multi_elements", edit("marked", "swap"), edit("bare", "swap"), "swap needs marks"),
    ("multi_elements", edit("ten", duration="10"), edit("ten"), "duration 5 needs"),
    ("multi_elements", edit("marked"), edit("marked", duration="10"), "duration 5 needs"),
    ("video_to_audio", {"video_id": "new"}, {"video_id": "short"}, "between 3 and 20 seconds"),
    ("video_to_audio", {"video_url": URL}, {"video_id": "long"}, "between 3 and 20 seconds"),
    (
        "lip_sync",
        {"input": {"video_id": "new"}},
        {"input": {"video_id": "short"}},
        "between 2 and 60 seconds",
    ),
    ("lip_sync", {"input": {"video_url": URL}}, {"input": {"video_id": "x" * 99}}, "id: " + "x" * 64),
    ("avatar", {"audio_id": "spoken"}, {"audio_id": "nobody"}, "Audio not found by id: nobody"),
    ("avatar", {"sound_file": URL}, {"audio_id": "click"}, "between 2 and 300 seconds"),
    ("custom_voices", {"video_id": "avatar"}, {"video_id": "old"}, "no voice can be taken"),
    ("custom_voices", {"video_id": "loud"}, {"video_id": "new"}, "no voice can be taken"),
    ("custom_voices", {"voice_url": URL}, {"video_id": "short"}, "between 5 and 30 seconds"),
    ("advanced_lip_sync", face(), {**face(), "session_id": "other"}, "Session not found by id: other"),
    ("advanced_lip_sync", face(), face(face_id="2"), "face_id '2' is not found"),
    ("advanced_lip_sync", face(sound_insert_time=2000), face(sound_insert_time=2001), "end within the video"),
    ("advanced_lip_sync", face(face_id="1", sound_insert_time=1500), face(face_id="1"), "overlap the face"),
    (
        "advanced_lip_sync",
        {**face(audio_id="spoken", sound_start_time=5000, sound_end_time=8100)},
        {**face(audio_id="spoken", sound_start_time=5000, sound_end_time=8101)},
        "must not be after the end of the sound",
    ),
    (
        "advanced_lip_sync",
        face(sound_file=sound("mp3", 4)),
        face(sound_file=sound("mp3", 2.5)),
        "must not be after the end of the sound",
    ),
]


def found(endpoint: str, body: dict[str, Any], known: Library | None = None) -> TaskSource | str:
    """Return the source of a body, or the code and message of the refusal."""
    if "audio_id" in body.get("face_choose", [{}])[0]:
        body["face_choose"][0].pop("sound_file", None)
    try:
        return look_up(endpoint, body, known or library())
    except Refusal as refusal:
        return f"{refusal.code}: {refusal.message}"


@pytest.mark.parametrize(("endpoint", "passes", "fails", "words"), CASES)
def test_named_results_are_found_or_refused(
    endpoint: str, passes: dict[str, Any], fails: dict[str, Any], words: str
) -> None:
    """Existing and fitting results are found; others are refused with words that say why."""
    assert isinstance(found(endpoint, passes), TaskSource)
    said = str(found(endpoint, fails))
    assert said.startswith("1201: ") and words in said


def test_every_lookup_is_tried() -> None:
    """Every lookup has a case above; an endpoint without a lookup has an empty source."""
    assert {endpoint for endpoint, *_ in CASES} == set(LOOKUPS)
    assert found("text_to_video", {}) == TaskSource()


@pytest.mark.parametrize(
    ("endpoint", "body", "seconds"),
    [
        ("video_extend", {"video_id": "old"}, 10),
        ("video_extend", {"video_id": "long"}, 180),
        ("avatar", {"audio_id": "spoken"}, 8),
        ("avatar", {"sound_file": sound("wav", 12.5)}, 12.5),
        ("avatar", {"sound_file": sound("m4a", 1)}, 5),
        ("lip_sync", {"input": {"video_id": "ten"}}, 10),
        ("omni_video", {**OMNI, "video_list": [{"video_url": URL}]}, 5),
        ("omni_video", {**OMNI, "video_list": [FEATURE]}, None),
    ],
)
def test_lengths_follow_from_what_is_worked_on(
    endpoint: str, body: dict[str, Any], seconds: float | None
) -> None:
    """Lengths follow from the sound, the video, or the API's fixed value; unknown media last 5 s."""
    source = found(endpoint, body)
    assert isinstance(source, TaskSource) and source.seconds == seconds


def test_results_expire() -> None:
    """Videos and sounds expire after 30 days, marks after one day; elements and voices do not."""
    clock = Clock()
    known = library(clock)
    clock.now = 86400.0
    assert isinstance(found("multi_elements", edit("marked"), known), TaskSource)
    clock.now += 1
    assert "Session not found" in str(found("multi_elements", edit("marked"), known))
    clock.now = RESULT_LIFETIME
    assert isinstance(found("video_extend", {"video_id": "old"}, known), TaskSource)
    clock.now += 1
    for endpoint, body, words in (
        ("video_extend", {"video_id": "old"}, "From video not found"),
        ("avatar", {"audio_id": "spoken"}, "Audio not found"),
        ("advanced_lip_sync", face(), "Session not found"),
    ):
        assert words in str(found(endpoint, body, known))
    living = {"element_list": [SUBJECT], "voice_list": [{"voice_id": "mine"}]}
    assert isinstance(found("image_to_video", living, known), TaskSource)
