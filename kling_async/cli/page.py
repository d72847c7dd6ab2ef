"""The page that shows a batch: one HTML file beside its files, which needs no network and no script."""

from __future__ import annotations

import os
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from kling_async.cli.formats import counted
from kling_async.orchestrator.showing import prompt_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from kling_async.batch.outcomes import Outcome

__all__ = ["PAGE", "Card", "PageTotals", "card_of", "page_html", "write_page"]

PAGE: Final = "index.html"
"""Name of the page."""

_KINDS: Final = {
    **dict.fromkeys((".mp4", ".mov", ".webm"), "film"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".gif"), "picture"),
    **dict.fromkeys((".mp3", ".wav", ".m4a"), "sound"),
}
"""Kinds of files by their endings; files of other endings are links only."""


class Card(NamedTuple):
    """One request and what came of it."""

    prompt: str
    endpoint: str
    """Name of the endpoint, such as ``text_to_video``."""
    model: str = ""
    files: tuple[Path, ...] = ()
    seconds: float = 0.0
    """Seconds from the create to the stored files; 0 if nothing was sent."""
    units: float | None = None
    error: str = ""
    """Why there is no result; empty if there is one."""
    resumed: bool = False
    """Whether an earlier run made it."""


class PageTotals(NamedTuple):
    """Numbers of a whole batch."""

    seconds: float
    """How long it ran."""
    units: Mapping[str, float]
    """Units spent, by pool."""
    slots: Mapping[str, int]
    """Tasks that the account runs at a time, by pool."""


def card_of(outcome: Outcome[Any]) -> Card:
    """Return what the page shows of an outcome."""
    request = outcome.request
    return Card(
        prompt=prompt_of(request) or outcome.key or f"request {outcome.position + 1}",
        endpoint=request.endpoint_name,
        model=getattr(request, "model_name", None) or "",
        files=outcome.files,
        seconds=outcome.seconds,
        units=outcome.units,
        error="" if outcome.error is None else str(outcome.error),
        resumed=outcome.resumed,
    )


def write_page(folder: Path, cards: Sequence[Card], totals: PageTotals) -> Path:
    """Write the page into a folder, over one that is there, and return its path.

    Args:
        folder: Where the files of ``cards`` are, or a folder above; the page has relative addresses.
        cards: In the order in which they are to be seen.
        totals: Stands at the top.

    Raises:
        OSError: The page cannot be written.
    """
    path = folder / PAGE
    # a prompt may hold half of a surrogate pair, which no encoding has
    path.write_bytes(page_html(folder, cards, totals).encode("utf-8", "replace"))
    return path


def page_html(folder: Path, cards: Sequence[Card], totals: PageTotals) -> str:
    """Return the page as text."""
    title = _contents(cards)
    items = "\n".join(_card(folder, number, card) for number, card in enumerate(cards, 1))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>kling: {title}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{title[:1].upper()}{title[1:]}</h1>
{_totals(totals)}
</header>
<main>
<ol class="cards">
{items}
</ol>
</main>
<footer>Made by kling_async. Files lie beside this page; nothing here needs the network.</footer>
</body>
</html>
"""


def _contents(cards: Sequence[Card]) -> str:
    """Return how many films, pictures and sounds there are, in words."""
    counts = Counter(_KINDS.get(file.suffix.lower(), "file") for card in cards for file in card.files)
    parts = [counted(counts[kind], kind) for kind in ("film", "picture", "sound", "file") if counts[kind]]
    parts += [f"{failed} failed"] if (failed := sum(bool(card.error) for card in cards)) else []
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing yet"


def _totals(totals: PageTotals) -> str:
    facts = [("Took", _seconds(totals.seconds))]
    facts += [(f"{_words(pool)} units", f"{spent:.10g}") for pool, spent in sorted(totals.units.items())]
    facts += [(f"{_words(pool)} slots", str(slots)) for pool, slots in sorted(totals.slots.items())]
    return _definitions("totals", facts)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _seconds(seconds: float) -> str:
    if seconds >= 60:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds:.1f} s"


def _definitions(name: str, facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(fact)}</dd></div>" for term, fact in facts)
    return f'<dl class="{name}">{rows}</dl>'


def _card(folder: Path, number: int, card: Card) -> str:
    """Return one request as an item of the list."""
    media = [_medium(folder, card, index) for index in range(len(card.files))]
    shown = f'<div class="media" style="--columns: {_columns(card)}">{"".join(media)}</div>' if media else ""
    failure = f'<p class="failure">{escape(card.error)}</p>' if card.error else ""
    facts = [("Waited", "an earlier run" if card.resumed else _seconds(card.seconds))]
    facts += [("Units", f"{card.units:.10g}")] if card.units is not None else []
    facts += [("Endpoint", card.endpoint)]
    facts += [("Model", card.model)] if card.model else []
    return f"""<li><article>
{shown}{failure}
<h2 dir="auto">{escape(card.prompt)}</h2>
{_definitions("facts", facts)}
<p class="files"><span class="number">{number}</span> {_links(folder, card)}</p>
</article></li>"""


def _columns(card: Card) -> int:
    """Return how many files stand side by side; players of sound need the whole width."""
    seen = sum(_KINDS.get(file.suffix.lower()) in {"film", "picture"} for file in card.files)
    return 1 if seen < 2 else 2 if seen <= 4 else 3


def _links(folder: Path, card: Card) -> str:
    return " ".join(f'<a href="{_address(folder, file)}">{escape(file.name)}</a>' for file in card.files)


def _medium(folder: Path, card: Card, index: int) -> str:
    """Return the element that plays or shows a file."""
    file, address = card.files[index], _address(folder, card.files[index])
    place = f" ({index + 1} of {len(card.files)})" if len(card.files) > 1 else ""
    label = escape(card.prompt + place)
    match _KINDS.get(file.suffix.lower()):
        case "film":
            attributes = f'src="{address}" aria-label="{label}"'
            return f'<video {attributes} controls loop playsinline preload="metadata"></video>'
        case "picture":
            return f'<a href="{address}"><img src="{address}" alt="{label}" loading="lazy"></a>'
        case "sound":
            return f'<audio src="{address}" aria-label="{label}" controls preload="metadata"></audio>'
        case _:
            return ""


def _address(folder: Path, file: Path) -> str:
    relative = os.path.relpath(file, folder).replace(os.sep, "/")
    # "./" keeps a name with a colon from being read as a scheme
    return escape("./" + quote(relative, errors="surrogateescape"))


_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' file: data:; media-src 'self' file:"
)
"""Nothing but styles of the page and files of its own place."""

_STYLE: Final = """
:root {
  --ground: #f6f5f2; --paper: #fff; --ink: #23262b; --dim: #6a6f78; --line: #e4e2dd; --stage: #16181c;
  --accent: #8a5a2b; --failure: #a33a2c;
  font: 16px/1.5 system-ui, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #121417; --paper: #1b1e23; --ink: #e7e5e1; --dim: #9aa0a9; --line: #2b2f36; --stage: #0b0c0e;
    --accent: #e0b07c; --failure: #f09a8c;
  }
}
* { box-sizing: border-box; margin: 0; }
body { background: var(--ground); color: var(--ink); padding: clamp(1rem, 4vw, 3rem); }
header, main, footer { max-width: 78rem; margin-inline: auto; }
h1 { font-size: clamp(1.6rem, 4vw, 2.4rem); font-weight: 600; letter-spacing: -0.02em; line-height: 1.2; }
.totals { display: flex; flex-wrap: wrap; gap: .75rem 2.5rem; margin-block: 1.25rem 2.25rem; }
.totals dd { font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
dt { color: var(--dim); font-size: .8rem; }
dd { margin: 0; }
.cards {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  gap: 1.5rem; list-style: none; padding: 0;
}
article {
  display: flex; flex-direction: column; height: 100%; overflow: hidden;
  background: var(--paper); border: 1px solid var(--line); border-radius: .9rem;
}
.media {
  display: grid; gap: 2px;
  grid-template-columns: repeat(var(--columns), minmax(0, 1fr)); grid-auto-rows: minmax(0, 1fr);
  aspect-ratio: 4 / 3; overflow: hidden; background: var(--stage);
}
.media > * { display: block; width: 100%; height: 100%; }
.media img, .media video { display: block; width: 100%; height: 100%; object-fit: contain; }
.media video { object-position: top; }  /* leaves the room below to the controls */
.media audio { width: calc(100% - 2rem); height: 3rem; place-self: center; }
h2 {
  font-size: 1.02rem; font-weight: 600; line-height: 1.35;
  padding: 1rem 1.1rem .6rem; overflow-wrap: anywhere;
}
.failure { color: var(--failure); padding: 1rem 1.1rem 0; overflow-wrap: anywhere; }
.facts {
  display: grid; grid-template-columns: 1fr 1fr; gap: .35rem 1rem; padding: 0 1.1rem .9rem; font-size: .92rem;
}
.facts dd { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.files {
  margin-top: auto; padding: .6rem 1.1rem .7rem; border-top: 1px solid var(--line);
  font-size: .8rem; color: var(--dim); overflow-wrap: anywhere;
}
.number { font-variant-numeric: tabular-nums; margin-inline-end: .4rem; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .15em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
footer { color: var(--dim); font-size: .85rem; padding-block: 2.5rem 0; }
"""
