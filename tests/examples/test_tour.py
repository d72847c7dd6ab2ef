"""Execute the notebook of the tour in a real kernel, export it, and look at the page in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.chromium import CHROMIUM, opened_page

if TYPE_CHECKING:
    from tests.chromium import Page

pytest.importorskip("ipykernel", reason="no Jupyter kernel here: pip install '.[notebook]'")
pytest.importorskip("matplotlib", reason="no matplotlib here: pip install '.[notebook]'")
nbclient = pytest.importorskip("nbclient")
nbconvert = pytest.importorskip("nbconvert")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.real

ROOT: Final = Path(__file__).parents[2]
TOUR: Final = ROOT / "examples" / "tour.ipynb"
QUICK: Final = "on_event=note, polling=kling_async.Polling(min_interval=0.1, max_interval=0.3)"
EXECUTED: Final = 120
"""Seconds that a cell may take; the longest takes ten."""


def output(cell: Any) -> dict[str, str]:
    """Return the last display or value of a cell, by media type."""
    shown = [item["data"] for item in cell["outputs"] if "data" in item]
    assert shown, cell["source"]
    found: dict[str, str] = shown[-1]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the notebook is executed: its files lie there."""
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def tour(folder: Path) -> dict[str, Any]:
    """The executed notebook, cells by their ids; it stands in the folder, with the page exported from it."""
    book = nbformat.read(TOUR, as_version=4)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code), "committed without outputs"
    for cell in book["cells"]:  # so that nobody waits here for tasks, nor for the next query
        cell["source"] = cell["source"].replace("speed=20", "speed=200").replace("on_event=note", QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("IPYTHONDIR", str(folder / ".ipython"))
        patch.delenv("MPLBACKEND", raising=False)
        resources = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(book, timeout=EXECUTED, kernel_name="python3", resources=resources).execute()
    nbformat.validate(book)
    exporter = nbconvert.HTMLExporter()
    # scripts of other hosts, which this page does without
    exporter.mathjax_url = exporter.require_js_url = exporter.jquery_url = exporter.mermaid_js_url = ""
    page, _ = exporter.from_notebook_node(book)
    (folder / "tour.html").write_text(page, encoding="utf-8")
    return {cell["id"]: cell for cell in book["cells"]}


def test_every_cell_shows_what_it_is_about(tour: dict[str, Any], folder: Path) -> None:
    """Pictures and players by address, then from the files; the batch's table; the plot; tables."""
    assert "8" in output(tour["estimate"])["text/html"]
    assert 'src="http://127.0.0.1' in output(tour["image"])["text/html"]
    assert 'src="tour-files/lighthouse.png"' in output(tour["image-file"])["text/html"]
    assert "data:image/png;base64," in output(tour["embed"])["text/html"]
    assert 'src="tour-files/fog-lifts.mp4"' in output(tour["video-file"])["text/html"]
    assert output(tour["batch"])["text/html"].count("<tr>") == 5
    assert '<video src="tour-files/' in output(tour["outcome"])["text/html"]
    assert "image/png" in output(tour["slots"])
    assert "video" in output(tour["limits"])["text/plain"]
    assert "submitted" in output(tour["stats"])["text/plain"]
    films = {f"{key}.mp4" for key in ("harbour", "market", "tram", "owl", "fog-lifts")}
    assert {path.name for path in (folder / "tour-files").iterdir()} >= {"lighthouse.png", *films}


def test_nothing_is_printed_beside_it(tour: dict[str, Any]) -> None:
    """No warning, no log line, no complaint of the loop stands below a cell; text shows no signed address."""
    for name, cell in tour.items():
        for item in cell.get("outputs", ()):
            assert item["output_type"] in {"display_data", "execute_result"}, (name, item)
            assert "sign=" not in item["data"]["text/plain"]


@pytest.mark.anyio
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")
async def test_the_exported_page_shows_its_files_in_a_browser(tour: dict[str, Any], folder: Path) -> None:
    """Beside its files the page shows every picture and player of them; scripts raise no error."""
    async with opened_page((folder / "tour.html").as_uri(), folder) as page:
        pictures, films = "[...document.images]", "[...document.querySelectorAll('video[src^=tour-files]')]"
        await page.until(f"{pictures}.every(i => i.complete)")
        sizes = await page.run(f"{pictures}.filter(i => !i.src.startsWith('http:')).map(i => i.naturalWidth)")
        assert len(sizes) == 3 and min(sizes) >= 256  # the file, its copy, the plot
        await page.until(f"{films}.every(v => v.readyState >= 1)")
        lengths = await page.run(f"{films}.map(v => v.videoWidth * v.duration)")
        assert len(lengths) == 2 and min(lengths) > 0
        assert unexpected(page) == []
        await page.picture(folder / "tour.png")


def unexpected(page: Page) -> list[str]:
    """Return the errors of a page but for files of the emulator, which has ended."""
    return [error for error in page.errors if "CONNECTION_REFUSED" not in error]
