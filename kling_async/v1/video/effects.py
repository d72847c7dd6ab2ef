"""Video endpoints of the first generation: ready-made effects for one image or two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from kling_async.errors import Problem
from kling_async.v1.parts import Videos, WatermarkInfo
from kling_async.v1.rules import is_set
from kling_async.v1.video import scenes
from kling_async.wire.checks import Doubt, Rule
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE
from kling_async.wire.requests import Part, TaskRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["EffectInput", "VideoEffects"]


class EffectInput(Part, frozen=True, kw_only=True):
    """Input of an effect: ``image``, or ``images`` for a scene of two persons.

    Args:
        image: The image.
        images: 2 images of one person each: the first ends up on the left, the second on the right.
        model_name: A field of the API's form of 2025 only.
        mode: A field of the API's form of 2025 only.
        duration: Length in seconds, a field of the API's form of 2025 only.
    """

    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    images: (
        Annotated[
            tuple[Media | str | bytes | Path, ...],
            Meta(min_length=2, max_length=2, extra={"media": IMAGE}),
        ]
        | None
    ) = None
    model_name: str | None = None
    mode: Literal["std", "pro"] | None = None
    duration: Annotated[Literal[5, 10], Meta(extra={"unit": "s", "wire": "text"})] | None = None


class VideoEffects(TaskRequest[Videos], frozen=True, kw_only=True, omit_defaults=True):
    """A ready-made effect: ``POST /v1/videos/effects``. Takes one video slot.

    The scene fixes model, mode, length and everything else.

    Args:
        effect_scene: Name of the effect, such as ``hug_pro`` or ``bullet_time_360``.
        input: The image or images.
        watermark_info: Asks for a watermarked copy. The endpoint's page has no such field; only its answers
            show one.
        extra: Fields of the API that this class lacks; merged into the body last.
    """

    endpoint_name = "video_effects"

    effect_scene: str
    input: EffectInput
    watermark_info: WatermarkInfo | None = None
    extra: dict[str, Any] = {}

    rules: ClassVar[tuple[Rule, ...]]


def scene_is_known(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """Warn of unknown scenes and of scenes that the newest lists lack."""
    scene = r.effect_scene
    if scene in scenes.OLD_DUAL | scenes.OLD_SINGLE:
        yield Doubt("effect_scene", f"{scene!r} is not on the vendor's newest lists; it may have a new name")
    elif scene not in scenes.DUAL | scenes.SINGLE:
        yield Doubt("effect_scene", f"{scene!r} is not known here; the vendor will judge it")


def scene_gets_its_images(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """Require one image, or two for a scene of two persons, and never both fields."""
    given = [name for name in ("image", "images") if is_set(getattr(r.input, name))]
    if len(given) != 1:
        said = "both are" if given else "neither is"
        yield Problem("input", f"give image, or images for a scene of two persons; {said} given")
    elif given == ["image"] and r.effect_scene in scenes.DUAL | scenes.OLD_DUAL:
        yield Problem("input.images", f"is required by {r.effect_scene!r}, a scene of two persons")
    elif given == ["images"] and r.effect_scene in scenes.SINGLE | scenes.OLD_SINGLE:
        yield Problem("input.image", f"is required by {r.effect_scene!r}, a scene of one image")


def form_of_2026(r: VideoEffects) -> Iterator[Problem | Doubt]:
    """Warn of fields that the newest pages lack: the vendor may ignore or refuse them."""
    for name in ("model_name", "mode", "duration"):
        if is_set(getattr(r.input, name)):
            yield Doubt(f"input.{name}", "is not on the vendor's pages any more: the scene fixes it")
    if r.watermark_info is not None:
        yield Doubt("watermark_info", "is not on the vendor's page of this endpoint")


VideoEffects.rules = (scene_is_known, scene_gets_its_images, form_of_2026)
