"""Repair drawn bodies so that their fields agree, as the reference describes it.

Neither the client's rules nor the emulator's are used. A wrong repair makes bodies that both refuse, and the
tests fail when both accept too few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hypothesis import strategies as st

from tests.reference import V1

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn

Json = dict[str, Any]

PLAIN: Final = "a fox"
ADDRESS: Final = "https://a.example/file.png"
RETIRED: Final = set(V1["retired"]["video"])
FIELDS: Final = {
    "camera_control": ("camera_control",),
    "image_tail": ("image_tail",),
    "motion_brush": ("static_mask", "dynamic_masks"),
    "multi_shot": ("multi_shot",),
    "sound": ("sound",),
    "voice_list": ("voice_list",),
    "element_list": ("element_list",),
    "reference_video": ("video_list",),
    "cfg_scale": ("cfg_scale",),
}
"""For each column of the capability map, the fields that make use of it."""


def whole(draw: DrawFn, endpoint: str, body: Json) -> Json:
    """Return a copy of a body, each field of which is right, with fields that also agree."""
    mended = dict(body)
    for mend in MENDS.get(endpoint, ()):
        mend(draw, mended)
    return mended


def drop(body: Json, *names: str) -> None:
    """Remove fields that may be there."""
    for name in names:
        body.pop(name, None)


def one_of(*names: str, within: str = "") -> Callable[[DrawFn, Json], None]:
    """Make a repair that leaves exactly one of these fields and adds it if none is there."""
    values = {
        "video_id": PLAIN,
        "audio_id": PLAIN,
        "video_url": "https://a.example/file.mp4",
        "voice_url": "https://a.example/file.mp3",
        "sound_file": "https://a.example/file.mp3",
    }

    def mend(draw: DrawFn, body: Json) -> None:
        part = body[within] if within else body
        kept = draw(st.sampled_from(names))
        part.setdefault(kept, values[kept])
        drop(part, *(name for name in names if name != kept))

    return mend


# --- videos ------------------------------------------------------------------------------------


def offered(endpoint: str) -> Callable[[DrawFn, Json], None]:
    """Make a repair by the capability map: a model that is served, without fields that it lacks."""
    rows = [
        row
        for row in V1["video_models"]
        if row["endpoint"] == endpoint and row["model"] not in RETIRED and row["sure"]
    ]

    def mend(draw: DrawFn, body: Json) -> None:
        row = draw(st.sampled_from(rows))
        body["model_name"], body["mode"] = row["model"], row["mode"]
        if endpoint != "motion_control":
            body["duration"] = draw(st.sampled_from(row["durations"]))
        for column, names in FIELDS.items():
            if row[column] in (False, "disputed"):
                drop(body, *names)

    return mend


def frames_and_voices(draw: DrawFn, body: Json) -> None:
    """Give image to video a start frame, one way to move, and voices with sound and without elements."""
    body.setdefault("image", ADDRESS)
    ways = [name for name in ("image_tail", "static_mask", "dynamic_masks", "camera_control") if name in body]
    drop(body, *ways[1:])
    if "image_tail" in body:
        drop(body, "multi_shot", "shot_type", "multi_prompt")
        if body["model_name"] == "kling-v2-6":
            drop(body, "sound", "voice_list")
    if body.get("voice_list"):
        body["sound"] = "on"
        drop(body, "element_list")


def camera(draw: DrawFn, body: Json) -> None:
    """Give a simple camera movement exactly one axis, and other movements no config."""
    control = body.get("camera_control")
    if control and control["type"] == "simple":
        control["config"] = {draw(st.sampled_from(["pan", "tilt", "roll", "zoom"])): 3.5}
    elif control:
        drop(control, "config")


def shots(draw: DrawFn, body: Json) -> None:
    """Make customised shots add up to the duration, and give everything else a prompt."""
    if not body.get("multi_shot"):
        body.setdefault("prompt", PLAIN)
        return
    body["shot_type"] = draw(st.sampled_from(["customize", "intelligence"]))
    if body["shot_type"] == "intelligence":
        body.setdefault("prompt", PLAIN)
        return
    seconds = int(body.get("duration", "5"))
    count = draw(st.integers(1, min(6, seconds)))
    lengths = [1] * (count - 1) + [seconds - count + 1]
    body["multi_prompt"] = [
        {"index": at, "prompt": PLAIN, "duration": str(length)} for at, length in enumerate(lengths, 1)
    ]


def names(*lists: str) -> Callable[[DrawFn, Json], None]:
    """Make a repair of prompts that refer to entries of these lists: only existing entries."""

    def mend(draw: DrawFn, body: Json) -> None:
        if "prompt" in body:
            there = [f"<<<{name.removesuffix('_list')}_1>>>" for name in lists if body.get(name)]
            body["prompt"] = draw(st.sampled_from([PLAIN, *there]))

    return mend


def references(draw: DrawFn, body: Json) -> None:
    """Give omni video frames in order and few references; beside a video, no sound and a short duration."""
    images: list[Json] = body.get("image_list", [])
    edits = any(video.get("refer_type", "base") == "base" for video in body.get("video_list", ()))
    old = body["model_name"] == "kling-video-o1"
    for at, image in enumerate(images):
        drop(image, "type")
        if at < 2 and not edits and draw(st.booleans()) and (at == 0 or "type" in images[0]):
            image["type"] = ("first_frame", "end_frame")[at]
    framed = any("type" in image for image in images)
    if framed:
        del images[2:]
    if old and framed:
        drop(body, "element_list")
    if body.get("video_list"):
        drop(body, "sound")
        if not edits:
            body["duration"] = draw(st.sampled_from(["3", "5", "10"]))
    del body.get("element_list", [])[2:]
    del images[2:]


def orientation(draw: DrawFn, body: Json) -> None:
    """Have motion control with an element follow the orientation of the person in the video."""
    if body.get("element_list"):
        body["character_orientation"] = "video"


def edit(draw: DrawFn, body: Json) -> None:
    """Give multi-elements the images of its mode, a prompt that names all, and none of its retired models."""
    most = {"addition": 2, "swap": 1, "removal": 0}[body["edit_mode"]]
    count = draw(st.integers(min(1, most), most))
    body["image_list"] = [{"image": ADDRESS} for _ in range(count)]
    body["prompt"] = " ".join(["<<<video_1>>>", *(f"<<<image_{at}>>>" for at in range(1, count + 1))])
    drop(body, "model_name", *(() if count else ("image_list",)))


def scene(draw: DrawFn, body: Json) -> None:
    """Give an effect one picture, or two for a scene of two persons."""
    many = draw(st.booleans())
    lists = V1["effect_scenes"]
    body["effect_scene"] = draw(st.sampled_from(lists["dual_current" if many else "single_current"]))
    body["input"]["images" if many else "image"] = [ADDRESS] * 2 if many else ADDRESS
    drop(body["input"], "image" if many else "images")


# --- speech ------------------------------------------------------------------------------------

VOICES: Final = [
    (voice["voice_id"], voice["voice_language"])
    for voice in V1["voices"]["video"]["voices"]
    if voice["voice_id"] not in ("commercial_lady_en_f-v1", "oversea_female1", "reader_en_m-v1")
]


def voice_of(within: str = "") -> Callable[[DrawFn, Json], None]:
    """Make a repair that pairs a voice with its language."""

    def mend(draw: DrawFn, body: Json) -> None:
        part = body[within] if within else body
        part["voice_id"], part["voice_language"] = draw(st.sampled_from(VOICES))

    return mend


def text_or_sound(draw: DrawFn, body: Json) -> None:
    """Give lip sync a text, or a sound in the field that its type announces."""
    given = body["input"]
    if given["mode"] == "text2video":
        given.setdefault("text", PLAIN)
        drop(given, "audio_type", "audio_file", "audio_url")
    else:
        given["audio_type"] = "url"
        given["audio_url"] = "https://a.example/file.mp3"


def cut(draw: DrawFn, body: Json) -> None:
    """Cut the sound of advanced lip sync to two seconds or more, within a minute."""
    face = body["face_choose"][0]
    face["sound_start_time"] = draw(st.integers(0, 5000))
    face["sound_end_time"] = face["sound_start_time"] + draw(st.integers(2000, 20_000))
    face["sound_insert_time"] = draw(st.integers(0, 30_000))
    one_of("audio_id", "sound_file")(draw, face)


def tenths(draw: DrawFn, body: Json) -> None:
    """Round the duration of text to audio to tenths of a second."""
    body["duration"] = round(body["duration"], 1)


# --- images, elements, bills -------------------------------------------------------------------


def picture(draw: DrawFn, body: Json) -> None:
    """Give image generation with a picture no negative prompt, and a reference its model takes."""
    body["model_name"] = draw(st.sampled_from(["kling-v3", "kling-v2-1"]))
    drop(body, "image_reference" if body["model_name"] == "kling-v3" else "element_list")
    if "image_reference" in body:
        body.setdefault("image", ADDRESS)
    if "image" in body:
        drop(body, "negative_prompt")


def series(draw: DrawFn, body: Json) -> None:
    """Give omni image the model that makes series and 4k."""
    if body.get("result_type") == "series" or body.get("resolution") == "4k":
        body["model_name"] = "kling-v3-omni"


def area(draw: DrawFn, body: Json) -> None:
    """Keep the expanded image within three times its old area."""
    for side in ("up", "down", "left", "right"):
        body[f"{side}_expansion_ratio"] = draw(st.sampled_from([0, 0.1, 0.25, 0.366]))


def material(draw: DrawFn, body: Json) -> None:
    """Give a custom element the pictures or the video it is made from."""
    if body["reference_type"] == "image_refer":
        pictures = {"frontal_image": ADDRESS, "refer_images": [{"image_url": ADDRESS}]}
        body.setdefault("element_image_list", pictures)
    else:
        video = {"video_url": "https://a.example/file.mp4"}
        body.setdefault("element_video_list", {"refer_videos": [video]})


def window(draw: DrawFn, body: Json) -> None:
    """Give a bill a span of time, and filters by one key only."""
    body["start_time"] = draw(st.integers(0, 10**12))
    body["end_time"] = body["start_time"] + draw(st.integers(1, 10**10))
    for entry in body.get("filters", ()):
        if entry["key"] == "package_id":
            entry["key"] = "package_name"


ONE_VIDEO: Final = one_of("video_id", "video_url")

MENDS: Final[dict[str, tuple[Callable[[DrawFn, Json], None], ...]]] = {
    "text_to_video": (offered("text_to_video"), shots, camera),
    "image_to_video": (
        offered("image_to_video"),
        frames_and_voices,
        shots,
        camera,
        names("element_list", "voice_list"),
    ),
    "omni_video": (
        offered("omni_video"),
        references,
        shots,
        names("image_list", "element_list", "video_list"),
    ),
    "motion_control": (offered("motion_control"), orientation),
    "multi_elements": (edit,),
    "multi_elements.init_selection": (ONE_VIDEO,),
    "identify_face": (ONE_VIDEO,),
    "video_to_audio": (ONE_VIDEO,),
    "advanced_lip_sync": (cut,),
    "lip_sync": (one_of("video_id", "video_url", within="input"), text_or_sound, voice_of("input")),
    "avatar": (one_of("audio_id", "sound_file"),),
    "video_effects": (scene,),
    "image_generation": (picture,),
    "omni_image": (series, names("image_list", "element_list")),
    "image_expand": (area,),
    "custom_elements": (material,),
    "custom_voices": (one_of("voice_url", "video_id"),),
    "text_to_speech": (voice_of(),),
    "text_to_audio": (tenths,),
    "account_billing_package": (window,),
    "account_billing_balance": (window,),
}
"""Repairs by endpoint; endpoints without rules between fields need none."""
