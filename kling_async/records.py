"""Records: plain data out of the API's answers (envelopes, records of tasks, pages of records).

Decoding is lenient: the vendor adds and drops fields monthly, and gateways re-encode them. It takes two
steps, because an error answer may hold ``data`` of another shape while its code must still be read: first the
envelope, with ``data`` left as bytes, then ``data`` by the endpoint's type.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from kling_async.decoding.lenient import decimal_of, milliseconds_of, text_of, words_of
from kling_async.decoding.outputs import task_result
from kling_async.display.html import MimeBundle, bundle, titled, tree
from kling_async.redaction import Serializable, keepable

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


class _Envelope(msgspec.Struct, frozen=True):
    """An envelope whose fields may be of any type."""

    code: Any = None
    message: Any = None
    request_id: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _TaskFields(msgspec.Struct, frozen=True):
    """A task object under the names of ``/v1`` or of ``/tasks``; its fields may be of any type."""

    task_id: Any = None
    id: Any = None
    task_status: Any = None
    status: Any = None
    task_status_msg: Any = None
    message: Any = None
    task_info: Any = None
    external_task_id: Any = None
    external_id: Any = None
    task_result: msgspec.Raw = msgspec.Raw(b"null")
    outputs: Any = None
    final_unit_deduction: Any = None
    billing: Any = None
    created_at: Any = None
    create_time: Any = None
    updated_at: Any = None
    update_time: Any = None


class TaskRecord(Serializable, frozen=True, kw_only=True):
    """Facts about one task, as plain data that can be stored, pickled, and sent elsewhere."""

    hidden = frozenset({"data"})

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

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        return bundle(repr(self), titled("TaskRecord", tree(self.plain())))

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

_envelopes = msgspec.json.Decoder(_Envelope)
_texts = msgspec.json.Decoder(str)
_tasks = msgspec.json.Decoder(_TaskFields)
_task_lists = msgspec.json.Decoder(list[msgspec.Raw])
_records = msgspec.json.Decoder(TaskRecord)
_NOTHING: Final = (b"null", b'""', b"[]", b"{}")
"""JSON of results that are not there."""


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
    """Decode an answer's outer object; a text of another type than documented counts as absent.

    Raises:
        msgspec.DecodeError: The body is not JSON, not an object, or its code is no number.
    """
    fields = decode(_envelopes, body)
    code = text_of(fields.code)
    if fields.code is not None and (code is None or not _CODE.fullmatch(code)):
        raise msgspec.DecodeError("the code is not a number")
    return Envelope(
        code=None if code is None else int(code),
        message=words_of(fields.message) or None,
        request_id=text_of(fields.request_id),
        data=fields.data,
    )


_CODE: Final = re.compile(r"-?[0-9]{1,9}")


def decode_task(endpoint: str, data: bytes | msgspec.Raw) -> TaskRecord:
    """Decode one task object, in the form of ``/v1`` or of ``/tasks``; only its id is needed.

    The other fields are taken as far as they can be read: see `kling_async.decoding.lenient`.

    Raises:
        msgspec.DecodeError: The data are not an object, or show no id.
    """
    raw = _unquoted(bytes(data))
    task = decode(_tasks, raw)
    task_id = text_of(task.task_id) or text_of(task.id)
    if task_id is None:
        raise msgspec.DecodeError("the task has no id")
    info = task.task_info if isinstance(task.task_info, dict) else {}
    names = info.get("external_task_id"), task.external_task_id, task.external_id
    return TaskRecord(
        endpoint=endpoint,
        task_id=task_id,
        external_task_id=next((text for name in names if (text := text_of(name))), None),
        status=text_of(task.task_status) or text_of(task.status) or "submitted",
        message=words_of(task.task_status_msg) or words_of(task.message),
        created_at=milliseconds_of(task.created_at) or milliseconds_of(task.create_time),
        updated_at=milliseconds_of(task.updated_at) or milliseconds_of(task.update_time),
        units=decimal_of(task.final_unit_deduction) or _units(task.billing),
        data=msgspec.Raw(raw),
        result_data=_result_of(task),
    )


def _unquoted(data: bytes) -> bytes:
    """Return JSON that gateways encode twice, as a text, without that."""
    if not data.startswith(b'"'):
        return data
    return decode(_texts, data).encode("utf-8", "replace")


def _result_of(task: _TaskFields) -> msgspec.Raw:
    """Return the result under the names of ``/v1``."""
    result = bytes(task.task_result)
    if result not in _NOTHING:
        return msgspec.Raw(result)
    outputs = task.outputs if isinstance(task.outputs, list) else []
    return msgspec.Raw(msgspec.json.encode(task_result(outputs) or None))


_ZERO: Final = re.compile(r"0+(\.0*)?")


def _units(billing: Any) -> str | None:
    """Return the units of a bill, the sum if it has several entries.

    An amount of another or of no kind tells them only if it is 0.
    """
    entries = [entry for entry in billing if isinstance(entry, dict)] if isinstance(billing, list) else []
    units = [decimal_of(entry.get("amount")) for entry in entries if entry.get("charge_type") == "unit"]
    free = [
        "0"
        for entry in entries
        if not entry.get("charge_type") and _ZERO.fullmatch(decimal_of(entry.get("amount")) or "")
    ]
    known = [amount for amount in units if amount is not None]
    return _sum(known) if len(known) > 1 else next(iter((*known, *free)), None)


def _sum(amounts: list[str]) -> str:
    try:
        return format(sum(map(Decimal, amounts), Decimal()), "f")
    except InvalidOperation:  # one of them is no number: the first is as good as any
        return amounts[0]


def decode_unified(data: bytes | msgspec.Raw) -> dict[str, TaskRecord]:
    """Decode an answer of ``/tasks``; return records by task id, with results in the form of ``/v1``."""
    return {record.task_id: record for record in decode_unified_page(data)}


def decode_unified_page(data: bytes | msgspec.Raw) -> ListPage:
    """Decode an answer of ``/tasks``, with results in the form of ``/v1``.

    The records' endpoint is empty, because these answers do not name it. Tasks that cannot be read are left
    out, as are those that the vendor does not know.
    """
    return _readable("", decode(_task_lists, bytes(data)))


def decode_list(endpoint: str, data: bytes | msgspec.Raw) -> ListPage:
    """Decode a list page: a bare array of task objects, newest first. Entries without an id are left out.

    Raises:
        msgspec.DecodeError: The data are no array, or none of its entries is a task.
    """
    raw = bytes(data)
    if raw in (b"null", b""):
        return []
    items = decode(_task_lists, raw)
    page = _readable(endpoint, items)
    if items and not page:
        raise msgspec.DecodeError("no entry of the list is a task")
    return page


def _readable(endpoint: str, items: list[msgspec.Raw]) -> ListPage:
    page: ListPage = []
    for item in items:
        with contextlib.suppress(msgspec.DecodeError):
            page.append(decode_task(endpoint, item))
    return page
