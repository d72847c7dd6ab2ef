"""Formats of files, told by their first bytes, and the limits of the API on files."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, NamedTuple

from kling_async.wire.hosts import reach_of, wrong_url

if TYPE_CHECKING:
    from kling_async.wire.media import Media

__all__ = [
    "AUDIO",
    "FRAME",
    "HEAD",
    "IMAGE",
    "MASK",
    "READ_MAX_MB",
    "RECORDING",
    "VIDEO",
    "ImageInfo",
    "Limits",
    "Verdict",
    "judge",
    "judge_reach",
    "judge_result",
    "judge_size",
    "judge_source",
    "media_type",
    "read_header",
]


class Limits(NamedTuple):
    """Limits of the API on the files of one field; None where no bound is known."""

    kind: Literal["image", "audio", "video", "recording"] = "image"
    formats: tuple[str, ...] = ("jpeg", "png")
    max_mb: float | None = None
    min_side_px: int | None = None
    max_side_px: int | None = None
    aspect_min: float | None = None
    """Least width / height."""
    aspect_max: float | None = None
    """Greatest width / height."""
    url: bool = True
    """Whether the field takes an address."""
    base64: bool = True
    """Whether the field takes the file itself."""


IMAGE: Final = Limits(max_mb=10, min_side_px=300, aspect_min=0.4, aspect_max=2.5)
"""Limits of most images of ``/v1``."""
FRAME: Final = Limits(max_mb=10, min_side_px=300)
"""Limits of images for which no shape is prescribed."""
MASK: Final = Limits()
READ_MAX_MB: Final = 100
"""Most megabytes of a file that is read where the vendor names no bound: ten times the bound of images."""
AUDIO: Final = Limits("audio", ("mp3", "wav", "m4a", "aac"), max_mb=5)
VIDEO: Final = Limits("video", ("mp4", "mov"), base64=False)
"""Limits of videos: the vendor fetches them and judges size and length."""
RECORDING: Final = Limits("recording", ("mp3", "wav", "mp4", "mov"), base64=False)
"""Limits of a recorded voice, a sound or a video: the vendor fetches it and judges size and length."""


class ImageInfo(NamedTuple):
    """Format and size of an image, from its header."""

    format: str
    width: int
    height: int


_PNG: Final = b"\x89PNG\r\n\x1a\n"
# start-of-frame markers of JPEG; C4, C8 and CC lie in that range but mean something else
_SOF: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read_header(file: BinaryIO) -> ImageInfo | None:
    """Read the format and size of a PNG or JPEG; None if it is neither, or cut off."""
    head = file.read(24)
    if len(head) == 24 and head[:8] == _PNG and head[12:16] == b"IHDR":
        width, height = struct.unpack(">II", head[16:24])
        return ImageInfo("png", width, height)
    if head[:2] == b"\xff\xd8":
        file.seek(2)
        return _jpeg_size(file)
    return None


def _jpeg_size(file: BinaryIO) -> ImageInfo | None:
    """Read the size of a JPEG: walk its segments up to the frame header, skipping their contents."""
    while file.read(1) == b"\xff":
        while (marker := file.read(1)) == b"\xff":
            pass  # fill bytes
        if not marker or marker[0] == 0xD9 or marker[0] == 0xDA:
            return None
        if marker[0] == 0x01 or 0xD0 <= marker[0] <= 0xD8:
            continue  # these have no length
        size = file.read(2)
        if len(size) < 2 or (length := int.from_bytes(size, "big")) < 2:
            return None
        if marker[0] in _SOF:
            frame = file.read(5)
            if len(frame) < 5:
                return None
            height, width = struct.unpack(">HH", frame[1:])
            return ImageInfo("jpeg", width, height)
        file.seek(length - 2, 1)
    return None


_NO_SOUND: Final = frozenset({b"qt  ", b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"})
"""Brands that the container of M4A has for other contents: QuickTime, pictures."""


def read_audio(file: BinaryIO) -> str | None:
    """Tell MP3, WAV, M4A and AAC by their first bytes; None if it is none of them."""
    head = file.read(12)
    if head[:3] == b"ID3":
        return "mp3"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp" and len(head) == 12:
        return None if head[8:12] in _NO_SOUND else "m4a"
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0:
        layer = head[1] >> 1 & 3  # layer of an MPEG frame; AAC frames (ADTS) have 0 there
        return "mp3" if layer else "aac" if head[1] & 0xF0 == 0xF0 else None
    return None


class Verdict(NamedTuple):
    """Judgement on an input file."""

    text: str | None = None
    """What is wrong; None if nothing is."""
    sure: bool = True
    """Whether the API surely refuses it; if not, it warns."""


def judge_source(media: Media, limits: Limits) -> str | None:
    """Return the problem with handing a file over as an address or as itself; None if there is none."""
    if media.url is None and not limits.base64:
        what = "sound" if limits.kind == "audio" else limits.kind
        return f"takes the address of a {what}, not the file itself: put it where the API can fetch it"
    if media.url is not None and not limits.url:
        return "takes the file itself (bytes or a Path), not an address"
    return None if media.url is None else wrong_url(media.url)


def judge_reach(url: str, limits: Limits) -> Verdict:
    """Return the problem with an address that the vendor is to fetch, by its host.

    Where the API itself is on this machine, as an emulator is, do not ask.
    """
    reach, host = reach_of(url)
    if reach == "public":
        return Verdict()
    instead = "pass the file itself (bytes or a Path)" if limits.base64 else "put the file on a public host"
    certainty = "cannot" if reach == "private" else "probably cannot"
    text = f"the API {certainty} fetch from {host[:60]!r}, which is not a public host; {instead}"
    return Verdict(text, sure=reach == "private")


def judge_size(size: int, limits: Limits) -> str | None:
    """Return the problem with a file of ``size`` bytes before any of it is read; None if there is none."""
    most = READ_MAX_MB if limits.max_mb is None else limits.max_mb
    return f"has {size / 1024 / 1024:.1f} MB; at most {most:g} MB" if size > most * 1024 * 1024 else None


def judge(file: BinaryIO, size: int, limits: Limits) -> Verdict:
    """Return the problem with a file of ``size`` bytes, as far as the API's limits tell."""
    if text := judge_size(size, limits):  # first: it costs nothing, while a header may be far in
        return Verdict(text)
    info = read_header(file) if limits.kind == "image" else None
    found = read_audio(file) if limits.kind == "audio" else info and info.format
    if found is None and "webp" in limits.formats:
        file.seek(0)
        if _kind_of(file.read(HEAD)) == "WebP":  # its size is left to the vendor
            return Verdict()
    if found not in limits.formats:
        return Verdict(_other_format(file, limits))
    if info is not None:
        return Verdict(_judge_sides(info, limits))
    return _judge_brand(file) if found == "m4a" else Verdict()


def _other_format(file: BinaryIO, limits: Limits) -> str:
    file.seek(0)
    found = _input_kind(file.read(HEAD))
    if found and found.lower() not in limits.formats:
        return f"{found} is not taken; use {_either(limits.formats)}"
    what = "an audio file" if limits.kind == "audio" else "a readable image"
    return f"is not {what}; use {_either(limits.formats)}"


def _judge_brand(file: BinaryIO) -> Verdict:
    """Doubt an MP4 whose brand does not say that it is a sound: it may be a video."""
    file.seek(8)
    brand = file.read(4)
    if brand == b"M4A ":
        return Verdict()
    text = f"is an MP4 of brand {brand.decode('latin-1')!r}, maybe a video; of these the API takes M4A"
    return Verdict(text, sure=False)


def _either(formats: tuple[str, ...]) -> str:
    *others, last = (f.upper() for f in formats)
    return f"{', '.join(others)} or {last}" if others else last


def _judge_sides(info: ImageInfo, limits: Limits) -> str | None:
    size = f"is {info.width} x {info.height} px"
    if min(info.width, info.height) < (limits.min_side_px or 1):
        return f"{size}; each side needs at least {limits.min_side_px or 1} px"
    if limits.max_side_px is not None and max(info.width, info.height) > limits.max_side_px:
        return f"{size}; each side may have at most {limits.max_side_px} px"
    low, high = limits.aspect_min, limits.aspect_max
    if low is not None and high is not None and not low <= info.width / info.height <= high:
        return f"{size}; width / height must lie within 1:{1 / low:g} and {high:g}:1"
    return None


HEAD: Final = 512
"""Number of first bytes that tell the format of a file."""
_PICTURES: Final = frozenset({"PNG", "JPEG", "WebP"})
_FITTING: Final = {
    ".mp4": frozenset({"MP4"}),
    ".png": _PICTURES,
    ".jpg": _PICTURES,
    ".jpeg": _PICTURES,
    ".webp": _PICTURES,
    ".mp3": frozenset({"MP3"}),
    ".wav": frozenset({"WAV"}),
}
"""Formats that fit the suffix of a result. Any picture fits: viewers tell the formats apart, and the vendor
documents none."""


def judge_result(suffix: str, head: bytes) -> str | None:
    """Return the format of a file by its first `HEAD` bytes if it does not fit the suffix, else None."""
    fitting = _FITTING.get(suffix)
    found = _kind_of(head)
    return None if fitting is None or found in fitting else found


_MEDIA_TYPES: Final = {
    "MP4": "video/mp4",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WebP": "image/webp",
    "MP3": "audio/mpeg",
    "WAV": "audio/wav",
}


def media_type(head: bytes) -> str:
    """Return the media type of a result by its first `HEAD` bytes, whatever its server calls it."""
    return _MEDIA_TYPES.get(_kind_of(head), "application/octet-stream")


_UNKNOWN: Final = "something that is no such file"
_BRANDS: Final = {
    b"qt  ": "MOV",
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1"), "HEIC"),
}


def _input_kind(head: bytes) -> str:
    """Return the format of an input file by its first bytes; empty if unknown."""
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]]
    found = _kind_of(head)
    return "" if found == _UNKNOWN else found[:1].upper() + found[1:]


def _kind_of(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    for start, kind in _TEXT_STARTS.items():
        if text.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        return "MP4"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    audio = read_audio(io.BytesIO(head))
    return audio.upper() if audio else _UNKNOWN


_STARTS: Final = {
    _PNG: "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"PK\3\4": "ZIP",
    b"OggS": "OGG",
    b"fLaC": "FLAC",
    b"\x1a\x45\xdf\xa3": "WebM",
}
_TEXT_STARTS: Final = {
    b"<!doctype html": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b"<error": "an XML document",
    b"<svg": "SVG",
    b"{": "JSON",
    b"[": "JSON",
}
