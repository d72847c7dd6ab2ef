"""Image endpoints of the first generation: a person in other clothes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from msgspec import Meta

from kling_async.v1.parts import Images
from kling_async.v1.rules import model_is_known
from kling_async.wire.checks import Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import FRAME
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.errors import Problem
    from kling_async.wire.checks import Doubt

__all__ = ["DEFAULT_TRY_ON_MODEL", "VirtualTryOn"]

DEFAULT_TRY_ON_MODEL: Final = "kolors-virtual-try-on-v1-5"
"""Sent where the caller names no model."""

_KNOWN: Final = frozenset({"kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"})


class VirtualTryOn(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """A person in other clothes: ``POST /v1/images/kolors-virtual-try-on``. Takes one try-on slot.

    A notice of 2026 lists it among the endpoints that end on 2026-09-15; the changelog of that day says that
    a newer model serves both model names. Two garments that exclude each other end as a failed task.

    Args:
        human_image: Image of the person.
        cloth_image: Image of one garment on white; for v1-5 also of an upper and a lower one side by side.
        model_name: ``kolors-virtual-try-on-v1-5`` or ``kolors-virtual-try-on-v1``.
            Default: kolors-virtual-try-on-v1-5.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "virtual_try_on"

    human_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": FRAME})]
    cloth_image: Annotated[Media | str | bytes | Path, Meta(extra={"media": FRAME})]
    model_name: str = DEFAULT_TRY_ON_MODEL
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def model_is_of_try_on(r: VirtualTryOn) -> Iterator[Problem | Doubt]:
    """Warn of an unknown model."""
    yield from model_is_known(r.model_name, _KNOWN, endpoint="virtual_try_on", retired=frozenset())


VirtualTryOn.rules = (model_is_of_try_on,)
