"""Know where the files of results lie on disk, by the addresses that they were fetched from."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StoredFiles", "stored_files"]

_MOST: Final = 10_000
"""Addresses that are remembered: the oldest are forgotten, and shown by address again."""


class StoredFiles:
    """The paths of files that this process has stored, the latest of each address.

    A result is a value that knows no client and no folder, so this is asked when one is shown. Addresses are
    kept as hashes: their queries are keys.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._paths: OrderedDict[bytes, Path] = OrderedDict()

    def note(self, url: str, path: Path) -> None:
        """Remember that the file of an address is at a path."""
        key = _key(url)
        self._paths[key] = path.absolute()
        self._paths.move_to_end(key)
        while len(self._paths) > self._most:
            self._paths.popitem(last=False)

    def find(self, url: str) -> Path | None:
        """Return the path of an address's file; None if it was not stored, or is gone."""
        path = self._paths.get(_key(url))
        return path if path is not None and path.is_file() else None


def _key(url: str) -> bytes:
    return hashlib.sha256(url.encode(errors="replace")).digest()


stored_files: Final = StoredFiles()
"""The stored files of this process."""
