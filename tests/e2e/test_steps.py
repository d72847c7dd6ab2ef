"""Work in several steps through client and emulator: selections, lip sync, calls that cost, sound."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import AmbiguousCreate, APIError, Client, TransportError, v1
from kling_async.testing import Clip, Emulator, Face, Faces
from tests.support import pair, png

pytestmark = pytest.mark.anyio

TALK = Clip(id="743211632612511839", seconds=5)
FACES = Faces(id="850508686686064678", clip=TALK, faces=[Face(id="0", start_ms=0, end_ms=5000)])
SPOKEN: Any = {"mode": "text2video", "text": "Hi", "voice_id": "oversea_male1", "voice_language": "en"}
OLD = v1.LipSync(input=v1.LipSyncInput(video_id=TALK.id, **SPOKEN))
NEW = v1.AdvancedLipSync(
    session_id=FACES.id,
    face_choose=(
        v1.FaceChoice(
            face_id="0",
            sound_file="https://example.com/voice.mp3",
            sound_start_time=0,
            sound_end_time=3000,
            sound_insert_time=1000,
        ),
    ),
)


def created(emu: Emulator) -> list[str]:
    """Return the endpoints of all tasks made."""
    return [task.endpoint for task in emu.tasks.values()]


async def session_of(emu: Emulator, client: Client, seconds: float = 5) -> str:
    """Begin to edit a video of that length."""
    emu.know(Clip(id="1", seconds=seconds))
    return (await client.call(v1.InitSelection(video_id="1"))).session_id


# --- selections --------------------------------------------------------------------------------


async def test_what_is_not_recognised_is_raised() -> None:
    """An answer of code 0 whose data has an error status raises that status as code, with its request_id."""
    async with pair() as (emu, client):
        with pytest.raises(APIError, match="nothing was recognised") as caught:
            await session_of(emu, client, seconds=6)
        assert (caught.value.code, caught.value.http_status) == (1, 200)
        assert caught.value.request_id
        session = await session_of(emu, client)
        with pytest.raises(APIError, match="nothing was recognised"):
            await client.call(v1.PreviewSelection(session_id=session))


async def test_marks_come_and_go() -> None:
    """Marks are added, removed by the same points and cleared; an edit runs only if there are marks."""
    async with pair() as (emu, client):
        session = await session_of(emu, client)
        where: Any = {"session_id": session, "frame_index": 3, "points": (v1.Point(x=0.5, y=0.5),)}
        removal = v1.MultiElements(session_id=session, edit_mode="removal", prompt="Clear <<<video_1>>>")
        assert (await client.call(v1.AddSelection(**where))).res.frame_index == 3
        assert (await client.call(v1.DeleteSelection(**where))).res.rle_mask_list == ()
        await client.call(v1.AddSelection(**where))
        assert (await client.call(v1.ClearSelection(session_id=session))).session_id == session
        with pytest.raises(APIError, match="needs marks"):
            await client.submit(removal)
        await client.call(v1.AddSelection(**where))
        edited = await client.run(removal)
        assert [video.session_id for video in edited.videos] == [session]


# --- lip sync ----------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [OLD, NEW], ids=["old", "new"])
async def test_a_synced_video_knows_where_it_came_from(request_: Any) -> None:
    """The result names the video it was made from, although the vendor puts that beside the result."""
    async with pair() as (emu, client):
        emu.know(FACES)
        result = await client.run(request_)
        assert isinstance(result, v1.DerivedVideos)
        assert result.parent_video is not None and result.parent_video.id == TALK.id


async def test_a_lost_create_is_found_by_tasks() -> None:
    """Under an API key ``/tasks`` finds the create by the external id that its own path does not take."""
    async with pair() as (emu, client):
        emu.know(FACES)
        emu.fault("create", kind="lost_after")
        task = await client.submit(NEW)
        assert list(emu.tasks) == [task.id]


async def test_a_lost_create_that_no_list_names_is_ambiguous() -> None:
    """A key pair has only the list, where lip syncs have no external id: the create stays unresolved."""
    async with pair() as (emu, _):
        emu.know(FACES)
        async with Client(
            base_url=emu.url, access_key=emu.access_key, secret_key=emu.secret_key, limits={"video": 5}
        ) as client:
            emu.fault("create", kind="lost_after")
            with pytest.raises(AmbiguousCreate):
                await client.submit(NEW)
            assert created(emu) == ["advanced_lip_sync"]
            assert [entry.endpoint for entry in client.unresolved()] == ["advanced_lip_sync"]


async def test_a_lost_create_of_the_old_call_is_never_sent_again() -> None:
    """A create is not sent again where no page says that the vendor refuses one external id twice."""
    async with pair() as (emu, client):
        emu.know(TALK)
        emu.fault("create", kind="lost_before")
        with pytest.raises(AmbiguousCreate):
            await client.submit(OLD)
        assert created(emu) == [] and len(emu.ledger.creates) == 1


# --- calls that cost ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        v1.TextToSpeech(text="Welcome aboard.", voice_id="oversea_male1", voice_language="en"),
        v1.IdentifyFace(video_url="https://example.com/talk.mp4"),
        v1.ImageRecognize(image=png()),
    ],
    ids=lambda request: type(request).__name__,
)
async def test_a_call_that_costs_is_not_repeated(request_: Any) -> None:
    """A lost answer raises, for the call may be paid: only the caller decides to pay again."""
    async with pair() as (emu, client):
        emu.fault("any", kind="lost_after")
        with pytest.raises(TransportError):
            await client.call(request_)
        assert len(emu.ledger.calls) == 1
        assert await client.call(request_)


# --- the others --------------------------------------------------------------------------------


async def test_speech_goes_into_an_avatar_and_sounds_into_a_video(tmp_path: Any) -> None:
    """An avatar takes a speech by its id; a sound is two files, a video with sound three."""
    async with pair() as (_, client):
        text = "Good morning, and welcome on board."
        speech = await client.call(v1.TextToSpeech(text=text, voice_id="oversea_male1", voice_language="en"))
        video = await client.run(v1.Avatar(image=png(), audio_id=speech.audios[0].id))
        assert video.videos[0].seconds == speech.audios[0].seconds
        rain = await client.submit(v1.TextToAudio(prompt="Rain on a tin roof", duration=3.5))
        assert {path.suffix for path in await rain.download(tmp_path)} == {".mp3", ".wav"}
        sounded = await client.submit(v1.VideoToAudio(video_id=video.videos[0].id, asmr_mode=True))
        assert {path.suffix for path in await sounded.download(tmp_path)} == {".mp3", ".wav", ".mp4"}
        people = await client.call(v1.ImageRecognize(image=png()))
        assert [mask.type for mask in people.images if not mask.is_contain] == ["cloth_seg"]
