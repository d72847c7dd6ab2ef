"""Test downloads/fetch.py: downloads that break off or are too slow are resumed; contents never mix."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import pytest

from kling_async import DownloadError
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
    remainder,
)
from tests.support import until
from tests.wiretap import HANG, raw

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_later_call_resumes_an_earlier_one(tmp_path: Path) -> None:
    """The remainder is requested with an overlap and If-Range, unless the part is of another source."""
    leave(tmp_path)
    async with fetching_from(remainder(295904)) as get:
        assert (await get(tmp_path / "77.mp4"))[:2] == (SIZE, True)
        assert get.ranges == [("bytes=295904-", TAG)]
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    leave(tmp_path, name="78.mp4")
    async with fetching_from(film()) as get:
        await get(tmp_path / "78.mp4", source="another")
        assert get.ranges == [(None, None)]


async def test_a_broken_download_is_resumed_within_the_call(tmp_path: Path) -> None:
    """Attempts follow after a pause, up to ``max_tries``; the part stays for a later call."""
    leave(tmp_path)
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(HANG, HANG, remainder(295904)) as get:
        assert str(await get.fails(tmp_path, tries=2)) == f"the download broke off: {NO_ANSWER}"
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert get.ranges == [("bytes=295904-", TAG)] * 3
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]
    assert 60 < loop.time() - start < 61


async def test_bytes_before_a_cut_are_kept(tmp_path: Path) -> None:
    """Chunks that were read but not yet written are written to the part."""
    async with fetching_from(cut(film(), 1_500_000)) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "77.mp4")
    kept = (tmp_path / ".77.mp4.part").read_bytes()
    assert len(kept) >= 500_000 and FILM.startswith(kept)


OTHER: Final = FILM[:12] + bytes(SIZE - 12)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([raw(OTHER, ETag='"v2"')], id="another content comes whole"),
        pytest.param([raw(OTHER)], id="a server without ranges"),
        pytest.param(
            [remainder(295904, tag='"v2"', body=OTHER), raw(OTHER)], id="a remainder under another ETag"
        ),
        pytest.param(
            [remainder(295904, body=OTHER), raw(OTHER)],
            id="a remainder of another content under the same ETag",
        ),
        pytest.param([remainder(295903), raw(OTHER)], id="a remainder from another byte on"),
        pytest.param([remainder(295904, total=SIZE - 1), raw(OTHER)], id="a remainder of another length"),
        pytest.param([raw(b"", 416, Content_Range="bytes */9"), raw(OTHER)], id="no such range"),
    ],
)
async def test_two_contents_are_never_joined(second: list[bytes], tmp_path: Path) -> None:
    """A part is dropped as soon as an answer turns out to be of another content."""
    leave(tmp_path)
    async with fetching_from(*second) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert len(get.wire.requests) == len(second)
    assert (tmp_path / "77.mp4").read_bytes() == OTHER and names(tmp_path) == ["77.mp4"]


async def test_a_remainder_without_an_etag_is_not_used(tmp_path: Path) -> None:
    """The overlap may be equal although the beginning differs; only the ETag would tell."""
    changed = FILM[:100] + b"?" + FILM[101:]
    leave(tmp_path)
    async with fetching_from(remainder(295904, tag="", body=changed), raw(changed)) as get:
        assert (await get(tmp_path / "77.mp4")).size == SIZE
        assert get.ranges == [("bytes=295904-", TAG), (None, None)]
    assert (tmp_path / "77.mp4").read_bytes() == changed


async def test_without_an_etag_the_file_is_fetched_again(tmp_path: Path) -> None:
    """Without an ETag nothing tells whether a remainder belongs to the part."""
    async with fetching_from(cut(raw(FILM), 300_000), raw(FILM)) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges == [(None, None)] * 2
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_remainder_that_ends_too_soon_is_resumed(tmp_path: Path) -> None:
    """The length of the whole file decides, not the Content-Length of the remainder."""
    short = raw(FILM[295904:-1], 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(short, remainder(SIZE - 1 - 4096)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert get.ranges[1] == (f"bytes={SIZE - 1 - 4096}-", TAG)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_remainder_that_is_too_long_is_dropped(tmp_path: Path) -> None:
    """More bytes than the total make the part useless."""
    long = raw(FILM[295904:] + b"x", 206, ETag=TAG, Content_Range=f"bytes 295904-{SIZE - 1}/{SIZE}")
    leave(tmp_path)
    async with fetching_from(long, film()) as get:
        await get(tmp_path / "77.mp4", tries=2)
        assert get.ranges[1] == (None, None)
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_a_complete_part_only_needs_its_name(tmp_path: Path) -> None:
    """After a kill between last byte and rename only the overlap is requested."""
    leave(tmp_path, SIZE)
    async with fetching_from(remainder(SIZE - 4096)) as get:
        assert (await get(tmp_path / "77.mp4"))[:2] == (SIZE, True)
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]


async def test_progress_starts_the_count_of_attempts_anew(tmp_path: Path) -> None:
    """Attempts that bring 400 kB each are never too many."""
    ends = (400_000, 800_000, 1_200_000, 1_600_000)
    async with fetching_from(*pieces(*ends), remainder(1_600_000 - 4096)) as get:
        assert (await get(tmp_path / "77.mp4", tries=2)).size == SIZE
        assert [first for first, _ in get.ranges][1:] == [f"bytes={end - 4096}-" for end in ends]
    assert (tmp_path / "77.mp4").read_bytes() == FILM


async def test_too_little_progress_is_given_up(tmp_path: Path) -> None:
    """A server that sends one more byte per attempt, or the same beginning again, counts as failing."""
    async with fetching_from(*pieces(*range(400_000, 400_010))) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "77.mp4", tries=3)
        assert len(get.wire.requests) == 3
    async with fetching_from(*[cut(raw(FILM, ETag=f'"{n}"'), 900_000) for n in range(9)]) as get:
        with pytest.raises(DownloadError, match=CUT_OFF):
            await get(tmp_path / "78.mp4", tries=3)
        assert len(get.wire.requests) == 3


@pytest.mark.parametrize("first", [1, 300_000], ids=["from the first byte on", "after a while"])
async def test_a_slow_download_breaks_off_and_is_resumed(first: int, tmp_path: Path) -> None:
    """Less than 1 KiB per second counts as a cut, although no read times out; the part is kept."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with fetching_from(HANG) as get, dripping(1, first=first) as url:
        with pytest.raises(DownloadError, match="broke off: less than 1 KiB per second"):
            await get(tmp_path / "77.mp4", url)
        assert loop.time() - start < 145
        part = tmp_path / ".77.mp4.part"
        assert (part.stat().st_size if part.exists() else 0) == pytest.approx(first, abs=10)
        assert (await get(tmp_path / "77.mp4", url)).size == SIZE
    assert (tmp_path / "77.mp4").read_bytes() == FILM and names(tmp_path) == ["77.mp4"]


async def test_a_download_above_the_minimum_rate_is_not_given_up(tmp_path: Path) -> None:
    """2 KiB per second is enough; below 1 KiB the call makes another attempt."""
    async with fetching_from(HANG) as get:
        async with dripping(40_960, first=1_700_000) as url:
            assert (await get(tmp_path / "77.mp4", url)).size == SIZE
        async with dripping(10_240, first=500_000, to_begin_with=3) as url:
            assert (await get(tmp_path / "78.mp4", url, tries=2)).size == SIZE
    assert (tmp_path / "78.mp4").read_bytes() == FILM


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_temporary_refusals_are_repeated(status: int, tmp_path: Path) -> None:
    """The pause is the Retry-After, at most ``Retry.cap``; a final refusal is not repeated."""
    loop = asyncio.get_running_loop()
    for asked, waited in ((20, 20), (100, 30)):
        start = loop.time()
        async with fetching_from(raw(b"", status, Retry_After=str(asked)), raw(FILM)) as get:
            assert (await get(tmp_path / f"{asked}.mp4", tries=2)).size == SIZE
        assert waited <= loop.time() - start < waited + 1
    async with fetching_from(raw(b"", 403)) as get:
        await get.fails(tmp_path, tries=5)
        assert len(get.wire.requests) == 1


async def test_a_pause_holds_no_slot(tmp_path: Path) -> None:
    """Other files use the slot while one server's Retry-After passes."""
    loop = asyncio.get_running_loop()
    slot = asyncio.Semaphore(1)
    async with fetching_from(raw(b"", 503, Retry_After="15"), film()) as get:
        start = loop.time()
        first = asyncio.create_task(get(tmp_path / "77.mp4", tries=2, slots=slot))
        await until(lambda: get.wire.requests and not slot.locked())
        await get(tmp_path / "78.mp4", slots=slot)
        assert loop.time() - start < 5 and not first.done()
        async with slot:
            await asyncio.sleep(20)
            assert not first.done() and len(get.wire.requests) == 2
        await first
