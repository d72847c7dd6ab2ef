"""Bodies of callbacks: one task object of either generation, without an envelope.

The vendor's pages tell the generations apart by one key: ``task_id`` is the first, ``id`` the second. Reading
is as lenient as with answers: only an id and a status are needed (see `kling_async.records.decode_task`).
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from kling_async.core.status import TaskState, state_of
from kling_async.decoding.lenient import text_of
from kling_async.errors import WebhookError
from kling_async.records import TaskRecord, decode, decode_task

__all__ = ["BODY_MAX", "Callback", "parse"]

BODY_MAX: Final = 1024 * 1024
"""Bytes of the largest body that is read. A task with 9 images and their signed addresses takes 20,000."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """News of one task, as the vendor posted it."""

    record: TaskRecord
    """The task, with its result under the names of ``/v1``. Its endpoint is empty: no callback names it."""
    generation: Literal["v1", "v2"]
    """Generation of the API in whose form it came."""

    @property
    def task_id(self) -> str:
        """Id of the task, given by the vendor."""
        return self.record.task_id

    @property
    def external_task_id(self) -> str | None:
        """Id of the task, given by its caller; None if it has none."""
        return self.record.external_task_id

    @property
    def state(self) -> TaskState:
        """The state that the status word stands for; an unknown word counts as running."""
        return state_of(self.record.status)

    @property
    def holds_result(self) -> bool:
        """Whether no query is needed to know how the task ended.

        True for a failed task, and for one that succeeded if its result names a file, an element or a voice.
        Some endpoints have more than callbacks show: their catalog row says so.
        """
        if self.state is TaskState.SUCCEEDED:
            return _names_something(_any.decode(self.record.result_data))
        return self.state is TaskState.FAILED

    def __repr__(self) -> str:
        return f"Callback({self.generation} {self.task_id} {self.record.status})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich no more than the repr does."""
        return [("", f"{self.generation} {self.task_id} {self.record.status}")]


_any: Final = msgspec.json.Decoder()
_objects: Final = msgspec.json.Decoder(dict[str, Any])


def parse(body: bytes) -> Callback:
    """Read the body of a callback of either generation. Verify it first: see `kling_async.webhooks.verify`.

    Raises:
        WebhookError: The body is larger than `BODY_MAX`, not a JSON object, or shows no id or no status.
    """
    if len(body) > BODY_MAX:
        raise WebhookError(f"the body is larger than {BODY_MAX} bytes")
    try:
        fields = decode(_objects, bytes(body))
        record = decode_task("", bytes(body))
    except msgspec.DecodeError:
        fields, record = {}, None
    if record is None:
        raise WebhookError("the body is not a task: a JSON object with a task_id or an id")
    if not (text_of(fields.get("task_status")) or text_of(fields.get("status"))):
        raise WebhookError("the body names no status")
    return Callback(record=record, generation="v1" if text_of(fields.get("task_id")) else "v2")


def _names_something(result: Any) -> bool:
    """Tell whether an entry of a ``task_result`` has an address, or is an element or a voice."""
    arrays = result.values() if isinstance(result, dict) else ()
    entries = [entry for array in arrays if isinstance(array, list) for entry in array]
    return any(
        bool(value) and _is_telling(name)
        for entry in entries
        if isinstance(entry, dict)
        for name, value in entry.items()
    )


def _is_telling(name: str) -> bool:
    return name.startswith("url") or name.endswith("url") or name in {"element_id", "voice_id"}
