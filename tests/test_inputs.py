"""Images on their way to the API: what is taken, what their headers say, and what never shows."""

from __future__ import annotations

import base64
import io
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kling_async import v1
from kling_async.inputs import ImageInfo, Limits, Media, judge_image, media, read_header, without_query
from kling_async.wire import File
from tests.reference import V1

FOX = b"fox bytes"
FOX64 = base64.b64encode(FOX).decode()

# --- what is taken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("https://a.example/x.png?s=1", Media(url="https://a.example/x.png?s=1"), id="https"),
        pytest.param("HTTP://a.example/x", Media(url="HTTP://a.example/x"), id="http, capitals"),
        pytest.param(FOX, Media(data=FOX), id="bytes"),
        pytest.param(b"https://a.example", Media(data=b"https://a.example"), id="bytes are never an address"),
        pytest.param(Path("in/fox.png"), Media(path=str(Path("in/fox.png"))), id="Path"),
        pytest.param(FOX64, Media(data=FOX), id="Base64"),
        pytest.param(f"{FOX64[:4]}\n {FOX64[4:]}\n", Media(data=FOX), id="Base64 in lines"),
        pytest.param(f"data:image/png;base64,{FOX64}", Media(data=FOX), id="data address"),
        pytest.param(Media(url="https://a.example"), Media(url="https://a.example"), id="Media"),
    ],
)
def test_a_source_becomes_media(source: Any, expected: Media) -> None:
    """Each form is taken for what it is; Base64 is decoded, so the wire gets it bare."""
    assert media(source) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("fox.png", "in/fox.png", "/etc/passwd", "../fox.jpeg", "C:\\fox.png", "~/fox.png"),
        *("file:///etc/passwd", "ftp://a.example/x", "", " ", "data:image/png;base64,"),
        *("data:image/png;base64", "abc", "fóx=", "data:,"),
    ],
)  # fmt: skip
def test_a_text_never_names_a_file(text: str) -> None:
    """A text that is no address and no Base64 is refused, and the refusal says how files are named."""
    with pytest.raises(ValueError, match=r"neither an http\(s\) address nor Base64.*pathlib\.Path") as caught:
        media(text)
    assert type(caught.value) is ValueError


def test_even_a_text_that_looks_like_base64_opens_nothing(tmp_path: Path) -> None:
    """A file's name without a dot may be Base64 by chance: it is then bytes, and never that file."""
    (tmp_path / "pictures").write_bytes(b"private")
    assert media("pictures") == Media(data=base64.b64decode("pictures"))


# --- what shows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        pytest.param(
            Media(url="https://u:p@a.example/x.png?sig=SECRET#SECRET"),
            "Media(url='https://a.example/x.png')",
            id="address",
        ),
        pytest.param(Media(data=b"SECRET"), "Media(<6 bytes>)", id="bytes"),
        pytest.param(Media(path="in/fox.png"), "Media(path='in/fox.png')", id="path"),
        pytest.param(Media(url="https://[SECRET"), "Media(url='<unreadable address>')", id="broken address"),
    ],
)
def test_the_repr_holds_no_payload_and_no_signature(shown: Media, text: str) -> None:
    """Where it is or how large it is; neither the bytes nor the query that would open it."""
    assert repr(shown) == text


def test_a_request_shows_neither_payload_nor_signature() -> None:
    """What is nested in a request or a result is hidden as well."""
    video = v1.Video(
        id="1", url="https://a.example/v.mp4?sig=SECRET", watermark_url="https://b.example/?SECRET"
    )
    shown = [
        v1.ImageGeneration(prompt="x", image=b"SECRET"),
        v1.ImageGeneration(prompt="x", image="https://a.example/x?sig=SECRET"),
        v1.Videos(videos=(video,), raw={"url": "SECRET"}),
        v1.Images(images=(v1.Image(url="https://a.example/x?sig=SECRET"),)),
    ]
    assert "SECRET" not in repr(shown)
    assert "https://a.example/v.mp4" in repr(shown)


@pytest.mark.parametrize(
    "shown",
    [
        Media(data=b"SECRET"),
        File("https://a.example/?SECRET", ".mp4"),
        v1.Video(url="https://a.example/?SECRET"),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_rich_shows_no_more_than_repr(shown: Any) -> None:
    """Rich and its tracebacks ask ``__rich_repr__`` before ``__repr__``: it must not tell more."""
    assert "SECRET" not in str(list(getattr(shown, "__rich_repr__", list)()))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/p/x.png", "https://a.example/p/x.png"),
        ("https://a.example:8443/x?k=v", "https://a.example:8443/x"),
        ("https://user:pass@a.example/x", "https://a.example/x"),
        ("https://a@b@c.example/x#frag", "https://c.example/x"),
        ("https://[::1]:80/x?y", "https://[::1]:80/x"),
        ("http://[half", "<unreadable address>"),
    ],
)
def test_an_address_loses_its_query_and_its_user(url: str, expected: str) -> None:
    """`without_query` keeps scheme, host, port and path."""
    assert without_query(url) == expected


def test_media_can_be_stored() -> None:
    """Media is plain data: equal after pickle."""
    assert pickle.loads(pickle.dumps(media(FOX))) == Media(data=FOX)


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


# --- limits ------------------------------------------------------------------------------------

MB = 1024 * 1024


@pytest.mark.parametrize(
    ("info", "size", "complaint"),
    [
        pytest.param(ImageInfo("png", 300, 300), 10 * MB, None, id="smallest side, largest file"),
        pytest.param(ImageInfo("jpeg", 750, 300), 1, None, id="2.5 : 1"),
        pytest.param(ImageInfo("jpeg", 300, 750), 1, None, id="1 : 2.5"),
        pytest.param(None, 1, "is not a readable image; use JPEG or PNG", id="unreadable"),
        pytest.param(
            ImageInfo("gif", 300, 300), 1, "is not a readable image; use JPEG or PNG", id="other format"
        ),
        pytest.param(ImageInfo("png", 300, 300), 11 * MB, "has 11.0 MB; at most 10 MB", id="too large"),
        pytest.param(
            ImageInfo("png", 299, 300),
            1,
            "is 299 x 300 px; each side needs at least 300 px",
            id="too narrow",
        ),
        pytest.param(
            ImageInfo("png", 300, 0), 1, "is 300 x 0 px; each side needs at least 300 px", id="no height"
        ),
        pytest.param(
            ImageInfo("png", 751, 300),
            1,
            "is 751 x 300 px; width / height must lie within 1:2.5 and 2.5:1",
            id="too wide",
        ),
        pytest.param(
            ImageInfo("png", 300, 751),
            1,
            "is 300 x 751 px; width / height must lie within 1:2.5 and 2.5:1",
            id="too tall",
        ),
    ],
)
def test_an_image_is_judged_by_the_limits(info: ImageInfo | None, size: int, complaint: str | None) -> None:
    """Format, size, sides and shape, each at its very bound and just past it."""
    assert judge_image(info, size, Limits()) == complaint


def test_one_byte_too_many_is_too_many() -> None:
    """The size is compared in bytes, not as it is shown."""
    assert judge_image(ImageInfo("png", 300, 300), 10 * MB + 1, Limits()) == "has 10.0 MB; at most 10 MB"


def test_the_complaint_names_the_limits_it_was_judged_by() -> None:
    """Other limits, other text."""
    text = judge_image(ImageInfo("png", 900, 300), 1, Limits(aspect_min=0.5, aspect_max=2)) or ""
    assert text == "is 900 x 300 px; width / height must lie within 1:2 and 2:1"


def test_the_limits_are_the_reference_s() -> None:
    """The defaults are what the vendor's page gives for the image of image generation."""
    facts = V1["endpoints"]["image_generation"]["params"]["image"]["media"]
    limits = Limits()
    assert set(facts["formats"]) - {"jpg"} == set(limits.formats)
    for name in ("max_mb", "min_side_px", "aspect_min", "aspect_max"):
        assert getattr(limits, name) == facts[name]
