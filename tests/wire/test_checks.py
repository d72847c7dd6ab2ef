"""Requests are checked whole before anything is paid, and become what the wire wants."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest
from msgspec import Meta
from msgspec import inspect as mi

from kling_async import catalog, v1
from kling_async.errors import KlingWarning, Problem, RequestInvalid
from kling_async.wire import checks  # noqa: TC001 - msgspec reads the annotations
from kling_async.wire.checks import Doubt, check, media_fields, to_wire, warn_once
from kling_async.wire.coercion import coerce
from kling_async.wire.fields import fields
from kling_async.wire.media import Media
from kling_async.wire.media_formats import IMAGE, Limits
from kling_async.wire.requests import Part, Request

LARGE = Limits(max_mb=50)


class Inner(Part, frozen=True, kw_only=True):
    """What stands inside."""

    word: Annotated[str, Meta(max_length=3)]
    seconds: Annotated[int, Meta(ge=1, extra={"wire": "text"})] = 1
    picture: Annotated[Media | str | bytes | Path, Meta(extra={"media": LARGE})] | None = None


class Sample(Request, frozen=True, kw_only=True, omit_defaults=True):
    """One field of every kind."""

    name: str = "default"
    text: Annotated[str, Meta(max_length=5)]
    note: Annotated[str, Meta(max_length=5)] | None = None
    number: Annotated[int, Meta(ge=-2, le=9)] | None = None
    length: Annotated[int, Meta(ge=1, extra={"wire": "text"})] | None = None
    scale: Annotated[float, Meta(ge=0, le=1)] | None = None
    pace: Annotated[float, Meta(extra={"wire": "text"})] | None = None
    flag: bool | None = None
    sound: Annotated[bool, Meta(extra={"wire": "on_off"})] | None = None
    keep: Annotated[bool, Meta(extra={"wire": "yes_no"})] | None = None
    mode: Literal["std", "pro", "4k"] | None = None
    image: Annotated[Media | str | bytes | Path, Meta(extra={"media": IMAGE})] | None = None
    inner: Inner | None = None
    words: Annotated[tuple[str, ...], Meta(max_length=2)] | None = None
    inners: Annotated[tuple[Inner, ...], Meta(min_length=1, max_length=2)] | None = None
    either: int | str | None = None
    anything: dict[str, Any] | None = None
    extra: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it

    rules: ClassVar[tuple[checks.Rule, ...]] = ()


class Ruled(Sample, frozen=True, kw_only=True, omit_defaults=True):
    """As `Sample`, with rules over several fields."""

    rules: ClassVar[tuple[checks.Rule, ...]] = (
        lambda r: [Problem("number", "is odd")] if (r.number or 0) % 2 else [],
        lambda r: [Doubt("note", "is ignored")] if r.note else [],
        lambda r: [Problem("text", "rhymes")] if r.text == "rhyme" else [],
    )


def problems(request: Any) -> dict[str, str]:
    """What is wrong with a request, field to text; the order of finding kept."""
    try:
        check(request)
    except RequestInvalid as error:
        return dict(error.problems)
    return {}


def sample(**values: Any) -> Sample:
    """A sample that is right but for what is given."""
    values.setdefault("text", "hello")
    return Sample(**values)


# --- each kind of problem ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "path", "text"),
    [
        pytest.param("text", "", "text", "must not be empty", id="required, empty"),
        pytest.param("text", " \n", "text", "must not be empty", id="required, blank"),
        pytest.param("text", None, "text", "must not be empty", id="required, None"),
        pytest.param("text", "hello!", "text", "has 6 characters; at most 5", id="text too long"),
        pytest.param("text", 5, "text", "must be text, not int", id="text of another type"),
        pytest.param("text", b"x", "text", "must be text, not bytes", id="text as bytes"),
        pytest.param("name", None, "name", "must not be None", id="not optional, None"),
        pytest.param("number", -3, "number", "-3 is too small; at least -2", id="number too small"),
        pytest.param("number", 10, "number", "10 is too large; at most 9", id="number too large"),
        pytest.param("number", 1.0, "number", "must be a whole number, not float", id="float for int"),
        pytest.param("number", True, "number", "must be a whole number, not bool", id="bool for int"),
        pytest.param("number", "3", "number", "must be a whole number, not str", id="text for int"),
        pytest.param("length", 0, "length", "0 is too small; at least 1", id="number sent as text"),
        pytest.param("scale", 1.25, "scale", "1.25 is too large; at most 1", id="float too large"),
        pytest.param("scale", -0.5, "scale", "-0.5 is too small; at least 0", id="float too small"),
        pytest.param("scale", math.nan, "scale", "nan is not a number the API knows", id="NaN"),
        pytest.param("scale", math.inf, "scale", "inf is not a number the API knows", id="infinity"),
        pytest.param("scale", True, "scale", "must be a number, not bool", id="bool for float"),
        pytest.param("scale", "1", "scale", "must be a number, not str", id="text for float"),
        pytest.param("flag", 1, "flag", "must be True or False, not int", id="int for bool"),
        pytest.param("sound", "on", "sound", "must be True or False, not str", id="the wire's word"),
        pytest.param("mode", "hd", "mode", "'hd' is not one of 'pro', 'std', '4k'", id="unknown word"),
        pytest.param(
            "mode",
            "x" * 99,
            "mode",
            f"'{'x' * 37}...' is not one of 'pro', 'std', '4k'",
            id="unknown word, shortened",
        ),
        pytest.param("mode", 4, "mode", "must be text, not int", id="word of another type"),
        pytest.param("words", ("a",) * 3, "words", "has 3 entries; at most 2", id="too many entries"),
        pytest.param("inners", (), "inners", "has 0 entries; at least 1", id="too few entries"),
        pytest.param("words", "ab", "words", "must be a list or tuple, not str", id="text for array"),
        pytest.param("words", ("a", 1), "words[1]", "must be text, not int", id="entry of another type"),
        pytest.param(
            "inner", {"word": "a"}, "inner", "must be of type Inner, not dict", id="dict for struct"
        ),
        pytest.param(
            "inner", Inner(word="abcd"), "inner.word", "has 4 characters; at most 3", id="inside a struct"
        ),
        pytest.param(
            "inners",
            (Inner(word="a"), Inner(word="a", seconds=0)),
            "inners[1].seconds",
            "0 is too small; at least 1",
            id="inside an entry",
        ),
        pytest.param(
            "inners", ({},), "inners[0]", "must be of type Inner, not dict", id="dict for an entry"
        ),
        pytest.param("inner", Inner(word=""), "inner.word", "must not be empty", id="required inside"),
        pytest.param("image", [b"x"], "image", "must be one file, not a list of files", id="array for media"),
        pytest.param("extra", None, "extra", "must be a dict", id="extra of another type"),
        pytest.param(
            "extra",
            {"external_task_id": "x"},
            "extra['external_task_id']",
            "belongs to the call: submit(..., external_task_id=...)",
            id="an id in extra",
        ),
        pytest.param(
            "extra",
            {"callback_url": ""},
            "extra['callback_url']",
            "belongs to the call: submit(..., callback_url=...)",
            id="a callback in extra",
        ),
    ],
)  # fmt: skip
def test_a_problem_is_named_by_field_and_text(field: str, value: Any, path: str, text: str) -> None:
    """Each kind of mistake gives one problem: its path, what is wrong and what would be right."""
    assert problems(sample(**{field: value})) == {path: text}


def test_what_cannot_be_json_is_refused_in_extra() -> None:
    """Objects and circles in ``extra`` are told before anything is sent."""
    circle: dict[str, Any] = {}
    circle["again"] = circle
    for extra in ({"x": object()}, {"x": {"y": "\ud800"}}, circle):
        assert problems(sample(extra=extra))["extra"].startswith("cannot be sent as JSON: ")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text": "h", "note": "12345", "number": -2, "length": 1, "scale": 0, "pace": 1e9},
        {"number": 9, "scale": 1, "flag": False, "sound": True, "keep": False, "mode": "4k"},
        {"image": b"x", "inner": Inner(word="abc"), "words": ["a", "b"], "inners": [Inner(word="a")] * 2},
        {"words": [], "either": 5, "anything": {}, "extra": {"seed": 7}},
        {"note": "", "mode": "", "number": "", "inner": ""},
    ],
    ids=["least", "lower bounds", "upper bounds", "nested", "without bounds", "empty is not set"],
)
def test_what_is_right_passes(values: dict[str, Any]) -> None:
    """Values at their very bounds, fields without bounds, and empty text anywhere are all fine."""
    check(sample(**values))


def test_every_error_is_reported_at_once() -> None:
    """One check finds all that is wrong, at every depth, in the order of the fields."""
    request = Ruled(
        text="", note="too long", number=11, scale=-1.0, inner=Inner(word="abcd"), extra={"callback_url": "x"}
    )
    with pytest.warns(KlingWarning, match=r"^Ruled\.note: is ignored$"):
        found = problems(request)
    assert list(found) == ["text", "note", "number", "scale", "inner.word", "extra['callback_url']"]
    assert found["number"] == "11 is too large; at most 9"


def test_rules_add_to_what_the_fields_say() -> None:
    """All rules run, but of a field that is wrong by itself (``number``, odd as well) they are not heard."""
    with pytest.raises(RequestInvalid) as caught:
        check(Ruled(text="rhyme", number=11))
    assert caught.value.problems == (
        Problem("number", "11 is too large; at most 9"),
        Problem("text", "rhymes"),
    )
    with pytest.raises(RequestInvalid) as caught:
        check(Ruled(text="rhyme", number=9))
    assert caught.value.problems == (Problem("number", "is odd"), Problem("text", "rhymes"))


@pytest.mark.parametrize(
    "wrong", [{"number": "3"}, {"inner": {}}, {"words": (1,)}, {"name": None}, {"text": None}]
)
def test_rules_do_not_run_on_wrong_types(wrong: dict[str, Any]) -> None:
    """A rule trusts the types: one wrong type anywhere and no rule is asked, nor warns."""
    request = Ruled(**dict[str, Any](text="rhyme", note="x") | wrong)
    assert len(problems(request)) == 1


# --- doubts ------------------------------------------------------------------------------------


def test_a_doubt_warns_once_per_process_and_text() -> None:
    """The same doubt is told once, another one again; neither refuses."""
    request = Ruled(text="a", note="x")
    with pytest.warns(KlingWarning, match=r"^Ruled\.note: is ignored$"):
        check(request)
    with pytest.warns(KlingWarning, match="other"):
        warn_once("other")
    check(request)  # a second warning would be an error here
    warn_once("other")


# --- what escapes the check --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        pytest.param(
            v1.ImageGeneration(prompt="x", n=10**400),
            "n",
            id="a number beyond floats",
        ),
        pytest.param(
            v1.ImageGeneration(prompt="x\ud800"),
            "prompt",
            id="a text that is no Unicode",
        ),
        pytest.param(
            v1.ImageGeneration(prompt="x", element_list=(v1.ElementRef(element_id=2**64),)),
            "element_list[0].element_id",
            id="a number beyond 64 bits",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_here(request_: Any, field: str) -> None:
    """Nothing that the check lets pass breaks later, after the request has queued."""
    assert list(problems(request_)) == [field]


@pytest.mark.parametrize("field", ["mode", "note", "number", "flag", "image", "inner", "words"])
def test_a_blank_is_refused_or_left_out(field: str) -> None:
    """Blank text counts as not set in the check, so it must not be sent either, whatever the field's type."""
    request = sample(number=1)
    msgspec.structs.force_setattr(request, field, " ")
    assert problems(request) or field not in to_wire(request, str)


# --- coercion ----------------------------------------------------------------------------------


def test_lists_become_tuples_and_sources_become_media() -> None:
    """At construction, so that a request is a value from the start."""
    made = sample(words=["a"], image=Path("x.png"), inners=[Inner(word="a")])
    assert (made.words, made.image, made.inners) == (("a",), Media(path="x.png"), (Inner(word="a"),))
    assert sample(image="https://a.example/x").image == Media(url="https://a.example/x")
    assert sample(image=None).image is None
    assert sample(image="").image == ""  # not set; left out of the body
    assert (sample(image=" ").image, sample(note=" \n").note) == ("", "")
    coerce(made)  # harmless to repeat
    assert made.words == ("a",)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        pytest.param(
            "SECRET.png",
            "is neither an http(s) address nor Base64; name a file by pathlib.Path(...)",
            id="file name as text",
        ),
        pytest.param(5, "must be an address, bytes or a Path, not int", id="number"),
        pytest.param(
            bytearray(b"SECRET"), "must be an address, bytes or a Path, not bytearray", id="bytearray"
        ),
    ],
)
def test_what_is_no_media_is_refused_at_construction(image: Any, text: str) -> None:
    """The error names the field and not what was given, which may be a payload."""
    with pytest.raises(RequestInvalid) as caught:
        sample(image=image)
    assert caught.value.problems == (Problem("image", text),)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__context__ is None


# --- reading the annotations -------------------------------------------------------------------


def test_fields_say_what_the_annotations_say() -> None:
    """Type without its wrapping, whether None is allowed, whether it is required, and the extras."""
    by_name = {f.name: f for f in fields(Sample)}
    assert "extra" not in by_name
    assert fields(Sample) is fields(Sample)
    assert by_name["text"].required and not by_name["text"].optional
    assert not by_name["name"].required and not by_name["name"].optional
    assert by_name["note"].optional and by_name["note"].type == mi.StrType(max_length=5)
    assert by_name["length"].extra == {"wire": "text"}
    assert by_name["image"].extra == {"media": IMAGE}
    assert by_name["either"].type == mi.UnionType((mi.IntType(), mi.StrType()))
    assert by_name["either"].optional


def test_every_media_is_found_with_its_path_and_limits() -> None:
    """Nested ones and those in arrays as well; addresses too, though they need no reading."""
    first, second = Inner(word="a", picture=Media(data=b"1")), Inner(word="b")
    third = Inner(word="c", picture=Media(data=b"3"))
    made = sample(image="https://a.example/x", inner=first, inners=[second, third], words=["a"])
    assert list(media_fields(made)) == [
        ("image", Media(url="https://a.example/x"), IMAGE),
        ("inner.picture", Media(data=b"1"), LARGE),
        ("inners[1].picture", Media(data=b"3"), LARGE),
    ]
    assert list(media_fields(sample())) == []


# --- the wire ----------------------------------------------------------------------------------


def load(media: Media) -> str:
    """The text of a media, as the driver would make it."""
    return media.url or base64.b64encode(media.data or b"").decode()


@pytest.mark.parametrize(
    ("values", "body"),
    [
        pytest.param({}, {}, id="unset is left out"),
        pytest.param({"note": "", "mode": "", "number": None}, {}, id="empty is left out"),
        pytest.param({"flag": False, "number": 0}, {"flag": False, "number": 0}, id="zeros are sent"),
        pytest.param({"length": 10}, {"length": "10"}, id="int as text"),
        pytest.param({"pace": 2.5}, {"pace": "2.5"}, id="float as text"),
        pytest.param({"pace": 5.0}, {"pace": "5"}, id="whole float as text"),
        pytest.param({"pace": 5}, {"pace": "5"}, id="int for a float as text"),
        pytest.param({"sound": True, "keep": True}, {"sound": "on", "keep": "yes"}, id="truths"),
        pytest.param({"sound": False, "keep": False}, {"sound": "off", "keep": "no"}, id="falsehoods"),
        pytest.param({"words": ["a", "b"]}, {"words": ["a", "b"]}, id="array"),
        pytest.param({"image": "https://a.example/?s"}, {"image": "https://a.example/?s"}, id="address"),
        pytest.param({"image": b"fox"}, {"image": "Zm94"}, id="bytes as bare Base64"),
        pytest.param(
            {"inner": Inner(word="a", seconds=3), "inners": [Inner(word="b", picture=Media(data=b"fox"))]},
            {
                "inner": {"word": "a", "seconds": "3"},
                "inners": [{"word": "b", "seconds": "1", "picture": "Zm94"}],
            },
            id="nested",
        ),
        pytest.param({"anything": {"deep": [1]}}, {"anything": {"deep": [1]}}, id="as it is"),
        pytest.param({"mode": "pro", "extra": {"mode": 1, "b": None}}, {"mode": 1, "b": None}, id="extra"),
    ],
)  # fmt: skip
def test_a_request_becomes_its_body(values: dict[str, Any], body: dict[str, Any]) -> None:
    """What is set, in the wire's form and under the API's names; ``extra`` is merged last."""
    assert to_wire(sample(**values), load) == {"name": "default", "text": "hello", **body}


def test_encoding_changes_nothing() -> None:
    """A request can be encoded again and again; the body is not the request's own ``extra``."""
    made = sample(extra={"a": 1})
    to_wire(made, load)["a"] = 2
    assert to_wire(made, load)["a"] == 1


ROWS: list[Any] = [*catalog.TASKS, *catalog.CALLS]
RULES = list(dict.fromkeys(rule for row in ROWS for rule in row.request.rules))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.__module__}.{rule.__name__}")
def test_every_rule_says_what_it_is_about(rule: Any) -> None:
    """The rules of requests are named functions with a docstring."""
    assert rule.__doc__
    assert rule.__name__ != "<lambda>"
