"""The files of what was made, at addresses that look signed and need no key, as on the vendor's CDN."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from kling_async.emulator.footage.files import file_of
from kling_async.emulator.http.answers import Answer
from kling_async.emulator.http.routes import MEDIA
from kling_async.emulator.state.library import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.calls.results import UrlOf
    from kling_async.emulator.footage.files import Shelf

__all__ = ["Downloads"]


class Downloads:
    """Makes addresses, and answers for them."""

    def __init__(self, secret: str) -> None:
        self.base_url = ""
        self._secret = secret.encode()
        self._generation = 0
        self._size = 0

    def expire(self) -> None:
        """Let every address given so far die; a query gives new ones."""
        self._generation += 1

    def pad(self, size: int) -> None:
        """Make all files at least so long, in bytes; players skip what is added."""
        self._size = size

    def urls(self, its_id: str) -> UrlOf:
        """Return what gives the addresses of the files of a task, a session or whatever has some."""

        def url_of(name: str) -> str:
            return f"{self.base_url}{MEDIA}{its_id}/{name}?sign={self._sign(its_id, name)}"

        return url_of

    def _sign(self, its_id: str, name: str) -> str:
        text = f"{self._generation}/{its_id}/{name}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        shelf_of: Callable[[str], Shelf | None],
        now: float,
    ) -> Answer:
        """Answer a request for a file at ``now``, seconds since the emulator's start."""
        its_id, _, name = path[len(MEDIA) :].partition("/")
        shelf = shelf_of(its_id)
        signed = hmac.compare_digest(query.get("sign", "").encode(), self._sign(its_id, name).encode())
        if shelf is None or not signed or now > shelf.since + KEPT:
            return Answer(403, body=b"AccessDenied", content_type="text/plain")
        data, content_type = file_of(shelf, name)
        digest = hashlib.sha256(data).hexdigest()[:16]
        data = _padded(data, self._size)
        etag = f'"{digest}-{len(data):x}"'
        whole = Answer(200, None, data, content_type, {"ETag": etag, "Accept-Ranges": "bytes"})
        if headers.get("If-Range", etag) != etag:
            return whole
        return _part(whole, headers.get("Range", ""))


def _padded(data: bytes, size: int) -> bytes:
    """Return a file of at least so many bytes: an MP4 gets a box of free space, others zeros at the end."""
    missing = size - len(data)
    if missing <= 0:
        return data
    if data[4:8] != b"ftyp":
        return data + bytes(missing)
    free = max(missing, 8)
    return data + free.to_bytes(4) + b"free" + bytes(free - 8)


def _part(whole: Answer, wanted: str) -> Answer:
    """Return the one range asked for (RFC 9110, 14); the whole if none or several are."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if found is None:
        return whole
    size = len(whole.body)
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if first > last:
        headers = {**whole.headers, "Content-Range": f"bytes */{size}"}
        return Answer(416, content_type="text/plain", headers=headers)
    headers = {**whole.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    return Answer(206, None, whole.body[first : last + 1], whole.content_type, headers)
