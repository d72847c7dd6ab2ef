"""Parts and limits of the second generation that several endpoints share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE, Limits
from kling_async.wire.media_formats import VIDEO as CLIP
from kling_async.wire.requests import Part

__all__ = [
    "BGM",
    "CLIP",
    "PICTURE",
    "PRODUCT",
    "WATERMARK",
    "GlossaryEntry",
    "NamedElement",
    "NamedImage",
    "NamedVideo",
    "NamedVoice",
]

PICTURE: Final = IMAGE._replace(max_mb=50)
"""Limits of images of the second generation."""
PRODUCT: Final = PICTURE._replace(formats=("jpeg", "png", "webp"))
"""Limits of images of the solutions."""
BGM: Final = Limits("audio", ("mp3", "m4a", "wav", "wave"), max_mb=50, base64=False)
WATERMARK: Final = Meta(extra={"default": False, "place": "options.watermark_info.enabled"})


class NamedImage(Part, frozen=True, kw_only=True):
    """An image that a prompt may name: ``@image_1``.

    Args:
        url: The image; in spite of the API's name, bytes and files are taken too.
        id: Its name in the prompt, unique in the request, without the ``@``.
    """

    url: Annotated[Media | str | bytes | Path, Meta(extra={"media": PICTURE})]
    id: str | None = None


class NamedVideo(Part, frozen=True, kw_only=True):
    """A video that a prompt may name: ``@video_1``. MP4 or MOV, at most 200 MB.

    Args:
        url: Address of the video.
        id: Its name in the prompt, unique in the request, without the ``@``.
    """

    url: Annotated[Media | str | bytes | Path, Meta(extra={"media": CLIP})]
    id: str | None = None


class NamedElement(Part, frozen=True, kw_only=True):
    """An element of the account's library, under a name in the prompt: ``@element_1``.

    Args:
        element_id: Id of the element, text or a whole number.
        id: Its name in the prompt, unique in the request, without the ``@``. None may be a part of another.
    """

    element_id: Annotated[str | int, Meta(extra={"wire": "text"})]
    id: str

    def __post_init__(self) -> None:
        """Turn the id into text, so that requests with either form are equal."""
        super().__post_init__()
        if type(self.element_id) is int:
            msgspec.structs.force_setattr(self, "element_id", str(self.element_id))


class NamedVoice(Part, frozen=True, kw_only=True):
    """A voice that speaks under a name in the prompt: ``@1``.

    Args:
        voice_id: Id of a custom or preset voice. Voice ids of lip sync, of text to speech and of the
            solutions belong to other namespaces.
        id: Its name in the prompt, unique in the request, without the ``@``.
    """

    voice_id: str
    id: str


class GlossaryEntry(Part, frozen=True, kw_only=True):
    """One term and its translation.

    Args:
        source: The term, at most 100 characters.
        target: Its translation, at most 100 characters.
    """

    source: Annotated[str, Meta(max_length=100)]
    target: Annotated[str, Meta(max_length=100)]
