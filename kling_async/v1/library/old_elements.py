"""Elements of the first generation, older service: the vendor keeps it, but do not build on it.

Its elements are unknown to the service of 2026 (`kling_async.v1.library.elements`) and the other way round.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kling_async.v1.library.elements import ElementTag, ImageLink, ReferImage, Tag
from kling_async.v1.parts import PAGED, PageNumber, PageSize
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import CallRequest, File, Result

__all__ = ["CustomElementV0", "ElementV0", "ElementsV0", "ListElementsV0", "PresetElementsV0"]


class ElementV0(Result, frozen=True, kw_only=True):
    """One element of the older service. Within a list its ``raw`` is empty: see that of the list."""

    element_id: int = 0
    element_name: str = ""
    element_description: str = ""
    element_frontal_image: str = ""
    element_refer_list: tuple[ImageLink, ...] = ()
    tag_list: tuple[Tag, ...] = ()
    owned_by: str = ""
    """``kling``, or the number of the account that made it."""

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:
        """Return its images; none is watermarked."""
        if watermarked:
            return ()
        found = [(self.element_frontal_image, "frontal")]
        found += [(v.image_url, f"refer-{k}") for k, v in enumerate(self.element_refer_list, 1)]
        return tuple(File(url, ".png", name) for url, name in found if url)


class ElementsV0(Result, frozen=True, kw_only=True):
    """One page of elements of the older service; one shorter than asked for is the last."""

    elements: tuple[ElementV0, ...] = ()


class CustomElementV0(CallRequest[ElementV0], frozen=True, kw_only=True, omit_defaults=True):
    """Legacy, use `CustomElement`: an element of the older service: ``POST /v1/general/custom-elements``."""

    element_name: Annotated[str, Meta(max_length=20, description="What to call it")]
    element_description: Annotated[str, Meta(max_length=100, description="What it is")]
    element_frontal_image: Annotated[MediaInput, Meta(description="From the front", extra={"media": IMAGE})]
    element_refer_list: Annotated[
        tuple[ReferImage, ...], Meta(min_length=1, max_length=3, description="Other views of it")
    ]
    tag_list: Annotated[tuple[ElementTag, ...], Meta(description="What kind of thing it is")] | None = None


class ListElementsV0(CallRequest[ElementsV0], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """Legacy: your elements of the older service: ``GET /v1/general/custom-elements``. Free."""

    page: PageNumber | None = None
    page_size: PageSize | None = None


class PresetElementsV0(CallRequest[ElementsV0], frozen=True, kw_only=True, omit_defaults=True, rename=PAGED):
    """Legacy: the vendor's elements of the older service: ``GET /v1/general/presets-elements``. Free."""

    page: PageNumber | None = None
    page_size: PageSize | None = None
