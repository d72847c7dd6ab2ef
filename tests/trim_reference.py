"""Make tests/reference/v1.json: the part of the collected facts about the API that tests compare with.

``python -m tests.trim_reference FOLDER`` reads v1_video.json and v1_other.json in that folder. The same facts
give the same bytes. A call beside an endpoint becomes an endpoint of its own, named such as
``multi_elements.init_selection``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

TARGET: Final = Path(__file__).resolve().parent / "reference" / "v1.json"
SOURCES: Final = ("v1_video.json", "v1_other.json")
ENDPOINT_KEYS: Final = (
    "create",
    "call",
    "get",
    "list",
    "result_at",
    "result",
    "result_task_info",
    "legacy",
    "example",
)
PARAM_KEYS: Final = (
    *("type", "item_type", "also_type", "required", "send", "number_as_text", "unit", "default", "in"),
    *("enum", "open", "retired", "models", "min", "max", "max_chars", "min_items", "max_items", "media"),
    "sure",
)
VIDEO_KEYS: Final = (
    *("model", "endpoint", "mode", "durations", "resolution", "camera_control", "image_tail"),
    *("end_frame_only", "motion_brush", "multi_shot", "sound", "voice_list", "element_list"),
    *("reference_video", "extendable", "cfg_scale", "sure"),
)


def trim(folder: Path) -> Json:
    """Return the content of v1.json, made from the files in ``folder``."""
    video, other = (json.loads((folder / name).read_text(encoding="utf-8")) for name in SOURCES)
    rows = (*video["endpoints"], *other["endpoints"])
    tables = {**video["tables"], **other["tables"]}
    return {
        "endpoints": {made["name"]: endpoint(made) for row in rows for made in (row, *sub_calls(row))},
        "video_models": [picked(row, VIDEO_KEYS) for row in tables["video_capability_map"]["rows"]],
        "image_models": tables["image_capability_map"]["rows"],
        "retired": picked(tables["model_retirement"], ("date", "video", "image")),
        "errors": [
            picked(row, ("code", "http", "client_action", "task_after_refused_create", "messages"))
            for row in tables["errors"]["rows"]
        ],
        "statuses": sorted(tables["task_envelope"]["statuses"]),
        "voices": {"video": tables["video_voices"], "tts": tables["tts_voice_ids"]},
        "effect_scenes": tables["effect_scenes"],
    }


def sub_calls(row: Json) -> list[Json]:
    """Turn the calls beside an endpoint into endpoints; so the list of an endpoint that makes no tasks."""
    subs: list[Json] = [*row.get("other", ())]
    if "call" in row and "list" in row:
        like = {"name": "list", "method": "GET", "result": row["result"], "result_at": "data[]", "params": []}
        subs.append({**like, **row["list"]})
    made: list[Json] = []
    for sub in subs:
        call = picked(sub, ("method", "path"))
        quota = sub.get("quota", {"pool": "none", "weight": "0"})
        params = [*sub["params"], *(page_param(sub[key]) for key in ("page_num", "page_size") if key in sub)]
        name = f"{row['name']}.{sub['name']}"
        made.append({**sub, "name": name, "call": call, "quota": quota, "params": params})
    return made


def page_param(row: Json) -> Json:
    """Describe a query parameter that selects a page of a list."""
    return {"type": "int", "required": False, "in": "query", **row}


def endpoint(row: Json) -> Json:
    """Strip an endpoint of its prose."""
    return {
        "quota": picked(row["quota"], ("pool", "weight", "sure")),
        **picked(row, ENDPOINT_KEYS),
        "params": {item["name"]: param(item) for item in row["params"]},
    }


def param(row: Json) -> Json:
    """Strip a parameter of its prose, and the parameters inside it."""
    kept = picked(row, PARAM_KEYS)
    if "items" in row:
        kept["items"] = {name: param(item) for name, item in row["items"].items()}
    return kept


def picked(row: Json, keys: tuple[str, ...]) -> Json:
    """Return the given keys of a row, in the order given; absent ones are left out."""
    return {key: row[key] for key in keys if key in row}


def main(arguments: list[str]) -> int:
    """Write the file; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.trim_reference FOLDER\n")
        return 2
    text = json.dumps(trim(Path(arguments[0])), ensure_ascii=False, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
