"""Multi-image to image and AI multi-shot: what is sent, what comes back, and their rules."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import doubted, lives, refused, result, sent

GOLDEN = golden("multi_image_to_image")
VIEWS = golden("ai_multi_shot")
FOX = b"fox bytes"


def subjects(*images: Any) -> tuple[v1.SubjectImage, ...]:
    return tuple(v1.SubjectImage(subject_image=image) for image in images)


REQUESTS = {
    "vendor's example": v1.MultiImageToImage(
        prompt="Both of them at a picnic",
        subject_image_list=subjects("https://example.com/a.png", "https://example.com/b.png"),
        n=1,
        aspect_ratio="1:1",
    ),
    "least": v1.MultiImageToImage(subject_image_list=subjects(FOX)),
    "everything": v1.MultiImageToImage(
        prompt="A picnic",
        subject_image_list=subjects(*(f"https://example.com/{name}.png" for name in "abcd")),
        scene_image="https://example.com/meadow.jpg",
        style_image=FOX,
        n=9,
        aspect_ratio="2:3",
        watermark_info=v1.WatermarkInfo(enabled=False),
    ),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """Images as of any other endpoint."""
    lives(v1.MultiImageToImage, GOLDEN["answers"])
    found = result(v1.MultiImageToImage, GOLDEN["answers"]["finished"])
    assert [file.url for file in found.files(watermarked=True)] == ["https://example.com/0w.png"]


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"subject_image_list": ()}, [("subject_image_list", "has 0 entries; at least 1")], id="none"
        ),
        pytest.param(
            {"subject_image_list": subjects(FOX) * 5},
            [("subject_image_list", "has 5 entries; at most 4")],
            id="five",
        ),
    ],
)
def test_one_to_four_subjects_are_taken(values: Any, problems: list[tuple[str, str]]) -> None:
    """No fewer and no more."""
    assert refused(v1.MultiImageToImage(**values)) == problems


def test_a_negative_prompt_is_doubted() -> None:
    """The vendor shows it in a sample only."""
    request = v1.MultiImageToImage(subject_image_list=subjects(FOX), negative_prompt="rain")
    text = "is not described by the vendor, who may ignore it"
    assert doubted(request) == [("negative_prompt", text)]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("kling-v2", "'kling-v2' was announced to end on 2026-09-15"),
        (
            "kling-v3",
            (
                "'kling-v3' is a model of text_to_video, image_to_video, motion_control, image_generation; "
                "multi_image_to_image knows kling-v2-1"
            ),
        ),
    ],
)
def test_an_ended_or_unknown_model_is_doubted(model: str, text: str) -> None:
    """It passes with a warning."""
    request = v1.MultiImageToImage(model_name=model, subject_image_list=subjects(FOX))
    assert doubted(request) == [("model_name", text)]


# --- AI multi-shot -----------------------------------------------------------------------------

VIEW_REQUESTS = {
    "vendor's example": v1.AiMultiShot(element_frontal_image="https://example.com/front.png"),
    "file": v1.AiMultiShot(element_frontal_image=FOX),
}


@pytest.mark.parametrize("case", VIEWS["requests"])
def test_views_are_asked_for_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(VIEW_REQUESTS[case]) == VIEWS["requests"][case]


def test_views_are_read() -> None:
    """Three sets of up to three views; each is a file named by set and view; no repr shows what signs it."""
    lives(v1.AiMultiShot, VIEWS["answers"])
    found = result(v1.AiMultiShot, VIEWS["answers"]["finished"])
    assert [len(views.urls) for views in found.images] == [3, 3, 2]
    assert found.images[1].urls[2] == "https://example.com/1-3.png?sig=SECRET"
    assert [f.name for f in found.files()] == ["0-1", "0-2", "0-3", "1-1", "1-2", "1-3", "2-1", "2-2"]
    assert found.files()[0] == File("https://example.com/0-1.png?sig=SECRET", ".png", "0-1")
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_views_need_a_subject() -> None:
    """The one field is required."""
    assert refused(v1.AiMultiShot(element_frontal_image="")) == [
        ("element_frontal_image", "must not be empty")
    ]
