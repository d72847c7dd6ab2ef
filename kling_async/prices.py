"""Prices: the units that requests cost, by the vendor's price pages of 2026-09-20 (ended models: mid-2026).

Units are the vendor's: a pack holds units of one pool. Failed tasks cost nothing. A price that depends on
facts that only the vendor sees (the length of a sound, of a reference video) has an upper bound, or is
unknown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn

import msgspec

from kling_async.catalog import row_of
from kling_async.display.fields import fields_bundle
from kling_async.redaction import Serializable
from kling_async.v2.prices import video_price
from kling_async.wire.endpoints import Endpoint, JournaledRequest, RawTask
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.wire.requests import CallRequest

__all__ = ["Estimate", "estimate"]

_USD: Final = {"video": 0.14, "image": 0.0035, "virtual_try_on": 0.07}
"""List price of a unit, in US dollars."""


class Estimate(Serializable, frozen=True, kw_only=True):
    """The expected price of a request."""

    units: float | None
    """Units of its pool; None where they cannot be known beforehand."""
    most: float | None
    """Most units that it can cost; None where no bound is known."""
    pool: str
    """The pool whose units they are: ``video``, ``image`` or ``virtual_try_on``."""
    why: str
    """The terms of the price, or why it is not known."""

    _repr_mimebundle_ = fields_bundle

    def of(self, units: float) -> Estimate:
        """Return this estimate with the caller's own price."""
        return msgspec.structs.replace(self, units=units, most=units, why="price given by the caller")

    @property
    def usd(self) -> float | None:
        """The units at the list price, in US dollars; packs are cheaper."""
        price = _USD.get(self.pool)
        return None if self.units is None or price is None else round(self.units * price, 6)


Per = Literal["second", "image", "call", "started 5 s"]


class _Price(NamedTuple):
    """One row of the price pages; a condition that is None does not matter."""

    endpoints: tuple[str, ...]
    units: float
    per: Per
    models: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """Values of ``mode``, for videos; of ``resolution``, for images."""
    sound: bool | None = None
    voice: bool | None = None
    """Whether a prompt names a voice."""
    video: bool | None = None
    """Whether the request has a reference video."""
    image: bool | None = None
    """Whether the request has an image."""
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


# the first row that fits a request is its price
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
    # ended models; their clips of 5 and 10 s cost the same per second
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
)
"""The rows of the price pages. ``multi_elements`` has a single model, which its requests do not name."""

_UNSURE: Final = {
    "video_extend": Estimate(
        units=None,
        most=3.5,
        pool="video",
        why="video_extend: 1, 2 or 3.5 a call, by model and mode of the video that is extended",
    ),
    "virtual_try_on": Estimate(
        units=None,
        most=None,
        pool="virtual_try_on",
        why="virtual_try_on: 1 an image once, but a newer model is said to answer since 2026-09-15, "
        "and no price of that is known",
    ),
}
"""Estimates for endpoints whose price the price pages leave open."""

_FREE: Final = "account calls, lists and the library's queries cost nothing"
_MODE_DEFAULTS: Final = {"omni_video": "pro"}
"""The vendor's default of ``mode`` where that is not std."""
_MODELS: Final = {"multi_elements": "kling-v1-6"}
"""The models of endpoints whose requests name none."""


def estimate(request: TaskRequest[Any] | CallRequest[Any]) -> Estimate:  # noqa: PLR0911 - one line a case
    """Return the expected price of a request, by the price pages, without asking the vendor.

    Raises:
        TypeError: The argument is not a request.
    """
    row = row_of(request)
    name = row.name
    pool = row.pool if isinstance(row, Endpoint) else "video"
    if isinstance(request, JournaledRequest):
        return Estimate(units=None, most=None, pool=pool, why="the journal does not hold the request")
    if name in _UNSURE:
        return _UNSURE[name]
    if isinstance(request, TaskRequest) and not isinstance(request, RawTask) and row.name.startswith("v2."):
        return _of_the_second(name, pool, request)
    rows = [price for price in PRICES if name in price.endpoints]
    if not rows:
        if isinstance(row, Endpoint):
            return Estimate(units=None, most=None, pool=pool, why=f"no price of {name} is known")
        return Estimate(units=0.0, most=0.0, pool=pool, why=_FREE)
    sent = _AsSent(name, request)
    try:
        return _by_rows(rows, sent)
    except _UnclearError as unclear:
        why = f"no price of {name} where {unclear}"
        return Estimate(units=None, most=None, pool=rows[0].pool, why=why)


def _of_the_second(name: str, pool: str, request: TaskRequest[Any]) -> Estimate:
    """Return the expected price of a request of the second generation."""
    cost = video_price(name, request)
    units, most = (
        None if cost.rate is None or seconds is None else round(cost.rate * seconds, 4)
        for seconds in (cost.seconds, cost.most)
    )
    return Estimate(units=units, most=most, pool=pool, why=cost.why)


def _by_rows(rows: list[_Price], sent: _AsSent) -> Estimate:
    price = next((price for price in rows if _fits(price, sent)), None)
    if price is None:
        return Estimate(units=None, most=None, pool=rows[0].pool, why=f"no price of {sent.words()}")
    count, most, what = _amount(price.per, sent)
    why = f"{sent.words()}: {price.units:g} a {price.per.removeprefix('started ')}"
    return Estimate(
        units=None if count is None else _units(price, count),
        most=None if most is None else _units(price, most),
        pool=price.pool,
        why=f"{why} x {what}" if what else why,
    )


def _units(price: _Price, count: float) -> float:
    return round(price.units * count, 4)  # 0.6 x 3 is 1.7999999999999998


class _UnclearError(Exception):
    """A price depends on a value that is not understood."""


_NAMES_A_VOICE: Final = re.compile(r"<<<voice_[0-9]+>>>")


class _AsSent:
    """A request as the vendor reads it: ``extra`` wins, in the wire's form or in ours."""

    def __init__(self, name: str, request: Any) -> None:
        self.name = name
        self._request = request

    def value(self, field: str) -> Any:
        """Return the value of a field; None where the vendor's default applies."""
        extra: dict[str, Any] = self._request.extra
        found = extra[field] if field in extra else getattr(self._request, field, None)
        return None if isinstance(found, str) and not found else found

    def word(self, field: str, default: str = "") -> str:
        """Return the value of a field that holds a text."""
        found = self.value(field)
        if found is None:
            return default
        return found if isinstance(found, str) else self._unclear(field)

    def number(self, field: str, default: int) -> int:
        """Return a field that holds a whole number from 1: ``extra`` may have it as text or as 5.0."""
        found = self.value(field)
        match found:
            case None:
                return default
            case int() | float() if not isinstance(found, bool) and found >= 1 and found % 1 == 0:
                return int(found)
            case str() if re.fullmatch(r"0*[1-9][0-9]{0,9}(\.0*)?", found, re.ASCII):
                return int(float(found))
            case _:
                return self._unclear(field)

    def entries(self, field: str) -> tuple[Any, ...]:
        """Return the value of a field that holds a list."""
        found = self.value(field)
        if found is None or isinstance(found, (list, tuple)):
            return tuple(found or ())
        return self._unclear(field)

    @property
    def mode(self) -> str:
        return self.word("mode", _MODE_DEFAULTS.get(self.name, "std"))

    @property
    def sound(self) -> bool:
        found = self.value("sound")
        match found:
            case None | False | "off":
                return False
            case True | "on":
                return True
            case _:
                return self._unclear("sound")

    @property
    def voice(self) -> bool:
        """Whether a chosen voice is used: one that no prompt names does not count."""
        if not self.entries("voice_list"):
            return False
        prompts = [self.word("prompt"), *(_part(shot, "prompt") for shot in self.entries("multi_prompt"))]
        return any(_NAMES_A_VOICE.search(str(prompt)) for prompt in prompts)

    @property
    def video(self) -> bool:
        return bool(self.entries("video_list"))

    @property
    def image(self) -> bool:
        return bool(self.value("image"))

    def words(self) -> str:
        """Return endpoint, model, resolution, mode and sound as words for people."""
        words = [self.name, self.value("model_name"), self.value("resolution")]
        if hasattr(self._request, "mode"):
            words.append(self.mode)
        if self.value("sound") not in (None, False, "off"):
            words.append("with sound")
        return " ".join(str(word) for word in words if word)

    def _unclear(self, field: str) -> NoReturn:
        raise _UnclearError(f"{field} is {self.value(field)!r:.40}")


def _part(entry: Any, field: str) -> Any:
    """Return a field of an object within a request, be it a struct or a plain dict."""
    return entry.get(field) if isinstance(entry, dict) else getattr(entry, field, None)


def _fits(price: _Price, sent: _AsSent) -> bool:
    if price.models and sent.word("model_name", _MODELS.get(sent.name, "")) not in price.models:
        return False
    if price.words:
        word = sent.word("resolution", "1k") if price.per == "image" else sent.mode
        if word not in price.words:
            return False
    return all(
        getattr(price, fact) is None or getattr(price, fact) is getattr(sent, fact)
        for fact in ("sound", "voice", "video", "image")
    )


Amount = tuple[float | None, float | None, str]
"""The expected count, the greatest, and both in words."""


def _amount(per: Per, sent: _AsSent) -> Amount:
    match per:
        case "call":
            return 1, 1, ""
        case "image":
            return _images(sent)
        case "started 5 s":
            # lip sync takes videos of at most 60 s: 12 times 5 s
            return None, 12, "the length of the video, at most 60 s"
        case "second":
            return _LENGTHS.get(sent.name, _duration)(sent)


def _duration(sent: _AsSent) -> Amount:
    seconds = sent.number("duration", 5)
    return seconds, seconds, f"{seconds} s"


def _of_the_sound(_: _AsSent) -> Amount:
    # an avatar's video is as long as its sound, which may have 300 s
    return None, 300, "the length of the sound, at most 300 s"


def _of_the_reference(sent: _AsSent) -> Amount:
    most = 10 if sent.word("character_orientation") == "image" else 30
    return None, most, f"the length of the reference video, at most {most} s"


def _of_omni(sent: _AsSent) -> Amount:
    # an edited video keeps its length; the vendor reads an absent refer_type as "base"
    if any(_part(video, "refer_type") in (None, "", "base") for video in sent.entries("video_list")):
        return None, 10, "the length of the edited video, at most 10 s"
    return _duration(sent)


_LENGTHS: Final[dict[str, Callable[[_AsSent], Amount]]] = {
    "avatar": _of_the_sound,
    "motion_control": _of_the_reference,
    "omni_video": _of_omni,
}
"""Endpoints whose length is not the ``duration`` of the request."""


def _images(sent: _AsSent) -> Amount:
    if sent.word("result_type") == "series":
        if sent.value("series_amount") == "auto":
            return None, 9, "as many images as the model makes, at most 9"
        amount = sent.number("series_amount", 4)
        return amount, amount, f"{amount} images"
    count = sent.number("n", 1)
    return count, count, f"{count} image{'s' * (count > 1)}"
