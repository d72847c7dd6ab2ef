"""Virtual try-on: what is sent, what comes back, and its models."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.checks import media_fields
from kling_async.wire.media_formats import FRAME
from tests.golden import golden
from tests.v1.judging import doubted, lives, refused, result, sent

GOLDEN = golden("virtual_try_on")
FOX = b"fox bytes"
REQUESTS = {
    "vendor's example": v1.VirtualTryOn(
        human_image="https://example.com/person.jpg", cloth_image="https://example.com/coat.jpg"
    ),
    "older model, files": v1.VirtualTryOn(
        model_name="kolors-virtual-try-on-v1", human_image=FOX, cloth_image=FOX
    ),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_a_task_s_life_is_read() -> None:
    """Images as of any other endpoint; the answer to the create has no task_info."""
    lives(v1.VirtualTryOn, GOLDEN["answers"])
    assert len(result(v1.VirtualTryOn, GOLDEN["answers"]["finished"]).files()) == 1


def test_both_images_are_needed_and_may_have_any_shape() -> None:
    """No aspect is prescribed, as the vendor's pages give none."""
    assert refused(v1.VirtualTryOn(human_image="", cloth_image="")) == [
        ("human_image", "must not be empty"),
        ("cloth_image", "must not be empty"),
    ]
    limits = [limits for _, _, limits in media_fields(REQUESTS["older model, files"])]
    assert limits == [FRAME, FRAME]


def test_an_unknown_model_is_doubted_and_an_empty_one_refused() -> None:
    """The vendor has the last word on names, but must be told one."""
    values: dict[str, Any] = {"human_image": FOX, "cloth_image": FOX}
    text = "'kolors-3' is not known here; the vendor will judge it"
    assert doubted(v1.VirtualTryOn(model_name="kolors-3", **values)) == [("model_name", text)]
    assert refused(v1.VirtualTryOn(model_name=" ", **values)) == [("model_name", "must not be empty")]
