"""The check of the second generation: what production would ignore and charge for is refused by us."""

from __future__ import annotations

import warnings
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import catalog, v2
from kling_async.batch.identity import fingerprint
from kling_async.errors import KlingWarning, Problem, RequestInvalid
from kling_async.v2.models import MODELS, ModelRow
from kling_async.wire import checks
from kling_async.wire.checks import check, problems_of, to_wire
from kling_async.wire.fields import fields
from kling_async.wire.placement import merged
from tests.v1.judging import doubted, refused
from tests.v2.walking import ENDPOINTS, TYPES, row_name

URL: Final = "https://a.example/x.png"
CLIP: Final = "https://a.example/x.mp4"
IMAGE: Final = v2.NamedImage(url=URL)
VIDEO: Final = v2.NamedVideo(url=CLIP)
ELEMENT: Final = v2.NamedElement(element_id="7", id="element_1")

SAMPLES: Final[dict[str, Any]] = {
    "prompt": "A pebble",
    "first_frame": URL,
    "last_frame": URL,
    "image": URL,
    "video": CLIP,
    "refer_images": [IMAGE],
    "feature_video": VIDEO,
    "base_video": VIDEO,
    "elements": [ELEMENT],
    "element": ELEMENT,
    "voices": [v2.NamedVoice(voice_id="1", id="1")],
    "character_orientation": "video",
    "resolution": "720p",
    "aspect_ratio": "1:1",
    "duration": 5,
    "audio": "off",
    "multi_shot": True,
}
"""A value for each field."""


@pytest.fixture(autouse=True)
def _forget_warnings() -> None:
    checks._warned.clear()


def bare(row: ModelRow, **values: Any) -> Any:
    """A request of a model with no more than it needs, and these values."""
    kind = TYPES[row.endpoint]
    needed = {field.name: _sample(row, field.name) for field in fields(kind) if field.required}
    return kind(**{**needed, "model_name": row.model, **values})


def _sample(row: ModelRow, name: str) -> Any:
    value = SAMPLES[name]
    if row.endpoint == "v2.omni_video" and name in ("first_frame", "last_frame"):
        return IMAGE
    return value


CASES: Final = [
    (row, field.name)
    for row in MODELS
    for field in fields(TYPES[row.endpoint])
    if field.name not in ("model_name", "watermark")
]


@pytest.mark.parametrize(("row", "name"), CASES, ids=[f"{r.endpoint} {r.model} {n}" for r, n in CASES])
def test_a_model_gets_what_it_reads_and_nothing_else(row: ModelRow, name: str) -> None:
    """Each field is taken by the models that read it, and refused for the others before anything is sent."""
    request = bare(row, **{name: _sample(row, name)})
    problems = problems_of(request, lambda _: None)
    unread = [problem for problem in problems if "does not read it" in problem.text]
    assert [problem.field for problem in unread] == ([] if name in row.reads else [name])


WORDS: Final = [
    (row, name, word)
    for row in MODELS
    for name in ("resolution", "audio", "aspect_ratio", "duration")
    for field in fields(TYPES[row.endpoint])
    if field.name == name and name in row.reads
    for word in getattr(field.type, "values", range(3, 16))
]


@pytest.mark.parametrize(("row", "name", "word"), WORDS)
def test_a_model_is_held_to_its_words(row: ModelRow, name: str, word: Any) -> None:
    """A word that only another model offers is refused, one of its own is taken."""
    problems = problems_of(bare(row, **{name: word}), lambda _: None)
    offers = row.reads[name]
    assert isinstance(offers, tuple)
    told = [problem for problem in problems if problem.field == name and "offers" in problem.text]
    assert bool(told) is (word not in offers)


@given(length=st.integers(2400, 3100), row=st.sampled_from(MODELS))
def test_a_prompt_is_held_to_its_model(length: int, row: ModelRow) -> None:
    """Each model has its own most characters."""
    most = row.reads["prompt"]
    assert isinstance(most, int)
    problems = problems_of(bare(row, prompt="x" * length), lambda _: None)
    assert (Problem("prompt", "") in [p._replace(text="") for p in problems]) is (length > most)


T2V, I2V, OMNI, MOTION = v2.TextToVideo, v2.ImageToVideo, v2.OmniVideo, v2.MotionControl
O1: Final = {"prompt": "x", "model_name": "kling-o1", "aspect_ratio": "1:1"}
V3: Final = {"prompt": "x", "aspect_ratio": "1:1"}
BASE: Final = {**V3, "base_video": VIDEO, "multi_shot": False}
FEATURE: Final = {**V3, "feature_video": VIDEO}
FRAME: Final[dict[str, Any]] = {"prompt": "x", "first_frame": URL}
AGENT: Final = {"speech_script": "Slow down", "avatar_id": "avatar_lee_male"}
GOODS: Final = {**AGENT, "ref_images": [URL], "goods_title": "Umbrella"}


def elements(count: int) -> list[v2.NamedElement]:
    return [v2.NamedElement(element_id=str(n), id=f"x{n}y") for n in range(count)]


WRONG: Final[list[tuple[Any, dict[str, Any], str]]] = [
    (T2V, {"prompt": "x", "model_name": "kling-2.6", "audio": "native"}, "resolution"),
    (T2V, {"prompt": "x", "model_name": "kling-2.6", "audio": "native", "resolution": "720p"}, "resolution"),
    (T2V, {"prompt": "x", "model_name": "../v1"}, "model_name"),
    (T2V, {"prompt": "x", "model_name": ".."}, "model_name"),
    (T2V, {"prompt": "x", "model_name": ""}, "model_name"),
    (I2V, {**FRAME, "model_name": "kling-2.6", "last_frame": URL}, "resolution"),
    (I2V, {**FRAME, "model_name": "kling-2.5-turbo", "last_frame": URL}, "resolution"),
    (I2V, {**FRAME, "model_name": "kling-2.6", "voices": SAMPLES["voices"]}, "audio"),
    (I2V, {**FRAME, "elements": elements(4)}, "elements"),
    (I2V, {**FRAME, "elements": [ELEMENT, ELEMENT]}, "elements[1].id"),
    (OMNI, {**V3, "feature_video": VIDEO, "base_video": VIDEO, "multi_shot": False}, "base_video"),
    (OMNI, {**V3, "audio": "original"}, "audio"),
    (OMNI, {**V3, "last_frame": IMAGE}, "last_frame"),
    (OMNI, {**BASE, "first_frame": IMAGE}, "first_frame"),
    (OMNI, {**BASE, "audio": "native"}, "audio"),
    (OMNI, {**BASE, "multi_shot": True}, "multi_shot"),
    (OMNI, {**FEATURE, "multi_shot": False}, "multi_shot"),
    (OMNI, {**FEATURE, "audio": "original"}, "audio"),
    (OMNI, {**V3, "refer_images": [IMAGE] * 8}, "refer_images"),
    (OMNI, {**V3, "refer_images": [IMAGE] * 5, "elements": elements(3)}, "refer_images"),
    (OMNI, {**BASE, "refer_images": [IMAGE] * 5}, "refer_images"),
    (OMNI, {**V3, "first_frame": IMAGE, "elements": elements(4)}, "elements"),
    (OMNI, {**O1, "first_frame": IMAGE, "last_frame": IMAGE, "elements": elements(1)}, "elements"),
    (OMNI, {**O1, "first_frame": IMAGE, "last_frame": IMAGE, "refer_images": [IMAGE]}, "refer_images"),
    (OMNI, {**O1, "feature_video": VIDEO, "first_frame": IMAGE, "last_frame": IMAGE}, "last_frame"),
    (OMNI, {**O1, "first_frame": IMAGE, "duration": 3}, "duration"),
    (v2.TalkingAgent, {"speech_script": "x"}, "avatar_image"),
    (v2.TalkingAgent, {**AGENT, "avatar_image": URL, "voice_id": "male_energetic_sporty"}, "avatar_id"),
    (v2.TalkingAgent, {"speech_script": "x", "avatar_image": URL}, "voice_id"),
    (v2.TalkingAgent, {**AGENT, "voice_id": "male_energetic_sporty"}, "voice_id"),
    (v2.TalkingAgent, {**AGENT, "goods_price": "5"}, "ref_images"),
    (v2.TalkingAgent, {**AGENT, "ref_images": [URL]}, "goods_title"),
    (v2.TalkingAgent, {**GOODS, "speech_rate": 1.0}, "speech_rate"),
    (v2.TalkingAgent, {**AGENT, "speech_rate": 0.9}, "speech_rate"),
    (v2.VirtualTryOn, {"product_image": b"\xff\xd8\xff", "person_image": URL}, "product_image"),
    (
        T2V,
        {"prompt": "x", "extra": {"options": {"external_task_id": "a"}}},
        "extra['options']['external_task_id']",
    ),
    (T2V, {"prompt": "x", "extra": {"callback_url": "https://a.example"}}, "extra['callback_url']"),
]


@pytest.mark.parametrize(("kind", "values", "field"), WRONG)
def test_a_wrong_request_is_refused_by_its_field(kind: Any, values: dict[str, Any], field: str) -> None:
    """Every rule of the reference between fields refuses, and names the field."""
    assert field in [name for name, _ in refused(kind(**values))]


RIGHT: Final[list[tuple[Any, dict[str, Any]]]] = [
    (T2V, {"prompt": "x", "model_name": "kling-2.6", "audio": "native", "resolution": "1080p"}),
    (I2V, {**FRAME, "model_name": "kling-2.5-turbo", "last_frame": URL, "resolution": "1080p"}),
    (OMNI, {**BASE, "audio": "original"}),
    (OMNI, {**FEATURE, "audio": "off", "multi_shot": True}),
    (OMNI, {**V3, "refer_images": [IMAGE] * 4, "elements": elements(3)}),
    (OMNI, {**O1, "first_frame": IMAGE, "refer_images": [IMAGE], "duration": 3}),
    (OMNI, {**O1, "feature_video": VIDEO, "audio": "original"}),
    (MOTION, {"image": URL, "video": CLIP, "character_orientation": "image"}),
    (v2.TalkingAgent, AGENT),
    (v2.TalkingAgent, GOODS),
    (v2.TalkingAgent, {**AGENT, "speech_rate": 1.2}),
    (v2.DramaSubtitle, {"source_video": CLIP, "glossary": [v2.GlossaryEntry(source="a", target="b")]}),
    (T2V, {"prompt": "shot 1, 3, a door; shot 2, 2, a hand;"}),
    (I2V, {**FRAME, "prompt": "@element_1 smiles", "elements": [ELEMENT]}),
]


@pytest.mark.parametrize(("kind", "values"), RIGHT)
def test_a_right_request_passes_silently(kind: Any, values: dict[str, Any]) -> None:
    """What the rules allow neither fails nor warns."""
    assert doubted(kind(**values)) == []


DOUBTFUL: Final[list[tuple[Any, dict[str, Any], str]]] = [
    (T2V, {"prompt": "x", "model_name": "kling-4.0"}, "model_name"),
    (T2V, {"prompt": "shot 1, 3, a door; shot 2, 3, a hand;"}, "prompt"),
    (T2V, {"prompt": "".join(f"shot {n}, 1, a;" for n in range(1, 8)), "duration": 7}, "prompt"),
    (T2V, {"prompt": f"shot 1, 5, {'x' * 513};"}, "prompt"),
    (T2V, {"prompt": "x", "extra": {"settings": {"seed": 3}}}, "extra['settings']['seed']"),
    (I2V, {**FRAME, "prompt": "@element_2 smiles", "elements": [ELEMENT]}, "prompt"),
    (
        I2V,
        {**FRAME, "elements": [ELEMENT, v2.NamedElement(element_id="8", id="element_10")]},
        "elements[0].id",
    ),
    (OMNI, {"prompt": "x"}, "aspect_ratio"),
    (OMNI, {**V3, "base_video": VIDEO}, "multi_shot"),
    (OMNI, {**O1, "duration": 3}, "duration"),
    (
        MOTION,
        {"image": URL, "video": CLIP, "character_orientation": "image", "element": ELEMENT},
        "character_orientation",
    ),
    (v2.TalkingAgent, {"speech_script": "x", "avatar_id": "avatar_new"}, "avatar_id"),
    (
        v2.ClothingDupe,
        {"product_info": "x", "source_video": CLIP, "product_images": [URL], "voice_id": "new"},
        "voice_id",
    ),
]


@pytest.mark.parametrize(("kind", "values", "field"), DOUBTFUL)
def test_what_only_the_vendor_can_judge_warns(kind: Any, values: dict[str, Any], field: str) -> None:
    """Unknown models, free texts and words that grow monthly pass with one warning."""
    assert [name for name, _ in doubted(kind(**values))] == [field]


def test_each_name_in_extra_warns_once() -> None:
    """Production ignores unknown fields and charges for the task, so every name is told, and only once."""
    request = T2V(prompt="x", extra={"fps": 30, "settings": {"seed": 1, "style": "a"}})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check(request)
        check(request)
        check(T2V(prompt="y", extra={"fps": 60}))
    assert all(issubclass(warning.category, KlingWarning) for warning in told)
    assert [str(w.message).partition(":")[0] for w in told] == [
        "TextToVideo.extra['fps']",
        "TextToVideo.extra['settings']['seed']",
        "TextToVideo.extra['settings']['style']",
    ]


_json: Final = st.recursive(
    st.integers(0, 9) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.text("xy", min_size=1, max_size=1), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["settings", "options", "new"]), _json, max_size=3))
def test_extra_is_merged_into_the_body(extra: dict[str, Any]) -> None:
    """``extra`` adds to the objects that the fields fill, and loses none of them unless it names it."""
    request = T2V(prompt="x", duration=3, watermark=True, extra=extra)
    body = to_wire(request, str)
    plain = to_wire(msgspec.structs.replace(request, extra={}), str)
    assert body == merged(plain, extra)
    for name, value in plain.items():
        if isinstance(value, dict) and isinstance(extra.get(name, {}), dict):
            assert value.keys() <= body[name].keys()


def test_contents_in_extra_go_on_where_ours_end() -> None:
    """An entry of a new type stands behind those of the fields."""
    request = I2V(**FRAME, extra={"contents": [{"type": "mood", "text": "calm"}]})
    assert [entry["type"] for entry in to_wire(request, str)["contents"]] == ["prompt", "first_frame", "mood"]


@pytest.mark.parametrize("name", TYPES)
def test_requests_go_through_json(name: str) -> None:
    """A request written as JSON is read back as the same request, by its endpoint's name."""
    kind = TYPES[name]
    values: dict[str, Any] = {
        field.name: filled(field) for field in fields(kind) if field.name != "model_name"
    }
    request = kind(**values)
    written = msgspec.json.decode(msgspec.json.encode(request.to_dict()))
    assert written["endpoint"] == name
    assert catalog.request_from_dict(written) == request
    schema = catalog.json_schema(name)
    assert schema["properties"]["endpoint"]["const"] == name
    assert set(values) <= set(schema["properties"])


def filled(field: Any) -> Any:
    """A value that a field of that type may hold."""
    value = SAMPLES.get(field.name)
    kind = type(field.type).__name__
    if kind == "LiteralType":
        return field.type.values[0]
    if kind == "StructType" and field.type.cls.__name__ == "NamedImage":
        return IMAGE
    if value is not None:
        return value
    if "media" in field.extra:
        return [URL] if kind == "VarTupleType" else URL
    samples = {"StrType": "text", "BoolType": True, "IntType": 12, "FloatType": 1.0, "VarTupleType": ["text"]}
    if field.name == "glossary":
        return [v2.GlossaryEntry(source="a", target="b")]
    return samples[kind]


def test_a_refusal_names_the_class() -> None:
    """Requests of both generations share their names; the class is told."""
    with pytest.raises(RequestInvalid, match=r"TextToVideo"):
        check(T2V(prompt=""))


PINNED: Final = {
    "c0a79f101016158970f660397bf10656": T2V(prompt="A pebble", model_name="kling-3.0-turbo", duration=3),
    "ee632e9e8a2063c10ff0dfdf96b49141": T2V(prompt="A pebble"),
    "266e0127f73ca3629e9ea4bc7835d1d0": I2V(
        prompt="@a", first_frame="https://a.example/x", elements=(v2.NamedElement(element_id=7, id="a"),)
    ),
}


@pytest.mark.parametrize("pinned", PINNED)
def test_the_identity_of_a_job_is_pinned(pinned: str) -> None:
    """A changed hash would make finished jobs new ones; the model counts although it is not in the body."""
    request = PINNED[pinned]
    assert fingerprint(request.endpoint_name, request, {}) == pinned


def test_the_names_of_the_endpoints_are_pinned() -> None:
    """Journals and JSON hold them."""
    assert set(TYPES) == {
        *("v2.text_to_video", "v2.image_to_video", "v2.omni_video", "v2.motion_control"),
        *(
            "v2.clothing_dupe",
            "v2.goods_studio",
            "v2.talking_agent",
            "v2.virtual_try_on",
            "v2.drama_subtitle",
        ),
    }


def test_capabilities_tell_what_each_model_reads() -> None:
    """One row for each model and endpoint of the reference, with its lengths and resolutions."""
    rows = v2.model_capabilities()
    assert {(row.endpoint, row.model) for row in rows} == {
        (row_name(name), facts["model"]) for name, facts in ENDPOINTS.items() if facts.get("model")
    }
    (turbo,) = v2.model_capabilities("kling-2.5-turbo", "v2.image_to_video")
    assert (turbo.durations, turbo.resolutions) == ((5, 10), ("720p", "1080p"))
    assert turbo.features == ("first_frame", "last_frame")
    assert v2.model_capabilities("kling-v3") == ()
