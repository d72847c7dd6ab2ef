"""prices.py: what a request costs, against the vendor's price table and the emulator's bills."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import RawTask, media, v1
from kling_async.prices import estimate
from kling_async.wire.checks import to_wire
from tests.support import pair, png

IMAGE = media("https://a.example/x.png")
VIDEO = "https://a.example/x.mp4"


def clip(**more: Any) -> v1.TextToVideo:
    return v1.TextToVideo(prompt="x", **more)


def omni(**more: Any) -> v1.OmniVideo:
    return v1.OmniVideo(prompt="x", aspect_ratio="16:9", **more)


def spoken(prompt: str, *voices: str, **more: Any) -> v1.ImageToVideo:
    """Return a clip of the one model that takes chosen voices."""
    settings: dict[str, Any] = {"image": IMAGE, "mode": "pro", "sound": True, **more}
    refs = tuple(v1.VoiceRef(voice_id=voice) for voice in voices or ("1",))
    return v1.ImageToVideo(model_name="kling-v2-6", prompt=prompt, voice_list=refs, **settings)


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
        (spoken("<<<voice_1>>>"), 6.0, "video"),
        (spoken("nobody is named"), 5.0, "video"),
        (spoken("nobody", negative_prompt="<<<voice_1>>>"), 5.0, "video"),
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
    """Prices depend on model, mode, seconds, sound, voice, inputs, and the number of results."""
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
        (v1.VideoExtend(video_id="1"), 3.5, "1, 2 or 3.5 a call"),
        (v1.VirtualTryOn(human_image=IMAGE, cloth_image=IMAGE), None, "a newer model"),
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
    """Units are None, and a bound is given where there is one."""
    found = estimate(request_)
    assert (found.units, found.most, found.usd) == (None, most, None)
    assert says in found.why


@pytest.mark.parametrize(
    ("request_", "units", "most"),
    [
        (clip(extra={"duration": "15", "mode": "4k"}), 45.0, 45.0),
        (clip(duration=15, mode="4k", extra={"duration": None, "mode": ""}), 3.0, 3.0),
        (clip(extra={"sound": "on"}), 4.5, 4.5),
        (clip(sound=True, extra={"sound": "off"}), 3.0, 3.0),
        (clip(extra={"sound": True, "duration": 10.0}), 9.0, 9.0),
        (clip(extra={"model_name": "kling-v2-6"}), 1.5, 1.5),
        (
            clip(
                model_name="kling-v2-6",
                mode="pro",
                sound=True,
                extra={"prompt": "<<<voice_1>>>", "voice_list": [{"voice_id": "1"}]},
            ),
            6.0,
            6.0,
        ),
        (spoken("<<<voice_1>>>", extra={"voice_list": []}), 5.0, 5.0),
        (omni(extra={"video_list": [{"video_url": VIDEO}]}), None, 12.0),
        (omni(extra={"video_list": [{"video_url": VIDEO, "refer_type": "feature"}]}), 6.0, 6.0),
        (v1.ImageGeneration(prompt="x", extra={"n": 9}), 72.0, 72.0),
        (v1.ImageGeneration(prompt="x", model_name="kling-v2-1", extra={"image": VIDEO}), 8.0, 8.0),
        (v1.OmniImage(prompt="x", extra={"resolution": "4k"}), 16.0, 16.0),
        (v1.OmniImage(prompt="x", extra={"result_type": "series", "series_amount": "auto"}), None, 72.0),
        (v1.OmniImage(prompt="x", extra={"result_type": "series", "series_amount": 9}), 72.0, 72.0),
        (
            v1.MotionControl(
                image_url=IMAGE,
                video_url=VIDEO,
                character_orientation="image",
                mode="std",
                extra={"character_orientation": "video", "mode": "pro"},
            ),
            None,
            36.0,
        ),
        (v1.Avatar(image=IMAGE, audio_id="1", extra={"mode": "pro"}), None, 240.0),
        (clip(extra={"something": "new"}), 3.0, 3.0),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (float, str, type(None))) else None,
)
def test_extra_counts_as_on_the_wire(request_: Any, units: float | None, most: float | None) -> None:
    """``extra`` is merged last, so it decides the price; null and the empty text mean the default."""
    found = estimate(request_)
    assert (found.units, found.most) == (units, most), found.why


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (clip(extra={"duration": "long"}), "duration is 'long'"),
        (clip(extra={"duration": 0}), "duration is 0"),
        (clip(extra={"duration": 7.5}), "duration is 7.5"),
        (clip(extra={"duration": float("nan")}), "duration is nan"),
        (clip(extra={"duration": True}), "duration is True"),
        (clip(extra={"mode": 4}), "mode is 4"),
        (clip(extra={"mode": "8k"}), "text_to_video kling-v3 8k"),
        (clip(extra={"sound": "loud"}), "sound is 'loud'"),
        (clip(extra={"model_name": None}), "no price of text_to_video std"),
        (spoken("x", extra={"voice_list": "1"}), "voice_list is '1'"),
        (spoken("x", extra={"prompt": 1}), "prompt is 1"),
        (omni(extra={"video_list": {"video_url": VIDEO}}), "video_list is {"),
        (v1.ImageGeneration(prompt="x", extra={"n": "-1"}), "n is '-1'"),
        (series("many"), "series_amount is 'many'"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_a_value_that_nobody_understands_has_no_price(request_: Any, says: str) -> None:
    """No price and no bound is guessed; the estimate names the field."""
    found = estimate(request_)
    assert (found.units, found.most) == (None, None)
    assert says in found.why


@given(
    st.fixed_dictionaries(
        {"model_name": st.sampled_from(["kling-v3", "kling-v2-6", "kling-v2-5-turbo", "kling-v2-master"])},
        optional={
            "mode": st.sampled_from(["std", "pro", "4k"]),
            "duration": st.integers(3, 15),
            "sound": st.booleans(),
            "voice_list": st.just((v1.VoiceRef(voice_id="1"),)),
            "prompt": st.sampled_from(["a fox", "<<<voice_1>>> sings"]),
        },
    )
)
def test_a_field_costs_the_same_in_extra(values: dict[str, Any]) -> None:
    """``extra`` wins over the request's own fields."""
    told = v1.ImageToVideo(image=IMAGE, **values)
    wire = to_wire(told, lambda file: str(file.url))
    unset = dict.fromkeys(("mode", "duration", "sound", "voice_list", "prompt"))
    other = spoken("<<<voice_1>>>", mode="std", duration=7, extra=unset | wire)
    assert estimate(other) == estimate(told)


def test_units_have_a_list_price() -> None:
    """Each pool has its own list price in US dollars."""
    assert estimate(clip()).usd == pytest.approx(0.42)
    assert estimate(v1.ImageGeneration(prompt="x")).usd == pytest.approx(0.028)


@pytest.mark.anyio
async def test_the_emulator_bills_what_was_estimated() -> None:
    """The emulator's prices are its own copy of the vendor's table, and agree."""
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
        clip(extra={"duration": "10", "mode": "4k", "sound": "on"}),
        v1.ImageGeneration(prompt="x", n=9),
        v1.ImageGeneration(prompt="x", extra={"n": 3, "model_name": "kling-v2-1"}),
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


@pytest.mark.anyio
async def test_voices_are_billed_where_a_prompt_names_one() -> None:
    """Voices only listed, or named in the negative prompt, cost nothing; the ledger shows the paid ones."""
    async with pair(seconds=5) as (_, client):
        start = dt.datetime.fromtimestamp(client._engine.scope.now() - 60, dt.UTC)
        voice = str((await client.call(v1.PresetVoices())).voices[0].voice_id)
        requests = [
            spoken("<<<voice_1>>> sings", voice, image=png()),
            spoken("she sings", voice, image=png()),
            spoken("she sings", voice, image=png(), negative_prompt="<<<voice_1>>>"),
        ]
        for request in requests:
            await client.run(request)
        entries = [entry async for entry in client.account.ledger(start)]
        assert [entry.deduction_amount for entry in entries] == [estimate(one).units for one in requests]
        assert [entry.voice_control for entry in entries] == [True, False, False]


@pytest.mark.anyio
async def test_max_units_counts_what_extra_asks_for() -> None:
    """Of three clips at 45 units each, a budget of 100 makes two."""
    async with pair(seconds=5) as (emu, client):
        requests = [clip(extra={"duration": "15", "mode": "4k"}) for _ in range(3)]
        async with client.batch(requests, max_units=100) as results:
            found = [outcome async for outcome in results]
        assert [outcome.units for outcome in found] == [45.0, 45.0]
        assert len(emu.tasks) == 2 and results.report.stopped == "max_units"


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:VideoExtend")
async def test_max_units_takes_what_has_only_a_bound() -> None:
    """A video extension reserves the most it can cost, and is made only if that fits the budget."""
    async with pair(seconds=5) as (emu, client):
        for units, stopped in ((3, "max_units"), (4, "")):
            async with client.batch([v1.VideoExtend(video_id="1")], max_units=units) as results:
                _ = [outcome async for outcome in results]
            assert (results.report.stopped, len(emu.ledger.refusals)) == (stopped, int(not stopped))
