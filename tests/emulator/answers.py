"""A judge of the emulator's answers: their envelopes, field names and types, by the tests' own facts.

The facts are copies of the vendor's tables and samples (see tests/trim_reference.py). Neither the emulator
nor the client's reader takes part.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.reference import V1, V2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async.emulator.http.answers import HttpAnswer

__all__ = ["faults_of"]

Json = dict[str, Any]

TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
CODES: Final = {row["code"]: row["http"] for row in V1["errors"]}
ENVELOPE: Final = {"code": int, "message": str, "request_id": str}
OPTIONAL: Final = {"watermark_url", "group_id"}
"""Fields of outputs that only some requests bring."""
REFERENCE_FIELDS: Final = {"image": set[str](), "video": set[str](), "voice": {"id", "name", "owned_by"}}
"""Fields of an element's references, beside type, role and url, as the vendor's samples have them."""


def faults_of(kind: str, endpoint: str | None, answer: HttpAnswer) -> list[str]:
    """Return what is wrong with an answer to a request of a kind; nothing for one without JSON.

    Args:
        kind: The kind of the request's route: create, query, list, call, tasks or costs.
        endpoint: Name of the endpoint in the facts.
        answer: The answer as it is sent.
    """
    if answer.payload is None:
        return []
    payload = answer.payload
    faults = [
        f"{name} is {payload.get(name)!r}" for name, t in ENVELOPE.items() if type(payload.get(name)) is not t
    ]
    faults += [f"unknown {name}" for name in payload.keys() - ENVELOPE.keys() - {"data"}]
    if payload.get("code") != 0:
        known = CODES.get(payload.get("code"))
        if answer.status != known:
            faults.append(f"status {answer.status} with code {payload.get('code')}, not {known}")
        return (
            faults + ["a refusal with data"] * ("data" in payload) + ["no message"] * (not payload["message"])
        )
    if answer.status != 200:
        faults.append(f"status {answer.status} with code 0")
    return faults + list(_data_faults(kind, endpoint, payload.get("data")))


def _data_faults(kind: str, endpoint: str | None, data: Any) -> Iterator[str]:
    if kind == "tasks":
        for task in data:
            yield from unified_faults(task)
    elif kind == "history":
        yield from page_faults(data)
    elif kind == "create" and endpoint in V2["endpoints"]:
        yield from made_faults(str(endpoint), data)
    elif kind == "list":
        for task in data:
            yield from task_faults(str(endpoint), task)
    elif kind in {"create", "query"}:
        yield from task_faults(str(endpoint), data)
    elif kind in {"call", "costs"} and data is not None:
        yield from typed(call_fields(str(endpoint)), data)


def call_fields(endpoint: str) -> dict[str, str]:
    """Return the fields of a synchronous call's data; a preset has the result of its product."""
    fields: dict[str, str] = V1["endpoints"][endpoint]["result"]
    if endpoint == "account_costs":
        return {"code": "int", "msg": "string", **fields}
    product = V1["endpoints"][endpoint.partition(".")[0]]
    if product.get("result_at") == "data.task_result" and "task_result" in fields:
        fields = fields | {f"task_result.{name}": words for name, words in product["result"].items()}
    return fields


# --- tasks under /v1 ---------------------------------------------------------------------------


def task_faults(endpoint: str, task: Json) -> Iterator[str]:
    """Yield what is wrong with a task under ``/v1``: the sample tells its fields, a table its result's."""
    row = V1["endpoints"][endpoint]
    sample: Json = row["example"]["finished"]["data"]
    result, info = task.get("task_result"), task.get("task_info")
    for name, value in task.items():
        if name not in sample:
            yield f"{name} is undocumented"
        elif type(value) is not type(sample[name]):
            yield f"{name} is a {type(value).__name__}"
    if ("task_result" in task) != (task["task_status"] == "succeed"):
        yield f"task_result of a task that is {task['task_status']}"
    if result is not None:
        yield from typed(row["result"], result)
    if info is not None:
        yield from typed({"external_task_id": "string", **row.get("result_task_info", {})}, info)


def typed(fields: dict[str, str], value: Any, at: str = "") -> Iterator[str]:
    """Yield the fields of a value that are undocumented or have another type than the facts say.

    Args:
        fields: By the path of each field, a description that begins with its type.
        value: The value to look at, or a part of it.
        at: Path of that part.
    """
    known = {path.replace("[]", ""): words for path, words in fields.items()}
    inner = {path.rpartition(".")[0] for path in known}
    if isinstance(value, list):
        for item in value:
            yield from typed(known, item, at)
    elif isinstance(value, dict):
        for name, item in value.items():
            path = f"{at}.{name}".lstrip(".")
            if path in known:
                kind = known[path].partition(";")[0].split()[0].strip(",")
                if not isinstance(item, TYPES[kind]) or (isinstance(item, bool) and kind != "boolean"):
                    yield f"{path} is a {type(item).__name__}, not a {kind}"
            elif path not in inner:
                yield f"{path} is undocumented"
            yield from typed(known, item, path)


# --- tasks of the second generation ------------------------------------------------------------


def made_faults(endpoint: str, data: Json) -> Iterator[str]:
    """Yield what is wrong with the answer to a create: it has the fields of its sample, and a message."""
    sample: Json = V2["endpoints"][endpoint]["example"]["response"]["data"]
    for name, value in data.items():
        # observed: production adds an empty message
        if name not in {*sample, "external_id"} and (name, value) != ("message", ""):
            yield f"{name} is undocumented"
        elif name in sample and type(value) is not type(sample[name]):
            yield f"{name} is a {type(value).__name__}"
    yield from (f"{name} is missing" for name in sample if name not in {*data, "external_id"})


def page_faults(page: Json) -> Iterator[str]:
    """Yield what is wrong with a page of a cursor list; the last has no cursor, an empty one no result."""
    if set(page) - {"result", "count", "next_cursor", "has_more"}:
        yield f"fields {sorted(page)}"
    if page["has_more"] != ("next_cursor" in page) or page["count"] != len(page.get("result", ())):
        yield f"page {page}"
    for task in page.get("result", ()):
        yield from unified_faults(task)


def unified_faults(task: Json) -> Iterator[str]:
    """Yield what is wrong with a task at ``/tasks``."""
    wrong = [name for name in ("outputs", "billing") if not _are_objects(task.get(name, []))]
    missing = {"id", "status", "message", "create_time", "update_time"} - task.keys()
    if wrong or missing:
        yield f"no arrays of objects: {wrong}; missing: {sorted(missing)}"
        return
    yield from typed(V2["task"], {**task, "outputs": [], "billing": []})
    status = task["status"]
    if status not in V2["statuses"]:
        yield f"status {status!r}"
    if bool(task.get("outputs")) != (status == "succeeded"):
        yield f"outputs of a task that is {status}"
    if bool(task.get("billing")) != (status in {"succeeded", "failed"}):
        yield f"billing of a task that is {status}"
    for output in task.get("outputs", ()):
        yield from output_faults(output)
    for entry in task.get("billing", ()):
        yield from billing_faults(entry, paid=status == "succeeded")


SOLUTION_TYPES: Final = {"product_image", "model_images", "product_video", "subbed_video", "srt", "ass"}
"""Types of outputs that only the solutions have, by their pages."""


def output_faults(output: Json) -> Iterator[str]:
    """Yield what is wrong with one output: a type of the table, with all its fields and no others."""
    kind = output.get("type")
    if kind in SOLUTION_TYPES or (kind == "video" and "id" not in output):  # the solutions' have no id
        more = {"watermark_url", "duration"} & output.keys()
        yield from _exactly(output, {"type", "url"} | more)
        return
    fields: dict[str, str] = V2["output_types"].get(kind, {})
    if not fields:
        yield f"type {kind!r}"
        return
    yield from _exactly(output, {"type", *fields}, OPTIONAL | ({"duration"} if kind == "video" else set()))
    for name, words in fields.items():
        value = output.get(name, "" if name in OPTIONAL else None)
        if words.startswith("array"):
            if not _are_objects(value):
                yield f"{kind}.{name} is {value!r}"
        elif not isinstance(value, str) and (kind, name) != ("video", "duration"):
            yield f"{kind}.{name} is a {type(value).__name__}"
        elif "|" in words and value not in words.split("|"):
            yield f"{kind}.{name} is {value!r}"
    for reference in _objects(output.get("references")):
        yield from reference_faults(reference)
    for tag in _objects(output.get("tags")):
        yield from _exactly(tag, {"id", "name", "description"})
        yield from typed({"id": "int", "name": "string", "description": "string"}, tag)


def reference_faults(reference: Json) -> Iterator[str]:
    """Yield what is wrong with one reference of an element."""
    more = REFERENCE_FIELDS.get(reference.get("type", ""))
    if more is None or reference.get("role") not in {"frontal", "refer"}:
        yield f"reference {reference}"
        return
    yield from _exactly(reference, {"type", "role", "url"} | more)
    yield from typed(dict.fromkeys(reference, "string"), reference)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _objects(value: Any) -> list[Json]:
    return value if _are_objects(value) else []


def billing_faults(entry: Json, *, paid: bool) -> Iterator[str]:
    """Yield what is wrong with a bill: units of a package, or, of a failed task, nothing at all."""
    if not paid:
        if entry != {"amount": "0"}:
            yield f"bill of a failed task: {entry}"
        return
    yield from _exactly(entry, {"charge_type", "amount", "package_type"})
    packages = V2["billing_entry"]["package_type"].partition(",")[0].split(" | ")
    if entry.get("charge_type") != "unit" or entry.get("package_type") not in packages:
        yield f"bill {entry}"
    amount = entry.get("amount")
    if not isinstance(amount, str) or not re.fullmatch(r"\d+(\.\d+)?", amount):
        yield f"amount {amount!r}"


def _exactly(value: Json, names: set[str], optional: set[str] | None = None) -> Iterator[str]:
    """Yield the names that a value lacks or has too many."""
    for name in names - value.keys() - (optional or set()):
        yield f"no {name} in {value}"
    for name in value.keys() - names:
        yield f"{name} is undocumented in {value}"
