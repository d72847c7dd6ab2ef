"""Read an answer of the server into the outcome of its exchange."""

from __future__ import annotations

import functools
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import msgspec

from kling_async.core.verdict import Answer, Broken, ExchangeOutcome, Garbled
from kling_async.errors import CODES
from kling_async.http.words import error_words
from kling_async.records import Envelope, decode_envelope
from kling_async.redaction import redact

if TYPE_CHECKING:
    import aiohttp

    from kling_async.wire.dialects.dialect import Translated, Translator

__all__ = ["exchange_outcome", "outcome_summary", "read_body", "retry_after"]

_ANSWER_MAX: Final = 32 * 1024 * 1024
"""Bytes after decompression; the API's longest answer, a list page of 500 tasks, is far below."""
_RETRY_AFTER_MIN: Final = 1.0
_RETRY_AFTER_MAX: Final = 3600.0
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?")


def outcome_summary(outcome: ExchangeOutcome) -> str:
    """Describe an outcome for the log without its contents."""
    match outcome:
        case Answer(status, code):
            return f"HTTP {status}, code {code}"
        case Garbled(status, reason):
            return f"HTTP {status}, {reason}"
        case Broken(_, reason):
            return reason


async def read_body(response: aiohttp.ClientResponse) -> bytes | None:
    """Read a whole answer; None if it is larger than `_ANSWER_MAX`."""
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > _ANSWER_MAX:
            return None
    return bytes(body)


def exchange_outcome(
    response: aiohttp.ClientResponse, body: bytes | None, token: str, dialects: Translator, *, keep: bool
) -> ExchangeOutcome:
    """Return the outcome of an answered exchange; ``keep`` its whole body, too."""
    outcome = _outcome(response, body, token, dialects, keep=keep)
    if outcome.http_status == 429 and dialects.current.name != "vendor":
        return _own_limit(outcome)
    return outcome


def _own_limit(outcome: Answer | Garbled) -> Answer | Garbled:
    """Return a 429 of a gateway's in whatever form, HTML also, as its own limit, unless it has a code."""
    if isinstance(outcome, Answer):
        known = outcome.code == 0 or outcome.code in CODES
        return outcome if known else outcome._replace(code=None, gateway=True)
    message, pause = outcome.excerpt or "too many requests", outcome.retry_after
    return Answer(429, None, message, outcome.request_id, b"null", None, pause, outcome.body, gateway=True)


def _outcome(
    response: aiohttp.ClientResponse, body: bytes | None, token: str, dialects: Translator, *, keep: bool
) -> Answer | Garbled:
    status, headers = response.status, response.headers
    pause = retry_after(headers.get("Retry-After"))
    if body is None:
        return Garbled(status, "the answer is larger than 32 MiB", "", "", pause)
    if not body.strip():
        return Garbled(status, "the answer is empty", "", "", pause)
    try:
        envelope = decode_envelope(body)
    except msgspec.DecodeError:
        envelope = None
    if envelope is None or (envelope.code != 0 and envelope.code not in CODES):
        translated = dialects.translate(body, status)
        if translated is not None:
            return _translated(response, translated, token, body if keep else b"")
    if envelope is None:
        found = _REQUEST_ID.search(body[:4096])
        request_id = "" if found is None else found[1].decode("ascii")
        reason = "the answer is not of the API's form"
        return Garbled(status, reason, _excerpt(body, token), request_id, pause, body if keep else b"")
    return Answer(
        http_status=status,
        code=envelope.code,
        message=_safe_message(_message(envelope, status, body), token),
        request_id=(envelope.request_id or "")[:100],
        data=bytes(envelope.data),
        date=_timestamp(headers.get("Date")),
        retry_after=pause,
        body=body if keep else b"",
    )


def _translated(response: aiohttp.ClientResponse, translated: Translated, token: str, kept: bytes) -> Answer:
    """Return the answer of a gateway in the vendor's form."""
    return Answer(
        http_status=response.status,
        code=translated.code,
        message=_safe_message(translated.message, token),
        request_id=response.headers.get("X-Oneapi-Request-Id", "")[:100],
        data=translated.data,
        date=_timestamp(response.headers.get("Date")),
        retry_after=retry_after(response.headers.get("Retry-After")),
        body=kept,
        gateway=True,
        missing=translated.missing,
    )


_REQUEST_ID: Final = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9._:-]{1,100})"')
_SUCCESS_MESSAGES: Final = ("SUCCEED", "")


def _message(envelope: Envelope, status: int, body: bytes) -> str:
    """Return the message of an answer; of a refusal in another form, the words that stand elsewhere."""
    if envelope.message or (status < 400 and envelope.code in (None, 0)):
        return envelope.message or ""
    return error_words(body)


def _safe_message(message: str, token: str) -> str:
    """Return the server's message without secrets that it may echo; that of a success needs no search."""
    return message if message in _SUCCESS_MESSAGES else redact(message.replace(token, "..."))[:500]


def _excerpt(body: bytes, token: str) -> str:
    """Return the beginning of an unreadable answer, or words from further on, without secrets."""
    beginning = redact(body[:2000].decode("utf-8", "replace").replace(token, "..."))[:200]
    words = redact(error_words(body).replace(token, "..."))[:200]
    return beginning if words in beginning else words


@functools.lru_cache(maxsize=8)  # all answers of one second have the same Date, which is slow to parse
def _timestamp(header: str | None) -> float | None:
    if not header:
        return None
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, OverflowError):
        return None


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header, from 1 to 3600.

    This API sends no dates there.

    Returns:
        None if the header is absent, a date, or no time at all (0 or below): the caller's own pause holds.
    """
    found = _SECONDS.fullmatch((header or "").strip())
    seconds = float(found[0]) if found is not None else 0.0
    return max(_RETRY_AFTER_MIN, min(seconds, _RETRY_AFTER_MAX)) if seconds > 0 else None
