"""Checksums of what a journal holds: SQLite itself notices no flipped bit within a value.

Pure. What earlier versions wrote has no checksum, and counts as good.
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = [
    "checked_digest",
    "checked_name",
    "digest_with_checksum",
    "name_with_checksum",
    "with_checksum",
    "without_checksum",
]

_CHECKED: Final = 0xC1
"""Stands before the checksum behind an entry; MessagePack has no use for this byte."""
_CHECKSUM: Final = 8
_ID_LENGTH: Final = 32
_SHA256_LENGTH: Final = 64


def _short_hash(*values: object) -> str:
    """Return a checksum of values, as text."""
    return hashlib.blake2b(repr(values).encode(), digest_size=_CHECKSUM).hexdigest()


def _checksum(identity: bytes, position: int, state: int, attempt: int, data: bytes) -> bytes:
    """Return a checksum of a whole row, columns included."""
    columns = b"%b %d %d %d " % (identity, position, state, attempt)
    return hashlib.blake2b(columns + data, digest_size=_CHECKSUM).digest()


def with_checksum(identity: bytes, position: int, state: int, attempt: int, data: bytes) -> bytes:
    """Return a packed entry as it is stored: with the checksum of its row behind it."""
    return b"%b%c%b" % (data, _CHECKED, _checksum(identity, position, state, attempt, data))


def without_checksum(identity: bytes, position: int, state: int, attempt: int, stored: bytes) -> bytes | None:
    """Return the packed entry of a row, in older journals without a checksum; None if it is damaged."""
    if len(stored) <= _CHECKSUM or stored[-_CHECKSUM - 1] != _CHECKED:
        return stored
    data = stored[: -_CHECKSUM - 1]
    good = stored[-_CHECKSUM:] == _checksum(identity, position, state, attempt, data)
    return data if good else None


def name_with_checksum(name: str) -> str:
    """Return a journal's name as it is stored."""
    return name + _short_hash(name)


def checked_name(stored: str) -> str | None:
    """Return a journal's name; None if it is damaged."""
    name, checksum = stored[:_ID_LENGTH], stored[_ID_LENGTH:]
    return name if checksum in ("", _short_hash(name)) else None


def digest_with_checksum(sha256: str, path: str, size: int, mtime_ns: int) -> str:
    """Return the digest of a file as it is stored."""
    return sha256 + _short_hash(path, size, mtime_ns, sha256)


def checked_digest(stored: str, path: str, size: int, mtime_ns: int) -> str | None:
    """Return the digest of a file; None if it is damaged."""
    if len(stored) != _SHA256_LENGTH + 2 * _CHECKSUM:
        return stored
    sha256, checksum = stored[:_SHA256_LENGTH], stored[_SHA256_LENGTH:]
    return sha256 if checksum == _short_hash(path, size, mtime_ns, sha256) else None
