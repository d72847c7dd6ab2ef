"""Images on their way to the API: what is taken, what their headers say, and what never shows."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.media import Media, media
from kling_async.wire.requests import File

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


def test_media_can_be_stored() -> None:
    """Media is plain data: equal after pickle."""
    assert pickle.loads(pickle.dumps(media(FOX))) == Media(data=FOX)
