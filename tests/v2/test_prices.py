"""Prices of the second generation against the vendor's table."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from kling_async import RawTask, v2
from kling_async.prices import estimate
from kling_async.v2.prices import PRICES
from tests.reference import V2

URL: Final = "https://a.example/x"
VIDEO: Final = v2.NamedVideo(url=URL)
SCENE: Final[dict[str, Any]] = {"image": URL, "video": URL, "character_orientation": "video"}
FRAME: Final[dict[str, Any]] = {"prompt": "@1 talks", "first_frame": URL}
IMAGE_SCENE: Final[dict[str, Any]] = {**SCENE, "character_orientation": "image"}
SILENT_FRAME: Final[dict[str, Any]] = {**FRAME, "prompt": "talks"}
VOICE: Final = v2.NamedVoice(voice_id="7", id="1")

TABLE: Final[dict[str, dict[str, float]]] = {
    name: row
    for name, row in V2["prices"].items()
    if name.removeprefix("motion-control ").startswith("kling-")
}
REQUESTS: Final[dict[str, Any]] = {
    "kling-3.0-turbo": v2.TextToVideo(prompt="x", model_name="kling-3.0-turbo"),
    "kling-3.0 silent": v2.TextToVideo(prompt="x"),
    "kling-3.0 native": v2.ImageToVideo(**FRAME, audio="native"),
    "motion-control kling-3.0": v2.MotionControl(**SCENE),
    "kling-3.0-omni no video, silent": v2.OmniVideo(prompt="x"),
    "kling-3.0-omni no video, native": v2.OmniVideo(prompt="x", audio="native"),
    "kling-3.0-omni with video": v2.OmniVideo(prompt="x", feature_video=VIDEO, duration=5),
    "kling-o1 no video": v2.OmniVideo(prompt="x", model_name="kling-o1"),
    "kling-o1 with video": v2.OmniVideo(prompt="x", model_name="kling-o1", feature_video=VIDEO, duration=5),
    "kling-2.6 silent": v2.TextToVideo(prompt="x", model_name="kling-2.6"),
    "kling-2.6 native": v2.ImageToVideo(**FRAME, model_name="kling-2.6", audio="native"),
    "kling-2.6 native with voice": v2.ImageToVideo(
        **FRAME, model_name="kling-2.6", audio="native", voices=(VOICE,)
    ),
    "motion-control kling-2.6": v2.MotionControl(**SCENE, model_name="kling-2.6"),
    "kling-2.5-turbo": v2.TextToVideo(prompt="x", model_name="kling-2.5-turbo"),
}


def test_every_row_of_the_table_is_here() -> None:
    """The vendor's rows and ours are as many, and each has its request below."""
    assert set(TABLE) == set(REQUESTS)
    assert len(PRICES) == len(TABLE)


@pytest.mark.parametrize(
    ("name", "resolution", "rate"), [(n, r, rate) for n, row in TABLE.items() for r, rate in row.items()]
)
def test_a_request_costs_what_the_table_says(name: str, resolution: str, rate: float) -> None:
    """Units a second times the seconds; where a video decides the length, the most is its longest."""
    request = REQUESTS[name]
    request = type(request).from_dict({**request.to_dict(), "resolution": resolution})
    found = estimate(request)
    if "motion" in name:
        assert (found.units, found.most) == (None, round(30 * rate, 4))
    else:
        assert (found.units, found.most) == (round(5 * rate, 4), round(5 * rate, 4))
    assert found.pool == "video"
    assert re.search(rf"{resolution}.*: {rate:g} a second x ", found.why)


@pytest.mark.parametrize(
    ("request_", "units", "most"),
    [
        (v2.TextToVideo(prompt="x", duration=15, resolution="4k"), 45.0, 45.0),
        (v2.OmniVideo(prompt="x", base_video=VIDEO, duration=3), None, 13.95),
        (v2.OmniVideo(prompt="x", feature_video=VIDEO), None, 13.95),
        (v2.OmniVideo(prompt="x", base_video=VIDEO, model_name="kling-o1"), None, 9.0),
        (v2.MotionControl(**IMAGE_SCENE), None, 9.0),
        (v2.TextToVideo(prompt="x", model_name="kling-4.0"), None, None),
        (v2.TextToVideo(prompt="x", extra={"settings": {"resolution": "1080p"}}), 4.0, 4.0),
        (v2.TextToVideo(prompt="x", extra={"settings": {"duration": "10"}}), 6.0, 6.0),
        (v2.TextToVideo(prompt="x", extra={"settings": {"duration": True}}), None, None),
        (v2.TextToVideo(prompt="x", extra={"settings": {"resolution": 5}}), None, None),
        (v2.TextToVideo(prompt="x", extra={"settings": None, "contents": "odd"}), 3.0, 3.0),
        (
            v2.ImageToVideo(
                **SILENT_FRAME,
                model_name="kling-2.6",
                audio="native",
                resolution="1080p",
                voices=(VOICE,),
            ),
            5.0,
            5.0,
        ),
        (v2.DramaSubtitle(source_video=URL), None, None),
        (RawTask(path="/text-to-video/kling-3.0", body={"prompt": "x"}), None, None),
    ],
)
def test_what_decides_the_length_decides_the_price(
    request_: Any, units: float | None, most: float | None
) -> None:
    """Lengths that only the vendor sees have a bound or none; ``extra`` counts; nothing is guessed."""
    found = estimate(request_)
    assert (found.units, found.most) == (units, most)


def test_solutions_count_in_their_pools() -> None:
    """No page has their prices; the pool is known."""
    assert estimate(v2.VirtualTryOn(product_image=URL, person_image=URL)).pool == "virtual_try_on"
    assert (
        "no price of v2.goods_studio"
        in estimate(
            v2.GoodsStudio(
                ref_images=(URL,), goods_title="x", resolution="720p", aspect_ratio="1:1", duration=15
            )
        ).why
    )
