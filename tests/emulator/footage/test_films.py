"""Films: each differs from the others, carries its title, and has sound where it is meant to."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import pytest

from kling_async.emulator.footage.captions import Caption, band_rows, caption_rows
from kling_async.emulator.footage.clips import Film, film_size, mp4
from kling_async.emulator.footage.scenes import (
    FRAMES,
    PALETTES,
    SCENE_BY_WORD,
    SCENES,
    scene_for,
    scene_slices,
)
from kling_async.emulator.footage.shapes import ratio
from kling_async.emulator.footage.tones import FRAME_BYTES, FRAME_SAMPLES, RATE, mp3
from kling_async.emulator.state.media_owners import request_text
from kling_async.testing import Clip
from tests.emulator.facts import SAMPLES, path, sample
from tests.emulator.footage.test_media import boxes, u32
from tests.emulator.support import IMAGE, VIDEO, Caller, calling, png

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
    assert u32(track[b"stsc"], 12) == u32(track[b"stsz"], 8)
    for index in range(u32(track[b"stsz"], 8)):
        size = u32(track[b"stsz"], 12 + 4 * index)
        found.append(data[at : at + size])
        at += size
    return found


@pytest.mark.parametrize("aspect", ASPECTS)
def test_equal_films_are_equal_files_and_others_differ(aspect: str) -> None:
    """Twenty seeds give twenty files with many scenes; the same description gives the same bytes again."""
    films = {seed: Film(aspect, 5, seed, tail=seed, sound=len(seed) > 1) for seed in map(str, range(20))}
    files = {seed: mp4(film) for seed, film in films.items()}
    assert len(set(files.values())) == 20
    assert len({tuple(pictures(data)) for data in files.values()}) == 20
    mp4.cache_clear()
    assert mp4(films["1"]) == files["1"]


@pytest.mark.parametrize("scene", SCENES)
def test_the_words_of_a_prompt_choose_the_scene_and_the_seed_its_colours(scene: str) -> None:
    """Whatever the seed, a telling word chooses its scene; palettes change, and pictures move."""
    words = [word for word, chosen in SCENE_BY_WORD.items() if chosen == scene]
    assert words and all(scene_for(f"An old {w.title()}, at dawn", random.Random(w)) == scene for w in words)
    rows = {seed: pictures(mp4(Film("1:1", 3, seed, words[0]))) for seed in ("one", "two", "three")}
    assert len({film[0] for film in rows.values()}) >= 2
    assert all(len(set(film)) == FRAMES for film in rows.values())


def test_all_scenes_and_palettes_come_up() -> None:
    """Texts without a telling word get each scene; no two scenes look the same in any palette."""
    assert {scene_for("", random.Random(seed)) for seed in range(200)} == set(SCENES)
    first = {scene_slices(scene, palette, 8, 6)[0] for scene in SCENES for palette in range(PALETTES)}
    assert len(first) == len(SCENES) * PALETTES


@pytest.mark.parametrize("aspect", ["16:9", "9:16", "1:1", "21:9", "1024:683", "100:3000"])
def test_better_grades_have_more_pixels(aspect: str) -> None:
    """Sizes are even, grow with the grade, and keep the ratio up to 3:1."""
    sizes = [film_size(aspect, grade) for grade in range(3)]
    assert sizes == sorted(sizes) and len({min(size) for size in sizes}) == 3
    for grade, (width, height) in enumerate(sizes):
        assert width % 2 == height % 2 == 0
        assert width / height == pytest.approx(min(3.0, max(1 / 3, ratio(aspect))), rel=0.01)
        found = tracks(mp4(Film(aspect, 1, grade=grade)))[0][b"tkhd"]
        assert (u32(found, 76) >> 16, u32(found, 80) >> 16) == (width, height)


def test_long_films_repeat_their_scene() -> None:
    """A film of a minute has the pictures of a short one again and again, ten in a second."""
    short, long = (pictures(mp4(Film("16:9", seconds, "seed", "a boat"))) for seconds in (3, 60))
    assert len(short) == FRAMES and long == short * 20


@pytest.mark.parametrize(
    "text",
    ["", "雪の中の狐", "a" * 3000, "Ärger im Caf\u00e9\u2019s \u201cÖl\u201d", "x " * 50, "\ud800\n"],
)
def test_any_prompt_can_be_written_on_a_film(text: str) -> None:
    """Letters that the font has are drawn and no others; what finds no room is left out."""
    for across in (8, 23, 40, 68):
        rows = caption_rows(Caption(text, "#1234"), across, 0, 1, 2)
        assert {len(row) for row in rows} == {4 * across} and len(rows) == 4 * band_rows(across)
        assert (1 in b"".join(rows)) == any(letter.isascii() and letter.isalnum() for letter in text)
        assert 2 in b"".join(rows)
    assert len(mp4(Film("16:9", 5, title=text))) > 1000


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


def scene_of(data: bytes) -> bytes:
    """Return the upper slice of a film's first picture."""
    first = pictures(data)[0]
    return first[: next(iter(lengths(first)))]


async def test_a_film_looks_as_its_request_says() -> None:
    """Equal requests have one scene and other digits; a name, an address or a watermark changes no scene."""
    async with calling(slots={"video": 30}) as (emu, call):
        plain = await film_of(call, "text_to_video", prompt="a fox")
        for changes in ({}, {"external_task_id": "mine"}, {"watermark_info": {"enabled": True}}):
            made = await call.video(
                **{**sample("text_to_video"), "prompt": "a fox", "external_task_id": "", **changes}
            )
            emu.finish(made.data["task_id"])
            answer = (await call("GET", f"{VIDEO}/{made.data['task_id']}")).data["task_result"]["videos"][0]
            again = (await call("GET", answer["url"], auth=None)).raw
            assert scene_of(again) == scene_of(plain) and pictures(again) != pictures(plain)


async def test_scenes_follow_from_all_that_is_asked() -> None:
    """Another model, seed, length or picture makes another request text; colours follow from it."""
    async with calling(slots={"video": 30}) as (emu, call):
        image = {name: sample("image_to_video", external_task_id="", image=png(300, side)) for name, side in
                 (("one", 300), ("other", 301))}  # fmt: skip
        text = sample("text_to_video", external_task_id="")
        bodies = [
            ("image_to_video", {**image["one"], "image_tail": None}),
            ("image_to_video", {**image["other"], "image_tail": None}),
            ("text_to_video", text),
            ("text_to_video", {**text, "prompt": "A fox"}),
            ("text_to_video", {**text, "duration": "10"}),
            ("text_to_video", {**text, "model_name": "kling-v3"}),
        ]
        ids = [(await call("POST", path(name), json=body)).data["task_id"] for name, body in bodies]
        requests = {request_text(emu.tasks[task_id]) for task_id in ids}
        assert len(requests) == len(bodies)


async def test_better_modes_and_resolutions_have_more_pixels() -> None:
    """A ``pro`` film is larger than a ``std`` one; so is a picture in 2k."""
    async with calling(slots={"video": 5, "image": 9}) as (emu, call):
        films = [await film_of(call, "text_to_video", mode=mode, sound="off") for mode in ("std", "pro")]
        std, pro = (u32(tracks(film)[0][b"tkhd"], 80) >> 16 for film in films)
        assert std < pro
        widths = list[int]()
        for resolution in ("1k", "2k"):
            made = await call.image(resolution=resolution)
            emu.finish(made.data["task_id"])
            (picture,) = (await call("GET", f"{IMAGE}/{made.data['task_id']}")).data["task_result"]["images"]
            widths.append(u32((await call("GET", picture["url"], auth=None)).raw, 16))
        assert widths[0] < widths[1]
