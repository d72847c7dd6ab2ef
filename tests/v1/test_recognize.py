"""Image recognition: what is sent, and what comes back."""

from __future__ import annotations

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, refused, sent

GOLDEN = golden("image_recognize")
REQUESTS = {
    "vendor's example": v1.ImageRecognize(image="https://example.com/person.png"),
    "file": v1.ImageRecognize(image=b"fox bytes"),
}


@pytest.mark.parametrize("case", GOLDEN["requests"])
def test_a_request_is_sent_as_the_vendor_writes_it(case: str) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(REQUESTS[case]) == GOLDEN["requests"][case]


def test_masks_are_read() -> None:
    """One a kind, with or without a file; no repr shows what signs an address."""
    found = answered(REQUESTS["file"], GOLDEN["answers"]["person"])
    assert [(mask.type, mask.is_contain) for mask in found.images] == [
        ("object_seg", True),
        ("head_seg", True),
        ("face_seg", True),
        ("cloth_seg", False),
    ]
    assert [file.name for file in found.files()] == ["object_seg", "head_seg", "face_seg"]
    assert found.files()[0] == File("https://example.com/object.png?sig=SECRET", ".png", "object_seg")
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_a_picture_is_needed() -> None:
    """An empty one is none."""
    assert refused(v1.ImageRecognize(image="")) == [("image", "must not be empty")]
