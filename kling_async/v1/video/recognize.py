"""Video endpoints of the first generation: find the person in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.v1.parts import Charged
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import CallRequest, File

__all__ = ["ImageRecognize", "PersonMask", "PersonMasks", "RecognizedImage"]


class PersonMask(Discreet, frozen=True, kw_only=True):
    """One kind of mask of a picture. The address expires after 30 days."""

    type: str = ""
    """``object_seg`` main object, ``head_seg`` head with hair, ``face_seg`` face, ``cloth_seg`` clothes."""
    is_contain: bool = False
    """Whether the picture contains such a thing."""
    url: str = ""
    """Address of the mask, a PNG; empty if nothing was found."""


class PersonMasks(Discreet, frozen=True, kw_only=True):
    """All masks of a picture."""

    images: tuple[PersonMask, ...] = ()
    """One mask of each kind."""


class RecognizedImage(Charged, frozen=True, kw_only=True):
    """Masks of the things recognised in a picture."""

    task_result: PersonMasks = PersonMasks()
    """The masks as the API nests them; see ``images``."""

    @property
    def images(self) -> tuple[PersonMask, ...]:
        """One mask of each kind, also of kinds that were not found."""
        return self.task_result.images

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the files of the masks; none is watermarked."""
        found = () if watermarked else self.images
        return tuple(File(mask.url, ".png", mask.type) for mask in found if mask.url)


class ImageRecognize(CallRequest[RecognizedImage], frozen=True, kw_only=True, omit_defaults=True):
    """Find a person's head, face and clothes in a picture: ``POST /v1/videos/image-recognize``.

    Answered at once, takes no slot.

    Args:
        image: The picture.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "image_recognize"

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    extra: dict[str, Any] = {}
