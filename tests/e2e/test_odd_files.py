"""Test media files that block, never end or are far too large: refused by name before anything is paid."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RequestInvalid, v1
from kling_async.orchestrator.bodies import encode
from kling_async.runtime.loop import LoopScope
from tests.e2e.batches import run_and_report
from tests.support import clip, pair, png

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

if sys.platform == "win32":
    pytest.skip("named pipes and devices of POSIX", allow_module_level=True)

GIGABYTE = 1024**3


def pipe(path: Path) -> None:
    """Make a named pipe that nobody writes to."""
    os.mkfifo(path)


def device(path: Path) -> None:
    """Make a name of a device that never ends."""
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    """Make a file of six gigabytes that takes no room on the disk."""
    path.write_bytes(png())
    os.truncate(path, 6 * GIGABYTE)


def image(path: Path) -> Any:
    """Make a request with an image of at most 10 MB."""
    return v1.ImageToVideo(image=path, prompt="a boat")


def mask(path: Path) -> Any:
    """Make a request with a mask, for which the vendor names no size."""
    return v1.ImageToVideo(image=png(), static_mask=path, model_name="kling-v1", prompt="a boat")


def sound(path: Path) -> Any:
    """Make a request with a sound."""
    return v1.Avatar(image=png(), sound_file=path)


ODD = [(pipe, "named pipe"), (device, "a device"), (huge, "has 6144.0 MB; at most")]
FIELDS = [(image, "image"), (mask, "static_mask"), (sound, "sound_file")]


@pytest.mark.filterwarnings("ignore:ImageToVideo.model_name")  # only old models take masks
@pytest.mark.parametrize(("make", "says"), ODD)
@pytest.mark.parametrize(("ask", "field"), FIELDS)
@pytest.mark.parametrize("with_journal", [False, True])
async def test_an_odd_file_fails_its_request_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    says: str,
    ask: Callable[[Path], Any],
    field: str,
    with_journal: bool,
) -> None:
    """Refused at once, with its field and what it is, and not read; the other requests are made."""
    path = tmp_path / "odd"
    make(path)
    real = hashlib.file_digest

    def hashed(file: Any, name: Any) -> Any:
        assert os.fstat(file.fileno()).st_size < GIGABYTE
        return real(file, name)

    monkeypatch.setattr(hashlib, "file_digest", hashed)
    async with pair(seconds=5) as (emu, client):
        requests = [clip("a"), ask(path), clip("b")]
        found, report = await run_and_report(client, requests, tmp_path if with_journal else None)
        assert [o.ok for o in found] == [True, False, True] and len(emu.tasks) == 2
        assert isinstance(found[1].error, RequestInvalid)
        (problem,) = found[1].error.problems
        assert problem.field == field and says in problem.text and report.stopped == ""
        with pytest.raises(RequestInvalid, match=says):
            await client.submit(ask(path))
        plan = await client.batch(requests).dry_run()
        assert (plan.jobs, plan.refused) == (3, 1) and says in plan.problems[0]


@pytest.mark.parametrize(("make", "says"), ODD)
async def test_a_file_that_turned_odd_is_not_sent(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    """A file that is replaced or grows after its check is refused when its body is made."""
    path = tmp_path / "odd"
    make(path)
    async with asyncio.timeout(30):
        with pytest.raises(RequestInvalid, match=says):
            await encode(image(path), {}, LoopScope(lambda: 0.0))


async def test_a_file_that_a_field_does_not_take_is_not_hashed(tmp_path: Path) -> None:
    """A field that takes addresses only says so, however large the file is that it got."""
    path = tmp_path / "odd"
    huge(path)
    async with pair(seconds=5) as (emu, client):
        (found,), _ = await run_and_report(client, [v1.VideoToAudio(video_url=path)], tmp_path)
        assert "takes the address of a video, not the file itself" in str(found.error)
        assert emu.tasks == {}
