"""Results: typed values out of the vendor's answers."""

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
    """Decode a result, and keep the vendor's own object in its ``raw``.

    Args:
        kind: The type of the result.
        data: JSON.
        array: The field that takes an answer which is a bare array.
        beside: Fields of the result that stand elsewhere in the answer.

    Raises:
        BadResponse: The data are not of that form.
    """
    try:
        raw = decode(_plain, data)
        if array and isinstance(raw, list):
            raw = {array: raw}
        whole = {**beside, **raw} if beside and isinstance(raw, dict) else raw
        result = msgspec.convert(_without_blanks(whole), kind, strict=False)
    except msgspec.DecodeError as error:  # convert raises a subclass of it
        raise BadResponse(f"the result cannot be read: {error}", http_status=200) from None
    msgspec.structs.force_setattr(cast("Any", result), "raw", raw)
    return result


def answer_of(row: Call[R], got: Got) -> R:
    """Decode the answer of a call.

    Raises:
        APIError: A second code, within the accepting answer, refuses the call.
        BadResponse: The answer is not of that form.
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
    """Drop nulls and empty texts at any depth: one odd field must not make a paid result unreadable."""
    if isinstance(value, dict):
        return {key: _without_blanks(item) for key, item in value.items() if item is not None and item != ""}
    return (
        [_without_blanks(item) for item in value if item not in (None, "")]
        if isinstance(value, list)
        else value
    )


def result_of(endpoint: Endpoint[R], record: TaskRecord) -> R:
    """Return the typed result of a task that succeeded; fields that the answer lacks are left empty."""
    data = bytes(record.result_data)
    kind = endpoint.result
    names = kind.in_task_info if issubclass(kind, Result) else ()
    beside = _from_task_info(record, names) if names else {}
    return decode_result(kind, b"{}" if data in (b"null", b"") else data, beside=beside)


def _from_task_info(record: TaskRecord, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a result that the answer holds in ``task_info``, as far as they are objects."""
    info = record.raw.get("task_info")
    if not isinstance(info, dict):
        return {}
    return {name: value for name in names if isinstance(value := info.get(name), dict)}
