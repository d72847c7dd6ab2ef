"""Recognise answers of gateways by their shape, put them into the vendor's form, and learn the dialect."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from kling_async.decoding.lenient import text_of, words_of
from kling_async.errors import ConfigurationError
from kling_async.wire.dialects.dialect import DIALECTS, Dialect, Translated
from kling_async.wire.dialects.refusals import SUCCESS_WORDS, gateway_error, is_number
from kling_async.wire.dialects.tasks import as_fields, is_flat, task_fields

__all__ = ["Dialects", "translate"]

log = logging.getLogger("kling_async.http")


def translate(body: bytes, http_status: int, base_url: str = "") -> Translated | None:
    """Translate an answer; None: it has the vendor's form, or none that is known here.

    Args:
        body: The whole answer.
        http_status: Its status; only below 400 an answer shows a task.
        base_url: Address of the API, for result addresses without a host.
    """
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(answer, dict):
        return None
    if http_status < 400 and (shown := _task(answer, base_url)) is not None:
        return shown
    error = gateway_error(answer)
    if error is None:
        return None
    return Translated(error.code, error.message, missing=error.missing)


def _task(answer: dict[str, Any], base_url: str) -> Translated | None:
    """Translate an answer that shows a task."""
    data, word = as_fields(answer.get("data")), text_of(answer.get("code"))
    if answer.get("object") == "video" and word is None:
        return _shown(answer, "new-api", "", base_url)
    if _says_status(answer) and word is None:
        return _shown(answer, "", "", base_url)  # no envelope, and nothing else that tells a dialect
    if word is None or not data or word == "0":
        return None
    if word.lower() not in SUCCESS_WORDS and not _says_status(data):
        return None
    if is_number(word):
        dialect = ""
    else:
        dialect = "flat" if is_flat(data) and data.get("object") != "video" else "new-api"
    return _shown(data, dialect, words_of(answer.get("message")), base_url)


def _says_status(task: dict[str, Any]) -> bool:
    return isinstance(task.get("status"), str) or isinstance(task.get("task_status"), str)


def _shown(fields: dict[str, Any], dialect: str, message: str, base_url: str) -> Translated | None:
    task = task_fields(fields, base_url)
    return None if task is None else Translated(0, message, msgspec.json.encode(task), dialect)


class Dialects:
    """Know the dialect of one server: named by the user, or learned from the first task that it shows.

    Args:
        name: ``auto`` to learn it.
        base_url: Address of the API, for result addresses without a host.

    Raises:
        ConfigurationError: There is no dialect of that name.
    """

    def __init__(self, name: str = "auto", base_url: str = "") -> None:
        if name != "auto" and name not in DIALECTS:
            known = ", ".join(["auto", *DIALECTS])
            raise ConfigurationError(f"dialect={name!r} is none of {known}")
        self._base_url = base_url
        self.named = name != "auto"
        """Whether the user named the dialect."""
        self.found: Dialect | None = DIALECTS.get(name)
        """The dialect; None until a task was shown in one."""
        self.gateway = self.named and name != "vendor"
        """Whether the server is surely not the vendor's: it was named, or answered in a form of its own."""

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
        translated = translate(body, http_status, self._base_url)
        self.gateway |= translated is not None
        if translated is not None and translated.dialect and self.found is None:
            self.found = DIALECTS[translated.dialect]
            log.info("the server speaks the dialect %s of gateways", translated.dialect)
        return translated
