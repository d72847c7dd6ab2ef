"""Models of the second generation: what each reads at each endpoint, by the pages of 2026-06 to 2026-10.

Production ignores fields and contents that a model does not read, makes the task without them and charges for
it. So a request of a known model is held to its row; an unknown model passes with one warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from kling_async.v1.capabilities import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FIRST_NAMES", "MODELS", "ModelRow", "model_capabilities", "model_row", "models_of"]

Bound: TypeAlias = "tuple[str | int, ...] | int | None"
"""Words or numbers that are taken; or most characters of a text, most entries of an array; None: any."""


class ModelRow(NamedTuple):
    """One model at one endpoint."""

    endpoint: str
    model: str
    reads: Mapping[str, Bound]
    """The fields that it reads, with their bounds. ``watermark`` is read by all."""


_T2V: Final = "v2.text_to_video"
_I2V: Final = "v2.image_to_video"
_OMNI: Final = "v2.omni_video"
_MOTION: Final = "v2.motion_control"
_HD: Final = ("720p", "1080p")
_4K: Final = (*_HD, "4k")
_NATIVE: Final = ("native", "off")
_ORIGINAL: Final = ("original", "off")
_RATIOS: Final = ("16:9", "9:16", "1:1")
_5_10: Final = (5, 10)
_3_10: Final = tuple(range(3, 11))
_3_15: Final = tuple(range(3, 16))
_SHAPE: Final[dict[str, Bound]] = {"aspect_ratio": _RATIOS}
_FRAMES: Final[dict[str, Bound]] = {"first_frame": None, "last_frame": None}
_MATERIAL: Final[dict[str, Bound]] = {
    **_FRAMES,
    "refer_images": None,
    "feature_video": None,
    "base_video": None,
    "elements": None,
}
_SCENE: Final[dict[str, Bound]] = {
    "prompt": 2500,
    "image": None,
    "video": None,
    "character_orientation": ("image", "video"),
    "audio": _ORIGINAL,
    "resolution": _HD,
}


def _row(
    endpoint: str,
    model: str,
    prompt: int,
    resolution: tuple[str, ...],
    duration: tuple[int, ...],
    more: Mapping[str, Bound],
) -> ModelRow:
    reads: dict[str, Bound] = {"prompt": prompt, "resolution": resolution, "duration": duration}
    return ModelRow(endpoint, model, {**reads, **more})


MODELS: Final[tuple[ModelRow, ...]] = (
    # 3.0 Turbo always makes sound, and cuts a prompt of several shots into shots, without fields for either
    _row(_T2V, "kling-3.0-turbo", 3072, _HD, _3_15, _SHAPE),
    _row(_T2V, "kling-3.0", 3072, _4K, _3_15, {**_SHAPE, "multi_shot": None, "audio": _NATIVE}),
    _row(_T2V, "kling-2.6", 2500, _HD, _5_10, {**_SHAPE, "audio": _NATIVE}),
    _row(_T2V, "kling-2.5-turbo", 2500, _HD, _5_10, _SHAPE),
    _row(_I2V, "kling-3.0-turbo", 2500, _HD, _3_15, {"first_frame": None}),
    _row(
        _I2V, "kling-3.0", 3072, _4K, _3_15, {**_FRAMES, "elements": 3, "multi_shot": None, "audio": _NATIVE}
    ),
    _row(_I2V, "kling-2.6", 2500, _HD, _5_10, {**_FRAMES, "voices": 2, "audio": _NATIVE}),
    _row(_I2V, "kling-2.5-turbo", 2500, _HD, _5_10, _FRAMES),
    _row(
        _OMNI,
        "kling-3.0-omni",
        3072,
        _4K,
        _3_15,
        {**_MATERIAL, **_SHAPE, "multi_shot": None, "audio": ("native", "original", "off")},
    ),
    _row(_OMNI, "kling-o1", 2500, _HD, _3_10, {**_MATERIAL, **_SHAPE, "audio": _ORIGINAL}),
    ModelRow(_MOTION, "kling-3.0", {**_SCENE, "element": None}),
    ModelRow(_MOTION, "kling-2.6", _SCENE),
)
"""Every model of the four families of videos."""

FIRST_NAMES: Final = {
    "kling-v3": "kling-3.0",
    "kling-v3-omni": "kling-3.0-omni",
    "kling-video-o1": "kling-o1",
    "kling-v2-6": "kling-2.6",
    "kling-v2-5-turbo": "kling-2.5-turbo",
}
"""Names of the models in the second generation, by those in the first."""

_rows: Final = {(row.endpoint, row.model): row for row in MODELS}


def model_row(endpoint: str, model: str) -> ModelRow | None:
    """Return the row of a model at an endpoint; None if it is not known there."""
    return _rows.get((endpoint, model))


def models_of(endpoint: str) -> tuple[str, ...]:
    """Return the models that are known at an endpoint."""
    return tuple(row.model for row in MODELS if row.endpoint == endpoint)


_PLAIN: Final = ("prompt", "resolution", "duration")
"""Fields that every model reads, or that a capability has a place of its own for."""


def model_capabilities(model: str | None = None, endpoint: str | None = None) -> tuple[Capability, ...]:
    """Return the capabilities of the second generation's models, as those of the first; nothing is sent.

    Args:
        model: Return rows of this model only, ``kling-3.0``.
        endpoint: Return rows of this endpoint only, ``v2.text_to_video``. An unknown name gives no rows.
    """
    return tuple(
        Capability(
            endpoint=row.endpoint,
            model=row.model,
            durations=tuple(n for n in _choices(row, "duration") if isinstance(n, int)),
            resolutions=tuple(word for word in _choices(row, "resolution") if isinstance(word, str)),
            features=tuple(name for name in row.reads if name not in _PLAIN),
        )
        for row in MODELS
        if model in (None, row.model) and endpoint in (None, row.endpoint)
    )


def _choices(row: ModelRow, field: str) -> tuple[str | int, ...]:
    bound = row.reads.get(field)
    return bound if isinstance(bound, tuple) else ()
