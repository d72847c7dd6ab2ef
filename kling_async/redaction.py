"""Redaction: the one policy of secrecy for addresses, tokens and payloads.

Signed addresses, keys and Base64 are secrets. All text that is printed, logged, stored or put into an error
goes through one of these functions. Only `Serializable.to_dict` shows addresses whole, for answers to those
who may have the files: whoever has a signed address can fetch its file until it expires.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from enum import Enum
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

__all__ = ["Discreet", "Serializable", "json_types", "keepable", "redact", "without_query"]

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
            return _unsigned(value)
        case _:
            return value


def _unsigned(text: str) -> str:
    return _ADDRESS.sub(lambda address: without_query(address[0].replace("\\/", "/")), text)


@functools.singledispatch
def json_types(value: Any, signed: bool) -> Any:  # noqa: PLR0911 - one line a type
    """Return a value in JSON types: structs as objects by the names of the fields that they do not hide.

    Numbers that JSON lacks become None, and objects of unknown types the name of their type. Types that need
    another form register a function beside their definition.

    Args:
        value: Any value.
        signed: Whether addresses keep their queries.
    """
    match value:
        case Enum():
            return json_types(value.value, signed)
        case str():
            return value if signed else _unsigned(value)
        case float():
            return value if math.isfinite(value) else None
        case None | int():
            return value
        case dict():
            return {str(name): json_types(item, signed) for name, item in value.items()}
        case list() | tuple():
            return [json_types(item, signed) for item in value]
        case msgspec.Struct():
            hidden = getattr(value, "hidden", ())
            shown = (name for name in value.__struct_fields__ if name not in hidden)
            return {name: json_types(getattr(value, name), signed) for name in shown}
        case msgspec.Raw():
            return json_types(msgspec.json.decode(value), signed)
        case BaseException():
            return _error(value)
        case _:
            return str(value) if hasattr(value, "__fspath__") else f"<{type(value).__name__}>"


@json_types.register
def _(value: dt.datetime, signed: bool) -> str:  # noqa: ARG001 - the signature of `json_types`
    return value.isoformat()


_FACTS: Final = ("code", "request_id", "http_status", "task_id", "external_task_id")
"""Attributes of errors that help to go on."""


def _error(error: BaseException) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": type(error).__name__, "message": redact(str(error))}
    facts = {name: getattr(error, name, None) for name in _FACTS}
    shown |= {name: fact for name, fact in facts.items() if isinstance(fact, str | int)}
    if problems := getattr(error, "problems", ()):
        shown["problems"] = [{"field": field, "text": text} for field, text in problems]
    return shown


class Serializable(msgspec.Struct, frozen=True, kw_only=True):
    """Base of values that leave the program as JSON: ``to_dict()``, and responses of FastAPI."""

    hidden: ClassVar[frozenset[str]] = frozenset()
    """Fields that `to_dict` leaves out."""

    def to_dict(self, *, signed: bool = True) -> dict[str, Any]:
        """Return all fields in JSON types, without the vendor's own object (``raw``, a record's ``data``).

        Args:
            signed: Whether addresses are whole. Whoever has a whole address of a result can fetch the file
                until it expires; False cuts it before the query, for logs and pages that others see.
        """
        shown: dict[str, Any] = json_types(self, signed)
        return shown

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let pydantic take values of this class as they are, and write them by `to_dict`."""
        from pydantic_core import core_schema  # noqa: PLC0415 - loaded by pydantic alone, which calls this

        written = core_schema.plain_serializer_function_ser_schema(cls.to_dict)
        name = f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"
        return core_schema.is_instance_schema(cls, ref=name, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe values as objects; subclasses name the fields."""
        return {"type": "object", "title": cls.__name__}


class Discreet(Serializable, frozen=True, kw_only=True):
    """Base of structs that hold signed addresses; the repr leaves out ``raw``, unset fields and queries."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich, and its tracebacks, no more than the repr does."""
        items = [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "raw"]
        return [(name, keepable(item)) for name, item in items if item is not None and item not in ("", {})]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={item!r}" for name, item in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"
