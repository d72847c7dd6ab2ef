"""Hashes that name a job of a batch: the same input gets the same name in every run.

Tests pin them: a changed hash would make every finished job a new one, and its task would be paid again.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.wire.media import Media

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.wire.requests import Request

__all__ = ["defaults_of", "external_id", "fingerprint", "identity"]

_canonical: Final = msgspec.json.Encoder(order="sorted")
_EXACT: Final = 2.0**53
"""Below this, a whole number has one form as a float and as an integer."""


def _hash(*parts: Any) -> str:
    # 128 bits rule out chance collisions, and the vendor takes an external_task_id of that length
    return hashlib.sha256(_canonical.encode(parts)).hexdigest()[:32]


def fingerprint(endpoint: str, request: Request, digests: Mapping[Media, str]) -> str:
    """Return a hash of what the caller asked for; 32 hexadecimal digits.

    It covers what is set and differs from this package's own defaults, ``extra`` included, as JSON with
    sorted names. Adding a field to a request's type, or changing a default, keeps the hash of requests that
    do not set that field. 1 and 1.0 are the same; files count by content, addresses as they are.

    Args:
        endpoint: Name of the catalog row.
        request: The request to name.
        digests: SHA-256 in hexadecimal of each media of the request that is not an address.
    """
    return _hash("fingerprint 1", endpoint, _object(request, digests))


@functools.cache
def _rows(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    """Return each field's name on the wire, and its default."""
    return tuple(
        (f.encode_name, f.default if f.default_factory is msgspec.NODEFAULT else f.default_factory())
        for f in msgspec.structs.fields(kind)
    )


def _object(value: msgspec.Struct, digests: Mapping[Media, str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for item, (name, default) in zip(msgspec.structs.astuple(value), _rows(type(value)), strict=True):
        # to the vendor an empty text means the same as no field
        if item is not None and item not in (default, ""):
            body[name] = item if type(item) in _SIMPLE else _value(item, digests)
    return body


_SIMPLE: Final = {str, int, bool}


def _value(value: Any, digests: Mapping[Media, str]) -> Any:
    if isinstance(value, Media):
        return ("sha256", digests[value]) if value.url is None else ("url", value.url)
    match value:
        case float() if value.is_integer() and abs(value) < _EXACT:
            return int(value)
        case msgspec.Struct():
            return _object(value, digests)
        case tuple() | list():
            return [_value(item, digests) for item in value]
        case dict():
            return {name: _value(item, digests) for name, item in value.items()}
        case _:
            return value


def defaults_of(request: Request) -> dict[str, Any]:
    """Return this package's own defaults that are sent because the caller did not set those fields."""
    return {
        name: default
        for item, (name, default) in zip(msgspec.structs.astuple(request), _rows(type(request)), strict=True)
        if default not in (None, msgspec.NODEFAULT, {}) and item == default
    }


def identity(key: str | None, fingerprint: str, occurrence: int) -> str:
    """Return a job's name within its journal; 32 hexadecimal digits.

    Args:
        key: The caller's name for the job. The same key with a changed request is another job.
        fingerprint: The request's.
        occurrence: How many jobs with this key and fingerprint came before in the input: two identical
            prompts are two jobs, 0 and 1.
    """
    return _hash("identity 1", key, fingerprint, occurrence)


def external_id(journal_id: str, identity: str, attempt: int) -> str:
    """Return the external_task_id of an attempt; 32 hexadecimal digits."""
    return _hash("external id 1", journal_id, identity, attempt)
