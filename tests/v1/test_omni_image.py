"""Omni image: what is sent, what comes back, and each rule over several fields."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import doubted, lives, refused, result, sent

GOLDEN = golden("omni_image")
FOX = b"fox bytes"
REQUESTS = {
    "least": v1.OmniImage(prompt="A cup", aspect_ratio="1:1"),
    "vendor's example": v1.OmniImage(
        prompt="Put the cup of <<<image_1>>> on a wooden desk",
        image_list=(v1.InputImage(image="https://example.com/cup.png"),),
        result_type="single",
        n=1,
        resolution="2k",
        aspect_ratio="1:1",
    ),
    "series of four, everything": v1.OmniImage(
        prompt="<<<element_1>>> and <<<element_2>>> look at <<<image_2>>>",
        image_list=(v1.InputImage(image=FOX), v1.InputImage(image="https://example.com/b.png")),
        element_list=(v1.ElementRef(element_id=829836802793406551), v1.ElementRef(element_id=160)),
        resolution="4k",
        result_type="series",
        series_amount=4,
        aspect_ratio="auto",
        watermark_info=v1.WatermarkInfo(enabled=True),
    ),
    "series of as many as it takes": v1.OmniImage(
        prompt="A comic strip", result_type="series", series_amount="auto", aspect_ratio="16:9"
    ),
    "nine by the other model": v1.OmniImage(
        model_name="kling-image-o1", prompt="A cup", n=9, resolution="2k", aspect_ratio="21:9"
    ),
}


def omni(prompt: str = "A cup", **values: Any) -> v1.OmniImage:
    values.setdefault("aspect_ratio", "1:1")
    return v1.OmniImage(prompt=prompt, **values)


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """Created, running, finished with one image, or failed with the vendor's reason."""
    lives(v1.OmniImage, GOLDEN["answers"])
    found = result(v1.OmniImage, GOLDEN["answers"]["finished"])
    assert (found.result_type, len(found.images), found.series_images) == ("single", 1, ())
    assert found.files() == (File("https://example.com/0.png?sig=SECRET", ".png", "0"),)
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_a_series_is_read() -> None:
    """Its images are files in their order, and so are their watermarked copies."""
    found = result(v1.OmniImage, GOLDEN["answers"]["finished series"])
    assert (found.result_type, found.images, len(found.series_images)) == ("series", (), 2)
    assert [(f.name, f.url[-10:]) for f in found.files()] == [("0", "sig=SECRET"), ("1", "sig=SECRET")]
    assert [f.url for f in found.files(watermarked=True)] == [
        "https://example.com/0w.png",
        "https://example.com/1w.png",
    ]


PICTURE, ELEMENT = v1.InputImage(image=FOX), v1.ElementRef(element_id=1)


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(
            omni("<<<image_2>>> by <<<image_2>>>", image_list=(PICTURE,)),
            [("prompt", "<<<image_2>>> points to nothing: image_list has 1 entries")],
            id="no second image",
        ),
        pytest.param(
            omni("<<<element_0>>>", element_list=(ELEMENT,)),
            [("prompt", "<<<element_0>>> points to nothing: element_list has 1 entries")],
            id="counted from 0",
        ),
        pytest.param(
            omni("<<<element_1>>> beside <<<image_1>>>"),
            [
                ("prompt", "<<<element_1>>> points to nothing: element_list has 0 entries"),
                ("prompt", "<<<image_1>>> points to nothing: image_list has 0 entries"),
            ],
            id="no lists",
        ),
        pytest.param(
            omni(image_list=(PICTURE,) * 6, element_list=(ELEMENT,) * 5),
            [("element_list", "image_list and element_list together have 11 entries; at most 10")],
            id="eleven references",
        ),
        pytest.param(
            omni(model_name="kling-image-o1", result_type="series"),
            [("result_type", "kling-image-o1 makes no series; kling-v3-omni does")],
            id="series by the other model",
        ),
        pytest.param(
            omni(model_name="kling-image-o1", resolution="4k"),
            [("resolution", "kling-image-o1 offers 1k, 2k, not 4k")],
            id="4k by the other model",
        ),
        pytest.param(
            omni(result_type="series", series_amount=10),
            [("series_amount", "'10' is not one of 'auto', 2, 3, 4, 5, 6, 7, 8, 9")],
            id="too long a series",
        ),
        pytest.param(
            omni(result_type="series", series_amount=1.5),
            [("series_amount", "must be a whole number or text, not float")],
            id="part of an image",
        ),
        pytest.param(
            omni(image_list=(v1.InputImage(image=""),)),
            [("image_list[0].image", "must not be empty")],
            id="an image that is none",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text."""
    assert refused(request_) == problems


@pytest.mark.parametrize(
    "request_",
    [
        omni("<<<image_1>>> and <<<element_1>>>", image_list=(PICTURE,), element_list=(ELEMENT,)),
        omni("<<<object_7>>> and <<image_7>>"),
        omni(image_list=(PICTURE,) * 4, element_list=(ELEMENT,) * 6),
        omni(aspect_ratio=None, image_list=(PICTURE,)),
        omni(aspect_ratio="auto", element_list=(ELEMENT,)),
    ],
    ids=["names", "other names", "ten references", "default frame with an image", "auto with an element"],
)
def test_what_may_be_right_passes(request_: Any) -> None:
    """The nearest cases on the other side of each rule, without a warning."""
    assert doubted(request_) == []


@pytest.mark.parametrize(
    ("request_", "doubts"),
    [
        pytest.param(
            omni("<<<video_1>>>"),
            [
                (
                    "prompt",
                    "<<<video_1>>> is plain text here: the vendor documents no such name for this endpoint",
                )
            ],
            id="a name of another endpoint",
        ),
        pytest.param(
            omni(result_type="series", n=2),
            [("n", "is ignored by the vendor when result_type is 'series'")],
            id="n of a series",
        ),
        pytest.param(
            omni(series_amount=2),
            [("series_amount", "is ignored by the vendor unless result_type is 'series'")],
            id="amount without a series",
        ),
        pytest.param(
            omni(aspect_ratio=None),
            [("aspect_ratio", "may not be 'auto', the default, without references: choose a fixed one")],
            id="default frame of text alone",
        ),
        pytest.param(
            omni(aspect_ratio="auto", image_list=()),
            [("aspect_ratio", "may not be 'auto', the default, without references: choose a fixed one")],
            id="auto of text alone",
        ),
        pytest.param(
            omni(model_name="kling-v9", result_type="series", resolution="4k"),
            [("model_name", "'kling-v9' is not known here; the vendor will judge it")],
            id="unknown model",
        ),
    ],
)
def test_what_only_the_vendor_knows_is_doubted(request_: Any, doubts: list[tuple[str, str]]) -> None:
    """It passes with a warning."""
    assert doubted(request_) == doubts
