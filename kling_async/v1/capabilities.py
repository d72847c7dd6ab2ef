"""What each model can do, from the vendor's capability maps (video 2026-03 to 2026-10, image 2026-05-19).

The maps change monthly. An unknown model passes with one warning; a known one is held to its row, and a row
that no good source confirms only warns. ``RETIRED`` names may still answer or not: they warn as well.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["IMAGE", "RETIRED_IMAGE", "RETIRED_VIDEO", "VIDEO", "ImageRow", "VideoRow"]


class VideoRow(NamedTuple):
    """One model in one mode of one endpoint."""

    model: str
    endpoint: str
    modes: tuple[str, ...]
    durations: tuple[int, ...]
    sound: bool = False
    multi_shot: bool = False
    camera_control: bool = False
    cfg_scale: bool | None = False
    """None: listed, effect not confirmed."""
    sure: bool = True


_T2V: Final = "text_to_video"
_5: Final = (5,)
_10: Final = (10,)
_5_10: Final = (5, 10)
_3_15: Final = tuple(range(3, 16))
_ANY: Final = ("std", "pro")

VIDEO: Final[tuple[VideoRow, ...]] = (
    VideoRow("kling-v1", _T2V, ("std",), _5, camera_control=True, cfg_scale=True),
    VideoRow("kling-v1", _T2V, ("std",), _10, cfg_scale=True),
    VideoRow("kling-v1", _T2V, ("pro",), _5_10, cfg_scale=True),
    VideoRow("kling-v1-6", _T2V, ("std", "pro"), _5_10, cfg_scale=True),
    VideoRow("kling-v2-master", _T2V, _ANY, _5_10),
    VideoRow("kling-v2-1-master", _T2V, _ANY, _5_10),
    VideoRow("kling-v2-5-turbo", _T2V, ("std", "pro"), _5_10),
    VideoRow("kling-v2-6", _T2V, ("std",), _5_10),
    VideoRow("kling-v2-6", _T2V, ("pro",), _5_10, sound=True),
    VideoRow("kling-v3", _T2V, ("std", "pro"), _3_15, sound=True, multi_shot=True, cfg_scale=None),
    VideoRow("kling-v3", _T2V, ("4k",), _3_15, sound=True, multi_shot=True, cfg_scale=None, sure=False),
)

RETIRED_VIDEO: Final = frozenset(
    {"kling-v1", "kling-v1-5", "kling-v1-6", "kling-v2-1", "kling-v2-master", "kling-v2-1-master"}
)
"""Announced to end on 2026-09-15."""


class ImageRow(NamedTuple):
    """One image model at these endpoints."""

    model: str
    endpoints: tuple[str, ...]
    resolutions: tuple[str, ...] = ("1k", "2k")
    """Empty: none can be chosen."""
    image_reference: bool = False
    """Keeps the subject or the face of an image."""
    element_list: bool = False
    series: bool = False
    """Makes several images that belong together."""


_OMNI_IMAGE: Final = ("omni_image",)
_GENERATE: Final = ("image_generation",)
_COMPOSE: Final = ("multi_image_to_image",)

IMAGE: Final[tuple[ImageRow, ...]] = (
    ImageRow("kling-v3", _GENERATE, element_list=True),
    ImageRow("kling-v3-omni", _OMNI_IMAGE, ("1k", "2k", "4k"), element_list=True, series=True),
    ImageRow("kling-image-o1", _OMNI_IMAGE, element_list=True),
    ImageRow("kling-v2-1", _GENERATE, image_reference=True),
    ImageRow("kling-v2-1", _COMPOSE, ()),
    ImageRow("kling-v1", _GENERATE, ("1k",)),
    ImageRow("kling-v1-5", _GENERATE, ("1k",), image_reference=True),
    ImageRow("kling-v2", _GENERATE),
    ImageRow("kling-v2", _COMPOSE, ()),
    ImageRow("kling-v2-new", _GENERATE, ()),
)

RETIRED_IMAGE: Final = frozenset({"kling-v1", "kling-v1-5", "kling-v2", "kling-v2-new"})
"""Announced to end on 2026-09-15."""
