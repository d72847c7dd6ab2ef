"""What the API answers: envelopes, refusals, the statuses of the codes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kling_async.emulator.judging.reference import REFERENCE

__all__ = ["Answer", "Refusal", "refused", "succeeded"]

JSON_TYPE: Final = "application/json; charset=utf-8"


class Refusal(Exception):
    """The API says no: a code from its table, and the only explanation it gives."""

    def __init__(self, code: int, message: str | None = None) -> None:
        self.code = code
        self.message = message or REFERENCE.message(code)
        super().__init__(code, self.message)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: JSON if ``payload`` is set, else the bytes of ``body``."""

    status: int = 200
    payload: dict[str, Any] | None = None
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def code(self) -> int | None:
        """The API's code, None where there is no envelope."""
        return None if self.payload is None else self.payload.get("code")

    @property
    def message(self) -> str:
        """The API's message, empty where there is no envelope."""
        return "" if self.payload is None else str(self.payload.get("message", ""))

    def encoded(self) -> bytes:
        """Return the bytes to send."""
        if self.payload is None:
            return self.body
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()

    def with_data(self, data: object) -> Answer:
        """Return the same answer with other data."""
        return replace(self, payload={**(self.payload or {}), "data": data})


def succeeded(data: object, request_id: str) -> Answer:
    """Return the envelope of a success."""
    return Answer(payload={"code": 0, "message": "SUCCEED", "request_id": request_id, "data": data})


def refused(refusal: Refusal, request_id: str) -> Answer:
    """Return the envelope of a refusal, without ``data``, under the status its code has."""
    payload = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
    return Answer(REFERENCE.status(refusal.code), payload)
