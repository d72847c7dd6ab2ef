"""Records: plain data out of the API's answers (envelopes, records of tasks, pages of records).

Decoding is lenient: the vendor adds and drops fields monthly. It takes two steps, because an error answer may
hold ``data`` of another shape while its code must still be read: first the envelope, with ``data`` left as
bytes, then ``data`` by the endpoint's type.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from kling_async.outputs import task_result
from kling_async.redaction import keepable

__all__ = [
    "PAGE_NUMBER_MAX",
    "PAGE_SIZE_MAX",
    "VOICES_PAGE_SIZE_MAX",
    "Envelope",
    "ListPage",
    "TaskRecord",
    "decode",
]

T = TypeVar("T")

PAGE_NUMBER_MAX: Final = 1000
"""Number of the last page of a list that the vendor serves."""
PAGE_SIZE_MAX: Final = 500
"""Most entries on one page of a list."""
VOICES_PAGE_SIZE_MAX: Final = 1000
"""Most entries on one page of voices, whose lists alone have longer pages."""


class Envelope(msgspec.Struct, frozen=True):
    """The outer object of every answer. ``code`` 0 is success."""

    code: int | None = None
    message: str | None = None
    request_id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _TaskInfo(msgspec.Struct, frozen=True):
    external_task_id: str | None = None


class _TaskData(msgspec.Struct, frozen=True):
    """A task in the form of ``/v1``. Ids are text of digits; numbers are accepted, too."""

    task_id: str | int
    task_status: str | None = None
    task_status_msg: str | None = None
    task_info: _TaskInfo | None = None
    task_result: msgspec.Raw = msgspec.Raw(b"null")
    final_unit_deduction: str | float | None = None
    created_at: int | None = None
    updated_at: int | None = None


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about one task, as plain data that can be stored, pickled, and sent elsewhere."""

    endpoint: str
    """Name of the catalog row, ``text_to_video``."""
    task_id: str
    """Id of the task, given by the vendor."""
    external_task_id: str | None = None
    """Id of the task, given by its caller; None if it has none or the answer does not tell."""
    status: str = "submitted"
    """The vendor's status word; `kling_async.core.status.state_of` says what it means."""
    message: str = ""
    """The vendor's reason, if the task failed."""
    created_at: int = 0
    """When the task was made, milliseconds since 1970 by the vendor's clock; 0 if unknown."""
    updated_at: int = 0
    """When the task last changed, milliseconds since 1970 by the vendor's clock; 0 if unknown."""
    units: str | None = None
    """Units that the task cost, a decimal as text (``final_unit_deduction``); None while unknown."""
    data: msgspec.Raw = msgspec.Raw(b"{}")
    """The whole task object as it came, JSON."""
    result_data: msgspec.Raw = msgspec.Raw(b"null")
    """The task's ``task_result``, JSON; null until it succeeded."""

    _decoder: ClassVar[Any] = msgspec.json.Decoder()

    @property
    def created(self) -> dt.datetime | None:
        """When the vendor made the task, aware, in UTC; None if unknown."""
        try:
            return dt.datetime.fromtimestamp(self.created_at / 1000, dt.UTC) if self.created_at else None
        except (ValueError, OverflowError, OSError):
            return None

    @property
    def raw(self) -> dict[str, Any]:
        """The vendor's own object, every field of it."""
        value = self._decoder.decode(self.data)
        return value if isinstance(value, dict) else {}

    def plain(self) -> dict[str, Any]:
        """Return the record as plain data fit to be stored: addresses without queries, no payloads."""
        known = {name: getattr(self, name) for name in self.__struct_fields__}
        del known["result_data"]  # a part of the data
        plain: dict[str, Any] = keepable({**known, "data": self.raw})
        return plain

    def __repr__(self) -> str:
        return f"TaskRecord({self.endpoint} {self.task_id} {self.status})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich no more than the repr does."""
        return [("", f"{self.endpoint} {self.task_id} {self.status}")]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through JSON: `msgspec.Raw` itself does not pickle."""
        return _record_from_json, (msgspec.json.encode(self),)


ListPage = list[TaskRecord]
"""One page of a list, newest first; a page shorter than asked for is the last."""

_envelopes = msgspec.json.Decoder(Envelope, strict=False)
_tasks = msgspec.json.Decoder(_TaskData, strict=False)
_task_lists = msgspec.json.Decoder(list[msgspec.Raw])
_records = msgspec.json.Decoder(TaskRecord)


def _record_from_json(body: bytes) -> TaskRecord:
    return _records.decode(body)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode bytes of the vendor's, with one kind of error for all that may be wrong with them.

    Raises:
        msgspec.DecodeError: They are not JSON, not UTF-8, nested too deep, or not of that form.
    """
    try:
        return decoder.decode(body)
    except (UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
    # raised out here: a UnicodeDecodeError holds the whole answer, and must not become the context
    raise msgspec.DecodeError(f"unreadable JSON: {reason}")


def decode_envelope(body: bytes) -> Envelope:
    """Decode an answer's outer object.

    Raises:
        msgspec.DecodeError: The body is not JSON, or not an object of this form.
    """
    return decode(_envelopes, body)


def decode_task(endpoint: str, data: bytes | msgspec.Raw) -> TaskRecord:
    """Decode one task object of ``/v1``.

    Raises:
        msgspec.DecodeError: The data are not a task.
    """
    raw = bytes(data)
    task = decode(_tasks, raw)
    if task.task_id == "":
        raise msgspec.DecodeError("the task has no id")
    units = task.final_unit_deduction
    return TaskRecord(
        endpoint=endpoint,
        task_id=str(task.task_id),
        external_task_id=(task.task_info.external_task_id if task.task_info else None) or None,
        status=task.task_status or "submitted",
        message=task.task_status_msg or "",
        created_at=task.created_at or 0,
        updated_at=task.updated_at or 0,
        units=None if units is None or units == "" else str(units),
        data=msgspec.Raw(raw),
        result_data=msgspec.Raw(bytes(task.task_result)),
    )


class _Billing(msgspec.Struct, frozen=True):
    charge_type: str | None = None
    amount: str | float | None = None


class _UnifiedTask(msgspec.Struct, frozen=True):
    """A task in the form of ``/tasks``, which also shows tasks made under ``/v1``."""

    id: str | int
    status: str | None = None
    message: str | None = None
    external_id: str | None = None
    outputs: tuple[dict[str, Any], ...] | None = None
    billing: tuple[_Billing, ...] | None = None
    create_time: int | None = None
    update_time: int | None = None


_ZERO: Final = frozenset({"0", "0.0", "0.00"})
_unified_tasks = msgspec.json.Decoder(_UnifiedTask, strict=False)


def decode_unified(data: bytes | msgspec.Raw) -> dict[str, TaskRecord]:
    """Decode an answer of ``/tasks``; return records by task id, with results in the form of ``/v1``.

    Their endpoint is empty, because these answers do not name it. Tasks that cannot be read are left out, as
    are those that the vendor does not know.
    """
    records: dict[str, TaskRecord] = {}
    for item in decode(_task_lists, bytes(data)):
        try:
            record = _unified(bytes(item))
        except msgspec.DecodeError:
            continue
        records[record.task_id] = record
    return records


def _unified(raw: bytes) -> TaskRecord:
    task = decode(_unified_tasks, raw)
    return TaskRecord(
        endpoint="",
        task_id=str(task.id),
        external_task_id=task.external_id or None,
        status=task.status or "submitted",
        message=task.message or "",
        created_at=task.create_time or 0,
        updated_at=task.update_time or 0,
        units=_units(task.billing or ()),
        data=msgspec.Raw(raw),
        result_data=msgspec.Raw(msgspec.json.encode(task_result(task.outputs or ()) or None)),
    )


def _units(billing: tuple[_Billing, ...]) -> str | None:
    """Return the units of a bill; an amount of another or of no kind tells them only if it is 0."""
    units = [entry.amount for entry in billing if entry.charge_type == "unit"]
    nothing = ["0" for entry in billing if not entry.charge_type and str(entry.amount) in _ZERO]
    amount = next(iter((*units, *nothing)), None)
    return None if amount is None else str(amount)


def decode_list(endpoint: str, data: bytes | msgspec.Raw) -> ListPage:
    """Decode a list page: a bare array of task objects, newest first."""
    raw = bytes(data)
    if raw in (b"null", b""):
        return []
    return [decode_task(endpoint, item) for item in decode(_task_lists, raw)]
