"""The emulator's reference: the shipped file is complete, and the script that writes it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.emulator.calls.results import RESULTS
from kling_async.emulator.calls.table import CALLS
from kling_async.emulator.judging.reference import REFERENCE, Param, Reference
from kling_async.emulator.judging.rules.table import RULES
from kling_async.emulator.state.lookups import LOOKUPS
from tests import make_prices, make_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = ("source", "sure", "rules", "unit", "models")
PAGES = {"name": "x", "min": 1, "max": 9, "default": 2}
TASK = {"task_id": "1", "task_info": {"external_task_id": "a"}, "watermark_info": {}}


def everything(params: dict[str, Param]) -> Iterator[tuple[str, Param]]:
    """Yield the parameters at every depth, with their names."""
    for name, param in params.items():
        yield name, param
        yield from everything(param.get("items", {}))


def test_the_shipped_reference_holds_the_endpoints() -> None:
    """Every endpoint of the facts is in the reference and is served; rules and lookups name no others."""
    facts = json.loads((Path(__file__).parents[2] / "reference" / "v1.json").read_text(encoding="utf-8"))
    assert set(REFERENCE.endpoints) == set(facts["endpoints"])
    makers = {name for name, endpoint in REFERENCE.endpoints.items() if endpoint.makes_task}
    assert makers == set(RESULTS) and {*makers, *CALLS, "account_costs"} == set(REFERENCE.endpoints)
    assert {*RULES, *LOOKUPS} <= set(REFERENCE.endpoints)
    assert REFERENCE.default_slots == {"video": 5, "image": 9, "virtual_try_on": 1}
    assert REFERENCE.status(1303) == 429 and REFERENCE.status(0) == 200


@pytest.mark.parametrize("name", list(REFERENCE.endpoints))
def test_the_shipped_reference_is_well_formed(name: str) -> None:
    """Types are known, defaults allowed, bounds ordered, prose absent, models in service priced."""
    endpoint = REFERENCE.endpoints[name]
    for field, param in everything(endpoint.params):
        assert param.get("type") in {"string", "int", "long", "float", "boolean", "object", "array"}, field
        assert set(param) <= {*make_reference.PARAM_KEYS, "items"} and not set(param) & set(WORDS), field
        assert "default" not in param or param["default"] in param.get("enum", [param["default"]]), field
        assert param.get("min", 0) <= param.get("max", float("inf")), field
        assert set(param.get("retired", ())) <= set(param.get("enum", ())), field
    model = endpoint.params.get("model_name", {})
    served = set(model.get("enum", ())) - set(model.get("retired", ()))
    known = {row["model"] for row in endpoint.capabilities}
    priced = {row["model"] for row in endpoint.prices}
    assert not known or served <= known
    assert served <= priced or None in priced


def test_the_shipped_file_is_as_the_script_writes_it() -> None:
    """The file has the script's format, so that nobody edited it by hand in another one."""
    text = make_reference.TARGET.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=1) + "\n"
    assert set(json.loads(text)) == {"endpoints", "errors", "packs", "voices", "refused_voices", "scenes"}


def facts(folder: Path) -> Path:
    """Write a small invented set of facts, and return its folder."""
    prose = {"source": "made up", "sure": True, "rules": ["Prose."]}
    doubt: dict[str, Any] = {"type": "string", "sure": False, "required": True, "enum": ["a"], "default": "a"}
    old: dict[str, Any] = {"type": "string", "enum": ["m"], "retired": ["m"]}
    params: list[dict[str, Any]] = [
        {"name": "model_name", "type": "string", "enum": ["m-1", "m-2"], "retired": ["m-2"], **prose},
        {"name": "mode", "type": "string", "default": "std", "required": False, **prose},
        {"name": "sound", "type": "string", "default": "off", **prose},
        {"name": "camera", "type": "object", "items": {"pan": {"type": "float", "min": -1, **prose}}},
        {"name": "image", "type": "string", "media": {"kind": "image", "max_mb": 1}},
        {"name": "image_reference", "type": "string"},
        {"name": "resolution", "type": "string"},
        {"name": "doubtful", **doubt},
        {"name": "only_ended", **old},
    ]
    preset = {"name": "presets", "method": "GET", "path": "/presets", "page_num": PAGES, "page_size": PAGES}
    clips: dict[str, Any] = {
        "name": "clips",
        "family": "video",
        "quota": {"pool": "unsure", "weight": "n when this, else that", "rule": "Prose."},
        "create": {"method": "POST", "path": "/v1/clips"},
        "get": {"by_external_task_id": False},
        "list": {"page_num": PAGES, "page_size": PAGES},
        "params": params,
        "other": [preset, {"name": "delete", "method": "POST", "path": "/delete", "params": params[1:2]}],
        "result_task_info": {"parent_video": "Prose."},
        "example": {"response": {"data": {"task_id": "1"}}, "finished": {"data": TASK}},
    }
    asked: dict[str, Any] = {"name": "asked", "family": "account", "quota": {"pool": "none", "weight": "0"}}
    door = {"method": "POST", "path": "/asked"}
    pages = {"method": "GET", "path": "/asked", "page_num": PAGES, "page_size": PAGES}
    asked |= {"call": door, "list": pages, "params": []}
    row = {"model": "m-1", "endpoint": "clips", "camera": False, "durations": ["5"], "doubtful": False}
    video_rows = [
        row | {"mode": "std", "sound": False},
        row | {"mode": "std", "sure": False},
        row | {"mode": "pro", "sure": False},
        row | {"mode": "any", "sound": True},
    ]
    image_row = {"model": "m-1", "endpoints": ["clips"], "resolution": ["1k (a)"], "single_image": False}
    image_rows = [
        image_row | {"character_reference": True, "face_reference": False},
        image_row | {"state": "gone"},
    ]
    price = {"pool": "video", "model": "m-1", "per": "second", "state": "current"}
    prices = [
        price | {"feature": "clip, silent", "variant": "std / 720p", "units": 1},
        price | {"feature": "clip, with sound, no chosen voice", "variant": "4k", "units": 2},
        price | {"feature": "image to image", "variant": "1k, 2k", "units": 3, "pool": "image"},
        price | {"feature": "clip", "model": "m-3", "variant": "-", "units": 4},
        price | {"feature": "another thing", "variant": "-", "units": 5},
        price | {"feature": "clip", "model": "any", "variant": "std / pro", "units": [6, 7], "per": "call"},
        price | {"feature": "clip", "variant": "std", "units": None, "per": "5 s clip"},
    ]
    errors = [
        {"code": 1, "http": 400, "meaning": "wrong", "messages": ["exact"]},
        {"code": 2, "http": 429, "meaning": "other", "messages": ["… half"]},
    ]
    packs = {
        "fallback": {"video": 5, "unknown kind": 1, "why": "Prose."},
        "rows": [{"kind": "video", "name": "P", "units": 1, "concurrency": 5, "why": "x"}, {"kind": "any"}],
    }
    scenes = {
        f"{kind}_{age}": [f"{kind} {age}"] for kind in ("single", "dual") for age in ("current", "older")
    }
    voices = [{"voice_id": "v", "voice_language": "zh"}, {"voice_id": "v", "voice_language": "en"}]
    tables = {
        "errors": {"rows": errors},
        "resource_packs": packs,
        "unit_prices": {"rows": prices},
        "image_capability_map": {"rows": image_rows},
        "tts_voice_ids": {"seen_refused_2026": ["w"]},
    }
    video = {
        "video_capability_map": {"rows": video_rows},
        "video_voices": {"voices": voices},
        "effect_scenes": scenes,
    }
    (folder / "v1_video.json").write_text(json.dumps({"endpoints": [clips], "tables": video}))
    (folder / "v1_other.json").write_text(json.dumps({"endpoints": [asked], "tables": tables}))
    return folder


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The content that the script makes of the facts, the same in two runs."""
    target = tmp_path / "made.json"
    monkeypatch.setattr(make_reference, "TARGET", target)
    monkeypatch.setattr(make_prices, "FEATURES", {"clips": ("clip", "image to image")})
    folder = facts(tmp_path)
    assert make_reference.main([str(folder)]) == 0
    first = target.read_bytes()
    assert make_reference.main([str(folder)]) == 0 and target.read_bytes() == first
    assert b"Prose" not in first and b"made up" not in first
    content: dict[str, Any] = json.loads(first)
    return content


def test_the_script_keeps_what_judging_needs(made: dict[str, Any]) -> None:
    """Types, bounds and words stay, prose goes; uncertain facts keep only their shape."""
    clips = made["endpoints"]["clips"]
    assert clips["params"]["camera"] == {"type": "object", "items": {"pan": {"type": "float", "min": -1}}}
    assert clips["params"]["mode"] == {"type": "string", "default": "std"}
    assert clips["params"]["model_name"]["retired"] == ["m-2"]
    assert clips["params"]["doubtful"] == {"type": "string", "default": "a"}
    assert clips["params"]["only_ended"] == {"type": "string", "enum": ["m"]}
    bounds = {"min": 1, "max": 9, "default": 2}
    assert clips["list"] == {"pageNum": bounds, "pageSize": bounds}
    assert (clips["pool"], clips["weight"]) == ("none", "series")
    assert clips["answers"] == {
        "by_external_task_id": False,
        "task_info_at_once": False,
        "external_task_id": True,
        "parent_video": True,
        "watermark_info": True,
    }
    assert made["errors"] == {"1": {"http": 400, "message": "exact"}, "2": {"http": 429, "message": "other"}}
    assert made["packs"]["fallback"] == {"video": 5}
    assert made["packs"]["rows"] == [{"kind": "video", "name": "P", "units": 1, "concurrency": 5}]
    assert made["voices"] == {"v": ["zh", "en"]} and made["refused_voices"] == ["w"]
    assert made["scenes"]["dual"] == ["dual current", "dual older"]


def test_the_script_makes_endpoints_of_calls_beside_them(made: dict[str, Any]) -> None:
    """Each call beside an endpoint has its own path and pages; lists of instant results are calls, too."""
    assert list(made["endpoints"]) == ["clips", "clips.presets", "clips.delete", "asked", "asked.list"]
    assert made["endpoints"]["clips.presets"]["list"]["pageSize"]["max"] == 9
    assert made["endpoints"]["clips.delete"]["call"] == {"method": "POST", "path": "/delete"}
    assert made["endpoints"]["asked.list"]["call"] == {"method": "GET", "path": "/asked"}
    reference = Reference(made)
    assert reference.endpoints["clips"].makes_task and not reference.endpoints["asked"].makes_task
    assert reference.endpoints["asked.list"].pages["pageNum"].get("max") == 9


def test_the_script_reads_the_capability_maps(made: dict[str, Any]) -> None:
    """An uncertain row bounds mode and length only, and is dropped where a certain row says as much."""
    assert made["endpoints"]["clips"]["capabilities"] == [
        {"model": "m-1", "allows": {"mode": ["std"], "sound": ["off"]}, "without": ["camera"]},
        {"model": "m-1", "allows": {"mode": ["pro"]}, "without": []},
        {"model": "m-1", "allows": {}, "without": ["camera"]},
        {
            "model": "m-1",
            "allows": {"resolution": ["1k"], "image_reference": ["subject"]},
            "without": ["image"],
        },
    ]


def test_the_script_reads_the_price_table(made: dict[str, Any]) -> None:
    """Words become conditions, several modes several rows, and a missing price is that of the sample."""
    prices = made["endpoints"]["clips"]["prices"]
    assert [(price["model"], price["per"], price["units"], price["when"]) for price in prices] == [
        ("m-1", "second", 1, {"mode": ["std"], "sound": ["off"]}),
        ("m-1", "second", 2, {"mode": ["4k"], "sound": ["on"], "voice_list": [False]}),
        ("m-1", "second", 3, {"resolution": ["1k", "2k"], "image": [True]}),
        (None, "call", 6, {"mode": ["std"]}),
        (None, "call", 7, {"mode": ["pro"]}),
        ("m-1", "clip", make_prices.EFFECT_UNITS, {"mode": ["std"], "duration": ["5"]}),
    ]


def test_the_script_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its one argument the script prints its usage and writes nothing."""
    assert make_reference.main([]) == 2
    assert "FOLDER" in capsys.readouterr().err
