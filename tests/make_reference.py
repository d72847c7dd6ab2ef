"""Make the emulator's reference.json from the collected facts about the API.

``python tests/make_reference.py FOLDER`` reads v1_video.json and v1_other.json there and writes
kling_async/emulator/reference.json: only what judging a request needs, in the same order every time. To let
the emulator serve one more endpoint, add its name to `ENDPOINTS` and run this again.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

TARGET: Final = Path(__file__).resolve().parent.parent / "kling_async" / "emulator" / "reference.json"
SOURCES: Final = ("v1_video.json", "v1_other.json")

ENDPOINTS: Final[dict[str, tuple[str, ...]]] = {
    "text_to_video": ("text or image to video",),
    "image_generation": ("text or single image to image", "text to image", "image to image"),
    "account_costs": (),
}
"""The endpoints to keep, and how the price table calls what they make."""

PARAM_KEYS: Final = (
    *("type", "item_type", "also_type", "required", "deprecated", "number_as_text", "default"),
    *("enum", "open", "retired", "min", "max", "max_chars", "min_items", "max_items", "media"),
)
CAPABILITY_WORDS: Final = {
    "mode": "mode",
    "durations": "duration",
    "resolution": "resolution",
    "aspect_ratios": "aspect_ratio",
}
"""Columns of the capability maps that list words, and the parameter they bound."""

CAPABILITY_FLAGS: Final = {"single_image": "image", "elements": "element_list"}
"""Columns named otherwise than the parameter they grant."""


def make(folder: Path) -> Json:
    """Return the content of reference.json, made from the files in ``folder``."""
    video, other = (json.loads((folder / name).read_text(encoding="utf-8")) for name in SOURCES)
    tables = {**video["tables"], **other["tables"]}
    known = {row["name"]: row for row in (*video["endpoints"], *other["endpoints"])}
    return {
        "endpoints": {name: endpoint(known[name], tables) for name in ENDPOINTS},
        "errors": {str(row["code"]): error(row) for row in tables["errors"]["rows"]},
        "packs": packs(tables["resource_packs"]),
    }


def endpoint(row: Json, tables: Json) -> Json:
    """One endpoint: where it is, what it takes, what its models can do and cost."""
    made: Json = {"family": row["family"], "pool": row["quota"]["pool"], "weight": row["quota"]["weight"]}
    if "create" in row:
        made["create"] = row["create"]
        made["list"] = {
            name: {key: row["list"][field][key] for key in ("min", "max", "default")}
            for field, name in (("page_num", "pageNum"), ("page_size", "pageSize"))
        }
    else:
        made["call"] = row["call"]
    made["params"] = {item["name"]: param(item) for item in row["params"]}
    made["capabilities"] = capabilities(row["name"], made["params"], tables)
    prices = tables["unit_prices"]["rows"]
    made["prices"] = [price(p) for p in prices if priced(p, row["name"], made["params"])]
    return made


def param(row: Json) -> Json:
    """One parameter without its prose."""
    kept: Json = {key: row[key] for key in PARAM_KEYS if key in row and row[key] is not False}
    if "items" in row:
        kept["items"] = {name: param(item) for name, item in row["items"].items()}
    return kept


def error(row: Json) -> Json:
    """HTTP status and usual message of one code."""
    texts = [text for text in row.get("messages", ()) if "…" not in text]
    return {"http": row["http"], "message": texts[0] if len(texts) == 1 else row["meaning"]}


def packs(table: Json) -> Json:
    """Slots by kind where a pack's name does not tell, and the packs whose name is known."""
    slots = {kind: n for kind, n in table["fallback"].items() if isinstance(n, int) and " " not in kind}
    named = [row for row in table["rows"] if row.get("name") and row.get("concurrency")]
    keep = ("kind", "name", "units", "concurrency")
    return {"fallback": slots, "rows": [{key: row[key] for key in keep} for row in named]}


def capabilities(name: str, params: Json, tables: Json) -> list[Json]:
    """What each model takes: ``allows`` these words of a field, comes ``without`` those fields."""
    video = [r for r in tables["video_capability_map"]["rows"] if r["endpoint"] == name]
    image = [r for r in tables["image_capability_map"]["rows"] if name in r["endpoints"] and "state" not in r]
    return [capability(row, params) for row in (*video, *image)]


def capability(row: Json, params: Json) -> Json:
    """One row of a capability map in the form both maps share."""
    allows: dict[str, list[Any]] = {}
    for column, field in CAPABILITY_WORDS.items():
        words = row.get(column)
        if field in params and words not in (None, "any"):
            allows[field] = [words] if isinstance(words, str) else words
    without: list[str] = []
    for column, value in row.items():
        field = CAPABILITY_FLAGS.get(column, column)
        if value is not False or field not in params or field == "cfg_scale":  # no refusal of it is known
            continue
        if params[field].get("default") == "off":
            allows[field] = ["off"]
        else:
            without.append(field)
    if "character_reference" in row and "image_reference" in params:
        kinds = {"subject": row["character_reference"], "face": row["face_reference"]}
        allows["image_reference"] = [kind for kind, granted in kinds.items() if granted]
    return {"model": row["model"], "allows": allows, "without": without}


def priced(row: Json, name: str, params: Json) -> bool:
    """Whether a row of the price table is about a model of this endpoint."""
    models = params.get("model_name", {}).get("enum", ())
    what = re.split(r", ", row["feature"])[0]
    return what in ENDPOINTS[name] and row["model"] in models


def price(row: Json) -> Json:
    """Units, per what, and ``when``: the words (or, as true or false, the presence) of fields."""
    what, *details = row["feature"].split(", ")
    when: dict[str, list[Any]] = {}
    if "/" in row["variant"]:
        when["mode"] = [row["variant"].split(" / ")[0]]
    elif row["variant"] == "4k":
        when["mode"] = ["4k"]
    else:
        when["resolution"] = row["variant"].split(", ")
    if "silent" in details:
        when["sound"] = ["off"]
    if any(detail.startswith("with sound") for detail in details):
        when["sound"] = ["on"]
    if any("chosen voice" in detail for detail in details):
        when["voice_list"] = ["no chosen voice" not in details]
    if what in {"text to image", "image to image"}:
        when["image"] = [what == "image to image"]
    return {"model": row["model"], "per": row["per"], "units": row["units"], "when": when}


def main(arguments: list[str]) -> int:
    """Write reference.json; the one argument is the folder of the facts."""
    if len(arguments) != 1:
        sys.stderr.write("usage: make_reference.py FOLDER\n")
        return 2
    text = json.dumps(make(Path(arguments[0])), ensure_ascii=False, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
