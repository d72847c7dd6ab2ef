"""The one policy of secrecy: what may be shown, logged or kept of addresses, tokens and payloads.

Signed addresses, keys and Base64 are secrets; everything that prints, logs or stores text goes through here.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

__all__ = ["Discreet", "keepable", "redact", "without_query"]

_URL_QUERY: Final = re.compile(r"(https?:(?:\\?/){2}[^\s\"'<>?]+)\?[^\s\"'<>]*")
_BEARER: Final = re.compile(r"(?i)\b(?:authorization\b[\"']?\s*[:=]\s*[\"']?)?bearer\s+[A-Za-z0-9._~+/=-]+")
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/_=.-]{80,}")


def without_query(url: str) -> str:
    """Return an address without its query and userinfo: signed addresses are secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "<unreadable address>"
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def redact(text: str) -> str:
    """Take signed queries, tokens and Base64 out of a text of the server's."""
    return _LONG_RUN.sub("...", _BEARER.sub("Bearer ...", _URL_QUERY.sub(r"\1?...", text)))


_ADDRESS: Final = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_KEEPABLE_MAX: Final = 4000


def keepable(value: Any) -> Any:
    """Return plain data fit to be kept: addresses without their queries, no payloads."""
    match value:
        case dict():
            return {name: keepable(item) for name, item in value.items()}
        case list():
            return [keepable(item) for item in value]
        case str() if len(value) > _KEEPABLE_MAX or value[:5].lower() == "data:":
            return f"<{len(value)} characters>"
        case str():
            return _ADDRESS.sub(lambda found: without_query(found[0]), value)
        case _:
            return value


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what holds signed addresses: its repr leaves out ``raw``, unset fields and their queries."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich, and its tracebacks, no more than anybody else."""
        items = [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "raw"]
        return [(name, keepable(item)) for name, item in items if item is not None and item not in ("", {})]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={item!r}" for name, item in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"
