"""Make the emulator's reference.json from the collected facts about the API.

``python -m tests.make_reference FOLDER`` reads v1_video.json and v1_other.json there and writes
kling_async/emulator/judging/reference.json: only what judging and answering a request needs, always in the
same order. Calls beside an endpoint become endpoints of their own, named such as
``multi_elements.init_selection``.

Of a fact that is not sure only the harmless part is kept, so that the emulator refuses nothing for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.make_prices import prices_of

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

TARGET: Final = (
    Path(__file__).resolve().parent.parent / "kling_async" / "emulator" / "judging" / "reference.json"
)
SOURCES: Final = ("v1_video.json", "v1_other.json")

SHAPE_KEYS: Final = ("type", "item_type", "also_type", "deprecated", "default")
"""Keys that are kept even of a parameter that no good source confirms."""
PARAM_KEYS: Final = (
    *("type", "item_type", "also_type", "required", "deprecated", "number_as_text", "default"),
    *("enum", "open", "retired", "min", "max", "max_chars", "min_items", "max_items", "media"),
)
LENIENT: Final = {("text_to_speech", "voice_speed"): ("min", "max")}
"""Bounds beyond which the service rounds instead of refusing."""

WEIGHTS: Final = {"0": "0", "1": "1", "n": "n"}
"""Weights as the facts spell them; any other text describes a series of images."""
POOLS: Final = {"unsure": "none"}
"""Whether making an element takes a slot is unknown; in the emulator it takes none."""

CAPABILITY_WORDS: Final = {
    "mode": "mode",
    "durations": "duration",
    "resolution": "resolution",
    "aspect_ratios": "aspect_ratio",
}
"""For columns of the capability maps that list words: the parameter they bound."""

CAPABILITY_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "single_image": ("image",),
    "elements": ("element_list",),
    "motion_brush": ("static_mask", "dynamic_masks"),
    "reference_video": ("video_list",),
    "cfg_scale": (),  # the vendor was never seen to refuse it
}
"""Columns of the capability maps whose names differ from the parameters they grant."""


def make(folder: Path) -> Json:
    """Return the content of reference.json, made from the files in ``folder``."""
    video, other = (json.loads((folder / name).read_text(encoding="utf-8")) for name in SOURCES)
    tables = {**video["tables"], **other["tables"]}
    rows = [made for row in (*video["endpoints"], *other["endpoints"]) for made in (row, *sub_calls(row))]
    return {
        "endpoints": {row["name"]: endpoint(row, tables) for row in rows},
        "errors": {str(row["code"]): error(row) for row in tables["errors"]["rows"]},
        "packs": packs(tables["resource_packs"]),
        "voices": voices(tables),
        "refused_voices": tables["tts_voice_ids"]["seen_refused_2026"],
        "scenes": scenes(tables["effect_scenes"]),
    }


def sub_calls(row: Json) -> list[Json]:
    """Turn the calls beside an endpoint into endpoints; so the list of an endpoint that makes no tasks."""
    subs: list[Json] = [*row.get("other", ())]
    if "call" in row and "list" in row:
        subs.append({"name": "list", "method": "GET", **row["list"]})
    made: list[Json] = []
    for sub in subs:
        call: Json = {"call": {"method": sub["method"], "path": sub["path"]}, "params": sub.get("params", [])}
        if "page_num" in sub:
            call["pages"] = sub
        name = f"{row['name']}.{sub['name']}"
        quota = sub.get("quota", {"pool": "none", "weight": "0"})
        made.append({"name": name, "family": row["family"], "quota": quota, **call})
    return made


def endpoint(row: Json, tables: Json) -> Json:
    """Describe an endpoint: its path, parameters and pages, its models with their prices, its answers."""
    quota = row["quota"]
    made: Json = {
        "family": row["family"],
        "pool": POOLS.get(quota["pool"], quota["pool"]),
        "weight": WEIGHTS.get(quota["weight"], "series"),
    }
    if "create" in row:
        made["create"] = row["create"]
        made["answers"] = answers(row)
    else:
        made["call"] = row["call"]
    pages = row["list"] if "create" in row else row.get("pages")
    if pages:
        made["list"] = {
            name: {key: pages[field][key] for key in ("min", "max", "default")}
            for field, name in (("page_num", "pageNum"), ("page_size", "pageSize"))
        }
    made["params"] = {item["name"]: param(item, row["name"]) for item in row["params"]}
    doubtful = {item["name"] for item in row["params"] if not item.get("sure", True)}
    sure = {name: kept for name, kept in made["params"].items() if name not in doubtful}
    made["capabilities"] = capabilities(row["name"], sure, tables)
    made["prices"] = prices_of(row["name"], made["params"], tables["unit_prices"])
    return made


def answers(row: Json) -> Json:
    """Describe the answers about an endpoint's tasks, and whether the caller's own id finds a task."""
    created = row["example"]["response"]["data"]
    finished = row["example"]["finished"]["data"]
    return {
        "by_external_task_id": row["get"]["by_external_task_id"],
        "task_info_at_once": "task_info" in created,
        "external_task_id": "external_task_id" in finished.get("task_info", {}),
        "parent_video": "parent_video" in row.get("result_task_info", {}),
        "watermark_info": "watermark_info" in finished,
    }


def param(row: Json, of: str) -> Json:
    """Strip a parameter of its prose.

    Where every model of its enum is marked as retired the mark is dropped: nobody saw them refused.
    """
    keys = PARAM_KEYS if row.get("sure", True) else SHAPE_KEYS
    lenient = LENIENT.get((of, row.get("name", "")), ())
    kept: Json = {key: row[key] for key in keys if row.get(key, False) is not False and key not in lenient}
    if "retired" in kept and set(kept["retired"]) >= set(kept["enum"]):
        del kept["retired"]
    if "items" in row:
        kept["items"] = {name: param(item, of) for name, item in row["items"].items()}
    return kept


def error(row: Json) -> Json:
    """Return the HTTP status and the usual message of an error code."""
    texts = [text for text in row.get("messages", ()) if "…" not in text]
    return {"http": row["http"], "message": texts[0] if len(texts) == 1 else row["meaning"]}


def packs(table: Json) -> Json:
    """Return the slots by kind for packs whose name does not tell them, and the packs known by name."""
    slots = {kind: n for kind, n in table["fallback"].items() if isinstance(n, int) and " " not in kind}
    named = [row for row in table["rows"] if row.get("name") and row.get("concurrency")]
    keep = ("kind", "name", "units", "concurrency")
    return {"fallback": slots, "rows": [{key: row[key] for key in keep} for row in named]}


def voices(tables: Json) -> dict[str, list[str]]:
    """Return the languages of each voice of lip sync and text to speech."""
    languages: dict[str, list[str]] = {}
    for row in tables["video_voices"]["voices"]:
        languages.setdefault(row["voice_id"], []).append(row["voice_language"])
    return languages


def scenes(table: Json) -> dict[str, list[str]]:
    """Return the known effect scenes by the number of pictures they take."""
    return {
        "single": [*table["single_current"], *table["single_older"]],
        "dual": [*table["dual_current"], *table["dual_older"]],
    }


def capabilities(name: str, params: Json, tables: Json) -> list[Json]:
    """List what each model takes: words of fields that it ``allows``, fields that it comes ``without``."""
    video = [r for r in tables["video_capability_map"]["rows"] if r["endpoint"] == name]
    image = [r for r in tables["image_capability_map"]["rows"] if name in r["endpoints"] and "state" not in r]
    rows = [row for row in (*video, *image) if not row["model"].startswith("(")]
    sure = [row for row in rows if row.get("sure", True)]
    return [
        capability(row, params)
        for row in rows
        if row in sure or not any(covers(other, row) for other in sure)
    ]


def covers(sure: Json, doubtful: Json) -> bool:
    """Tell whether a sure row makes a doubtful one of the same model and mode superfluous."""
    same = all(sure.get(key) == doubtful.get(key) for key in ("model", "mode"))
    return same and set(sure["durations"]) >= set(doubtful["durations"])


def capability(row: Json, params: Json) -> Json:
    """Turn a row of a capability map into the form both share; a doubtful row bounds mode and length only."""
    allows: dict[str, list[Any]] = {}
    for column, field in CAPABILITY_WORDS.items():
        words = row.get(column)
        if field in params and words not in (None, "any"):
            allows[field] = [words] if isinstance(words, str) else [word.split(" (")[0] for word in words]
    made: Json = {"model": row["model"], "allows": allows, "without": []}
    if not row.get("sure", True):
        return made
    for column in (column for column, value in row.items() if value is False):
        for field in CAPABILITY_FLAGS.get(column, (column,)):
            if field in params and params[field].get("default") == "off":
                allows[field] = ["off"]
            elif field in params:
                made["without"].append(field)
    if "character_reference" in row and "image_reference" in params:
        kinds = {"subject": row["character_reference"], "face": row["face_reference"]}
        allows["image_reference"] = [kind for kind, granted in kinds.items() if granted]
    if row.get("series") is False and "result_type" in params:
        allows["result_type"] = ["single"]
    return made


def main(arguments: list[str]) -> int:
    """Write reference.json; the one argument is the folder of the facts."""
    return write_reference(arguments, "make_reference", make, TARGET)


def write_reference(arguments: list[str], module: str, make: Callable[[Path], Json], target: Path) -> int:
    """Write what a module of the tests makes from the folder of the facts; return an exit status."""
    if len(arguments) != 1:
        sys.stderr.write(f"usage: python -m tests.{module} FOLDER\n")
        return 2
    text = json.dumps(make(Path(arguments[0])), ensure_ascii=False, indent=1)
    target.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
