"""Image generation: what is sent, what comes back, and each rule over several fields."""

from __future__ import annotations

import base64
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kling_async import v1
from kling_async.catalog import endpoint_of
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_envelope, decode_task
from kling_async.wire.checks import check, media_fields, to_wire
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import File
from tests.golden import golden

GOLDEN = golden("image_generation")
FOX = b"fox bytes"


def load(media: Media) -> str:
    """What the driver makes of a media."""
    if media.url is not None:
        return media.url
    data = media.data if media.path is None else Path(media.path).read_bytes()
    return base64.b64encode(data or b"").decode()


def requests(folder: Path) -> dict[str, v1.ImageGeneration]:
    """The request of every golden body; one reads a file."""
    path = folder / "fox.png"
    path.write_bytes(b"fox file")
    return {
        "least": v1.ImageGeneration(prompt="A paper boat"),
        "vendor's example": v1.ImageGeneration(
            prompt="A paper boat on a rainy street, soft light", n=1, resolution="1k", aspect_ratio="1:1"
        ),
        "text with everything": v1.ImageGeneration(
            model_name="kling-v2-1",
            prompt="A fox",
            negative_prompt="rain",
            n=9,
            resolution="2k",
            aspect_ratio="21:9",
            watermark_info=v1.WatermarkInfo(enabled=True),
        ),
        "image by address": v1.ImageGeneration(
            model_name="kling-v2-1",
            prompt="A fox",
            image="https://example.com/fox.png?sig=abc",
            image_reference="subject",
            image_fidelity=0.5,
            human_fidelity=0.45,
        ),
        "image by bytes": v1.ImageGeneration(
            model_name="kling-v2-1", prompt="A fox", image=FOX, image_reference="face"
        ),
        "image by path": v1.ImageGeneration(prompt="A fox", image=path),
        "image by base64": v1.ImageGeneration(prompt="A fox", image="data:image/png;base64,Zm94IHRleHQh"),
        "elements": v1.ImageGeneration(
            prompt="A fox",
            element_list=(v1.ElementRef(element_id=829836802793406551), v1.ElementRef(element_id=0)),
        ),
        "empty is left out": v1.ImageGeneration(prompt="A fox", negative_prompt="", image="", n=None),
        "extra wins": v1.ImageGeneration(prompt="A fox", extra={"prompt": "A wolf", "seed": 7}),
    }


def refusal(**values: Any) -> list[tuple[str, str]]:
    """The problems of a request that must be refused."""
    with pytest.raises(RequestInvalid) as caught:
        check(v1.ImageGeneration(prompt="A fox", **values))
    return [(problem.field, problem.text) for problem in caught.value.problems]


def doubts(**values: Any) -> list[str]:
    """What is warned about a request that must pass."""
    request = v1.ImageGeneration(prompt="A fox", **values)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
    assert all(issubclass(w.category, KlingWarning) for w in caught)
    return [str(w.message) for w in caught]


# --- the wire ----------------------------------------------------------------------------------


def test_there_is_a_request_for_every_golden_body(tmp_path: Path) -> None:
    """No golden body goes untested."""
    assert sorted(requests(tmp_path)) == sorted(GOLDEN["requests"])


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str, tmp_path: Path) -> None:
    """The whole body, compared as JSON; each is also acceptable, without a warning."""
    request = requests(tmp_path)[case]
    check(request)
    body = msgspec.json.decode(msgspec.json.encode(to_wire(request, load)))
    assert body == GOLDEN["requests"][case]


def answer(case: str) -> Any:
    """The typed result in a golden answer."""
    data = decode_envelope(msgspec.json.encode(GOLDEN["answers"][case])).data
    return result_of(endpoint_of(v1.ImageGeneration), decode_task("image_generation", data))


def test_a_finished_task_is_read() -> None:
    """Index and address of the image; an empty watermark address is no file."""
    result = answer("finished")
    assert result.images == (v1.Image(index=0, url="https://example.com/images-url.png"),)
    assert result.files() == (File("https://example.com/images-url.png", ".png", "0"),)
    assert result.files(watermarked=True) == ()


def test_files_are_named_by_the_vendor_s_index() -> None:
    """Each image that has an address is a file; no repr shows what signs it."""
    result = answer("finished, three, watermarked")
    assert result.files() == (
        File("https://example.com/0.png?sig=SECRET", ".png", "0"),
        File("https://example.com/1.png", ".png", "1"),
    )
    assert [f.url[-5:] for f in result.files(watermarked=True)] == ["ECRET", "w.png"]
    assert "SECRET" not in repr(result)


def test_the_image_is_held_to_the_limits() -> None:
    """The field tells the driver what a file must be."""
    image = v1.ImageGeneration(prompt="x", image=FOX).image
    assert image == Media(data=FOX)
    found = list(media_fields(v1.ImageGeneration(prompt="x", image=FOX)))
    assert found == [("image", Media(data=FOX), IMAGE)]


# --- rules -------------------------------------------------------------------------------------

TEN = tuple(v1.ElementRef(element_id=i) for i in range(10))


@pytest.mark.parametrize(
    ("values", "problems"),
    [
        pytest.param(
            {"image": FOX, "negative_prompt": "rain"},
            [("negative_prompt", "is not allowed together with image")],
            id="negative prompt with an image",
        ),
        pytest.param(
            {"model_name": "kling-v2-1", "image_reference": "face"},
            [("image", "is required when image_reference is set")],
            id="reference without an image",
        ),
        pytest.param(
            {"image": FOX, "element_list": TEN},
            [("element_list", "image and element_list together have 11 entries; at most 10")],
            id="eleven references",
        ),
        pytest.param(
            {"element_list": (*TEN, TEN[0])},
            [("element_list", "has 11 entries; at most 10")],
            id="eleven elements",
        ),
        pytest.param(
            {"image": FOX, "image_reference": "subject"},
            [("image_reference", "kling-v3 does not offer it; kling-v2-1 does")],
            id="reference on the wrong model",
        ),
        pytest.param({"n": 0}, [("n", "0 is too small; at least 1")], id="no images"),
        pytest.param({"n": 10}, [("n", "10 is too large; at most 9")], id="ten images"),
    ],
)
def test_what_cannot_go_together_is_refused(values: dict[str, Any], problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text."""
    assert refusal(**values) == problems


@pytest.mark.parametrize(
    "values",
    [
        {"image": FOX, "negative_prompt": ""},
        {"negative_prompt": "rain"},
        {"element_list": TEN},
        {"image": FOX, "element_list": TEN[:9]},
        {"element_list": ()},
        {"model_name": "kling-v2-1", "image": FOX, "image_reference": "subject", "human_fidelity": 0},
    ],
    ids=["empty negative", "negative alone", "ten", "nine and an image", "no elements", "subject"],
)
def test_what_goes_together_passes(values: dict[str, Any]) -> None:
    """The nearest cases on the other side of each rule, without a warning."""
    assert doubts(**values) == []


@pytest.mark.parametrize("reference", [None, "face"])
def test_a_fidelity_that_is_not_read_is_doubted(reference: str | None) -> None:
    """Of a person's likeness only ``subject`` reads it."""
    text = "ImageGeneration.human_fidelity: is read only when image_reference is 'subject'"
    values = {"model_name": "kling-v2-1", "image": FOX, "image_reference": reference}
    assert doubts(human_fidelity=0.5, **values) == [text]


def test_a_field_of_another_model_is_doubted() -> None:
    """image_fidelity is of kling-v2-1 alone, by its field's own description."""
    assert len(doubts(image=FOX, image_fidelity=0.5)) == 1


def test_elements_of_another_model_are_doubted() -> None:
    """Only the map of models keeps them to kling-v3; the page of the endpoint has no such limit."""
    text = "ImageGeneration.element_list: kling-v2-1 may not offer it; kling-v3 does"
    assert doubts(model_name="kling-v2-1", element_list=TEN[:1]) == [text]


# --- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("kling-v9", "'kling-v9' is not known here; the vendor will judge it"),
        (
            "kling-v3-omni",
            (
                "'kling-v3-omni' is a model of omni_video, omni_image; "
                "image_generation knows kling-v2-1, kling-v3"
            ),
        ),
        ("kling-v1", "'kling-v1' was announced to end on 2026-09-15"),
    ],
)
def test_unknown_and_retired_models_warn_once_and_pass(model: str, text: str) -> None:
    """The vendor has the last word on names that it changes monthly."""
    assert doubts(model_name=model) == [f"ImageGeneration.model_name: {text}"]
    assert doubts(model_name=model) == []


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
def test_a_model_that_only_restyles_needs_an_image() -> None:
    """kling-v2-new makes nothing from text alone."""
    assert refusal(model_name="kling-v2-new") == [("image", "kling-v2-new only restyles an image")]
    check(v1.ImageGeneration(model_name="kling-v2-new", prompt="x", image=FOX))


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
@pytest.mark.parametrize("model", ["", " "])
def test_a_model_is_always_named(model: str) -> None:
    """An empty model is refused: else the vendor's own default, which has changed before, would apply."""
    assert refusal(model_name=model) == [("model_name", "must not be empty")]


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
@pytest.mark.parametrize(
    ("fits", "more", "problem"),
    [
        pytest.param(
            {"model_name": "kling-v1", "aspect_ratio": "2:3"},
            {"aspect_ratio": "21:9"},
            ("aspect_ratio", "kling-v1 has no 21:9"),
            id="a shape",
        ),
        pytest.param(
            {"model_name": "kling-v1-5", "image": FOX, "image_reference": "face"},
            {"image_reference": None},
            ("image_reference", "kling-v1-5 needs it with image; 'subject' or 'face'"),
            id="what to keep of an image",
        ),
        pytest.param(
            {"model_name": "kling-v2", "resolution": "2k"},
            {"image": FOX},
            ("resolution", "kling-v2 makes 2k of a text only: with image it keeps the image's size"),
            id="a size",
        ),
    ],
)
def test_what_an_ended_model_never_took_is_refused(
    fits: dict[str, Any], more: dict[str, Any], problem: tuple[str, str]
) -> None:
    """By the vendor's map of these models: what is beside it passes."""
    check(v1.ImageGeneration(prompt="x", **fits))
    assert refusal(**fits | more) == [problem]
