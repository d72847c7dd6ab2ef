"""Test the files of a batch: changed ones come again; a folder or server that fails stops the buying."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import DownloadError, RequestInvalid
from kling_async.downloads.partial import Partial
from tests.e2e.batches import creates, run_and_report
from tests.support import clip, pair

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_file_of_equal_length_and_other_content_is_fetched_again(tmp_path: Path) -> None:
    """The journal's hash tells that a stored file was changed in place; an untouched one is left alone."""
    options: dict[str, Any] = {"download_to": tmp_path / "out", "name": "{key}"}
    async with pair(seconds=5) as (emu, client):
        requests = [("a", clip("a")), ("b", clip("b"))]
        found, _ = await run_and_report(client, requests, tmp_path, **options)
        changed, other = (outcome.files[0] for outcome in found)
        content, touched = changed.read_bytes(), other.stat().st_mtime_ns
        changed.write_bytes(bytes(len(content)))
        found, _ = await run_and_report(client, requests, tmp_path, **options)
        assert [outcome.files for outcome in found] == [(changed,), (other,)]
        assert changed.read_bytes() == content and other.stat().st_mtime_ns == touched
        assert creates(emu) == 2


async def test_a_file_that_the_journal_does_not_know_is_never_replaced(tmp_path: Path) -> None:
    """Somebody's own file keeps its name and content, and the result gets a number."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"mine")
    async with pair(seconds=5) as (_, client):
        for _ in range(2):
            found, _ = await run_and_report(
                client, [("a", clip("a"))], tmp_path, download_to=folder, name="{key}"
            )
            assert [file.name for file in found[0].files] == ["a-2.mp4"]
    assert (folder / "a.mp4").read_bytes() == b"mine" and len(list(folder.iterdir())) == 2


async def test_the_folder_is_proved_before_anything_is_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that takes files and cannot rename or read them back ends the batch at its start."""

    def broken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("kling_async.downloads.placing.move_to", broken)
    async with pair(seconds=5) as (emu, client):
        with pytest.raises(RequestInvalid, match="download_to"):
            await run_and_report(client, [clip("a")], download_to=tmp_path / "out")
        assert creates(emu) == 0


@pytest.mark.parametrize("cause", ["host", "folder"])
async def test_nothing_more_is_bought_while_nothing_can_be_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    """About ten files in a row that server or folder refuse stop the batch; a later run goes on."""
    requests = [clip(str(n)) for n in range(60)]
    slots = {"limits": {"video": 3}}
    async with pair({"video": 3}, seconds=5, client=slots) as (emu, client):
        with monkeypatch.context() as patch:
            if cause == "host":
                emu.fault("media", status=403, times=None)
            else:

                def broken(*_: Any, **__: Any) -> None:
                    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

                patch.setattr(Partial, "publish", broken)
            found, report = await run_and_report(client, requests, tmp_path, download_to=tmp_path / "out")
            assert report.stopped == "storage" and creates(emu) < 30
            assert len(found) >= 10 and all(isinstance(o.error, DownloadError) for o in found)
            assert "stopped, since" in report.advice and "run the same again" in report.advice
        emu.faults.clear()
        found, _ = await run_and_report(client, requests, tmp_path, download_to=tmp_path / "out")
        assert all(o.ok for o in found) and creates(emu) == 60
