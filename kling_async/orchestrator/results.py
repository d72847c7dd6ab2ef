"""Results: typed values out of the vendor's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from kling_async.decoding.outputs import in_v1_names
from kling_async.errors import BadResponse, api_error
from kling_async.orchestrator.salvage import salvaged
from kling_async.records import TaskRecord, decode
from kling_async.wire.requests import Result

if TYPE_CHECKING:
    from kling_async.core.verdict import Got

__all__ = [
    "answer_of",
    "decode_result",
    "is_whole",
    "is_whole_in_callback",
    "result_of",
    "shortfall",
    "whole_result_of",
]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class CallRow(Protocol[R_co]):
    """The row of a call, as far as its answer goes."""

    @property
    def result(self) -> type[R_co]:
        """The type of the answer."""
        ...

    @property
    def array(self) -> str:
        """The field that takes an answer which is a bare array."""
        ...


class TaskRow(Protocol[R_co]):
    """The row of an endpoint that makes tasks, as far as their results go."""

    @property
    def result(self) -> type[R_co]:
        """The type of the result."""
        ...

    @property
    def whole_at_tasks(self) -> bool:
        """Whether answers of ``/tasks`` hold all of a result."""
        ...

    @property
    def whole_in_callbacks(self) -> bool:
        """Whether callbacks hold all of a result."""
        ...


_plain: Final = msgspec.json.Decoder()


def decode_result(kind: type[R], data: bytes, *, array: str = "", beside: dict[str, Any] | None = None) -> R:
    """Decode a result, and keep the vendor's own object in its ``raw``.

    A field of another type than documented is left out, unless the kind's answers may hold a refusal.

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
        whole = {**(beside or {}), **in_v1_names(raw)} if isinstance(raw, dict) and not array else raw
        result = _convert(kind, _without_blanks(whole))
    except msgspec.DecodeError as error:  # convert raises a subclass of it
        raise BadResponse(f"the result cannot be read: {error}", http_status=200) from None
    vars(result)["raw"] = raw
    return result


def _convert(kind: type[R], value: Any) -> R:
    """Convert plain data to a result, without its odd fields if need be.

    Raises:
        msgspec.ValidationError: The data are no object, or odd where a refusal could hide.
    """
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        may_refuse = issubclass(kind, Result) and kind.refusal is not Result.refusal
        if may_refuse or not isinstance(value, dict):
            raise
    return msgspec.convert(salvaged(kind, value), kind, strict=False)


def answer_of(row: CallRow[R], got: Got) -> R:
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


def result_of(endpoint: TaskRow[R], record: TaskRecord) -> R:
    """Return the typed result of a task that succeeded; fields that the answer lacks are left empty."""
    data = bytes(record.result_data)
    kind = endpoint.result
    names = kind.in_task_info if issubclass(kind, Result) else ()
    beside = _from_task_info(record, names) if names else {}
    return decode_result(kind, data if data.startswith(b"{") else b"{}", beside=beside)


def _from_task_info(record: TaskRecord, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a result that the answer holds in ``task_info``, as far as they are objects."""
    info = record.raw.get("task_info")
    if not isinstance(info, dict):
        return {}
    return {name: value for name in names if isinstance(value := info.get(name), dict)}


def whole_result_of(endpoint: TaskRow[R], record: TaskRecord) -> R:
    """Return the typed result of a task that succeeded.

    Raises:
        BadResponse: The result is not there, or not of the documented form; the error says what there is.
    """
    if (lack := shortfall(endpoint, record)) is not None:
        raise BadResponse(f"task {record.task_id} succeeded, but {lack}", http_status=200)
    return result_of(endpoint, record)


def shortfall(endpoint: TaskRow[Any], record: TaskRecord) -> str | None:
    """Say what a task that succeeded shows in place of its result; None if the result is there.

    A result is there if it names a file, or something that later requests name: an element, a voice. Nothing
    can be said of results of unknown form (`RawResult`).
    """
    kind = endpoint.result
    if not (issubclass(kind, Result) and kind.has_files):
        return None
    try:
        result = result_of(endpoint, record)
    except BadResponse as error:
        return str(error)
    if result.files() or any(getattr(result, name, ()) for name in ("elements", "voices")):
        return None
    shown = ", ".join(_names(result.raw))
    return f"its result names no file; it holds {shown or 'nothing'}"


def is_whole(endpoint: TaskRow[Any], record: TaskRecord) -> bool:
    """Return whether the record of a task that succeeded holds all that the vendor knows of its result."""
    from_tasks = "task_id" not in record.raw
    return (endpoint.whole_at_tasks or not from_tasks) and shortfall(endpoint, record) is None


def is_whole_in_callback(endpoint: TaskRow[Any], record: TaskRecord, request: object) -> bool:
    """Return whether a callback may be taken to show as much of a result as a query would.

    The vendor describes images and videos without their watermarked copies in callbacks, and nothing else.
    Where an entry has no address, or images are fewer than the request asked for, a query may show more.

    Args:
        endpoint: The row of the task's endpoint.
        record: The task as the callback shows it.
        request: The request that it was made from; None if that is not known.
    """
    if not endpoint.whole_in_callbacks or not _has_every_file(record, getattr(request, "n", None) or 0):
        return False
    # the request says so in one of two ways, by its generation
    info = getattr(request, "watermark_info", None)
    if not (getattr(info, "enabled", False) or getattr(request, "watermark", False)):
        return True
    try:
        result = result_of(endpoint, record)
    except BadResponse:
        return False
    return isinstance(result, Result) and len(result.files(watermarked=True)) >= len(result.files())


_HTTP: Final = ("http://", "https://")


def _has_every_file(record: TaskRecord, number: int) -> bool:
    """Tell whether each entry of a result has an address or an id, and images are as many as asked for."""
    result = _plain.decode(record.result_data)
    arrays = (
        [array for array in result.values() if isinstance(array, list)] if isinstance(result, dict) else []
    )
    entries = [entry for array in arrays for entry in array]
    return len(entries) >= number and all(isinstance(entry, dict) and _is_named(entry) for entry in entries)


def _is_named(entry: dict[str, Any]) -> bool:
    texts = [value for value in entry.values() if isinstance(value, str)]
    return any(name in entry for name in ("element_id", "voice_id")) or any(
        text[:8].lower().startswith(_HTTP) for text in texts
    )


_NAMES_SHOWN: Final = 20


def _names(value: Any, place: str = "") -> list[str]:
    """Return the places of all values of a result that are not blank."""
    if isinstance(value, dict):
        inner = [(f"{place}.{name}" if place else str(name), item) for name, item in value.items()]
    elif isinstance(value, list):
        inner = [(f"{place}[{at}]", item) for at, item in enumerate(value)]
    else:
        return [] if value in (None, "") else [place[:100]]
    return [name for where, item in inner for name in _names(item, where)][:_NAMES_SHOWN]
