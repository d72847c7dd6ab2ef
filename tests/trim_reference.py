"""Make tests/reference/v1.json: what the tests need of the collected facts about the API.

``python -m tests.trim_reference FOLDER`` reads v1_video.json and v1_other.json there. The same facts give
the same bytes. To compare one more endpoint with its facts, add its name to `ENDPOINTS`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

TARGET: Final = Path(__file__).resolve().parent / "reference" / "v1.json"
SOURCES: Final = ("v1_video.json", "v1_other.json")
ENDPOINTS: Final = ("text_to_video", "image_generation", "account_costs")
ENDPOINT_KEYS: Final = ("create", "call", "get", "list", "result")
PARAM_KEYS: Final = (
    *("type", "item_type", "also_type", "required", "send", "number_as_text", "unit", "default", "in"),
    *("enum", "open", "retired", "models", "min", "max", "max_chars", "min_items", "max_items", "media"),
)
VIDEO_KEYS: Final = (
    *("model", "mode", "durations", "sound", "multi_shot", "camera_control", "cfg_scale", "sure"),
)
IMAGE_KEYS: Final = ("model", "state", "character_reference", "face_reference", "elements", "single_image")


def trim(folder: Path) -> Json:
    """Return the content of v1.json, made from the files in ``folder``."""
    video, other = (json.loads((folder / name).read_text(encoding="utf-8")) for name in SOURCES)
    known = {row["name"]: row for row in (*video["endpoints"], *other["endpoints"])}
    tables = {**video["tables"], **other["tables"]}
    return {
        "endpoints": {name: endpoint(known[name]) for name in ENDPOINTS},
        "video_models": [
            picked(row, VIDEO_KEYS)
            for row in tables["video_capability_map"]["rows"]
            if row["endpoint"] == "text_to_video"
        ],
        "image_models": [
            picked(row, IMAGE_KEYS)
            for row in tables["image_capability_map"]["rows"]
            if "image_generation" in row["endpoints"]
        ],
        "retired": picked(tables["model_retirement"], ("date", "video", "image")),
        "errors": [
            picked(row, ("code", "http", "client_action", "task_after_refused_create", "messages"))
            for row in tables["errors"]["rows"]
        ],
        "statuses": sorted(tables["task_envelope"]["statuses"]),
    }


def endpoint(row: Json) -> Json:
    """One endpoint without its prose."""
    return {
        "quota": picked(row["quota"], ("pool", "weight")),
        **picked(row, ENDPOINT_KEYS),
        "params": {item["name"]: param(item) for item in row["params"]},
    }


def param(row: Json) -> Json:
    """One parameter without its prose, and those inside it."""
    kept = picked(row, PARAM_KEYS)
    if "items" in row:
        kept["items"] = {name: param(item) for name, item in row["items"].items()}
    return kept


def picked(row: Json, keys: tuple[str, ...]) -> Json:
    """The given keys of a row, in the order given, absent ones left out."""
    return {key: row[key] for key in keys if key in row}


def main(arguments: list[str]) -> int:
    """Write the file; the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.trim_reference FOLDER\n")
        return 2
    text = json.dumps(trim(Path(arguments[0])), ensure_ascii=False, indent=1)
    TARGET.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
