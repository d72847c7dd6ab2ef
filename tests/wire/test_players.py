"""Pictures and players: which addresses become part of a page, and how files on disk do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.display.stored import stored_files
from kling_async.wire import players as module
from kling_async.wire.players import local_source, player, players, safe_address, stored_players
from tests.display.test_html import Read
from tests.support import png

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (
    "https://cdn.klingai.com/a.mp4?Expires=1&sig=x%2By",
    "https://8.8.8.8/a.png",
    "http://127.0.0.1:8123/files/a.png?sig=1",
    "http://localhost:1/a.png",
    "http://[::1]:9/a.png",
)
BAD = (
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)"),
    *(
        "data:text/html,<script>alert(1)</script>",
        "data:image/png;base64,AAAA",
        "vbscript:x",
        "blob:https://x/y",
    ),
    *("http://cdn.klingai.com/a.mp4", "ftp://127.0.0.1/a", "file:///etc/passwd", "//cdn.klingai.com/a.mp4"),
    *(
        "https://192.168.0.1/a.png",
        "https://router.local/a.png",
        "https://intranet/a.png",
        "https://10.0.0.1/",
    ),
    *(
        "https://169.254.169.254/latest",
        "https:\\\\cdn.klingai.com\\a",
        "https://good.example\\@evil.example/a",
    ),
    *("", "a.png", "/etc/passwd", "https://", "https://x.example:port/", "https://[::1"),
)


@pytest.mark.parametrize("url", GOOD)
def test_addresses_of_the_vendor_and_of_the_emulator_are_shown_whole(url: str) -> None:
    """A browser gets the address with its signature; without it the file's server answers 403."""
    assert safe_address(url) == url
    page = Read(players([(url, ".png", "0")]))
    assert ("src", url) in page.attributes
    assert ("href", url) in page.attributes


def test_the_vendor_names_no_server_of_this_machine() -> None:
    """What its answers say lies here is named only: the page would send requests to servers of the user's."""
    for url in GOOD:
        page = Read(players([(url, ".png", "0")], local=False))
        assert (("src", url) in page.attributes) == url.startswith("https:")
        assert (("href", url) in page.attributes) != ("not public https" in page.text)


@pytest.mark.parametrize("url", BAD)
def test_other_addresses_never_become_part_of_a_page(url: str) -> None:
    """Script, data, plain http, files here and hosts of this network are named, neither shown nor linked."""
    assert safe_address(url) is None
    page = Read(players([(url, ".mp4", "0")]))
    assert {name for name, _ in page.attributes} <= {"style"}
    assert "is not shown" in page.text


@given(
    st.one_of(
        st.text(), st.text().map("https://x.example/".__add__), st.text().map("http://127.0.0.1/".__add__)
    )
)
def test_no_text_breaks_out_of_its_attribute(url: str) -> None:
    """Whatever an answer names as an address, the page has one picture at most, and no other attribute."""
    page = Read(players([(url, ".png", "0")]))
    assert set(page.elements) <= {"figure", "figcaption", "img", "a"}
    assert page.elements.count("img") <= 1
    for name, value in page.attributes:
        assert name in {"src", "href", "style", "alt", "target", "rel", "referrerpolicy"}
        assert name not in {"src", "href"} or (value or "").startswith(("https://x.", "http://127.0.0.1/"))


def test_each_kind_has_its_element() -> None:
    """Pictures, videos and sounds; a file of another kind is named."""
    kinds = {
        suffix: Read(player("x", suffix, "name")).elements[1] for suffix in (".png", ".mp4", ".mp3", ".wav")
    }
    assert kinds == {".png": "img", ".mp4": "video", ".mp3": "audio", ".wav": "audio"}
    assert "<video" in player("x", ".mp4", "") and " controls" in player("x", ".mp4", "")
    assert Read(player("x", ".zip", "a.zip")).elements == ["figure", "figcaption"]


def test_a_file_in_the_notebooks_folder_is_shown_by_its_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Jupyter, VS Code and exported pages resolve it; the kernel's session names the folder."""
    folder = tmp_path / "books"
    (folder / "out").mkdir(parents=True)
    (folder / "out" / "ein Bär #1?.png").write_bytes(png())
    monkeypatch.chdir(folder)
    assert local_source(folder / "out" / "ein Bär #1?.png") == "out/ein%20B%C3%A4r%20%231%3F.png"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "tour.ipynb"))
    assert local_source(folder / "out" / "ein Bär #1?.png") == "out/ein%20B%C3%A4r%20%231%3F.png"
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "gone" / "tour.ipynb"))
    assert local_source(folder / "out" / "ein Bär #1?.png") == "books/out/ein%20B%C3%A4r%20%231%3F.png"


@pytest.mark.parametrize("place", ["../elsewhere/a.png", ".hidden/a.png", "link.png"])
def test_a_file_that_no_server_of_notebooks_shows_is_copied_into_the_page(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside the folder, below a dot, through a link that leads out: Base64, up to a bound."""
    folder, outside = tmp_path / "books", tmp_path / "elsewhere" / "a.png"
    for made in (folder, folder / ".hidden", outside.parent):
        made.mkdir(exist_ok=True)
    for path in (outside, folder / ".hidden" / "a.png"):
        path.write_bytes(png())
    (folder / "link.png").symlink_to(outside)
    monkeypatch.chdir(folder)
    assert local_source(folder / place) == f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    monkeypatch.setattr(module, "INLINE_MAX", 10)
    assert local_source(folder / place) is None
    assert "too large" in stored_players([folder / place])


def test_the_file_on_disk_takes_the_place_of_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file was stored the page names no address; gone again, it does."""
    monkeypatch.chdir(tmp_path)
    url = "https://cdn.klingai.com/stored.png?sig=1"
    path = tmp_path / "a.png"
    path.write_bytes(png())
    stored_files.note(url, path)
    assert ("src", "a.png") in Read(players([(url, ".png", "0")])).attributes
    assert url not in players([(url, ".png", "0")])
    path.unlink()
    assert ("src", url) in Read(players([(url, ".png", "0")])).attributes
    assert "is gone" in stored_players([path])


def test_many_files_are_named_by_their_number() -> None:
    """A result of a hundred files shows the first ones."""
    page = Read(players([(f"https://x.example/{n}.png", ".png", str(n)) for n in range(100)]))
    assert page.elements.count("img") == 24
    assert "and 76 more files" in page.text
