"""HTTP answers of the API: the envelopes of successes and refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from kling_async.emulator.judging.reference import REFERENCE

if TYPE_CHECKING:
    from kling_async.emulator.judging.refusals import Refusal

__all__ = ["HttpAnswer", "refused", "succeeded"]

JSON_TYPE: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP answer: JSON if ``payload`` is set, else the bytes of ``body``."""

    status: int = 200
    payload: dict[str, Any] | None = None
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def code(self) -> int | None:
        """The API's code in the envelope, None without an envelope."""
        return None if self.payload is None else self.payload.get("code")

    @property
    def message(self) -> str:
        """The API's message in the envelope, empty without an envelope."""
        return "" if self.payload is None else str(self.payload.get("message", ""))

    def encoded(self) -> bytes:
        """Return the bytes of the body."""
        if self.payload is None:
            return self.body
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()

    def with_data(self, data: object) -> HttpAnswer:
        """Return a copy whose envelope has other ``data``."""
        return replace(self, payload={**(self.payload or {}), "data": data})


def succeeded(data: object, request_id: str) -> HttpAnswer:
    """Return the answer to a request that succeeded; without ``data`` where that is None."""
    envelope = {"code": 0, "message": "SUCCEED", "request_id": request_id}
    return HttpAnswer(payload=envelope if data is None else {**envelope, "data": data})


def refused(refusal: Refusal, request_id: str) -> HttpAnswer:
    """Return the answer to a refused request: without ``data``, with the HTTP status of its code."""
    payload = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
    return HttpAnswer(REFERENCE.status(refusal.code), payload)
