"""downloads/fetch.py: what broke off, or comes too slowly, is gone on with; two bodies never mix."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from kling_async import DownloadError
from kling_async.downloads.fetch import Fetched
from tests.films import (
    CUT_OFF,
    FILM,
    NO_ANSWER,
    SIZE,
    TAG,
    cut,
    dripping,
    fetching_from,
    film,
    leave,
    names,
    pieces,
    rest,
)
from tests.support import until
from tests.wiretap import HANG, raw

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_later_call_goes_on_where_an_earlier_one_ended(tmp_path: Path) -> None:
    """The rest is asked for, with an overlap and under the same name; but not of another source."""
    leave(tmp_path)
    async with fetching_from(rest(295904)) as get:
        assert await get(tmp_path / "77.mp4") == Fetched(SIZE, fresh=True)
        assert get.ranges == [("bytes=295904-", TAG)]
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    leave(tmp_path, name="78.mp4")
    async with fetching_from(film()) as get:
        await get(tmp_path / "78.mp4", source="another")
        assert get.ranges == [(None, None)]


async def test_a_broken_download_is_gone_on_with_within_the_call(tmp_path: Path) -> None:
    """After a pause, as often as was said; what came stays for a later call."""
    leave(tmp_path)
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(HANG, HANG, rest(295904)) as get:
        assert str(await get.fails(tmp_path, tries=2)) == f"the download broke off: {NO_ANSWER}"
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert get.ranges == [("bytes=295904-", TAG)] * 3
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    assert 60 < loop.time() - start < 61


async def test_what_came_before_a_cut_is_kept(tmp_path: Path) -> None:
    """All that was read until then, also what was not yet written."""
    async with fetching_from(cut(film(), 1_500_000)) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "77.mp4")
    kept = (tmp_path / ".77.mp4.part").read_bytes()
    assert len(kept) >= 500_000 and FILM.startswith(kept)


OTHER: Final = FILM[:12] + bytes(SIZE - 12)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([raw(OTHER, ETag='"v2"')], id="another body comes whole"),
        pytest.param([raw(OTHER)], id="a server without ranges"),
        pytest.param([rest(295904, tag='"v2"', body=OTHER), raw(OTHER)], id="a rest under another name"),
        pytest.param([rest(295904, body=OTHER), raw(OTHER)], id="a rest of another body under the same name"),
        pytest.param([rest(295903), raw(OTHER)], id="a rest from another byte on"),
        pytest.param([rest(295904, total=SIZE - 1), raw(OTHER)], id="a rest of another length"),
        pytest.param([raw(b"", 416, Content_Range="bytes */9"), raw(OTHER)], id="no such part"),
    ],
)
async def test_two_bodies_are_never_glued(second: list[bytes], tmp_path: Path) -> None:
    """What is here is thrown away as soon as it turns out not to belong to what comes."""
    leave(tmp_path)
    async with fetching_from(*second) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert len(get.wire.seen) == len(second)
    assert (tmp_path / "77.mp4").read_bytes() == OTHER and names(tmp_path) == ["77.mp4"]


async def test_a_rest_without_a_name_is_not_believed(tmp_path: Path) -> None:
    """The overlap may be the same though the beginning is not, and only the name would tell."""
    changed = FILM[:100] + b"?" + FILM[101:]
    leave(tmp_path)
    async with fetching_from(rest(295904, tag="", body=changed), raw(changed)) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert get.ranges == [("bytes=295904-", TAG), (None, None)]
    assert (tmp_path / "77.mp4").read_bytes() == changed


async def test_without_a_name_for_the_body_all_of_it_is_fetched_again(tmp_path: Path) -> None:
    """There would be no telling whether the rest belongs to it."""
    async with fetching_from(cut(raw(FILM), 300_000), raw(FILM)) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges == [(None, None)] * 2
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_rest_that_ends_too_soon_is_no_whole_file(tmp_path: Path) -> None:
    """Its own length may be right; what counts is the length of the whole."""
    short = raw(FILM[295904:-1], 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(short, rest(SIZE - 1 - 4096)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert get.ranges[1] == (f"bytes={SIZE - 1 - 4096}-", TAG)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_rest_that_is_too_long_is_thrown_away(tmp_path: Path) -> None:
    """More than promised is not the file either."""
    long = raw(FILM[295904:] + b"x", 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(long, film()) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges[1] == (None, None)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_part_that_is_all_of_it_needs_but_its_name(tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the overlap is compared, nothing more comes."""
    leave(tmp_path, SIZE)
    async with fetching_from(rest(SIZE - 4096)) as get:
        assert await get(tmp_path / "77.mp4") == Fetched(SIZE, fresh=True)
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]


async def test_what_gets_on_is_not_given_up(tmp_path: Path) -> None:
    """Tries are counted from the last one that brought more of the file; here each brings 400 kB."""
    ends = (400_000, 800_000, 1_200_000, 1_600_000)
    async with fetching_from(*pieces(*ends), rest(1_600_000 - 4096)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert [first for first, _ in get.ranges][1:] == [f"bytes={end - 4096}-" for end in ends]
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_what_hardly_gets_on_is_given_up(tmp_path: Path) -> None:
    """Else a server that sends a byte a time, or the same beginning for ever, would never be left."""
    async with fetching_from(*pieces(*range(400_000, 400_010))) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "77.mp4", tries=3)
        assert len(get.wire.seen) == 3
    async with fetching_from(*[cut(raw(FILM, ETag=f'"{n}"'), 900_000) for n in range(9)]) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "78.mp4", tries=3)
        assert len(get.wire.seen) == 3


@pytest.mark.parametrize("first", [1, 300_000], ids=["from the first byte on", "after a while"])
async def test_what_comes_too_slowly_is_broken_off_and_gone_on_with(first: int, tmp_path: Path) -> None:
    """A byte now and then is no silence, but it would take a year; what came is kept as after a cut."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(HANG) as get, dripping(1, first=first) as url:
        with pytest.raises(DownloadError, match="broke off: less than 1 KiB came a second"):
            await get(tmp_path / "77.mp4", url)
        assert loop.time() - start < 145
        part = tmp_path / ".77.mp4.part"
        assert (part.stat().st_size if part.exists() else 0) == pytest.approx(first, abs=10)
        assert (await get(tmp_path / "77.mp4", url)).size == SIZE
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]


async def test_what_gets_on_slowly_is_not_given_up(tmp_path: Path) -> None:
    """2 KiB a second will do; what falls below 1 KiB is tried again within the call."""
    async with fetching_from(HANG) as get:
        async with dripping(40_960, first=1_700_000) as url:
            assert (await get(tmp_path / "77.mp4", url)).size == SIZE
        async with dripping(10_240, first=500_000, to_begin_with=3) as url:
            assert (await get(tmp_path / "78.mp4", url, tries=2)).size == SIZE
    assert (tmp_path / "78.mp4").read_bytes() == FILM


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_server_in_trouble_is_asked_again(status: int, tmp_path: Path) -> None:
    """After as long as it says, within reason; a refusal for good is not repeated."""
    loop = asyncio.get_running_loop()
    for asked, waited in ((20, 20), (100, 30)):
        start = loop.time()
        async with fetching_from(raw(b"", status, Retry_After=str(asked)), raw(FILM)) as get:
            assert (await get(tmp_path / f"{asked}.mp4", tries=2)).size == SIZE
        assert waited <= loop.time() - start < waited + 1
    async with fetching_from(raw(b"", 403)) as get:
        await get.fails(tmp_path, tries=5)
        assert len(get.wire.seen) == 1


async def test_a_pause_holds_no_place(tmp_path: Path) -> None:
    """One server in trouble must not keep the files of others waiting."""
    loop = asyncio.get_running_loop()
    place = asyncio.Semaphore(1)
    async with fetching_from(raw(b"", 503, Retry_After="15"), film()) as get:
        start = loop.time()
        first = asyncio.create_task(get(tmp_path / "77.mp4", tries=2, slots=place))
        await until(lambda: get.wire.seen and not place.locked())
        await get(tmp_path / "78.mp4", slots=place)
        assert loop.time() - start < 5 and not first.done()
        async with place:
            await asyncio.sleep(20)
            assert not first.done() and len(get.wire.seen) == 2
        await first
