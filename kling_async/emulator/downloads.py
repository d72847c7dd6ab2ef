"""The files of finished tasks, at addresses that look signed and need no key, as on the vendor's CDN."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final

from kling_async.emulator.answers import Answer
from kling_async.emulator.results import file_of
from kling_async.emulator.routes import MEDIA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kling_async.emulator.results import UrlOf
    from kling_async.emulator.tasks import Task

__all__ = ["KEPT", "Downloads"]

KEPT: Final = 30 * 86400.0
"""Seconds after a task's end for which its files exist."""


class Downloads:
    """Makes addresses, and answers for them."""

    def __init__(self, secret: str) -> None:
        self.base_url = ""
        self._secret = secret.encode()
        self._generation = 0

    def expire(self) -> None:
        """Let every address given so far die; a query gives new ones."""
        self._generation += 1

    def urls(self, task: Task) -> UrlOf:
        """Return what gives the addresses of a task's files."""

        def url_of(name: str) -> str:
            return f"{self.base_url}{MEDIA}{task.task_id}/{name}?sign={self._sign(task.task_id, name)}"

        return url_of

    def _sign(self, task_id: str, name: str) -> str:
        text = f"{self._generation}/{task_id}/{name}"
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()[:32]

    def answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        tasks: Mapping[str, Task],
        now: float,
    ) -> Answer:
        """Answer a request for a file at ``now``, seconds since the emulator's start."""
        task_id, _, name = path[len(MEDIA) :].partition("/")
        task = tasks.get(task_id)
        signed = hmac.compare_digest(query.get("sign", "").encode(), self._sign(task_id, name).encode())
        if task is None or not signed or now > task.ends + KEPT:
            return Answer(403, body=b"AccessDenied", content_type="text/plain")
        data, content_type = file_of(task, name)
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        whole = Answer(200, None, data, content_type, {"ETag": etag, "Accept-Ranges": "bytes"})
        if headers.get("If-Range", etag) != etag:
            return whole
        return _part(whole, headers.get("Range", ""))


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
