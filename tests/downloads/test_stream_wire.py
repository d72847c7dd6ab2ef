"""Test downloads/stream.py: scripted answers, cut at every kind of place, judged like those of a download."""

from __future__ import annotations

import asyncio

import pytest

from kling_async.downloads import remote
from tests.downloads.contexts import streaming_from
from tests.films import CUT_OFF, FILM, NO_ANSWER, SIZE, TAG, cut, dripping, film, pieces, remainder
from tests.wiretap import CUT, HANG, raw

pytestmark = pytest.mark.anyio

OTHER = FILM[:12] + bytes(SIZE - 12)


def chunked(body: bytes, after: int | None = None, *, tag: str = TAG) -> bytes:
    """Return an answer without a length, cut after so many bytes of its body."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: %s\r\n\r\n" % tag.encode()
    if after is not None:
        return head + b"%x\r\n" % len(body) + body[:after]
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


# --- what is known before the first chunk ------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "form"),
    [(FILM, "video/mp4"), (FILM[:13], "video/mp4"), (FILM[:512], "video/mp4"), (FILM[:513], "video/mp4")],
    ids=["long", "shorter than a head", "as long as a head", "a byte longer"],
)
async def test_a_file_of_any_length_is_streamed(body: bytes, form: str) -> None:
    """Length and type are known although no byte was handed on."""
    async with streaming_from(raw(body, ETag=TAG)) as get, get() as file:
        assert (file.length, file.content_type) == (len(body), form)
        assert b"".join([chunk async for chunk in file]) == body


async def test_a_chunked_file_has_no_known_length() -> None:
    """Its last chunk marks the end."""
    async with streaming_from(chunked(FILM)) as get, get() as file:
        assert file.length is None and "of ? bytes" in repr(file)
        assert b"".join([chunk async for chunk in file]) == FILM


async def test_the_servers_word_for_the_type_is_not_believed() -> None:
    """A consumer may serve the file under that type: only the bytes decide."""
    async with streaming_from(raw(FILM, Content_Type="image/svg+xml")) as get, get() as file:
        assert file.content_type == "video/mp4"


@pytest.mark.parametrize(
    ("answer", "reason", "status"),
    [
        pytest.param(raw(b"no", 400), "the file's server answered HTTP 400", 400, id="400"),
        pytest.param(raw(b"no", 503), "the file's server answered HTTP 503", 503, id="503"),
        pytest.param(
            raw(b"<html>", Content_Type="text/html"),
            "the file's server sent text/html, not a file", 200, id="HTML",
        ),
        pytest.param(
            raw(b"<!DOCTYPE html>" + FILM),
            "the file's server sent an HTML page, not a .mp4 file", 200, id="HTML that does not say so",
        ),
        pytest.param(
            raw(b"\x89PNG\r\n\x1a\n"), "the file's server sent PNG, not a .mp4 file", 200, id="another format"
        ),
        pytest.param(raw(b""), "the file is empty", 200, id="empty"),
        pytest.param(raw(b"", 302, Location="/again"), "more than 3 redirects", 0, id="redirects"),
        pytest.param(
            raw(b"", 302, Location="http://8.8.8.8/"),
            "the result's address (http://8.8.8.8) is not public https", 0, id="a redirect elsewhere",
        ),
        pytest.param(
            raw(FILM, Content_Encoding="gzip"),
            "the file's server sent it compressed, which was not asked for", 200, id="compressed",
        ),
        pytest.param(CUT, f"the download broke off: {CUT_OFF}", 0, id="cut before the headers"),
        pytest.param(film()[:30], f"the download broke off: {CUT_OFF}", 0, id="cut within the headers"),
        pytest.param(cut(film(), 0), f"the download broke off: {CUT_OFF}", 0, id="cut behind the headers"),
        pytest.param(cut(film(), 511), f"the download broke off: {CUT_OFF}", 0, id="cut within the head"),
        pytest.param(HANG, f"the download broke off: {NO_ANSWER}", 0, id="silence"),
    ],
)  # fmt: skip
async def test_without_a_usable_head_nothing_is_handed_on(answer: bytes, reason: str, status: int) -> None:
    """The error comes before the first chunk, with the words of a download."""
    async with streaming_from(answer, tries=3) as get:
        got, error = await get.fails()
        assert (got, str(error), error.http_status) == (b"", reason, status)


@pytest.mark.parametrize("url", ["http://a.example/a.mp4", "https://10.0.0.1/", "https://127.0.0.1/"])
async def test_addresses_that_are_not_public_https_are_refused(url: str) -> None:
    """Nothing is connected to."""
    async with streaming_from(raw(FILM), local=False) as get:
        _, error = await get.fails(url)
        assert str(error).endswith("is not public https") and get.wire.requests == []


@pytest.mark.parametrize("form", ["announced", "unannounced"])
async def test_a_file_has_a_largest_size(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that announces to be larger is refused unread, another as soon as it is."""
    monkeypatch.setattr(remote, "_FILE_MAX", 1000)
    for size in (1000, 1001):
        async with streaming_from(raw(FILM[:size]) if form == "announced" else chunked(FILM[:size])) as get:
            if size == 1000:
                assert await get.read() == FILM[:size]
            else:
                got, error = await get.fails()
                assert (got, str(error)) == (b"", "the file is larger than 4 GiB")


# --- cuts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 511, 512, 4095, 4096, 4097, 300_000, SIZE - 4097, SIZE - 1])
async def test_a_cut_anywhere_is_resumed(at: int) -> None:
    """Before the head is whole from the first byte on, behind it with an overlap and If-Range."""
    begun = at >= 512
    start = max(0, at - 4096)
    async with streaming_from(cut(film(), at), remainder(start) if begun else film()) as get:
        assert await get.read() == FILM
        assert get.ranges[1:] == ([(f"bytes={start}-", TAG)] if begun else [(None, None)])


async def test_a_cut_behind_the_last_byte_is_no_cut() -> None:
    """A remainder that announced more than the file has breaks off with nothing missing."""
    promised = remainder(295_904).replace(b"Content-Length: ", b"content-length: 1")
    async with streaming_from(cut(film(), 300_000), promised, tries=2) as get:
        assert await get.read() == FILM and len(get.wire.requests) == 2


async def test_progress_starts_the_count_of_attempts_anew() -> None:
    """Connections that bring 400 kB each are never too many; those that bring a byte soon are."""
    ends = (400_000, 800_000, 1_200_000, 1_600_000)
    async with streaming_from(*pieces(*ends), remainder(1_600_000 - 4096), tries=2) as get:
        assert await get.read() == FILM
    async with streaming_from(*pieces(*range(400_000, 400_010)), tries=3) as get:
        got, error = await get.fails()
        assert got == FILM[:400_002] and CUT_OFF in str(error) and len(get.wire.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_temporary_refusals_are_repeated(status: int) -> None:
    """Before the first byte and between two, after the pause that the server asks for."""
    busy = raw(b"", status, Retry_After="20")
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with streaming_from(busy, cut(film(), 300_000), busy, remainder(295_904), tries=3) as get:
        assert await get.read() == FILM
    assert 40 <= loop.time() - start < 43


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(cut(raw(FILM), 300_000), id="no ETag"),
        pytest.param(cut(raw(FILM, ETag='W/"v1"'), 300_000), id="a weak ETag"),
        pytest.param(chunked(FILM, 300_000), id="no length"),
    ],
)
async def test_what_cannot_be_resumed_is_an_error(first: bytes) -> None:
    """A second answer from the first byte on would hand the same bytes on twice."""
    async with streaming_from(first, film()) as get:
        got, error = await get.fails()
        assert got == FILM[: len(got)] and 0 < len(got) <= 300_000
        assert str(error) == (
            f"the stream broke off after {len(got)} bytes were handed on: {CUT_OFF}, "
            "and its server gave no length or no strong ETag to resume by"
        )
        assert (error.fault, len(get.wire.requests)) == ("server", 1)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(raw(OTHER, ETag='"v2"'), id="another content comes whole"),
        pytest.param(film(), id="the same content comes whole"),
        pytest.param(remainder(295904, tag='"v2"', body=OTHER), id="another ETag"),
        pytest.param(remainder(295904, tag=""), id="no ETag"),
        pytest.param(remainder(295904, body=OTHER), id="another content under the same ETag"),
        pytest.param(remainder(295903), id="from another byte on"),
        pytest.param(remainder(295904, total=SIZE - 1), id="of another length"),
        pytest.param(raw(b"", 416, Content_Range="bytes */9"), id="no such range"),
    ],
)
async def test_two_contents_are_never_joined(second: bytes) -> None:
    """An answer that does not go on behind the last byte ends the stream."""
    async with streaming_from(cut(film(), 300_000), second) as get:
        got, error = await get.fails()
        assert got == FILM[:300_000]
        text = "the stream broke off after 300000 bytes were handed on: its server does not send the rest"
        assert str(error) == f"{text} of the same file"
        assert len(get.wire.requests) == 2


async def test_a_remainder_that_ends_too_soon_is_resumed() -> None:
    """The length of the whole file decides, not the Content-Length of the remainder."""
    where = f"bytes 295904-{SIZE - 1}/{SIZE}"
    for last in (295_904 + 10, 300_000, SIZE - 1):
        short = raw(FILM[295904:last], 206, ETag=TAG, Content_Range=where)
        start = max(300_000, last) - 4096
        async with streaming_from(cut(film(), 300_000), short, remainder(start)) as get:
            assert await get.read() == FILM
            assert get.ranges[2] == (f"bytes={start}-", TAG)


async def test_a_remainder_that_is_too_long_is_an_error() -> None:
    """The consumer must not commit what is longer than the file."""
    long = raw(FILM[295904:] + b"x", 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    async with streaming_from(cut(film(), 300_000), long) as get:
        got, error = await get.fails()
        assert got == FILM[: len(got)]
        assert str(error) == f"more than {SIZE} bytes came, which was the file's length"


# --- slow servers, slow consumers ----------------------------------------------------------------


async def test_a_silent_server_is_left_and_asked_again() -> None:
    """After the read timeout the stream goes on over another connection."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    stalled = film()[: -SIZE + 300_000]
    async with streaming_from(stalled, remainder(295_904)) as get:
        assert await get.read() == FILM
    assert 30 <= loop.time() - start < 32


async def test_a_slow_server_is_left_and_asked_again() -> None:
    """Less than 1 KiB per second counts as a cut, although no read times out; 2 KiB are enough."""
    loop = asyncio.get_running_loop()
    async with streaming_from(HANG, tries=2) as get:
        start = loop.time()
        async with dripping(1, first=300_000) as url:
            assert await get.read(url) == FILM
        assert 60 < loop.time() - start < 145
        async with dripping(40_960, first=1_700_000) as url:
            assert await get.read(url) == FILM


async def test_a_remainder_that_comes_slowly_is_waited_for() -> None:
    """The overlap alone in the first packet is no end: the connection counts as slow only a minute later."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with streaming_from(HANG, tries=3) as get, dripping(1, first=4096, to_begin_with=2) as url:
        assert await get.read(url) == FILM
    assert 120 < loop.time() - start < 290


async def test_time_that_the_consumer_takes_is_not_the_servers() -> None:
    """A server that sends enough while it is waited for is not left, however slowly its bytes are used."""
    async with streaming_from(HANG, tries=1) as get, dripping(40_960, first=1_700_000) as url:
        got = bytearray()
        async for chunk in get(url):
            got += chunk
            await asyncio.sleep(15)
        assert got == FILM
