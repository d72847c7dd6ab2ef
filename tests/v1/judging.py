"""What the tests of endpoints share: what is sent, refused and doubted, and what comes back."""

from __future__ import annotations

import base64
import warnings
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async.catalog import call_of, endpoint_of
from kling_async.core.status import TaskState, state_of
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.orchestrator.results import decode_result, result_of
from kling_async.records import TaskRecord, decode_envelope, decode_task
from kling_async.wire.checks import check, to_wire

if TYPE_CHECKING:
    from kling_async.wire.media import Media
    from kling_async.wire.requests import CallRequest, TaskRequest


def load(media: Media) -> str:
    """What the driver makes of a media that is no file."""
    return media.url or base64.b64encode(media.data or b"").decode()


def sent(request: Any) -> Any:
    """The body of a request that must pass without a warning, as the vendor gets it."""
    assert doubted(request) == []
    return msgspec.json.decode(msgspec.json.encode(to_wire(request, load)))


def refused(request: Any) -> list[tuple[str, str]]:
    """The problems of a request that must be refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        with pytest.raises(RequestInvalid) as caught:
            check(request)
    return [(problem.field, problem.text) for problem in caught.value.problems]


def doubted(request: Any) -> list[tuple[str, str]]:
    """What is warned about a request that must pass: fields and texts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
    assert all(issubclass(w.category, KlingWarning) for w in caught)
    prefix = len(type(request).__name__) + 1
    told = [str(w.message)[prefix:].partition(": ") for w in caught]
    return [(field, text) for field, _, text in told]


def task(kind: type[TaskRequest[Any]], answer: Any) -> TaskRecord:
    """The task in a golden answer."""
    return decode_task(endpoint_of(kind).name, decode_envelope(msgspec.json.encode(answer)).data)


def result(kind: type[TaskRequest[Any]], answer: Any) -> Any:
    """The typed result of the finished task in a golden answer."""
    return result_of(endpoint_of(kind), task(kind, answer))


def answered(request: CallRequest[Any], answer: Any) -> Any:
    """The typed content of a golden answer to a call."""
    row = call_of(request)
    data = decode_envelope(msgspec.json.encode(answer)).data
    return decode_result(row.result, bytes(data), array=row.array)


def lives(kind: type[TaskRequest[Any]], answers: dict[str, Any]) -> None:
    """The golden answers tell one task's life, with or without task_info."""
    records = [task(kind, answers[case]) for case in ("created", "running", "finished")]
    assert len({record.task_id for record in records}) == 1
    states = [state_of(record.status) for record in records]
    assert states == [TaskState.RUNNING, TaskState.RUNNING, TaskState.SUCCEEDED]
    failed = task(kind, answers["failed"])
    assert (state_of(failed.status), bool(failed.message)) == (TaskState.FAILED, True)
