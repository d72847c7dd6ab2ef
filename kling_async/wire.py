"""What both generations of the API share on the wire: envelope, task record, paging, result base.

Decoding is lenient: the vendor adds and drops fields monthly. Two steps, because an error answer may hold
``data`` of another shape and its code must still be read: first the envelope with ``data`` left as bytes,
then ``data`` by the endpoint's type.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from kling_async.checks import Rule, coerce
from kling_async.inputs import without_query

__all__ = [
    "CallRequest",
    "Discreet",
    "Envelope",
    "File",
    "ListPage",
    "Part",
    "RawResult",
    "Request",
    "Result",
    "TaskRecord",
    "TaskRequest",
    "decode",
    "keepable",
]

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

PAGE_MAX: Final = 1000
PAGE_SIZE_MAX: Final = 500


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what holds signed addresses: its repr leaves out ``raw``, unset fields and their queries."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich, and its tracebacks, no more than anybody else."""
        items = [(name, getattr(self, name)) for name in self.__struct_fields__ if name != "raw"]
        return [(name, keepable(item)) for name, item in items if item is not None and item not in ("", {})]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={item!r}" for name, item in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class Request(Discreet, frozen=True, kw_only=True, omit_defaults=True):
    """A value that describes one call. It is checked and encoded by what its fields' ``Meta`` say.

    Fields left at None are not sent, so the vendor's default applies; an empty text counts as not set.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Checks over several fields; each a small named function."""

    extra: dict[str, Any] = {}
    """Fields this package does not know (the vendor adds some monthly); merged into the body last."""

    def __post_init__(self) -> None:
        """Turn lists into tuples and addresses, bytes and paths into `Media`; see `checks.coerce`."""
        coerce(self)


class Part(Discreet, frozen=True, kw_only=True, omit_defaults=True):
    """Base of the objects within a request."""

    def __post_init__(self) -> None:
        """As a request does."""
        coerce(self)


class TaskRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that starts a task; ``client.submit()`` takes it. R is the type of the task's result."""


class CallRequest(Request, Generic[R_co], frozen=True, kw_only=True, omit_defaults=True):
    """A request that is answered at once; ``client.call()`` takes it. R is the type of the answer."""


class File(Discreet, frozen=True):
    """One file of a result: where it is and how to name it."""

    url: str
    suffix: str
    """With its dot, ``.mp4``: what the address should hold."""
    name: str = ""
    """What tells it from its siblings, ``0`` or ``watermarked``."""


class Result(Discreet, frozen=True, kw_only=True):
    """Base of all results. ``raw`` is the vendor's own object, with what the types here do not name."""

    raw: dict[str, Any] = msgspec.field(name="__raw__", default_factory=dict)

    def files(self, *, watermarked: bool = False) -> tuple[File, ...]:  # noqa: ARG002 - for subclasses
        """Return what can be downloaded; with ``watermarked``, the marked copies instead."""
        return ()

    def refusal(self) -> tuple[int | None, str] | None:
        """Return the code, if any, and the words of a refusal that came inside an accepting answer."""
        return None


class RawResult(Result, frozen=True, kw_only=True):
    """The result of an endpoint this package has no types for: see ``raw``."""


class Envelope(msgspec.Struct, frozen=True):
    """The outer object of every answer. ``code`` 0 is success."""

    code: int | None = None
    message: str | None = None
    request_id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _TaskInfo(msgspec.Struct, frozen=True):
    external_task_id: str | None = None


class _TaskData(msgspec.Struct, frozen=True):
    """A task as ``/v1`` shows it. Ids are text of digits; a number is taken too."""

    task_id: str | int
    task_status: str | None = None
    task_status_msg: str | None = None
    task_info: _TaskInfo | None = None
    task_result: msgspec.Raw = msgspec.Raw(b"null")
    final_unit_deduction: str | float | None = None
    created_at: int | None = None
    updated_at: int | None = None


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a task, as plain data: it can be stored, pickled, and sent elsewhere."""

    endpoint: str
    """Name of the catalog row, ``text_to_video``."""
    task_id: str
    external_task_id: str | None = None
    status: str = "submitted"
    """The vendor's word; `kling_async.core.verdict.state_of` says what it means."""
    message: str = ""
    """The vendor's reason, if the task failed."""
    created_at: int = 0
    """Milliseconds since 1970, by the vendor's clock; 0 if unknown."""
    updated_at: int = 0
    units: str | None = None
    """Units taken in the end, a decimal as text (``final_unit_deduction``)."""
    data: msgspec.Raw = msgspec.Raw(b"{}")
    """The whole task object as it came, JSON."""
    result_data: msgspec.Raw = msgspec.Raw(b"null")
    """Its ``task_result``, JSON; null until the task succeeded."""

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
        """Return all of it as plain data, fit to be kept: addresses without queries, no payloads."""
        known = {name: getattr(self, name) for name in self.__struct_fields__}
        del known["result_data"]  # which the data hold
        plain: dict[str, Any] = keepable({**known, "data": self.raw})
        return plain

    def __repr__(self) -> str:
        return f"TaskRecord({self.endpoint} {self.task_id} {self.status})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich no more than anybody else."""
        return [("", f"{self.endpoint} {self.task_id} {self.status}")]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through JSON: `msgspec.Raw` itself does not pickle."""
        return _record_from_json, (msgspec.json.encode(self),)


_ADDRESS: Final = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_KEEPABLE_MAX: Final = 4000


def keepable(value: Any) -> Any:
    """Return plain data fit to be kept: addresses without their queries, no payloads."""
    match value:
        case dict():
            return {name: keepable(item) for name, item in value.items()}
        case list():
            return [keepable(item) for item in value]
        case str() if len(value) > _KEEPABLE_MAX or value[:5].lower() == "data:":
            return f"<{len(value)} characters>"
        case str():
            return _ADDRESS.sub(lambda found: without_query(found[0]), value)
        case _:
            return value


ListPage = list[TaskRecord]
"""One page of a list, newest first; a page shorter than asked for is the last."""

_envelopes = msgspec.json.Decoder(Envelope, strict=False)
_tasks = msgspec.json.Decoder(_TaskData, strict=False)
_task_lists = msgspec.json.Decoder(list[msgspec.Raw])
_records = msgspec.json.Decoder(TaskRecord)


def _record_from_json(body: bytes) -> TaskRecord:
    return _records.decode(body)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decode, with one kind of error for all that may be wrong with strangers' bytes.

    Raises:
        msgspec.DecodeError: They are not JSON, not UTF-8, nested too deep, or not of that form.
    """
    try:
        return decoder.decode(body)
    except (UnicodeDecodeError, RecursionError) as error:
        reason = type(error).__name__
    raise msgspec.DecodeError(f"unreadable JSON: {reason}")


def decode_envelope(body: bytes) -> Envelope:
    """Decode an answer's outer object.

    Raises:
        msgspec.DecodeError: It is not JSON, or not an object of this form.
    """
    return decode(_envelopes, body)


def decode_task(endpoint: str, data: bytes | msgspec.Raw) -> TaskRecord:
    """Decode one task object of ``/v1``.

    Raises:
        msgspec.DecodeError: It is not a task.
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


class _PathStyle(msgspec.Struct, frozen=True):
    """A task as ``/tasks`` shows it, also one made under ``/v1``."""

    id: str | int
    status: str | None = None
    message: str | None = None
    external_id: str | None = None
    outputs: tuple[dict[str, Any], ...] | None = None
    billing: tuple[_Billing, ...] | None = None
    create_time: int | None = None
    update_time: int | None = None


_path_styles = msgspec.json.Decoder(_PathStyle, strict=False)


def decode_unified(data: bytes | msgspec.Raw) -> dict[str, TaskRecord]:
    """Decode an answer of ``/tasks``: records by task id, their results in the form of ``/v1``.

    Their endpoint is left empty: these answers do not name it. Tasks that cannot be read are left out, as
    those are that the vendor leaves out.
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
    task = decode(_path_styles, raw)
    results: dict[str, list[dict[str, Any]]] = {}
    for output in task.outputs or ():
        same = results.setdefault(f"{output.get('type', '')}s", [])
        same.append({"index": len(same), **output})
    units = next((b.amount for b in task.billing or () if b.charge_type == "unit"), None)
    return TaskRecord(
        endpoint="",
        task_id=str(task.id),
        external_task_id=task.external_id or None,
        status=task.status or "submitted",
        message=task.message or "",
        created_at=task.create_time or 0,
        updated_at=task.update_time or 0,
        units=None if units is None else str(units),
        data=msgspec.Raw(raw),
        result_data=msgspec.Raw(msgspec.json.encode(results or None)),
    )


def decode_list(endpoint: str, data: bytes | msgspec.Raw) -> ListPage:
    """Decode a list page: a bare array of task objects, newest first."""
    raw = bytes(data)
    if raw in (b"null", b""):
        return []
    return [decode_task(endpoint, item) for item in decode(_task_lists, raw)]
