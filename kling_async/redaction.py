"""Redaction: the one policy of secrecy for addresses, tokens and payloads.

Signed addresses, keys and Base64 are secrets. All text that is printed, logged, stored or put into an error
goes through one of these functions.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

__all__ = ["Discreet", "keepable", "redact", "without_query"]

_ADDRESS: Final = re.compile(r"(https?:(?:\\?/){2})([^\s\"'<>]+)", re.IGNORECASE)
"""An address within a text, its slashes perhaps escaped as PHP's JSON has them."""
_BEARER: Final = re.compile(r"(?i)\b(?:authorization\b[\"']?\s*[:=]\s*[\"']?)?bearer\s+[A-Za-z0-9._~+/=-]+")
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/_=.-]{80,}")
"""Base64, or a token without the word before it: no prose has 80 such characters in a row."""
_KEEPABLE_MAX: Final = 4000
"""Longest text kept: longer ones are payloads."""


def without_query(url: str) -> str:
    """Return an address without query, fragment and userinfo: the query of a signed address is its key."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket of an IPv6 host that is not closed
        return "<unreadable address>"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def redact(text: str) -> str:
    """Replace signed queries, tokens and Base64 in a server's text by ``...``, for logs and errors."""
    return _LONG_RUN.sub("...", _BEARER.sub("Bearer ...", _ADDRESS.sub(_marked, text)))


def _marked(address: re.Match[str]) -> str:
    """Return an address without userinfo, its query replaced so that the reader sees that it had one."""
    head, mark, _ = address[2].partition("?")
    host, slash, path = head.partition("/")
    bare = address[1] + host.rpartition("@")[2] + slash + path
    return f"{bare}?..." if mark else bare


def keepable(value: Any) -> Any:
    """Return plain data fit to be stored: addresses without queries, payloads replaced by their length."""
    match value:
        case dict():
            return {name: keepable(item) for name, item in value.items()}
        case list():
            return [keepable(item) for item in value]
        case str() if len(value) > _KEEPABLE_MAX or value[:5].lower() == "data:":
            return f"<{len(value)} characters>"
        case str():
            return _ADDRESS.sub(lambda address: without_query(address[0].replace("\\/", "/")), value)
        case _:
            return value


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """Base of structs that hold signed addresses; the repr leaves out ``raw``, unset fields and queries."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich, and its tracebacks, no more than the repr does."""
        items = [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "raw"]
        return [(name, keepable(item)) for name, item in items if item is not None and item not in ("", {})]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={item!r}" for name, item in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"
