"""Test downloads/ranges.py: range requests, and whether an answer belongs to the bytes on disk."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.downloads.ranges import (
    NOTHING,
    OVERLAP,
    LocalPart,
    LocalState,
    ReceivedPart,
    Rejected,
    Remainder,
    StartOver,
    Whole,
    judge_file,
    range_headers,
)

PART: Final = LocalPart(5000, b"t" * 4096, 9000, '"v1"')
SHORT: Final = LocalPart(10, b"t" * 10, 9000, '"v1"')
COMPLETE: Final = LocalPart(9000, b"t" * 4096, 9000, head=b"h" * 1000)
REMAINDER: Final = {"Content-Range": "bytes 904-8999/9000", "ETag": '"v1"'}


@pytest.mark.parametrize(
    ("local", "headers"),
    [
        (NOTHING, {}),
        (PART, {"Range": "bytes=904-", "If-Range": '"v1"'}),
        (SHORT, {"Range": "bytes=0-", "If-Range": '"v1"'}),
        (COMPLETE, {"Range": "bytes=4904-8999"}),
        (COMPLETE.beginning, {"Range": "bytes=0-999"}),
    ],
)
def test_range_headers(local: LocalPart, headers: dict[str, str]) -> None:
    """A missing file is requested whole, a part from its overlap on, a complete file by two pieces."""
    assert range_headers(local) == {"Accept-Encoding": "identity", **headers}


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
@pytest.mark.parametrize("local", [NOTHING, PART, COMPLETE], ids=["missing", "partial", "complete"])
def test_a_whole_file(headers: dict[str, str], verdict: Whole | Rejected, local: LocalPart) -> None:
    """HTTP 200 brings the whole file whatever is on disk; only a strong ETag lets it be resumed."""
    assert judge_file(200, headers, local) == verdict


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
@pytest.mark.parametrize("local", [NOTHING, PART, COMPLETE], ids=["missing", "partial", "complete"])
def test_a_body_without_a_marked_end_is_rejected(headers: dict[str, str], local: LocalPart) -> None:
    """Such a body ends with its connection, possibly after half of the file."""
    reason = "the file's server does not tell where the file ends"
    assert judge_file(200, headers, local) == Rejected(reason, temporary=True)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-new", "identity, gzip"])
@pytest.mark.parametrize("local", [NOTHING, PART, COMPLETE], ids=["missing", "partial", "complete"])
def test_a_compressed_body_is_rejected(encoding: str, local: LocalPart) -> None:
    """A torn compressed body may unpack to a file that looks whole."""
    headers = {"Content-Length": "12", "ETag": '"a"', "Content-Encoding": encoding}
    reason = "the file's server sent it compressed, which was not asked for"
    assert judge_file(200, headers, local) == Rejected(reason, temporary=True)


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
def test_a_remainder_must_be_the_requested_range(change: dict[str, str], verdict: object) -> None:
    """Start, end, total length and ETag must be those of the part, or the download starts over."""
    assert judge_file(206, {**REMAINDER, **change}, PART) == verdict


def test_a_complete_file_is_compared_by_length_and_overlap() -> None:
    """Its ETag was not kept, so that of the answer does not count."""
    assert (
        judge_file(206, {"Content-Range": "bytes 4904-8999/9000", "ETag": '"any"'}, COMPLETE) == Remainder()
    )
    assert judge_file(206, {"Content-Range": "bytes 4904-9999/10000"}, COMPLETE) == StartOver()
    assert judge_file(416, {"Content-Range": "bytes */20"}, COMPLETE) == StartOver()


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
def test_the_beginning_of_a_complete_file_is_compared_too(where: str, verdict: object) -> None:
    """The answer must bring exactly the first bytes of a file of the same length."""
    assert judge_file(206, {"Content-Range": where}, COMPLETE.beginning) == verdict


@pytest.mark.parametrize("status", [206, 302, 403, 404, 416])
def test_other_statuses_reject_the_file(status: int) -> None:
    """The reason names the status; HTTP 206 counts as one where no range was requested."""
    assert judge_file(status, REMAINDER, NOTHING) == Rejected(
        f"the file's server answered HTTP {status}", False
    )


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_some_statuses_are_temporary(status: int) -> None:
    """Timeouts, limits and server errors may pass."""
    assert judge_file(status, {}, PART) == Rejected(f"the file's server answered HTTP {status}", True)


@pytest.mark.parametrize(
    ("local", "state", "resumable"),
    [
        (NOTHING, LocalState.MISSING, 0),
        (PART, LocalState.PARTIAL, 5000),
        (SHORT, LocalState.PARTIAL, 10),
        (COMPLETE, LocalState.COMPLETE, 0),
        (COMPLETE.beginning, LocalState.COMPLETE, 0),
    ],
)
def test_only_a_part_with_an_etag_is_resumable(local: LocalPart, state: LocalState, resumable: int) -> None:
    """The state follows from size and ETag; bytes of a complete file are compared, never continued."""
    assert (local.state, local.resumable) == (state, resumable)


@given(st.lists(st.binary(min_size=1, max_size=3000) | st.just(b"x" * OVERLAP), min_size=1, max_size=12))
def test_a_received_part_keeps_the_overlap(chunks: list[bytes]) -> None:
    """Chunks of any size leave the last bytes of all of them, which a remainder is compared with."""
    got, part = b"".join(chunks), ReceivedPart()
    assert part.local == NOTHING
    part.whole = Whole(len(got) + 1, '"v1"')
    for chunk in chunks:
        part.add(chunk)
    assert part.local == LocalPart(len(got), got[-OVERLAP:], len(got) + 1, '"v1"')
    assert not part.is_complete and not part.is_too_long
    part.add(b"y")
    assert part.is_complete and not part.is_too_long
    part.add(b"z")
    assert part.is_too_long and not part.is_complete


@pytest.mark.parametrize("whole", [Whole(None, '"v1"'), Whole(9), Whole(None)])
def test_a_received_part_that_nothing_can_be_joined_to(whole: Whole) -> None:
    """Without a length or a strong ETag nothing tells a remainder of the same file."""
    part = ReceivedPart()
    part.whole = whole
    part.add(b"film")
    assert part.local is None and not part.is_complete and not part.is_too_long
