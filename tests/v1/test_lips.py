"""Lip sync, new and old: what is sent, what comes back, and each rule."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import v1
from kling_async.errors import RequestInvalid
from kling_async.wire.requests import File
from tests.golden import golden
from tests.v1.judging import answered, doubted, lives, refused, result, sent

FACES, SYNC, OLD = golden("identify_face"), golden("advanced_lip_sync"), golden("lip_sync")
SESSION = "850508686686064678"
VIDEO = "743211632612511839"
URL = "https://example.com/talk.mp4"
SOUND = "https://example.com/voice.mp3"
FACE = v1.Face(face_id="1", start_time=2600, end_time=5200)


def sync(*choices: v1.FaceChoice, **more: Any) -> v1.AdvancedLipSync:
    return v1.AdvancedLipSync(session_id=SESSION, face_choose=choices, **more)


def choice(start: int = 0, end: int = 2000, at: int = 0, **more: Any) -> v1.FaceChoice:
    times: dict[str, Any] = {"sound_start_time": start, "sound_end_time": end, "sound_insert_time": at}
    return v1.FaceChoice(face_id="0", **times, **(more or {"sound_file": SOUND}))


def old(mode: Any, **values: Any) -> v1.LipSync:
    values.setdefault("video_id", VIDEO)
    return v1.LipSync(input=v1.LipSyncInput(mode=mode, **values))


# --- the wire ----------------------------------------------------------------------------------

REQUESTS: list[tuple[Any, str, Any]] = [
    (FACES, "vendor's example", v1.IdentifyFace(video_url=URL)),
    (FACES, "by id, the other empty", v1.IdentifyFace(video_id=VIDEO, video_url="")),
    (
        SYNC,
        "vendor's example",
        sync(choice(0, 3000, 1000, sound_file=SOUND, sound_volume=1, original_audio_volume=0)),
    ),
    (
        SYNC,
        "speech",
        sync(
            v1.FaceChoice.of(
                FACE,
                audio_id="900000000000000003",
                sound_start_time=500,
                sound_end_time=2500,
                sound_volume=2,
                original_audio_volume=2,
            ),
            watermark_info=v1.WatermarkInfo(enabled=True),
        ),
    ),
    (SYNC, "file", sync(choice(sound_file=b"fox bytes", audio_id=""))),
    (
        OLD,
        "vendor's example",
        old("text2video", text="Good morning", voice_id="oversea_male1", voice_language="en", voice_speed=1),
    ),
    (
        OLD,
        "chinese, by the vendor's default",
        old("text2video", video_id=None, video_url=URL, text="早上好", voice_id="tiyuxi_xuedi"),
    ),
    (OLD, "address", old("audio2video", audio_type="url", audio_url=SOUND, model_name="kling-v1-6")),
    (OLD, "file", old("audio2video", audio_type="file", audio_file=b"fox bytes")),
]


def test_there_is_a_request_for_every_golden_body() -> None:
    """No golden body goes untested."""
    for file in (FACES, SYNC, OLD):
        assert [case for golden_, case, _ in REQUESTS if golden_ is file] == list(file["requests"])


@pytest.mark.parametrize(("file", "case", "request_"), REQUESTS, ids=[case for _, case, _ in REQUESTS])
def test_a_request_is_sent_as_the_vendor_writes_it(file: Any, case: str, request_: Any) -> None:
    """The whole body, compared as JSON, without a warning."""
    assert sent(request_) == file["requests"][case]


def test_faces_are_read() -> None:
    """Who can speak, and when; no repr shows what signs their pictures."""
    found = answered(v1.IdentifyFace(video_url=URL), FACES["answers"]["two faces"])
    assert (found.session_id, found.final_unit_deduction) == (SESSION, "0.05")
    assert [(f.face_id, f.start_time, f.end_time) for f in found.face_data] == [
        ("0", 0, 5200),
        ("1", 2600, 5200),
    ]
    assert "SECRET" not in repr(found)
    assert answered(v1.IdentifyFace(video_url=URL), FACES["answers"]["no face, no money"]).face_data == ()


@pytest.mark.parametrize(("kind", "file"), [(v1.AdvancedLipSync, SYNC), (v1.LipSync, OLD)])
def test_a_task_s_life_is_read(kind: Any, file: Any) -> None:
    """The new video, and the one it was made of; the create's answer may hold no task_info."""
    lives(kind, file["answers"])
    found = result(kind, file["answers"]["finished"])
    assert found.files() == (File("https://example.com/videos-url.mp4?sig=SECRET", ".mp4", "0"),)
    assert found.parent_video.id == "743211632612511838"
    assert found.parent_video.seconds == 5.041
    assert "SECRET" not in repr(found)


# --- rules -------------------------------------------------------------------------------------

ONE_SOUND = "give one of audio_id, sound_file"
ONE_VIDEO = "give one of video_id, video_url"


@pytest.mark.parametrize(
    ("request_", "problems"),
    [
        pytest.param(v1.IdentifyFace(), [("video_id", f"{ONE_VIDEO}; none is given")], id="no video"),
        pytest.param(
            v1.IdentifyFace(video_id=VIDEO, video_url=URL),
            [("video_url", f"{ONE_VIDEO}; video_id and video_url are given")],
            id="two videos",
        ),
        pytest.param(
            v1.IdentifyFace(video_url=b"film"),
            [
                (
                    "video_url",
                    "takes the address of a video, not the file itself: put it where the API can fetch it",
                )
            ],
            id="a film itself",
        ),
        pytest.param(sync(), [("face_choose", "has 0 entries; at least 1")], id="no face"),
        pytest.param(sync(choice(), choice()), [("face_choose", "has 2 entries; at most 1")], id="two faces"),
        pytest.param(
            sync(choice(audio_id="")),
            [("face_choose[0].audio_id", f"{ONE_SOUND}; none is given")],
            id="no sound",
        ),
        pytest.param(
            sync(choice(audio_id="1", sound_file=SOUND)),
            [("face_choose[0].sound_file", f"{ONE_SOUND}; audio_id and sound_file are given")],
            id="two sounds",
        ),
        pytest.param(
            sync(choice(1, 2000)),
            [("face_choose[0].sound_end_time", "keeps 1999 ms; at least 2000 ms")],
            id="short cut",
        ),
        pytest.param(
            sync(choice(3000, 1000)),
            [("face_choose[0].sound_end_time", "keeps -2000 ms; at least 2000 ms")],
            id="ends before it begins",
        ),
        pytest.param(
            sync(choice(50_000, 60_001)),
            [("face_choose[0].sound_end_time", "is after the end: sounds have at most 60000 ms")],
            id="after the longest sound",
        ),
        pytest.param(
            sync(choice(0, 2000, 58_001)),
            [
                (
                    "face_choose[0].sound_insert_time",
                    "the sound would end at 60001 ms; videos have at most 60000 ms",
                )
            ],
            id="after the longest video",
        ),
        pytest.param(
            sync(choice(-1, 2000, -1, sound_file=SOUND, sound_volume=2.1, original_audio_volume=-1)),
            [
                ("face_choose[0].sound_start_time", "-1 is too small; at least 0"),
                ("face_choose[0].sound_insert_time", "-1 is too small; at least 0"),
                ("face_choose[0].sound_volume", "2.1 is too large; at most 2"),
                ("face_choose[0].original_audio_volume", "-1 is too small; at least 0"),
            ],
            id="out of bounds",
        ),
        pytest.param(
            old("text2video", video_id=None),
            [
                ("input.video_id", f"{ONE_VIDEO}; none is given"),
                ("input.text", "is required when mode is 'text2video'"),
                ("input.voice_id", "is required when mode is 'text2video'"),
            ],
            id="old: nothing said",
        ),
        pytest.param(
            old("audio2video"),
            [("input.audio_type", "is required when mode is 'audio2video'")],
            id="old: no sound",
        ),
        pytest.param(
            old("audio2video", audio_type=""),
            [("input.audio_type", "is required when mode is 'audio2video'")],
            id="old: no sound, said so",
        ),
        pytest.param(
            old("audio2video", audio_type="tape"),
            [("input.audio_type", "'tape' is not one of 'file', 'url'")],
            id="old: a sound in another form",
        ),
        pytest.param(
            old("audio2video", audio_type="url", audio_file=b"x"),
            [("input.audio_url", "is required when mode is 'audio2video'")],
            id="old: file instead of address",
        ),
        pytest.param(
            old("audio2video", audio_type="file", audio_file=SOUND),
            [("input.audio_file", "takes the file itself (bytes or a Path), not an address")],
            id="old: address in the file's field",
        ),
        pytest.param(
            old("audio2video", audio_type="url", audio_url=b"x"),
            [
                (
                    "input.audio_url",
                    "takes the address of a sound, not the file itself: put it where the API can fetch it",
                )
            ],
            id="old: file in the address's field",
        ),
        pytest.param(
            old("text2video", text="x" * 121, voice_id="oversea_male1"),
            [
                ("input.text", "has 121 characters; at most 120"),
                ("input.voice_language", "oversea_male1 speaks en, not zh"),
            ],
            id="old: an English voice in Chinese, by default",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(request_: Any, problems: list[tuple[str, str]]) -> None:
    """Each rule, with its text; what the accepted cases are is above."""
    assert refused(request_) == problems


SPOKEN: dict[str, Any] = {"text": "Hi", "voice_id": "oversea_male1", "voice_language": "en"}


@pytest.mark.parametrize(
    ("request_", "doubts"),
    [
        pytest.param(
            old("audio2video", audio_type="url", audio_url=SOUND, text="Hi", voice_speed=1.25),
            [
                ("input.text", "belongs to mode 'text2video', not to 'audio2video'"),
                ("input.voice_speed", "belongs to mode 'text2video', not to 'audio2video'"),
            ],
            id="a text beside a sound",
        ),
        pytest.param(
            old("text2video", **SPOKEN, audio_type="url"),
            [("input.audio_type", "belongs to mode 'audio2video', not to 'text2video'")],
            id="a sound beside a text",
        ),
        pytest.param(
            old("text2video", **{**SPOKEN, "voice_id": "nobody"}),
            [("input.voice_id", "'nobody' is not known here; the vendor will judge it")],
            id="unknown voice",
        ),
        pytest.param(
            old("text2video", **SPOKEN, voice_speed=1.25),
            [("input.voice_speed", "1.25 is rounded to one decimal place by the vendor")],
            id="speed",
        ),
    ],
)
def test_what_the_vendor_may_take_is_doubted(request_: Any, doubts: list[tuple[str, str]]) -> None:
    """It passes with a warning."""
    assert doubted(request_) == doubts


def test_the_bounds_themselves_are_taken() -> None:
    """Two seconds at the very end of the longest sound and of the longest video."""
    assert doubted(sync(choice(58_000, 60_000, 58_000))) == []


# --- a face and its sound ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "insert"),
    [
        pytest.param({"sound_end_time": 2000}, 2600, id="from its first moment"),
        pytest.param({"sound_end_time": 4000, "sound_insert_time": 600}, 600, id="just enough, early"),
        pytest.param({"sound_end_time": 9000, "sound_insert_time": 3200}, 3200, id="just enough, late"),
    ],
)
def test_a_face_speaks_while_it_is_seen(times: dict[str, Any], insert: int) -> None:
    """Two seconds of overlap are enough; as a default the sound begins with the face."""
    made = v1.FaceChoice.of(FACE, sound_file=SOUND, **times)
    assert (made.face_id, made.sound_start_time, made.sound_insert_time) == ("1", 0, insert)


@pytest.mark.parametrize(
    ("times", "overlap"),
    [
        ({"sound_end_time": 1999}, 1999),
        ({"sound_end_time": 4000, "sound_insert_time": 599}, 1999),
        ({"sound_end_time": 9000, "sound_insert_time": 3201}, 1999),
        ({"sound_end_time": 2000, "sound_insert_time": 0}, 0),
    ],
)
def test_a_face_that_is_not_there_cannot_speak(times: dict[str, Any], overlap: int) -> None:
    """Known before anything is sent, from what IdentifyFace said."""
    with pytest.raises(RequestInvalid) as caught:
        v1.FaceChoice.of(FACE, sound_file=SOUND, **times)
    seen = "it can speak from 2600 to 5200 ms"
    text = f"the sound is on the face for {overlap} ms, at least 2000 ms; {seen}"
    assert caught.value.problems == (("sound_insert_time", text),)


def test_a_face_of_which_nobody_tells_when_it_is_seen_passes() -> None:
    """What is not known is not judged: the vendor will."""
    assert v1.FaceChoice.of(v1.Face(face_id="0"), audio_id="1", sound_end_time=2000).sound_insert_time == 0
