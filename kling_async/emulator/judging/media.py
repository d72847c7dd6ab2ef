"""Judging of the files in a request: URLs, or bare Base64 of a picture or a sound."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from kling_async.emulator.judging.pixels import image_size
from kling_async.emulator.judging.refusals import Refusal
from kling_async.emulator.judging.sounds import is_sound, sound_seconds

if TYPE_CHECKING:
    from kling_async.emulator.judging.reference import MediaLimits

__all__ = ["decoded", "is_url", "judge_media"]

MB: Final = 1024 * 1024


def is_url(value: str) -> bool:
    """Tell whether a media field holds a URL rather than a file."""
    return value.startswith(("http://", "https://"))


def judge_media(media: MediaLimits, value: str, at: str) -> None:
    """Refuse a file that breaks the limits; ``at`` is the name of its field.

    A URL passes unread, because only the vendor could fetch it.
    """
    accepts = media.get("accepts", ["url", "base64"])
    if is_url(value) and "url" in accepts:
        return
    if "base64" not in accepts:
        raise Refusal(1201, f"{at} is invalid: it must be a URL")
    if value.startswith("data:"):
        raise Refusal(1201, f"{at} is invalid: send bare Base64 without the data: prefix")
    data = decoded(value)
    if data is None:
        raise Refusal(1201, f"{at} is invalid: {'neither a URL nor' if 'url' in accepts else 'not'} Base64")
    if len(data) > media.get("max_mb", len(data)) * MB:
        raise Refusal(1201, f"{at} size is larger than {media.get('max_mb')}MB")
    if media.get("kind") == "audio":
        _judge_sound(media, data, at)
    else:
        _judge_picture(media, data, at)


def decoded(value: str) -> bytes | None:
    """Return the bytes that a Base64 text encodes, None if the text is not Base64."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _judge_picture(media: MediaLimits, data: bytes, at: str) -> None:
    size = image_size(data)
    if size is None:
        raise Refusal(1201, f"{at} format is invalid: only jpg, jpeg and png are supported")
    width, height = size
    if min(width, height) < media.get("min_side_px", 0):
        raise Refusal(1201, f"{at} width and height must be at least {media.get('min_side_px')}px")
    if max(width, height) > media.get("max_side_px", width + height):
        raise Refusal(1201, f"{at} width and height must be at most {media.get('max_side_px')}px")
    aspect = width / height
    if not media.get("aspect_min", aspect) <= aspect <= media.get("aspect_max", aspect):
        raise Refusal(1201, f"{at} aspect ratio must be between 1:2.5 and 2.5:1")


def _judge_sound(media: MediaLimits, data: bytes, at: str) -> None:
    if not is_sound(data):
        raise Refusal(1201, f"{at} format is invalid: only mp3, wav, m4a and aac are supported")
    seconds = sound_seconds(data)
    if seconds is None:
        return
    low, high = media.get("min_s", seconds), media.get("max_s", seconds)
    if not low <= seconds <= high:
        raise Refusal(1201, f"{at} duration must be between {low:g} and {high:g} seconds")
