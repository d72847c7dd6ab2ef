"""Recognise answers of gateways by their shape, put them into the vendor's form, and learn the dialect."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from kling_async.errors import ConfigurationError
from kling_async.wire.dialects.dialect import DIALECTS, Dialect, Translated
from kling_async.wire.dialects.refusals import gateway_error
from kling_async.wire.dialects.tasks import flat_task, is_flat, job_task, video_task

__all__ = ["Dialects", "translate"]

log = logging.getLogger("kling_async.http")


def translate(body: bytes, http_status: int) -> Translated | None:
    """Translate an answer; None: it has the vendor's form, or none that is known here.

    Args:
        body: The whole answer.
        http_status: Its status; only below 400 an answer shows a task.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    if http_status < 400 and (shown := _task(answer)) is not None:
        return shown
    error = gateway_error(answer)
    if error is None:
        return None
    return Translated(error.code, error.message, missing=error.missing)


def _task(answer: dict[str, Any]) -> Translated | None:
    """Translate an answer that shows a task."""
    if answer.get("object") == "video" and "code" not in answer:
        return _shown(video_task(answer), "new-api", "")
    data, word = answer.get("data"), answer.get("code")
    if not isinstance(data, dict) or not isinstance(word, str) or word.strip().lower() != "success":
        return None
    message = answer.get("message")
    words = message if isinstance(message, str) else ""
    if is_flat(data):
        return _shown(flat_task(data), "flat", words)
    return _shown(video_task(data) if data.get("object") == "video" else job_task(data), "new-api", words)


def _shown(task: dict[str, Any] | None, dialect: str, message: str) -> Translated | None:
    return None if task is None else Translated(0, message, msgspec.json.encode(task), dialect)


class Dialects:
    """Know the dialect of one server: named by the user, or learned from the first task that it shows.

    Args:
        name: ``auto`` to learn it.

    Raises:
        ConfigurationError: There is no dialect of that name.
    """

    def __init__(self, name: str = "auto") -> None:
        if name != "auto" and name not in DIALECTS:
            known = ", ".join(["auto", *DIALECTS])
            raise ConfigurationError(f"dialect={name!r} is none of {known}")
        self.named = name != "auto"
        """Whether the user named the dialect."""
        self.found: Dialect | None = DIALECTS.get(name)
        """The dialect; None until a task was shown in one."""

    @property
    def current(self) -> Dialect:
        """The dialect in use; the vendor's until another one is known."""
        return self.found or DIALECTS["vendor"]

    def translate(self, body: bytes, http_status: int) -> Translated | None:
        """Put an answer of a gateway into the vendor's form, and learn the dialect in which it shows a task.

        The first one stays: a server does not change its language, and a stray answer must not change ours.

        Args:
            body: The whole answer.
            http_status: Its status.

        Returns:
            None if it has the vendor's form, or none that is known, or the user named the vendor's dialect.
        """
        if self.named and self.current.name == "vendor":
            return None
        translated = translate(body, http_status)
        if translated is not None and translated.dialect and self.found is None:
            self.found = DIALECTS[translated.dialect]
            log.info("the server speaks the dialect %s of gateways", translated.dialect)
        return translated
