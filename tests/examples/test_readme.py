"""The README's code runs as printed, each block alone as a file; its claims about commands and names hold."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import kling_async
from kling_async import Client, v1
from kling_async.cli.commands import make_parser
from kling_async.testing import emulator
from tests.examples.servers import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async import TaskRequest
    from kling_async.testing import Emulator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = dict(
    re.findall(r"^## (A [a-z ]+)$(?:(?!^## ).)*?^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
)
NOTEBOOK = """
import ast, asyncio, inspect, pathlib, sys
source = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
code = compile(source, sys.argv[1], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
asyncio.run(eval(code, {"__name__": "__main__"}))
"""
"""Runs a file whose code awaits at its top level, as a notebook does."""


@asynccontextmanager
async def running(
    block: str, folder: Path, emu: Emulator, *command: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One block of the README, written to a file and run by an interpreter of its own."""
    file = folder / "block.py"
    file.write_text(BLOCKS[block], encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-u", *command, str(file),
        cwd=folder,
        env={**os.environ, **emu.env(), "PYTHONPATH": str(ROOT), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def output_of(block: str, folder: Path, emu: Emulator, *command: str) -> str:
    """What a block prints; it must end well and say nothing on stderr."""
    async with running(block, folder, emu, *command) as process:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


async def billed(emu: Emulator, kind: type[TaskRequest[Any]]) -> list[float]:
    """The units of each task that was made."""
    async with Client(base_url=emu.url, api_key=emu.api_key) as client:
        return [float(record.units or 0) for record in await client.list(kind)]


def test_every_way_of_use_has_one_block() -> None:
    """Script, notebook, web backend and batch, and no other block of Python stands in the README."""
    assert list(BLOCKS) == ["A script", "A notebook", "A web backend", "A batch"]
    assert README.count("```python") == len(BLOCKS)


@pytest.mark.real
@pytest.mark.anyio
async def test_the_script_runs_alone(tmp_path: Path) -> None:
    """It makes one video of the price that the README names, and stores its file."""
    async with emulator(slots={"video": 5}, speed=500) as emu:
        said = await output_of("A script", tmp_path, emu)
        assert await billed(emu, v1.TextToVideo) == [1.5]
    assert "accepted:" in said and len(list((tmp_path / "out").glob("*.mp4"))) == 1


@pytest.mark.real
@pytest.mark.anyio
async def test_the_notebook_runs_alone(tmp_path: Path) -> None:
    """Its awaits at the top level work; one image is stored, for the price that the README names."""
    async with emulator(slots={"image": 9}, speed=500) as emu:
        await output_of("A notebook", tmp_path, emu, "-c", NOTEBOOK)
        assert await billed(emu, v1.ImageGeneration) == [8]
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.real
@pytest.mark.anyio
async def test_the_batch_runs_alone_and_continues(tmp_path: Path) -> None:
    """Two videos under their keys; the same file run again makes no third."""
    async with emulator(slots={"video": 5}, speed=500) as emu:
        first = await output_of("A batch", tmp_path, emu)
        second = await output_of("A batch", tmp_path, emu)
        assert await billed(emu, v1.TextToVideo) == [1.5, 1.5]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"harbour.mp4", "market.mp4"}
    assert "2 jobs" in first and "2 jobs" in second


@pytest.mark.real
@pytest.mark.anyio
async def test_the_web_backend_runs_alone(tmp_path: Path) -> None:
    """It answers a POST at once, shows the queue, then the video's address; it names what is wrong."""
    port = free_port()
    async with (
        emulator(slots={"video": 1}, speed=500) as emu,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser,
        running("A web backend", tmp_path, emu, PORT=str(port)) as process,
    ):

        async def post(**body: Any) -> tuple[int, Any]:
            async with browser.post("/videos", json=body) as answer:
                return answer.status, await answer.json()

        async def show(order: str) -> tuple[int, Any]:
            await asyncio.sleep(0.05)  # or its log of requests fills the pipe, which nobody reads
            async with browser.get(f"/videos/{order}") as answer:
                return answer.status, await answer.json()

        assert process.stderr is not None
        while b"running on" not in (line := await asyncio.wait_for(process.stderr.readline(), 30)):
            assert line
        orders = [(await post(prompt="A paper boat", duration=5))[1]["id"] for _ in range(3)]
        assert (await post(promt="A paper boat"))[0] == 422
        assert (await show(str(uuid.uuid4())))[0] == 404
        seen = await show(orders[2])
        assert seen[0] == 200 and seen[1]["status"] == "queued" and seen[1]["position"] is not None
        async with asyncio.timeout(60):
            while (seen := await show(orders[2]))[1]["status"] != "succeed":
                assert seen[0] == 200
        assert seen[1]["result"]["videos"][0]["url"].startswith("http")
        refused = (await post(prompt="emulator:refuse"))[1]["id"]
        async with asyncio.timeout(60):
            while not ((seen := await show(refused))[1].get("reason") or seen[1].get("error")):
                assert seen[0] == 200
        assert [row.external_task_id for row in emu.ledger.created] == orders


def test_the_readme_is_short() -> None:
    """At most 220 lines: measurements and inner workings stand in the READMEs of the folders."""
    assert len(README.splitlines()) <= 220


def test_its_links_lead_somewhere() -> None:
    """Each relative link names a file or folder of the project."""
    links = re.findall(r"\]\(((?!https?:)[^)]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)


def test_errors_named_exist() -> None:
    """Each error of the table is a name of the package."""
    table = README.split("## When something goes wrong")[1].split("##")[0]
    names = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    assert len(names) > 12 and names <= set(kling_async.__all__)


def test_the_commands_shown_parse() -> None:
    """What the README types after ``kling`` is accepted by its parser."""
    commands = re.findall(r"`kling ([a-z][^`]*)`", README)
    assert {"demo", "emulator", "help", "check jobs.jsonl"} <= set(commands)
    screens = re.findall(r"^\$ kling (.*)$", README, re.MULTILINE)  # recorded ones
    for command in (*commands, *screens):
        make_parser().parse_args(shlex.split(command))
