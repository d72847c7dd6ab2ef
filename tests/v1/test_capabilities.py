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
IMAGE_ROWS = [(endpoint, row) for row in V1["image_models"] for endpoint in row["endpoints"]]
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


ELEMENT: Final = (v1.ElementRef(element_id=1),)
PICTURE: Final = v1.InputImage(image=b"x")
SUBJECT: Final = v1.SubjectImage(subject_image=b"x")
IMAGE_REQUESTS: Final[dict[str, tuple[Any, Json]]] = {
    "image_generation": (v1.ImageGeneration, {"prompt": "x"}),
    "omni_image": (v1.OmniImage, {"prompt": "x", "aspect_ratio": "1:1"}),
    "multi_image_to_image": (v1.MultiImageToImage, {"subject_image_list": (SUBJECT,)}),
}
"""The type of request of an endpoint of images, and what the least of them needs."""
IMAGE_FEATURES: Final[dict[str, dict[str, tuple[str, Json]]]] = {
    "image_generation": {
        "nothing": ("", {}),
        "image": ("image", {"image": b"x"}),
        "reference": ("image_reference", {"image": b"x", "image_reference": "face"}),
        "elements": ("element_list", {"element_list": ELEMENT}),
        "2k": ("resolution", {"resolution": "2k"}),
    },
    "omni_image": {
        "nothing": ("", {}),
        "elements": ("element_list", {"element_list": ELEMENT}),
        "series": ("result_type", {"result_type": "series"}),
        "2k": ("resolution", {"resolution": "2k"}),
        "4k": ("resolution", {"resolution": "4k"}),
        "10 references": ("element_list", {"image_list": (PICTURE,) * 4, "element_list": ELEMENT * 6}),
        "11 references": ("element_list", {"image_list": (PICTURE,) * 5, "element_list": ELEMENT * 6}),
    },
    "multi_image_to_image": {
        "nothing": ("", {}),
        "scene and style": ("scene_image", {"scene_image": b"x", "style_image": b"x"}),
        "4 subjects": ("subject_image_list", {"subject_image_list": (SUBJECT,) * 4}),
        "5 subjects": ("subject_image_list", {"subject_image_list": (SUBJECT,) * 5}),
    },
}
"""What may be asked for at an endpoint, with the field that is wrong where the model does not offer it."""


def offers(endpoint: str, row: Json, feature: str) -> bool:
    """Whether an image model does something there, by the reference's map.

    Where the map is silent, on ended models, the parameter's own list of models says it.
    """
    if feature in ("2k", "4k"):
        return row["resolution"] == "as input" or any(size.startswith(feature) for size in row["resolution"])
    if feature == "reference" and "state" not in row:
        return bool(row["character_reference"] and row["face_reference"])
    if feature in ("reference", "elements") and "state" in row:
        field = IMAGE_FEATURES[endpoint][feature][0]
        models: list[str] = V1["endpoints"][endpoint]["params"][field]["models"]
        return row["model"] in models
    if feature in ("elements", "series"):
        return bool(row[feature])
    if feature.endswith("references"):
        most: int = row["references_max"]
        return int(feature.removesuffix(" references")) <= most
    return feature != "5 subjects"


def image_verdicts(endpoint: str, row: Json) -> dict[str, tuple[str, str]]:
    """Of each feature, what our check says of it and what the map does."""
    kind, least = IMAGE_REQUESTS[endpoint]
    if "restyle only" in str(row["single_image"]):
        assert judged(kind(**least, model_name=row["model"])) == "image"
        least = {**least, "image": b"x"}
    return {
        feature: (
            judged(kind(**{**least, "model_name": row["model"], **values})),
            "" if offers(endpoint, row, feature) else field,
        )
        for feature, (field, values) in IMAGE_FEATURES[endpoint].items()
    }


@pytest.mark.parametrize(
    ("endpoint", "row"), IMAGE_ROWS, ids=[f"{endpoint}-{row['model']}" for endpoint, row in IMAGE_ROWS]
)
def test_every_image_model_is_held_to_its_features(endpoint: str, row: Json) -> None:
    """What the map grants is accepted, what it does not is refused; of both there is some in every row."""
    verdicts = image_verdicts(endpoint, row)
    assert {f: ours for f, (ours, _) in verdicts.items()} == {f: facts for f, (_, facts) in verdicts.items()}
    assert len({ours == "" for ours, _ in verdicts.values()}) == 2


@pytest.mark.parametrize("model", [*VIDEO_MODELS, *sorted(RETIRED_VIDEO), "kling-v99"])
def test_an_ended_or_unknown_video_model_warns_once_and_passes(model: str) -> None:
    """Only a model that is served passes in silence; none is refused for its name."""
    assert_warned_once(
        v1.TextToVideo(model_name=model, prompt="x"),
        retired=model in RETIRED_VIDEO,
        unknown=model == "kling-v99",
    )


NAMED: Final = [(endpoint, row["model"]) for endpoint, row in IMAGE_ROWS]
STRANGERS: Final = [
    *((endpoint, "kling-v99") for endpoint in IMAGE_REQUESTS),
    ("image_generation", "kling-v3-omni"),
    ("omni_image", "kling-v3"),
    ("multi_image_to_image", "kling-v3"),
]


@pytest.mark.parametrize(("endpoint", "model"), [*NAMED, *STRANGERS])
def test_an_ended_or_unknown_image_model_warns_once_and_passes(endpoint: str, model: str) -> None:
    """As for videos; a model of another endpoint is unknown here."""
    kind, least = IMAGE_REQUESTS[endpoint]
    values = {**least, "model_name": model, **({"image": b"x"} if endpoint == "image_generation" else {})}
    unknown = (endpoint, model) in STRANGERS
    assert_warned_once(kind(**values), retired=model in RETIRED_IMAGE, unknown=unknown)


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
    assert v1.TextToVideo(prompt="x").model_name == v1.DEFAULT_VIDEO_MODEL
    for endpoint, (kind, least) in IMAGE_REQUESTS.items():
        assert (endpoint, kind(**least).model_name) in NAMED
        assert kind(**least).model_name not in RETIRED_IMAGE


def test_our_maps_hold_the_rows_of_the_reference() -> None:
    """No model of the reference is missing from our maps, and none was made up."""
    assert {row.model for row in capabilities.VIDEO} == set(VIDEO_MODELS)
    ours = [(endpoint, row.model) for row in capabilities.IMAGE for endpoint in row.endpoints]
    assert sorted(ours) == sorted(NAMED)
