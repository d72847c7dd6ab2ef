"""Make tests/reference/v1.json and v2.json: the collected facts about the API that tests compare with.

``python -m tests.trim_reference FOLDER`` reads v1_video.json, v1_other.json, v2.json and samples.json in that
folder. The same facts give the same bytes. In v1.json a call beside an endpoint becomes an endpoint of its
own, named such as ``multi_elements.init_selection``. v2.json has the second generation, and the wire
samples of both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

REFERENCE: Final = Path(__file__).resolve().parent / "reference"
QUERIES: Final = {"get_tasks", "list_tasks", "get_solutions", "list_solutions"}
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


def trim_v2(folder: Path) -> Json:
    """Return the content of v2.json, made from the files in ``folder``."""
    facts, samples = (
        json.loads((folder / name).read_text(encoding="utf-8")) for name in ("v2.json", "samples.json")
    )
    tables = facts["tables"]
    query = next(row for row in facts["endpoints"] if row["name"] == "get_tasks")
    outputs = {name: fields for name, fields in tables["output_types"].items() if isinstance(fields, dict)}
    return {
        "endpoints": {row["name"]: endpoint_v2(row) for row in facts["endpoints"] if "create" in row},
        "queries": {
            row["name"]: {**picked(row, ("call", "result_at", "result")), "params": params(row)}
            for row in facts["endpoints"]
            if row["name"] in QUERIES
        },
        "prices": tables["prices_units_per_s"],
        "solution_voices": tables["solution_voices"],
        "avatars": tables["talking_agent_avatars"],
        "models": tables["v2_models"],
        "field_map": tables["v1_to_v2_fields"],
        "task": query["result"],
        "statuses": tables["status"]["v2"],
        "output_types": {name: without(fields, "note") for name, fields in outputs.items()},
        "billing_entry": without(tables["billing_entry"], "rules"),
        "messages": [
            picked(row, ("code", "http", "message")) for row in tables["error_messages_seen"] if row["code"]
        ],
        "answers": [picked(row, ("name", "path", "http", "endpoint", "body")) for row in samples["answers"]],
        "requests": [
            picked(row, ("name", "method", "path", "endpoint", "body")) for row in samples["requests"]
        ],
        "callbacks": [
            picked(row, ("name", "generation", "headers", "body", "raw", "vendors_published_test_secret"))
            for row in samples["callbacks"]
        ],
    }


def endpoint_v2(row: Json) -> Json:
    """Strip an endpoint of the second generation of its prose."""
    kept = picked(row, ("family", "model", "create", "get", "list", "result_at", "result", "example"))
    return {"quota": picked(row["quota"], ("pool", "weight", "sure")), **kept, "params": params(row)}


def params(row: Json) -> Json:
    """Strip the parameters of an endpoint of their prose."""
    return {item["name"]: param(item) for item in row["params"]}


def without(row: Json, key: str) -> Json:
    """Return a row without one key."""
    return {name: value for name, value in row.items() if name != key}


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
    if "variants" in row:
        kept["variants"] = {name: param(item) for name, item in row["variants"].items()}
    return kept


def picked(row: Json, keys: tuple[str, ...]) -> Json:
    """Return the given keys of a row, in the order given; absent ones are left out."""
    return {key: row[key] for key in keys if key in row}


def main(arguments: list[str]) -> int:
    """Write the files; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.trim_reference FOLDER\n")
        return 2
    folder = Path(arguments[0])
    for name, content in (("v1.json", trim(folder)), ("v2.json", trim_v2(folder))):
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (REFERENCE / name).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
