"""Every field of every endpoint, at every depth: type, bounds, words and files, one wrong value at a time.

The facts come from the tests' own copy, not from the emulator's, so that mistakes in either show.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from kling_async.emulator.judging.judge import judge_body
from kling_async.emulator.judging.reference import REFERENCE
from kling_async.emulator.judging.refusals import Refusal
from tests.emulator.facts import ENDPOINTS
from tests.emulator.support import jpeg, png, sound

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDED = {("text_to_speech", "voice_speed")}
"""Fields that the vendor rounds to their bounds instead of refusing."""
GOOD: dict[str, Any] = {"string": "x", "int": 1, "long": 1, "float": 1.0, "boolean": True}
WRONG: dict[str, Any] = {"string": 7, "int": "1", "long": "1", "float": "1", "boolean": "true"}
WRONG |= {"object": [], "array": {}}


class Field(NamedTuple):
    """One field and its path in the body."""

    endpoint: str
    path: tuple[str, ...]
    facts: dict[str, Any]

    @property
    def sure(self) -> bool:
        """Whether a good source confirms the facts about the field."""
        return bool(self.facts.get("sure", True))

    @property
    def dotted(self) -> str:
        """Name of the field in a refusal, with index 0 after each array."""
        row = ENDPOINTS[self.endpoint]["params"]
        text = ""
        for name in self.path:
            text += f".{name}" if text else name
            if row[name]["type"] == "array" and name != self.path[-1]:
                text += "[0]"
            row = row[name].get("items", {})
        return text


def walk(endpoint: str, params: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[Field]:
    """Yield the fields of a body, nested ones included."""
    for name, facts in params.items():
        if facts.get("send") is False or facts.get("in") == "query":
            continue
        yield Field(endpoint, (*above, name), facts)
        yield from walk(endpoint, facts.get("items", {}), (*above, name))


FIELDS = [field for name, row in ENDPOINTS.items() for field in walk(name, row["params"])]


def fit(facts: dict[str, Any]) -> Any:
    """Return a value that the facts allow."""
    if facts["type"] == "object":
        return {name: fit(item) for name, item in facts.get("items", {}).items() if item["required"]}
    if facts["type"] == "array":
        entry = fit({**facts, "type": "object"}) if "items" in facts else fit({**facts, "type": "string"})
        return [entry] * facts.get("min_items", 1)
    if "media" in facts:
        return "https://example.com/file" if "url" in facts["media"]["accepts"] else sound("mp3", 8)
    words = [word for word in facts.get("enum", ()) if word not in facts.get("retired", ())]
    if words:
        return words[0]
    if facts.get("number_as_text"):
        return f"{facts.get('min', 1):g}"
    return max(GOOD[facts["type"]], facts.get("min", 0)) if "min" in facts else GOOD[facts["type"]]


def body_with(field: Field, value: Any) -> dict[str, Any]:
    """Return a body of the endpoint's required fields in which one more field has this value."""
    params = ENDPOINTS[field.endpoint]["params"]
    body = {name: fit(facts) for name, facts in params.items() if facts["required"] and "in" not in facts}
    if "model_name" in params:
        body["model_name"] = fit({**params["model_name"], "retired": retired(field.endpoint)})
    at: Any = body
    for name in field.path[:-1]:
        facts = params[name]
        at.setdefault(name, fit(facts))
        at[name] = copy.deepcopy(at[name])
        at = at[name][0] if facts["type"] == "array" else at[name]
        params = facts["items"]
    at[field.path[-1]] = value
    return body


def retired(endpoint: str) -> list[str]:
    """Return the models that the emulator refuses at an endpoint because they ended."""
    return REFERENCE.endpoints[endpoint].params["model_name"].get("retired", [])


def verdict(endpoint: str, body: dict[str, Any]) -> str:
    """Return the message of the refusal of a body, empty if its fields pass."""
    try:
        judge_body(REFERENCE.endpoints[endpoint], body)
    except Refusal as refusal:
        return refusal.message
    return ""


def wrong_values(facts: dict[str, Any], name: str = "") -> Iterator[Any]:
    """Yield values that each break one bound. Ids that are whole numbers may come as text."""
    as_text = facts.get("number_as_text")
    if "also_type" not in facts:
        yield "one" if facts["type"] == "long" and name.endswith("_id") else WRONG[facts["type"]]
    if "enum" in facts and not facts.get("open"):
        yield "no such word" if facts["type"] == "string" else 4711
    if "max_chars" in facts:
        yield "x" * (facts["max_chars"] + 1)
    if "min" in facts:
        yield f"{facts['min'] - 1:g}" if as_text else facts["min"] - 1
    if "max" in facts:
        yield f"{facts['max'] + 1:g}" if as_text else facts["max"] + 1
    if as_text:
        yield "five"
    if facts["type"] == "array" and "max_items" in facts:
        yield [fit(facts)[0]] * (facts["max_items"] + 1)
    if facts["type"] == "array" and facts.get("min_items", 0) > 1:
        yield [fit(facts)[0]] * (facts["min_items"] - 1)


def by_name(field: Field) -> str:
    """Return the id of the test of a field."""
    return f"{field.endpoint}:{'.'.join(field.path)}"


@pytest.mark.parametrize("field", FIELDS, ids=by_name)
def test_a_fitting_value_passes_and_an_empty_one_is_unset(field: Field) -> None:
    """An allowed value passes; null and the empty string count as an unset field."""
    facts = field.facts
    if field.path == ("model_name",):
        facts = {**facts, "retired": retired(field.endpoint)}
    assert verdict(field.endpoint, body_with(field, fit(facts))) == ""
    for empty in (None, ""):
        said = verdict(field.endpoint, body_with(field, empty))
        if field.facts["required"] and field.sure:
            assert said == f"Missing Request Parameter: {field.dotted}"
        else:
            assert said == "" or "model" in said


@pytest.mark.parametrize("field", [field for field in FIELDS if field.sure], ids=by_name)
def test_each_bound_is_kept(field: Field) -> None:
    """One step beyond each bound, the field is refused by its name."""
    if (field.endpoint, field.path[-1]) in ROUNDED:
        assert verdict(field.endpoint, body_with(field, 5.0)) == ""
        return
    for value in wrong_values(field.facts, field.path[-1]):
        assert field.dotted in verdict(field.endpoint, body_with(field, value)), value


@pytest.mark.parametrize("field", [field for field in FIELDS if not field.sure], ids=by_name)
def test_unconfirmed_fields_have_no_bounds(field: Field) -> None:
    """Of an unconfirmed field only the type counts, because the vendor may accept more."""
    values = {"string": "no such word", "array": [{"element_id": 1}] * 9, "object": {}}
    assert verdict(field.endpoint, body_with(field, values[field.facts["type"]])) == ""


# --- files -------------------------------------------------------------------------------------

FILES = [field for field in FIELDS if "media" in field.facts]


def as_value(field: Field, file: str) -> Any:
    """Return a file that a media field accepts."""
    return [file] * 2 if field.facts["type"] == "array" else file


@pytest.mark.parametrize("field", FILES, ids=by_name)
def test_files_and_addresses_are_taken_as_each_field_does(field: Field) -> None:
    """URLs and bare Base64 of the right kind are accepted; videos only as URLs."""
    media = field.facts["media"]
    file = sound("mp3", 8) if media["kind"] == "audio" else png(400, 400)
    said = verdict(field.endpoint, body_with(field, as_value(field, file)))
    assert said == "" if "base64" in media["accepts"] else "it must be a URL" in said
    said = verdict(field.endpoint, body_with(field, as_value(field, "https://example.com/a")))
    assert said == "" if "url" in media["accepts"] else "not Base64" in said
    if "base64" in media["accepts"]:
        said = verdict(field.endpoint, body_with(field, as_value(field, "data:x;base64," + file)))
        assert "without the data: prefix" in said
        assert "Base64" in verdict(field.endpoint, body_with(field, as_value(field, "x!")))
        assert "format is invalid" in verdict(field.endpoint, body_with(field, as_value(field, "aGFsbG8=")))


@pytest.mark.parametrize("field", [f for f in FILES if f.facts["media"]["kind"] == "image"], ids=by_name)
def test_pictures_have_a_size_and_a_shape(field: Field) -> None:
    """Pictures pass exactly at the limits of size and shape, and fail beyond them."""
    media = field.facts["media"]

    def said(file: str) -> str:
        return verdict(field.endpoint, body_with(field, as_value(field, file)))

    if "min_side_px" in media:
        assert said(jpeg(300, 300)) == "" and "at least 300px" in said(jpeg(299, 400))
    else:
        assert said(jpeg(10, 10)) == ""
    if "aspect_max" in media:
        assert said(png(750, 300)) == "" and "aspect ratio" in said(png(751, 300))
        assert said(png(300, 750)) == "" and "aspect ratio" in said(png(300, 751))
    else:
        assert said(png(300, 900)) == ""
    if "max_side_px" in media:
        assert "at most 65536px" in said(png(65537, 65537))


SOUNDS = [field for field in FILES if field.facts["media"]["kind"] == "audio"]


@pytest.mark.parametrize("field", [f for f in SOUNDS if "base64" in f.facts["media"]["accepts"]], ids=by_name)
def test_sounds_have_a_length_and_a_weight(field: Field) -> None:
    """Sounds of the four formats pass up to 5 MB, and fail if the file tells a length out of bounds."""
    media = field.facts["media"]

    def said(file: str) -> str:
        return verdict(field.endpoint, body_with(field, file))

    assert [said(sound(kind, 8)) for kind in ("mp3", "wav", "m4a", "aac")] == [""] * 4
    assert "larger than 5MB" in said(sound("wav", 8, extra=5 * 1024 * 1024))
    if "min_s" in media:
        assert "duration must be between 2 and" in said(sound("wav", 1.9))
        assert "duration must be between 2 and" in said(sound("mp3", 1.9))
        assert "duration must be between" in said(sound("mp3", media["max_s"] + 1))
