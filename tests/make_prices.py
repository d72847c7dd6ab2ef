"""Convert the price table into the form of the emulator's reference: units, their measure, conditions."""

from __future__ import annotations

import re
from typing import Any, Final

Json = dict[str, Any]

FEATURES: Final[dict[str, tuple[str, ...]]] = {
    "text_to_video": ("text or image to video",),
    "image_to_video": ("text or image to video",),
    "multi_image_to_video": ("multi-image to video",),
    "omni_video": ("omni video",),
    "motion_control": ("motion control",),
    "multi_elements": ("multi-elements",),
    "video_extend": ("video extension",),
    "identify_face": ("identify face",),
    "advanced_lip_sync": ("lip sync",),
    "lip_sync": ("lip sync",),
    "avatar": ("avatar",),
    "video_effects": ("video effects",),
    "image_recognize": ("image recognize",),
    "image_generation": ("text or single image to image", "text to image", "image to image"),
    "omni_image": ("omni image",),
    "multi_image_to_image": ("multi image to image",),
    "image_expand": ("image expansion",),
    "virtual_try_on": ("virtual try-on",),
    "ai_multi_shot": ("ai multi-shot",),
    "custom_voices": ("custom voice",),
    "text_to_speech": ("text to speech",),
    "text_to_audio": ("text to audio",),
    "video_to_audio": ("video to audio",),
}
"""The price table's name for the product of each endpoint; endpoints that are not here cost nothing."""

ENDED: Final = frozenset({"multi_image_to_video", "multi_elements", "video_extend"})
"""Endpoints of which only prices of ended models are known."""

EFFECT_UNITS: Final = 2
"""Units of a video effect by a sample answer; the price list of effects was never captured."""

_CLIP: Final = re.compile(r"(\d+) s clip")


def prices_of(name: str, params: Json, table: Json) -> list[Json]:
    """Return the rows of the price table that are about an endpoint, in the emulator's form."""
    rows = table.get("retired_rows", []) if name in ENDED else table["rows"]
    models = params.get("model_name", {}).get("enum")
    about = [row for row in rows if set(re.split(r", | / ", row["feature"])) & set(FEATURES.get(name, ()))]
    made = [one for row in about for one in price(row)]
    for one in made:
        if "resolution" not in params:
            one["when"].pop("resolution", None)
    return [one for one in made if models is None or one["model"] is None or one["model"] in models]


def price(row: Json) -> list[Json]:
    """Convert a row of the price table: units, pool, measure, and the conditions ``when``.

    Conditions are values of fields or, as true or false, their presence. A row about several models or modes
    becomes one for each; ``model`` None stands for all.
    """
    clip = _CLIP.fullmatch(row["per"])
    units = EFFECT_UNITS if row["units"] is None else row["units"]
    made: Json = {"pool": row["pool"], "per": "clip" if clip else row["per"]}
    when = conditions(row)
    if clip:
        when["duration"] = [clip[1]]
    if isinstance(units, list):
        modes = row["variant"].split(" / ")
        priced = [(each, when | {"mode": [mode]}) for mode, each in zip(modes, units, strict=True)]
    else:
        priced = [(units, when)]
    return [
        {"model": model, **made, "units": each, "when": words}
        for model in models_of(row["model"])
        for each, words in priced
    ]


def models_of(text: str) -> list[str | None]:
    """Return the models that a row is about; None stands for all."""
    if text in ("any", "per effect_scene") or ", -" in text:
        return [None]
    return [*text.split(", ")]


def conditions(row: Json) -> dict[str, list[Any]]:
    """Return the conditions that a row's words put on the fields of a request."""
    what, *details = row["feature"].split(", ")
    variant = row["variant"]
    when: dict[str, list[Any]] = {}
    if " / " in variant or variant in ("std", "pro", "4k"):
        when["mode"] = [variant.split(" / ")[0]]
    if variant in ("4k", "1k, 2k") and row["pool"] == "image":
        when = {"resolution": variant.split(", ")}
    if "silent" in details:
        when["sound"] = ["off"]
    if any(detail.startswith("with sound") for detail in details):
        when["sound"] = ["on"]
    if any("chosen voice" in detail for detail in details):
        when["voice_list"] = ["no chosen voice" not in details]
    if any("video input" in detail for detail in details):
        when["video_list"] = ["with video input" in details]
    if what in {"text to image", "image to image"}:
        when["image"] = [what == "image to image"]
    return when
