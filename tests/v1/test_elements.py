"""Elements, of both services: what is sent, what comes back, and their rules."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.checks import media_fields
from kling_async.wire.media_formats import IMAGE, VIDEO
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, doubted, lives, refused, result, sent

GOLDEN = golden("custom_elements")
OLD = golden("custom_elements_v0")
FOX = b"fox bytes"


def views(*others: Any, front: Any = FOX) -> v1.ElementImages:
    return v1.ElementImages(
        frontal_image=front, refer_images=tuple(v1.ReferImage(image_url=image) for image in others)
    )


def clip(url: Any = "https://example.com/ann.mp4") -> v1.ElementVideos:
    return v1.ElementVideos(refer_videos=(v1.ReferVideo(video_url=url),))


def ann(**values: Any) -> v1.CustomElement:
    """An element whose reference is missing."""
    return v1.CustomElement(element_name="Ann", element_description="A walker", **values)


SIDE = "https://example.com/side.png"
REQUESTS: dict[str, Any] = {
    "vendor's example": v1.CustomElement(
        element_name="Blue mug",
        element_description="A chipped blue enamel mug",
        reference_type="image_refer",
        element_image_list=views(SIDE, front="https://example.com/front.png"),
        tag_list=(v1.ElementTag(tag_id="o_104"),),
    ),
    "figure with a voice": ann(
        reference_type="image_refer",
        element_image_list=views(FOX, "https://example.com/b.png", "https://example.com/c.png"),
        element_voice_id="891495440020668439",
    ),
    "figure from a video": ann(
        reference_type="video_refer",
        element_video_list=clip(),
        element_voice_id="",
        tag_list=(v1.ElementTag(tag_id="o_102"), v1.ElementTag(tag_id="o_101")),
    ),
    "presets": v1.PresetElements(),
    "presets, second page": v1.PresetElements(page=2, page_size=500),
    "delete": v1.DeleteElement(element_id=829836802793406551),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body or query, compared as JSON; the id of what is deleted goes as text."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_an_element_is_made() -> None:
    """Its id keeps all digits; what it is made of are files; no repr shows what signs them."""
    lives(v1.CustomElement, GOLDEN["answers"])
    found = result(v1.CustomElement, GOLDEN["answers"]["finished"])
    (element,) = found.elements
    assert (element.element_id, element.status) == (829836802793406551, "succeed")
    assert v1.ElementRef(element_id=element.element_id).element_id == 829836802793406551
    assert (element.element_video_list, element.element_voice_info) == (v1.VideoLinks(), v1.Voice())
    assert found.files() == (
        File("https://example.com/front.png?sig=SECRET", ".png", "0-frontal"),
        File("https://example.com/side.png", ".png", "0-refer-1"),
    )
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_the_vendor_s_elements_are_read() -> None:
    """Each comes in a task of its own; ids as text, tags numbered, and nulls are read as well."""
    page = answered(v1.PresetElements(), GOLDEN["answers"]["presets"])
    assert [task.task_id for task in page.tasks] == ["1", "2"]
    ann, mug = page.elements
    assert (ann.element_id, ann.tag_list[0].id, mug.tag_list[0].id) == (829836802793406552, 102, "o_104")
    assert [(f.name, f.suffix) for f in ann.files()] == [("video-1", ".mp4"), ("voice", ".mp3")]
    assert "SECRET" not in repr(page)


def test_a_deletion_is_a_task_that_nobody_asks_about() -> None:
    """Its answer is read."""
    deleted = answered(v1.DeleteElement(element_id=1), GOLDEN["answers"]["deleted"])
    assert (deleted.task_id, deleted.task_status) == ("900000000000000001", "submitted")


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(
            ann(reference_type="image_refer"),
            [("element_image_list", "is required when reference_type is 'image_refer'")],
            id="no images",
        ),
        pytest.param(
            ann(reference_type="image_refer", element_image_list=""),
            [("element_image_list", "is required when reference_type is 'image_refer'")],
            id="images left empty",
        ),
        pytest.param(
            ann(reference_type="video_refer", element_image_list=views(SIDE)),
            [("element_video_list", "is required when reference_type is 'video_refer'")],
            id="images for a video",
        ),
        pytest.param(
            ann(reference_type="image_refer", element_image_list=views()),
            [("element_image_list.refer_images", "has 0 entries; at least 1")],
            id="no other view",
        ),
        pytest.param(
            ann(reference_type="image_refer", element_image_list=views(*[SIDE] * 4)),
            [("element_image_list.refer_images", "has 4 entries; at most 3")],
            id="four other views",
        ),
        pytest.param(
            ann(reference_type="video_refer", element_video_list=clip(FOX)),
            [
                (
                    "element_video_list.refer_videos[0].video_url",
                    "takes the address of a video, not the file itself: put it where the API can fetch it",
                )
            ],
            id="the video itself",
        ),
        pytest.param(
            v1.DeleteElement(element_id=2**63),
            [("element_id", "9223372036854775808 is too large; at most 9223372036854775807")],
            id="an id of 64 bits",
        ),
        pytest.param(
            v1.PresetElements(page=0, page_size=501),
            [("page", "0 is too small; at least 1"), ("page_size", "501 is too large; at most 500")],
            id="pages",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text."""
    assert refused(request_) == problems


@pytest.mark.parametrize(
    ("values", "doubts"),
    [
        pytest.param(
            {
                "reference_type": "image_refer",
                "element_image_list": views(SIDE),
                "element_video_list": clip(),
            },
            [("element_video_list", "is ignored by the vendor unless reference_type is 'video_refer'")],
            id="a video beside the images",
        ),
        pytest.param(
            {
                "reference_type": "video_refer",
                "element_image_list": views(SIDE),
                "element_video_list": clip(),
            },
            [("element_image_list", "is ignored by the vendor unless reference_type is 'image_refer'")],
            id="images beside the video",
        ),
        pytest.param(
            {
                "reference_type": "video_refer",
                "element_video_list": clip(),
                "tag_list": (v1.ElementTag(tag_id="o_109"),),
            },
            [("tag_list[0].tag_id", "'o_109' is not known here; the vendor will judge it")],
            id="unknown tag",
        ),
        pytest.param(
            {"reference_type": "image_refer", "element_image_list": views(FOX, front=FOX)},
            [],
            id="one image for all views: taken when it was tried",
        ),
    ],
)
def test_what_only_the_vendor_knows_is_doubted(values: Any, doubts: list[tuple[str, str]]) -> None:
    """It passes with a warning, if any."""
    assert doubted(ann(**values)) == doubts


def test_the_files_are_held_to_the_limits() -> None:
    """Every file at its depth, images and the video alike."""
    both = ann(reference_type="image_refer", element_image_list=views(FOX), element_video_list=clip())
    assert [(path, limits) for path, _, limits in media_fields(both)] == [
        ("element_image_list.frontal_image", IMAGE),
        ("element_image_list.refer_images[0].image_url", IMAGE),
        ("element_video_list.refer_videos[0].video_url", VIDEO),
    ]


# --- the older service -------------------------------------------------------------------------


def mug(front: Any, *others: Any, **values: Any) -> v1.CustomElementV0:
    return v1.CustomElementV0(
        element_name="Blue mug",
        element_description="A mug",
        element_frontal_image=front,
        element_refer_list=tuple(v1.ReferImage(image_url=image) for image in others),
        **values,
    )


OLD_REQUESTS: dict[str, Any] = {
    "vendor's example": mug("https://example.com/front.png", SIDE),
    "everything": mug(FOX, FOX, FOX, FOX, tag_list=(v1.ElementTag(tag_id="o_104"),)),
    "list": v1.ListElementsV0(page=1, page_size=30),
    "presets": v1.PresetElementsV0(page=1000, page_size=500),
}


@pytest.mark.parametrize("case", OLD["requests"])
def test_an_older_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body or query, compared as JSON, without a warning."""
    assert sent(OLD_REQUESTS[case]) == OLD["requests"][case]


def test_an_older_element_is_answered_at_once() -> None:
    """Its images are files; what an answer lacks is left empty."""
    made = answered(mug(FOX, FOX), OLD["answers"]["made"])
    assert (made.element_id, made.owned_by) == (160, "1234567")
    assert [(f.name, f.url) for f in made.files()] == [
        ("frontal", "https://example.com/front.png?sig=SECRET"),
        ("refer-1", "https://example.com/side.png"),
    ]
    assert made.files(watermarked=True) == ()
    assert "SECRET" not in repr(made)
    least = answered(mug(FOX, FOX), OLD["answers"]["vendor's example"])
    assert (least.element_id, least.files()) == (160, ())


@pytest.mark.parametrize(("case", "ids"), [("list", [160, 161]), ("empty list", [])])
@pytest.mark.parametrize("kind", [v1.ListElementsV0, v1.PresetElementsV0])
def test_older_elements_are_listed(kind: Any, case: str, ids: list[int]) -> None:
    """The answer is a bare array of elements, which may be empty."""
    assert [element.element_id for element in answered(kind(), OLD["answers"][case]).elements] == ids


def test_an_older_element_needs_another_view() -> None:
    """One to three."""
    assert refused(mug(FOX)) == [("element_refer_list", "has 0 entries; at least 1")]
