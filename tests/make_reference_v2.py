"""Make the emulator's reference_v2.json from the collected facts about the second generation of the API.

``python -m tests.make_reference_v2 FOLDER`` reads v2.json there and writes
kling_async/emulator/judging/reference_v2.json: the paths, what each endpoint reads, and what it costs.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from tests.make_reference import POOLS, WEIGHTS, param, write_reference

Json = dict[str, Any]

TARGET: Final = (
    Path(__file__).resolve().parent.parent / "kling_async" / "emulator" / "judging" / "reference_v2.json"
)
SOLUTION_POOLS: Final = {"solution_virtual_try_on": "virtual_try_on"}
"""Pools that no page states: the page on concurrency gives a try-on task one slot, and packs for it exist."""
MODES: Final = {"720p": "std", "1080p": "pro", "4k": "4k"}
"""The first generation's words for resolutions, by which the emulator paces and prices tasks."""

_PRICE: Final = re.compile(r"(?P<motion>motion-control )?(?P<model>kling-[a-z0-9.-]+)(?P<uses>[ ,a-z]*)")


def make(folder: Path) -> Json:
    """Return the content of reference_v2.json, made from v2.json in ``folder``."""
    facts = json.loads((folder / "v2.json").read_text(encoding="utf-8"))
    prices = facts["tables"]["prices_units_per_s"]
    rows = [row for row in facts["endpoints"] if row.get("generation") == "v2" and "create" in row]
    return {row["name"]: endpoint(row, prices) for row in rows}


def endpoint(row: Json, prices: Json) -> Json:
    """Describe an endpoint: its path, its contents by type, its settings and options, its prices."""
    quota = row["quota"]
    fields = {item["name"]: item for item in row["params"]}
    variants = fields.pop("contents", {}).get("variants", {})
    path, model = row["create"]["path"], row.get("model")
    return {
        "family": row["create"]["path"].split("/")[1],
        "model": row.get("model"),
        "pool": SOLUTION_POOLS.get(row["name"], POOLS.get(quota["pool"], quota["pool"])),
        "weight": WEIGHTS[quota["weight"]],
        "path": row["create"]["path"],
        "contents": {kind: content(entry) for kind, entry in variants.items()},
        "params": {name: param(item, row["name"]) for name, item in fields.items()},
        "prices": [] if model is None else prices_of(path, model, prices),
    }


def content(entry: Json) -> Json:
    """Describe the entries of one type: whether one must be there, how many may be, and their fields."""
    kept = {key: entry[key] for key in ("required", "max_items") if entry.get(key)}
    return {**kept, "items": {name: param(item, "contents") for name, item in entry["items"].items()}}


def prices_of(path: str, model: str, table: Json) -> list[Json]:
    """Return the price rows of a model at a path, the more special ones first."""
    motion = path.startswith("/motion-control")
    found: list[Json] = []
    for name, units in table.items():
        match = _PRICE.fullmatch(name)
        if match is None or match["model"] != model or bool(match["motion"]) != motion:
            continue
        when = uses(match["uses"])
        found += [
            {
                "model": None,
                "pool": "video",
                "per": "second",
                "units": price,
                "when": {"mode": [MODES[size]], **when},
            }
            for size, price in units.items()
        ]
    return sorted(found, key=lambda row: -len(row["when"]))


def uses(words: str) -> Json:
    """Turn the words of a price row into conditions on the fields of a task."""
    when: Json = {}
    if "silent" in words:
        when["sound"] = ["off"]
    if "native" in words:
        when["sound"] = ["on"]
    if "with voice" in words:
        when["voice_list"] = [True]
    if "no video" in words:
        when["video_list"] = [False]
    elif "with video" in words:
        when["video_list"] = [True]
    return when


def main(arguments: list[str]) -> int:
    """Write reference_v2.json; the one argument is the folder of the facts."""
    return write_reference(arguments, "make_reference_v2", make, TARGET)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
