"""The types of the second generation against the facts: no field missing, none too many, none other.

The facts are a trimmed copy of what was collected about the API; see tests/trim_reference.py.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec import inspect as mi

from kling_async import catalog, v2
from kling_async.v2.models import MODELS, model_row
from kling_async.wire.fields import Field, fields
from tests.reference import V2
from tests.v1.test_reference import struct_of
from tests.v2.walking import ENDPOINTS, TYPES, Json, own_fields, places, request_type, row_name

each_endpoint = pytest.mark.parametrize("name", ENDPOINTS)
ALL: Final = [
    (f"{name}:{place}", own_fields(name).get(place), facts, name)
    for name in ENDPOINTS
    for place, facts in places(name).items()
]
each_field = pytest.mark.parametrize(
    ("field", "facts", "name"), [row[1:] for row in ALL], ids=[r[0] for r in ALL]
)


def test_every_endpoint_has_a_row_and_a_path() -> None:
    """The creates go where the reference says, and no row is of our own invention."""
    paths = set()
    for name, facts in ENDPOINTS.items():
        row = catalog.endpoint_of(request_type(name))
        path = f"{row.path}/{facts['model']}" if row.model_in_path else row.path
        assert path == facts["create"]["path"]
        assert row.asked_at == facts["get"]["path"] == facts["list"]["path"]
        paths.add(row.name)
    assert paths == set(TYPES)


def test_pools_are_the_reference_s() -> None:
    """Pool and weight of each endpoint; what no page states is marked as not sure."""
    for name, facts in ENDPOINTS.items():
        row = catalog.endpoint_of(request_type(name))
        quota = facts["quota"]
        pool = "virtual_try_on" if quota["pool"] == "unsure" else quota["pool"]
        assert (row.pool, row.weight(None), row.sure) == (
            pool,
            int(quota["weight"]),
            quota.get("sure", True) and pool == quota["pool"],
        )


def test_every_model_has_its_row() -> None:
    """The table of models has just the models of the reference, at their endpoints."""
    wanted = {(row_name(name), facts["model"]) for name, facts in ENDPOINTS.items() if "model" in facts}
    assert {(row.endpoint, row.model) for row in MODELS} == wanted


@each_endpoint
def test_the_fields_are_the_parameters(name: str) -> None:
    """Every parameter that a model reads has its field at its place, and the request has no other one."""
    assert sorted(own_fields(name)) == sorted(places(name))


@each_field
def test_what_is_required_is_required(field: Field, facts: Json, name: str) -> None:
    """No more and no less than the vendor asks for; a field that some models require is one of all."""
    assert field.required is facts["required"]


@each_field
def test_repeated_entries_are_arrays(field: Field, facts: Json, name: str) -> None:
    """What may stand more than once is an array; how often it may is told by the model's row."""
    assert isinstance(field.type, mi.VarTupleType) is facts.get("repeats", False)
    if not facts.get("repeats"):
        return
    most, node = facts.get("max_items"), field.type
    assert isinstance(node, mi.VarTupleType)
    row = model_row(row_name(name), ENDPOINTS[name].get("model", ""))
    assert (node.max_length if row is None else row.reads[field.name]) == most
    assert (node.min_length or 0) == facts.get("min_items", 0)


@each_field
def test_words_and_bounds_are_the_same(field: Field, facts: Json, name: str) -> None:
    """A closed enum, a range, a length: by the model's row; of solutions, by the field itself."""
    node: Any = field.type
    if isinstance(node, mi.VarTupleType):
        node = node.item_type
    if isinstance(node, mi.Metadata):
        node = node.type
    row = model_row(row_name(name), ENDPOINTS[name].get("model", ""))
    words = None if facts.get("open") else facts.get("enum")
    if row is None or field.name == "watermark":
        if words is not None and not isinstance(node, mi.FloatType):
            assert set(node.values) == set(words)
        elif words is None:
            assert not isinstance(node, mi.LiteralType)
            bounds = (facts.get("min"), facts.get("max"), facts.get("max_chars"))
            assert tuple(getattr(node, key, None) for key in ("ge", "le", "max_length")) == bounds
        return
    bound = row.reads[field.name]
    if words is not None:
        assert isinstance(bound, tuple)
        assert set(bound) == set(words)
        if isinstance(node, mi.LiteralType):
            assert set(words) <= set(node.values)
        else:
            assert [node.ge, node.le] == [3, 15]
    elif "max_chars" in facts:
        assert bound == facts["max_chars"] <= node.max_length


def test_fields_of_the_types_are_no_narrower_than_the_widest_model() -> None:
    """Literals and bounds of the types are those of all models together."""
    for kind in {request_type(name) for name, facts in ENDPOINTS.items() if "model" in facts}:
        rows = [row for row in MODELS if row.endpoint == kind.endpoint_name]
        for field in fields(kind):
            bounds = [row.reads[field.name] for row in rows if field.name in row.reads]
            words = {word for bound in bounds if isinstance(bound, tuple) for word in bound}
            if isinstance(field.type, mi.LiteralType):
                assert set(field.type.values) == words, field.name
            lengths = [bound for bound in bounds if isinstance(bound, int)]
            if isinstance(field.type, mi.StrType) and lengths:
                assert field.type.max_length == max(lengths)


@each_field
def test_what_the_annotations_say_is_true(field: Field, facts: Json, name: str) -> None:
    """Defaults and units are the reference's."""
    said = field.extra
    assert said.get("default") == facts.get("default")
    assert said.get("unit") == facts.get("unit")


def medias() -> list[tuple[str, Any, Json]]:
    """Every file of a request with its limits and the facts; ``id`` of parts stands beside it."""
    found = []
    for path, field, facts, _ in ALL:
        if field is None:  # told by test_the_fields_are_the_parameters
            continue
        inner = struct_of(field)
        if inner is not None and "items" in facts:
            found += [
                (f"{path}.{part.name}", part.extra.get("media"), facts["items"][part.wire_name].get("media"))
                for part in fields(inner)
            ]
        else:
            found.append((path, field.extra.get("media"), facts.get("media")))
    return [row for row in found if row[1] is not None or row[2] is not None]


@pytest.mark.parametrize(("limits", "media"), [row[1:] for row in medias()], ids=[row[0] for row in medias()])
def test_the_files_are_held_to_the_same_limits(limits: Any, media: Json) -> None:
    """How a file may be handed over, its formats, and of what we see ourselves its size and shape."""
    assert limits.kind == media["kind"]
    assert [limits.url, limits.base64] == [way in media["accepts"] for way in ("url", "base64")]
    assert set(limits.formats) == set(media["formats"]) - {"jpg"}
    if limits.base64:
        names = ("max_mb", "min_side_px", "max_side_px", "aspect_min", "aspect_max")
        assert {name: getattr(limits, name) for name in names} == {name: media.get(name) for name in names}


@each_field
def test_parts_have_the_fields_of_their_entries(field: Field, facts: Json, name: str) -> None:
    """An entry of several fields is a part with just these."""
    inner = struct_of(field)
    if "items" not in facts:
        assert inner is None
        return
    assert inner is not None
    assert {part.wire_name: part.required for part in fields(inner)} == {
        key: item["required"] for key, item in facts["items"].items()
    }
    for part in fields(inner):
        node: Any = part.type
        assert getattr(node, "max_length", None) == facts["items"][part.wire_name].get("max_chars")


def test_open_words_are_known() -> None:
    """The lists of voices and figures, whose unknown words warn, are the reference's."""
    voices = V2["solution_voices"]
    assert list(v2.APPAREL_VOICES) == voices["clothing_dupe"]
    assert list(v2.PRESENTER_VOICES) == voices["talking_agent"]
    assert list(v2.AVATARS) == V2["avatars"]


def test_defaults_of_ours_are_alive() -> None:
    """Where the caller names no model, the model of the constant is one that the endpoint has."""
    for kind, model in (
        (v2.TextToVideo, v2.DEFAULT_VIDEO_MODEL),
        (v2.ImageToVideo, v2.DEFAULT_VIDEO_MODEL),
        (v2.OmniVideo, v2.DEFAULT_OMNI_VIDEO_MODEL),
        (v2.MotionControl, v2.DEFAULT_MOTION_MODEL),
    ):
        assert model_row(kind.endpoint_name, model) is not None
