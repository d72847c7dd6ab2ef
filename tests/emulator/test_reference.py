"""The emulator's reference: the shipped file is whole, and the script that makes it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.emulator.reference import REFERENCE, Param, Reference
from kling_async.emulator.results import LOOKS
from kling_async.emulator.rules import RULES
from tests import make_reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORDS = ("source", "sure", "rules", "unit", "models")
PAGES = {"name": "x", "min": 1, "max": 9, "default": 2}


def everything(params: dict[str, Param]) -> Iterator[tuple[str, Param]]:
    """Yield parameters at every depth."""
    for name, param in params.items():
        yield name, param
        yield from everything(param.get("items", {}))


def test_the_shipped_reference_holds_the_endpoints() -> None:
    """What the script is told to keep is there, served, and judged by rules that exist."""
    assert list(REFERENCE.endpoints) == list(make_reference.ENDPOINTS)
    makers = {name for name, endpoint in REFERENCE.endpoints.items() if endpoint.makes_task}
    assert makers == set(LOOKS) and set(RULES) <= makers
    assert REFERENCE.default_slots == {"video": 5, "image": 9, "virtual_try_on": 1}
    assert REFERENCE.status(1303) == 429 and REFERENCE.status(0) == 200


@pytest.mark.parametrize("name", list(REFERENCE.endpoints))
def test_the_shipped_reference_is_well_formed(name: str) -> None:
    """Known types, defaults within their words, bounds the right way round, no prose, models with a price."""
    endpoint = REFERENCE.endpoints[name]
    for field, param in everything(endpoint.params):
        assert param.get("type") in {"string", "int", "long", "float", "boolean", "object", "array"}, field
        assert set(param) <= {*make_reference.PARAM_KEYS, "items"} and not set(param) & set(WORDS), field
        assert "default" not in param or param["default"] in param.get("enum", [param["default"]]), field
        assert param.get("min", 0) <= param.get("max", float("inf")), field
        assert set(param.get("retired", ())) <= set(param.get("enum", ())), field
    model = endpoint.params.get("model_name", {})
    served = set(model.get("enum", ())) - set(model.get("retired", ()))
    assert served <= {row["model"] for row in endpoint.capabilities}
    assert served <= {row["model"] for row in endpoint.prices}


def test_the_shipped_file_is_as_the_script_writes_it() -> None:
    """Nobody edited it by hand in a way that the next run would undo in form."""
    text = make_reference.TARGET.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=1) + "\n"
    assert set(json.loads(text)) == {"endpoints", "errors", "packs"}


def facts(folder: Path) -> Path:
    """Write a small made-up reference."""
    prose = {"source": "made up", "sure": True, "rules": ["Prose."]}
    door = {"method": "POST", "path": "/v1/clips"}
    params: list[dict[str, Any]] = [
        {"name": "model_name", "type": "string", "enum": ["m-1"], "open": True, "retired": [], **prose},
        {"name": "mode", "type": "string", "default": "std", "required": False, **prose},
        {"name": "sound", "type": "string", "default": "off", **prose},
        {"name": "camera", "type": "object", "items": {"pan": {"type": "float", "min": -1, **prose}}},
        {"name": "image", "type": "string", "media": {"kind": "image", "max_mb": 1}},
        {"name": "image_reference", "type": "string"},
        {"name": "resolution", "type": "string"},
    ]
    lists = {"page_num": PAGES, "page_size": PAGES}
    clips: dict[str, Any] = {
        "name": "clips",
        "family": "video",
        "quota": {"pool": "video", "weight": "1", "rule": "Prose."},
    }
    clips |= {"create": door, "list": lists, "params": params}
    asked: dict[str, Any] = {"name": "asked", "family": "account", "quota": {"pool": "none", "weight": "0"}}
    asked |= {"call": {"method": "GET", "path": "/asked"}, "params": []}
    row = {"model": "m-1", "endpoint": "clips", "camera": False, "durations": ["5"]}
    video_rows = [row | {"mode": "std", "sound": False}, row | {"mode": "any", "sound": True}]
    image_row = {"model": "m-1", "endpoints": ["clips"], "resolution": "1k", "single_image": False}
    image_rows = [
        image_row | {"character_reference": True, "face_reference": False},
        image_row | {"state": "gone"},
    ]
    price = {"pool": "video", "model": "m-1", "per": "second", "state": "current"}
    prices = [
        price | {"feature": "clip, silent", "variant": "std / 720p", "units": 1},
        price | {"feature": "clip, with sound, no chosen voice", "variant": "4k", "units": 2},
        price | {"feature": "image to image", "variant": "1k, 2k", "units": 3},
        price | {"feature": "clip", "model": "m-2", "variant": "-", "units": 4},
        price | {"feature": "another thing", "variant": "-", "units": 5},
    ]
    errors = [
        {"code": 1, "http": 400, "meaning": "wrong", "messages": ["exact"]},
        {"code": 2, "http": 429, "meaning": "other", "messages": ["… half"]},
    ]
    packs = {
        "fallback": {"video": 5, "unknown kind": 1, "why": "Prose."},
        "rows": [{"kind": "video", "name": "P", "units": 1, "concurrency": 5, "why": "x"}, {"kind": "any"}],
    }
    video = {"endpoints": [clips], "tables": {"video_capability_map": {"rows": video_rows}}}
    tables = {"errors": {"rows": errors}, "resource_packs": packs, "unit_prices": {"rows": prices}}
    other = {"endpoints": [asked], "tables": {**tables, "image_capability_map": {"rows": image_rows}}}
    (folder / "v1_video.json").write_text(json.dumps(video), encoding="utf-8")
    (folder / "v1_other.json").write_text(json.dumps(other), encoding="utf-8")
    return folder


def test_the_script_keeps_what_judging_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prose goes; types, bounds, words, capabilities, prices, statuses and packs stay; twice is the same."""
    target = tmp_path / "made.json"
    monkeypatch.setattr(make_reference, "TARGET", target)
    monkeypatch.setattr(make_reference, "ENDPOINTS", {"clips": ("clip", "image to image"), "asked": ()})
    folder = facts(tmp_path)
    assert make_reference.main([str(folder)]) == 0
    first = target.read_bytes()
    assert make_reference.main([str(folder)]) == 0 and target.read_bytes() == first
    assert b"Prose" not in first and b"made up" not in first
    made = json.loads(first)
    clips = made["endpoints"]["clips"]
    assert clips["params"]["camera"] == {"type": "object", "items": {"pan": {"type": "float", "min": -1}}}
    assert clips["params"]["mode"] == {"type": "string", "default": "std"}
    bounds = {"min": 1, "max": 9, "default": 2}
    assert clips["list"] == {"pageNum": bounds, "pageSize": bounds}
    assert clips["capabilities"] == [
        {"model": "m-1", "allows": {"mode": ["std"], "sound": ["off"]}, "without": ["camera"]},
        {"model": "m-1", "allows": {}, "without": ["camera"]},
        {
            "model": "m-1",
            "allows": {"resolution": ["1k"], "image_reference": ["subject"]},
            "without": ["image"],
        },
    ]
    assert [price["when"] for price in clips["prices"]] == [
        {"mode": ["std"], "sound": ["off"]},
        {"mode": ["4k"], "sound": ["on"], "voice_list": [False]},
        {"resolution": ["1k", "2k"], "image": [True]},
    ]
    assert made["errors"] == {"1": {"http": 400, "message": "exact"}, "2": {"http": 429, "message": "other"}}
    assert made["packs"]["fallback"] == {"video": 5}
    assert made["packs"]["rows"] == [{"kind": "video", "name": "P", "units": 1, "concurrency": 5}]
    reference = Reference(made)
    assert reference.endpoints["clips"].makes_task and not reference.endpoints["asked"].makes_task


def test_the_script_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    """Without its one argument it writes nothing."""
    assert make_reference.main([]) == 2
    assert "FOLDER" in capsys.readouterr().err
