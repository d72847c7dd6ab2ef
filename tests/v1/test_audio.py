"""Speech and sounds: what is sent, what comes back, and each rule."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, doubted, lives, refused, result, sent

SPEECH, SOUND, SOUNDED = golden("text_to_speech"), golden("text_to_audio"), golden("video_to_audio")
RAIN = "Rain on a tin roof"
REQUESTS: list[tuple[Any, str, Any]] = [
    (
        SPEECH,
        "vendor's example",
        v1.TextToSpeech(
            text="Welcome aboard.", voice_id="oversea_male1", voice_language="en", voice_speed=1.0
        ),
    ),
    (
        SPEECH,
        "chinese, fast",
        v1.TextToSpeech(text="欢迎", voice_id="genshin_vindi2", voice_language="zh", voice_speed=1.5),
    ),
    (SOUND, "vendor's example", v1.TextToAudio(prompt=RAIN, duration=5.0)),
    (SOUND, "whole seconds", v1.TextToAudio(prompt=RAIN, duration=3)),
    (SOUND, "tenths", v1.TextToAudio(prompt=RAIN, duration=9.9)),
    (
        SOUNDED,
        "vendor's example",
        v1.VideoToAudio(video_url="https://example.com/clip.mp4", sound_effect_prompt="waves", video_id=""),
    ),
    (
        SOUNDED,
        "every field",
        v1.VideoToAudio(
            video_id="743211632612511839",
            sound_effect_prompt="waves",
            bgm_prompt="a slow guitar",
            asmr_mode=True,
        ),
    ),
]
MP3 = File("https://example.com/audios-url_mp3.mp3?sig=SECRET", ".mp3", "0")
WAV = File("https://example.com/audios-url_wav.wav?sig=SECRET", ".wav", "0")
MP4 = File("https://example.com/videos-url.mp4?sig=SECRET", ".mp4", "0")


def test_there_is_a_request_for_every_golden_body() -> None:
    """No golden body goes untested."""
    for file in (SPEECH, SOUND, SOUNDED):
        assert [case for golden_, case, _ in REQUESTS if golden_ is file] == list(file["requests"])


@pytest.mark.parametrize(("file", "case", "request_"), REQUESTS, ids=[case for _, case, _ in REQUESTS])
def test_a_request_is_sent_as_the_vendor_writes_it(file: Any, case: str, request_: Any) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(request_) == file["requests"][case]


def test_speech_is_read() -> None:
    """The sound has an id for other calls, an address and a length; no repr shows what signs it."""
    found = answered(REQUESTS[0][2], SPEECH["answers"]["spoken"])
    (audio,) = found.audios
    assert (audio.id, audio.seconds, found.refusal()) == ("900000000000000003", 1.4, None)
    assert found.files() == (File("https://example.com/output.mp3?sig=SECRET", ".mp3", "0"),)
    assert found.files(watermarked=True) == ()
    assert "SECRET" not in repr(found)


def test_speech_that_failed_is_a_refusal() -> None:
    """The answer's code is 0 all the same; there is no other code."""
    found = answered(REQUESTS[0][2], SPEECH["answers"]["failed"])
    assert found.refusal() == (None, "the text was not safe")
    assert found.audios == ()
    assert v1.Speech(task_status="failed").refusal() == (None, "the text was not spoken")


def test_a_sound_s_life_is_read() -> None:
    """One sound in two formats, both of them files."""
    lives(v1.TextToAudio, SOUND["answers"])
    found = result(v1.TextToAudio, SOUND["answers"]["finished"])
    assert [(audio.id, audio.seconds) for audio in found.audios] == [("743211632612511839", 5.0)]
    assert found.files() == (MP3, WAV)
    assert found.files(watermarked=True) == ()
    assert v1.Audios(audios=(v1.Audio(url_wav="https://example.com/x.wav"),)).files() == (
        File("https://example.com/x.wav", ".wav", "0"),
    )
    assert "SECRET" not in repr(found)


def test_a_sounded_video_s_life_is_read() -> None:
    """The video with its sound, the sound alone, and the video it was made of."""
    lives(v1.VideoToAudio, SOUNDED["answers"])
    found = result(v1.VideoToAudio, SOUNDED["answers"]["finished"])
    assert found.files() == (MP4, MP3, WAV)
    assert found.files(watermarked=True) == ()
    assert found.parent_video.url == "https://example.com/parent.mp4?sig=SECRET"
    assert "SECRET" not in repr(found)


def say(**values: Any) -> v1.TextToSpeech:
    least: dict[str, Any] = {"text": "Hi", "voice_id": "oversea_male1", "voice_language": "en"}
    return v1.TextToSpeech(**{**least, **values})


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(say(text="x" * 1001), [("text", "has 1001 characters; at most 1000")], id="long text"),
        pytest.param(say(text="", voice_id=" "), [(n, "must not be empty") for n in ("text", "voice_id")]),
        pytest.param(say(voice_speed=2.1), [("voice_speed", "2.1 is too large; at most 2")], id="too fast"),
        pytest.param(
            say(voice_language="zh"), [("voice_language", "oversea_male1 speaks en, not zh")], id="language"
        ),
        pytest.param(
            v1.TextToAudio(prompt="x" * 201, duration=10.1),
            [("prompt", "has 201 characters; at most 200"), ("duration", "10.1 is too large; at most 10")],
            id="long sound",
        ),
        pytest.param(
            v1.TextToAudio(prompt=RAIN, duration=3.25),
            [("duration", "3.25 has more than one decimal place")],
            id="hundredths",
        ),
        pytest.param(
            v1.VideoToAudio(bgm_prompt="x"),
            [("video_id", "give one of video_id, video_url; none is given")],
            id="no video",
        ),
        pytest.param(
            v1.VideoToAudio(video_id="1", video_url="https://example.com/a.mp4"),
            [("video_url", "give one of video_id, video_url; video_id and video_url are given")],
            id="two videos",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text."""
    assert refused(request_) == problems


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        ({"voice_id": "nobody"}, ("voice_id", "'nobody' is not known here; the vendor will judge it")),
        (
            {"voice_id": "reader_en_m-v1"},
            ("voice_id", "'reader_en_m-v1' was refused in 2026, though it is listed"),
        ),
        ({"voice_speed": 1.25}, ("voice_speed", "1.25 is rounded to one decimal place by the vendor")),
    ],
    ids=["unknown voice", "refused voice", "speed"],
)
def test_what_the_vendor_may_take_is_doubted(values: dict[str, Any], doubt: tuple[str, str]) -> None:
    """It passes with a warning."""
    assert doubted(say(**values)) == [doubt]
