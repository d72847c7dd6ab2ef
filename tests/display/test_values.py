"""Tasks, results, batches and numbers as notebooks and terminals show them."""

from __future__ import annotations

import base64
import copy as copies
import gc
import pickle
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import DownloadError, Estimate, Stats, TaskFailed, TaskRecord, Unresolved, v1
from kling_async.account import PoolStates
from kling_async.notebook import watch
from tests.display.test_html import NASTY, Read
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


def shown(value: Any) -> tuple[str, Read]:
    """Return both forms of a value, called as IPython calls it; the text shows no signed address."""
    data = value._repr_mimebundle_(include=None, exclude=None)
    assert set(data) == {"text/plain", "text/html"}
    assert "?" not in data["text/plain"].replace("?>", "")
    return data["text/plain"], Read(data["text/html"])


def sources(page: Read) -> list[str]:
    """Return where a page takes its pictures and players from."""
    return [value or "" for name, value in page.attributes if name == "src"]


async def test_a_task_shows_its_state_from_the_queue_to_its_picture() -> None:
    """Position and expected end while it waits, then a picture by its whole address; text stays short."""
    async with pair({"image": 1}) as (_, client):
        await client.run(still("so that it is known how long one takes"))
        tasks = [await client.enqueue(still(f"{NASTY[0]} {n}")) for n in range(3)]
        await tasks[0].accepted()
        text, page = shown(tasks[2])
        assert "queued" in text and "position 1" in text and "expected end" in text and "\n" not in text
        assert "position" in page.text and "script" not in page.elements
        assert NASTY[0] in page.text
        result = await tasks[2].wait()
        text, page = shown(tasks[2])
        url = result.images[0].url
        assert "?" in url and sources(page) == [url]
        assert "succeed" in text and tasks[2].id in page.text


async def test_a_result_shows_its_files_by_whole_addresses_in_html_alone() -> None:
    """Whoever opens the picture of the page gets it; text and repr cut the address before its signature."""
    async with pair() as (_, client):
        result = await client.run(still(n=2))
        text, page = shown(result)
        assert sources(page) == [image.url for image in result.images]
        assert "sig" not in page.text and "?" not in repr(result) and text == repr(result)


async def test_a_downloaded_file_takes_the_place_of_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Task and result show the file beside the notebook, by its relative path; no address is in the page."""
    monkeypatch.chdir(tmp_path)
    async with pair() as (_, client):
        task = await client.submit(still())
        (path,) = await task.download("out")
        for value in (task, await task.wait()):
            page = shown(value)[1]
            assert sources(page) == [f"out/{path.name}"]
            assert "href" not in dict(page.attributes)


async def test_a_failed_task_and_an_unreadable_result_show_why() -> None:
    """The vendor's reason stands in the page as text, whatever it holds."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.finish(task.id, "failed", NASTY[1])
        with pytest.raises(TaskFailed):
            await task.wait()
        assert NASTY[1] in shown(task)[1].text


@pytest.mark.parametrize("downloaded", [False, True])
async def test_embed_makes_a_copy_that_needs_no_server(downloaded: bool, tmp_path: Path) -> None:
    """The bytes themselves are in the page, from disk where the file lies there, without a request."""
    async with pair() as (emu, client):
        task = await client.submit(still())
        (path,) = await task.download(tmp_path / "there") if downloaded else [None]
        before = len(emu.ledger.media)
        copy = await task.embed()
        assert len(emu.ledger.media) - before == (0 if downloaded else 1)
        kept = pickle.loads(pickle.dumps(copy))  # as a cache of results might
    text, page = shown(kept)
    (source,) = sources(page)
    head, _, data = source.partition(",")
    assert head in {"data:image/png;base64", "data:image/jpeg;base64"}
    assert base64.b64decode(data) == copy.files[0].content
    if path is not None:
        assert path.read_bytes() == copy.files[0].content
    assert len(text) < 200 and str(copy.size) in text


@pytest.mark.parametrize("downloaded", [False, True])
async def test_a_result_embeds_its_files_while_its_client_lives(downloaded: bool, tmp_path: Path) -> None:
    """As its task does; it keeps no client alive, and says whom to ask where nobody can fetch them."""
    async with pair() as (emu, _):
        other = client_of(emu)
        task = await other.submit(still(n=2))
        result = await task.wait()
        copy = await result.embed()
        assert [file.content for file in copy.files] == [file.content for file in (await task.embed()).files]
        with pytest.raises(DownloadError, match="more than max_bytes=100 bytes"):
            await result.embed(max_bytes=100)
        for lost in (copies.copy(result), copies.deepcopy(result), pickle.loads(pickle.dumps(result))):
            assert lost == result
            with pytest.raises(DownloadError, match="does not know who can fetch"):
                await lost.embed()
        if downloaded:
            await task.download(tmp_path)
        held = weakref.ref(other._engine.transport)
        del task, other
        await until(lambda: gc.collect() < 0 or held() is None)
        await settle()  # its sessions are closed in the next turns of the loop
        if downloaded:
            assert (await result.embed()).size == copy.size
        else:
            with pytest.raises(DownloadError, match="client that read this result is gone: attach"):
                await result.embed()


async def test_files_on_this_machine_are_shown_of_an_api_here_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer of an API elsewhere that names a server here puts no address into the page."""
    async with pair() as (_, client):
        result = await client.run(still())
        assert sources(shown(result)[1])
        monkeypatch.setattr("kling_async.orchestrator.engine.is_local", lambda _: False)
        task = await client.submit(still())
        for value in (await task.wait(), task):
            assert not sources(shown(value)[1]) and "not public https" in shown(value)[1].text


async def test_an_outcome_without_files_embeds_those_of_its_result() -> None:
    """Nothing was downloaded: the result's own are fetched; a failed one says why there is none."""
    requests: list[Any] = [("good", still()), ("bad", v1.TextToVideo(prompt="x" * 3000))]
    async with pair() as (_, client), client.batch(requests) as results:
        outcomes = {outcome.key: outcome async for outcome in results}
        assert (await outcomes["good"].embed()).size > 100
        with pytest.raises(DownloadError, match=r"no files: .*prompt"):
            await outcomes["bad"].embed()


async def test_embed_is_bounded(tmp_path: Path) -> None:
    """More bytes than max_bytes are refused with the way out, by address and from disk."""
    async with pair() as (_, client):
        task = await client.submit(still())
        with pytest.raises(DownloadError, match=r"more than max_bytes=100 bytes.*raise it"):
            await task.embed(max_bytes=100)
        await task.download(tmp_path)
        with pytest.raises(DownloadError, match="more than max_bytes=100 bytes"):
            await task.embed(max_bytes=100)


async def test_a_batch_shows_its_report_and_its_outcomes_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts and advice; a picture from disk; an error in words; a prompt as text."""
    monkeypatch.chdir(tmp_path)
    requests: list[Any] = [("good", still(NASTY[0])), ("bad", v1.TextToVideo(prompt="x" * 3000))]
    async with pair() as (_, client), client.batch(requests, download_to="out") as results:
        outcomes = {outcome.key: outcome async for outcome in results}
        page = shown(outcomes["good"])[1]
        assert sources(page) == [f"out/{outcomes['good'].files[0].name}"]
        assert NASTY[0] in page.text
        copy = await outcomes["good"].embed()
        assert copy.files[0].content == outcomes["good"].files[0].read_bytes()
        assert "RequestInvalid" in shown(outcomes["bad"])[1].text
        for value in (results, results.report):
            text, page = shown(value)
            assert "1 done, 1 failed" in text
            assert "failed1" in page.text and "refused unsent" in page.text
        await until(lambda: not client.tasks())


async def test_numbers_of_a_client_are_tables() -> None:
    """Stats without its zeros, the pools in columns; no pool yet is said in words."""
    async with pair({"image": 3}) as (_, client):
        assert shown(client.account.limits())[0] == "no pool was used yet"
        task = await client.submit(still())
        text, page = shown(client.account.limits())
        head, line, *_ = text.splitlines()
        assert head.split() == ["pool", "held", "limit", "source", "queued", "foreign", "closed"]
        assert line.split()[:2] == ["image", "1"]
        assert page.elements.count("th") == 7
        assert client.account.limits() == dict(client.account.limits())
        await task.wait()
        text, page = shown(client.stats())
        assert "submitted" in text and "unresolved" not in text and "image" in text
        assert page.elements.count("table") == 2
        assert client.stats().to_dict()["pools"]["image"]["held"] == 0


@pytest.mark.parametrize(
    "value",
    [
        Stats(),
        Stats(holds={"text_to_video kling-v3": NASTY[0]}),
        PoolStates(),
        TaskRecord(endpoint="x", task_id=NASTY[1], message=NASTY[0]),
        Estimate(units=1.0, most=2.0, pool="video", why=NASTY[0]),
        Unresolved(endpoint="text_to_video", external_task_id=NASTY[0], reason=NASTY[1]),
        v1.TextToVideo(prompt=NASTY[0]),
        v1.Videos(videos=(v1.Video(url=NASTY[1]),)),
        v1.ImageToVideo(image=b"\x89PNG" * 100_000, prompt=NASTY[0]),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_every_value_that_users_show_has_a_table(value: Any) -> None:
    """Values in odd states have both forms; nothing they hold becomes markup, and no payload is shown."""
    text, page = shown(value)
    assert not {"script", "img"} & set(page.elements)
    assert page.open == []
    assert len(text) < 5000 and len(page.text) < 5000


async def test_ipython_prints_tables_for_collections_too(tmp_path: Path) -> None:
    """IPython prints subclasses of dict and list its own way unless they say how."""
    formatters = pytest.importorskip("IPython.core.formatters")
    async with pair() as (_, client):
        outcomes = await watch(client.batch([("a", still())], download_to=tmp_path))
        for value in (client.account.limits(), outcomes, client.stats(), outcomes[0]):
            data, _ = formatters.DisplayFormatter().format(value)
            assert data["text/plain"] == value._repr_mimebundle_()["text/plain"]
            assert "{" not in data["text/plain"]
            assert "<table" in data["text/html"]
