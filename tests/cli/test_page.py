"""Test cli/page.py: the page that shows a batch, and the demo's page in a browser."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from json import loads
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import Outcome, v1
from kling_async.cli import main
from kling_async.cli.demo import PROMPTS
from kling_async.cli.page import Card, PageTotals, card_of, page_html, write_page
from kling_async.orchestrator.showing import prompt_of
from tests.chromium import CHROMIUM, Page, opened_page

if TYPE_CHECKING:
    from pathlib import Path

TOTALS = PageTotals(seconds=75.4, units={"video": 12.5, "image": 8}, slots={"video": 5, "virtual_try_on": 1})
VOID = {"meta", "link", "img"}


class Tree(HTMLParser):
    """Read a page: elements with their attributes, and text; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of all elements of a kind."""
        return [attributes for found, attributes in self.elements if found == tag]


def page_of(folder: Path, *cards: Card) -> Tree:
    """Return the page of some requests, read."""
    return Tree(page_html(folder, cards, TOTALS))


def test_a_card_says_what_was_asked_and_what_came(tmp_path: Path) -> None:
    """Prompt, seconds, units, endpoint and model stand as text; each file has a player or a picture."""
    files = tuple(tmp_path / name for name in ("a.mp4", "b.png", "c.mp3", "d.wav", "e.bin"))
    page = page_of(tmp_path, Card("A boat", "text_to_video", "kling-v3", files, 4.25, 3.5))
    for text in ("A boat", "4.2 s", "3.5", "text_to_video", "kling-v3", "e.bin"):
        assert text in page.texts, text
    assert [medium["src"] for medium in page.all("video")] == ["./a.mp4"]
    assert [medium["src"] for medium in page.all("img")] == ["./b.png"]
    assert [medium["src"] for medium in page.all("audio")] == ["./c.mp3", "./d.wav"]
    assert {"controls", "playsinline"} <= set(page.all("video")[0])
    assert page.all("img")[0]["alt"] == "A boat (2 of 5)"


def test_the_totals_stand_at_the_top(tmp_path: Path) -> None:
    """Time, units and slots come before the first card; the title counts what is there."""
    cards = [Card("a", "x", files=(tmp_path / "a.mp4",)), Card("b", "x", error="no"), Card("c", "x")]
    page = page_of(tmp_path, *cards)
    assert page.texts.index("1 min 15 s") < page.texts.index("a")
    facts = ["Image units", "8", "Video units", "12.5", "Video slots", "5", "Virtual try on slots", "1"]
    start = page.texts.index("Image units")
    assert page.texts[start : start + len(facts)] == facts
    assert "1 film and 1 failed" in page.texts and "no" in page.texts
    assert "Nothing yet" in page_of(tmp_path).texts


@given(
    prompt=st.text(min_size=1),
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1),
)
def test_whatever_a_prompt_or_a_name_holds_is_text(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, name: str
) -> None:
    """Markup in prompts, errors and names shows as text; addresses lead to their file, inside the folder."""
    folder = tmp_path_factory.getbasetemp()
    plain, file = page_of(folder, Card("a", "x", error="e")), folder / f"{name}.png"
    spoilt = page_of(folder, Card(prompt, "x", "m", (file,), error=prompt))
    assert spoilt.all("script") == [] == spoilt.all("iframe")
    (picture,) = spoilt.all("img")
    assert picture["alt"].split() == prompt.split()
    address = urlsplit(picture["src"])
    assert not address.scheme and not address.netloc and not address.query and not address.fragment
    assert unquote(address.path) == f"./{name}.png"
    assert [tag for tag, _ in spoilt.elements if tag in {"li", "h2"}] == ["li", "h2"]
    assert len(plain.all("h2")) == 1


def test_half_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    """A prompt that no encoding has still gives a page, in UTF-8."""
    path = write_page(tmp_path, [Card("\ud800 fox", "x")], TOTALS)
    assert path == tmp_path / "index.html" and "? fox" in path.read_text(encoding="utf-8")


def test_an_outcome_becomes_a_card(tmp_path: Path) -> None:
    """A card has the prompt, or those of the shots, else the key or the place in the input."""
    shots = next(request for request in PROMPTS if getattr(request, "multi_prompt", None))
    assert prompt_of(shots) == "A child finds a key under a root / The key opens a tiny door in the tree"
    file = tmp_path / "a.mp4"
    made: Outcome[Any] = Outcome(
        position=0, key="k", request=v1.TextToVideo(prompt="A fox"), files=(file,), units=2.0,
        started=100.0, ended=104.5, resumed=True,
    )  # fmt: skip
    assert card_of(made) == Card("A fox", "text_to_video", "kling-v3", (file,), 4.5, 2.0, resumed=True)
    other: Outcome[Any] = Outcome(
        position=1, key=None, request=v1.TextToVideo(prompt=""), error=ValueError("no")
    )
    assert card_of(other) == Card("request 2", "text_to_video", "kling-v3", error="no")


# --- in a browser ------------------------------------------------------------------------------

PLAY = """
Promise.all([...document.querySelectorAll("video, audio")].map(async medium => {
  const sounds = medium.tagName === "AUDIO" || heard.includes(decodeURI(medium.src).split("/").pop());
  medium.loop = false;
  medium.muted = true;
  medium.playbackRate = sounds ? 4 : 16;
  const over = new Promise(done => { medium.onended = medium.onerror = done; });
  await medium.play();
  await over;
  return {
    file: decodeURI(medium.src).split("/").pop(),
    ended: medium.ended,
    error: medium.error && medium.error.message,
    sound: medium.webkitAudioDecodedByteCount,
    picture: medium.webkitVideoDecodedByteCount,
    seconds: medium.duration,
    width: medium.videoWidth, height: medium.videoHeight,
  };
})).then(JSON.stringify)
"""
FACTS = """
JSON.stringify({
  pictures: [...document.images].map(image => image.naturalWidth),
  outside: performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("file:") && !name.startsWith("data:")),
  cut: document.documentElement.scrollWidth - innerWidth,
  ground: getComputedStyle(document.body).backgroundColor,
})
"""


async def look(folder: Path, profile: Path, heard: list[str]) -> tuple[list[Any], list[Any], list[str]]:
    """Open the page in a browser: return its facts at two widths and schemes, what played, and errors."""
    async with opened_page((folder / "index.html").as_uri(), profile) as page:
        await page.run("document.images.length && [...document.images].forEach(i => i.loading = 'eager')")
        await page.until("[...document.images].every(image => image.complete)")
        facts = [await seen(page, width, scheme) for width in (400, 1400) for scheme in ("light", "dark")]
        await page.run(f"var heard = {heard!r}")
        return facts, loads(await page.run(PLAY)), page.errors


async def seen(page: Page, width: int, scheme: str) -> Any:
    """Return the facts of a page at a width, in a light or dark scheme."""
    await page.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await page.call("Emulation.setEmulatedMedia", features=features)
    return loads(await page.run(FACTS))


@pytest.mark.real
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_of_the_demo_shows_and_plays_everything(tmp_path: Path) -> None:
    """All pictures load, all films and sounds play to their end, and nothing comes from outside."""
    folder = tmp_path / "made here #1"
    assert main(["demo", "--speed", "5000", "--out", str(folder)]) == 0
    numbers = [f"{n:02}-" for n, request in enumerate(PROMPTS, 1) if getattr(request, "sound", None)]
    heard = [path.name for path in folder.glob("*.mp4") if path.name.startswith(tuple(numbers))]
    facts, played, errors = asyncio.run(look(folder, tmp_path / "profile", heard))
    assert errors == []
    images = sum(request.n or 1 for request in PROMPTS if isinstance(request, v1.ImageGeneration))
    for fact in facts:
        assert len(fact["pictures"]) == images and all(fact["pictures"])
        assert fact["outside"] == [] and fact["cut"] <= 0
    light, dark, *_ = facts
    assert light["ground"] != dark["ground"]
    films = {medium["file"]: medium for medium in played if medium["file"].endswith(".mp4")}
    assert len(films) == 20 and len(played) == 22
    for medium in played:
        assert medium["ended"] and medium["error"] is None, medium
    for number, request in enumerate(PROMPTS, 1):
        if isinstance(request, v1.TextToVideo):
            (film,) = [film for name, film in films.items() if name.startswith(f"{number:02}-")]
            assert film["picture"] > 0 and (film["sound"] > 0) == (film["file"] in heard), film
            assert film["seconds"] == pytest.approx(float(request.duration or 5), abs=0.03)
            across, down = map(int, (request.aspect_ratio or "16:9").split(":"))
            assert film["width"] * down == film["height"] * across
    assert all(medium["sound"] > 0 for medium in played if medium["file"] not in films)
