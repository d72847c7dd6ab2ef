"""orchestrator/bodies.py: input files are checked before anything is paid, and read off the loop."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import KlingWarning, RawTask, RequestInvalid, v1
from kling_async.orchestrator import bodies
from kling_async.orchestrator.bodies import check_media, encode
from kling_async.runtime.loop import LoopScope
from tests.support import clip, pair, png, still

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

URL: Final = "https://a.example/fox.png"


@pytest.fixture
def scope() -> LoopScope:
    return LoopScope(lambda: 1_790_000_000.0)


# --- what is looked at -------------------------------------------------------------------------


def file_with(folder: Path, data: bytes) -> Path:
    path = folder / "fox.png"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(png(), None, id="good"),
        pytest.param(png(300, 750), None, id="1 to 2.5, just good"),
        pytest.param(b"GIF89a" + b"0" * 50, "GIF is not taken; use JPEG or PNG", id="no image we know"),
        pytest.param(b"", "is not a readable image; use JPEG or PNG", id="empty"),
        pytest.param(png(299, 400), "is 299 x 400 px; each side needs at least 300 px", id="small"),
        pytest.param(
            png(300, 751), "is 300 x 751 px; width / height must lie within 1:2.5 and 2.5:1", id="tall"
        ),
        pytest.param(png() + b"0" * 10 * 1024**2, "has 10.0 MB; at most 10 MB", id="large"),
    ],
)
@pytest.mark.parametrize("form", ["file", "bytes"])
async def test_images_are_checked_before_anything_is_paid(
    data: bytes, problem: str | None, form: str, scope: LoopScope, tmp_path: Path
) -> None:
    """Files and bytes alike are checked; the problem names the field and what would be right."""
    if form == "bytes" and not data:
        return  # counts as no image
    request = still(image=file_with(tmp_path, data) if form == "file" else data)
    if problem is None:
        await check_media(request, scope)
    else:
        with pytest.raises(RequestInvalid) as caught:
            await check_media(request, scope)
        assert caught.value.problems == (("image", problem),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("none.png", "No such file or directory", id="missing"),
        pytest.param(".", "Is a directory", id="a directory"),
        pytest.param("fox.png/x", "Not a directory", id="inside a file"),
        pytest.param("n" * 300, "File name too long", id="name too long"),
        pytest.param(
            "a\0b", "its name contains a NUL", id="a NUL in the name",
        ),
    ],
)  # fmt: skip
async def test_a_file_that_cannot_be_read_is_a_wrong_field(
    name: str, reason: str, scope: LoopScope, tmp_path: Path
) -> None:
    """The problem names the field and the system's reason."""
    file_with(tmp_path, png())
    path = tmp_path / name
    with pytest.raises(RequestInvalid) as caught:
        await check_media(still(image=path), scope)
    assert caught.value.problems == (("image", f"cannot read {str(path)!r}: {reason}"),)


async def test_a_submit_with_a_wrong_file_sends_nothing(tmp_path: Path) -> None:
    """The submit does not even enter the queue."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match="cannot read"):
            await client.submit(still(image=tmp_path / "none.png"))
        assert not emu.ledger.creates and client.account.limits() == {}


async def test_an_address_is_not_looked_at(scope: LoopScope, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the vendor can fetch an address; no thread is used for it."""
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
    await check_media(still(image=URL), scope)
    await check_media(clip(), scope)
    assert json.loads(await encode(still(image=URL), {}, scope))["image"] == URL


# --- what is sent ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "bytes"])
async def test_images_go_as_bare_base64(form: str, scope: LoopScope, tmp_path: Path) -> None:
    """Fields that the call adds are merged in last."""
    request = still(image=file_with(tmp_path, png()) if form == "file" else png(), extra={"new": 1})
    body = json.loads(await encode(request, {"external_task_id": "mine"}, scope))
    assert base64.b64decode(body.pop("image"), validate=True) == png()
    assert body == {"model_name": "kling-v3", "prompt": "a paper boat", "new": 1, "external_task_id": "mine"}


async def test_a_raw_task_carries_its_own_body(scope: LoopScope) -> None:
    """The fields of the request itself are not sent."""
    request = RawTask(path="/v1/x", body={"a": 1, "b": 2}, pool="video", weight=2, extra={"b": 3})
    assert json.loads(await encode(request, {"external_task_id": "m"}, scope)) == {
        "a": 1,
        "b": 3,
        "external_task_id": "m",
    }


async def test_a_file_is_read_only_for_its_create_and_off_the_loop(
    scope: LoopScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body holds what the file contains when the create is sent, not when the request is made."""
    readers: list[threading.Thread] = []
    read = bodies.file_content

    def note(*arguments: Any) -> bytes | str:
        readers.append(threading.current_thread())
        return read(*arguments)

    monkeypatch.setattr(bodies, "file_content", note)
    path = file_with(tmp_path, png())
    request = still(image=path)
    await check_media(request, scope)
    assert readers == []
    path.write_bytes(png(400, 400))
    body = json.loads(await encode(request, {}, scope))
    assert base64.b64decode(body["image"]) == png(400, 400)
    assert len(readers) == 1 and readers[0] is not threading.main_thread()


async def test_a_file_that_is_gone_when_its_turn_comes_fails_the_request(
    scope: LoopScope, tmp_path: Path
) -> None:
    """Nothing is sent, and the error names the file."""
    path = file_with(tmp_path, png())
    request = still(image=path)
    path.unlink()
    with pytest.raises(RequestInvalid, match=r"cannot read .*fox\.png.*No such file") as caught:
        await encode(request, {}, scope)
    assert caught.value.__context__ is None


async def test_a_file_that_is_gone_is_named_by_its_field(scope: LoopScope, tmp_path: Path) -> None:
    """The error names request and field, as every RequestInvalid does."""
    with pytest.raises(RequestInvalid) as caught:
        await encode(still(image=tmp_path / "none.png"), {}, scope)
    assert caught.value.problems[0].field == "image"
    assert str(caught.value).startswith("ImageGeneration: ")


# --- addresses ---------------------------------------------------------------------------------


async def test_a_private_address_is_refused_unless_the_api_is_local(scope: LoopScope) -> None:
    """The vendor cannot fetch it; an emulator on this machine can."""
    request = still(image="http://localhost:8000/fox.png")
    await check_media(request, scope, local=True)
    with pytest.raises(RequestInvalid, match="image: the API cannot fetch from 'localhost'"):
        await check_media(request, scope)


async def test_a_doubtful_address_warns(scope: LoopScope) -> None:
    """Where the host alone does not decide, the request passes."""
    with pytest.warns(KlingWarning, match=r"ImageGeneration\.image: the API probably cannot fetch"):
        await check_media(still(image="https://nas.lan/fox.png"), scope)


async def test_a_sound_that_may_be_a_video_warns(scope: LoopScope) -> None:
    """An MP4 of a general brand passes with a warning."""
    sound = b"\x00\x00\x00\x18ftypmp42" + bytes(40)
    request = v1.Avatar(image=png(), sound_file=sound)
    with pytest.warns(KlingWarning, match=r"Avatar\.sound_file: is an MP4 of brand 'mp42'"):
        await check_media(request, scope)
