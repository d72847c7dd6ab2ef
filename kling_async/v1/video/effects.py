"""Video endpoints of the first generation: ready-made effects for one image or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import Videos, WatermarkInfo
from kling_async.v1.rules import is_set
from kling_async.v1.video import scenes
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import MediaInput
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EffectInput", "VideoEffects"]

_OF_2025 = "Of the form of 2025 only"


class EffectInput(Part, frozen=True, kw_only=True):
    """What an effect is made of: ``image``, or ``images`` for a scene of two persons."""

    image: Annotated[MediaInput, Meta(description="The image", extra={"media": IMAGE})] | None = None
    images: (
        Annotated[
            tuple[MediaInput, ...],
            Meta(
                min_length=2,
                max_length=2,
                description="Two persons: the first ends up on the left, the second on the right",
                extra={"media": IMAGE},
            ),
        ]
        | None
    ) = None
    model_name: Annotated[str, Meta(description=_OF_2025)] | None = None
    mode: Annotated[Literal["std", "pro"], Meta(description=_OF_2025)] | None = None
    duration: (
        Annotated[Literal[5, 10], Meta(description=_OF_2025, extra={"unit": "s", "wire": "text"})] | None
    ) = None


class VideoEffects(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A ready-made effect: ``POST /v1/videos/effects``. Takes one video slot.

    The scene fixes model, mode, length and all else.
    """

    effect_scene: Annotated[str, Meta(description="Name of the effect, such as hug_pro or bullet_time_360")]
    input: EffectInput
    watermark_info: (
        Annotated[WatermarkInfo, Meta(description="Only the answers of this endpoint tell of it")] | None
    ) = None

    rules: ClassVar[tuple[Rule, ...]]


def scene_is_known(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """Unknown names pass with a warning, as do those that left the lists."""
    scene = r.effect_scene
    if scene in scenes.OLD_DUAL | scenes.OLD_SINGLE:
        yield Doubt("effect_scene", f"{scene!r} is not on the vendor's newest lists; it may have a new name")
    elif scene not in scenes.DUAL | scenes.SINGLE:
        yield Doubt("effect_scene", f"{scene!r} is not known here; the vendor will judge it")


def scene_gets_its_images(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """One image, or two for a scene of two persons: never both."""
    given = [name for name in ("image", "images") if is_set(getattr(r.input, name))]
    if len(given) != 1:
        said = "both are" if given else "neither is"
        yield Problem("input", f"give image, or images for a scene of two persons; {said} given")
    elif given == ["image"] and r.effect_scene in scenes.DUAL | scenes.OLD_DUAL:
        yield Problem("input.images", f"is required by {r.effect_scene!r}, a scene of two persons")
    elif given == ["images"] and r.effect_scene in scenes.SINGLE | scenes.OLD_SINGLE:
        yield Problem("input.image", f"is required by {r.effect_scene!r}, a scene of one image")


def form_of_2026(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """What the newest pages do not know may be ignored or refused."""
    for name in ("model_name", "mode", "duration"):
        if is_set(getattr(r.input, name)):
            yield Doubt(f"input.{name}", "is not on the vendor's pages any more: the scene fixes it")
    if r.watermark_info is not None:
        yield Doubt("watermark_info", "is not on the vendor's page of this endpoint")


VideoEffects.rules = (scene_is_known, scene_gets_its_images, form_of_2026)
