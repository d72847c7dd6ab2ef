"""Read the errors of gateways: what the vendor refused is found again in the words around it."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from kling_async.decoding.lenient import text_of, words_of
from kling_async.errors import CODES

__all__ = ["SUCCESS_WORDS", "GatewayError", "gateway_error", "is_number", "vendors_code"]

SUCCESS_WORDS: Final = ("success", "succeed", "succeeded", "ok")
"""Words that stand as ``code`` in the answers of gateways that show a task."""
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
_NOT_FOUND: Final = ("task_not_exist", "task_not_found", "task_does_not_exist")
_NOT_FOUND_CHINESE: Final = "任务不存在"
_MAX: Final = 64 * 1024
"""Characters of a message that are searched for the vendor's number."""
_DIGITS: Final = 4
"""Digits of the vendor's codes."""
_NUMBER: Final = re.compile(r'\\*"code\\*"\s*:\s*(?:\\*")?([0-9]{4})(?![0-9.])')
"""A code in JSON, a number or a text, quoted within other JSON as often as it may be."""


class GatewayError(NamedTuple):
    """A gateway's refusal, read."""

    code: int | None
    """The vendor's code; None if the gateway itself refused, or the number is lost."""
    message: str
    missing: bool = False
    """Whether the gateway knows no task of that id."""


def gateway_error(answer: dict[str, Any]) -> GatewayError | None:
    """Read ``{"code": "<word>", "message": ...}`` or OpenAI's ``{"error": {...}}``; None: another form.

    An answer may have both: the vendor's number is then looked for in either, and the object's message is
    told. A number of the gateway's own as ``code`` says nothing but what is quoted beside it.
    """
    own = (text_of(answer.get("code")) or "").lower()
    words, messages = [own], [words_of(answer.get("message")) or words_of(answer.get("msg"))]
    error = answer.get("error")
    if own == "0" or _number(own):
        return None  # the vendor's own
    openai = isinstance(error, dict) and _is_openai(error)
    if isinstance(error, dict) and openai:
        words.insert(0, (text_of(error.get("code")) or "").lower())
        messages.insert(0, words_of(error.get("message")))
    elif not own or own in SUCCESS_WORDS:
        return None
    codes = (*map(_number, words), *map(vendors_code, messages), *map(_MEANINGS.get, words))
    code = next(filter(None, codes), None)
    missing = any(word in _NOT_FOUND for word in words) or any(map(_says_missing, messages))
    said = openai or (any(messages) and not is_number(own) and not answer.get("data"))
    if not said and code is None and not missing:
        return None
    return GatewayError(code, next(filter(None, (*messages, *words)), ""), missing=missing)


def is_number(code: str) -> bool:
    """Tell whether a code is a number, as the vendor's are."""
    return code.removeprefix("-").isdecimal()


def vendors_code(message: str) -> int | None:
    """Return the vendor's code that a gateway's message quotes, as JSON or by its words; None if none.

    Of several, as in an error that quotes one that quotes another, the first that the vendor has counts.
    """
    message = message[:_MAX]
    numbers = (_number(found[1]) for found in _NUMBER.finditer(message))
    if (code := next(filter(None, numbers), None)) is not None:
        return code
    lower = message.lower()
    return next((code for words, code in _QUOTED if words in lower), None)


def _is_openai(error: dict[str, Any]) -> bool:
    """Tell whether an error is OpenAI's: others have no type, and say nothing about who refused."""
    typed = isinstance(error.get("type"), str) or _number(text_of(error.get("code")) or "")
    return bool(typed) and "message" in error


def _number(text: str) -> int | None:
    known = text.isascii() and text.isdecimal() and len(text) == _DIGITS and int(text) in CODES
    return int(text) if known else None


def _says_missing(text: str) -> bool:
    plain = "_".join(text.lower().split())
    return plain.startswith(_NOT_FOUND) or _NOT_FOUND_CHINESE in text
