"""Pictures and players of result files as HTML: from the file on disk if there is one, else by address.

Addresses come out of answers and are not trusted: only public https, and this machine (the emulator), become
part of a page. They stand there whole, with their signature: whoever gets the page, or a saved notebook, can
fetch the file until it expires.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

from kling_async.display.html import Markup, bundle, element, joined, titled
from kling_async.display.stored import stored_files
from kling_async.wire.hosts import is_local, reach_of, wrong_url
from kling_async.wire.media_formats import HEAD, media_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kling_async.display.html import MimeBundle

__all__ = [
    "EMBED_MAX",
    "INLINE_MAX",
    "Embedded",
    "EmbeddedFile",
    "FileSource",
    "data_address",
    "local_source",
    "player",
    "players",
    "safe_address",
    "stored_players",
]

EMBED_MAX: Final = 16 * 1024**2
"""Most bytes of all files together by default: a notebook's file grows by four thirds of it."""
INLINE_MAX: Final = 4 * 1024**2
"""Most bytes of a file that are copied into the page where no server would show it."""
_PLAYERS_MAX: Final = 24
"""Most files of one result that are shown; the others are named."""
_STYLE: Final = "max-width:100%;max-height:360px"
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_SOUNDS: Final = frozenset({".mp3", ".wav"})
_VIDEOS: Final = frozenset({".mp4"})


def safe_address(url: str) -> str | None:
    """Return an address if a page may load it: public https, or this machine; else None."""
    if "\\" in url or wrong_url(url) is not None:  # browsers read a backslash as a slash
        return None
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https") and is_local(url):
        return url
    return url if scheme == "https" and reach_of(url)[0] != "private" else None


def local_source(path: Path) -> str | None:
    """Return how a page shows a file on disk; None if it cannot.

    Below the notebook's folder by its relative path, as Jupyter, VS Code and exported pages find it; else,
    or with a part that begins with a dot (Jupyter serves none of those), as a Base64 copy up to `INLINE_MAX`.
    """
    inside = _inside(path)
    if inside is None or any(part.startswith(".") for part in inside.parts):
        return _inline(path)
    return quote(inside.as_posix())


def _inside(path: Path) -> Path | None:
    """Return a path as seen from the notebook's folder; None if it lies elsewhere."""
    try:
        return path.resolve().relative_to(_notebook_folder())
    except (ValueError, OSError):
        return None


def _notebook_folder() -> Path:
    """Return the folder of the notebook, as Jupyter tells it to a kernel; else the working directory."""
    session = Path(os.environ.get("JPY_SESSION_NAME", ""))
    folder = session.parent if session.is_absolute() else Path.cwd()
    return (folder if folder.is_dir() else Path.cwd()).resolve()


def _inline(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > INLINE_MAX:
            return None
        return data_address(path.read_bytes())
    except OSError:
        return None


def data_address(data: bytes) -> str:
    """Return the address that holds a file itself, its type told by its first bytes."""
    return f"data:{media_type(data[:HEAD])};base64,{base64.b64encode(data).decode()}"


def player(source: str, suffix: str, caption: object) -> Markup:
    """Return a picture or a player.

    Args:
        source: Address, path or data that was judged safe.
        suffix: Tells the kind; a file of another kind than picture, video and sound is named only.
        caption: Stands below.
    """
    if suffix in _PICTURES:
        shown = element("img", src=source, style=_STYLE, alt="picture", referrerpolicy="no-referrer")
    elif suffix in _VIDEOS:
        shown = element("video", src=source, style=_STYLE, controls="", preload="metadata")
    elif suffix in _SOUNDS:
        shown = element("audio", src=source, controls="", preload="metadata")
    else:
        shown = Markup()
    return _figure(shown, caption)


def _figure(*content: object) -> Markup:
    *shown, caption = content
    below = element("figcaption", caption, style="font-size:85%;opacity:.75;overflow-wrap:anywhere")
    return element("figure", *shown, below, style="display:inline-block;margin:4px 8px 4px 0;max-width:100%")


def players(files: Iterable[tuple[str, str, str]], *, local: bool = True) -> Markup:
    """Return the files of a result.

    Args:
        files: Address, suffix and name of each.
        local: Whether they may lie on a server of this machine. The vendor's never do: a page that is opened
            would ask servers there, a notebook's among them, for whatever an answer names.
    """
    found = [*files]
    return _most([_of_address(*file, local=local) for file in found[:_PLAYERS_MAX]], len(found))


def stored_players(paths: Sequence[Path]) -> Markup:
    """Return files on disk."""
    return _most([_of_path(path) for path in paths[:_PLAYERS_MAX]], len(paths))


def _most(shown: list[Markup], number: int) -> Markup:
    more = f"and {number - len(shown)} more files" if number > len(shown) else ""
    return joined(*shown, more)


def _of_address(url: str, suffix: str, name: str, *, local: bool) -> Markup:
    path = stored_files.find(url)
    if path is not None and (source := local_source(path)) is not None:
        return player(source, suffix, _inside(path) or path)
    address = safe_address(url)
    label = f"{name}{suffix}"
    if address is None or (not local and is_local(address)):
        lack = "neither public https nor on this machine" if local else "not public https"
        return _figure(f"{label}: its address is {lack}, and is not shown")
    link = element("a", label, href=address, target="_blank", rel="noopener noreferrer")
    return player(address, suffix, joined(link, " by its address, until that expires"))


def _of_path(path: Path) -> Markup:
    if not path.is_file():
        return _figure(f"{path} is gone")
    source = local_source(path)
    if source is None:
        return _figure(f"{path} lies outside the notebook's folder and is too large to be put into the page")
    return player(source, path.suffix.lower(), _inside(path) or path)


class EmbeddedFile:
    """One file in memory."""

    __slots__ = ("content", "name", "suffix")

    def __init__(self, content: bytes, suffix: str, name: str) -> None:
        self.content = content
        self.suffix = suffix
        self.name = name


class Embedded:
    """Files of one result that are shown in a notebook as Base64 copies; made by ``embed()``.

    The copies become part of the notebook's file, need no server, and outlive the vendor's 30 days.
    """

    __slots__ = ("files", "title")

    def __init__(self, title: str, files: Sequence[EmbeddedFile]) -> None:
        self.title = title
        self.files = tuple(files)

    @property
    def size(self) -> int:
        """Bytes of all files; Base64 takes a third more."""
        return sum(len(file.content) for file in self.files)

    def __repr__(self) -> str:
        names = ", ".join(file.name for file in self.files)
        return f"<Embedded {self.title}: {names}; {self.size} bytes>"

    def _repr_mimebundle_(self, **_: object) -> MimeBundle:
        shown = (player(data_address(file.content), file.suffix, file.name) for file in self.files)
        return bundle(repr(self), titled(self.title, joined(*shown)))


class FileSource(Protocol):
    """Gets the files of a result: whoever read it (`kling_async.downloads.showing.ResultSource`)."""

    @property
    def local(self) -> bool:
        """Whether the API that it was read from is on this machine."""
        ...

    async def embed(self, result: Any, /, *, watermarked: bool, max_bytes: int) -> Embedded:
        """Return copies of the files of a result."""
        ...
