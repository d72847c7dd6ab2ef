"""json_bridge.py and schema.py: requests out of JSON and back, and the schemas that describe them."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given

from kling_async import RawTask, RequestInvalid, json_schema, media, request_from_dict, v1
from kling_async.wire.fields import fields
from tests.fuzz.bodies import bodies, drawing
from tests.fuzz.judging import ROWS, value_from
from tests.support import png
from tests.v1.test_reference import struct_of

Json = dict[str, Any]

CASES: Final = int(os.environ.get("KLING_FUZZ_CASES", "150")) // 5
PICTURE: Final = base64.b64encode(png(320, 320)).decode()
SIGNED: Final = "https://cdn.example/a.png?sig=SECRET"
SHOTS: Final = [{"index": 1, "prompt": "a", "duration": 2}, {"index": 2, "prompt": "b", "duration": 3}]
SHOOT: Final[Json] = {"duration": 5, "multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}


def problems_of(kind: Any, data: object, **options: Any) -> dict[str, str]:
    """Return the problems of reading some data, by field."""
    with pytest.raises(RequestInvalid) as caught:
        kind.from_dict(data, **options)
    assert len({field for field, _ in caught.value.problems}) == len(caught.value.problems)
    return dict(caught.value.problems)


# --- every endpoint ------------------------------------------------------------------------------


def in_our_words(kind: Any, body: Json) -> Json:
    """Return a body of the API under the names and in the values of our fields, as plain data."""
    known = {field.wire_name: field for field in fields(kind)}
    return {known[name].name: plain_value(known[name], value) for name, value in body.items()}


def plain_value(field: Any, value: Any) -> Any:
    """Return one value of a body as our field takes it."""
    inner = struct_of(field)
    if inner is None:
        return value_from(field, value)
    if isinstance(value, list):
        return [in_our_words(inner, item) if isinstance(item, dict) else item for item in value]
    return in_our_words(inner, value) if isinstance(value, dict) else value


def has_blanks(value: Any) -> bool:
    """Tell whether a field is set to nothing, which counts as not set, or as an error where it is needed."""
    if isinstance(value, dict):
        return any(map(has_blanks, value.values()))
    if isinstance(value, list):
        return any(map(has_blanks, value))
    return value is None or value == ""


def reading(kind: Any, data: Json) -> tuple[Any, list[str]]:
    """Return the request, or None with the words of its problems."""
    try:
        return kind.from_dict(data), []
    except RequestInvalid as error:
        return None, [text for _, text in error.problems]


def fits(schema: Json, data: Json) -> bool:
    """Tell whether data are valid by a schema."""
    valid: bool = jsonschema.Draft202012Validator(schema).is_valid(data)
    return valid


@pytest.mark.parametrize("name", [name for name in ROWS if not name.startswith("v2.")])
def test_every_request_goes_into_json_and_comes_back(name: str) -> None:
    """What can be read is equal after the way through JSON, by type and by name; schema and reader agree."""
    kind, schema = ROWS[name].request, json_schema(name)
    read: list[bool] = []

    @drawing(CASES)
    @given(body=bodies(name))
    def judged(body: Json) -> None:
        data = in_our_words(kind, body)
        request, texts = reading(kind, data)
        read.append(request is not None)
        if request is None:
            about_files = ("address", "Base64", "takes the file", "must not be empty")
            unseen = all(any(word in text for word in about_files) for text in texts)
            assert unseen or not fits(schema, data), (texts, data)
            return
        assert has_blanks(data) or fits(schema, data), data
        whole = json.loads(json.dumps(request.to_dict(), allow_nan=False))
        assert whole["endpoint"] == name
        assert kind.from_dict(whole) == request == request_from_dict(whole)
        assert has_blanks(data) or fits(schema, whole), whole

    judged()
    assert sum(read) >= 0.15 * len(read)


@pytest.mark.parametrize("name", ROWS)
def test_every_schema_is_one_and_names_the_fields_with_their_descriptions(name: str) -> None:
    """Draft 2020-12 accepts the schema; every field is described; results have a schema of their own."""
    kind, schema = ROWS[name].request, json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json_schema(kind)
    assert schema["properties"].pop("endpoint")["const"] == name
    assert list(schema["properties"]) == [field.name for field in fields(kind)]
    assert all(field["description"] for field in schema["properties"].values())
    result = json_schema(ROWS[name].result)
    assert all(field["description"] for field in result["properties"].values())
    jsonschema.Draft202012Validator.check_schema(result)
    jsonschema.validate(ROWS[name].result().to_dict(), result)


def test_a_schema_has_bounds_words_and_defaults() -> None:
    """Numbers as text are numbers, words an enum, files an address or Base64, and nothing else is taken."""
    schema = json_schema("image_to_video")
    shown = schema["properties"]
    assert {"type": "integer", "minimum": 3, "maximum": 15, "default": 5}.items() <= shown["duration"].items()
    assert sorted(shown["mode"]["enum"]) == ["4k", "pro", "std"]
    assert shown["mode"]["default"] == "std"
    assert shown["sound"]["type"] == "boolean"
    assert [form.get("format") for form in shown["image"]["anyOf"]] == ["uri", None]
    assert shown["multi_prompt"]["items"] == {"$ref": "#/$defs/Shot"}
    assert schema["$defs"]["Shot"]["required"] == ["index", "prompt", "duration"]
    assert schema["additionalProperties"] is False
    assert "extra" not in shown


# --- strictness ----------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_each_at_its_field() -> None:
    """Unknown, missing, mistyped and unbounded fields, nested ones too, come in one error."""
    data = {
        "endpoint": "text_to_vidoe",
        "promt": "x",
        "external_task_id": "mine",
        "a.b": 1,
        "mode": "turbo",
        "duration": "5",
        "cfg_scale": float("nan"),
        "sound": "on",
        "model_name": ["kling-v3"],
        "camera_control": "simple",
        "multi_prompt": [{**SHOTS[0], "prmpt": "x"}, {"index": 9, "duration": 1}, 5, None] * 2,
    }
    found = problems_of(v1.TextToVideo, data)
    words = {
        "endpoint": "must be 'text_to_video'",
        "promt": "did you mean 'prompt'?",
        "external_task_id": "submit(",
        "['a.b']": "no such field",
        "mode": "'turbo' is not one of",
        "duration": "must be a whole number, not str",
        "cfg_scale": "nan",
        "sound": "must be True or False",
        "model_name": "must be text, not list",
        "camera_control": "must be an object, not text",
        "multi_prompt": "at most 6",
        "multi_prompt[0].prmpt": "did you mean 'prompt'?",
        "multi_prompt[1].index": "at most 6",
        "multi_prompt[1].prompt": "is required",
        "multi_prompt[2]": "must be an object, not a number",
        "multi_prompt[3]": "must not be empty",
    }
    assert {field: words[field] for field in words if words[field] not in found[field]} == {}
    assert {field for field in found if field not in words} == {
        f"multi_prompt[{at + 4}]{rest}" for at, rest in enumerate((".prmpt", ".index", "", ""))
    } | {"multi_prompt[5].prompt"}


@pytest.mark.parametrize("data", [[], "text", None, 5])
def test_a_request_is_an_object(data: object) -> None:
    """Other JSON is refused as a whole."""
    assert "must be an object" in problems_of(v1.TextToVideo, data)["the request"]
    with pytest.raises(RequestInvalid, match="must be an object"):
        request_from_dict(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"prompt": "x"}, "endpoint: is required; one of text_to_video, "),
        ({"endpoint": "text2video"}, "no such endpoint 'text2video'; did you mean 'text_to_video'?"),
        ({"endpoint": "raw_task", "path": "/v1/x", "body": {}}, "no such endpoint 'raw_task'"),
        ({"endpoint": 5}, "no such endpoint '5'"),
    ],
)
def test_an_endpoint_must_be_known(data: Json, words: str) -> None:
    """A missing or unknown endpoint is an error that suggests; raw tasks, which nothing checks, are none."""
    with pytest.raises(RequestInvalid, match=r"endpoint: ") as caught:
        request_from_dict(data)
    assert words in str(caught.value)


def test_rules_between_fields_are_left_to_the_check() -> None:
    """A request that rules refuse today can be read, so that a stored one is found again."""
    request = v1.TextToVideo.from_dict({"duration": 15, "model_name": "kling-v2-6"})
    assert request.duration == 15


def test_python_keeps_extra_and_raw_tasks() -> None:
    """Fields that a class lacks, and a task without types, come back too; ``extra`` must be JSON."""
    request = v1.TextToVideo(prompt="x", extra={"new": [1, {"deep": None}]})
    assert v1.TextToVideo.from_dict(request.to_dict()) == request
    raw = RawTask(path="/v1/videos/new", body={"prompt": "x"}, weight=2)
    assert RawTask.from_dict(json.loads(json.dumps(raw.to_dict()))) == raw
    assert "extra" in problems_of(v1.TextToVideo, {"prompt": "x", "extra": {"n": float("inf")}})
    assert set(problems_of(v1.TextToVideo, {"promt": "x", "extra": [1], "duration": {}})) == {
        *("promt", "extra", "duration")
    }
    with pytest.raises(RequestInvalid, match="extra"):
        v1.TextToVideo(prompt="x", extra={"n": float("inf")}).to_dict()


@pytest.mark.parametrize("number", [5, 15])
def test_a_whole_number_may_be_written_as_a_fraction(number: int) -> None:
    """JSON has one kind of number, and its schemas take 5.0 for an integer; 5.5 is none."""
    request = v1.TextToVideo.from_dict({"prompt": "x", "duration": float(number)})
    assert request.duration == number and type(request.duration) is int
    for odd in (number + 0.5, 1e300, float("inf"), float("nan"), -5.0):
        assert list(problems_of(v1.TextToVideo, {"prompt": "x", "duration": odd})) == ["duration"]


def test_a_part_goes_into_json_and_comes_back_alone() -> None:
    """Parts are read as strictly, without an endpoint and without extra."""
    shot = v1.Shot(index=1, prompt="a", duration=2)
    assert shot.to_dict() == SHOTS[0]
    assert v1.Shot.from_dict(shot.to_dict()) == shot
    assert v1.TextToVideo.from_dict({"multi_prompt": [shot]}).multi_prompt == (shot,)
    wrong = {**SHOTS[0], "endpoint": "text_to_video", "extra": {}, "index": 9}
    assert set(problems_of(v1.Shot, wrong)) == {"endpoint", "extra", "index"}


def test_a_deep_list_is_a_wrong_type_and_no_crash() -> None:
    """A list in place of a text, nested deeper than functions can be, is refused by its type."""
    deep = json.loads("[" * 500 + "]" * 500)
    assert "must be text" in problems_of(v1.TextToVideo, {"prompt": deep})["prompt"]


# --- files ---------------------------------------------------------------------------------------

REFUSED: Final = [
    "/etc/passwd",
    "cat.png",
    "../cat.png",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
    "ftp://a.example/x.png",
    "http://a.example/x.png",
    "HTTP://a.example/x.png",
    "http://[::1/x.png",
    "https://",
    "no base64!",
    5,
    True,
    {"url": SIGNED},
    {"path": "/etc/passwd"},
    ["https://a.example/x.png"],
]


@pytest.mark.parametrize("value", REFUSED, ids=str)
def test_a_text_never_opens_a_file(value: object) -> None:
    """From JSON a file is an https address or Base64, and nothing else."""
    assert list(problems_of(v1.ImageToVideo, {"prompt": "x", "image": value})) == ["image"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SIGNED, media(SIGNED)),
        ("http://127.0.0.1:8000/x.png", media("http://127.0.0.1:8000/x.png")),
        (PICTURE, media(png(320, 320))),
        (f"data:image/png;base64,{PICTURE}", media(png(320, 320))),
        (png(320, 320), media(png(320, 320))),
        (Path("cat.png"), media(Path("cat.png"))),
        (media(Path("cat.png")), media(Path("cat.png"))),
    ],
    ids=["https", "this machine", "Base64", "data", "bytes", "Path", "Media"],
)
def test_a_file_is_an_address_or_base64_and_in_python_all_that_a_request_takes(
    value: object, expected: object
) -> None:
    """Addresses, Base64, and Python's own values for files are read."""
    assert v1.ImageToVideo.from_dict({"prompt": "x", "image": value}).image == expected


def test_bytes_are_written_as_base64() -> None:
    """A request with bytes goes through JSON."""
    request = v1.ImageToVideo(prompt="x", image=png(320, 320))
    assert request.to_dict()["image"] == PICTURE
    assert v1.ImageToVideo.from_dict(request.to_dict()) == request


def test_paths_are_read_and_written_below_a_folder(tmp_path: Path) -> None:
    """With ``files=`` a text with a dot is a path below the folder; one without a suffix gets its dot."""
    request = v1.ImageToVideo(prompt="x", image=tmp_path / "in" / "cat.png", image_tail=tmp_path / "AAAA")
    data = request.to_dict(files=tmp_path)
    assert (data["image"], data["image_tail"]) == ("in/cat.png", "./AAAA")
    assert (
        v1.ImageToVideo.from_dict(data, files=tmp_path)
        == request
        == request_from_dict(data, files=str(tmp_path))
    )
    assert v1.ImageToVideo.from_dict({"image": PICTURE, "prompt": "x"}, files=tmp_path).image == media(
        PICTURE
    )


@pytest.mark.parametrize(
    "text", ["/etc/passwd.d", "../x.png", "a/../../x.png", "link/x.png", "a\0.png", "loop/a.b"]
)
def test_no_path_leads_out_of_the_folder(tmp_path: Path, text: str) -> None:
    """Absolute paths, dots, and links to elsewhere are refused, each way."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "link").symlink_to(tmp_path)
    (tmp_path / "files" / "loop").symlink_to("loop")
    found = problems_of(v1.ImageToVideo, {"prompt": "x", "image": text}, files=tmp_path / "files")
    assert "below the folder" in found["image"]


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (Path("cat.png"), {}, "give files="),
        (Path("/other/cat.png"), {"files": "/media"}, "not below"),
        (Path("/media/../cat.png"), {"files": "/media"}, "not below"),
        ("http://a.example/x.png", {}, "https"),
    ],
)
def test_what_could_not_be_read_is_not_written(source: Any, options: Json, words: str) -> None:
    """A file of this machine and an insecure address are refused with the way out."""
    with pytest.raises(RequestInvalid, match="image: ") as caught:
        v1.ImageToVideo(prompt="x", image=source).to_dict(**options)
    assert words in str(caught.value)


def test_a_request_shows_its_addresses_cut_where_asked() -> None:
    """``signed=False`` cuts addresses before the query, wherever they stand."""
    request = v1.OmniVideo(prompt=f"as in {SIGNED}", image_list=(v1.OmniVideoImage(image_url=SIGNED),))
    assert "SECRET" in str(request.to_dict())
    assert "SECRET" not in str(request.to_dict(signed=False))
    assert request.to_dict(signed=False)["image_list"] == [{"image_url": "https://cdn.example/a.png"}]
