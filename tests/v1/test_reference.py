"""Our types against the facts: no field missing, none too many, none with other bounds or words.

The facts are a trimmed copy of what was collected about the API; see tests/trim_reference.py.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from msgspec import inspect as mi

from kling_async import catalog, checks, results, v1
from kling_async.checks import Field, check, fields, to_wire
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.inputs import Media
from kling_async.v1 import capabilities
from tests.reference import V1

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

CATALOG: Final[list[Any]] = [*catalog.TASKS, *catalog.CALLS]
ROWS: Final = {row.name: row for row in CATALOG}
OF_THE_CALL: Final = {"external_task_id", "callback_url"}
"""Sent by submit(), not held by the request."""
OWN_BOUNDS: Final = {"element_id": (0, 2**63 - 1), "start_time": (0, None), "end_time": (0, None)}
"""Bounds that the reference does not spell out: what is outside is neither an id of 64 bits nor a time."""
NO_DEFAULT_OF_THEIRS: Final = {"model_name"}
"""Ours is a constant of our own: theirs is retired, or was until lately."""
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
        name: facts for name, facts in params.items() if facts.get("send", True) and name not in OF_THE_CALL
    }


def walk(kind: type[msgspec.Struct], params: Json, path: str) -> Iterator[tuple[str, Field, Json]]:
    """Every field of a struct beside its facts, at every depth."""
    for field in fields(kind):
        facts = params.get(field.name)
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


def sample(field: Field) -> Any:
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
            assert inner is not None
            return (filled(inner),)
        case mi.StructType():
            return Media(url="https://a.example/x") if node.cls is Media else filled(node.cls)
        case _:
            return "text"


def filled(kind: type[msgspec.Struct]) -> Any:
    """A struct with every field set."""
    return kind(**{field.name: sample(field) for field in fields(kind)})


# --- fields ------------------------------------------------------------------------------------


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
        yield path + field.name
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
    assert field.optional is (not facts["required"] and field.name not in NO_DEFAULT_OF_THEIRS)


@each_field
def test_the_bounds_are_the_same(path: str, field: Field, facts: Json) -> None:
    """Least and greatest value, most characters, least and most entries."""
    node = field.type
    least, most = facts.get("min"), facts.get("max")
    if facts.get("number_as_text") and "enum" in facts:
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
    elif not facts.get("number_as_text"):
        assert isinstance(field.type, mi.LiteralType)
        assert set(field.type.values) == set(words)


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
        model_name = V1["endpoints"][path.partition(".")[0]]["params"]["model_name"]
        assert set(said["models"]) == set(facts["models"]) - set(model_name["retired"])
    assert ("media" in said) is ("media" in facts)


# --- results -----------------------------------------------------------------------------------

RESULT_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (mi.StrType,),
    "int": (mi.IntType,),
    "long": (mi.IntType,),
    "float": (mi.FloatType,),
    "array": (mi.VarTupleType,),
}


def result_fields(kind: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, Field]]:
    for field in fields(kind):
        if field.name == "raw":
            continue
        yield path + field.name, field
        inner = struct_of(field)
        if inner is not None:
            yield from result_fields(inner, f"{path}{field.name}[].")


@pytest.mark.parametrize("name", ROWS)
def test_a_result_has_every_field_the_vendor_names(name: str) -> None:
    """Every path of the documented answer is a field of its type, and there is no other."""
    documented = V1["endpoints"][name]["result"]
    found = dict(result_fields(ROWS[name].result))
    assert sorted(found) == sorted(documented)
    for path, field in found.items():
        kinds = field.type.types if isinstance(field.type, mi.UnionType) else (field.type,)
        word = documented[path].partition(";")[0]
        assert any(isinstance(kind, RESULT_TYPES[word]) for kind in kinds), path


@pytest.mark.parametrize("name", ROWS)
def test_an_empty_answer_is_a_result(name: str) -> None:
    """No field of a result is required: what the vendor drops tomorrow breaks nothing."""
    assert results.decode_result(ROWS[name].result, b"{}") == ROWS[name].result()


# --- models ------------------------------------------------------------------------------------

VIDEO_ROWS = V1["video_models"]
VIDEO_MODELS = sorted({row["model"] for row in VIDEO_ROWS})
RETIRED_VIDEO = set(V1["retired"]["video"])
RETIRED_IMAGE = set(V1["retired"]["image"])
FEATURES: Final[dict[str, Json]] = {
    "": {},
    "sound": {"sound": True},
    "multi_shot": {"multi_shot": True, "shot_type": "intelligence"},
    "camera_control": {"camera_control": v1.CameraControl(type="down_back")},
    "cfg_scale": {"cfg_scale": 0.5},
}


def judged(request: Any) -> str:
    """What the check makes of a request: its first wrong field, ``?`` and a field, or nothing."""
    checks._warned.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(request)
        except RequestInvalid as error:
            return error.problems[0].field
    told = [str(w.message) for w in caught if issubclass(w.category, KlingWarning)]
    fields_told = {text.partition(".")[2].partition(":")[0] for text in told}
    return "".join(f"?{name}" for name in sorted(fields_told - {"model_name"}))


def modes(row: Json) -> tuple[str, ...]:
    """The modes of a row; of old models that the map gives none, clients sent std or pro."""
    return ("std", "pro") if row["mode"] == "any" else (row["mode"],)


def granted(model: str, mode: str, seconds: int, feature: str) -> str:
    """The same, by the reference's map."""
    rows = [r for r in VIDEO_ROWS if r["model"] == model and mode in modes(r)]
    if not rows:
        return "mode"
    rows = [r for r in rows if str(seconds) in r["durations"]]
    if not rows:
        return "duration"
    (row,) = rows
    if feature and row[feature] is False:
        return feature if row["sure"] else f"?{feature}"
    return ""


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_every_combination_of_a_video_model_is_judged_by_the_map(model: str) -> None:
    """Every mode, length and feature of a model: accepted where a row grants it, refused where none does."""
    for mode in ("std", "pro", "4k"):
        for seconds in range(3, 16):
            for feature, values in FEATURES.items():
                request = v1.TextToVideo(model_name=model, prompt="x", mode=mode, duration=seconds, **values)
                case = (mode, seconds, feature)
                assert (case, judged(request)) == (case, granted(*(model, *case)))


@pytest.mark.parametrize("row", VIDEO_ROWS, ids=lambda r: f"{r['model']}-{r['mode']}-{r['durations'][0]}s")
def test_every_row_of_the_video_map_accepts_and_refuses(row: Json) -> None:
    """The loop above is not vacuous: each row has something it grants and something it does not."""
    for mode in modes(row):
        seconds = int(row["durations"][0])
        verdicts = {granted(row["model"], mode, seconds, feature) for feature in FEATURES}
        assert "" in verdicts
        assert verdicts - {""}


IMAGE_FEATURES: Final[dict[str, Json]] = {
    "image": {"image": b"x"},
    "image_reference": {"image": b"x", "image_reference": "face"},
    "element_list": {"element_list": (v1.ElementRef(element_id=1),)},
    "resolution": {"resolution": "2k"},
}


@pytest.mark.parametrize("feature", IMAGE_FEATURES)
@pytest.mark.parametrize("row", V1["image_models"], ids=lambda r: r["model"])
def test_every_image_model_is_held_to_its_features(row: Json, feature: str) -> None:
    """References and elements by the map, or for ended models by the parameter's list; an image by all."""
    params = V1["endpoints"]["image_generation"]["params"]
    if feature in ("image", "resolution"):
        allowed = True
    elif "state" in row:
        allowed = row["model"] in params[feature]["models"]
    elif feature == "image_reference":
        allowed = bool(row["character_reference"] and row["face_reference"])
    else:
        allowed = bool(row["elements"])
    values = dict(IMAGE_FEATURES[feature])
    if "restyle only" in str(row["single_image"]):
        values["image"] = b"x"
        assert judged(v1.ImageGeneration(model_name=row["model"], prompt="x")) == "image"
    request = v1.ImageGeneration(model_name=row["model"], prompt="x", **values)
    assert judged(request) == ("" if allowed else feature)


@pytest.mark.parametrize("model", [*VIDEO_MODELS, *sorted(RETIRED_VIDEO), "kling-v99"])
def test_an_ended_or_unknown_video_model_warns_once_and_passes(model: str) -> None:
    """Only a model that is served passes in silence; none is refused for its name."""
    assert_warned_once(
        v1.TextToVideo(model_name=model, prompt="x"),
        retired=model in RETIRED_VIDEO,
        unknown=model == "kling-v99",
    )


@pytest.mark.parametrize("model", [r["model"] for r in V1["image_models"]] + ["kling-v99"])
def test_an_ended_or_unknown_image_model_warns_once_and_passes(model: str) -> None:
    """As for videos."""
    assert_warned_once(
        v1.ImageGeneration(model_name=model, prompt="x", image=b"x"),
        retired=model in RETIRED_IMAGE,
        unknown=model == "kling-v99",
    )


def assert_warned_once(request: Any, *, retired: bool, unknown: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
        check(request)
    texts = [str(w.message) for w in caught]
    assert len(texts) == retired + unknown
    if texts:
        assert request.model_name in texts[0]
        assert (V1["retired"]["date"] in texts[0]) is retired


def test_the_lists_of_ended_models_are_the_vendor_s() -> None:
    """And no default of ours is among them: it is a model that the maps know."""
    assert set(capabilities.RETIRED_VIDEO) == RETIRED_VIDEO
    assert set(capabilities.RETIRED_IMAGE) == RETIRED_IMAGE
    assert v1.DEFAULT_VIDEO_MODEL in set(VIDEO_MODELS) - RETIRED_VIDEO
    assert v1.DEFAULT_IMAGE_MODEL in {r["model"] for r in V1["image_models"]} - RETIRED_IMAGE
    assert v1.TextToVideo(prompt="x").model_name == v1.DEFAULT_VIDEO_MODEL
    assert v1.ImageGeneration(prompt="x").model_name == v1.DEFAULT_IMAGE_MODEL


def test_our_maps_hold_the_rows_of_the_reference() -> None:
    """No model of the reference is missing from our maps, and none was made up."""
    assert {row.model for row in capabilities.VIDEO} == set(VIDEO_MODELS)
    assert {row.model for row in capabilities.IMAGE} == {r["model"] for r in V1["image_models"]}
