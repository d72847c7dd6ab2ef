"""Test http/transport.py: every exchange gives one outcome, whatever the wire does."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from typing import TYPE_CHECKING, Final

import pytest

from kling_async.core.verdict import (
    Accepted,
    Again,
    Answer,
    Broken,
    Full,
    Garbled,
    Got,
    Lost,
    Missing,
    Refused,
)
from kling_async.errors import (
    APIError,
    AuthenticationError,
    BadResponse,
    ExternalIdTaken,
    RateLimited,
    RequestRejected,
    ServerError,
    TransportError,
)
from tests.http.exchanges import CUT_OFF, FORM, HTML, LIMITS, OK, outcome_of, sending
from tests.wiretap import CERTIFICATE, CUT, HANG, code, free_port, raw, server_tls, serving

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.core.verdict import ExchangeOutcome

pytestmark = pytest.mark.anyio

# --- what an answer comes to -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(OK, Answer(200, 0, "SUCCEED", "r-1", b'{"task_id": "77"}'), id="success"),
        pytest.param(code(1201), Answer(200, 1201, "as scripted", "r-1", b"null"), id="code, HTTP 200"),
        pytest.param(raw({"code": "1201"}, 400), Answer(400, 1201, "", "", b"null"), id="a code as text"),
        pytest.param(raw({"error": 1}, 404), Answer(404, None, "", "", b"null"), id="4xx without a code"),
        pytest.param(raw({"code": 0, "data": "odd"}), Answer(200, 0, "", "", b'"odd"'), id="odd data"),
        pytest.param(raw({"code": None}, 503), Answer(503, None, "", "", b"null"), id="5xx without a code"),
        pytest.param(raw(HTML, 502), Garbled(502, FORM, HTML.decode()), id="HTML"),
        pytest.param(raw(b'{"code":0,"da'), Garbled(200, FORM, '{"code":0,"da'), id="cut JSON"),
        pytest.param(raw({"code": "no"}), Garbled(200, FORM, '{"code": "no"}'), id="code of another type"),
        pytest.param(raw([1]), Garbled(200, FORM, "[1]"), id="JSON array"),
        pytest.param(raw(b"null"), Garbled(200, FORM, "null"), id="JSON null"),
        pytest.param(raw(), Garbled(200, "the answer is empty", ""), id="nothing"),
        pytest.param(raw(b" \r\n"), Garbled(200, "the answer is empty", ""), id="blanks"),
        pytest.param(raw(b"\xff\xfe", 500), Garbled(500, FORM, "\ufffd\ufffd"), id="binary"),
        pytest.param(raw(b"", 302, Location="http://x/"), Garbled(302, "the answer is empty", ""), id="302"),
        pytest.param(
            raw(b'{"code":0,"message":"\xff"}'), Garbled(200, FORM, '{"code":0,"message":"\ufffd"}'),
            id="not UTF-8",
        ),
        pytest.param(
            raw(b'{"data":' + b"[" * 100_000), Garbled(200, FORM, '{"data":' + "[" * 192), id="deep",
        ),
    ],
)  # fmt: skip
async def test_every_answer_has_its_outcome(answer: bytes, expected: ExchangeOutcome) -> None:
    """Status, code, message, request id and data are read; an unreadable answer keeps a short excerpt."""
    assert await outcome_of(answer) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"code":0,"message":"SUCCEED","request_id":"r-9","data":{"ta', id="cut JSON"),
        pytest.param(b'{"code":[],"message":"","request_id":"r-9"}', id="wrong types"),
    ],
)
async def test_a_garbled_answer_keeps_its_request_id(body: bytes) -> None:
    """The request id is read from an unreadable answer too: the vendor's support asks for it."""
    outcome = await outcome_of(raw(body))
    assert isinstance(outcome, Garbled) and outcome.request_id == "r-9"


@pytest.mark.parametrize("size", [32 * 1024**2, 32 * 1024**2 + 1], ids=["32 MiB", "one byte more"])
async def test_an_answer_of_more_than_32_mib_is_refused_even_compressed(size: int) -> None:
    """The bound counts decompressed bytes, so a few kilobytes cannot fill the memory."""
    body = gzip.compress(b'{"code": 0}' + b" " * (size - 11), 6)
    assert len(body) < 100_000
    outcome = await outcome_of(raw(body, Content_Encoding="gzip"))
    if size > 32 * 1024**2:
        assert outcome == Garbled(200, "the answer is larger than 32 MiB", "")
    else:
        assert isinstance(outcome, Answer) and outcome.code == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("5", 5.0), ("0.1", 1.0), ("1.5", 1.5), ("3600", 3600.0), ("9" * 400, 3600.0)),
        *(
            ("0", None),
            ("0.0", None),
            ("-1", None),
            ("inf", None),
            ("nan", None),
            ("soon", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ),
    ],
)
async def test_retry_after_is_a_number_of_seconds_an_hour_at_most(header: str, seconds: float | None) -> None:
    """Retry-After is read from any answer; no time at all, dates and other texts count as absent."""
    for answer in (
        code(1302, 429, Retry_After=header),
        raw(HTML, 429, Retry_After=header),
        raw(b"", 503, Retry_After=header),
    ):
        outcome = await outcome_of(answer)
        assert isinstance(outcome, Answer | Garbled) and outcome.retry_after == seconds


@pytest.mark.parametrize(
    ("header", "time"),
    [
        ("Mon, 21 Sep 2026 18:13:20 GMT", 1790014400.0),
        ("yesterday", None),
        ("Mon, 99 Sep 2026 18:13:20 GMT", None),
    ],
)
async def test_the_servers_clock_is_its_date_header(header: str, time: float | None) -> None:
    """The Date header gives seconds since 1970; an invalid date counts as absent."""
    outcome = await outcome_of(code(0, Date=header))
    assert isinstance(outcome, Answer) and outcome.date == time


TASK_GONE: Final = code(1201, 400, "Task not found")
TAKEN: Final = code(1201, 400, "external_task_id already exists")
BadKey: Final = AuthenticationError


@pytest.mark.parametrize(
    ("answer", "created", "of_create", "read", "of_read"),
    [
        pytest.param(OK, Accepted, None, Got, None, id="success"),
        pytest.param(raw({"code": 0, "data": "odd"}), Lost, BadResponse, Got, None, id="unreadable task"),
        pytest.param(raw({"data": {}}), Lost, BadResponse, Again, BadResponse, id="200 without a code"),
        pytest.param(raw(b'{"code":0,"da'), Lost, BadResponse, Again, BadResponse, id="cut JSON"),
        pytest.param(raw(), Lost, BadResponse, Again, BadResponse, id="nothing"),
        pytest.param(raw(HTML, 502), Lost, BadResponse, Again, BadResponse, id="HTML 502"),
        pytest.param(raw(HTML, 404), Lost, BadResponse, Refused, BadResponse, id="HTML 404"),
        pytest.param(raw(HTML, 302), Lost, BadResponse, Refused, BadResponse, id="HTML 302"),
        pytest.param(raw(HTML, 429), Again, RateLimited, Again, BadResponse, id="HTML 429"),
        pytest.param(raw({}, 400), Lost, BadResponse, Refused, RequestRejected, id="400, no code"),
        pytest.param(raw({}, 401), Lost, BadResponse, Refused, BadKey, id="401, no code"),
        pytest.param(raw({}, 429), Again, RateLimited, Again, RateLimited, id="429 without a code"),
        pytest.param(raw({}, 500), Lost, ServerError, Again, ServerError, id="500 without a code"),
        pytest.param(code(9999, 429), Again, RateLimited, Again, RateLimited, id="429, unknown code"),
        pytest.param(code(1302, 429), Again, RateLimited, Again, RateLimited, id="1302"),
        pytest.param(code(1303, 429), Full, APIError, Again, APIError, id="1303"),
        pytest.param(code(5001, 503), Lost, ServerError, Again, ServerError, id="5001"),
        pytest.param(TAKEN, Refused, ExternalIdTaken, Refused, ExternalIdTaken, id="taken"),
        pytest.param(TASK_GONE, Refused, RequestRejected, Missing, None, id="not found"),
        pytest.param(CUT, Lost, TransportError, Again, TransportError, id="cut"),
        pytest.param(b"no HTTP\r\n\r\n", Lost, TransportError, Again, TransportError, id="not HTTP"),
    ],
)  # fmt: skip
async def test_verdicts_of_creates_and_reads(
    answer: bytes, created: type, of_create: type | None, read: type, of_read: type | None
) -> None:
    """A create is repeated or final only if it surely made no task; a read may always be repeated."""
    async with serving(answer) as wire, sending(wire.port) as transport:
        made = await transport.create("/x", b"{}", endpoint="e", external_task_id="mine", timeouts=LIMITS)
        got = await transport.read("GET", "/x", timeouts=LIMITS)
    assert (type(made), type(got)) == (created, read)
    for verdict, kind in ((made, of_create), (got, of_read)):
        error = getattr(verdict, "error", None)
        assert error is None if kind is None else isinstance(error, kind)
        if isinstance(error, APIError) and answer.endswith(b'"r-1"}'):
            assert error.request_id == "r-1"


# --- where nothing whole comes -----------------------------------------------------------------


async def test_a_refused_connection_counts_as_not_sent() -> None:
    """A create whose connection was refused can be repeated without a lookup."""
    port = free_port()
    async with sending(port) as transport:
        outcome = await transport.exchange("POST", "/x", body=b"{}", timeouts=LIMITS)
    assert isinstance(outcome, Broken) and not outcome.sent
    assert outcome.reason.startswith(f"cannot connect to 127.0.0.1:{port}: Connect call failed")


async def test_an_unknown_host_counts_as_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the host, without the resolver's words."""

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with sending(1) as transport:
        transport.base_url = "https://api.example"
        monkeypatch.setattr(socket, "getaddrinfo", nobody)
        outcome = await transport.exchange("GET", "/x", timeouts=LIMITS)
    assert outcome == Broken(False, "cannot find the host api.example")


async def test_a_connect_timeout_counts_as_not_sent() -> None:
    """The TLS handshake counts as connecting: 10 s, not the 60 s of an exchange."""
    loop = asyncio.get_running_loop()
    async with serving(HANG) as wire, sending(wire.port, scheme="https") as transport:
        start = loop.time()
        outcome = await transport.exchange("GET", "/x", timeouts=LIMITS)
        assert outcome == Broken(False, "no connection in time")
        assert loop.time() - start == pytest.approx(10, abs=1.1)


async def test_tls_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    """An untrusted certificate is refused before anything is sent; ``ssl=`` decides what is trusted."""
    trusting = ssl.create_default_context(cadata=CERTIFICATE[CERTIFICATE.index("-----BEGIN C") :])
    outcomes: list[ExchangeOutcome] = []
    async with serving(OK, tls=server_tls(tmp_path)) as wire:
        for option in (None, trusting, False):
            async with sending(wire.port, scheme="https", ssl=option) as transport:
                outcomes.append(await transport.exchange("GET", "/x", timeouts=LIMITS))
        assert len(wire.requests) == 2
    assert isinstance(outcomes[0], Broken) and not outcomes[0].sent
    assert outcomes[0].reason.startswith("no TLS connection to 127.0.0.1")
    assert [type(outcome) for outcome in outcomes[1:]] == [Answer, Answer]


@pytest.mark.parametrize(
    ("answer", "after", "reason"),
    [
        pytest.param(CUT, 0, CUT_OFF, id="cut before the answer"),
        pytest.param(OK[:-5], 30, "no answer in time", id="the answer stops half way"),
        pytest.param(HANG, 30, "no answer in time", id="silence"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 0, CUT_OFF,
            id="cut within the answer",
        ),
        pytest.param(
            raw(b"no gzip", Content_Encoding="gzip"), 0, CUT_OFF, id="not the compression it says",
        ),
    ],
)  # fmt: skip
async def test_failures_after_sending_count_as_sent(answer: bytes, after: float, reason: str) -> None:
    """A create that fails after it was sent may have made its task."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert await outcome_of(answer, "POST", body=b"{}") == Broken(True, reason)
    assert loop.time() - start == pytest.approx(after, abs=1.1)


async def test_an_answer_that_dribbles_in_ends_at_the_total_time() -> None:
    """An answer with bytes within every read timeout still ends at the total timeout."""

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        while not writer.is_closing() and not reader.at_eof():
            writer.write(b" ")
            await asyncio.sleep(20)
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    async with server, sending(server.sockets[0].getsockname()[1]) as transport:
        start = loop.time()
        assert await transport.exchange("GET", "/x", timeouts=LIMITS) == Broken(True, "no answer in time")
        assert loop.time() - start == pytest.approx(60, abs=1.1)
        await asyncio.sleep(40)


async def test_a_larger_body_gets_more_time() -> None:
    """A body gets 6 s per MiB on top of the read timeout of 30 s."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    outcome = await outcome_of(HANG, "POST", body=b" " * (3 * 1024**2))
    assert outcome == Broken(True, "no answer in time")
    assert loop.time() - start == pytest.approx(30 + 3 * 6, abs=1.1)
