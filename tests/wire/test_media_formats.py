"""What a file is by its first bytes: images compared with Pillow, sounds by their magic, and the limits."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kling_async.wire.media import Media
from kling_async.wire.media_formats import (
    AUDIO,
    FRAME,
    IMAGE,
    MASK,
    VIDEO,
    ImageInfo,
    Limits,
    Verdict,
    judge,
    judge_result,
    judge_source,
    media_type,
    read_audio,
    read_header,
)
from tests.reference import V1

# --- headers, compared with Pillow -------------------------------------------------------------

SIZES = ((1, 1), (300, 300), (301, 750), (750, 301), (17, 4099), (4099, 17))
EXIF = Image.Exif()
EXIF[0x010E] = "made up " * 500


def picture(kind: str, size: tuple[int, int], **options: Any) -> bytes:
    """An image of that format and size, made by Pillow."""
    mode = options.pop("mode", "RGB")
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


VARIANTS: dict[str, dict[str, Any]] = {
    "jpeg": {"kind": "JPEG"},
    "jpeg progressive": {"kind": "JPEG", "progressive": True},
    "jpeg grey": {"kind": "JPEG", "mode": "L"},
    "jpeg cmyk": {"kind": "JPEG", "mode": "CMYK"},
    "jpeg exif": {"kind": "JPEG", "exif": EXIF},
    "jpeg icc in several segments": {"kind": "JPEG", "icc_profile": b"\xff\xc0" * 70_000},
    "jpeg comment and dpi": {"kind": "JPEG", "comment": b"\xff\xda" * 900, "dpi": (72, 72)},
    "jpeg restarts": {"kind": "JPEG", "restart_marker_blocks": 1},
    "png": {"kind": "PNG"},
    "png grey": {"kind": "PNG", "mode": "L"},
    "png alpha": {"kind": "PNG", "mode": "RGBA"},
    "png palette": {"kind": "PNG", "mode": "P"},
    "png bits": {"kind": "PNG", "mode": "1"},
    "png exif": {"kind": "PNG", "exif": EXIF},
}


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_header_says_what_pillow_says(variant: str, size: tuple[int, int]) -> None:
    """Format and size are read as by Pillow, whatever stands before the frame header."""
    data = picture(size=size, **VARIANTS[variant])
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageInfo((image.format or "").lower(), *image.size)
    assert read_header(io.BytesIO(data)) == expected == ImageInfo(variant.split(maxsplit=1)[0], *size)


def segments(data: bytes) -> list[bytes]:
    """The parts of a JPEG up to its frame header, each from its marker on; the rest in one."""
    parts, at = [data[:2]], 2
    while data[at + 1] not in range(0xC0, 0xC3):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def test_fill_bytes_and_bare_markers_are_stepped_over() -> None:
    """Any number of FF may stand before a marker, and some markers have no length: all that is legal."""
    chance = random.Random(7)
    parts = segments(picture("JPEG", (640, 480), exif=EXIF))
    for _ in range(200):
        data = parts[0]
        for part in parts[1:]:
            bare = b"".join(
                bytes((0xFF, chance.choice([0x01, 0xD0, 0xD7]))) for _ in range(chance.randrange(3))
            )
            data += bare + b"\xff" * chance.randrange(5) + part
        assert read_header(io.BytesIO(data)) == ImageInfo("jpeg", 640, 480)


SOF_MARKERS = [m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC)]


@pytest.mark.parametrize("marker", range(0xC0, 0xD0), ids=hex)
def test_only_start_of_frame_markers_hold_the_size(marker: int) -> None:
    """Of C0 to CF all are frame headers but C4 (Huffman tables), C8 (reserved) and CC (arithmetic)."""
    frame = struct.pack(">BHH", 8, 480, 640) + b"\x01\x01\x11\x00"
    data = b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(frame) + 2) + frame
    expected = ImageInfo("jpeg", 640, 480) if marker in SOF_MARKERS else None
    assert read_header(io.BytesIO(data)) == expected


@pytest.mark.parametrize("variant", ["jpeg", "jpeg progressive", "jpeg exif", "png", "png exif"])
def test_a_file_cut_off_anywhere_never_raises(variant: str) -> None:
    """Cut after every byte the answer is None or the right one, first None, then right."""
    data = picture(size=(301, 300), **VARIANTS[variant])[:6000]
    answers = [read_header(io.BytesIO(data[:n])) for n in range(len(data) + 1)]
    whole = ImageInfo(variant.split(maxsplit=1)[0], 301, 300)
    known = answers.index(whole)
    assert answers == [None] * known + [whole] * (len(answers) - known)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x04ab\xff"]))
def test_rubbish_never_raises(rubbish: bytes, start: bytes) -> None:
    """Whatever follows a beginning that looks right: an answer, never an error."""
    info = read_header(io.BytesIO(start + rubbish))
    assert info is None or info.format == "jpeg"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"GIF89a" + bytes(30), id="gif"),
        pytest.param(b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(30), id="webp"),
        pytest.param(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x04CgBI" + bytes(30), id="png of another first chunk"),
        pytest.param(b"\xff\xd8\xff\xd9", id="jpeg that ends at once"),
        pytest.param(b"\xff\xd8\xff\xda\x00\x08", id="jpeg that scans without a frame"),
        pytest.param(b"\xff\xd8\x00\xff\xc0", id="jpeg with rubbish for a marker"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x01\xff\xc0", id="jpeg with an impossible length"),
    ],
)
def test_what_is_neither_png_nor_jpeg_has_no_header(data: bytes) -> None:
    """Other formats, and files whose header is broken, are None."""
    assert read_header(io.BytesIO(data)) is None


# --- sounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(b"ID3\x04" + bytes(20), "mp3", id="mp3 with tags"),
        pytest.param(b"\xff\xfb\x90\x00" + bytes(20), "mp3", id="mp3, layer 3"),
        pytest.param(b"\xff\xf3\x40\x00" + bytes(20), "mp3", id="mp3 of MPEG 2"),
        pytest.param(b"\xff\xe3\x40\x00" + bytes(20), "mp3", id="mp3 of MPEG 2.5"),
        pytest.param(b"\xff\xf1\x50\x80" + bytes(20), "aac", id="aac, MPEG 4"),
        pytest.param(b"\xff\xf9\x50\x80" + bytes(20), "aac", id="aac, MPEG 2"),
        pytest.param(b"RIFF\x00\x00\x00\x00WAVEfmt ", "wav", id="wav"),
        pytest.param(b"\x00\x00\x00\x20ftypM4A \x00", "m4a", id="m4a"),
        pytest.param(b"\x00\x00\x00\x18ftypmp42\x00", "m4a", id="m4a of a general brand"),
        pytest.param(b"RIFF\x00\x00\x00\x00AVI LIST", None, id="another RIFF"),
        pytest.param(b"\x00\x00\x00\x1cftyp3gp4\x00", "m4a", id="m4a of a telephone"),
        pytest.param(b"\x00\x00\x00\x1cftypiso5\x00", "m4a", id="m4a in fragments"),
        pytest.param(b"\x00\x00\x00\x14ftypqt  \x00", None, id="a film"),
        pytest.param(b"\x00\x00\x00\x1cftypheic\x00", None, id="a picture"),
        pytest.param(b"OggS" + bytes(20), None, id="ogg"),
        pytest.param(b"fLaC" + bytes(20), None, id="flac"),
        pytest.param(b"\xff\xe1\x00\x00", None, id="no layer, no ADTS"),
        pytest.param(b"\xff\xd8\xff\xe0", None, id="a picture"),
        pytest.param(b"\xff", None, id="one byte"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_a_sound_is_told_by_its_first_bytes(data: bytes, found: str | None) -> None:
    """The four kinds that the API takes, and none of the others."""
    assert read_audio(io.BytesIO(data)) == found
    verdict = judge(io.BytesIO(data), len(data), AUDIO)
    assert (verdict.text is None or not verdict.sure) is (found is not None)


@pytest.mark.parametrize(
    ("data", "limits", "text"),
    [
        (b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(30), IMAGE, "WebP is not taken; use JPEG or PNG"),
        (b"GIF89a" + bytes(30), IMAGE, "GIF is not taken; use JPEG or PNG"),
        (b"BM" + bytes(30), IMAGE, "BMP is not taken; use JPEG or PNG"),
        (b"II*\0" + bytes(30), IMAGE, "TIFF is not taken; use JPEG or PNG"),
        (b"\x00\x00\x00\x1cftypheic\x00", IMAGE, "HEIC is not taken; use JPEG or PNG"),
        (b"\x00\x00\x00\x1cftypavif\x00", IMAGE, "AVIF is not taken; use JPEG or PNG"),
        (b"\x00\x00\x00\x1cftypisom\x00", IMAGE, "MP4 is not taken; use JPEG or PNG"),
        (b"ID3\x04" + bytes(20), IMAGE, "MP3 is not taken; use JPEG or PNG"),
        (b"<!DOCTYPE html><html>", IMAGE, "An HTML page is not taken; use JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n", IMAGE, "is not a readable image; use JPEG or PNG"),
        (b"\x00\x00\x00\x14ftypqt  \x00", AUDIO, "MOV is not taken; use MP3, WAV, M4A or AAC"),
        (b"OggS" + bytes(20), AUDIO, "OGG is not taken; use MP3, WAV, M4A or AAC"),
        (b"fLaC" + bytes(20), AUDIO, "FLAC is not taken; use MP3, WAV, M4A or AAC"),
        (b"\x89PNG\r\n\x1a\n", AUDIO, "PNG is not taken; use MP3, WAV, M4A or AAC"),
        (b"nothing known", AUDIO, "is not an audio file; use MP3, WAV, M4A or AAC"),
    ],
)
def test_a_file_of_another_format_is_named_with_it(data: bytes, limits: Limits, text: str) -> None:
    """The error says what the file is, where that can be told, and what the API takes."""
    assert judge(io.BytesIO(data), len(data), limits) == Verdict(text)


@given(
    brand=st.binary(min_size=4, max_size=4) | st.sampled_from([b"M4A ", b"M4B ", b"isom", b"mp42", b"qt  "])
)
def test_every_mp4_but_one_that_says_sound_is_doubted(brand: bytes) -> None:
    """An MP4 of another brand than M4A may be a video and warns; what is surely no sound is refused."""
    data = b"\x00\x00\x00\x18ftyp" + brand + bytes(8)
    verdict = judge(io.BytesIO(data), len(data), AUDIO)
    assert (verdict.text is None) is (brand == b"M4A ")
    assert verdict.sure is (brand == b"M4A " or read_audio(io.BytesIO(data)) is None)


def test_a_sound_has_at_most_five_megabytes() -> None:
    """The limit of all audio fields."""
    assert judge(io.BytesIO(b"ID3" + bytes(20)), 5 * MB, AUDIO).text is None
    assert judge(io.BytesIO(b"ID3" + bytes(20)), 6 * MB, AUDIO).text == "has 6.0 MB; at most 5 MB"


# --- limits ------------------------------------------------------------------------------------

MB = 1024 * 1024


def png(width: int, height: int) -> io.BytesIO:
    """The header of a picture of any size, also of one that cannot be."""
    return io.BytesIO(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height))


@pytest.mark.parametrize(
    ("file", "size", "complaint"),
    [
        pytest.param(png(300, 300), 10 * MB, None, id="smallest side, largest file"),
        pytest.param(png(750, 300), 1, None, id="2.5 : 1"),
        pytest.param(png(300, 750), 1, None, id="1 : 2.5"),
        pytest.param(io.BytesIO(b"?"), 1, "is not a readable image; use JPEG or PNG", id="unreadable"),
        pytest.param(io.BytesIO(b"GIF89a"), 1, "GIF is not taken; use JPEG or PNG", id="another"),
        pytest.param(png(300, 300), 11 * MB, "has 11.0 MB; at most 10 MB", id="too large"),
        pytest.param(png(300, 300), 10 * MB + 1, "has 10.0 MB; at most 10 MB", id="one byte too many"),
        pytest.param(png(299, 300), 1, "is 299 x 300 px; each side needs at least 300 px", id="too narrow"),
        pytest.param(png(300, 0), 1, "is 300 x 0 px; each side needs at least 300 px", id="no height"),
        pytest.param(
            png(751, 300), 1, "is 751 x 300 px; width / height must lie within 1:2.5 and 2.5:1", id="too wide"
        ),
        pytest.param(
            png(300, 751), 1, "is 300 x 751 px; width / height must lie within 1:2.5 and 2.5:1", id="too tall"
        ),
    ],
)
def test_an_image_is_judged_by_the_limits(file: io.BytesIO, size: int, complaint: str | None) -> None:
    """Format, size, sides and shape, each at its very bound and just past it."""
    assert judge(file, size, IMAGE).text == complaint


def test_other_limits_other_words() -> None:
    """The complaint names the limits it was judged by; what has no bound is not judged."""
    narrow = Limits(aspect_min=0.5, aspect_max=2)
    assert (
        judge(png(900, 300), 1, narrow).text == "is 900 x 300 px; width / height must lie within 1:2 and 2:1"
    )
    assert judge(png(900, 300), 1, FRAME) == Verdict()
    assert judge(png(9, 3), 99 * MB, MASK) == Verdict()
    large = Limits(max_side_px=500)
    assert judge(png(500, 500), 1, large) == Verdict()
    assert judge(png(1, 501), 1, large).text == "is 1 x 501 px; each side may have at most 500 px"
    assert judge(png(9, 0), 1, MASK).text == "is 9 x 0 px; each side needs at least 1 px"


def test_what_is_fetched_or_sent_is_the_field_s_affair() -> None:
    """A video is named by an address only; a field for the sound itself takes no address."""
    address, data = Media(url="https://a.example/x"), Media(data=b"x")
    assert judge_source(address, IMAGE) is judge_source(data, IMAGE) is judge_source(address, VIDEO) is None
    assert (judge_source(data, VIDEO) or "").startswith("takes the address of a video, not the file itself")
    assert judge_source(address, AUDIO._replace(url=False)) == (
        "takes the file itself (bytes or a Path), not an address"
    )


def test_the_limits_are_the_reference_s() -> None:
    """Those of most images are what the vendor's page gives for the image of image generation."""
    facts = V1["endpoints"]["image_generation"]["params"]["image"]["media"]
    assert set(facts["formats"]) - {"jpg"} == set(IMAGE.formats)
    for name in ("max_mb", "min_side_px", "aspect_min", "aspect_max"):
        assert getattr(IMAGE, name) == facts[name]


# --- results -----------------------------------------------------------------------------------

MP4 = b"\0\0\0\x20ftypisom"
PNG = b"\x89PNG\r\n\x1a\n"
WAV = b"RIFF\0\0\0\0WAVEfmt "


@pytest.mark.parametrize(
    ("suffix", "head"),
    [
        (".mp4", MP4),
        (".png", PNG),
        (".png", b"\xff\xd8\xff\xe0"),
        (".jpg", b"RIFF\0\0\0\0WEBPVP8 "),
        (".mp3", b"ID3\x04"),
        (".mp3", b"\xff\xfb\x90\x00"),
        (".wav", WAV),
        (".glb", b"whatever"),
        ("", b""),
    ],
)
def test_a_result_that_fits_its_suffix(suffix: str, head: bytes) -> None:
    """By its first bytes; pictures stand for each other, and nothing is known of other suffixes."""
    assert judge_result(suffix, head) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (MP4, "video/mp4"),
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"ID3\x04", "audio/mpeg"),
        (WAV, "audio/wav"),
        (b"<svg onload=", "application/octet-stream"),
        (b"<!DOCTYPE html>", "application/octet-stream"),
        (b"whatever", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_the_media_type_of_a_result(head: bytes, kind: str) -> None:
    """By its first bytes; what a browser might run gets no type of its own."""
    assert media_type(head) == kind


@pytest.mark.parametrize(
    ("suffix", "head", "what"),
    [
        (".mp4", b"<!DOCTYPE html><html>", "an HTML page"),
        (".png", b"\n <HTML lang=x>", "an HTML page"),
        (".mp4", b'\xef\xbb\xbf<?xml version="1.0"?>', "an XML document"),
        (".mp4", b"<Error><Code>AccessDenied</Code>", "an XML document"),
        (".mp3", b' {"code": 1}', "JSON"),
        (".wav", b"[1]", "JSON"),
        (".png", MP4, "MP4"),
        (".mp4", PNG, "PNG"),
        (".mp4", b"\xff\xd8\xff\xe0", "JPEG"),
        (".png", b"GIF89a", "GIF"),
        (".mp3", WAV, "WAV"),
        (".wav", b"ID3", "MP3"),
        (".mp4", b"AccessDenied", "something that is no such file"),
        (".mp4", b"", "something that is no such file"),
    ],
)
def test_what_came_in_a_result_s_place_is_named(suffix: str, head: bytes, what: str) -> None:
    """Error pages above all."""
    assert judge_result(suffix, head) == what
