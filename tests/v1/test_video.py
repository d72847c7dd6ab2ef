"""Text to video: what is sent, what comes back, and each rule over several fields."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import pytest

from kling_async import v1
from kling_async.catalog import endpoint_of
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_envelope, decode_task
from kling_async.v1 import capabilities
from kling_async.wire.checks import check, to_wire
from kling_async.wire.requests import File
from tests.golden import golden

GOLDEN = golden("text_to_video")
SHOTS = (
    v1.Shot(index=1, prompt="A door opens", duration=2),
    v1.Shot(index=2, prompt="A cat walks in", duration=3),
)
CAMERA = v1.CameraControl(type="simple", config=v1.CameraConfig(zoom=1))

REQUESTS = {
    "least": v1.TextToVideo(prompt="A paper boat drifts down a rain gutter"),
    "vendor's example": v1.TextToVideo(
        model_name="kling-v2-6",
        prompt="A paper boat drifts down a rain gutter",
        mode="pro",
        sound=True,
        duration=5,
        aspect_ratio="16:9",
    ),
    "every plain field": v1.TextToVideo(
        model_name="kling-v1-6",
        multi_shot=False,
        prompt="A fox",
        negative_prompt="rain",
        sound=False,
        cfg_scale=0.7,
        mode="pro",
        aspect_ratio="9:16",
        duration=10,
        watermark_info=v1.WatermarkInfo(enabled=True),
    ),
    "zero is sent": v1.TextToVideo(
        prompt="A fox", cfg_scale=0, watermark_info=v1.WatermarkInfo(enabled=False)
    ),
    "shots one by one": v1.TextToVideo(
        multi_shot=True, shot_type="customize", multi_prompt=SHOTS, prompt="", duration=5
    ),
    "shots cut by the model": v1.TextToVideo(
        multi_shot=True, shot_type="intelligence", prompt="A cat comes home", duration=15, mode="4k"
    ),
    "camera, simple": v1.TextToVideo(
        model_name="kling-v1",
        prompt="A fox",
        camera_control=v1.CameraControl(type="simple", config=v1.CameraConfig(horizontal=0, zoom=-2.5)),
    ),
    "camera, composed": v1.TextToVideo(
        model_name="kling-v1", prompt="A fox", camera_control=v1.CameraControl(type="down_back")
    ),
    "empty is left out": v1.TextToVideo(prompt="A fox", negative_prompt="", duration=None, extra={}),
    "extra wins": v1.TextToVideo(
        prompt="A fox", extra={"model_name": "kling-v3-turbo", "seed": 7, "nested": {"deep": [1, None]}}
    ),
}


def refusal(request: Any) -> list[tuple[str, str]]:
    """The problems of a request that must be refused."""
    with pytest.raises(RequestInvalid) as caught:
        check(request)
    return [(problem.field, problem.text) for problem in caught.value.problems]


def doubts(request: Any) -> list[str]:
    """What is warned about a request that must pass."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
    assert all(issubclass(w.category, KlingWarning) for w in caught)
    return [str(w.message) for w in caught]


# --- the wire ----------------------------------------------------------------------------------


def test_there_is_a_request_for_every_golden_body() -> None:
    """No golden body goes untested."""
    assert sorted(REQUESTS) == sorted(GOLDEN["requests"])


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON: names, forms, nesting, and what is left out."""
    body = msgspec.json.decode(msgspec.json.encode(to_wire(REQUESTS[case], str)))
    assert body == GOLDEN["requests"][case]


@pytest.mark.parametrize("case", REQUESTS)
def test_what_the_vendor_writes_passes_the_check(case: str) -> None:
    """Every golden request is acceptable; only the retired models are warned about."""
    retired = REQUESTS[case].model_name in capabilities.RETIRED_VIDEO
    assert len(doubts(REQUESTS[case])) == (1 if retired else 0)


def answer(case: str) -> Any:
    """The typed result in a golden answer."""
    data = decode_envelope(msgspec.json.encode(GOLDEN["answers"][case])).data
    return result_of(endpoint_of(v1.TextToVideo), decode_task("text_to_video", data))


def test_a_finished_task_is_read() -> None:
    """Id, address and length of the video; an empty watermark address is no file."""
    result = answer("finished")
    video = v1.Video(id="743211632612511839", url="https://example.com/videos-url.mp4", duration="5.041")
    assert result.videos == (video,)
    assert result.files() == (File("https://example.com/videos-url.mp4", ".mp4", "0"),)
    assert result.files(watermarked=True) == ()


def test_a_watermarked_copy_stands_beside_the_clean_one() -> None:
    """``files`` gives the one or the other, with the whole signed address, which no repr shows."""
    result = answer("finished, watermarked")
    assert result.files() == (File("https://example.com/v.mp4?sig=SECRET", ".mp4", "0"),)
    assert result.files(watermarked=True) == (File("https://example.com/w.mp4?sig=SECRET", ".mp4", "0"),)
    assert "SECRET" not in repr(result)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("5.041", 5.041), ("5", 5), (5, 5), (4.5, 4.5), (None, None), ("", None), ("5s", None)],
)
def test_the_length_is_a_number_if_the_vendor_gave_one(
    duration: str | float | None, seconds: float | None
) -> None:
    """Text of a number, or a number; anything else is unknown, not an error."""
    assert v1.Video(duration=duration).seconds == seconds


# --- rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [None, "", "  \n"])
@pytest.mark.parametrize(
    "others",
    [{}, {"multi_shot": True, "shot_type": "intelligence"}, {"multi_shot": False}],
    ids=["single", "intelligence", "not several"],
)
def test_a_prompt_is_needed(prompt: str | None, others: dict[str, Any]) -> None:
    """Unless the shots are given one by one."""
    assert refusal(v1.TextToVideo(prompt=prompt, **others)) == [("prompt", "must not be empty")]


def test_a_prompt_beside_shots_is_doubted() -> None:
    """The vendor ignores it: that is told, once, and passes."""
    request = v1.TextToVideo(
        prompt="A fox", multi_shot=True, shot_type="customize", multi_prompt=SHOTS, duration=5
    )
    ignored = "TextToVideo.prompt: is ignored by the vendor when shot_type is 'customize'"
    assert doubts(request) == [ignored]
    assert doubts(request) == []


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"prompt": "A fox"},
            [("shot_type", "is required with multi_shot; 'customize' or 'intelligence'")],
            id="no type",
        ),
        pytest.param(
            {"shot_type": "customize"},
            [("multi_prompt", "is required when shot_type is 'customize'")],
            id="no shots",
        ),
        pytest.param(
            {"shot_type": "customize", "multi_prompt": SHOTS, "duration": 6},
            [("multi_prompt", "the shots last 5 s together; duration is 6 s")],
            id="too short together",
        ),
        pytest.param(
            {"shot_type": "customize", "multi_prompt": SHOTS[::-1]},
            [("multi_prompt", "indexes are [2, 1]; they must count from 1 without gaps")],
            id="out of order, with the default duration",
        ),
        pytest.param(
            {"shot_type": "customize", "multi_prompt": (v1.Shot(index=2, prompt="x", duration=7),)},
            [
                ("multi_prompt", "the shots last 7 s together; duration is 5 s"),
                ("multi_prompt", "indexes are [2]; they must count from 1 without gaps"),
            ],
            id="both",
        ),
    ],
)
def test_several_shots_must_fit_together(values: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """A type; given one by one the shots count from 1 and fill the duration exactly."""
    assert refusal(v1.TextToVideo(multi_shot=True, **values)) == problems


@pytest.mark.parametrize("multi_shot", [None, False])
@pytest.mark.parametrize(
    ("name", "value"), [("shot_type", "intelligence"), ("multi_prompt", SHOTS)], ids=["type", "shots"]
)
def test_shots_without_several_are_doubted(multi_shot: bool | None, name: str, value: Any) -> None:
    """The vendor ignores them then; so the caller should know."""
    request = v1.TextToVideo(prompt="A fox", multi_shot=multi_shot, **{name: value})
    assert doubts(request) == [f"TextToVideo.{name}: is ignored by the vendor unless multi_shot is True"]


@pytest.mark.parametrize(
    ("camera", "text"),
    [
        pytest.param({"type": "simple"}, "exactly one movement must not be 0; 0 are not", id="no config"),
        pytest.param(
            {"type": "simple", "config": v1.CameraConfig(pan=0)},
            "exactly one movement must not be 0; 0 are not",
            id="no movement",
        ),
        pytest.param(
            {"type": "simple", "config": v1.CameraConfig(pan=1, zoom=-10)},
            "exactly one movement must not be 0; 2 are not",
            id="two movements",
        ),
        *(
            pytest.param(
                {"type": kind, "config": v1.CameraConfig(pan=1)},
                f"must be left out when type is {kind!r}",
                id=f"config with {kind}",
            )
            for kind in ("down_back", "forward_up", "right_turn_forward", "left_turn_forward")
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
def test_the_camera_moves_once(camera: dict[str, Any], text: str) -> None:
    """A simple movement is exactly one; composed ones take no config."""
    request = v1.TextToVideo(model_name="kling-v1", prompt="A fox", camera_control=v1.CameraControl(**camera))
    assert refusal(request) == [("camera_control.config", text)]


# --- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param(
            {"model_name": "kling-v2-6", "mode": "4k"},
            ("mode", "kling-v2-6 offers pro, std, not 4k"),
            id="mode",
        ),
        pytest.param(
            {"model_name": "kling-v2-5-turbo", "duration": 7},
            ("duration", "kling-v2-5-turbo offers 5, 10 s, not 7"),
            id="duration",
        ),
        pytest.param(
            {"model_name": "kling-v2-6", "sound": True},
            ("sound", "kling-v2-6 in mode std at 5 s has no sound"),
            id="feature, in the default mode",
        ),
        pytest.param(
            {"camera_control": CAMERA, "mode": "pro", "duration": 15},
            ("camera_control", "kling-v3 in mode pro at 15 s has no camera_control"),
            id="feature, in this mode",
        ),
        pytest.param(
            {"model_name": "kling-v2-6", "cfg_scale": 0},
            ("cfg_scale", "kling-v2-6 in mode std at 5 s has no cfg_scale"),
            id="feature set to zero",
        ),
    ],
)
def test_a_known_model_is_held_to_what_it_offers(values: dict[str, Any], problem: tuple[str, str]) -> None:
    """Mode, then duration, then features; the text says what the model does offer."""
    assert refusal(v1.TextToVideo(prompt="A fox", **values)) == [problem]


def test_every_feature_that_is_missing_is_named() -> None:
    """One check names them all."""
    request = v1.TextToVideo(
        model_name="kling-v2-5-turbo", prompt="x", sound=True, cfg_scale=1, camera_control=CAMERA
    )
    assert [field for field, _ in refusal(request)] == ["sound", "camera_control", "cfg_scale"]


def test_what_no_good_source_confirms_is_only_doubted() -> None:
    """4k of kling-v3 is listed by weak sources: what it seems to lack warns and passes."""
    text = "TextToVideo.camera_control: kling-v3 in mode 4k at 5 s has no camera_control"
    assert doubts(v1.TextToVideo(prompt="A fox", mode="4k", camera_control=CAMERA)) == [text]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("kling-v9", "'kling-v9' is not known here; the vendor will judge it"),
        (
            "kling-v2-1",
            (
                "'kling-v2-1' was announced to end on 2026-09-15, and is a model of image_to_video, "
                "image_generation, multi_image_to_image; "
                "text_to_video knows kling-v2-5-turbo, kling-v2-6, kling-v3"
            ),
        ),
        ("kling-v1-6", "'kling-v1-6' was announced to end on 2026-09-15"),
    ],
)
def test_unknown_and_retired_models_warn_once_and_pass(model: str, text: str) -> None:
    """The vendor has the last word on names that it changes monthly."""
    request = v1.TextToVideo(model_name=model, prompt="A fox")
    assert doubts(request) == [f"TextToVideo.model_name: {text}"]
    assert doubts(request) == []
    assert to_wire(request, str)["model_name"] == model


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
@pytest.mark.parametrize("model", ["", " "])
def test_a_model_is_always_named(model: str) -> None:
    """An empty model is refused: else the vendor's own default, a retired model, would apply."""
    assert refusal(v1.TextToVideo(model_name=model, prompt="A fox")) == [("model_name", "must not be empty")]
