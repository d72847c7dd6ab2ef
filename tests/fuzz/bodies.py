"""Request bodies drawn from the reference alone: right ones, and ones with a field or two wrong."""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.fuzz.crossed import CROSSES, crossed
from tests.fuzz.whole import whole
from tests.reference import V1
from tests.support import png

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

Json = dict[str, Any]

WORDS: Final = ("a fox", "rain on <<<video_1>>>", "<<<image_1>>> and <<<element_1>>>", "<<<voice_1>>> sings")
PICTURE: Final = base64.b64encode(png(320, 320)).decode()
SOUND: Final = base64.b64encode(b"ID3\x04" + bytes(60)).decode()
OF_THE_CALL: Final = {"external_task_id", "callback_url"}
"""Parameters that belong to the submit, not to the request."""

AS_NUMBER: Final = {"custom_elements.delete": {"number_as_text": True, "max": 10**17}}
"""Facts that the reference lacks: this parameter is an id, a number that is sent as text."""


@functools.cache
def params_of(endpoint: str) -> Json:
    """Return the parameters that a request may hold, by their names on the wire."""
    return {
        facts.get("name", name): facts | AS_NUMBER.get(endpoint, {})
        for name, facts in V1["endpoints"][endpoint]["params"].items()
        if facts.get("send", True) and name not in OF_THE_CALL
    }


@functools.cache
def right_fields(endpoint: str) -> st.SearchStrategy[Json]:
    """Draw bodies each field of which is right by itself."""
    return objects(params_of(endpoint))


@functools.cache
def right_values(endpoint: str, name: str) -> st.SearchStrategy[Any]:
    """Draw right values of one parameter."""
    return values(params_of(endpoint)[name])


def drawing(cases: int) -> settings:
    """Settings for that many examples: the same ones in every run, without a time limit."""
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


KINDS: Final = (
    *("right", "one wrong", "one wrong", "one wrong", "crossed", "crossed", "crossed", "crossed"),
    *("mixed", "mixed", "drawn"),
)


@st.composite
def bodies(draw: DrawFn, endpoint: str) -> Json:
    """Draw a body of one endpoint, by one of the `KINDS`.

    right: every field is right and the fields agree. From such a body come those with one wrong field, those
    crossed with fields that meet a rule between fields, and mixed ones, where some fields are drawn anew or
    dropped. drawn: each field is right by itself, and the fields need not agree.
    """
    params = params_of(endpoint)
    body = draw(right_fields(endpoint))
    kind = draw(st.sampled_from(KINDS))
    if kind == "drawn":
        return body
    body = whole(draw, endpoint, body)
    if kind == "crossed" and endpoint in CROSSES:
        return crossed(body, draw(st.sampled_from(CROSSES[endpoint])), params)
    if kind == "one wrong":
        return draw(wronged(body, params))
    if kind == "mixed":
        for name in draw(st.lists(st.sampled_from(sorted(params)), min_size=1, max_size=4, unique=True)):
            fresh = draw(right_values(endpoint, name))
            body = changed(body, name, DROPPED if name in body and draw(st.booleans()) else fresh)
    return body


@st.composite
def crossings(draw: DrawFn, endpoint: str, cross: Json) -> Json:
    """Draw a right body and lay fields over it that meet a rule between fields."""
    params = params_of(endpoint)
    return crossed(whole(draw, endpoint, draw(right_fields(endpoint))), cross, params)


def objects(params: Json) -> st.SearchStrategy[Json]:
    """Draw objects with every required field and some of the others."""
    needed = {name: values(facts) for name, facts in params.items() if facts.get("required")}
    others = {name: values(facts) for name, facts in params.items() if not facts.get("required")}
    return st.fixed_dictionaries(needed, optional=others)


def values(facts: Json) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line a kind
    """Draw values of one parameter that its own facts allow."""
    if "media" in facts and facts["type"] != "array":
        return media(facts["media"])
    match facts["type"]:
        case "array":
            entries = values_within(facts)
            low = facts.get("min_items", 0)
            return st.lists(entries, min_size=low, max_size=min(facts.get("max_items", low + 3), low + 3))
        case "object":
            return objects(facts.get("items", {}))
        case "boolean":
            return st.booleans()
    if "enum" in facts:
        served = [word for word in facts["enum"] if word not in facts.get("retired", ())]
        return st.sampled_from(served or facts["enum"])
    if facts.get("number_as_text"):
        return numbers(facts).map(str)
    if facts["type"] == "string":
        return st.sampled_from([word for word in WORDS if len(word) <= facts.get("max_chars", 3000)])
    return numbers(facts)


def values_within(facts: Json) -> st.SearchStrategy[Any]:
    """Draw entries of an array that its facts allow."""
    if "items" in facts:
        return objects(facts["items"])
    return media(facts["media"]) if "media" in facts else st.sampled_from(WORDS)


def numbers(facts: Json) -> st.SearchStrategy[Any]:
    """Draw numbers within the bounds."""
    low, high = facts.get("min", 0), facts.get("max", facts.get("min", 0) + 20)
    if facts["type"] == "float":
        return st.integers(0, 20).map(lambda n: round(low + (high - low) * n / 20, 4))
    return st.integers(int(low), int(high))


def media(facts: Json) -> st.SearchStrategy[str]:
    """Draw the address of a file, or its Base64 text where that is accepted."""
    kind = facts["kind"].partition("|")[0]
    suffix = {"image": "png", "audio": "mp3", "video": "mp4"}[kind]
    choices = []
    if "url" in facts["accepts"]:
        choices.append(f"https://a.example/file.{suffix}")
    if "base64" in facts["accepts"]:
        choices.append(PICTURE if kind == "image" else SOUND)
    return st.sampled_from(choices)


def wronged(body: Json, params: Json) -> st.SearchStrategy[Json]:
    """Draw a body with one field spoiled: missing, empty, of another type, out of bounds, an unknown word."""
    if not body:
        return st.just(body)
    return st.sampled_from(sorted(body)).flatmap(
        lambda name: wrong_values(body[name], params[name]).map(lambda value: changed(body, name, value))
    )


DROPPED: Final = object()


def changed(body: Json, name: str, value: Any) -> Json:
    """Return a copy with one field changed, or without it for `DROPPED`."""
    rest = {key: item for key, item in body.items() if key != name}
    return rest if value is DROPPED else {**rest, name: value}


def wrong_values(value: Any, facts: Json) -> st.SearchStrategy[Any]:
    """Draw values to put in the place of a right one; most of them are wrong."""
    found: list[Any] = [DROPPED, ""]
    if facts.get("number_as_text"):
        found += ["0", "999", "five", 5]
    elif facts["type"] == "string":
        found += [
            "nonsense",
            *facts.get("retired", ())[:1],
            5,
            True,
            "x" * (facts.get("max_chars", 3000) + 1),
        ]
    elif facts["type"] in ("int", "float", "long"):
        found += [facts.get("min", 0) - 1, facts.get("max", 10**6) + 1, "five", True]
    elif facts["type"] == "boolean":
        found += ["true", 1]
    elif facts["type"] == "array":
        most = facts.get("max_items", 10)
        found += [[], ([*value] * most)[:most], [*value] * (most + 1), "text"]
    else:
        found += [[], 5]
    within: list[st.SearchStrategy[Any]] = [st.sampled_from(found)]
    if isinstance(value, dict) and value:
        within.append(wronged(value, facts["items"]))
    if isinstance(value, list) and value and "items" in facts:
        within.append(wronged(value[0], facts["items"]).map(lambda one: [one, *value[1:]]))
    return st.one_of(within)
