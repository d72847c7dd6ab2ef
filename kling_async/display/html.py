"""HTML out of text and numbers, escaped: nothing that a prompt or an answer holds becomes markup."""

from __future__ import annotations

import datetime as dt
import html
import re
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Markup",
    "MimeBundle",
    "TextPrinter",
    "bundle",
    "element",
    "escaped",
    "grid",
    "joined",
    "rows",
    "text_rows",
    "titled",
    "tree",
]

MimeBundle: TypeAlias = "dict[str, str]"
"""Text by media type, as Jupyter shows it."""

_TEXT_MAX: Final = 2000
"""Most characters of one text: prompts are shorter, and a payload would fill the page."""
_DEPTH: Final = 4
"""Most tables within each other."""
_ITEMS: Final = 100
"""Most entries of one table."""
_INVALID: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
"""Characters that no page and no terminal may get; some turn the direction of the text behind them."""
_VOID: Final = frozenset({"img", "source"})
_BLOCK_CLASS: Final = "kling-async tex2jax_ignore mathjax_ignore"
"""MathJax leaves such blocks alone: it would take the text between two dollar signs for a formula."""


class TextPrinter(Protocol):
    """IPython's printer of text, as methods ``_repr_pretty_`` get it."""

    def text(self, text: str, /) -> None:
        """Print a text."""
        ...


class Markup(str):
    """HTML that is safe to be put into a page as it is."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Return HTML that shows a value as text; `Markup` comes back as it is."""
    if isinstance(value, Markup):
        return value
    text = _worded(value)
    if len(text) > _TEXT_MAX:
        text = f"{text[:_TEXT_MAX]}..."
    return Markup(html.escape(_INVALID.sub("\ufffd", text), quote=True))


def _worded(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.10g}"
        case dt.datetime():
            return f"{value:%Y-%m-%d %H:%M:%S %Z}".strip()
        case _:
            return str(value)


def element(name: str, *content: object, **attributes: str) -> Markup:
    """Return one element; content and attributes are escaped.

    Args:
        name: Of the element, a word of this package.
        content: Text or `Markup`.
        attributes: By name, a trailing underscore cut off; an empty value stands for a mere name.
    """
    words = "".join(
        f' {key.rstrip("_")}="{_attribute(value)}"' if value else f" {key.rstrip('_')}"
        for key, value in attributes.items()
    )
    inner = "" if name in _VOID else f"{joined(*content)}</{name}>"
    return Markup(f"<{name}{words}>{inner}")


def _attribute(value: str) -> str:
    # not cut as text is: the address of a file, or the file itself
    return html.escape(_INVALID.sub("\ufffd", value), quote=True)


def joined(*parts: object) -> Markup:
    """Return parts one behind the other, each escaped unless it is `Markup`."""
    return Markup("".join(escaped(part) for part in parts))


def rows(items: Iterable[tuple[str, object]]) -> Markup:
    """Return a table of two columns: names, and values."""
    lines = [
        element("tr", element("th", name, style=_NAME), element("td", value, style=_VALUE))
        for name, value in items
    ]
    return element("table", element("tbody", *lines)) if lines else Markup()


_NAME: Final = "text-align:left;vertical-align:top;white-space:nowrap"
_VALUE: Final = "text-align:left;white-space:pre-wrap;overflow-wrap:anywhere"


def grid(head: Sequence[str], lines: Iterable[Sequence[object]]) -> Markup:
    """Return a table with a head."""
    top = element("tr", *(element("th", name, style="text-align:left") for name in head))
    body = [element("tr", *(element("td", cell, style=_VALUE) for cell in line)) for line in lines]
    return element("table", element("thead", top), element("tbody", *body))


def tree(value: object, depth: int = _DEPTH) -> Markup:
    """Return an object or array of JSON types as tables; entries that are not set are left out."""
    match value:
        case dict():
            pairs = [(str(name), item) for name, item in value.items() if item not in (None, "", [], {})]
        case list():
            pairs = [(str(n), item) for n, item in enumerate(value)]
        case _:
            return escaped(value)
    if not depth:
        return escaped(f"{len(value)} entries")
    more = [("...", escaped(f"{len(pairs) - _ITEMS} more"))] if len(pairs) > _ITEMS else []
    return rows([(name, tree(item, depth - 1)) for name, item in pairs[:_ITEMS]] + more)


def titled(title: str, *parts: object) -> Markup:
    """Return all parts under a title, as one block."""
    return element("div", element("div", element("strong", title)), *parts, class_=_BLOCK_CLASS)


def bundle(text: str, shown: Markup) -> MimeBundle:
    """Return both forms of a value: for terminals, and for pages.

    Neither holds control characters: terminals and notebooks obey those of a prompt, a key or an answer.
    """
    return {"text/plain": _INVALID.sub("\ufffd", text), "text/html": shown}


def text_rows(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of text whose columns are aligned, for terminals."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
