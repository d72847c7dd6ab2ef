"""Notebooks in a real kernel: interrupts, cells that are run again, a restart, modules that are reloaded."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("ipykernel", reason="no Jupyter kernel here: pip install '.[notebook]'")
pytest.importorskip("jupyter_client")

from kling_async.testing import Emulator, emulator
from tests.kernels import Kernel, running_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

COMPLAINTS = (
    "never retrieved",
    "nclosed",
    "loop is closed",
    "was destroyed",
    "never awaited",
    "Exception ignored",
)
"""Words of asyncio, aiohttp and Python for what was left behind."""
SEEN_WITHIN = 3.0
"""Seconds in which an interrupt ends its cell: the tick is one second, the machine may be busy."""

FAST = "k.Polling(min_interval=0.2, max_interval=0.4)"
NEW = "client = Client(polling=fast)"
CLIP = 'v1.TextToVideo(prompt="emulator:seconds=1")'
PICTURE = 'v1.ImageGeneration(prompt="emulator:seconds=0")'


@pytest.fixture(scope="module")
def emu() -> Iterator[Emulator]:
    """An emulator in a thread of its own, so that it outlives the kernel."""
    started: list[Emulator] = []
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with emulator(slots={"video": 2, "image": 4}, speed=10) as emu:
            started.append(emu)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    assert ready.wait(30)
    yield started[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the notebook."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def kernel(emu: Emulator, folder: Path) -> Iterator[Kernel]:
    """A kernel with the emulator's address and key in its environment; it has nothing to complain of."""
    env = {"KLING_BASE_URL": emu.url, "KLING_API_KEY": emu.api_key or ""}
    with running_kernel(folder, env) as kernel:
        kernel.run(
            "import asyncio, gc\n"
            "import aiohttp\n"
            "import kling_async as k\n"
            "from kling_async import Client, Polling, notebook, v1\n"
            f"fast = {FAST}\n"
            "client = Client(polling=fast)\n"
        )
        yield kernel
    said = kernel.said + (folder / "kernel.log").read_text(encoding="utf-8", errors="replace")
    assert not [line for line in said.splitlines() if any(word in line for word in COMPLAINTS)], said


def test_an_interrupted_wait_is_seen_at_once_and_can_be_repeated(kernel: Kernel) -> None:
    """Though nothing is due for minutes. The traceback names the task; the same cell has the result later."""
    kernel.run("slow = Client(polling=Polling(min_interval=300, max_interval=300))")
    kernel.run('task = await slow.submit(v1.TextToVideo(prompt="a fox emulator:seconds=1"))')
    task_id = kernel.value("task.id").strip("'")
    cell = kernel.run("print('waiting')\nawait task.wait()", interrupt_at="waiting")
    assert cell.error == "CancelledError"
    assert f"the task runs on at the vendor's: {task_id}" in cell.traceback
    assert cell.seconds < SEEN_WITHIN
    kernel.run("await asyncio.sleep(0.5)\nawait task.refresh()")  # the schedule would ask minutes later
    cell = kernel.run("await task.wait()")
    assert not cell.error, cell.traceback
    assert "<video" in cell.last["text/html"] and "?" not in cell.last["text/plain"]
    assert "<video" in kernel.run("task").last["text/html"]
    kernel.run("await slow.aclose()\ndel slow, task")


def test_an_interrupted_watch_keeps_its_last_state(kernel: Kernel) -> None:
    """One display, updated; it says what runs on, by id; watched again it ends with the player."""
    kernel.run('task = await client.submit(v1.TextToVideo(prompt="<b>a fox</b> emulator:seconds=2"))')
    task_id = kernel.value("task.id").strip("'")
    cell = kernel.run("video = await notebook.watch(task)", interrupt_at="since 1 s")
    assert cell.error == "CancelledError" and cell.seconds < SEEN_WITHIN
    assert len(cell.displays) == 1 and cell.updates >= 2
    assert "interrupted" in cell.last["text/plain"] and task_id in cell.last["text/plain"]
    cell = kernel.run("video = await notebook.watch(task)")
    assert not cell.error, cell.traceback
    assert (
        len(cell.displays) == 1
        and "<video" in cell.last["text/html"]
        and "<b>a" not in cell.last["text/html"]
    )
    assert not cell.text


def test_an_interrupted_batch_says_how_to_go_on(kernel: Kernel, emu: Emulator, folder: Path) -> None:
    """The journal is named; the cell run again makes nothing twice, and shows files beside the notebook."""
    kernel.run(
        'requests = [(str(n), v1.ImageGeneration(prompt=f"{n} emulator:seconds=2")) for n in range(3)]'
    )
    code = (
        'batch = client.batch(requests, journal="jobs.sqlite", download_to="out")\n'
        "outcomes = await notebook.watch(batch)\noutcomes"
    )
    before = len(emu.tasks)
    cell = kernel.run(code, interrupt_at="since 1 s")
    assert cell.error == "CancelledError" and cell.seconds < SEEN_WITHIN
    assert "jobs.sqlite" in cell.last["text/plain"]
    cell = kernel.run(code)
    assert not cell.error, cell.traceback
    assert "3 done" in cell.displays[0]["text/plain"] and len(emu.tasks) == before + 3
    assert cell.last["text/html"].count("<tr>") == 4
    html = kernel.run("outcomes[0]").last["text/html"]
    assert 'src="out/' in html and (folder / "out").is_dir()


def test_a_cell_that_makes_a_client_is_run_again(kernel: Kernel) -> None:
    """The client before names what runs on below the cell, is freed, and its connections are closed."""
    kernel.run(f"{NEW}\ntask = await client.submit({CLIP})")
    cell = kernel.run(NEW)
    assert "a client was dropped without aclose(); tasks run on (1)" in cell.text
    assert kernel.value("task.id").strip("'") in cell.text
    assert "leftovers.py" not in cell.text  # it names the line of the cell
    assert "videos" in kernel.value("await task.wait()")
    for _ in range(3):
        kernel.run(f"{NEW}\nawait client.run({PICTURE})")
    kernel.run("del task, batch, video")
    kernel.run("1 / 0")  # IPython holds the frames of the latest error, here of an interrupt
    count = (
        "%reset -f out\n"
        "gc.collect(); await asyncio.sleep(0.1)\n"
        "sum(type(item) is aiohttp.ClientSession and not item.closed for item in gc.get_objects())"
    )
    assert int(kernel.value(count)) <= 3


def test_a_module_that_is_reloaded_leaves_no_client(kernel: Kernel, folder: Path) -> None:
    """Under ``%autoreload 2`` a module makes its client anew; the task of the old one is named."""
    module = folder / "studio.py"
    text = f"import kling_async as k\n\nclient = k.Client(polling={FAST})\nVERSION = 1\n"
    module.write_text(text)
    kernel.run("%load_ext autoreload\n%autoreload 2\nimport studio")
    kernel.run(f"task = await studio.client.submit({CLIP})")
    module.write_text(text.replace("VERSION = 1", "VERSION = 2"))
    os.utime(module, (2_000_000_000, 2_000_000_000))
    cell = kernel.run("gc.collect()\nstudio.VERSION")
    assert cell.last["text/plain"] == "2"
    assert "dropped without aclose()" in cell.text + kernel.said
    assert "videos" in kernel.value("await task.wait()")
    assert "images" in kernel.value(
        'await studio.client.run(v1.ImageGeneration(prompt="emulator:seconds=0"))'
    )
    kernel.run("await studio.client.aclose()")


def test_a_task_is_found_again_after_a_restart(kernel: Kernel) -> None:
    """The memory of the kernel is gone; the id is enough."""
    kernel.run(f"task = await client.submit({CLIP})")
    task_id = kernel.value("task.id").strip("'")
    kernel.restart()
    cell = kernel.run(
        "import kling_async as k\nfrom kling_async import v1\n"
        f"client = k.Client(polling={FAST})\n"
        f'task = client.attach(v1.TextToVideo, task_id="{task_id}")\n'
        "await task.wait()"
    )
    assert not cell.error, cell.traceback
    assert "<video" in cell.last["text/html"]
    assert not kernel.run("await client.aclose()").error
