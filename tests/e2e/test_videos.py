"""Every way to make a video, from the request to its file, judged by the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import KlingWarning, RequestRejected, v1
from tests.support import pair, png

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

FRAME = png(400, 300)
CLIP = "https://example.com/dance.mp4"
ONE = v1.OmniVideoImage(image_url=FRAME)
START = v1.OmniVideoImage(image_url=FRAME, type="first_frame")
END = v1.OmniVideoImage(image_url=FRAME, type="end_frame")
BORROWED = v1.OmniVideoClip(video_url=CLIP, refer_type="feature", keep_original_sound=True)
EDITED = v1.OmniVideoClip(video_url=CLIP)
SHOTS = (v1.Shot(index=1, prompt="A door", duration=2), v1.Shot(index=2, prompt="A cat", duration=3))
PATH = (v1.TrajectoryPoint(x=0, y=0), v1.TrajectoryPoint(x=9, y=9))

WAYS: dict[str, Any] = {
    "a start frame": v1.ImageToVideo(image=FRAME, prompt="A fox", sound=True, duration=3),
    "both frames": v1.ImageToVideo(
        model_name="kling-v2-6", image=FRAME, image_tail=FRAME, prompt="A fox", mode="pro"
    ),
    "shots from a frame": v1.ImageToVideo(
        image=FRAME, multi_shot=True, shot_type="customize", multi_prompt=SHOTS
    ),
    "several images": v1.MultiImageToVideo(
        image_list=(v1.InputImage(image=FRAME), v1.InputImage(image=FRAME)), prompt="A fox", duration=10
    ),
    "a text": v1.OmniVideo(prompt="A fox", aspect_ratio="1:1", sound=True, mode="4k", duration=15),
    "frames": v1.OmniVideo(prompt="A fox", image_list=(START, END)),
    "a reference": v1.OmniVideo(
        model_name="kling-video-o1", prompt="<<<image_1>>>", image_list=(ONE,), aspect_ratio="1:1", duration=7
    ),
    "a borrowed video": v1.OmniVideo(
        prompt="As <<<video_1>>>", video_list=(BORROWED,), aspect_ratio="1:1", duration=10
    ),
    "an edited video": v1.OmniVideo(
        prompt="<<<image_1>>> in <<<video_1>>>", image_list=(ONE,), video_list=(EDITED,)
    ),
    "shots": v1.OmniVideo(
        multi_shot=True, shot_type="customize", multi_prompt=SHOTS, aspect_ratio="1:1", mode="std"
    ),
    "a movement": v1.MotionControl(
        image_url=FRAME, video_url=CLIP, character_orientation="video", mode="std", keep_original_sound=False
    ),
    "an effect": v1.VideoEffects(effect_scene="bullet_time_360", input=v1.EffectInput(image=FRAME)),
    "an effect of two": v1.VideoEffects(effect_scene="hug_pro", input=v1.EffectInput(images=(FRAME, FRAME))),
}


ENDED: dict[str, Any] = {
    "an end frame": v1.ImageToVideo(model_name="kling-v1-6", image_tail=FRAME, prompt="A fox", mode="pro"),
    "masks": v1.ImageToVideo(
        model_name="kling-v1-5",
        image=FRAME,
        prompt="A fox",
        mode="pro",
        dynamic_masks=(v1.DynamicMask(mask=FRAME, trajectories=PATH),),
    ),
}
"""Requests for which only models remain that were announced to end."""


@pytest.mark.filterwarnings("ignore:.*kling-v1-6:kling_async.errors.KlingWarning")
@pytest.mark.parametrize("way", WAYS)
async def test_a_video_is_made_and_stored(way: str, tmp_path: Path) -> None:
    """The request is accepted, its task is found in the list, and one file is stored."""
    async with pair() as (_, client):
        request = WAYS[way]
        task = await client.submit(request)
        paths = await task.download(tmp_path)
        assert [path.name for path in paths] == [f"{task.id}.mp4"]
        assert paths[0].read_bytes()[4:8] == b"ftyp"
        assert [record.task_id for record in await client.list(type(request))] == [task.id]


async def test_a_marked_copy_comes_of_it_too(tmp_path: Path) -> None:
    """With watermark_info the marked copy can be downloaded as well, under a name of its own."""
    async with pair() as (_, client):
        marked = v1.WatermarkInfo(enabled=True)
        task = await client.submit(v1.ImageToVideo(image=FRAME, prompt="A fox", watermark_info=marked))
        clean, copy = (await task.download(tmp_path))[0], (await task.download(tmp_path, watermarked=True))[0]
        assert (clean.name, copy.name) == (f"{task.id}.mp4", f"{task.id}-watermarked.mp4")


@pytest.mark.parametrize("way", ENDED)
async def test_what_an_ended_model_did_is_sent_and_the_vendor_has_the_last_word(way: str) -> None:
    """The client warns and sends; a vendor whose model is gone refuses the request, and nothing is paid."""
    async with pair() as (emu, client):
        with (
            pytest.warns(KlingWarning, match="announced to end"),
            pytest.raises(RequestRejected, match="discontinued") as caught,
        ):
            await client.submit(ENDED[way])
        assert (caught.value.code, emu.ledger.created) == (1203, [])


async def test_an_extension_of_a_new_video_is_refused() -> None:
    """A video of a new model is refused by the vendor, after a warning which videos can be extended."""
    async with pair() as (_, client):
        video = (await client.run(v1.ImageToVideo(image=FRAME, prompt="A fox"))).videos[0]
        with (
            pytest.warns(KlingWarning, match="only videos of kling-v1"),
            pytest.raises(RequestRejected, match="video_id"),
        ):
            await client.submit(v1.VideoExtend(video_id=video.id))
