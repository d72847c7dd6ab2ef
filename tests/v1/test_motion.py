"""Motion control and extension: each rule over several fields."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.errors import RequestInvalid
from tests.v1.judging import doubted, refused

ELEMENT = (v1.ElementRef(element_id=1),)
V2_6 = {"model_name": "kling-v2-6"}
SOURCES = (
    "only videos of kling-v1, kling-v1-5 and kling-v1-6 can be extended; these models were announced "
    "to end on 2026-09-15"
)


def motion(**values: Any) -> v1.MotionControl:
    """A request of least fields."""
    least: dict[str, Any] = {"image_url": b"x", "video_url": "https://a.example/v.mp4", "mode": "std"}
    least["character_orientation"] = "video"
    return v1.MotionControl(**least | values)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"element_list": ELEMENT, "character_orientation": "image"},
            [("character_orientation", "must be 'video' with element_list")],
            id="an element that faces as the image",
        ),
        pytest.param(
            {"element_list": ELEMENT * 2}, [("element_list", "has 2 entries; at most 1")], id="two elements"
        ),
        pytest.param(
            {"mode": "4k"},
            [("mode", "'4k' is not one of 'pro', 'std'")],
            id="4k",
        ),
        pytest.param({"mode": ""}, [("mode", "must not be empty")], id="no mode"),
        pytest.param(
            {"character_orientation": None}, [("character_orientation", "must not be empty")], id="no facing"
        ),
        pytest.param(
            {"video_url": b"x"},
            [
                (
                    "video_url",
                    "takes the address of a video, not the file itself: put it where the API can fetch it",
                )
            ],
            id="a video's bytes",
        ),
    ],
)
def test_what_is_certain_is_refused(values: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Facing, elements, mode and files; each with the words a caller reads."""
    assert refused(motion(**values)) == problems


@pytest.mark.parametrize(
    "values",
    [
        {"element_list": ELEMENT},
        {"character_orientation": "image", "element_list": ()},
        {"mode": "pro", **V2_6},
    ],
    ids=["an element", "no element", "the older model"],
)
def test_what_just_fits_is_accepted(values: dict[str, Any]) -> None:
    """The nearest neighbours of what is refused above and doubted below pass in silence."""
    assert doubted(motion(**values)) == []


@pytest.mark.parametrize(
    ("request_", "doubt"),
    [
        pytest.param(
            motion(**V2_6, element_list=ELEMENT),
            ("element_list", "kling-v2-6 in mode std may not have it: the vendor's sources disagree"),
            id="an element of the older model",
        ),
        pytest.param(
            motion(prompt="<<<element_1>>> jumps", element_list=ELEMENT),
            (
                "prompt",
                "<<<element_1>>> is plain text here: the vendor documents no such name for this endpoint",
            ),
            id="a name in the prompt",
        ),
        pytest.param(
            v1.VideoExtend(video_id="1"),
            ("video_id", SOURCES),
            id="an extension",
        ),
    ],
)
def test_what_only_the_vendor_knows_is_doubted(request_: Any, doubt: tuple[str, str]) -> None:
    """It passes, and is told once."""
    assert doubted(request_) == [doubt]
    assert doubted(request_) == []


@pytest.mark.parametrize("name", ["mode", "character_orientation", "image_url", "video_url"])
def test_motion_control_needs_what_the_vendor_needs(name: str) -> None:
    """Unlike elsewhere the mode has no default: it cannot be left out."""
    least: dict[str, Any] = {"image_url": b"x", "video_url": "https://a.example/v.mp4", "mode": "std"}
    least |= {"character_orientation": "image"}
    del least[name]
    with pytest.raises(TypeError, match=name):
        v1.MotionControl(**least)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"video_id": ""}, ("video_id", "must not be empty")),
        ({"video_id": "1", "cfg_scale": 1.1}, ("cfg_scale", "1.1 is too large; at most 1")),
        ({"video_id": "1", "prompt": "x" * 2501}, ("prompt", "has 2501 characters; at most 2500")),
    ],
)
def test_bounds_of_an_extension_are_kept(values: dict[str, Any], problem: tuple[str, str]) -> None:
    """A video, and the bounds of its fields."""
    assert refused(v1.VideoExtend(**values)) == [problem]


def test_a_text_is_no_file() -> None:
    """A path as a text is refused at once: a text from a stranger opens no file."""
    with pytest.raises(RequestInvalid) as caught:
        motion(image_url="./girl.png")
    assert caught.value.problems[0].field == "image_url"
