"""What each model can do, from the vendor's capability maps (video 2026-03 to 2026-10, image 2026-05-19).

The maps change monthly. An unknown model passes with one warning; a known one is held to its row, and a row
that no good source confirms only warns. ``RETIRED`` names may still answer or not: they warn as well.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

__all__ = [
    "IMAGE",
    "RETIRED_IMAGE",
    "RETIRED_VIDEO",
    "VIDEO",
    "Capability",
    "ImageRow",
    "VideoRow",
    "capabilities",
]


class VideoRow(NamedTuple):
    """One model at one endpoint, in these modes and at these lengths."""

    model: str
    endpoint: str
    modes: tuple[str, ...]
    """Empty: as the video that goes in."""
    durations: tuple[int, ...]
    """Seconds that may be asked for; where nothing is asked, those that come out."""
    resolution: str = ""
    """Empty: the vendor does not say."""
    features: tuple[str, ...] = ()
    """What it offers: words for fields (``sound``), and ``end_frame_only`` (image_tail without image),
    ``motion_brush`` (masks), ``reference_video`` (a video goes in), ``extendable`` (by video_extend)."""
    disputed: tuple[str, ...] = ()
    """What one source grants and another does not: it warns."""
    sure: bool = True


_T2V: Final = "text_to_video"
_I2V: Final = "image_to_video"
_MULTI: Final = "multi_image_to_video"
_EDIT: Final = "multi_elements"
_MOTION: Final = "motion_control"
_OMNI: Final = "omni_video"
_EXTEND: Final = "video_extend"
_5: Final = (5,)
_10: Final = (10,)
_5_10: Final = (5, 10)
_3_10: Final = tuple(range(3, 11))
_3_15: Final = tuple(range(3, 16))
_3_30: Final = tuple(range(3, 31))
_STD: Final = ("std",)
_PRO: Final = ("pro",)
_4K: Final = ("4k",)
_ANY: Final = ("std", "pro")
"""Of old models for which the map knows no modes; clients sent these."""
_OLD: Final = ("cfg_scale", "extendable")
_ENDS: Final = ("image_tail", "end_frame_only")
_V3: Final = ("multi_shot", "sound", "cfg_scale")
"""That cfg_scale has an effect on kling-v3 is not confirmed."""
_V3_IMAGE: Final = ("image_tail", *_V3, "element_list")
_DISPUTED: Final = ("camera_control", "motion_brush")
_O1: Final = ("image_tail", "element_list", "reference_video")
_V3_OMNI: Final = (*_O1, "multi_shot", "sound")

VIDEO: Final[tuple[VideoRow, ...]] = (
    VideoRow("kling-v1", _T2V, _STD, _5, "720p", ("camera_control", *_OLD)),
    VideoRow("kling-v1", _T2V, _STD, _10, "720p", _OLD),
    VideoRow("kling-v1", _T2V, _PRO, _5_10, "720p", _OLD),
    VideoRow("kling-v1", _I2V, _STD, _5, "720p", ("image_tail", "motion_brush", *_OLD)),
    VideoRow("kling-v1", _I2V, _STD, _10, "720p", _OLD),
    VideoRow("kling-v1", _I2V, _PRO, _5, "720p", ("image_tail", "motion_brush", *_OLD)),
    VideoRow("kling-v1", _I2V, _PRO, _10, "720p", _OLD),
    VideoRow("kling-v1-5", _I2V, _STD, _5_10, "720p", _OLD),
    VideoRow("kling-v1-5", _I2V, _PRO, _5, "1080p", ("camera_control", "motion_brush", *_ENDS, *_OLD)),
    VideoRow("kling-v1-5", _I2V, _PRO, _10, "1080p", (*_ENDS, *_OLD)),
    VideoRow("kling-v1-6", _T2V, _STD, _5_10, "720p", _OLD),
    VideoRow("kling-v1-6", _T2V, _PRO, _5_10, "1080p", _OLD),
    VideoRow("kling-v1-6", _I2V, _STD, _5_10, "720p", _OLD),
    VideoRow("kling-v1-6", _I2V, _PRO, _5_10, "1080p", (*_ENDS, *_OLD)),
    VideoRow("kling-v1-6", _MULTI, _STD, _5_10, "720p"),
    VideoRow("kling-v1-6", _MULTI, _PRO, _5_10, "1080p", sure=False),
    VideoRow("kling-v1-6", _EDIT, _ANY, _5_10),
    VideoRow("kling-v2-master", _T2V, _ANY, _5_10, "720p"),
    VideoRow("kling-v2-1-master", _T2V, _ANY, _5_10, "1080p"),
    VideoRow("kling-v2-master", _I2V, _ANY, _5_10, "720p"),
    VideoRow("kling-v2-1-master", _I2V, _ANY, _5_10, "1080p"),
    VideoRow("kling-v2-1", _I2V, _STD, _5_10, "720p"),
    VideoRow("kling-v2-1", _I2V, _PRO, _5_10, "1080p", ("image_tail",)),
    VideoRow("kling-v2-5-turbo", _T2V, _STD, _5_10, "720p"),
    VideoRow("kling-v2-5-turbo", _T2V, _PRO, _5_10, "1080p"),
    VideoRow("kling-v2-5-turbo", _I2V, _STD, _5_10, "720p"),
    VideoRow("kling-v2-5-turbo", _I2V, _PRO, _5_10, "1080p", ("image_tail",)),
    VideoRow("kling-v2-6", _T2V, _STD, _5_10, "720p"),
    VideoRow("kling-v2-6", _T2V, _PRO, _5_10, "1080p", ("sound",)),
    VideoRow("kling-v2-6", _I2V, _STD, _5_10, "720p"),
    VideoRow("kling-v2-6", _I2V, _PRO, _5_10, "1080p", ("image_tail", "sound", "voice_list")),
    VideoRow("kling-v2-6", _MOTION, _STD, _3_30, "720p", ("reference_video",), ("element_list",)),
    VideoRow("kling-v2-6", _MOTION, _PRO, _3_30, "1080p", ("reference_video",), ("element_list",)),
    VideoRow("kling-v3", _T2V, _STD, _3_15, "720p", _V3),
    VideoRow("kling-v3", _I2V, _STD, _3_15, "720p", _V3_IMAGE, _DISPUTED),
    VideoRow("kling-v3", _T2V, _PRO, _3_15, "1080p", _V3),
    VideoRow("kling-v3", _I2V, _PRO, _3_15, "1080p", _V3_IMAGE, _DISPUTED),
    VideoRow("kling-v3", _T2V, _4K, _3_15, "4K", _V3, sure=False),
    VideoRow("kling-v3", _I2V, _4K, _3_15, "4K", _V3_IMAGE, sure=False),
    VideoRow("kling-v3", _MOTION, _STD, _3_30, "720p", ("element_list", "reference_video")),
    VideoRow("kling-v3", _MOTION, _PRO, _3_30, "1080p", ("element_list", "reference_video")),
    # text alone or a first frame alone; below, with anything more
    VideoRow("kling-video-o1", _OMNI, _STD, _5_10, "720p", sure=False),
    VideoRow("kling-video-o1", _OMNI, _STD, _3_10, "720p", _O1),
    VideoRow("kling-video-o1", _OMNI, _PRO, _5_10, "1080p", sure=False),
    VideoRow("kling-video-o1", _OMNI, _PRO, _3_10, "1080p", _O1),
    VideoRow("kling-v3-omni", _OMNI, _STD, _3_15, "720p", _V3_OMNI),
    VideoRow("kling-v3-omni", _OMNI, _PRO, _3_15, "1080p", _V3_OMNI),
    VideoRow("kling-v3-omni", _OMNI, _4K, _3_15, "4K", _V3_OMNI, sure=False),
    VideoRow("kling-v1", _EXTEND, (), (4, 5)),
    VideoRow("kling-v1-5", _EXTEND, (), (4, 5), features=("cfg_scale",)),
    VideoRow("kling-v1-6", _EXTEND, (), (4, 5), features=("cfg_scale",)),
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


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """What one model may be asked for at one endpoint, in these modes and at these lengths."""

    endpoint: str
    """Name of the endpoint, ``image_to_video``."""
    model: str
    modes: tuple[str, ...] = ()
    """Empty: none can be chosen."""
    durations: tuple[int, ...] = ()
    """Seconds; empty for images."""
    resolutions: tuple[str, ...] = ()
    """Empty: the vendor does not say, or as what goes in."""
    features: tuple[str, ...] = ()
    """What it offers besides; mostly the fields that ask for it."""
    retired: bool = False
    """Announced to end; it may still answer or not."""
    sure: bool = True
    """Whether a good source says so."""


def capabilities(model: str | None = None, endpoint: str | None = None) -> tuple[Capability, ...]:
    """Return what may be asked for, by the vendor's maps as this version knows them; nothing is asked.

    The same maps judge a request before it is sent. Endpoints without models are not in them.

    Args:
        model: Only of this model, ``kling-v3``.
        endpoint: Only of this endpoint, ``text_to_video``. An unknown name gives nothing.
    """
    return tuple(
        row
        for row in (*map(_of_videos, VIDEO), *(found for images in IMAGE for found in _of_images(images)))
        if model in (None, row.model) and endpoint in (None, row.endpoint)
    )


def _of_videos(row: VideoRow) -> Capability:
    return Capability(
        endpoint=row.endpoint,
        model=row.model,
        modes=row.modes,
        durations=row.durations,
        resolutions=(row.resolution,) if row.resolution else (),
        features=row.features,
        retired=row.model in RETIRED_VIDEO,
        sure=row.sure,
    )


def _of_images(row: ImageRow) -> list[Capability]:
    offered = Capability(
        endpoint="",
        model=row.model,
        resolutions=row.resolutions,
        features=tuple(name for name, value in row._asdict().items() if value is True),
        retired=row.model in RETIRED_IMAGE,
    )
    return [msgspec.structs.replace(offered, endpoint=endpoint) for endpoint in row.endpoints]
