"""Films: each differs from the others, carries its title, and has sound where it is meant to."""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pytest

from kling_async.emulator.footage.clips import Film, mp4
from kling_async.emulator.footage.tones import FRAME_BYTES, FRAME_SAMPLES, RATE, mp3
from kling_async.testing import Clip
from tests.emulator.facts import SAMPLES, path, sample
from tests.emulator.footage.test_media import boxes, u32
from tests.emulator.support import VIDEO, Caller, calling

pytestmark = pytest.mark.anyio

ASPECTS = ("16:9", "9:16", "1:1")


def tracks(data: bytes) -> list[dict[bytes, bytes]]:
    """Return the boxes of each track of an MP4."""
    moov = boxes(data, 0, len(data))[b"moov"]
    found, at = list[dict[bytes, bytes]](), 0
    while at < len(moov):
        size, kind = struct.unpack(">I4s", moov[at : at + 8])
        if kind == b"trak":
            found.append(boxes(moov, at + 8, at + size))
        at += size
    return found


def pictures(data: bytes) -> list[bytes]:
    """Return the pictures of an MP4 as its tables find them, from the offset of its chunk on."""
    track = tracks(data)[0]
    at, found = u32(track[b"stco"], 8), list[bytes]()
    for index in range(u32(track[b"stsz"], 8)):
        size = u32(track[b"stsz"], 12 + 4 * index)
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("aspect", ASPECTS)
def test_scenes_come_in_an_order_that_follows_from_the_seed(aspect: str) -> None:
    """Twenty seeds give several orders of the same pictures; equal seeds give equal files."""
    films = [pictures(mp4(Film(aspect, 5, f"seed {i}", sound=i % 2 > 0))) for i in range(20)]
    assert len({b"".join(film) for film in films}) >= 4
    assert len({tuple(sorted(film)) for film in films}) == 1
    assert mp4(Film(aspect, 5, "seed 1")) == mp4(Film(aspect, 5, "seed 1"))


@pytest.mark.parametrize("aspect", ASPECTS)
def test_each_scene_begins_with_a_picture_that_needs_no_other(aspect: str) -> None:
    """The sync table names the pictures of type IDR (5), each of which one NAL unit of that type shows."""
    for seed in range(8):
        data = mp4(Film(aspect, 7.5, str(seed), "title", sound=True))
        sync = tracks(data)[0][b"stss"]
        keys = {u32(sync, 8 + 4 * i) - 1 for i in range(u32(sync, 4))}
        for index, picture in enumerate(pictures(data)):
            assert sum(lengths(picture)) == len(picture)
            assert (5 in kinds(picture)) == (index in keys)


def lengths(picture: bytes) -> list[int]:
    """Return the lengths of the NAL units of a picture, with their length fields."""
    found, at = list[int](), 0
    while at < len(picture):
        found.append(u32(picture, at) + 4)
        at += found[-1]
    return found


def kinds(picture: bytes) -> list[int]:
    """Return the types of the NAL units of a picture."""
    starts = itertools.accumulate(lengths(picture)[:-1], initial=0)
    return [picture[start + 4] & 31 for start in starts]


@pytest.mark.parametrize("seconds", [0.5, 3, 5.041, 10, 15])
def test_the_sound_is_a_track_of_mp3_frames(seconds: float) -> None:
    """Its tables find the whole tune, which ends within one frame of the pictures."""
    film = Film("16:9", seconds, "seed", sound=True)
    data = mp4(film)
    _, sound = tracks(data)
    frames, start = u32(sound[b"stsz"], 8), u32(sound[b"stco"], 8)
    assert u32(sound[b"stsz"], 4) == FRAME_BYTES and sound[b"hdlr"][8:12] == b"soun"
    assert data[start:] == mp3("seed", frames * FRAME_SAMPLES / RATE)
    assert len(data) - start == frames * FRAME_BYTES
    assert seconds - 0.025 <= frames * FRAME_SAMPLES / RATE <= max(seconds, 0.025)
    assert (
        u32(sound[b"mdhd"], 16) == frames * FRAME_SAMPLES == u32(sound[b"stts"], 8) * u32(sound[b"stts"], 12)
    )
    assert u32(sound[b"tkhd"], 12) == 2 and u32(boxes(data, 0, len(data))[b"mvhd"], 96) == 3


def test_titles_are_cut_and_any_text_will_do() -> None:
    """The title is the prompt's beginning in UTF-8; a film without title and comment has no such box."""
    data = mp4(Film("1:1", 5, title="ü" * 500 + "\ud800", comment="847"))
    assert "ü".encode() * 200 in data and "ü".encode() * 201 not in data
    assert b"udta" not in mp4(Film("1:1", 5)) and len(tracks(mp4(Film("1:1", 5)))) == 1
    assert mp4(Film("1:1", 5, title="\ud800"))


async def film_of(call: Caller, name: str, **changes: Any) -> bytes:
    """Make a video of an endpoint's sample and download it."""
    made = await call("POST", path(name), json=sample(name, external_task_id="", **changes))
    assert made.code == 0, made.json
    call.emu.finish(made.data["task_id"])
    done = (await call("GET", f"{path(name)}/{made.data['task_id']}")).data
    return (await call("GET", done["task_result"]["videos"][0]["url"], auth=None)).raw


async def test_films_of_all_tasks_differ() -> None:
    """Twenty tasks give twenty files, also of equal prompts, and a watermarked copy is a file of its own."""
    async with calling(slots={"video": 30}) as (emu, call):
        prompts = ["a boat", "a lake", "a moon", "a fox"] * 5
        assert len({await film_of(call, "text_to_video", prompt=prompt) for prompt in prompts}) == 20
        made = await call.video(watermark_info={"enabled": True})
        emu.finish(made.data["task_id"])
        (clip,) = (await call("GET", f"{VIDEO}/{made.data['task_id']}")).data["task_result"]["videos"]
        both = [await call("GET", clip[name], auth=None) for name in ("url", "watermark_url")]
        assert both[0].raw != both[1].raw


@pytest.mark.parametrize(
    ("name", "changes", "heard"),
    [
        ("text_to_video", {"model_name": "kling-v3", "sound": "off"}, False),
        ("text_to_video", {"model_name": "kling-v3", "sound": "on"}, True),
        ("lip_sync", {}, True),
        ("avatar", {}, True),
        ("video_to_audio", {}, True),
        ("video_effects", {}, False),
        ("video_extend", {"video_id": "silent"}, False),
        ("video_extend", {"video_id": "heard"}, True),
    ],
)
async def test_films_have_sound_on_request_and_where_it_is_the_point(
    name: str, changes: dict[str, Any], heard: bool
) -> None:
    """An audio track is there if ``sound`` is on, if the endpoint makes sound, or if the source has some."""
    async with calling(slots={"video": 5}) as (emu, call):
        emu.know(*SAMPLES, Clip(id="silent"), Clip(id="heard", sound=True))
        assert len(tracks(await film_of(call, name, **changes))) == 1 + heard
