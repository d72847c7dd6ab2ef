"""Requests of the first generation as requests of the second."""

from __future__ import annotations

import warnings
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kling_async
from kling_async import RawTask, convert, v1, v2
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.prices import estimate
from kling_async.v2.models import FIRST_NAMES, models_of
from kling_async.wire.checks import check, to_wire
from kling_async.wire.fields import fields
from tests.reference import V2

URL: Final = "https://a.example/x.png"
CLIP: Final = "https://a.example/x.mp4"
SHOTS: Final = (v1.Shot(index=1, prompt="a door", duration=3), v1.Shot(index=2, prompt="a; hand", duration=2))


def test_the_models_are_the_reference_s() -> None:
    """Every model that both generations have is renamed, and lives at the family of its request."""
    names = {facts["v1_name"]: name for name, facts in V2["models"].items() if "v1_name" in facts}
    assert names == FIRST_NAMES
    known = {model for family in ("text_to_video", "omni_video") for model in models_of(f"v2.{family}")}
    assert set(FIRST_NAMES.values()) <= known


CASES: Final[list[tuple[Any, Any, list[str]]]] = [
    (
        v1.TextToVideo(prompt="x", mode="pro", duration=10, aspect_ratio="9:16", sound=True),
        v2.TextToVideo(
            prompt="x", resolution="1080p", duration=10, aspect_ratio="9:16", audio="native", multi_shot=False
        ),
        [],
    ),
    (
        v1.TextToVideo(
            prompt="x", model_name="kling-v2-5-turbo", sound=False, negative_prompt="y", cfg_scale=0.5
        ),
        v2.TextToVideo(prompt="x", model_name="kling-2.5-turbo"),
        ["negative_prompt", "cfg_scale"],
    ),
    (
        v1.TextToVideo(
            prompt="x",
            model_name="kling-v2-6",
            extra={"fps": 30},
            watermark_info=v1.WatermarkInfo(enabled=True),
        ),
        v2.TextToVideo(prompt="x", model_name="kling-2.6", watermark=True),
        ["extra['fps']"],
    ),
    (
        v1.TextToVideo(multi_shot=True, shot_type="customize", multi_prompt=SHOTS),
        v2.TextToVideo(prompt="shot 1, 3, a door; shot 2, 2, a, hand;", multi_shot=True),
        ["multi_prompt[1].prompt"],
    ),
    (
        v1.TextToVideo(prompt="x", multi_shot=True, shot_type="intelligence"),
        v2.TextToVideo(prompt="x", multi_shot=True),
        ["shot_type"],
    ),
    (
        v1.ImageToVideo(
            image=URL,
            image_tail=URL,
            prompt="<<<element_1>>>smiles at <<<element_2>>>",
            element_list=(
                v1.ElementRef(element_id=7),
                v1.ElementRef(element_id=8),
            ),
        ),
        v2.ImageToVideo(
            first_frame=URL,
            last_frame=URL,
            prompt="@element_1 smiles at @element_2",
            elements=(
                v2.NamedElement(element_id="7", id="element_1"),
                v2.NamedElement(element_id="8", id="element_2"),
            ),
            multi_shot=False,
        ),
        [],
    ),
    (
        v1.ImageToVideo(
            image=URL,
            prompt="<<<voice_1>>> talks",
            model_name="kling-v2-6",
            mode="pro",
            sound=True,
            voice_list=(v1.VoiceRef(voice_id="7"),),
        ),
        v2.ImageToVideo(
            first_frame=URL,
            prompt="@voice_1 talks",
            model_name="kling-2.6",
            resolution="1080p",
            audio="native",
            voices=(v2.NamedVoice(voice_id="7", id="voice_1"),),
        ),
        [],
    ),
    (
        v1.OmniVideo(
            prompt="<<<image_2>>> beside <<<element_1>>>",
            aspect_ratio="1:1",
            image_list=(
                v1.OmniVideoImage(image_url=URL, type="first_frame"),
                v1.OmniVideoImage(image_url=URL),
                v1.OmniVideoImage(image_url=URL, type="end_frame"),
            ),
            element_list=(v1.ElementRef(element_id=7),),
        ),
        v2.OmniVideo(
            prompt="@image_2 beside @element_1",
            resolution="1080p",
            aspect_ratio="1:1",
            multi_shot=False,
            first_frame=v2.NamedImage(url=URL, id="image_1"),
            refer_images=(v2.NamedImage(url=URL, id="image_2"),),
            last_frame=v2.NamedImage(url=URL, id="image_3"),
            elements=(v2.NamedElement(element_id="7", id="element_1"),),
        ),
        [],
    ),
    (
        v1.OmniVideo(
            prompt="<<<video_1>>>",
            mode="std",
            video_list=(v1.OmniVideoClip(video_url=CLIP, keep_original_sound=True),),
        ),
        v2.OmniVideo(
            prompt="@video_1",
            resolution="720p",
            audio="original",
            multi_shot=False,
            base_video=v2.NamedVideo(url=CLIP, id="video_1"),
        ),
        [],
    ),
    (
        v1.OmniVideo(
            prompt="x",
            aspect_ratio="1:1",
            video_list=(v1.OmniVideoClip(video_url=CLIP, refer_type="feature", keep_original_sound=True),),
        ),
        v2.OmniVideo(
            prompt="x",
            resolution="1080p",
            aspect_ratio="1:1",
            duration=5,
            feature_video=v2.NamedVideo(url=CLIP, id="video_1"),
        ),
        ["video_list[0].keep_original_sound", "multi_shot"],
    ),
    (
        v1.OmniVideo(
            prompt="x",
            model_name="kling-video-o1",
            video_list=(v1.OmniVideoClip(video_url=CLIP, refer_type="feature", keep_original_sound=True),),
        ),
        v2.OmniVideo(
            prompt="x",
            model_name="kling-o1",
            resolution="1080p",
            audio="original",
            duration=5,
            feature_video=v2.NamedVideo(url=CLIP, id="video_1"),
        ),
        [],
    ),
    (
        v1.MotionControl(
            image_url=URL,
            video_url=CLIP,
            character_orientation="video",
            mode="pro",
            keep_original_sound=False,
            element_list=(v1.ElementRef(element_id=7),),
        ),
        v2.MotionControl(
            image=URL,
            video=CLIP,
            character_orientation="video",
            resolution="1080p",
            audio="off",
            element=v2.NamedElement(element_id="7", id="element_1"),
        ),
        [],
    ),
]


@pytest.mark.parametrize(("old", "new", "lost"), CASES)
def test_a_request_is_converted(old: Any, new: Any, lost: list[str]) -> None:
    """Every field of the map; what has no counterpart is told; the result passes our check."""
    made = convert.to_v2(old)
    assert made.request == new
    assert [problem.field for problem in made.lost] == lost
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        check(made.request)


@pytest.mark.parametrize("old", [old for old, _, lost in CASES if not lost])
def test_a_request_that_loses_nothing_costs_the_same(old: Any) -> None:
    """The prices of both generations agree where the models do."""
    ours, theirs = estimate(old), estimate(convert.to_v2(old).request)
    assert (ours.units, ours.pool) == (theirs.units, theirs.pool)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (v1.ImageGeneration(prompt="x"), "request"),
        (v1.TextToSpeech(text="x", voice_id="y", voice_language="en"), "request"),
        (RawTask(path="/v1/x", body={}), "request"),
        (v2.TextToVideo(prompt="x"), "request"),
        (v1.TextToVideo(prompt="x", model_name="kling-v1"), "model_name"),
        (v1.ImageToVideo(image_tail=URL, prompt="x"), "image"),
    ],
)
def test_what_has_no_counterpart_is_refused(request_: Any, field: str) -> None:
    """Products and models of the first generation alone, and an end frame alone."""
    with pytest.raises(RequestInvalid) as caught:
        convert.to_v2(request_)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_no_field_is_lost_in_silence() -> None:
    """Each field of a request of v1 that is set changes the new request, or is told as lost."""
    values: dict[str, Any] = {
        "mode": "pro", "duration": 10, "aspect_ratio": "1:1", "negative_prompt": "y", "sound": True,
        "multi_shot": True, "cfg_scale": 0.1, "image_tail": URL,
        "watermark_info": v1.WatermarkInfo(enabled=True),
        "camera_control": v1.CameraControl(type="down_back"), "static_mask": URL, "model_name": "kling-v2-6",
        "dynamic_masks": [v1.DynamicMask(mask=URL, trajectories=(v1.TrajectoryPoint(x=1, y=1),) * 2)],
        "element_list": [v1.ElementRef(element_id=7)], "voice_list": [v1.VoiceRef(voice_id="7")],
        "image_list": [v1.OmniVideoImage(image_url=URL)], "video_list": [v1.OmniVideoClip(video_url=CLIP)],
        "keep_original_sound": False, "prompt": "other", "image": "https://a.example/y", "extra": {"a": 1},
        "image_url": "https://a.example/y", "video_url": "https://a.example/y",
        "character_orientation": "image",
    }  # fmt: skip
    omni = {"model_name": "kling-video-o1", "mode": "std"}
    shots = {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}
    plain = {
        v1.TextToVideo: v1.TextToVideo(prompt="x"),
        v1.ImageToVideo: v1.ImageToVideo(prompt="x", image=URL),
        v1.OmniVideo: v1.OmniVideo(prompt="x"),
        v1.MotionControl: v1.MotionControl(
            image_url=URL, video_url=CLIP, character_orientation="video", mode="std"
        ),
    }
    for kind, request in plain.items():
        before = convert.to_v2(request)
        for field in fields(kind):
            change = {field.name: values.get(field.name)}
            if field.name in ("shot_type", "multi_prompt"):
                change = shots
            if kind is v1.OmniVideo and field.name in omni:
                change = {field.name: omni[field.name]}
            made: Any = kind
            after = convert.to_v2(made(**{**msgspec.structs.asdict(request), **change}))
            assert after != before, (kind, field.name)


@given(
    st.text("<>@ab_1 ", max_size=12),
    st.sampled_from(["image", "element", "voice", "video"]),
    st.text("ab_ ;", max_size=3),
)
def test_names_in_prompts_are_renamed_and_nothing_else(before: str, word: str, after: str) -> None:
    """A name stands apart from the word that follows it; all other text stays as it is."""
    assert convert.renamed(before) == before
    made = convert.renamed(f"{before}<<<{word}_2>>>{after}")
    assert made.startswith(f"{before}@{word}_2")
    rest = made[len(f"{before}@{word}_2") :]
    assert rest == (f" {after}" if after[:1] in ("a", "b", "_") else after)


def test_it_has_a_public_name() -> None:
    """``kling_async.convert.to_v2``, and what it gives can be sent."""
    made = kling_async.convert.to_v2(v1.TextToVideo(prompt="x"))
    assert to_wire(made.request, str) == {"prompt": "x", "settings": {"multi_shot": False}}
