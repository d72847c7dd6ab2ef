"""Omni video: each rule over several fields."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from tests.v1.judging import doubted, refused

O1 = {"model_name": "kling-video-o1"}
PLAIN = v1.OmniVideoImage(image_url=b"x")
START = v1.OmniVideoImage(image_url=b"x", type="first_frame")
END = v1.OmniVideoImage(image_url=b"x", type="end_frame")
ELEMENT = v1.ElementRef(element_id=1)
BASE = (v1.OmniVideoClip(video_url="https://a.example/v.mp4", refer_type="base"),)
UNSAID = (v1.OmniVideoClip(video_url="https://a.example/v.mp4"),)
EMPTY = (v1.OmniVideoClip(video_url="https://a.example/v.mp4", refer_type=""),)  # type: ignore[arg-type]
FEATURE = (v1.OmniVideoClip(video_url="https://a.example/v.mp4", refer_type="feature"),)
SHAPED = {"aspect_ratio": "16:9"}
SHOTS: dict[str, Any] = {
    "prompt": None,
    "multi_shot": True,
    "shot_type": "customize",
    "multi_prompt": (
        v1.Shot(index=1, prompt="A door", duration=2),
        v1.Shot(index=2, prompt="A cat", duration=6),
    ),
}
"""Of eight seconds."""


def omni(**values: Any) -> v1.OmniVideo:
    """A request of least fields."""
    least: dict[str, Any] = {"prompt": "A fox"}
    return v1.OmniVideo(**least | values)


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"image_list": (END,)}, [("image_list", "an end_frame needs a first_frame")], id="end alone"
        ),
        pytest.param(
            {"image_list": (START, START)},
            [("image_list", "takes one first_frame and one end_frame")],
            id="two starts",
        ),
        pytest.param(
            {"image_list": (START,), "video_list": BASE},
            [("image_list", "takes no frames beside an edited video (refer_type 'base')")],
            id="a frame of an edited video",
        ),
        pytest.param(
            {"image_list": (START,), "video_list": UNSAID},
            [("image_list", "takes no frames beside an edited video (refer_type 'base')")],
            id="edited by default",
        ),
        pytest.param(
            {"image_list": (START,), "video_list": EMPTY},
            [("image_list", "takes no frames beside an edited video (refer_type 'base')")],
            id="edited, by an empty word",
        ),
        pytest.param(
            {**O1, "image_list": (START, PLAIN, PLAIN)},
            [("image_list", "kling-video-o1 takes no frames among more than two images")],
            id="o1, a frame among three",
        ),
        pytest.param(
            {**O1, "image_list": (START, END), "element_list": (ELEMENT,)},
            [("element_list", "kling-video-o1 takes no elements beside first_frame and end_frame")],
            id="o1, an element beside both frames",
        ),
        pytest.param(
            {"image_list": (PLAIN,) * 4, "element_list": (ELEMENT,) * 4},
            [("image_list", "images and elements are 8 together; at most 7")],
            id="eight references",
        ),
        pytest.param(
            {"image_list": (PLAIN,) * 3, "element_list": (ELEMENT,) * 2, "video_list": FEATURE},
            [("image_list", "images and elements are 5 together; at most 4 beside a video")],
            id="five references beside a video",
        ),
        pytest.param(
            {"image_list": (START,), "element_list": (ELEMENT,) * 4},
            [("element_list", "has 4 entries; at most 3 beside frames")],
            id="four elements beside a frame",
        ),
        pytest.param(
            {"video_list": FEATURE, "sound": True}, [("sound", "must be off beside a video")], id="sound"
        ),
        pytest.param(
            {"video_list": FEATURE, "duration": 11},
            [("duration", "11 is too large; at most 10 beside a video")],
            id="too long beside a video",
        ),
        pytest.param({"video_list": BASE * 2}, [("video_list", "has 2 entries; at most 1")], id="two videos"),
        pytest.param(
            {"video_list": (v1.OmniVideoClip(video_url=b"x"),)},
            [
                (
                    "video_list[0].video_url",
                    "takes the address of a video, not the file itself: put it where the API can fetch it",
                )
            ],
            id="a video's bytes",
        ),
        pytest.param(
            {"prompt": "<<<image_2>>> <<<video_1>>> <<<element_1>>>", "image_list": (PLAIN,)},
            [
                ("prompt", "<<<image_2>>> points to nothing: image_list has 1 entries"),
                ("prompt", "<<<video_1>>> points to nothing: video_list has 0 entries"),
                ("prompt", "<<<element_1>>> points to nothing: element_list has 0 entries"),
            ],
            id="names that point to nothing",
        ),
        pytest.param({"prompt": None}, [("prompt", "must not be empty")], id="no prompt"),
        pytest.param(
            {"multi_shot": True, "shot_type": "customize"},
            [("multi_prompt", "is required when shot_type is 'customize'")],
            id="no shots",
        ),
        pytest.param(
            {"video_list": FEATURE, **SHOTS},
            [("multi_prompt", "the shots last 8 s together; duration is 5 s")],
            id="shots of another length beside a borrowed video",
        ),
        pytest.param(
            {**O1, "duration": 11},
            [("duration", "kling-video-o1 offers 3, 4, 5, 6, 7, 8, 9, 10 s, not 11")],
            id="o1",
        ),
    ],
)
def test_what_is_certain_is_refused(values: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Frames, references, videos, sound and lengths; each with the words a caller reads."""
    assert refused(omni(**values)) == problems


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"image_list": (START,)}, id="a start"),
        pytest.param({"image_list": (START, END)}, id="start and end"),
        pytest.param({"image_list": (START,), "video_list": FEATURE}, id="a frame beside a borrowed video"),
        pytest.param({**O1, "image_list": (START, PLAIN), "duration": 4}, id="o1, a frame among two"),
        pytest.param({**O1, "image_list": (START,), "element_list": (ELEMENT,)}, id="o1, element and start"),
        pytest.param({**SHAPED, "image_list": (PLAIN,) * 4, "element_list": (ELEMENT,) * 3}, id="seven"),
        pytest.param({"image_list": (PLAIN,) * 4, "video_list": BASE}, id="four beside a video"),
        pytest.param({"image_list": (START,), "element_list": (ELEMENT,) * 3}, id="three beside a frame"),
        pytest.param({**O1, "image_list": (START,), "element_list": (ELEMENT,) * 4}, id="o1, four beside it"),
        pytest.param({"video_list": BASE, "sound": False}, id="no sound beside a video"),
        pytest.param({**SHAPED, "video_list": FEATURE, "duration": 10}, id="ten seconds beside a video"),
        pytest.param({**O1, **SHAPED, "duration": 10}, id="o1, a text, ten seconds"),
        pytest.param({**O1, **SHAPED, "image_list": (PLAIN,), "duration": 7}, id="o1, a reference, seven"),
    ],
)
def test_what_just_fits_is_accepted(values: dict[str, Any]) -> None:
    """The nearest neighbours of what is refused above and doubted below pass in silence."""
    assert doubted(omni(**values)) == []


def test_limits_of_one_model_are_not_those_of_an_unknown_one() -> None:
    """Four elements beside a frame: refused for kling-v3-omni, judged by the vendor for a newer model."""
    newer = omni(model_name="kling-v99", image_list=(START,), element_list=(ELEMENT,) * 4)
    assert [field for field, _ in doubted(newer)] == ["model_name"]


SHAPE_ASKED = "the vendor's page asks for it unless a first frame or an edited video has it"
O1_LENGTHS = "kling-video-o1 makes 5 or 10 s of a text or a first frame alone, says one source"


@pytest.mark.parametrize(
    ("values", "doubts"),
    [
        pytest.param({}, [("aspect_ratio", SHAPE_ASKED)], id="no shape"),
        pytest.param({"video_list": FEATURE}, [("aspect_ratio", SHAPE_ASKED)], id="no shape beside a video"),
        pytest.param(
            {**SHAPED, "image_list": (START,)},
            [("aspect_ratio", "is not supported with a first frame: the video keeps its shape")],
            id="a shape and a first frame",
        ),
        pytest.param(
            {**SHAPED, "video_list": UNSAID},
            [("aspect_ratio", "is not supported with an edited video: the video keeps its shape")],
            id="a shape and an edited video",
        ),
        pytest.param(
            {"image_list": (START,), "multi_shot": True, "shot_type": "intelligence"},
            [("image_list", "the vendor may refuse frames together with multi_shot")],
            id="a frame of several shots",
        ),
        pytest.param(
            {"video_list": BASE, **SHOTS},
            [("multi_shot", "was refused beside a video")],
            id="shots of an edited video, which keeps its length",
        ),
        pytest.param(
            {**SHAPED, "image_list": (START, END), "video_list": FEATURE},
            [
                ("image_list", "an end frame was refused beside a video"),
                ("aspect_ratio", "is not supported with a first frame: the video keeps its shape"),
            ],
            id="an end frame beside a borrowed video",
        ),
        pytest.param(
            {**O1, "video_list": BASE, "duration": 15},
            [("duration", "is ignored by the vendor: an edited video keeps its length")],
            id="a length of an edited video",
        ),
        pytest.param({**O1, **SHAPED, "duration": 7}, [("duration", O1_LENGTHS)], id="o1, a text, seven"),
        pytest.param(
            {**O1, "image_list": (START,), "duration": 9}, [("duration", O1_LENGTHS)], id="o1, a start, nine"
        ),
    ],
)
def test_what_only_the_vendor_knows_is_doubted(values: dict[str, Any], doubts: list[tuple[str, str]]) -> None:
    """It passes, and is told once."""
    assert doubted(omni(**values)) == doubts
    assert doubted(omni(**values)) == []
