"""Parts and results that elements, older elements and voices have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from kling_async.redaction import Discreet
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import Part

__all__ = ["ElementTag", "ImageLink", "ReferImage", "Tag", "Voice"]


class ReferImage(Part, frozen=True, kw_only=True):
    """One more view of a subject.

    Args:
        image_url: The image; in spite of the name, bytes and files are taken too.
    """

    image_url: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]


class ElementTag(Part, frozen=True, kw_only=True):
    """A kind of things that an element belongs to.

    Args:
        tag_id: ``o_101`` hottest, ``o_102`` character, ``o_103`` animal, ``o_104`` item, ``o_105`` costume,
            ``o_106`` scene, ``o_107`` effect, ``o_108`` others.
    """

    tag_id: str


class ImageLink(Discreet, frozen=True, kw_only=True):
    """Address of one image."""

    image_url: str = ""
    """The address."""


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of things that an element belongs to, with the vendor's name for it."""

    id: str | int = ""
    """``o_101`` to ``o_108``, as in `ElementTag`."""
    name: str = ""
    """The vendor's name of the kind."""
    description: str = ""
    """The vendor's description of the kind."""


class Voice(Discreet, frozen=True, kw_only=True):
    """One voice."""

    voice_id: str = ""
    """Id of the voice in other requests."""
    voice_name: str = ""
    """Its name."""
    trial_url: str = ""
    """Address of a sample to listen to."""
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""
