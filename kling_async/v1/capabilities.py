"""Capabilities of each model, from the vendor's maps (video 2026-03 to 2026-10, image 2026-05-19).

The maps change monthly. An unknown model passes with one warning. A known one is held to its rows; a row
that no good source confirms leads to warnings only. Models in ``RETIRED_...`` may or may not answer: they
warn too.
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
    """Features of one model at one endpoint, in some modes and lengths."""

    model: str
    endpoint: str
    modes: tuple[str, ...]
    """Offered modes; empty: the input video decides."""
    durations: tuple[int, ...]
    """Lengths that may be asked for, in seconds; where no length is asked for, those of the result."""
    resolution: str = ""
    """Resolution of the result; empty: the vendor does not say."""
    features: tuple[str, ...] = ()
    """Offered features: names of fields (``sound``), and ``end_frame_only`` (image_tail without image),
    ``motion_brush`` (masks), ``reference_video`` (an input video), ``extendable`` (by video_extend)."""
    disputed: tuple[str, ...] = ()
    """Features that one source grants and another does not: they warn."""
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
"""Modes of old models for which the map names none; clients sent these."""
_OLD: Final = ("cfg_scale", "extendable")
_ENDS: Final = ("image_tail", "end_frame_only")
_V3: Final = ("multi_shot", "sound", "cfg_scale")
"""Features of kling-v3; nobody confirmed that cfg_scale has an effect there."""
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
    # first row of a mode: a text alone or a first frame alone; second row: with any other input
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
    """Features of one image model at some endpoints."""

    model: str
    endpoints: tuple[str, ...]
    resolutions: tuple[str, ...] = ("1k", "2k")
    """Offered resolutions; empty: none can be chosen."""
    image_reference: bool = False
    """Whether it keeps the subject or the face of an image."""
    element_list: bool = False
    series: bool = False
    """Whether it makes several images that belong together."""


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
    """Features of one model at one endpoint, in some modes and lengths."""

    endpoint: str
    """Name of the endpoint, ``image_to_video``."""
    model: str
    modes: tuple[str, ...] = ()
    """Offered modes; empty: none can be chosen."""
    durations: tuple[int, ...] = ()
    """Offered lengths in seconds; empty for images."""
    resolutions: tuple[str, ...] = ()
    """Offered resolutions; empty: the vendor does not say, or the input decides."""
    features: tuple[str, ...] = ()
    """Other features, mostly by the name of the field that asks for them."""
    retired: bool = False
    """Whether the model was announced to end; it may still answer or not."""
    sure: bool = True
    """Whether a good source confirms this row."""


def capabilities(model: str | None = None, endpoint: str | None = None) -> tuple[Capability, ...]:
    """Return the capabilities of models, by the vendor's maps as this version knows them; nothing is sent.

    The same maps judge a request before it is sent. Endpoints without models are not in them.

    Args:
        model: Return rows of this model only, ``kling-v3``.
        endpoint: Return rows of this endpoint only, ``text_to_video``. An unknown name gives no rows.
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
