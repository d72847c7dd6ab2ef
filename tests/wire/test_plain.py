"""Test wire/plain.py and wire/coercion.py: values of any scalar type become plain, at every depth."""

from __future__ import annotations

import enum
import fractions
import numbers
from decimal import Decimal
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import RawTask, v1
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import check, to_wire
from kling_async.wire.endpoints import check_id, check_path
from kling_async.wire.media import Media, media
from kling_async.wire.plain import EXACT, plain, plain_json, wrong_json


class Text(str):
    """A text as libraries subclass it, such as ``numpy.str_``: its own conversions say something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not this"

    def __repr__(self) -> str:
        return "Text(...)"


class Whole(int):
    """A whole number of a library."""

    def __int__(self) -> int:
        raise AssertionError("asked for another number")

    __index__ = __trunc__ = __int__


class Real(float):
    """A number of a library, such as ``numpy.float64``."""

    def __float__(self) -> float:
        raise AssertionError("asked for another number")


class Int64:
    """A whole number that is no `int`, such as ``numpy.int64``."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


numbers.Integral.register(Int64)


class Fields(dict[Any, Any]):
    """An object of a library."""


class Entries(list[Any]):
    """An array of a library."""


def one_of(kind: Any, value: Any, **more: Any) -> Any:
    """Return the one member of an enum of some kind."""
    return kind("Plain", {"ONE": value}, **more)["ONE"]


def member(value: Any) -> Any:
    """Return the one member of an enum with this value."""
    return one_of(enum.Enum, value)


def strange(value: Any) -> st.SearchStrategy[Any]:
    """Draw a value that means the same as a plain one, of another type."""
    match value:
        case bool() | None:
            return st.just(value)
        case str():
            mixed = one_of(enum.Enum, value, type=str)
            strenum = one_of(enum.StrEnum, value)
            return st.sampled_from([value, Text(value), member(value), mixed, strenum, member(Text(value))])
        case int():
            intenum = one_of(enum.IntEnum, value)
            return st.sampled_from([value, Whole(value), Int64(value), member(value), intenum])
        case float():
            return st.sampled_from([value, Real(value), member(value)])
        case dict():
            items = {name: strange(item) for name, item in value.items()}
            return st.fixed_dictionaries(items).map(
                lambda made: Fields({Text(name): item for name, item in made.items()})
            )
        case list():
            return st.tuples(*map(strange, value)).map(Entries)
        case _:
            raise TypeError(value)


SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
JSON: Final = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", max_size=2), inner), max_leaves=8
)


def types_in(value: Any) -> set[type]:
    """Return the types at every depth."""
    found = {type(value)}
    if isinstance(value, dict):
        found |= {kind for pair in value.items() for part in pair for kind in types_in(part)}
    elif isinstance(value, list | tuple):
        found |= {kind for item in value for kind in types_in(item)}
    return found


@given(data=st.data())
def test_what_means_the_same_becomes_the_same(data: st.DataObject) -> None:
    """At every depth subclasses, numbers of libraries and members of enums become exact types."""
    wanted = data.draw(JSON)
    made = plain_json(data.draw(strange(wanted)))
    assert made == wanted
    assert types_in(made) <= EXACT | {dict, list}
    assert msgspec.json.encode(made, order="sorted") == msgspec.json.encode(wanted, order="sorted")


@given(data=st.data())
def test_extra_and_bodies_are_plain(data: st.DataObject) -> None:
    """Fields of the API that no class has are coerced like those it has."""
    wanted = data.draw(st.dictionaries(st.text("abc", max_size=2), JSON, max_size=3))
    given_ = data.draw(strange(wanted))
    task = RawTask(path=Text("/v1/x"), body=given_, extra=given_)
    assert task == RawTask(path="/v1/x", body=wanted, extra=wanted)
    check(task)
    assert msgspec.json.decode(msgspec.json.encode(to_wire(task, str)))["body"] == task.body


def test_a_request_keeps_its_own_extra() -> None:
    """Later changes of the caller's object do not reach a request."""
    extra: dict[str, Any] = {"a": {"b": 1}}
    task = RawTask(path="/v1/x", body={}, extra=extra)
    extra["a"]["b"] = 2
    assert task.extra == {"a": {"b": 1}}


NOT_PLAIN: Final = [
    *(Decimal("0.5"), fractions.Fraction(1, 2), 1j, object(), b"x", bytearray(b"x"), {1}),
    *(member(object()), str, len, iter([1]), range(2), memoryview(b"x")),
]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=lambda value: type(value).__name__)
def test_what_is_no_scalar_stays(value: Any) -> None:
    """Whatever is no text and no number is left for the check to name."""
    assert plain(value) is value


FIELDS: Final = {
    "prompt": "text",
    "duration": "a whole number",
    "cfg_scale": "a number",
    "sound": "True or False",
    "mode": "text",
    "multi_prompt": "a list or tuple",
    "camera_control": "of type CameraControl",
    "image_list": "a list or tuple",
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [*NOT_PLAIN, {}], ids=lambda value: type(value).__name__)
def test_a_value_of_another_type_is_named(field: str, value: Any) -> None:
    """The error names the field, what it takes, and the type that was given."""
    kind: Any = v1.MultiImageToVideo if field == "image_list" else v1.TextToVideo
    values: dict[str, Any] = {"prompt": "a fox", field: value}
    with pytest.raises(RequestInvalid) as caught:
        check(kind(**values))
    text = dict(caught.value.problems)[field]
    assert text == f"must be {FIELDS[field]}, not {type(value).__name__}"


def test_a_namesake_of_a_builtin_is_named_with_its_module() -> None:
    """``numpy.bool`` is no ``bool``: without its module the error would contradict itself."""
    namesake: Any = type("bool", (), {"__module__": "library"})
    with pytest.raises(RequestInvalid, match=r"sound: must be True or False, not library\.bool"):
        check(v1.TextToVideo(prompt="a fox", sound=namesake()))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, {"b": float("nan")}]}, "['a'][1]['b'] is nan, which is no number there"),
        ({"a": float("-inf")}, "['a'] is -inf, which is no number there"),
        ({"a": Decimal("0.5")}, "['a'] is a Decimal; use float(...), or str(...) where it wants text"),
        ({None: 1}, "Only dicts with str-like or number-like keys are supported"),
        ({"a": object()}, "Encoding objects of type object is unsupported"),
        ({"a": 1j}, "Encoding objects of type complex is unsupported"),
        ({"a": 10**5000}, "Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_named(value: Any, text: str) -> None:
    """What the encoder would refuse, or turn into something else in silence, is told with its place."""
    told = wrong_json(value)
    assert told is not None and told.startswith(f"cannot be sent as JSON: {text}")


def test_a_circle_is_named() -> None:
    """An object that contains itself is no JSON; it can still be put into a request, whose check tells."""
    circle: dict[str, Any] = {}
    circle["again"] = circle
    with pytest.raises(RequestInvalid, match="contains itself"):
        check(RawTask(path="/v1/x", body=circle))


# --- ids, paths and files ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [5, b"x", None, object(), ["x"]])
def test_ids_and_paths_of_another_type_are_named(value: Any) -> None:
    """What becomes part of an address is text."""
    with pytest.raises(RequestInvalid, match=f"name: must be text, not {type(value).__name__}"):
        check_id(value, "name")
    with pytest.raises(RequestInvalid, match=f"path: must be text, not {type(value).__name__}"):
        check_path(value)


def test_ids_paths_and_files_are_plain() -> None:
    """Subclasses of text and bytes are taken for what they are."""
    octets = type("Octets", (bytes,), {})
    made = [check_id(Text("a"), "id"), check_path(Text("/a")), media(Text("https://a.example/x")).url]
    made += [Media(url=Text("https://a.example/x")).url, Media(path=Text("x")).path]
    assert [type(value) for value in made] == [str] * 5
    assert type(media(octets(b"x")).data) is type(Media(data=octets(b"x")).data) is bytes


@pytest.mark.parametrize(
    "values", [{"url": 5}, {"url": b"x"}, {"data": "x"}, {"path": b"x"}, {"path": ["x"]}]
)
def test_a_media_of_a_wrong_type_is_named(values: dict[str, Any]) -> None:
    """The error names the field of the `Media` and the type that was given."""
    [(name, value)] = values.items()
    with pytest.raises(TypeError, match=rf"Media\({name}=\.\.\.\) must be .*, not {type(value).__name__}"):
        Media(**values)


def test_every_wrong_file_of_a_list_is_named() -> None:
    """The path has the number of the entry; a file object is told how to be given."""
    with open(__file__, "rb") as file, pytest.raises(RequestInvalid) as caught:  # noqa: PTH123
        v1.InputImage(image=[b"x", 5, file])  # type: ignore[arg-type]
    assert dict(caught.value.problems) == {
        "image[1]": "must be an address, bytes or a Path, not int",
        "image[2]": "must be an address, bytes or a Path, not BufferedReader; pass what its read() returns",
    }
