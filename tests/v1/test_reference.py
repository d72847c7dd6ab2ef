"""Our types against the facts: no field missing, none too many, none with other bounds or words.

The facts are a trimmed copy of what was collected about the API; see tests/trim_reference.py.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from msgspec import inspect as mi

from kling_async import catalog
from kling_async.errors import KlingWarning
from kling_async.orchestrator import results
from kling_async.records import decode_envelope, decode_task
from kling_async.wire import checks
from kling_async.wire.checks import check, to_wire
from kling_async.wire.endpoints import Call
from kling_async.wire.fields import Field, fields
from kling_async.wire.media import Media
from tests.reference import V1

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

CATALOG: Final[list[Any]] = [*catalog.TASKS, *catalog.CALLS]
ROWS: Final = {row.name: row for row in CATALOG if not row.name.startswith("v2.")}
NO_ROW: Final = {"custom_elements.delete_alias", "custom_elements_v0.delete"}
"""Other paths to what has a row: they delete an element, as custom_elements.delete does."""
OF_THE_CALL: Final = {"external_task_id", "callback_url"}
"""Sent by submit(), not held by the request."""
OWN_BOUNDS: Final = {"element_id": (0, 2**63 - 1), "start_time": (0, None), "end_time": (0, None)}
"""Bounds that the reference does not spell out: what is outside is neither an id of 64 bits nor a time."""
NO_DEFAULT_OF_THEIRS: Final = {"model_name"}
"""Ours is a constant of our own: theirs is retired, or was until lately."""
LEFT_OUT: Final = {"video_effects.input.model_name", "multi_elements.model_name", "lip_sync.input.model_name"}
"""Models that are best not named: the vendor's newest pages have no such field."""
JSON_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "int": int,
    "long": int,
    "float": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def wanted(params: Json) -> Json:
    """The parameters that a struct must have."""
    return {
        facts.get("name", name): facts
        for name, facts in params.items()
        if facts.get("send", True) and name not in OF_THE_CALL
    }


def walk(kind: type[msgspec.Struct], params: Json, path: str) -> Iterator[tuple[str, Field, Json]]:
    """Every field of a struct beside its facts, at every depth."""
    for field in fields(kind):
        facts = params.get(field.wire_name)
        if facts is None:
            continue  # told by test_the_fields_are_the_parameters
        yield f"{path}.{field.name}", field, facts
        inner = struct_of(field)
        if inner is not None:
            yield from walk(inner, facts["items"], f"{path}.{field.name}")


def struct_of(field: Field) -> type[msgspec.Struct] | None:
    """The struct a field holds, alone or in an array; a media is none."""
    node = field.type
    if isinstance(node, mi.VarTupleType):
        node = node.item_type
    return node.cls if isinstance(node, mi.StructType) and node.cls is not Media else None


ALL = [
    found
    for name, row in ROWS.items()
    for found in walk(row.request, wanted(V1["endpoints"][name]["params"]), name)
]
each_field = pytest.mark.parametrize(("path", "field", "facts"), ALL, ids=[path for path, _, _ in ALL])


def sample(field: Field) -> Any:  # noqa: PLR0911 - one line a type
    """A value that a field may hold."""
    node = field.type
    match node:
        case mi.LiteralType():
            return node.values[0]
        case mi.BoolType():
            return True
        case mi.IntType() | mi.FloatType():
            return node.ge or 1
        case mi.VarTupleType():
            inner = struct_of(field)
            if inner is not None:
                return (filled(inner),)
            return (Media(url="https://a.example/x") if "media" in field.extra else "text",)
        case mi.StructType():
            return Media(url="https://a.example/x") if node.cls is Media else filled(node.cls)
        case _:
            return "text"


def filled(kind: type[msgspec.Struct]) -> Any:
    """A struct with every field set."""
    return kind(**{field.name: sample(field) for field in fields(kind)})


# --- fields ------------------------------------------------------------------------------------


def test_every_endpoint_has_a_row() -> None:
    """None of the reference is missing but for twins, and no row is of our own invention."""
    assert set(V1["endpoints"]) - set(ROWS) == NO_ROW
    assert set(ROWS) <= set(V1["endpoints"])


def test_the_walk_sees_every_depth() -> None:
    """What is compared below are the fields of all structs, those inside others as well."""
    paths = {path for path, _, _ in ALL}
    assert {
        "text_to_video.camera_control.config.zoom",
        "text_to_video.multi_prompt.duration",
        "image_generation.element_list.element_id",
        "account_costs.end_time",
    } <= paths
    assert len(paths) == len(ALL)


def names_at_every_depth(params: Json, path: str = "") -> Iterator[str]:
    for name, facts in wanted(params).items():
        yield path + name
        yield from names_at_every_depth(facts.get("items", {}), f"{path}{name}.")


def fields_at_every_depth(kind: type[msgspec.Struct], path: str = "") -> Iterator[str]:
    for field in fields(kind):
        yield path + field.wire_name
        inner = struct_of(field)
        if inner is not None:
            yield from fields_at_every_depth(inner, f"{path}{field.name}.")


@pytest.mark.parametrize("name", ROWS)
def test_the_fields_are_the_parameters(name: str) -> None:
    """Every parameter has its field, under the API's own name, and the structs hold nothing else."""
    params = V1["endpoints"][name]["params"]
    assert sorted(fields_at_every_depth(ROWS[name].request)) == sorted(names_at_every_depth(params))


def typed_like(value: Any, facts: Json) -> bool:
    """Whether a value from a body is of its parameter's type."""
    if isinstance(value, bool) is not (facts["type"] == "boolean"):
        return False
    if not isinstance(value, JSON_TYPES[facts["type"]]):
        return False
    if facts.get("number_as_text"):
        return str(value).isdecimal()
    entries: list[Any] = value if isinstance(value, list) else [value]
    if "item_type" in facts:
        return all(isinstance(entry, JSON_TYPES[facts["item_type"]]) for entry in entries)
    return all(
        typed_like(entry[name], inner) for entry in entries for name, inner in facts.get("items", {}).items()
    )


@pytest.mark.parametrize("name", ROWS)
def test_every_field_goes_over_the_wire_in_its_type(name: str) -> None:
    """A request with every field set becomes a body whose values have the types of the reference."""
    params = wanted(V1["endpoints"][name]["params"])
    encoded = msgspec.json.encode(to_wire(filled(ROWS[name].request), lambda media: media.url or ""))
    body = msgspec.json.decode(encoded)
    assert set(body) == set(params)
    assert [key for key, facts in params.items() if not typed_like(body[key], facts)] == []


@each_field
def test_what_is_required_is_required(path: str, field: Field, facts: Json) -> None:
    """No more and no less than the vendor asks for."""
    assert field.required is facts["required"]
    ours = field.name in NO_DEFAULT_OF_THEIRS and path not in LEFT_OUT
    assert field.optional is (not facts["required"] and not ours)


@each_field
def test_the_bounds_are_the_same(path: str, field: Field, facts: Json) -> None:
    """Least and greatest value, most characters, least and most entries."""
    node = field.type
    least, most = facts.get("min"), facts.get("max")
    if isinstance(node, mi.LiteralType) and facts.get("number_as_text"):
        assert {str(n) for n in node.values} == set(facts["enum"])
    elif facts.get("number_as_text") and "enum" in facts:
        least, most = int(facts["enum"][0]), int(facts["enum"][-1])
        assert facts["enum"] == [str(n) for n in range(least, most + 1)]
    least, most = OWN_BOUNDS.get(field.name, (least, most))
    bounds = {
        "ge": least,
        "le": most,
        "max_length": facts.get("max_chars", facts.get("max_items")),
        "min_length": facts.get("min_items"),
    }
    assert {name: getattr(node, name, None) for name in bounds} == bounds
    assert [getattr(node, name, None) for name in ("gt", "lt", "multiple_of", "pattern")] == [None] * 4


@each_field
def test_closed_words_are_the_same_and_open_ones_are_open(path: str, field: Field, facts: Json) -> None:
    """A closed enum is a Literal of just these words, or a truth sent as them; an open one takes any text."""
    words = facts.get("enum")
    if words is None or facts.get("open"):
        assert not isinstance(field.type, mi.LiteralType)
    elif isinstance(field.type, mi.BoolType):
        form = field.extra.get("wire")
        assert {checks._wire_value(v, form, str) for v in (True, False)} == set(words)
    elif isinstance(field.type, mi.LiteralType):
        form = field.extra.get("wire")
        assert {checks._wire_value(v, form, str) for v in field.type.values} == set(words)
    else:
        assert facts.get("number_as_text")


@each_field
def test_what_the_annotations_say_is_true(path: str, field: Field, facts: Json) -> None:
    """Defaults, units and models that our annotations tell are the reference's (retired models left out)."""
    said = field.extra
    if "default" in said:
        value = checks._wire_value(said["default"], said.get("wire"), str)
        assert value == facts["default"]
    if "unit" in said:
        assert said["unit"] == facts["unit"]
    if "models" in said:
        model_name: Json = V1["endpoints"][path.partition(".")[0]]["params"]["model_name"]
        assert set(said["models"]) == set(facts["models"]) - set(model_name.get("retired", ()))
    assert ("media" in said) is ("media" in facts)


FILES = [(path, field, facts["media"]) for path, field, facts in ALL if "media" in facts]


@pytest.mark.parametrize(("path", "field", "media"), FILES, ids=[path for path, _, _ in FILES])
def test_the_files_are_held_to_the_same_limits(path: str, field: Field, media: Json) -> None:
    """How a file may be handed over, its formats, and of what we see ourselves its size and shape."""
    limits = field.extra["media"]
    assert [limits.url, limits.base64] == [way in media["accepts"] for way in ("url", "base64")]
    assert set(limits.formats) == set(media["formats"]) - {"jpg"}
    if limits.base64:
        names = ("max_mb", "min_side_px", "max_side_px", "aspect_min", "aspect_max")
        assert {name: getattr(limits, name) for name in names} == {name: media.get(name) for name in names}


# --- results -----------------------------------------------------------------------------------

RESULT_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (mi.StrType,),
    "int": (mi.IntType,),
    "long": (mi.IntType,),
    "float": (mi.FloatType,),
    "boolean": (mi.BoolType,),
    "array": (mi.VarTupleType,),
    "object": (mi.StructType, mi.DictType),
}


def result_fields(kind: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, Field, type]]:
    """Every field of a result by the path the reference gives it, and the struct it is of."""
    for field in fields(kind):
        if field.name == "raw":
            continue
        yield path + field.wire_name, field, kind
        inner = struct_of(field)
        if inner is not None:
            array = "[]" if isinstance(field.type, mi.VarTupleType) else ""
            yield from result_fields(inner, f"{path}{field.wire_name}{array}.")


def documented(name: str) -> dict[str, str]:
    """Paths and types of an answer; where the answer is an array, below the field that takes it."""
    facts = V1["endpoints"][name]
    prefix = f"{ROWS[name].array}[]." if facts["result_at"] == "data[]" else ""
    told = {**facts["result"], **facts.get("result_task_info", {})}
    return {prefix + path: text.partition(";")[0] for path, text in told.items()}


SHARED: Final = {
    (kind, field.name)
    for name, row in ROWS.items()
    for path, field, kind in result_fields(row.result)
    if path in documented(name)
}
"""Fields that at least one answer documents, by the struct that several answers share."""


@pytest.mark.parametrize("name", ROWS)
def test_a_result_has_every_field_the_vendor_names(name: str) -> None:
    """Every path of the documented answer is a field of its type; others only where another answer has it."""
    wanted_paths = documented(name)
    found = {path: (field, kind) for path, field, kind in result_fields(ROWS[name].result)}
    assert [path for path in wanted_paths if path not in found] == []
    for path, (field, kind) in found.items():
        if path in wanted_paths:
            kinds = field.type.types if isinstance(field.type, mi.UnionType) else (field.type,)
            assert any(isinstance(k, RESULT_TYPES[wanted_paths[path]]) for k in kinds), path
        elif not any(p.startswith((path + ".", path + "[].")) for p in wanted_paths):
            assert (kind, field.name) in SHARED or path.endswith("[]") or path == ROWS[name].array, path


@pytest.mark.parametrize("name", ROWS)
def test_an_empty_answer_is_a_result(name: str) -> None:
    """No field of a result is required: what the vendor drops tomorrow breaks nothing."""
    assert results.decode_result(ROWS[name].result, b"{}") == ROWS[name].result()


# --- examples ----------------------------------------------------------------------------------

EXAMPLES: Final = [name for name in ROWS if "example" in V1["endpoints"][name]]


def from_wire(kind: type[msgspec.Struct], body: Json) -> Any:
    """The request that a body came from; written for these tests, and the other way round than ours."""
    by_wire = {field.wire_name: field for field in fields(kind)}
    return kind(**{by_wire[name].name: value_from(by_wire[name], value) for name, value in body.items()})


def value_from(field: Field, value: Any) -> Any:
    inner = struct_of(field)
    if isinstance(field.type, mi.BoolType) and isinstance(value, str):
        return {"on": True, "yes": True, "off": False, "no": False}[value]
    if isinstance(field.type, mi.LiteralType) and str(value).isdecimal():
        return int(value)
    if isinstance(field.type, mi.IntType | mi.FloatType) and isinstance(value, str):
        return float(value) if isinstance(field.type, mi.FloatType) else int(value)
    if inner is None or value in (None, ""):
        return value
    if isinstance(value, list):
        items: list[Json] = value
        return [from_wire(inner, item) for item in items]
    return from_wire(inner, value)


def without_empty(value: Any) -> Any:
    """A body without what is sent empty, which counts as left out."""
    if isinstance(value, dict):
        pairs: Json = value
        return {k: without_empty(v) for k, v in pairs.items() if v not in ("", [])}
    return value


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_vendor_s_example_is_a_request_of_ours(name: str) -> None:
    """The body of every example comes out of our encoder as it stands, and our check accepts it."""
    body = V1["endpoints"][name]["example"]["request"]
    body = {k: v for k, v in body.items() if k not in OF_THE_CALL}
    request = from_wire(ROWS[name].request, body)
    checks._warned.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        check(request)
    sent = msgspec.json.decode(msgspec.json.encode(to_wire(request, lambda media: media.url or "")))
    expected = without_empty(body)
    assert {k: v for k, v in sent.items() if k in expected} == expected
    assert set(sent) - set(expected) <= NO_DEFAULT_OF_THEIRS


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_vendor_s_answers_decode(name: str) -> None:
    """The create's answer is a task, the finished one holds the typed result, a call's answer is one."""
    example, row = V1["endpoints"][name]["example"], ROWS[name]
    answers = [
        decode_envelope(msgspec.json.encode(example[k])) for k in ("response", "finished") if k in example
    ]
    if isinstance(row, Call):
        result = results.decode_result(row.result, bytes(answers[0].data), array=row.array)
        assert result == row.result() or result.raw
        return
    created, finished = (decode_task(name, answer.data) for answer in answers)
    assert created.task_id == finished.task_id
    result = results.result_of(row, finished)
    assert result != row.result()
    assert result.raw == example["finished"]["data"]["task_result"]


def addresses(value: Any) -> set[str]:
    """Every address in a piece of an answer."""
    if isinstance(value, dict):
        return {found for item in value.values() for found in addresses(item)}
    if isinstance(value, list):
        return {found for item in value for found in addresses(item)}
    return {value} if isinstance(value, str) and value.startswith("https://") else set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_address_in_an_answer_is_a_file_of_its_result(name: str) -> None:
    """Videos, images, sounds, elements, voices and faces, the clean ones and the marked copies apart."""
    example, row = V1["endpoints"][name]["example"], ROWS[name]
    answer = example.get("finished", example["response"])["data"]
    answer = answer if isinstance(row, Call) else answer["task_result"]
    result = results.decode_result(row.result, msgspec.json.encode(answer), array=getattr(row, "array", ""))
    clean, marked = ({file.url for file in result.files(watermarked=w)} for w in (False, True))
    assert clean | marked == addresses(answer)
    assert not clean & marked
