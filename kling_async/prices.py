"""What a request will cost, by the vendor's price pages (read 2026-09-20; ended models mid-2026).

Units are the vendor's: a pack holds units of one pool. Failed tasks cost nothing. A price that depends on
what only the vendor sees (the length of a sound, of a reference video) has an upper bound, or is said to be
unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from kling_async.catalog import row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.wire import CallRequest, TaskRequest

__all__ = ["Estimate", "estimate"]

_USD: Final = {"video": 0.14, "image": 0.0035, "virtual_try_on": 0.07}
"""List price of a unit, in US dollars."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is expected to cost."""

    units: float | None
    """Units of its pool; None where it cannot be known beforehand."""
    most: float | None
    """What it can cost at most; None where no bound is known."""
    pool: str
    """Whose units: ``video``, ``image`` or ``virtual_try_on``."""
    why: str
    """How it comes about, or why it is not known."""

    def of(self, units: float) -> Estimate:
        """Return the same with a price that somebody knows better."""
        return msgspec.structs.replace(self, units=units, most=units, why="as the caller says")

    @property
    def usd(self) -> float | None:
        """The units at the list price, in US dollars; packs are cheaper."""
        price = _USD.get(self.pool)
        return None if self.units is None or price is None else round(self.units * price, 6)


Per = Literal["second", "image", "call", "started 5 s"]


class _Price(NamedTuple):
    """One row of the price pages; None in a condition: it does not matter."""

    endpoints: tuple[str, ...]
    units: float
    per: Per
    models: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Of mode, for videos; of resolution, for images."""
    sound: bool | None = None
    voice: bool | None = None
    video: bool | None = None
    """Whether a video goes in."""
    image: bool | None = None
    pool: str = "video"


_CLIPS: Final = ("text_to_video", "image_to_video")
_OMNI: Final = ("omni_video",)
_MOTION: Final = ("motion_control",)
_EDIT: Final = ("multi_elements",)
_1K_2K: Final = ("1k", "2k")
_RESTYLE: Final = ("kling-v1-5", "kling-v2", "kling-v2-new")
_MASTER: Final = ("kling-v2-master", "kling-v2-1-master")


def _by_mode(
    endpoints: tuple[str, ...], per: Per, models: tuple[str, ...], /, *, std: float, pro: float, **when: Any
) -> Iterator[_Price]:
    for word, units in (("std", std), ("pro", pro), ("4k", when.pop("top", 0.0))):
        if units:
            yield _Price(endpoints, units, per, models, (word,), **when)


PRICES: Final = (
    *_by_mode(_CLIPS, "second", ("kling-v3",), std=0.6, pro=0.8, top=3.0, sound=False),
    *_by_mode(_CLIPS, "second", ("kling-v3",), std=0.9, pro=1.2, top=3.0, sound=True),
    *_by_mode(_CLIPS, "second", ("kling-v2-6",), std=0.3, pro=0.5, sound=False),
    _Price(_CLIPS, 1.0, "second", ("kling-v2-6",), ("pro",), sound=True, voice=False),
    _Price(_CLIPS, 1.2, "second", ("kling-v2-6",), ("pro",), sound=True, voice=True),
    *_by_mode(_CLIPS, "second", ("kling-v2-5-turbo",), std=0.3, pro=0.5),
    *_by_mode(_OMNI, "second", ("kling-v3-omni",), std=0.6, pro=0.8, top=3.0, sound=False, video=False),
    *_by_mode(_OMNI, "second", ("kling-v3-omni",), std=0.8, pro=1.0, top=3.0, sound=True, video=False),
    *_by_mode(_OMNI, "second", ("kling-v3-omni",), std=0.9, pro=1.2, top=3.0, sound=False, video=True),
    *_by_mode(_OMNI, "second", ("kling-video-o1",), std=0.6, pro=0.8, video=False),
    *_by_mode(_OMNI, "second", ("kling-video-o1",), std=0.9, pro=1.2, video=True),
    *_by_mode(_MOTION, "second", ("kling-v3",), std=0.9, pro=1.2),
    *_by_mode(_MOTION, "second", ("kling-v2-6",), std=0.5, pro=0.8),
    *_by_mode(("avatar",), "second", (), std=0.4, pro=0.8),
    # ended models; their clips of 5 and 10 s cost the same a second
    *_by_mode(_CLIPS, "second", ("kling-v1",), std=0.2, pro=0.7),
    *_by_mode(_CLIPS, "second", ("kling-v1-5", "kling-v1-6", "kling-v2-1"), std=0.4, pro=0.7),
    *_by_mode(("multi_image_to_video",), "second", ("kling-v1-6",), std=0.4, pro=0.7),
    *_by_mode(_EDIT, "second", ("kling-v1-6",), std=0.6, pro=1.0),
    _Price(_CLIPS, 2.0, "second", _MASTER),
    _Price(("advanced_lip_sync", "lip_sync"), 0.5, "started 5 s"),
    _Price(("identify_face", "text_to_speech", "custom_voices"), 0.05, "call"),
    _Price(("image_recognize",), 0.1, "call"),
    _Price(("text_to_audio", "video_to_audio"), 0.25, "call"),
    _Price(("custom_elements", "custom_elements_v0"), 0.0, "call"),
    _Price(("image_generation",), 8, "image", ("kling-v3",), _1K_2K, pool="image"),
    _Price(("image_generation",), 4, "image", ("kling-v2-1",), _1K_2K, image=False, pool="image"),
    _Price(("image_generation",), 8, "image", ("kling-v2-1",), _1K_2K, image=True, pool="image"),
    _Price(("image_generation",), 1, "image", ("kling-v1",), ("1k",), pool="image"),
    _Price(("image_generation",), 4, "image", ("kling-v1-5", "kling-v2"), image=False, pool="image"),
    _Price(
        ("image_generation",),
        8,
        "image",
        ("kling-v1-5", "kling-v2", "kling-v2-new"),
        image=True,
        pool="image",
    ),
    _Price(("omni_image",), 8, "image", ("kling-v3-omni", "kling-image-o1"), _1K_2K, pool="image"),
    _Price(("omni_image",), 16, "image", ("kling-v3-omni",), ("4k",), pool="image"),
    _Price(("multi_image_to_image",), 16, "image", ("kling-v2-1", "kling-v2"), pool="image"),
    _Price(("image_expand",), 8, "image", pool="image"),
    _Price(("ai_multi_shot",), 20, "call", pool="image"),
    _Price(("virtual_try_on",), 1, "image", pool="virtual_try_on"),
)
"""The price pages. ``multi_elements`` names no model any more; its price is that of its only one."""

_FREE: Final = "account calls, lists and the library's queries cost nothing"
_MODE_DEFAULTS: Final = {"omni_video": "pro"}
_MODELS: Final = {"multi_elements": "kling-v1-6"}


def estimate(request: TaskRequest[Any] | CallRequest[Any]) -> Estimate:
    """Return what a request will cost, by the price pages; nothing is asked.

    Raises:
        TypeError: It is not a request.
    """
    row = row_of(request)
    name = row.name
    pool = getattr(row, "pool", "video")
    rows = [price for price in PRICES if name in price.endpoints]
    if not rows:
        if hasattr(row, "pool") or name == "video_effects":
            return Estimate(units=None, most=None, pool=pool, why=f"no price of {name} is known")
        return Estimate(units=0.0, most=0.0, pool=pool, why=_FREE)
    fitting = [price for price in rows if _fits(price, name, request)]
    if not fitting:
        return Estimate(units=None, most=None, pool=rows[0].pool, why=f"no price of {_asked(name, request)}")
    price = fitting[0]
    count, most, what = _amount(price.per, name, request)
    why = f"{_asked(name, request)}: {price.units:g} a {price.per.removeprefix('started ')}"
    return Estimate(
        units=None if count is None else _units(price, count),
        most=None if most is None else _units(price, most),
        pool=price.pool,
        why=f"{why} x {what}" if what else why,
    )


def _units(price: _Price, count: float) -> float:
    return round(price.units * count, 4)


def _fits(price: _Price, name: str, request: Any) -> bool:
    model = getattr(request, "model_name", None) or _MODELS.get(name, "")
    if price.models and model not in price.models:
        return False
    if price.words:
        word = (
            (getattr(request, "resolution", None) or "1k") if price.per == "image" else _mode(name, request)
        )
        if word not in price.words:
            return False
    facts = {
        "sound": bool(getattr(request, "sound", None)),
        "voice": bool(getattr(request, "voice_list", None)),
        "video": bool(getattr(request, "video_list", None)),
        "image": bool(getattr(request, "image", None)),
    }
    return all(getattr(price, fact) in (None, value) for fact, value in facts.items())


def _mode(name: str, request: Any) -> str:
    return str(getattr(request, "mode", None) or _MODE_DEFAULTS.get(name, "std"))


def _asked(name: str, request: Any) -> str:
    words = [getattr(request, "model_name", None), getattr(request, "resolution", None)]
    if hasattr(request, "mode"):
        words.append(_mode(name, request))
    if getattr(request, "sound", None):
        words.append("with sound")
    return " ".join([name, *(str(word) for word in words if word)])


Amount = tuple[float | None, float | None, str]
"""Expected, at most, and in words."""


def _amount(per: Per, name: str, request: Any) -> Amount:
    match per:
        case "call":
            return 1, 1, ""
        case "image":
            return _images(request)
        case "started 5 s":
            return None, 12, "the length of the video, at most 60 s"
        case "second":
            return _LENGTHS.get(name, _asked_for)(request)


def _asked_for(request: Any) -> Amount:
    seconds = request.duration or 5
    return seconds, seconds, f"{seconds} s"


def _of_the_sound(_: Any) -> Amount:
    return None, 300, "the length of the sound, at most 300 s"


def _of_the_reference(request: Any) -> Amount:
    most = 10 if request.character_orientation == "image" else 30
    return None, most, f"the length of the reference video, at most {most} s"


def _of_omni(request: Any) -> Amount:
    edited = any(getattr(video, "refer_type", None) in (None, "base") for video in request.video_list or ())
    if edited:
        return None, 10, "the length of the edited video, at most 10 s"
    return _asked_for(request)


_LENGTHS: Final[dict[str, Callable[[Any], Amount]]] = {
    "avatar": _of_the_sound,
    "motion_control": _of_the_reference,
    "omni_video": _of_omni,
}
"""Where the length is not what the request says."""


def _images(request: Any) -> Amount:
    if getattr(request, "result_type", None) == "series":
        amount = request.series_amount or 4
        if amount == "auto":
            return None, 9, "as many images as the model makes, at most 9"
        return amount, amount, f"{amount} images"
    count = getattr(request, "n", None) or 1
    return count, count, f"{count} image{'s' * (count > 1)}"
