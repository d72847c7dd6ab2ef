"""What each model can do, against the vendor's maps: every row has what it grants and what it does not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

import kling_async
from kling_async import v1
from kling_async.errors import KlingWarning, RequestInvalid
from kling_async.v1 import capabilities
from kling_async.v1.capabilities import Capability
from kling_async.wire import checks
from kling_async.wire.checks import check
from tests.reference import V1

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]

VIDEO_ROWS: list[Json] = [row for row in V1["video_models"] if "(" not in row["model"]]
"""Those that have a model."""
IMAGE_ROWS = [(endpoint, row) for row in V1["image_models"] for endpoint in row["endpoints"]]
RETIRED_VIDEO = set(V1["retired"]["video"])
RETIRED_IMAGE = set(V1["retired"]["image"])
FEATURES: Final = (
    *("camera_control", "image_tail", "end_frame_only", "motion_brush", "multi_shot", "sound", "voice_list"),
    *("element_list", "reference_video", "extendable", "cfg_scale"),
)
"""Columns of the map."""
DISPUTED_ELSEWHERE: Final = {("kling-v2-6", "motion_control", "element_list")}
"""What the map denies, but the page of the endpoint does not: the reference says that it is not known."""

ELEMENTS: Final = (v1.ElementRef(element_id=1),)
SHOTS: Final[Json] = {"multi_shot": True, "shot_type": "intelligence"}
CAMERA: Final = v1.CameraControl(type="simple", config=v1.CameraConfig(zoom=1))
CLIP: Final = v1.OmniVideoClip(video_url="https://a.example/v.mp4", refer_type="feature")
FRAMES: Final = (
    v1.OmniVideoImage(image_url=b"x", type="first_frame"),
    v1.OmniVideoImage(image_url=b"y", type="end_frame"),
)


class Asking(NamedTuple):
    """How one endpoint is asked for the features of the map."""

    make: Callable[..., Any]
    asks: dict[str, tuple[Json, dict[str, str]]]
    """What is set to ask for something, and by column the field that is then refused."""
    seconds: tuple[int, ...] = tuple(range(3, 16))


NOTHING: Final[tuple[Json, dict[str, str]]] = ({}, {})
SOUND: Final = ({"sound": True}, {"sound": "sound"})
SEVERAL: Final = (SHOTS, {"multi_shot": "multi_shot"})
CFG: Final = ({"cfg_scale": 0.5}, {"cfg_scale": "cfg_scale"})
CAMERA_ASKED: Final = ({"camera_control": CAMERA}, {"camera_control": "camera_control"})
ELEMENTS_ASKED: Final = ({"element_list": ELEMENTS}, {"element_list": "element_list"})

ASKING: Final = {
    "text_to_video": Asking(
        lambda **values: v1.TextToVideo(prompt="x", **values),
        {"": NOTHING, "sound": SOUND, "shots": SEVERAL, "cfg": CFG, "camera": CAMERA_ASKED},
    ),
    "image_to_video": Asking(
        lambda **values: v1.ImageToVideo(**dict[str, Any](prompt="x", image=b"x") | values),
        {
            "": NOTHING,
            "sound": SOUND,
            "shots": SEVERAL,
            "cfg": CFG,
            "camera": CAMERA_ASKED,
            "elements": ELEMENTS_ASKED,
            "brush": ({"static_mask": b"x"}, {"motion_brush": "static_mask"}),
            "end frame": ({"image_tail": b"x"}, {"image_tail": "image_tail"}),
            "end frame alone": (
                {"image": None, "image_tail": b"x"},
                {"image_tail": "image_tail", "end_frame_only": "image"},
            ),
            "voices": (
                {"sound": True, "voice_list": (v1.VoiceRef(voice_id="1"),)},
                {"sound": "sound", "voice_list": "voice_list"},
            ),
        },
    ),
    "multi_image_to_video": Asking(
        lambda **values: v1.MultiImageToVideo(prompt="x", image_list=(v1.InputImage(image=b"x"),), **values),
        {"": NOTHING},
    ),
    "omni_video": Asking(
        lambda **values: v1.OmniVideo(**dict[str, Any](prompt="x", aspect_ratio="1:1") | values),
        {
            "": NOTHING,
            "sound": SOUND,
            "shots": SEVERAL,
            "elements": ELEMENTS_ASKED,
            "video": ({"video_list": (CLIP,)}, {"reference_video": "video_list"}),
            "frames": ({"image_list": FRAMES, "aspect_ratio": None}, {"image_tail": "image_list"}),
        },
    ),
    "motion_control": Asking(
        lambda duration, **values: v1.MotionControl(
            image_url=b"x", video_url="https://a.example/v.mp4", character_orientation="video", **values
        ),
        {"": NOTHING, "elements": ELEMENTS_ASKED},
        seconds=(5,),
    ),
}
CHOSEN: Final = [row for row in VIDEO_ROWS if row["endpoint"] in ASKING]
"""Rows of endpoints whose request names a model."""


def all_judged(request: Any) -> set[str]:
    """What the check makes of a request: its wrong fields; or ``?`` and each that was warned about."""
    checks._warned.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check(request)
        except RequestInvalid as error:
            found = {problem.field for problem in error.problems}
            return {"mode"} if "mode" in found else {"duration"} if "duration" in found else found
    told = [str(w.message) for w in caught if issubclass(w.category, KlingWarning)]
    return {f"?{text.partition('.')[2].partition(':')[0]}" for text in told} - {"?model_name"}


def judged(request: Any) -> str:
    """The same as one word."""
    return "".join(sorted(all_judged(request)))


def modes(row: Json) -> tuple[str, ...]:
    """The modes of a row; of old models that the map gives none, clients sent std or pro."""
    named = {"any": ("std", "pro"), "as source": ()}
    return named.get(row["mode"], (row["mode"],))


def verdict(row: Json, column: str) -> str:
    """What a row says of a feature."""
    if disputed(row, column):
        return "?"
    sure = row["sure"] or column == "end_frame_only"  # its parameter names the only models, for sure
    return "granted" if row[column] else "denied" if sure else "?"


def disputed(row: Json, column: str) -> bool:
    """Whether sources disagree on a feature."""
    return (row["model"], row["endpoint"], column) in DISPUTED_ELSEWHERE or row[column] == "disputed"


def granted(endpoint: str, model: str, mode: str, seconds: int, what: str) -> set[str]:
    """The same, by the reference's map."""
    rows = [row for row in CHOSEN if (row["endpoint"], row["model"]) == (endpoint, model)]
    rows = [row for row in rows if mode in modes(row)]
    if not rows:
        return {"mode"}
    rows = [row for row in rows if str(seconds) in row["durations"]]
    _, columns = ASKING[endpoint].asks[what]
    after_video = seconds > 10 and "reference_video" in columns
    if not rows or (after_video and all("3 to 10" in row["reference_video"] for row in rows)):
        return {"duration"}
    said = {field: {verdict(row, column) for row in rows} for column, field in columns.items()}
    lacking = {field: words for field, words in said.items() if "granted" not in words}
    refused = {field for field, words in lacking.items() if "denied" in words}
    return refused or {f"?{field}" for field in lacking} | off_the_bare_row(rows, what, mode, seconds)


def off_the_bare_row(rows: list[Json], what: str, mode: str, seconds: int) -> set[str]:
    """One model has rows of their own for a text or a first frame alone, which no good source confirms."""
    if rows[0]["model"] != "kling-video-o1" or what in {"elements", "video", "frames"}:
        return set()
    bare = [row for row in CHOSEN if row["model"] == "kling-video-o1" and not row["image_tail"]]
    return (
        set()
        if any(str(seconds) in row["durations"] for row in bare if mode in modes(row))
        else {"?duration"}
    )


MODELS: Final = sorted({(row["endpoint"], row["model"]) for row in CHOSEN})


@pytest.mark.parametrize(("endpoint", "model"), MODELS)
def test_every_combination_of_a_video_model_is_judged_by_the_map(endpoint: str, model: str) -> None:
    """Every mode, length and feature of a model: accepted where a row grants it, refused where none does."""
    asking = ASKING[endpoint]
    for mode in ("std", "pro", "4k"):
        for seconds in asking.seconds:
            for what, (values, _) in asking.asks.items():
                request = asking.make(model_name=model, mode=mode, duration=seconds, **values)
                case = (mode, seconds, what)
                assert (case, all_judged(request)) == (case, granted(endpoint, model, *case))


@pytest.mark.parametrize("row", CHOSEN, ids=lambda r: f"{r['endpoint']}-{r['model']}-{r['mode']}")
def test_every_row_of_the_video_map_accepts_and_refuses(row: Json) -> None:
    """The loop above is not vacuous: each row has something it grants and something it does not."""
    asking = ASKING[row["endpoint"]]
    fitting = [s for s in asking.seconds if str(s) in row["durations"]]
    for mode in modes(row):
        verdicts = [granted(row["endpoint"], row["model"], mode, s, w) for s in fitting for w in asking.asks]
        assert set() in verdicts
        others = [granted(row["endpoint"], row["model"], "4k", 3, w) for w in asking.asks]
        assert any(verdicts + others)


def test_our_video_map_is_the_reference_s() -> None:
    """Row by row: model, endpoint, mode, lengths, resolution, every feature, and whether it is sure."""
    ours = [
        (
            *(row.model, row.endpoint, mode, row.durations, row.resolution, row.sure),
            set(row.features),
            set(row.disputed),
        )
        for row in capabilities.VIDEO
        for mode in row.modes or ("",)
    ]
    theirs = [
        (
            *(row["model"], row["endpoint"], mode, tuple(map(int, row["durations"]))),
            *(row["resolution"] or "", row["sure"]),
            {word for word in FEATURES if row[word] and row[word] != "disputed"},
            {word for word in FEATURES if disputed(row, word)},
        )
        for row in VIDEO_ROWS
        for mode in modes(row) or ("",)
    ]
    assert ours == theirs


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
    unsure = {("image_generation", "elements")}  # the map alone says which models take them
    if row["model"] == "kling-v1-5":  # which asks for it as soon as there is an image
        least = {**least, "image_reference": "face", "image": b"x"}
    if "restyle only" in str(row["single_image"]):
        assert judged(kind(**least, model_name=row["model"])) == "image"
        least = {**least, "image": b"x"}
    return {
        feature: (
            judged(kind(**{**least, "model_name": row["model"], **values})),
            "" if offers(endpoint, row, feature) else "?" * ((endpoint, feature) in unsure) + field,
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


@pytest.mark.parametrize(
    ("endpoint", "model"),
    [*MODELS, *(("text_to_video", model) for model in sorted(RETIRED_VIDEO))]
    + [(endpoint, "kling-v99") for endpoint in ASKING],
)
def test_an_ended_or_unknown_video_model_warns_once_and_passes(endpoint: str, model: str) -> None:
    """Only a model that is served passes in silence; none is refused for its name."""
    assert_warned_once(
        ASKING[endpoint].make(model_name=model, mode="std", duration=5),
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
    """As for videos; a model of another endpoint is named with that endpoint."""
    kind, least = IMAGE_REQUESTS[endpoint]
    values = {**least, "model_name": model, **({"image": b"x"} if model == "kling-v2-new" else {})}
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


DEFAULTS: Final = {
    "text_to_video": v1.DEFAULT_VIDEO_MODEL,
    "image_to_video": v1.DEFAULT_VIDEO_MODEL,
    "omni_video": v1.DEFAULT_OMNI_VIDEO_MODEL,
    "motion_control": v1.DEFAULT_MOTION_MODEL,
}
"""Of multi-image to video the only model has ended: it stays the one that is sent."""


def test_the_lists_of_ended_models_are_the_vendor_s() -> None:
    """And no default of ours is among them: it is a model that the maps know."""
    assert set(capabilities.RETIRED_VIDEO) == RETIRED_VIDEO
    assert set(capabilities.RETIRED_IMAGE) == RETIRED_IMAGE
    for endpoint, model in DEFAULTS.items():
        assert model in {model for at, model in MODELS if at == endpoint} - RETIRED_VIDEO
        assert ASKING[endpoint].make(duration=5, mode="pro").model_name == model
    for endpoint, (kind, least) in IMAGE_REQUESTS.items():
        assert (endpoint, kind(**least).model_name) in NAMED
        assert kind(**least).model_name not in RETIRED_IMAGE


def test_our_maps_hold_the_rows_of_the_reference() -> None:
    """No model of the reference is missing from our maps, and none was made up."""
    ours = [(endpoint, row.model) for row in capabilities.IMAGE for endpoint in row.endpoints]
    assert sorted(ours) == sorted(NAMED)


# --- what may be asked for ---------------------------------------------------------------------


def test_everything_that_may_be_asked_for_is_told() -> None:
    """Without arguments, every row of both maps: an image model once for each of its endpoints."""
    told = kling_async.capabilities()
    assert len(told) == len(capabilities.VIDEO) + sum(len(row.endpoints) for row in capabilities.IMAGE)
    assert len(set(told)) == len(told)
    assert {row.model for row in told if row.retired} == RETIRED_VIDEO | RETIRED_IMAGE


def test_a_model_and_an_endpoint_narrow_the_answer() -> None:
    """One or both; a video row tells modes, lengths and features."""
    assert kling_async.capabilities("kling-v2-6", "image_to_video") == (
        Capability(
            endpoint="image_to_video",
            model="kling-v2-6",
            modes=("std",),
            durations=(5, 10),
            resolutions=("720p",),
        ),
        Capability(
            endpoint="image_to_video",
            model="kling-v2-6",
            modes=("pro",),
            durations=(5, 10),
            resolutions=("1080p",),
            features=("image_tail", "sound", "voice_list"),
        ),
    )
    assert {row.model for row in kling_async.capabilities(endpoint="motion_control")} == {
        "kling-v3",
        "kling-v2-6",
    }
    endpoints = {row.endpoint for row in kling_async.capabilities("kling-v3")}
    assert endpoints == {"text_to_video", "image_to_video", "motion_control", "image_generation"}


def test_an_image_model_s_features_are_told() -> None:
    """Columns of the image map that are true; what no source confirms is told as such."""
    (row,) = kling_async.capabilities("kling-v1-5", "image_generation")
    assert (row.modes, row.durations, row.features, row.retired) == ((), (), ("image_reference",), True)
    assert not any(row.sure for row in kling_async.capabilities("kling-v3") if "4k" in row.modes)


@pytest.mark.parametrize("names", [("kling-v99",), (None, "no_such"), ("kling-v3", "video_extend"), ("", "")])
def test_an_unknown_name_gives_nothing(names: tuple[str | None, ...]) -> None:
    """Nor does a model at an endpoint that does not offer it."""
    assert kling_async.capabilities(*names) == ()
