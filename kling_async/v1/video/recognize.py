"""Video endpoints of the first generation: where a person is in a picture."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import CallRequest, File

__all__ = ["ImageRecognize", "PersonMask", "PersonMasks", "RecognizedImage"]


class PersonMask(Discreet, frozen=True, kw_only=True):
    """One kind of mask of a picture. The address dies after 30 days."""

    type: str = ""
    """``object_seg`` main object, ``head_seg`` head with hair, ``face_seg`` face, ``cloth_seg`` clothes."""
    is_contain: bool = False
    """Whether that was found."""
    url: str = ""


class PersonMasks(Discreet, frozen=True, kw_only=True):
    """All masks of a picture."""

    images: tuple[PersonMask, ...] = ()


class RecognizedImage(Charged, frozen=True, kw_only=True):
    """What was recognised in a picture."""

    task_result: PersonMasks = PersonMasks()

    @property
    def images(self) -> tuple[PersonMask, ...]:
        """The masks, one a kind, also of what was not found."""
        return self.task_result.images

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the masks; none is watermarked."""
        found = () if watermarked else self.images
        return tuple(File(mask.url, ".png", mask.type) for mask in found if mask.url)


class ImageRecognize(CallRequest[RecognizedImage], frozen=True, kw_only=True, omit_defaults=True):
    """Find a person's head, face and clothes in a picture: ``POST /v1/videos/image-recognize``.

    Answered at once, takes no slot.
    """

    image: Annotated[MediaInput, Meta(description="The picture", extra={"media": IMAGE})]
