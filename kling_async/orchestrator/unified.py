"""Queries of the second generation: one query by ids for all products, at ``/tasks`` or ``/solutions``.

An id that is not known is left out of the answer. Here such an answer becomes what a GET of the first
generation says of the task: the task itself, or that there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.core.verdict import Got, Missing
from kling_async.errors import ConfigurationError
from kling_async.http.auth import FORMER, GLOBAL
from kling_async.records import TaskRecord, decode_task
from kling_async.wire.requests import RawResult

if TYPE_CHECKING:
    from kling_async.core.verdict import ReadVerdict
    from kling_async.http.transport import Transport
    from kling_async.wire.endpoints import Endpoint

__all__ = ["about_one", "check_serves", "is_of_another", "may_be_of", "query_of"]

_any: Final = msgspec.json.Decoder()
_lists: Final = msgspec.json.Decoder(list[msgspec.Raw])


def check_serves(transport: Transport, name: str, at: str) -> None:
    """Check that an endpoint is served here: the second generation takes no key pair, and has new hosts.

    Args:
        transport: The credentials and the host.
        name: The endpoint's, or that of the call.
        at: The path that is asked about its tasks; "" under ``/v1``.

    Raises:
        ConfigurationError: It is not; the message says what to set. Nothing was sent.
    """
    if not at or transport.unified:
        return
    if transport.host == FORMER:
        text = f"{FORMER} serves only /v1; set base_url (KLING_BASE_URL) to {GLOBAL}"
    else:
        text = (
            "the second generation of the API takes no key pair (access_key, secret_key); make an API key in "
            "the console and set KLING_API_KEY (api_key=), or use a request of v1"
        )
    raise ConfigurationError(f"{name}: {text}")


def is_of_another(endpoint: Endpoint[Any], record: TaskRecord) -> bool:
    """Tell whether a task that the query of all tasks shows is of another product than the endpoint's.

    External ids are unique over all products and generations, and no answer names the product: only results
    of other kinds do.
    """
    return bool(endpoint.asked_at) and not may_be_of(endpoint, record)


def may_be_of(endpoint: Endpoint[Any], record: TaskRecord) -> bool:
    """Tell whether a result, if there is one, can be of an endpoint: it has an array that its type names."""
    result = _any.decode(record.result_data)
    arrays = [name for name, value in result.items() if value] if isinstance(result, dict) else []
    if not arrays or endpoint.result is RawResult:
        return True
    return not {field.encode_name for field in msgspec.structs.fields(endpoint.result)}.isdisjoint(arrays)


def query_of(*ids: str, external: bool) -> dict[str, str]:
    """Return the query for tasks by their ids: exactly one of its two parameters may be given."""
    return {"external_task_ids" if external else "task_ids": ",".join(ids)}


def about_one(verdict: ReadVerdict, id: str) -> ReadVerdict:  # noqa: A002 - either of a task's ids
    """Return the verdict on a query for one id as that of a GET of the task.

    An answer that is no array is left as it is: whoever reads the task from it judges it.
    """
    if not isinstance(verdict, Got):
        return verdict
    data = bytes(verdict.data)
    try:
        entries = [] if data in (b"", b"null") else _lists.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return verdict
    if not entries:
        return Missing("the query of all tasks leaves it out", verdict.answer.request_id)
    found = next((entry for entry in entries if _is_about(entry, id)), entries[0])
    return verdict._replace(data=bytes(found))


def _is_about(entry: msgspec.Raw, id: str) -> bool:  # noqa: A002 - as above
    try:
        record = decode_task("", entry)
    except msgspec.DecodeError:
        return False
    return id in (record.task_id, record.external_task_id)
