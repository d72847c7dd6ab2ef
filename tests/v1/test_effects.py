"""Video effects: the scenes, and how many images each takes."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.v1.video import scenes
from tests.reference import V1
from tests.v1.judging import doubted, refused

TABLE = V1["effect_scenes"]
ONE = v1.EffectInput(image=b"x")
TWO = v1.EffectInput(images=(b"x", b"y"))


def effect(scene: str, given: v1.EffectInput = ONE, **values: Any) -> v1.VideoEffects:
    return v1.VideoEffects(effect_scene=scene, input=given, **values)


def test_our_lists_are_the_reference_s() -> None:
    """Current and older names, of one image and of two persons; no name is on two lists."""
    ours = (scenes.DUAL, scenes.SINGLE, scenes.OLD_DUAL, scenes.OLD_SINGLE)
    theirs = ("dual_current", "single_current", "dual_older", "single_older")
    assert [set(names) for names in ours] == [set(TABLE[column]) for column in theirs]
    assert len(frozenset().union(*ours)) == sum(map(len, ours)) == TABLE["counts"]["union_here"]


def test_a_listed_scene_takes_its_images_in_silence() -> None:
    """Every current name, with the images it takes; an older one warns, with a hint at what happened."""
    for scene in scenes.SINGLE:
        assert doubted(effect(scene)) == []
    for scene in scenes.DUAL:
        assert doubted(effect(scene, TWO)) == []
    for scene, given in [(s, ONE) for s in scenes.OLD_SINGLE] + [(s, TWO) for s in scenes.OLD_DUAL]:
        text = f"{scene!r} is not on the vendor's newest lists; it may have a new name"
        assert doubted(effect(scene, given)) == [("effect_scene", text)]


@pytest.mark.parametrize("given", [ONE, TWO], ids=["one", "two"])
def test_an_unknown_scene_passes_with_either(given: v1.EffectInput) -> None:
    """The lists change several times a month: nobody is refused for a name; told once."""
    text = "'dance_of_2027' is not known here; the vendor will judge it"
    assert doubted(effect("dance_of_2027", given)) == [("effect_scene", text)]
    assert doubted(effect("dance_of_2027", given)) == []


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        pytest.param(
            effect("hug_pro"),
            ("input.images", "is required by 'hug_pro', a scene of two persons"),
            id="one image for two",
        ),
        pytest.param(
            effect("hug"), ("input.images", "is required by 'hug', a scene of two persons"), id="an older one"
        ),
        pytest.param(
            effect("bullet_time_360", TWO),
            ("input.image", "is required by 'bullet_time_360', a scene of one image"),
            id="two images for one",
        ),
        pytest.param(
            effect("hug_pro", v1.EffectInput()),
            ("input", "give image, or images for a scene of two persons; neither is given"),
            id="no image",
        ),
        pytest.param(
            effect("hug_pro", v1.EffectInput(image=b"x", images=(b"x", b"y"))),
            ("input", "give image, or images for a scene of two persons; both are given"),
            id="image and images",
        ),
        pytest.param(
            effect("hug_pro", v1.EffectInput(images=(b"x",))),
            ("input.images", "has 1 entries; at least 2"),
            id="one of two",
        ),
        pytest.param(effect(""), ("effect_scene", "must not be empty"), id="no scene"),
        pytest.param(
            effect("hug_pro", v1.EffectInput(images=(b"x", b"y"), duration=7)),  # type: ignore[arg-type]
            ("input.duration", "'7' is not one of 5, 10"),
            id="length",
        ),
    ],
)
def test_a_scene_gets_its_images(request_: v1.VideoEffects, problem: tuple[str, str]) -> None:
    """One image, or exactly two for a scene of two persons."""
    assert refused(request_) == [problem]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (effect("hug_pro", v1.EffectInput(images=(b"x", b"y"), model_name="kling-v1-6")), "input.model_name"),
        (effect("hug_pro", v1.EffectInput(images=(b"x", b"y"), mode="pro")), "input.mode"),
        (effect("hug_pro", v1.EffectInput(images=(b"x", b"y"), duration=5)), "input.duration"),
        (effect("hug_pro", TWO, watermark_info=v1.WatermarkInfo(enabled=True)), "watermark_info"),
    ],
)
def test_what_the_newest_page_does_not_list_is_doubted(request_: v1.VideoEffects, field: str) -> None:
    """It passes: the vendor may still read it."""
    assert [name for name, _ in doubted(request_)] == [field]
