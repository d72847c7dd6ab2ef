"""Typed results out of what the vendor answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from kling_async.errors import BadResponse, api_error
from kling_async.records import TaskRecord, decode
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    from kling_async.core.verdict import Got
    from kling_async.wire.endpoints import Call, Endpoint

__all__ = ["answer_of", "decode_result", "result_of"]

R = TypeVar("R")

_plain: Final = msgspec.json.Decoder()


def decode_result(kind: type[R], data: bytes, *, array: str = "", beside: dict[str, Any] | None = None) -> R:
    """Decode a result and keep the vendor's own object beside it.

    Args:
        kind: The type of the result.
        data: JSON.
        array: The field that takes an answer which is a bare array.
        beside: More of its fields, that stand elsewhere in the answer.

    Raises:
        BadResponse: It is not of that form.
    """
    try:
        raw = decode(_plain, data)
        if array and isinstance(raw, list):
            raw = {array: raw}
        whole = {**beside, **raw} if beside and isinstance(raw, dict) else raw
        result = msgspec.convert(_without_blanks(whole), kind, strict=False)
    except msgspec.DecodeError as error:  # of which what convert raises is a subclass
        raise BadResponse(f"the result cannot be read: {error}", http_status=200) from None
    msgspec.structs.force_setattr(cast("Any", result), "raw", raw)
    return result


def answer_of(row: Call[R], got: Got) -> R:
    """Decode the answer of a call; a second code within it may refuse where the first did not.

    Raises:
        APIError: The inner code says so.
        BadResponse: It is not of that form.
    """
    data = bytes(got.data)
    result = decode_result(row.result, b"{}" if data in (b"null", b"") else data, array=row.array)
    refusal = result.refusal() if isinstance(result, Result) else None
    if refusal is not None:
        code, text = refusal
        answer = got.answer
        raise api_error(code, text, request_id=answer.request_id, http_status=answer.http_status)
    return result


def _without_blanks(value: Any) -> Any:
    """Drop nulls and empty texts at any depth: one in a paid result must not make all of it unreadable."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items() if item is not None and item != ""}
    return (
        [_without_blanks(item) for item in value if item not in (None, "")]
        if isinstance(value, list)
        else value
    )


def result_of(endpoint: Endpoint[R], record: TaskRecord) -> R:
    """Return the typed result of a task that succeeded; what it lacks is left empty."""
    data = bytes(record.result_data)
    beside = _parent(record) if hasattr(endpoint.result, "parent_video") else {}
    return decode_result(endpoint.result, b"{}" if data in (b"null", b"") else data, beside=beside)


def _parent(record: TaskRecord) -> dict[str, Any]:
    """Return the video that another one was made of, as a field of a result; it stands in ``task_info``."""
    info = record.raw.get("task_info")
    parent = info.get("parent_video") if isinstance(info, dict) else None
    return {"parent_video": parent} if isinstance(parent, dict) else {}
