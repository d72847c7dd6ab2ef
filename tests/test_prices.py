"""kling_async/prices.py: what a request costs, against the vendor's price table and the emulator's bills."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import RawTask, media, v1
from kling_async.prices import estimate
from tests.support import pair, png

IMAGE = media("https://a.example/x.png")
VIDEO = "https://a.example/x.mp4"


def clip(**more: Any) -> v1.TextToVideo:
    return v1.TextToVideo(prompt="x", **more)


def omni(**more: Any) -> v1.OmniVideo:
    return v1.OmniVideo(prompt="x", aspect_ratio="16:9", **more)


def series(amount: Any) -> v1.OmniImage:
    return v1.OmniImage(prompt="x", model_name="kling-v3-omni", result_type="series", series_amount=amount)


def base(refer_type: Any) -> tuple[v1.OmniVideoClip, ...]:
    return (v1.OmniVideoClip(video_url=VIDEO, refer_type=refer_type),)


@pytest.mark.parametrize(
    ("request_", "units", "pool"),
    [
        (clip(), 3.0, "video"),
        (clip(mode="pro", duration=10), 8.0, "video"),
        (clip(mode="4k", duration=3), 9.0, "video"),
        (clip(mode="pro", sound=True, duration=15), 18.0, "video"),
        (clip(model_name="kling-v2-6"), 1.5, "video"),
        (clip(model_name="kling-v2-6", mode="pro", sound=True), 5.0, "video"),
        (
            v1.ImageToVideo(
                model_name="kling-v2-6",
                image=IMAGE,
                prompt="<<<voice_1>>>",
                mode="pro",
                sound=True,
                voice_list=(v1.VoiceRef(voice_id="1"),),
            ),
            6.0,
            "video",
        ),
        (clip(model_name="kling-v2-5-turbo", mode="pro", duration=10), 5.0, "video"),
        (clip(model_name="kling-v1", mode="pro", duration=10), 7.0, "video"),
        (clip(model_name="kling-v2-master"), 10.0, "video"),
        (omni(), 4.0, "video"),
        (omni(mode="std", sound=True, duration=10), 8.0, "video"),
        (omni(video_list=base("feature"), duration=5), 6.0, "video"),
        (v1.MultiElements(session_id="1", edit_mode="removal", prompt="x", mode="pro"), 5.0, "video"),
        (v1.TextToAudio(prompt="x", duration=5), 0.25, "video"),
        (v1.CustomVoice(voice_name="a", voice_url="https://a.example/x.mp3"), 0.05, "video"),
        (v1.ImageGeneration(prompt="x", n=3), 24.0, "image"),
        (v1.ImageGeneration(model_name="kling-v2-1", prompt="x"), 4.0, "image"),
        (v1.ImageGeneration(model_name="kling-v2-1", prompt="x", image=IMAGE, n=2), 16.0, "image"),
        (v1.OmniImage(prompt="x", model_name="kling-v3-omni", resolution="4k", n=2), 32.0, "image"),
        (
            v1.OmniImage(prompt="x", model_name="kling-v3-omni", result_type="series", series_amount=6),
            48.0,
            "image",
        ),
        (v1.ImageExpand(image=IMAGE, **v1.expansion(400, 300, area=2, aspect=1.5)), 8.0, "image"),
        (v1.AccountBillingPackage(start_time=1, end_time=2), 0.0, "video"),
        (v1.PresetVoices(), 0.0, "video"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (float, str)) else None,
)
def test_a_known_price(request_: Any, units: float, pool: str) -> None:
    """By model, mode, seconds, sound, voice, what goes in, and how many come out."""
    found = estimate(request_)
    assert (found.units, found.most, found.pool) == (units, units, pool)
    assert found.why


@pytest.mark.parametrize(
    ("request_", "most", "says"),
    [
        (v1.Avatar(image=IMAGE, audio_id="1"), 120.0, "length of the sound"),
        (
            v1.MotionControl(image_url=IMAGE, video_url=VIDEO, character_orientation="image", mode="std"),
            9.0,
            "at most 10 s",
        ),
        (omni(video_list=base("base")), 12.0, "edited video"),
        (v1.LipSync(input=v1.LipSyncInput(mode="text2video", video_id="1")), 6.0, "at most 60 s"),
        (
            v1.OmniImage(prompt="x", model_name="kling-v3-omni", result_type="series", series_amount="auto"),
            72.0,
            "at most 9",
        ),
        (clip(model_name="kling-v99"), None, "no price of text_to_video kling-v99 std"),
        (v1.VideoExtend(video_id="1"), None, "no price of video_extend"),
        (
            v1.VideoEffects(effect_scene="pet_crash_earth", input=v1.EffectInput(image=IMAGE)),
            None,
            "no price",
        ),
        (RawTask(path="/v1/x", body={}), None, "no price of /v1/x"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (float, str, type(None))) else None,
)
def test_what_cannot_be_known_says_so(request_: Any, most: float | None, says: str) -> None:
    """With a bound where there is one."""
    found = estimate(request_)
    assert (found.units, found.most, found.usd) == (None, most, None)
    assert says in found.why


def test_units_have_a_list_price() -> None:
    """In US dollars, each pool its own."""
    assert estimate(clip()).usd == pytest.approx(0.42)
    assert estimate(v1.ImageGeneration(prompt="x")).usd == pytest.approx(0.028)


@pytest.mark.anyio
async def test_the_emulator_bills_what_was_estimated() -> None:
    """Its prices are its own copy of the vendor's table."""
    requests: list[Any] = [
        *(
            clip(mode=mode, duration=d, sound=s)
            for mode in ("std", "pro", "4k")
            for d in (3, 15)
            for s in (True, False)
        ),
        clip(model_name="kling-v2-6", mode="pro", sound=True, duration=10),
        v1.ImageToVideo(image=png(), prompt="x"),
        omni(),
        omni(mode="std", sound=True),
        omni(model_name="kling-video-o1"),
        v1.ImageGeneration(prompt="x", n=9),
        v1.ImageGeneration(model_name="kling-v2-1", prompt="x", image=png()),
        v1.OmniImage(prompt="x", resolution="2k", aspect_ratio="1:1"),
        v1.MultiImageToImage(subject_image_list=(v1.SubjectImage(subject_image=IMAGE),)),
        v1.TextToAudio(prompt="x", duration=5),
        v1.CustomVoice(voice_name="a", voice_url="https://a.example/x.mp3"),
    ]
    async with pair({"video": 50, "image": 90, "virtual_try_on": 9}, seconds=5) as (_, client):
        for request in requests:
            task = await client.submit(request)
            await task.wait()
            assert task.record is not None
            assert float(task.record.units or 0) == pytest.approx(estimate(request).units), request
