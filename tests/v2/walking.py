"""The parameters of the second generation by their places, and requests out of bodies, for the tests here.

Written for these tests, and the other way round than ours: a body is taken apart by the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kling_async import catalog
from kling_async.v2.models import model_row
from kling_async.wire.fields import Field, fields
from tests.reference import V2

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

ENDPOINTS: Final[Json] = V2["endpoints"]
OF_THE_CALL: Final = {"options.external_task_id", "options.callback_url"}
"""Sent by submit(), not held by the request."""
TYPES: Final[dict[str, Any]] = {row.name: row.request for row in catalog.TASKS if row.name.startswith("v2.")}


def request_type(name: str) -> Any:
    """The type of the requests of an endpoint of the reference."""
    return TYPES[row_name(name)]


def row_name(name: str) -> str:
    """The catalog's name of an endpoint of the reference."""
    family = name.removeprefix("solution_").partition("_kling_")[0]
    return f"v2.{family}"


def places(name: str) -> Json:
    """Every parameter of an endpoint by its place, those of the call left out."""
    return {place: facts for place, facts in _places(ENDPOINTS[name]["params"]) if place not in OF_THE_CALL}


def _places(params: Json) -> Iterator[tuple[str, Json]]:
    for name, facts in params.items():
        if name == "contents":
            yield from (_entry(kind, variant) for kind, variant in facts["variants"].items())
        elif name in ("settings", "options"):
            yield from _inside(name, facts["items"])
        else:
            yield name, facts


def _inside(prefix: str, items: Json) -> Iterator[tuple[str, Json]]:
    for name, facts in items.items():
        if "items" in facts:
            yield from _inside(f"{prefix}.{name}", facts["items"])
        else:
            yield f"{prefix}.{name}", facts


def _entry(kind: str, variant: Json) -> tuple[str, Json]:
    """The place of a type of entries: an entry of one field is that field, repeated or not."""
    items: Json = variant["items"]
    repeats = variant.get("max_items") != 1
    counts: Json = {key: variant[key] for key in ("required", "min_items", "max_items") if key in variant}
    if len(items) > 1:
        return f"contents.{kind}", {**counts, "items": items, "repeats": repeats}
    ((inner, facts),) = items.items()
    return f"contents.{kind}.{inner}", {**facts, **counts, "repeats": repeats}


def own_fields(name: str) -> dict[str, Field]:
    """The fields of our request that go to an endpoint of the reference, by their places."""
    kind = request_type(name)
    row = model_row(row_name(name), ENDPOINTS[name].get("model", ""))
    return {
        field.extra.get("place", field.name): field
        for field in fields(kind)
        if field.name != "model_name" and (row is None or field.name in {*row.reads, "watermark"})
    }


def from_body(name: str, body: Json, **model: str) -> Any:
    """The request that a body came from."""
    by_place = {field.extra.get("place", field.name): field for field in fields(request_type(name))}
    values: Json = {}
    for place, value in _values(body):
        if place in OF_THE_CALL:
            continue
        if place in by_place:
            _take(values, by_place[place], value)
            continue
        ((inner, item),) = value.items()  # an entry of one field, which is a plain value of ours
        _take(values, by_place[f"{place}.{inner}"], item)
    return request_type(name).from_dict({**values, **model})


def _take(values: Json, field: Field, value: Any) -> None:
    if "VarTuple" in type(field.type).__name__:
        values.setdefault(field.name, []).append(value)
    else:
        values[field.name] = value


def _values(body: Json) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if name == "contents":
            for entry in value:
                rest = {key: item for key, item in entry.items() if key != "type"}
                yield f"contents.{entry['type']}", rest
        elif name in ("settings", "options"):
            yield from _leaves(name, value)
        else:
            yield name, value


def _leaves(prefix: str, value: Json) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(f"{prefix}.{name}", item)
        else:
            yield f"{prefix}.{name}", item


def sorted_body(body: Json) -> Json:
    """A body whose contents are in one order: theirs says nothing."""
    made = dict(body)
    if "contents" in made:
        made["contents"] = sorted(made["contents"], key=lambda entry: sorted(map(str, entry.items())))
    return made
