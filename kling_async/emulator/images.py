"""The judge of pictures sent along: bare Base64 of a PNG or JPEG, read here from its header."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Final

from kling_async.emulator.answers import Refusal

if TYPE_CHECKING:
    from kling_async.emulator.reference import Media

__all__ = ["check_media", "image_size", "is_url"]

MB: Final = 1024 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8"
# frames C0 to CF hold the size, but for DHT, JPG and DAC
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_url(value: str) -> bool:
    """Whether a media field holds an address rather than a file."""
    return value.startswith(("http://", "https://"))


def check_media(media: Media, value: str, at: str) -> None:
    """Refuse a file that breaks the limits. Addresses pass unseen: only the vendor would fetch them."""
    if is_url(value):
        return
    if value.startswith("data:"):
        raise Refusal(1201, f"{at} is invalid: send bare Base64 without the data: prefix")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(1201, f"{at} is invalid: neither a URL nor Base64") from None
    if len(data) > media.get("max_mb", len(data)) * MB:
        raise Refusal(1201, f"{at} size is larger than {media.get('max_mb')}MB")
    size = image_size(data)
    if size is None:
        raise Refusal(1201, f"{at} format is invalid: only jpg, jpeg and png are supported")
    width, height = size
    if min(width, height) < media.get("min_side_px", 0):
        raise Refusal(1201, f"{at} width and height must be at least {media.get('min_side_px')}px")
    aspect = width / height
    if not media.get("aspect_min", aspect) <= aspect <= media.get("aspect_max", aspect):
        raise Refusal(1201, f"{at} aspect ratio must be between 1:2.5 and 2.5:1")


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in px by the header of a PNG or JPEG, None if it is neither or has none."""
    width = height = 0
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    elif data.startswith(_JPEG):
        width, height = _jpeg_size(data)
    return (width, height) if width and height else None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Walk the segments up to the first frame header."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # stands alone
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0
