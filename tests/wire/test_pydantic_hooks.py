"""pydantic_hooks.py: requests as bodies of FastAPI, results as its responses, by FastAPI itself."""

from __future__ import annotations

import dataclasses
import json
import pprint
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import httpx
import jsonschema
import pytest
from fastapi import Body, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from kling_async import TaskRecord, json_schema, v1
from kling_async.catalog import CALLS, TASKS
from kling_async.wire.pydantic_hooks import _location
from tests.fuzz.bodies import drawing

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

SIGNED: Final = "https://cdn.example/a.mp4?sig=SECRET"
SHOTS: Final = [{"index": 1, "prompt": "a", "duration": 2}, {"index": 2, "prompt": "b", "duration": 3}]
ROWS: Final[list[Any]] = [*TASKS, *CALLS]
Either = Annotated[v1.TextToVideo | v1.ImageToVideo, Body(discriminator="endpoint")]


def app() -> FastAPI:
    """Make an app with a route for one type, for one of two, for a list, and for a record."""
    made = FastAPI()

    @made.post("/videos")
    async def videos(request: v1.ImageToVideo) -> v1.Videos:
        return v1.Videos(videos=(v1.Video(id=request.prompt or "", url=SIGNED),), raw={"only": "in raw"})

    @made.post("/either")
    async def either(request: Either) -> Json:
        return {"kind": type(request).__name__, **request.to_dict()}

    @made.post("/many")
    async def many(requests: list[v1.TextToVideo]) -> v1.TextToVideo:
        return requests[-1]

    @made.get("/record")
    async def record() -> TaskRecord:
        return TaskRecord(endpoint="text_to_video", task_id="1")

    return made


async def post(path: str, body: Any) -> httpx.Response:
    """Post JSON to the app, in this process."""
    transport = httpx.ASGITransport(app=app())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as web:
        return await web.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def places(answer: httpx.Response) -> dict[tuple[str | int, ...], str]:
    """Return the words of a refusal by the places that they are about."""
    assert answer.status_code == 422, answer.text
    return {tuple(line["loc"]): line["msg"] for line in answer.json()["detail"]}


# --- bodies and responses ------------------------------------------------------------------------


async def test_a_body_is_a_request_and_a_result_the_response() -> None:
    """A bare annotation reads the body; the response holds addresses whole, and no raw."""
    answer = await post("/videos", {"prompt": "x", "image": SIGNED, "sound": True, "duration": 5})
    assert answer.status_code == 200
    (video,) = answer.json().pop("videos")
    assert (video["id"], video["url"]) == ("x", SIGNED)
    assert "raw" not in answer.text


async def test_a_wrong_body_is_refused_at_every_field() -> None:
    """One answer names each wrong field by its place, nested ones and rules between fields too."""
    body = {
        "promt": "x",
        "duration": 99,
        "image": "/etc/passwd",
        "mode": "turbo",
        "extra": {"new": 1},
        "multi_prompt": [SHOTS[0], {"index": 9, "duration": "2", "prmpt": "b"}],
    }
    found = places(await post("/videos", body))
    assert set(found) == {
        ("body", "promt"),
        ("body", "duration"),
        ("body", "image"),
        ("body", "mode"),
        ("body", "extra"),
        ("body", "multi_prompt", 1, "index"),
        ("body", "multi_prompt", 1, "duration"),
        ("body", "multi_prompt", 1, "prmpt"),
        ("body", "multi_prompt", 1, "prompt"),
    }
    assert found["body", "promt"] == "no such field; did you mean 'prompt'?"
    assert "Path" not in found["body", "image"]
    rules = places(await post("/videos", {"prompt": "x", "cfg_scale": 2}))
    assert set(rules) == {("body", "image"), ("body", "cfg_scale")}


@pytest.mark.parametrize("body", [[], "text", 5, [[]]])
async def test_other_json_is_refused_as_a_whole(body: Any) -> None:
    """What is no object is an error of the body itself."""
    assert set(places(await post("/videos", body))) == {("body",)}


async def test_the_endpoint_tells_the_members_of_a_union_apart() -> None:
    """With ``"endpoint"`` as discriminator only the type that is meant reads the body."""
    answer = await post("/either", {"endpoint": "image_to_video", "image": SIGNED, "prompt": "x"})
    assert answer.json()["kind"] == "ImageToVideo"
    found = places(await post("/either", {"endpoint": "text_to_video", "prompt": "x", "duration": 99}))
    assert set(found) == {("body", "text_to_video", "duration")}
    assert set(places(await post("/either", {"prompt": "x"}))) == {("body",)}


async def test_errors_of_a_plain_union_name_its_members() -> None:
    """Without a discriminator each member says what it refuses, and which one it is."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(v1.TextToVideo | v1.ImageToVideo).validate_python({"imag": "x"})
    members = {str(error["loc"][0]) for error in caught.value.errors()}
    assert [any(name in member for member in members) for name in ("TextTo", "ImageTo")] == [True, True]


async def test_a_result_is_read_from_what_to_dict_wrote() -> None:
    """A handler may answer with the plain data of a result, and a cache may hold a model with one."""
    made = FastAPI()

    @made.get("/", response_model=v1.Videos)
    async def show(right: bool) -> Json:
        return v1.Videos(videos=(v1.Video(id="1", url=SIGNED),)).to_dict() if right else {"videos": 5}

    transport = httpx.ASGITransport(app=made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as web:
        answer = await web.get("/", params={"right": True})
        assert answer.json()["videos"][0]["url"] == SIGNED
        assert (await web.get("/", params={"right": False})).status_code == 500


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_result_comes_back_from_its_plain_data(row: Any) -> None:
    """Validated from its own dump, a result is equal to itself."""
    adapter, value = TypeAdapter(row.result), row.result()
    assert adapter.validate_python(adapter.dump_python(value)) == value
    assert adapter.validate_json(adapter.dump_json(value)) == value


async def test_lists_of_requests_and_requests_as_responses() -> None:
    """A list reads each, an error names the entry; a request is written by to_dict()."""
    answer = await post("/many", [{"prompt": "x"}, {"prompt": "y", "multi_shot": False}])
    assert answer.json() == v1.TextToVideo(prompt="y", multi_shot=False).to_dict()
    assert set(places(await post("/many", [{"prompt": "x"}, {"promt": "y"}]))) == {
        ("body", 1, "promt"),
        ("body", 1, "prompt"),
    }


async def test_a_record_is_a_response() -> None:
    """Values other than results are responses too."""
    transport = httpx.ASGITransport(app=app())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as web:
        assert (await web.get("/record")).json() == TaskRecord(
            endpoint="text_to_video", task_id="1"
        ).to_dict()


ODD: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES: Final = [*v1.ImageToVideo.__struct_fields__, "promt", "", "a.b", "x[0]", "['y']", "request", "\ud800"]


async def test_no_body_breaks_the_server() -> None:
    """Any JSON, NaN and halves of characters included, is read or refused in an answer that can be sent."""
    bodies: list[Json] = [
        {"cfg_scale": float("nan"), "prompt": "\ud800", "\ud800": 1, "{x}": "{y}"},
        {"prompt": json.loads("[" * 500 + "]" * 500)},
        {"image": "A" * 5000 + "!"},
    ]

    @drawing(60)
    @given(body=st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4))
    def collect(body: Json) -> None:
        bodies.append(body)

    collect()
    transport = httpx.ASGITransport(app=app())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as web:
        for body in bodies:
            answer = await web.post(
                "/videos", content=json.dumps(body), headers={"content-type": "application/json"}
            )
            assert answer.status_code in (200, 422)
            assert len(answer.content) < 5000


# --- the page ------------------------------------------------------------------------------------


def test_the_page_shows_fields_bounds_and_words() -> None:
    """The OpenAPI document holds each type and part once, as `json_schema` describes them."""
    page = app().openapi()
    body = page["paths"]["/videos"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    answer = page["paths"]["/videos"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert (body, answer) == (
        {"$ref": "#/components/schemas/ImageToVideo"},
        {"$ref": "#/components/schemas/Videos"},
    )
    shown, schema = page["components"]["schemas"], json_schema("image_to_video")
    as_there = json.loads(json.dumps(schema).replace("#/$defs/", "#/components/schemas/"))
    assert shown["ImageToVideo"]["properties"] == as_there["properties"]
    assert shown["Shot"]["properties"] == as_there["$defs"]["Shot"]["properties"]
    assert shown["ImageToVideo"]["properties"]["duration"]["maximum"] == 15
    assert "extra" not in shown["ImageToVideo"]["properties"]
    assert set(shown["Video"]["properties"]) == {"id", "url", "watermark_url", "duration", "session_id"}
    either = page["paths"]["/either"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(either["discriminator"]["mapping"]) == {"text_to_video", "image_to_video"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_pydantic_takes_every_type(row: Any) -> None:
    """Each request and result has schemas in both directions; a request that lacks all is refused."""
    request, result = TypeAdapter(row.request), TypeAdapter(row.result)
    for adapter in (request, result):
        for schema in (adapter.json_schema(), adapter.json_schema(mode="serialization")):
            jsonschema.Draft202012Validator.check_schema(schema)
    value = row.result(raw={"only": 1})
    assert result.dump_python(result.validate_python(value)) == value.to_dict()
    assert json.loads(result.dump_json(value)) == value.to_dict()
    with pytest.raises(ValidationError) as caught:
        request.validate_json('{"nonsense": 1}')
    assert ("nonsense",) in [error["loc"] for error in caught.value.errors()]


def test_a_request_in_hand_is_checked_and_kept() -> None:
    """Pydantic takes an instance, unless the check refuses it."""
    adapter = TypeAdapter(v1.TextToVideo)
    request = v1.TextToVideo(prompt="x")
    assert adapter.validate_python(request) is request
    assert json.loads(adapter.dump_json(request)) == request.to_dict()
    with pytest.raises(ValidationError, match="at most 15"):
        adapter.validate_python(v1.TextToVideo(prompt="x", duration=99))


class Order(BaseModel):
    """A model of a user's own, with a request and a part of one inside."""

    request: v1.TextToVideo | v1.ImageToVideo
    camera: v1.CameraControl | None = None
    result: v1.Videos | None = None


def test_requests_parts_and_results_are_fields_of_models() -> None:
    """A model reads and writes them, names their fields at their places, and the endpoint decides alone."""
    data = {
        "request": {"endpoint": "image_to_video", "image": SIGNED, "prompt": "x"},
        "camera": {"type": "simple", "config": {"pan": 1.0}},
    }
    order = Order.model_validate_json(json.dumps(data))
    assert order.request == v1.ImageToVideo(image=SIGNED, prompt="x")
    assert order.camera == v1.CameraControl(type="simple", config=v1.CameraConfig(pan=1))
    whole = Order(request=order.request, camera=order.camera, result=v1.Videos()).model_dump(mode="json")
    assert whole == {
        "request": order.request.to_dict(),
        "camera": data["camera"],
        "result": {"videos": []},
    }
    with pytest.raises(ValidationError) as caught:
        Order.model_validate({**data, "camera": {"type": "simpel", "config": {"pan": 99, "span": 1}}})
    assert {error["loc"] for error in caught.value.errors()} == {
        ("camera", "type"),
        ("camera", "config", "pan"),
        ("camera", "config", "span"),
    }
    shown = Order.model_json_schema()["$defs"]
    assert {"CameraControl", "CameraConfig", "TextToVideo", "ImageToVideo", "Shot", "Videos"} <= set(shown)


@pytest.mark.parametrize(
    ("field", "steps"),
    [
        ("prompt", ("prompt",)),
        ("multi_prompt[1].prompt", ("multi_prompt", 1, "prompt")),
        ("image_list[0].image_url", ("image_list", 0, "image_url")),
        ("['a.b']", ("a.b",)),
        ("input['x[0]']", ("input", "x[0]")),
    ],
)
def test_a_path_has_its_steps(field: str, steps: tuple[str | int, ...]) -> None:
    """The path of a problem becomes the place of pydantic's error."""
    assert _location(field) == steps


# --- nobody else notices -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask", [dataclasses.is_dataclass, lambda value: hasattr(value, "__dataclass_fields__")]
)
def test_only_fastapi_takes_a_request_for_a_dataclass(ask: Callable[[Any], bool]) -> None:
    """Neither the type nor a request is a dataclass to others."""
    assert not ask(v1.TextToVideo)
    assert not ask(v1.TextToVideo(prompt="x"))
    assert pprint.pformat(v1.TextToVideo(prompt="x")).startswith("TextToVideo(")


@pytest.mark.real
def test_pydantic_is_not_loaded_unasked() -> None:
    """Reading, writing and describing requests needs no pydantic."""
    code = """
import sys
from kling_async import json_schema, request_from_dict, v1
request_from_dict(v1.TextToVideo(prompt="x").to_dict())
json_schema("text_to_video")
assert not [name for name in sys.modules if name.startswith(("pydantic", "fastapi", "aiohttp"))]
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
