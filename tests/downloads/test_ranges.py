"""downloads/ranges.py: what is asked for, and whether what comes belongs to what is here."""

from __future__ import annotations

from typing import Final

import pytest

from kling_async.downloads.ranges import (
    NOTHING,
    LocalPart,
    Rejected,
    Remainder,
    StartOver,
    Whole,
    judge_file,
    range_headers,
)

PART: Final = LocalPart(5000, b"t" * 4096, 9000, '"v1"')
SHORT: Final = LocalPart(10, b"t" * 10, 9000, '"v1"')
PLACED: Final = LocalPart(9000, b"t" * 4096, 9000, head=b"h" * 1000)
REST: Final = {"Content-Range": "bytes 904-8999/9000", "ETag": '"v1"'}


@pytest.mark.parametrize(
    ("here", "headers"),
    [
        (NOTHING, {}),
        (PART, {"Range": "bytes=904-", "If-Range": '"v1"'}),
        (SHORT, {"Range": "bytes=0-", "If-Range": '"v1"'}),
        (PLACED, {"Range": "bytes=4904-8999"}),
        (PLACED.beginning, {"Range": "bytes=0-999"}),
    ],
)
def test_what_is_asked_for(here: LocalPart, headers: dict[str, str]) -> None:
    """All of it; the rest with an overlap, if it still is the same; a piece to compare; never compressed."""
    assert range_headers(here) == {"Accept-Encoding": "identity", **headers}


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({"Content-Length": "12", "ETag": '"a-1"'}, Whole(12, '"a-1"')),
        ({"Content-Length": "12", "ETag": 'W/"a"'}, Whole(12)),
        ({"Content-Length": "12", "ETag": "a"}, Whole(12)),
        ({"Content-Length": "12", "ETag": '"a\x01"'}, Whole(12)),
        ({"Content-Length": "12", "Content-Encoding": "identity"}, Whole(12)),
        ({"Content-Length": "12", "Content-Type": "video/mp4"}, Whole(12)),
        ({"Transfer-Encoding": "Chunked", "ETag": '"a-1"'}, Whole(None, '"a-1"')),
        ({"Transfer-Encoding": "chunked", "Content-Length": "12"}, Whole(None)),
        (
            {"Content-Type": "Text/HTML; charset=x"},
            Rejected("the file's server sent text/html, not a file", False),
        ),
    ],
)
@pytest.mark.parametrize("here", [NOTHING, PART, PLACED], ids=["fresh", "part", "placed"])
def test_a_whole_file(headers: dict[str, str], verdict: Whole | Rejected, here: LocalPart) -> None:
    """Whatever is here; it can be gone on with later only under a strong name."""
    assert judge_file(200, headers, here) == verdict


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": '"a-1"'},
        {"Content-Length": "-1"},
        {"Content-Length": "9" * 5000},
        {"Transfer-Encoding": "gzip, chunked"},
        {"Transfer-Encoding": "gzip", "Content-Length": "12"},
    ],
)
@pytest.mark.parametrize("here", [NOTHING, PART, PLACED], ids=["fresh", "part", "placed"])
def test_a_file_whose_end_nothing_marks_is_none(headers: dict[str, str], here: LocalPart) -> None:
    """It ends where the connection does, be that after half of it."""
    reason = "the file's server does not tell where the file ends"
    assert judge_file(200, headers, here) == Rejected(reason, temporary=True)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-new", "identity, gzip"])
@pytest.mark.parametrize("here", [NOTHING, PART, PLACED], ids=["fresh", "part", "placed"])
def test_a_compressed_file_is_none(encoding: str, here: LocalPart) -> None:
    """Nobody asked for it, and a torn one may unpack to something that looks whole."""
    headers = {"Content-Length": "12", "ETag": '"a"', "Content-Encoding": encoding}
    reason = "the file's server sent it compressed, which was not asked for"
    assert judge_file(200, headers, here) == Rejected(reason, temporary=True)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, Remainder()),
        ({"Content-Encoding": "identity"}, Remainder()),
        ({"ETag": ""}, StartOver()),
        ({"ETag": 'W/"v1"'}, StartOver()),
        ({"ETag": '"v2"'}, StartOver()),
        ({"Content-Range": "bytes 905-8999/9000"}, StartOver()),
        ({"Content-Range": "bytes 904-8998/9000"}, StartOver()),
        ({"Content-Range": "bytes 904-9000/9001"}, StartOver()),
        ({"Content-Range": "bytes 904-8999/*"}, StartOver()),
        ({"Content-Range": f"bytes 904-8999/{'9' * 5000}"}, StartOver()),
        ({"Content-Range": ""}, StartOver()),
        ({"Content-Encoding": "gzip"}, StartOver()),
    ],
)
def test_the_rest_must_be_exactly_what_was_asked_for(change: dict[str, str], verdict: object) -> None:
    """From the same byte, to the end, of the same length and name; one without a name may be of another."""
    assert judge_file(206, {**REST, **change}, PART) == verdict


def test_a_file_in_its_place_is_compared_by_length_and_overlap() -> None:
    """Its name was not kept, so any will do."""
    assert judge_file(206, {"Content-Range": "bytes 4904-8999/9000", "ETag": '"any"'}, PLACED) == Remainder()
    assert judge_file(206, {"Content-Range": "bytes 4904-9999/10000"}, PLACED) == StartOver()
    assert judge_file(416, {"Content-Range": "bytes */20"}, PLACED) == StartOver()


@pytest.mark.parametrize(
    ("where", "verdict"),
    [
        ("bytes 0-999/9000", Remainder()),
        ("bytes 0-999/9001", StartOver()),
        ("bytes 0-998/9000", StartOver()),
        ("bytes 0-8999/9000", StartOver()),
        ("bytes 1-1000/9000", StartOver()),
    ],
)
def test_its_beginning_is_compared_too(where: str, verdict: object) -> None:
    """Just that, of a file of the same length."""
    assert judge_file(206, {"Content-Range": where}, PLACED.beginning) == verdict


@pytest.mark.parametrize("status", [206, 302, 403, 404, 416])
def test_no_file(status: int) -> None:
    """With the status; a part that nobody asked for is none."""
    assert judge_file(status, REST, NOTHING) == Rejected(f"the file's server answered HTTP {status}", False)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_no_file_now(status: int) -> None:
    """Trouble that passes."""
    assert judge_file(status, {}, PART) == Rejected(f"the file's server answered HTTP {status}", True)
