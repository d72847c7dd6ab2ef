"""What only the vendor can know: every rule that is not sure, and that it warns instead of refusing."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from kling_async import v1
from kling_async.errors import KlingWarning
from kling_async.wire.checks import Doubt, check

PICTURE: Final = "https://a.example/p.png"
CLIP: Final = "https://a.example/v.mp4"
SOUND: Final = "https://a.example/s.mp3"
CUSTOMIZED: Final[Any] = {
    "multi_shot": True,
    "shot_type": "customize",
    "multi_prompt": (v1.Shot(index=1, prompt="a fox", duration=5),),
}
SHOTS: Final = CUSTOMIZED["multi_prompt"]
ONE_MOVE: Final = v1.CameraControl(type="simple", config=v1.CameraConfig(zoom=1))


def of_text(**values: Any) -> v1.TextToVideo:
    return v1.TextToVideo(**dict[str, Any](prompt="a fox") | values)


def of_image(**values: Any) -> v1.ImageToVideo:
    return v1.ImageToVideo(prompt="a fox", image=PICTURE, **values)


def omni(**values: Any) -> v1.OmniVideo:
    return v1.OmniVideo(**dict[str, Any](prompt="a fox", aspect_ratio="16:9") | values)


def base(**values: Any) -> v1.OmniVideo:
    """One that edits a video."""
    clips = (v1.OmniVideoClip(video_url=CLIP, refer_type="base"),)
    return v1.OmniVideo(prompt="a fox", video_list=clips, **values)


def effect(scene: str = "happy_birthday", watermark: Any = None, **values: Any) -> v1.VideoEffects:
    given = v1.EffectInput(image=PICTURE, **values)
    return v1.VideoEffects(effect_scene=scene, input=given, watermark_info=watermark)


def image(**values: Any) -> v1.ImageGeneration:
    return v1.ImageGeneration(prompt="a fox", **values)


def element(**values: Any) -> v1.CustomElement:
    views = v1.ElementImages(frontal_image=PICTURE, refer_images=(v1.ReferImage(image_url=PICTURE),))
    return v1.CustomElement(
        element_name="Ann",
        element_description="A walker",
        reference_type="image_refer",
        element_image_list=views,
        **values,
    )


def bills(key: str, value: str) -> v1.AccountBillingPackage:
    filters = (v1.BillingFilter(key=key, values=(value,)),)
    return v1.AccountBillingPackage(start_time=0, end_time=1, filters=filters)


def speech(voice_id: str, **values: Any) -> v1.TextToSpeech:
    return v1.TextToSpeech(text="hello", voice_id=voice_id, voice_language="en", **values)


def lips(**values: Any) -> v1.LipSync:
    """One that speaks a sound."""
    values = {"audio_type": "url", "audio_url": SOUND, **values}
    return v1.LipSync(input=v1.LipSyncInput(video_id="1", mode="audio2video", **values))


FRAME: Final = (v1.OmniVideoImage(image_url=PICTURE, type="first_frame"),)


class Case(NamedTuple):
    """A request about which the vendor alone is sure."""

    request: Any
    field: str
    says: str
    """A piece of the warning."""


DOUBTS: Final = {
    # models
    "a model that ended": Case(of_text(model_name="kling-v1"), "model_name", "to end on 2026-09-15"),
    "a model that ended, of pictures": Case(
        image(model_name="kling-v2"), "model_name", "to end on 2026-09-15"
    ),
    "the only model of an edit ended": Case(
        v1.MultiElements(
            model_name="kling-v1-6", session_id="1", edit_mode="removal", prompt="<<<video_1>>>"
        ),
        "model_name",
        "to end on 2026-09-15",
    ),
    "a model of another endpoint": Case(
        of_text(model_name="kling-v3-omni"), "model_name", "is a model of omni_video"
    ),
    "an unknown model": Case(of_text(model_name="kling-v9"), "model_name", "not known here"),
    "an unknown model to try on": Case(
        v1.VirtualTryOn(model_name="kolors-9", human_image=PICTURE, cloth_image=PICTURE),
        "model_name",
        "not known here",
    ),
    "what sources disagree on": Case(of_image(camera_control=ONE_MOVE), "camera_control", "disagree"),
    "a row of the map that nobody confirms": Case(
        of_image(mode="4k", camera_control=ONE_MOVE), "camera_control", "has no camera_control"
    ),
    # shots and prompts
    "a prompt beside shots": Case(of_text(**CUSTOMIZED), "prompt", "is ignored"),
    "a type of shots without shots": Case(
        of_text(shot_type="intelligence"), "shot_type", "unless multi_shot"
    ),
    "shots without multi_shot": Case(of_text(multi_prompt=SHOTS), "multi_prompt", "unless multi_shot"),
    "shots that the model cuts itself": Case(
        of_text(multi_shot=True, shot_type="intelligence", multi_prompt=SHOTS),
        "multi_prompt",
        "when shot_type is 'intelligence'",
    ),
    "a name that means nothing here": Case(of_text(prompt="<<<image_1>>>"), "prompt", "is plain text here"),
    # omni video
    "frames with shots": Case(
        v1.OmniVideo(image_list=FRAME, **CUSTOMIZED), "image_list", "together with multi_shot"
    ),
    "the length of an edited video": Case(base(duration=7), "duration", "keeps its length"),
    "the lengths of one model": Case(
        omni(model_name="kling-video-o1", duration=7), "duration", "5 or 10 s of a text"
    ),
    "shots beside a video": Case(
        base(model_name="kling-v3-omni", multi_shot=True, shot_type="intelligence"),
        "multi_shot",
        "beside a video",
    ),
    "an end frame beside a video": Case(
        v1.OmniVideo(
            prompt="a fox",
            image_list=(*FRAME, v1.OmniVideoImage(image_url=PICTURE, type="end_frame")),
            video_list=(v1.OmniVideoClip(video_url=CLIP, refer_type="feature"),),
        ),
        "image_list",
        "an end frame was refused",
    ),
    "the shape of a first frame": Case(omni(image_list=FRAME), "aspect_ratio", "keeps its shape"),
    "the shape of an edited video": Case(base(aspect_ratio="1:1"), "aspect_ratio", "keeps its shape"),
    "no shape": Case(omni(aspect_ratio=None), "aspect_ratio", "the vendor's page asks for it"),
    # the other videos
    "videos that can be extended": Case(
        v1.VideoExtend(video_id="1"), "video_id", "kling-v1-6 can be extended"
    ),
    "an effect that left the lists": Case(effect("pet_vlogger"), "effect_scene", "newest lists"),
    "an unknown effect": Case(effect("moon_walk"), "effect_scene", "not known here"),
    "the model of an effect": Case(effect(model_name="kling-v1-6"), "input.model_name", "fixes it"),
    "the mode of an effect": Case(effect(mode="std"), "input.mode", "the scene fixes it"),
    "the length of an effect": Case(effect(duration=5), "input.duration", "the scene fixes it"),
    "the watermark of an effect": Case(
        effect(watermark=v1.WatermarkInfo(enabled=True)), "watermark_info", "not on the vendor's page"
    ),
    # speech
    "a text beside a sound": Case(lips(text="hello"), "input.text", "belongs to mode 'text2video'"),
    "an unknown voice": Case(speech("nobody"), "voice_id", "not known here"),
    "a voice that was refused": Case(speech("reader_en_m-v1"), "voice_id", "refused in 2026"),
    "a speed that is rounded": Case(speech("oversea_male1", voice_speed=1.25), "voice_speed", "is rounded"),
    # pictures
    "a fidelity that is not read": Case(
        image(model_name="kling-v2-1", image=PICTURE, human_fidelity=0.5), "human_fidelity", "is read only"
    ),
    "a fidelity of another model": Case(image(image_fidelity=0.5), "image_fidelity", "for kling-v2-1"),
    "elements of another model": Case(
        image(model_name="kling-v2-1", element_list=(v1.ElementRef(element_id=1),)),
        "element_list",
        "may not offer it",
    ),
    "a negative prompt in a sample only": Case(
        v1.MultiImageToImage(
            subject_image_list=(v1.SubjectImage(subject_image=PICTURE),), negative_prompt="rain"
        ),
        "negative_prompt",
        "not described",
    ),
    "the number of a series": Case(
        v1.OmniImage(prompt="a fox", aspect_ratio="1:1", result_type="series", n=2), "n", "is ignored"
    ),
    "the length of no series": Case(
        v1.OmniImage(prompt="a fox", aspect_ratio="1:1", series_amount=2), "series_amount", "is ignored"
    ),
    "no shape for a text alone": Case(v1.OmniImage(prompt="a fox"), "aspect_ratio", "may not be 'auto'"),
    # elements, voices, bills
    "material of the other kind": Case(
        element(element_video_list=v1.ElementVideos(refer_videos=(v1.ReferVideo(video_url=CLIP),))),
        "element_video_list",
        "is ignored",
    ),
    "an unknown tag": Case(
        element(tag_list=(v1.ElementTag(tag_id="o_9"),)), "tag_list[0].tag_id", "not known"
    ),
    "a voice from two sources": Case(
        v1.CustomVoice(voice_name="Ann", voice_url=SOUND, video_id="1"), "video_id", "beside voice_url"
    ),
    "an unknown filter": Case(bills("colour", "red"), "filters[0].key", "not known here"),
    "an unknown product": Case(bills("product_type", "song"), "filters[0].values", "is none of video"),
}
"""Every doubt of this generation, each by a request that has no other."""


def warned(request: Any) -> list[str]:
    """What is warned about a request, which passes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
    assert all(warning.category is KlingWarning for warning in caught)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("case", DOUBTS.values(), ids=DOUBTS)
def test_a_doubt_warns_once_and_passes(case: Case) -> None:
    """The request passes with just one warning, which names the field; a second time it passes in silence."""
    [text] = warned(case.request)
    assert text.startswith(f"{type(case.request).__name__}.{case.field}: ") and case.says in text
    assert warned(case.request) == []


def test_each_word_warns_for_itself() -> None:
    """Two unknown models are two warnings, however often and in whatever order they are asked for."""
    models = ["kling-v8", "kling-v9", "kling-v8", "kling-v9"]
    texts = [text for model in models for text in warned(of_text(model_name=model))]
    assert [text.split("'")[1] for text in texts] == ["kling-v8", "kling-v9"]


def modules() -> list[Any]:
    """All modules of requests."""
    found = pkgutil.walk_packages(v1.__path__, "kling_async.v1.")
    return [importlib.import_module(module.name) for module in found]


def places(module: Any) -> set[tuple[str, int, int]]:
    """Where a module doubts: file, first and last line."""
    path = inspect.getfile(module)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    doubts = (call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Doubt")
    return {(path, call.lineno, call.end_lineno or call.lineno) for call in doubts}


def test_the_table_has_every_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place in the source that doubts is reached by a request of the table."""
    met: set[tuple[str, int]] = set()

    def noted(field: str, text: str) -> Doubt:
        caller = sys._getframe(1)
        met.add((caller.f_code.co_filename, caller.f_lineno))
        return Doubt(field, text)

    for module in modules():
        if hasattr(module, "Doubt"):
            monkeypatch.setattr(module, "Doubt", noted)
    for case in DOUBTS.values():
        warned(case.request)

    everywhere = {place for module in modules() for place in places(module)}
    reached = {
        (path, first, last)
        for path, first, last in everywhere
        if any(file == path and first <= line <= last for file, line in met)
    }
    assert len(everywhere) > 30
    assert everywhere - reached == set()
