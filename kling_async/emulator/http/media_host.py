"""Host of media files, in the place of the vendor's CDN: signed URLs that need no key."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from kling_async.emulator.footage.files import render_file
from kling_async.emulator.http.answers import HttpAnswer
from kling_async.emulator.http.routes import MEDIA
from kling_async.emulator.state.library import RESULT_LIFETIME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.emulator.calls.fields import UrlOf
    from kling_async.emulator.footage.files import MediaOwner

__all__ = ["MediaHost"]


class MediaHost:
    """Makes signed URLs, and answers the requests for them.

    Args:
        secret: Key of the signatures.
    """

    def __init__(self, secret: str) -> None:
        self.base_url = ""
        """Base URL of the server, known once it listens."""
        self._secret = secret.encode()
        self._generation = 0
        self._size = 0

    def expire(self) -> None:
        """Make every URL given so far invalid; later queries give new ones."""
        self._generation += 1

    def pad(self, size: int) -> None:
        """Make all files at least ``size`` bytes long; players skip the added bytes."""
        self._size = size

    def urls(self, owner_id: str) -> UrlOf:
        """Return the function that gives the URLs of an owner's files by their names."""

        def url_of(name: str) -> str:
            return f"{self.base_url}{MEDIA}{owner_id}/{name}?sign={self._sign(owner_id, name)}"

        return url_of

    def _sign(self, owner_id: str, name: str) -> str:
        text = f"{self._generation}/{owner_id}/{name}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        find_owner: Callable[[str], MediaOwner | None],
        now: float,
    ) -> HttpAnswer:
        """Answer a request for a file.

        Args:
            path: Path of the request, without the emulator's prefix.
            query: Its query string, with the signature.
            headers: Its headers; Range and If-Range count.
            find_owner: Returns the owner of files by its id, None for an unknown one.
            now: Seconds since the emulator's start.
        """
        owner_id, _, name = path[len(MEDIA) :].partition("/")
        owner = find_owner(owner_id)
        signed = hmac.compare_digest(query.get("sign", "").encode(), self._sign(owner_id, name).encode())
        if owner is None or not signed or now > owner.since + RESULT_LIFETIME:
            return HttpAnswer(403, body=b"AccessDenied", content_type="text/plain")
        data, content_type = render_file(owner, name)
        digest = hashlib.sha256(data).hexdigest()[:16]
        data = _padded(data, self._size)
        etag = f'"{digest}-{len(data):x}"'
        whole = HttpAnswer(200, None, data, content_type, {"ETag": etag, "Accept-Ranges": "bytes"})
        if headers.get("If-Range", etag) != etag:
            return whole
        return _partial(whole, headers.get("Range", ""))


def _padded(data: bytes, size: int) -> bytes:
    """Return a file of at least ``size`` bytes: with a box of free space in an MP4, else with zeros."""
    missing = size - len(data)
    if missing <= 0:
        return data
    if data[4:8] != b"ftyp":
        return data + bytes(missing)
    free = max(missing, 8)  # the header of a box alone has 8 bytes
    return data + free.to_bytes(4) + b"free" + bytes(free - 8)


def _partial(whole: HttpAnswer, wanted: str) -> HttpAnswer:
    """Return the requested range (RFC 9110, 14), or the whole file without a range or with several."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if found is None:
        return whole
    size = len(whole.body)
    first, last = int(found[1]), min(int(found[2] or size - 1), size - 1)
    if first > last:
        headers = {**whole.headers, "Content-Range": f"bytes */{size}"}
        return HttpAnswer(416, content_type="text/plain", headers=headers)
    headers = {**whole.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    return HttpAnswer(206, None, whole.body[first : last + 1], whole.content_type, headers)
