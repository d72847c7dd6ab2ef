"""Videos from images, videos and effects: what is sent and what comes back, against the golden files."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from kling_async import v1
from kling_async.catalog import endpoint_of
from kling_async.wire.checks import to_wire
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import doubted, lives, load, result, task

FIRST = "https://example.com/first.png"
LAST = "https://example.com/last.png"
GIRL = "https://example.com/girl.png"
DANCE = "https://example.com/dance.mp4"
PAIR = ("https://example.com/a.jpg", "https://example.com/b.jpg")
ELEMENT = v1.ElementRef(element_id=829836802793406551)
MARKED = v1.WatermarkInfo(enabled=True)
RETIRED = ["model_name"]


def images(*names: str) -> tuple[v1.OmniVideoImage, ...]:
    return tuple(v1.OmniVideoImage(image_url=f"https://example.com/{name}.png") for name in names)


def elements(*ids: int) -> tuple[v1.ElementRef, ...]:
    return tuple(v1.ElementRef(element_id=number) for number in ids)


IMAGE_TO_VIDEO: Final[dict[str, Any]] = {
    "least": v1.ImageToVideo(image=FIRST, prompt="She smiles"),
    "vendor's example": v1.ImageToVideo(
        model_name="kling-v2-6",
        image=FIRST,
        image_tail=LAST,
        prompt="The camera pulls back while she smiles",
        duration=5,
        mode="pro",
        sound=False,
    ),
    "the files themselves": v1.ImageToVideo(
        image=b"first bytes",
        image_tail="data:image/png;base64,bGFzdCBieXRlcw==",
        prompt="She smiles",
        mode="std",
        duration=15,
        cfg_scale=1,
        static_mask="",
        negative_prompt="",
    ),
    "elements": v1.ImageToVideo(
        image=FIRST,
        prompt="<<<element_1>>> hugs <<<element_2>>>",
        element_list=(ELEMENT, v1.ElementRef(element_id=160)),
        sound=True,
        mode="4k",
    ),
    "voices": v1.ImageToVideo(
        model_name="kling-v2-6",
        image=FIRST,
        prompt="<<<voice_1>>> says hello, <<<voice_2>>> nods",
        voice_list=(v1.VoiceRef(voice_id="829836802793406551"), v1.VoiceRef(voice_id="genshin_vindi2")),
        sound=True,
        mode="pro",
        duration=10,
        negative_prompt="rain",
        watermark_info=MARKED,
    ),
    "shots one by one": v1.ImageToVideo(
        image=FIRST,
        multi_shot=True,
        shot_type="customize",
        multi_prompt=(
            v1.Shot(index=1, prompt="A door opens", duration=2),
            v1.Shot(index=2, prompt="<<<element_1>>> walks in", duration=3),
        ),
        element_list=elements(160),
        duration=5,
    ),
    "shots cut by the model": v1.ImageToVideo(
        image=FIRST, multi_shot=True, shot_type="intelligence", prompt="A cat comes home", duration=7
    ),
    "masks": v1.ImageToVideo(
        model_name="kling-v1-5",
        image=FIRST,
        prompt="The leaf falls",
        mode="pro",
        duration=5,
        static_mask="https://example.com/still.png",
        dynamic_masks=(
            v1.DynamicMask(
                mask="https://example.com/leaf.png",
                trajectories=(v1.TrajectoryPoint(x=279, y=219), v1.TrajectoryPoint(x=417, y=65)),
            ),
            v1.DynamicMask(
                mask=b"mask",
                trajectories=tuple(v1.TrajectoryPoint(x=x, y=y) for x, y in ((0, 0), (1, 2), (3, 4))),
            ),
        ),
    ),
    "camera": v1.ImageToVideo(
        model_name="kling-v1-5",
        image=FIRST,
        prompt="A fox",
        mode="pro",
        camera_control=v1.CameraControl(type="simple", config=v1.CameraConfig(pan=-10)),
    ),
    "end frame alone": v1.ImageToVideo(
        model_name="kling-v1-6", image_tail=LAST, prompt="A fox", mode="pro", duration=10
    ),
}
MULTI_IMAGE_TO_VIDEO: Final[dict[str, Any]] = {
    "least": v1.MultiImageToVideo(
        image_list=(v1.InputImage(image="https://example.com/dog.png"),), prompt="The dog licks its paw"
    ),
    "vendor's example": v1.MultiImageToVideo(
        image_list=(
            v1.InputImage(image="https://example.com/dog.png"),
            v1.InputImage(image="https://example.com/coat.png"),
        ),
        prompt="The dog wears the coat and licks its paw",
        mode="pro",
        duration=5,
        aspect_ratio="16:9",
    ),
    "everything": v1.MultiImageToVideo(
        image_list=(
            v1.InputImage(image=b"dog"),
            *(v1.InputImage(image=f"https://example.com/{n}.png") for n in (2, 3, 4)),
        ),
        prompt="The dog",
        negative_prompt="rain",
        mode="std",
        duration=10,
        aspect_ratio="1:1",
        watermark_info=v1.WatermarkInfo(enabled=False),
    ),
}
OMNI_VIDEO: Final[dict[str, Any]] = {
    "least": v1.OmniVideo(prompt="A paper boat", aspect_ratio="16:9"),
    "vendor's example": v1.OmniVideo(
        prompt="The person in <<<image_1>>> waves at the camera",
        image_list=images("person"),
        duration=5,
        mode="pro",
        aspect_ratio="16:9",
    ),
    "start and end": v1.OmniVideo(
        prompt="Day turns to night",
        image_list=(
            v1.OmniVideoImage(image_url="https://example.com/day.png", type="first_frame"),
            v1.OmniVideoImage(image_url=b"night", type="end_frame"),
        ),
        element_list=(ELEMENT, *elements(160, 161)),
        sound=True,
        mode="4k",
        duration=15,
    ),
    "an edited video": v1.OmniVideo(
        prompt="Put the crown of <<<image_1>>> on the girl of <<<video_1>>>",
        image_list=images("crown"),
        video_list=(
            v1.OmniVideoClip(
                video_url="https://example.com/girl.mp4", refer_type="base", keep_original_sound=True
            ),
        ),
        mode="pro",
    ),
    "a video to borrow from": v1.OmniVideo(
        model_name="kling-video-o1",
        prompt="The next shot after <<<video_1>>>",
        video_list=(
            v1.OmniVideoClip(
                video_url="https://example.com/clip.mp4", refer_type="feature", keep_original_sound=False
            ),
        ),
        sound=False,
        mode="std",
        aspect_ratio="9:16",
        duration=8,
    ),
    "references of o1": v1.OmniVideo(
        model_name="kling-video-o1",
        prompt="<<<element_1>>> and <<<element_2>>> between <<<image_1>>> and <<<image_2>>>",
        image_list=images("1", "2"),
        element_list=elements(1, 2),
        mode="pro",
        aspect_ratio="1:1",
        duration=7,
    ),
    "shots one by one": v1.OmniVideo(
        multi_shot=True,
        shot_type="customize",
        multi_prompt=(
            v1.Shot(index=1, prompt="<<<image_1>>> opens a door", duration=4),
            v1.Shot(index=2, prompt="A cat walks in", duration=8),
        ),
        image_list=images("1"),
        sound=True,
        aspect_ratio="16:9",
        duration=12,
        watermark_info=MARKED,
    ),
}
MOTION_CONTROL: Final[dict[str, Any]] = {
    "least": v1.MotionControl(image_url=GIRL, video_url=DANCE, character_orientation="image", mode="std"),
    "vendor's example": v1.MotionControl(
        model_name="kling-v2-6",
        image_url=GIRL,
        video_url=DANCE,
        keep_original_sound=True,
        character_orientation="image",
        mode="pro",
    ),
    "everything": v1.MotionControl(
        prompt="It rains",
        image_url=b"girl",
        video_url=DANCE,
        element_list=(ELEMENT,),
        keep_original_sound=False,
        character_orientation="video",
        mode="pro",
        watermark_info=MARKED,
    ),
}
VIDEO_EXTEND: Final[dict[str, Any]] = {
    "least": v1.VideoExtend(video_id="743211632612511839"),
    "vendor's example": v1.VideoExtend(video_id="743211632612511839", prompt="A puppy runs in"),
    "everything": v1.VideoExtend(
        video_id="743211632612511839",
        prompt="A puppy runs in",
        negative_prompt="rain",
        cfg_scale=0.5,
        watermark_info=MARKED,
    ),
}
VIDEO_EFFECTS: Final[dict[str, Any]] = {
    "one image": v1.VideoEffects(effect_scene="bullet_time_360", input=v1.EffectInput(image=PAIR[0])),
    "vendor's example": v1.VideoEffects(effect_scene="hug_pro", input=v1.EffectInput(images=PAIR)),
    "the files themselves": v1.VideoEffects(
        effect_scene="kiss_pro", input=v1.EffectInput(images=(b"a", b"b"))
    ),
    "of 2025": v1.VideoEffects(
        effect_scene="hug",
        input=v1.EffectInput(images=PAIR, model_name="kling-v1-6", mode="pro", duration=10),
        watermark_info=MARKED,
    ),
}
REQUESTS: Final = {
    "image_to_video": IMAGE_TO_VIDEO,
    "multi_image_to_video": MULTI_IMAGE_TO_VIDEO,
    "omni_video": OMNI_VIDEO,
    "motion_control": MOTION_CONTROL,
    "video_extend": VIDEO_EXTEND,
    "video_effects": VIDEO_EFFECTS,
}
GOLDEN: Final = {name: golden(name) for name in REQUESTS}
CASES: Final = [(name, case) for name, requests in REQUESTS.items() for case in requests]
DOUBTED: Final = {
    ("image_to_video", "masks"): RETIRED,
    ("image_to_video", "camera"): RETIRED,
    ("image_to_video", "end frame alone"): RETIRED,
    ("video_effects", "of 2025"): [
        *("effect_scene", "input.model_name", "input.mode", "input.duration", "watermark_info"),
    ],
}
"""Golden requests that pass with warnings; those of two endpoints always do."""
ALWAYS: Final = {"multi_image_to_video": RETIRED, "video_extend": ["video_id"]}


def test_there_is_a_request_for_every_golden_body() -> None:
    """No golden body goes untested."""
    for name, requests in REQUESTS.items():
        assert (name, sorted(requests)) == (name, sorted(GOLDEN[name]["requests"]))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_request_is_sent_as_the_vendor_writes_it(name: str, case: str) -> None:
    """The whole body, compared as JSON; it passes the check, and is doubted only where the table says so."""
    request = REQUESTS[name][case]
    body = msgspec.json.decode(msgspec.json.encode(to_wire(request, load)))
    assert body == GOLDEN[name]["requests"][case]
    assert [field for field, _ in doubted(request)] == DOUBTED.get((name, case), ALWAYS.get(name, []))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_task_s_life_is_read(name: str) -> None:
    """Created, with task_info or without it, running, finished with one video, or failed with a reason."""
    kind = type(REQUESTS[name][next(iter(REQUESTS[name]))])
    answers = GOLDEN[name]["answers"]
    lives(kind, answers)
    found = result(kind, answers["finished"])
    video = answers["finished"]["data"]["task_result"]["videos"][0]
    assert found.videos[0].seconds == (float(video["duration"]) if "duration" in video else None)
    assert found.files() == (File(video["url"], ".mp4", "0"),)
    marked = (File(video["watermark_url"], ".mp4", "0"),) if video["watermark_url"] else ()
    assert found.files(watermarked=True) == marked
    assert "SECRET" not in repr(found)


def test_what_was_extended_is_told() -> None:
    """The video before the extension stands beside the task, as the class says."""
    record = task(v1.VideoExtend, GOLDEN["video_extend"]["answers"]["finished"])
    assert record.raw["task_info"]["parent_video"]["id"] == "743211632612511838"


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_request_has_a_kind_and_a_weight(name: str, case: str) -> None:
    """A kind can be looked up in a table; a video takes one slot."""
    request = REQUESTS[name][case]
    row = endpoint_of(request)
    assert (row.name, row.weight(request), row.pool) == (name, 1, "video")
    assert hash(row.kind(request)) == hash(row.kind(request))


def test_kinds_differ_by_what_takes_time() -> None:
    """Model, mode, length and sound; what a video is for; whose facing; the scene."""
    for name in ("image_to_video", "omni_video", "motion_control", "video_effects"):
        assert len({endpoint_of(r).kind(r) for r in REQUESTS[name].values()}) > 2
    same = v1.ImageToVideo(image=FIRST, prompt="x"), v1.ImageToVideo(image=LAST, prompt="y", mode="std")
    assert len({endpoint_of(r).kind(r) for r in same}) == 1
