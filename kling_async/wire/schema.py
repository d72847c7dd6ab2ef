"""JSON schemas (draft 2020-12) of requests and results, from their annotations.

Bounds, words and defaults come from the ``Meta`` of a field, descriptions from docstrings.
Requests are described as `json_bridge` reads them, results as ``to_dict()`` writes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_origin

import msgspec
from msgspec import inspect as mi

from kling_async.wire.construction import FieldsByName
from kling_async.wire.describe import attribute_docs, field_docs, summary
from kling_async.wire.fields import Field, fields
from kling_async.wire.media import Media

if TYPE_CHECKING:
    from kling_async.wire.media_formats import Limits

__all__ = ["Ref", "Schema", "object_schema", "schema_of"]

Schema: TypeAlias = dict[str, Any]
Ref: TypeAlias = Callable[[type[msgspec.Struct]], Schema]
"""Returns a reference to the schema of a struct that stands elsewhere."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: type[msgspec.Struct]) -> Schema:
    """Return the whole schema of a request or result, with those of its parts under ``$defs``."""
    parts: dict[str, Schema] = {}

    def ref(part: type[msgspec.Struct]) -> Schema:
        if part.__name__ not in parts:
            parts[part.__name__] = {}  # holds the place of a struct that contains itself
            parts[part.__name__] = object_schema(part, ref)
        return {"$ref": f"#/$defs/{part.__name__}"}

    whole = {"$schema": _DIALECT, **object_schema(kind, ref)}
    return {**whole, "$defs": parts} if parts else whole


def object_schema(kind: type[msgspec.Struct], ref: Ref) -> Schema:
    """Return the schema of a struct, with references to those of its parts."""
    head: Schema = {"type": "object", "title": kind.__name__}
    if text := summary(kind):
        head["description"] = text
    is_read = issubclass(type(kind), FieldsByName)
    return head | (_read_fields(kind, ref) if is_read else _written_fields(kind, ref))


def _read_fields(kind: type[msgspec.Struct], ref: Ref) -> Schema:
    """Describe the fields of a request or part."""
    docs = field_docs(kind)
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    properties: dict[str, Schema] = {}
    if endpoint := getattr(kind, "endpoint_name", ""):
        properties["endpoint"] = {"const": endpoint, "type": "string", "description": "Name of the endpoint."}
    for field in fields(kind):
        default = field.extra.get("default", defaults[field.name])
        said = {"description": docs.get(field.name), "default": default}
        shown = {name: value for name, value in said.items() if value not in (None, msgspec.NODEFAULT)}
        properties[field.name] = _field_schema(field, ref) | shown
    if not properties:  # a base, whose subclasses have the fields
        return {}
    required = [field.name for field in fields(kind) if field.required]
    rest: Schema = {"required": required} if required else {}
    return {"properties": properties, **rest, "additionalProperties": False}


def _field_schema(field: Field, ref: Ref) -> Schema:
    schema = _type_schema(field.type, ref)
    if "media" in field.extra:
        return _media_schema(schema, field.extra["media"])
    return {**schema, "minLength": 1} if field.required and schema.get("type") == "string" else schema


def _media_schema(schema: Schema, limits: Limits) -> Schema:
    """Describe a file, or a list of files, by the forms that its field takes."""
    address: Schema = {"type": "string", "format": "uri", "description": "An https address."}
    content: Schema = {"type": "string", "contentEncoding": "base64", "description": "The file itself."}
    forms = [form for form, taken in ((address, limits.url), (content, limits.base64)) if taken]
    one = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return {**schema, "items": one} if schema.get("type") == "array" else one


def _written_fields(kind: type[msgspec.Struct], ref: Ref) -> Schema:
    """Describe the fields of a result; all of them are always there."""
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)  # noqa: S101 - what type_info gives for a struct
    hidden = getattr(kind, "hidden", ())
    shown = [field for field in info.fields if field.name not in hidden]
    docs = attribute_docs(kind)
    said = {name: {"description": text} for name, text in docs.items()}
    properties = {field.name: _type_schema(field.type, ref) | said.get(field.name, {}) for field in shown}
    return {"properties": properties, "required": list(properties)}


def _type_schema(node: mi.Type, ref: Ref) -> Schema:  # noqa: C901, PLR0911 - one case a type
    match node:
        case mi.Metadata():
            return _type_schema(node.type, ref)
        case mi.StrType():
            return _bounded({"type": "string"}, maxLength=node.max_length)
        case mi.IntType() | mi.FloatType():
            name = "integer" if isinstance(node, mi.IntType) else "number"
            return _bounded({"type": name}, minimum=node.ge, maximum=node.le)
        case mi.BoolType() | mi.NoneType():
            return {"type": "boolean" if isinstance(node, mi.BoolType) else "null"}
        case mi.LiteralType():
            names = sorted({"string" if isinstance(word, str) else "integer" for word in node.values})
            return {"type": names[0] if len(names) == 1 else names, "enum": list(node.values)}
        case mi.VarTupleType():
            entries = {"type": "array", "items": _type_schema(node.item_type, ref)}
            return _bounded(entries, minItems=node.min_length, maxItems=node.max_length)
        case mi.DictType():
            return {"type": "object", "additionalProperties": _type_schema(node.value_type, ref)}
        case mi.UnionType():
            return {"anyOf": [_type_schema(member, ref) for member in node.types]}
        case mi.StructType() if node.cls is Media:
            return {"type": "string"}
        case mi.StructType():
            return ref(get_origin(node.cls) or node.cls)  # `TaskRequest[R]` is not a class
        case _:
            return {}


def _bounded(schema: Schema, **bounds: float | None) -> Schema:
    return schema | {name: bound for name, bound in bounds.items() if bound is not None}
