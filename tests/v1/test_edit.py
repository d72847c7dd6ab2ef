"""Multi-elements: what is sent, what comes back, each rule, and refusals inside an accepting answer."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, doubted, lives, refused, result, sent

GOLDEN = golden("multi_elements")
SESSION = "847570360458960960"
VIDEO = "743211632612511839"
SWAN = v1.InputImage(image="https://example.com/swan.png")
FOX = v1.InputImage(image=b"fox bytes")
MIDDLE = v1.Point(x=0.5, y=0.25)
REQUESTS: dict[str, Any] = {
    "vendor's example": v1.MultiElements(
        session_id=SESSION,
        edit_mode="removal",
        prompt="Delete the chick from <<<video_1>>>",
        mode="std",
        duration=5,
    ),
    "least, empty is left out": v1.MultiElements(
        session_id=SESSION,
        edit_mode="removal",
        prompt="Delete the chick from <<<video_1>>>",
        model_name="",
        negative_prompt="",
    ),
    "swap": v1.MultiElements(
        session_id=SESSION,
        edit_mode="swap",
        image_list=(SWAN,),
        prompt="Swap the chick of <<<video_1>>> for the swan of <<<image_1>>>",
        negative_prompt="blur",
        mode="pro",
        duration=10,
        watermark_info=v1.WatermarkInfo(enabled=True),
    ),
    "addition of two": v1.MultiElements(
        session_id=SESSION,
        edit_mode="addition",
        image_list=(SWAN, FOX),
        prompt="Put <<<image_1>>> and <<<image_2>>> into <<<video_1>>>",
    ),
    "init, by id": v1.InitSelection(video_id=VIDEO, video_url=""),
    "init, by address": v1.InitSelection(video_url="https://example.com/chick.mp4", video_id=""),
    "add": v1.AddSelection(session_id=SESSION, frame_index=0, points=(MIDDLE, v1.Point(x=0, y=1))),
    "delete": v1.DeleteSelection(session_id=SESSION, frame_index=12, points=(MIDDLE,)),
    "clear": v1.ClearSelection(session_id=SESSION),
    "preview": v1.PreviewSelection(session_id=SESSION),
}


# --- the wire ----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """The edited video knows its session; its signed address is in no repr."""
    lives(v1.MultiElements, GOLDEN["answers"])
    found = result(v1.MultiElements, GOLDEN["answers"]["finished"])
    assert [video.session_id for video in found.videos] == [SESSION]
    assert found.files() == (File("https://example.com/videos-url.mp4?sig=SECRET", ".mp4", "0"),)
    assert "SECRET" not in repr(found)


def test_the_video_that_was_read_is_told() -> None:
    """Size, frames and length, what it cost, and the session that all other calls need."""
    found = answered(v1.InitSelection(video_id=VIDEO), GOLDEN["answers"]["init"])
    assert (found.session_id, found.status, found.refusal()) == (SESSION, 0, None)
    assert (found.width, found.height, found.fps) == (720, 1280, 30.0)
    assert (found.original_duration, found.total_frame) == (4700, 141)
    assert found.final_balance_deduction == v1.Deduction(quota="0.007", list_price="0.01")
    assert "SECRET" not in repr(found) and "SECRET" in found.normalized_video


@pytest.mark.parametrize("kind", [v1.AddSelection, v1.DeleteSelection])
def test_the_masks_of_a_frame_are_read(kind: Any) -> None:
    """Both forms of a mask; the picture in Base64 is in no repr, however deep."""
    request = kind(session_id=SESSION, frame_index=0, points=(MIDDLE,))
    found = answered(request, GOLDEN["answers"]["add"])
    (mask,) = found.res.rle_mask_list
    assert mask.rle_mask == v1.RleMask(size=(1280, 720), counts="_PV1")
    assert mask.png_mask.base64 == "SECRETiVBORw0KGgo="
    assert "SECRET" not in repr(found) and "base64='<18 characters>'" in repr(found)


def test_a_preview_and_an_emptied_session_are_read() -> None:
    """Three addresses; and nothing but the session."""
    found = answered(v1.PreviewSelection(session_id=SESSION), GOLDEN["answers"]["preview"])
    assert found.res == v1.PreviewFiles(
        video="https://example.com/preview.mp4?sig=SECRET",
        video_cover="https://example.com/cover.png",
        tracking_output="https://example.com/tracking.mp4",
    )
    assert "SECRET" not in repr(found)
    cleared = answered(v1.ClearSelection(session_id=SESSION), GOLDEN["answers"]["clear"])
    assert (cleared.session_id, cleared.refusal()) == (SESSION, None)


@pytest.mark.parametrize(
    ("case", "answer", "status"), [("add", "add, nothing recognised", 1), ("init, by id", "init, refused", 3)]
)
def test_a_refusal_inside_an_accepting_answer_is_read_as_such(case: str, answer: str, status: int) -> None:
    """A status other than 0 is one, also where nothing stands beside it."""
    refusal = answered(REQUESTS[case], GOLDEN["answers"][answer]).refusal()
    assert refusal == (status, "nothing was recognised: data.status of the answer is not 0")


# --- rules -------------------------------------------------------------------------------------


def edit(mode: Any, prompt: str = "<<<video_1>>>", *images: v1.InputImage) -> v1.MultiElements:
    return v1.MultiElements(session_id=SESSION, edit_mode=mode, prompt=prompt, image_list=images)


ONE, TWO = "<<<video_1>>> <<<image_1>>>", "<<<video_1>>> <<<image_1>>> <<<image_2>>>"


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(
            edit("addition"), [("image_list", "addition takes 1 or 2 images; 0 given")], id="nothing to add"
        ),
        pytest.param(edit("swap"), [("image_list", "swap takes 1 image; 0 given")], id="nothing to swap in"),
        pytest.param(
            edit("swap", TWO, SWAN, FOX), [("image_list", "swap takes 1 image; 2 given")], id="two to swap in"
        ),
        pytest.param(
            edit("removal", ONE, SWAN),
            [("image_list", "removal takes no image; 1 given")],
            id="an image to remove",
        ),
        pytest.param(
            edit("addition", TWO, SWAN, FOX, SWAN),
            [("image_list", "has 3 entries; at most 2"), ("prompt", "must name <<<image_3>>>")],
            id="three to add",
        ),
        pytest.param(
            edit("addition", "Put <<<image_1>>> in", SWAN),
            [("prompt", "must name <<<video_1>>>")],
            id="the video is not named",
        ),
        pytest.param(
            edit("addition", "<<<video_1>>> <<<image_2>>>", SWAN, FOX),
            [("prompt", "must name <<<image_1>>>")],
            id="an image is not named",
        ),
        pytest.param(
            edit("swap", "<<<video_2>>> <<<image_0>>> " + TWO, SWAN),
            [("prompt", f"<<<{name}>>> points to nothing") for name in ("video_2", "image_0", "image_2")],
            id="what is named is not there",
        ),
        pytest.param(
            v1.MultiElements(session_id="", edit_mode="removal", prompt=" "),
            [("session_id", "must not be empty"), ("prompt", "must not be empty")],
            id="nothing said",
        ),
        pytest.param(
            v1.MultiElements(session_id="1", edit_mode="removal", prompt="<<<video_1>>>", duration=7),  # type: ignore[arg-type]
            [("duration", "'7' is not one of 5, 10")],
            id="another length",
        ),
        pytest.param(
            v1.MultiElements(session_id="1", edit_mode="removal", prompt="<<<video_1>>>", duration="5"),  # type: ignore[arg-type]
            [("duration", "must be a whole number, not str")],
            id="a length as the wire has it",
        ),
        pytest.param(
            v1.MultiElements(session_id="1", edit_mode="paint", prompt="<<<video_1>>>"),  # type: ignore[arg-type]
            [("edit_mode", "'paint' is not one of 'addition', 'removal', 'swap'")],
            id="another mode",
        ),
        pytest.param(
            v1.MultiElements(session_id="1", edit_mode="", prompt="<<<video_1>>>"),  # type: ignore[arg-type]
            [("edit_mode", "must not be empty")],
            id="an empty mode",
        ),
        pytest.param(
            v1.InitSelection(),
            [("video_id", "give one of video_id, video_url; none is given")],
            id="no video",
        ),
        pytest.param(
            v1.InitSelection(video_id=VIDEO, video_url="https://example.com/v.mp4"),
            [("video_url", "give one of video_id, video_url; video_id and video_url are given")],
            id="two videos",
        ),
        pytest.param(
            v1.AddSelection(session_id=SESSION, frame_index=-1, points=(v1.Point(x=1.1, y=0),)),
            [("frame_index", "-1 is too small; at least 0"), ("points[0].x", "1.1 is too large; at most 1")],
            id="outside the frame",
        ),
        pytest.param(
            v1.DeleteSelection(session_id=SESSION, frame_index=0, points=(MIDDLE,) * 11),
            [("points", "has 11 entries; at most 10")],
            id="too many points",
        ),
        pytest.param(
            v1.AddSelection(session_id=SESSION, frame_index=0, points=()),
            [("points", "has 0 entries; at least 1")],
            id="no point",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text; what the accepted cases are is above."""
    assert refused(request_) == problems


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("kling-v1-6", "'kling-v1-6' was announced to end on 2026-09-15"),
        ("kling-v9", "'kling-v9' is not known here; the vendor will judge it"),
    ],
)
def test_a_named_model_is_doubted(model: str, text: str) -> None:
    """There was one, and it ended; none is named unless the caller does."""
    request = v1.MultiElements(
        session_id=SESSION, edit_mode="removal", prompt="<<<video_1>>>", model_name=model
    )
    assert doubted(request) == [("model_name", text)]


def test_what_shows_a_session_is_files() -> None:
    """The prepared video; the video with its marks, its cover and the masks of all frames."""
    video = v1.SelectionVideo(normalized_video="https://a.example/0.mp4?sign=1")
    assert [(f.name, f.suffix) for f in video.files()] == [("normalized", ".mp4")]
    shown = v1.PreviewFiles(video="https://a.example/1", tracking_output="https://a.example/2")
    files = v1.SelectionPreview(res=shown).files()
    assert [(f.name, f.suffix, f.url[-1]) for f in files] == [("video", ".mp4", "1"), ("tracking", "", "2")]
    assert not any(r.files(watermarked=True) for r in (video, v1.SelectionPreview(res=shown)))
