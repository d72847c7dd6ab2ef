"""Image to video and multi-image to video: each rule over several fields."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from tests.v1.judging import doubted, refused

CAMERA = v1.CameraControl(type="simple", config=v1.CameraConfig(zoom=1))
ELEMENTS = (v1.ElementRef(element_id=1), v1.ElementRef(element_id=2))
VOICES = (v1.VoiceRef(voice_id="1"),)
PATH = (v1.TrajectoryPoint(x=1, y=2), v1.TrajectoryPoint(x=3, y=4))
MASKS = (v1.DynamicMask(mask=b"x", trajectories=PATH),)
OLD = {"model_name": "kling-v1-5", "mode": "pro"}
UNKNOWN = {"model_name": "kling-v99"}


def clip(**values: Any) -> v1.ImageToVideo:
    """A request of least fields."""
    least: dict[str, Any] = {"image": b"x", "prompt": "A fox"}
    return v1.ImageToVideo(**least | values)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param({"image": None}, [("image", "give image, image_tail or both")], id="no frame"),
        pytest.param({"image": ""}, [("image", "give image, image_tail or both")], id="an empty frame"),
        pytest.param(
            {"image": None, "image_tail": b"x"},
            [("image", "is required: kling-v3 takes no end frame alone in mode std")],
            id="end frame alone",
        ),
        pytest.param(
            {"image": None, "image_tail": b"x", "mode": "4k"},
            [("image", "is required: kling-v3 takes no end frame alone in mode 4k")],
            id="end frame alone in 4k",
        ),
        pytest.param(
            {**OLD, "image_tail": b"x", "static_mask": b"x"},
            [("static_mask", "image_tail and static_mask exclude each other")],
            id="end frame and what stays",
        ),
        pytest.param(
            {**OLD, "dynamic_masks": MASKS, "camera_control": CAMERA},
            [("camera_control", "dynamic_masks and camera_control exclude each other")],
            id="what moves and camera",
        ),
        pytest.param(
            {**OLD, "image_tail": b"x", "dynamic_masks": MASKS, "camera_control": CAMERA},
            [("camera_control", "image_tail and dynamic_masks and camera_control exclude each other")],
            id="all three",
        ),
        pytest.param(
            {"image_tail": b"x", "multi_shot": True, "shot_type": "intelligence"},
            [("image_tail", "is not allowed with multi_shot")],
            id="end frame of several shots",
        ),
        pytest.param(
            {"model_name": "kling-v2-6", "mode": "pro", "image_tail": b"x", "sound": True},
            [("sound", "kling-v2-6 makes no sound with image_tail")],
            id="end frame with sound",
        ),
        pytest.param(
            {**UNKNOWN, "sound": True, "voice_list": VOICES, "element_list": ELEMENTS},
            [("voice_list", "element_list and voice_list exclude each other")],
            id="voices and elements",
        ),
        pytest.param(
            {"model_name": "kling-v2-6", "mode": "pro", "voice_list": VOICES},
            [("sound", "must be True with voice_list")],
            id="voices without sound",
        ),
        pytest.param(
            {**OLD, "camera_control": v1.CameraControl(type="down_back")},
            [("camera_control.type", "kling-v1-5 takes type 'simple' only")],
            id="composed camera",
        ),
        pytest.param(
            {**OLD, "camera_control": v1.CameraControl(type="simple")},
            [("camera_control.config", "exactly one movement must not be 0; 0 are not")],
            id="camera at rest",
        ),
        pytest.param({"prompt": " "}, [("prompt", "must not be empty")], id="no prompt"),
        pytest.param(
            {"multi_shot": True},
            [("shot_type", "is required with multi_shot; 'customize' or 'intelligence'")],
            id="shots without a type",
        ),
        pytest.param(
            {**OLD, "dynamic_masks": (v1.DynamicMask(mask=b"x", trajectories=PATH[:1]),)},
            [("dynamic_masks[0].trajectories", "has 1 entries; at least 2")],
            id="a path of one point",
        ),
        pytest.param(
            {"duration": 16, "sound": "on"},
            [("duration", "16 is too large; at most 15"), ("sound", "must be True or False, not str")],
            id="two fields at once",
        ),
    ],
)
def test_what_is_certain_is_refused(values: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Frames, ways to move, voices and shots; each with the words a caller reads."""
    assert refused(clip(**values)) == problems


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"image": None, "image_tail": b"x", **UNKNOWN}, id="end frame alone, unknown model"),
        pytest.param({"image": None, "image_tail": b"x", **OLD}, id="end frame alone, old model"),
        pytest.param({**OLD, "static_mask": b"x", "dynamic_masks": MASKS}, id="both kinds of masks"),
        pytest.param({**OLD, "camera_control": CAMERA}, id="simple camera"),
        pytest.param({"image_tail": b"x", "sound": True}, id="end frame with the sound of another model"),
        pytest.param({"image_tail": b"x", "multi_shot": False}, id="end frame, one shot"),
        pytest.param(
            {"model_name": "kling-v2-6", "mode": "pro", "sound": True, "voice_list": VOICES}, id="voices"
        ),
        pytest.param({"element_list": ELEMENTS, "voice_list": ()}, id="elements and no voice"),
    ],
)
def test_what_just_fits_is_accepted(values: dict[str, Any]) -> None:
    """The nearest neighbours of what is refused above; nothing but the model's name is doubted."""
    assert {field for field, _ in doubted(clip(**values))} <= {"model_name"}


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        pytest.param(
            {"static_mask": b"x"},
            ("static_mask", "kling-v3 in mode std at 5 s may not have it: the vendor's sources disagree"),
            id="masks on the newest model",
        ),
        pytest.param(
            {"camera_control": CAMERA, "mode": "pro", "duration": 3},
            ("camera_control", "kling-v3 in mode pro at 3 s may not have it: the vendor's sources disagree"),
            id="camera on the newest model",
        ),
        pytest.param(
            {"mode": "4k", "dynamic_masks": MASKS},
            ("dynamic_masks", "kling-v3 in mode 4k at 5 s has no dynamic_masks"),
            id="masks in 4k",
        ),
        pytest.param(
            {"prompt": "<<<image_1>>> runs"},
            (
                "prompt",
                "<<<image_1>>> is plain text here: the vendor documents no such name for this endpoint",
            ),
            id="a name of another endpoint",
        ),
    ],
)
def test_what_only_the_vendor_knows_is_doubted(values: dict[str, Any], doubt: tuple[str, str]) -> None:
    """It passes, and is told once."""
    assert doubted(clip(**values)) == [doubt]
    assert doubted(clip(**values)) == []


# --- names in prompts --------------------------------------------------------------------------

SHOTS = (
    v1.Shot(index=1, prompt="<<<element_2>>> sits", duration=2),
    v1.Shot(index=2, prompt="<<<element_3>>> comes", duration=3),
)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"prompt": "<<<element_3>>> sits", "element_list": ELEMENTS},
            [("prompt", "<<<element_3>>> points to nothing: element_list has 2 entries")],
            id="behind the end",
        ),
        pytest.param(
            {"prompt": "<<<element_0>>> sits, <<<element_0>>> runs", "element_list": ELEMENTS},
            [("prompt", "<<<element_0>>> points to nothing: element_list has 2 entries")],
            id="before the beginning, told once",
        ),
        pytest.param(
            {"prompt": "<<<voice_1>>> sings"},
            [("prompt", "<<<voice_1>>> points to nothing: voice_list has 0 entries")],
            id="no list at all",
        ),
        pytest.param(
            {"prompt": f"<<<element_{'9' * 200}>>>", "element_list": ELEMENTS},
            [("prompt", f"<<<element_{'9' * 200}>>> points to nothing: element_list has 2 entries")],
            id="a number nobody counts to",
        ),
        pytest.param(
            {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS, "element_list": ELEMENTS}
            | {"prompt": None},
            [("multi_prompt[1].prompt", "<<<element_3>>> points to nothing: element_list has 2 entries")],
            id="in a shot",
        ),
    ],
)
def test_a_name_that_points_to_nothing_is_refused(
    values: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    """Counted from 1 in the order of its list, in the text that the vendor reads."""
    assert refused(clip(**values)) == problems


@pytest.mark.parametrize(
    "prompt",
    [
        "<<<element_1>>> and <<<element_2>>>",
        "<<<element_02>>>",
        "<<element_9>>",
        "<<<elements_9>>>",
        "<<<9>>>",
    ],
)
def test_a_name_that_points_somewhere_and_what_is_no_name_pass(prompt: str) -> None:
    """Other words in brackets are the caller's own."""
    assert doubted(clip(prompt=prompt, element_list=ELEMENTS)) == []


# --- multi-image to video ----------------------------------------------------------------------


def several(count: int = 1, **values: Any) -> v1.MultiImageToVideo:
    """A request of least fields."""
    least: dict[str, Any] = {"image_list": (v1.InputImage(image=b"x"),) * count, "prompt": "A dog"}
    return v1.MultiImageToVideo(**least | values)


def test_the_only_model_is_sent_and_doubted() -> None:
    """It has ended, but there is no other: whoever uses the endpoint is told so once."""
    assert several().model_name == v1.MULTI_IMAGE_TO_VIDEO_MODEL == "kling-v1-6"
    assert doubted(several(4)) == [("model_name", "'kling-v1-6' was announced to end on 2026-09-15")]
    assert doubted(several(4)) == []


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        pytest.param(several(0), ("image_list", "has 0 entries; at least 1"), id="no image"),
        pytest.param(several(5), ("image_list", "has 5 entries; at most 4"), id="five images"),
        pytest.param(several(prompt=""), ("prompt", "must not be empty"), id="no prompt"),
        pytest.param(several(duration=7), ("duration", "'7' is not one of 5, 10"), id="length"),
        pytest.param(several(mode="4k"), ("mode", "'4k' is not one of 'pro', 'std'"), id="mode"),
    ],
)
def test_bounds_of_several_images_are_kept(request_: v1.MultiImageToVideo, problem: tuple[str, str]) -> None:
    """One to four images, a prompt, 5 or 10 s, std or pro."""
    assert refused(request_)[:1] == [problem]
