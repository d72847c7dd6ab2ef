"""Read the errors of gateways: what the vendor refused is found again in the words around it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from kling_async.decoding.lenient import words_of
from kling_async.errors import CODES

__all__ = ["GatewayError", "gateway_error", "vendors_code"]

_QUOTED: Final = (
    ("parallel task over resource pack limit", 1303),
    ("account balance not enough", 1102),
)
"""Words of the vendor's by which a refusal is known after a gateway has dropped its number."""
_MEANINGS: Final = {
    "insufficient_user_quota": 1101,
    "insufficient_quota": 1101,
    "pre_consume_token_quota_failed": 1101,
}
"""Words of gateways that mean what a code of the vendor's means: that account has to be paid for, too."""
_NOT_FOUND: Final = ("task_not_exist", "task_not_found")
_MAX: Final = 64 * 1024
"""Characters of a message that are searched for the vendor's number."""

_decode: Final = msgspec.json.Decoder().decode


class GatewayError(NamedTuple):
    """A gateway's refusal, read."""

    code: int | None
    """The vendor's code; None if the gateway itself refused, or the number is lost."""
    message: str
    missing: bool = False
    """Whether the gateway knows no task of that id."""


def gateway_error(answer: dict[str, Any]) -> GatewayError | None:
    """Read ``{"code": "<word>", "message": ...}`` or OpenAI's ``{"error": {...}}``; None: another form."""
    word, message = answer.get("code"), answer.get("message")
    error = answer.get("error")
    if (
        isinstance(error, dict)
        and isinstance(error.get("message"), str)
        and isinstance(error.get("type"), str)
    ):
        word, message = error.get("code"), error["message"]
    elif not isinstance(word, str) or "message" not in answer or answer.get("data"):
        return None
    word, text = words_of(word).strip().lower(), words_of(message)
    if word == "success":
        return None
    code = vendors_code(text) or _MEANINGS.get(word)
    return GatewayError(code, text or word, missing=word in _NOT_FOUND or text.strip() in _NOT_FOUND)


def vendors_code(message: str) -> int | None:
    """Return the vendor's code that a gateway's message quotes, as JSON or by its words; None if none."""
    message = message[:_MAX]
    start = message.find("{")
    end = message.rfind("}")
    if 0 <= start < end:
        try:
            quoted = _decode(message[start : end + 1].encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            quoted = None
        code = quoted.get("code") if isinstance(quoted, dict) else None
        if isinstance(code, int) and code in CODES:
            return code
    lower = message.lower()
    return next((code for words, code in _QUOTED if words in lower), None)
