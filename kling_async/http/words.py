"""Find the words of an error in answers of other forms: gateways, proxies and file servers have their own."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["error_words"]

_BODY_MAX: Final = 64 * 1024
"""Bytes of an answer that are searched; an error is shorter."""
_WORDS_MAX: Final = 500
_ITEMS_MAX: Final = 3
"""Entries of a list of errors that are shown."""
_DEPTH_MAX: Final = 4
_KEYS: Final = (
    *("message", "msg", "error_description", "error_msg", "detail", "error", "errors", "title", "reason"),
)
"""Names under which servers write what is wrong, the most telling first."""
_MARKUP: Final = tuple(
    (re.compile(rf"<{tag}\b[^<>]*>", re.IGNORECASE), re.compile(rf"</{tag}\s*>", re.IGNORECASE))
    for tag in ("message", "title", "h1")  # an object store's XML; then HTML
)
"""Opening and closing tags. One pattern for both, or one that goes over the next ``<``, would need
seconds for a page that only opens tags."""
_TAG: Final = re.compile(r"<[^<>]*>")


def error_words(body: bytes) -> str:
    """Return the words of an error in JSON, XML or HTML, in one line of at most 500 characters.

    They are a stranger's and not redacted.

    Returns:
        Nothing if none are found.
    """
    body = body[:_BODY_MAX].strip()
    if body[:1] in (b"{", b"["):
        try:
            words = _in_json(msgspec.json.decode(body), _DEPTH_MAX)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
    else:
        words = _in_markup(body.decode("utf-8", "replace")) if body[:1] == b"<" else ""
    return " ".join(words.split())[:_WORDS_MAX]


def _in_json(value: Any, depth: int) -> str:
    match value:
        case str():
            return value
        case dict() if depth:
            found = (_in_json(value[key], depth - 1) for key in _KEYS if key in value)
            return next((words for words in found if words.strip()), "")
        case list() if depth:
            return "; ".join(_in_list(value, depth))
        case _:
            return ""


def _in_list(items: list[Any], depth: int) -> Iterator[str]:
    """Yield the words of a list's first items, each with its place as FastAPI tells it."""
    for item in items[:_ITEMS_MAX]:
        words = _in_json(item, depth - 1)
        place = item.get("loc") if isinstance(item, dict) else None
        if words and isinstance(place, list):
            words = f"{'.'.join(str(part) for part in place if isinstance(part, str | int))}: {words}"
        if words:
            yield words


def _in_markup(text: str) -> str:
    for opening, closing in _MARKUP:
        if (start := opening.search(text)) and (end := closing.search(text, start.end())):
            words = html.unescape(_TAG.sub(" ", text[start.end() : end.start()]))
            if words.strip():
                return words
    return ""
