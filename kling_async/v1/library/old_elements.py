"""Elements of the first generation, older service: the vendor keeps it, but do not build on it.

Neither this service nor that of 2026 (`kling_async.v1.library.elements`) knows the other's elements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from kling_async.v1.library.shared import ElementTag, ImageLink, ReferImage, Tag
from kling_async.v1.parts import PAGE_NUMBER, PAGE_SIZE, PAGED
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import CallRequest, File, Result

__all__ = ["CustomElementV0", "ElementV0", "ElementsV0", "ListElementsV0", "PresetElementsV0"]


class ElementV0(Result, frozen=True, kw_only=True):
    """One element of the older service. Within a list its ``raw`` is empty: see that of the list."""

    element_id: int = 0
    """Id of the element in other requests."""
    element_name: str = ""
    """Its name."""
    element_description: str = ""
    """Its description."""
    element_frontal_image: str = ""
    """Address of the image from the front."""
    element_refer_list: tuple[ImageLink, ...] = ()
    """The other views."""
    tag_list: tuple[Tag, ...] = ()
    """What kind of thing it is."""
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return the element's images; none is watermarked."""
        if watermarked:
            return ()
        found = [(self.element_frontal_image, "frontal")]
        found += [(v.image_url, f"refer-{k}") for k, v in enumerate(self.element_refer_list, 1)]
        return tuple(File(url, ".png", name) for url, name in found if url)


class ElementsV0(Result, frozen=True, kw_only=True):
    """One page of elements of the older service; one shorter than asked for is the last."""

    elements: tuple[ElementV0, ...] = ()
    """The elements."""


class CustomElementV0(CallRequest[ElementV0], frozen=True, kw_only=True, omit_defaults=True):
    """Legacy, use `CustomElement`: an element of the older service: ``POST /v1/general/custom-elements``.

    Args:
        element_name: Name of the element, at most 20 characters.
        element_description: Description of the element, at most 100 characters.
        element_frontal_image: Image of the subject from the front.
        element_refer_list: 1 to 3 other views of it.
        tag_list: What kind of thing it is.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements_v0"

    element_name: Annotated[str, Meta(max_length=20)]
    element_description: Annotated[str, Meta(max_length=100)]
    element_frontal_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})]
    element_refer_list: Annotated[tuple[ReferImage, ...], Meta(min_length=1, max_length=3)]
    tag_list: tuple[ElementTag, ...] | None = None
    extra: dict[str, Any] = {}


class ListElementsV0(CallRequest[ElementsV0], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """Legacy: list your elements of the older service: ``GET /v1/general/custom-elements``. Free.

    Args:
        page: Number of the page, 1 to 1000. Default: 1.
        page_size: Entries of a page, 1 to 500. Default: 30.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements_v0.list"

    page: Annotated[int, PAGE_NUMBER] | None = None
    page_size: Annotated[int, PAGE_SIZE] | None = None
    extra: dict[str, Any] = {}


class PresetElementsV0(CallRequest[ElementsV0], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """Legacy: list the vendor's elements of the older service: ``GET /v1/general/presets-elements``.

    Free.

    Args:
        page: Number of the page, 1 to 1000. Default: 1.
        page_size: Entries of a page, 1 to 500. Default: 30.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "custom_elements_v0.presets"

    page: Annotated[int, PAGE_NUMBER] | None = None
    page_size: Annotated[int, PAGE_SIZE] | None = None
    extra: dict[str, Any] = {}
