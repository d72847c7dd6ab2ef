"""What each model can do, against the vendor's maps: every row has what it grants and what it does not."""

from __future__ import annotations

import warnings
from typing import Any, Final

import pytest

from kling_async import checks, v1
from kling_async.checks import check
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.v1 import capabilities
from tests.reference import V1

Json = dict[str, Any]

VIDEO_ROWS = [row for row in V1["video_models"] if row["endpoint"] == "text_to_video"]
IMAGE_ROWS = [row for row in V1["image_models"] if "image_generation" in row["endpoints"]]
VIDEO_MODELS = sorted({row["model"] for row in VIDEO_ROWS})
RETIRED_VIDEO = set(V1["retired"]["video"])
RETIRED_IMAGE = set(V1["retired"]["image"])
FEATURES: Final[dict[str, Json]] = {
    "": {},
    "sound": {"sound": True},
    "multi_shot": {"multi_shot": True, "shot_type": "intelligence"},
    "camera_control": {"camera_control": v1.CameraControl(type="down_back")},
    "cfg_scale": {"cfg_scale": 0.5},
}


def judged(request: Any) -> str:
    """What the check makes of a request: its first wrong field, ``?`` and a field, or nothing."""
    checks._warned.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(request)
        except RequestInvalid as error:
            return error.problems[0].field
    told = [str(w.message) for w in caught if issubclass(w.category, KlingWarning)]
    fields_told = {text.partition(".")[2].partition(":")[0] for text in told}
    return "".join(f"?{name}" for name in sorted(fields_told - {"model_name"}))


def modes(row: Json) -> tuple[str, ...]:
    """The modes of a row; of old models that the map gives none, clients sent std or pro."""
    return ("std", "pro") if row["mode"] == "any" else (row["mode"],)


def granted(model: str, mode: str, seconds: int, feature: str) -> str:
    """The same, by the reference's map."""
    rows = [r for r in VIDEO_ROWS if r["model"] == model and mode in modes(r)]
    if not rows:
        return "mode"
    rows = [r for r in rows if str(seconds) in r["durations"]]
    if not rows:
        return "duration"
    (row,) = rows
    if feature and row[feature] is False:
        return feature if row["sure"] else f"?{feature}"
    return ""


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_every_combination_of_a_video_model_is_judged_by_the_map(model: str) -> None:
    """Every mode, length and feature of a model: accepted where a row grants it, refused where none does."""
    for mode in ("std", "pro", "4k"):
        for seconds in range(3, 16):
            for feature, values in FEATURES.items():
                request = v1.TextToVideo(model_name=model, prompt="x", mode=mode, duration=seconds, **values)
                case = (mode, seconds, feature)
                assert (case, judged(request)) == (case, granted(*(model, *case)))


@pytest.mark.parametrize("row", VIDEO_ROWS, ids=lambda r: f"{r['model']}-{r['mode']}-{r['durations'][0]}s")
def test_every_row_of_the_video_map_accepts_and_refuses(row: Json) -> None:
    """The loop above is not vacuous: each row has something it grants and something it does not."""
    for mode in modes(row):
        seconds = int(row["durations"][0])
        verdicts = {granted(row["model"], mode, seconds, feature) for feature in FEATURES}
        assert "" in verdicts
        assert verdicts - {""}


IMAGE_FEATURES: Final[dict[str, Json]] = {
    "image": {"image": b"x"},
    "image_reference": {"image": b"x", "image_reference": "face"},
    "element_list": {"element_list": (v1.ElementRef(element_id=1),)},
    "resolution": {"resolution": "2k"},
}


@pytest.mark.parametrize("feature", IMAGE_FEATURES)
@pytest.mark.parametrize("row", IMAGE_ROWS, ids=lambda r: r["model"])
def test_every_image_model_is_held_to_its_features(row: Json, feature: str) -> None:
    """References and elements by the map, or for ended models by the parameter's list; an image by all."""
    params = V1["endpoints"]["image_generation"]["params"]
    if feature in ("image", "resolution"):
        allowed = True
    elif "state" in row:
        allowed = row["model"] in params[feature]["models"]
    elif feature == "image_reference":
        allowed = bool(row["character_reference"] and row["face_reference"])
    else:
        allowed = bool(row["elements"])
    values = dict(IMAGE_FEATURES[feature])
    if "restyle only" in str(row["single_image"]):
        values["image"] = b"x"
        assert judged(v1.ImageGeneration(model_name=row["model"], prompt="x")) == "image"
    request = v1.ImageGeneration(model_name=row["model"], prompt="x", **values)
    assert judged(request) == ("" if allowed else feature)


@pytest.mark.parametrize("model", [*VIDEO_MODELS, *sorted(RETIRED_VIDEO), "kling-v99"])
def test_an_ended_or_unknown_video_model_warns_once_and_passes(model: str) -> None:
    """Only a model that is served passes in silence; none is refused for its name."""
    assert_warned_once(
        v1.TextToVideo(model_name=model, prompt="x"),
        retired=model in RETIRED_VIDEO,
        unknown=model == "kling-v99",
    )


@pytest.mark.parametrize("model", [r["model"] for r in IMAGE_ROWS] + ["kling-v99"])
def test_an_ended_or_unknown_image_model_warns_once_and_passes(model: str) -> None:
    """As for videos."""
    assert_warned_once(
        v1.ImageGeneration(model_name=model, prompt="x", image=b"x"),
        retired=model in RETIRED_IMAGE,
        unknown=model == "kling-v99",
    )


def assert_warned_once(request: Any, *, retired: bool, unknown: bool) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check(request)
        check(request)
    texts = [str(w.message) for w in caught]
    assert len(texts) == retired + unknown
    if texts:
        assert request.model_name in texts[0]
        assert (V1["retired"]["date"] in texts[0]) is retired


def test_the_lists_of_ended_models_are_the_vendor_s() -> None:
    """And no default of ours is among them: it is a model that the maps know."""
    assert set(capabilities.RETIRED_VIDEO) == RETIRED_VIDEO
    assert set(capabilities.RETIRED_IMAGE) == RETIRED_IMAGE
    assert v1.DEFAULT_VIDEO_MODEL in set(VIDEO_MODELS) - RETIRED_VIDEO
    assert v1.DEFAULT_IMAGE_MODEL in {r["model"] for r in IMAGE_ROWS} - RETIRED_IMAGE
    assert v1.TextToVideo(prompt="x").model_name == v1.DEFAULT_VIDEO_MODEL
    assert v1.ImageGeneration(prompt="x").model_name == v1.DEFAULT_IMAGE_MODEL


def test_our_maps_hold_the_rows_of_the_reference() -> None:
    """No model of the reference is missing from our maps, and none was made up."""
    assert {row.model for row in capabilities.VIDEO} == set(VIDEO_MODELS)
    assert {row.model for row in capabilities.IMAGE} == {r["model"] for r in IMAGE_ROWS}
