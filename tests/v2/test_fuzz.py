"""Bodies drawn from the reference: right ones pass the check of fields, a wrong value is refused."""

from __future__ import annotations

import warnings
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.wire.checks import problems_of, to_wire
from tests.fuzz.bodies import drawing
from tests.v2.walking import ENDPOINTS, Json, from_body, own_fields, places, sorted_body

URLS: Final = {
    "image": "https://a.example/x.png",
    "video": "https://a.example/x.mp4",
    "audio": "https://a.example/x.mp3",
}
OF_FIELDS: Final = (
    "is not one of",
    "characters",
    "entries",
    "too small",
    "too large",
    "offers",
    "does not read",
    "must be text",
    "must be a whole",
    "must be True or False",
    "must not be empty",
    "is required",
)
"""Words of what is wrong with a single field; rules between fields have others."""
BETWEEN: Final = ("with avatar_image", "where goods", "voice of its own", "must be text")
CASES: Final = 60


def right(facts: Json) -> st.SearchStrategy[Any]:
    """A value that the reference allows."""
    if "media" in facts:
        return st.just(URLS[facts["media"]["kind"]])
    if "enum" in facts:
        return st.sampled_from(facts["enum"])
    match facts["type"]:
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(facts.get("min", 0), facts.get("max", 99))
        case _:
            return st.text("abc 1", min_size=1, max_size=min(20, facts.get("max_chars", 20))).filter(
                str.strip
            )


def wrong(facts: Json) -> st.SearchStrategy[Any]:
    """A value that the reference forbids."""
    found: list[st.SearchStrategy[Any]] = [st.just([1])]
    if facts["type"] == "string" and "media" not in facts:
        found.append(st.just(5))
    if "max_chars" in facts and "enum" not in facts:
        found.append(st.just("x" * (facts["max_chars"] + 1)))
    if "enum" in facts and not facts.get("open"):
        found.append(st.just("480p" if facts["type"] == "string" else 2.5))
    if "max" in facts:
        found.append(st.sampled_from([facts["min"] - 1, facts["max"] + 1]))
    if facts["type"] in ("int", "boolean", "float"):
        found.append(st.just("x"))
    return st.one_of(found)


@st.composite
def bodies(draw: st.DrawFn, name: str, *, broken: bool) -> tuple[Json, str]:
    """A body by the reference, and the place of its wrong value; "" if it has none."""
    known = places(name)
    taken = [place for place, facts in known.items() if facts["required"] or draw(st.booleans())]
    leaves = [place for place in taken if "items" not in known[place]]
    at = draw(st.sampled_from(leaves)) if broken and leaves else ""
    body: Json = {}
    for place in taken:
        facts = known[place]
        count = draw(st.integers(max(1, facts.get("min_items", 1)), min(3, facts.get("max_items") or 3)))
        for _ in range(count if facts.get("repeats") else 1):
            put(body, place, entry(draw, facts, wanted=wrong if place == at else right))
    return body, at


def entry(draw: st.DrawFn, facts: Json, *, wanted: Any) -> Any:
    """A value of a place: a part has all its fields."""
    if "items" in facts:
        return {key: draw(right(inner)) for key, inner in facts["items"].items()}
    return draw(wanted(facts))


def put(body: Json, place: str, value: Any) -> None:
    """Put a value where the reference has it; written for these tests."""
    first, *rest = place.split(".")
    if first == "contents":
        made = value if len(rest) == 1 else {rest[1]: value}
        body.setdefault("contents", []).append({"type": rest[0], **made})
    elif rest:
        put(body.setdefault(first, {}), ".".join(rest), value)
    else:
        body[first] = value


def judged(name: str, body: Json) -> list[tuple[str, str]]:
    """The problems of the request that the body came from, with its model."""
    model = {"model_name": ENDPOINTS[name]["model"]} if "model" in ENDPOINTS[name] else {}
    try:
        request = from_body(name, body, **model)
    except RequestInvalid as error:
        return [(problem.field, problem.text) for problem in error.problems]
    return [(problem.field, problem.text) for problem in problems_of(request, lambda _: None)]


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_the_reference_allows_passes_field_by_field(name: str) -> None:
    """No single field of a right body is refused; it is sent as it was drawn."""

    @drawing(CASES)
    @given(bodies(name, broken=False))
    def check(drawn: tuple[Json, str]) -> None:
        body, _ = drawn
        problems = judged(name, body)
        told = [text for _, text in problems if any(words in text for words in OF_FIELDS)]
        assert [text for text in told if not any(words in text for words in BETWEEN)] == []
        model = {"model_name": ENDPOINTS[name]["model"]} if "model" in ENDPOINTS[name] else {}
        sent = to_wire(from_body(name, body, **model), lambda media: media.url or "")
        assert sorted_body(msgspec.json.decode(msgspec.json.encode(sent))) == sorted_body(body)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KlingWarning)
        check()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_what_the_reference_forbids_is_refused_by_its_field(name: str) -> None:
    """One wrong value is named, whatever else the body holds."""

    @drawing(CASES)
    @given(bodies(name, broken=True))
    def check(drawn: tuple[Json, str]) -> None:
        body, at = drawn
        if not at:
            return
        field = own_fields(name)[at].name
        named = [problem for problem, _ in judged(name, body)]
        assert any(problem == field or problem.startswith(f"{field}[") for problem in named), (at, named)

    check()


@pytest.mark.parametrize("name", ENDPOINTS)
def test_types_of_contents_of_other_endpoints_have_no_field(name: str) -> None:
    """A content type that an endpoint does not read cannot be written but through extra, which warns."""
    others = {place for other in ENDPOINTS for place in places(other) if place.startswith("contents.")}
    taken = {place for place in own_fields(name) if place.startswith("contents.")}
    assert taken == others & set(places(name))
