"""Image endpoints of the first generation: a person in other clothes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from msgspec import Meta

from kling_async.v1.parts import Images
from kling_async.v1.rules import model_is_known
from kling_async.wire.checks import Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import FRAME
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.errors import Problem
    from kling_async.wire.checks import Doubt

__all__ = ["DEFAULT_TRY_ON_MODEL", "VirtualTryOn"]

DEFAULT_TRY_ON_MODEL: Final = "kolors-virtual-try-on-v1-5"
"""Sent where the caller names no model."""

_KNOWN: Final = ("kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5")


class VirtualTryOn(TaskRequest[Images], frozen=True, kw_only=True, omit_defaults=True):
    """A person in other clothes: ``POST /v1/images/kolors-virtual-try-on``. Takes one try-on slot.

    A notice of 2026 named it among what ends on 2026-09-15, the changelog of that day says that both models
    are served by a newer one. Two garments that exclude each other end as a failed task.
    """

    model_name: Annotated[str, Meta(description="kolors-virtual-try-on-v1-5 or kolors-virtual-try-on-v1")] = (
        DEFAULT_TRY_ON_MODEL
    )
    human_image: Annotated[MediaInput, Meta(description="The person", extra={"media": FRAME})]
    cloth_image: Annotated[
        MediaInput,
        Meta(
            description="One garment on white; for v1-5 also an upper and a lower one side by side",
            extra={"media": FRAME},
        ),
    ]

    rules: ClassVar[tuple[Rule, ...]]


def model_is_of_try_on(r: VirtualTryOn) -> Iterator[Problem | Doubt]:
    """An unknown model passes with a warning."""
    yield from model_is_known(r.model_name, r.model_name in _KNOWN, retired=frozenset())


VirtualTryOn.rules = (model_is_of_try_on,)
