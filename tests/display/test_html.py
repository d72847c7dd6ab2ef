"""HTML out of values: whatever text they hold, a page shows it as text."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.display.html import Markup, bundle, element, escaped, grid, rows, text_rows, titled, tree

NASTY = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='y'>",
    "&lt;b&gt;",
    "</td></table>",
    "<!--",
    "$x$",
    "a\x00b",
)
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=60))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


class Read(HTMLParser):
    """The elements, attributes and texts that a browser would find."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in {"img", "source"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


def shown(text: str) -> str:
    """Return a text as a page shows it: one that no page may hold is replaced, and line ends are one."""
    return "".join("\ufffd" if ord(c) < 32 and c not in "\t\n" else c for c in text)


@given(json_values)
def test_no_value_becomes_markup(value: Any) -> None:
    """A page made of any values holds the elements of its tables, no attribute of theirs, and is balanced."""
    page = Read(titled("A title", tree(value), rows([("a", value)]), grid(["b"], [[value]])))
    assert set(page.elements) <= {"div", "strong", "table", "tbody", "thead", "tr", "th", "td"}
    assert {name for name, _ in page.attributes} <= {"class", "style"}
    assert page.open == []


@given(texts)
def test_a_text_is_shown_as_it_is(text: str) -> None:
    """A page shows every letter of a text, in content and in attributes; invalid ones are replaced."""
    page = Read(element("p", text, title=text or "-"))
    assert [name for name, _ in page.attributes] == ["title"]
    if text.isprintable():
        assert page.text == text
        assert page.attributes[0][1] == (text or "-")
    else:
        assert len(page.text) == len(text)
    str(page.text).encode()


@pytest.mark.parametrize("text", NASTY)
def test_a_page_shows_markup_as_text(text: str) -> None:
    """Script, quotes, entities and comments in a prompt are its letters, nothing else."""
    page = Read(titled(text, rows([(text, text)])))
    assert page.text == shown(text) * 3
    assert "script" not in page.elements


def test_a_surrogate_does_not_break_the_message_to_the_notebook() -> None:
    """Half a pair of a surrogate, which no UTF-8 has, becomes the sign for what cannot be shown."""
    assert escaped("a\ud800b") == "a\ufffdb"


def test_text_cannot_turn_the_direction_of_its_page() -> None:
    """Overrides of the direction of writing are taken out."""
    assert "\u202e" not in escaped("gpj.\u202eexe")


def test_long_texts_and_tables_are_cut() -> None:
    """A payload in a field fills no page, nor does an array of thousands or a nest of arrays."""
    assert len(escaped("x" * 100_000)) < 2100
    assert "900 more" in tree([*range(1000)])
    nest: Any = "deep"
    for _ in range(50):
        nest = [nest]
    assert "deep" not in tree(nest)


def test_markup_is_not_escaped_twice_but_text_is_never_taken_for_it() -> None:
    """Only the type makes markup: text that looks like it is text."""
    assert escaped(Markup("<b>")) == "<b>"
    assert escaped("<b>") == "&lt;b&gt;"
    assert escaped(Markup("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"


def test_formulas_are_not_typeset() -> None:
    """Jupyter takes the text between two dollar signs for a formula, except under these classes."""
    assert "tex2jax_ignore mathjax_ignore" in titled("costs $5 or $6")


def test_terminals_get_text_and_columns() -> None:
    """The bundle has both forms, and columns of text are aligned."""
    assert bundle("text", Markup("<b>")) == {"text/plain": "text", "text/html": "<b>"}
    assert text_rows([("a", "held"), ("image", "3")]) == "a      held\nimage  3"


@given(st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x07\x9b\r\x00\u202e\u2066\ud800\n\t"))))
def test_text_for_terminals_commands_none(text: str) -> None:
    """Escape sequences, bells and turned directions of a prompt, a key or an answer are replaced."""
    shown = bundle(text, Markup())["text/plain"]
    assert len(shown) == len(text)
    shown.encode()
    assert not [char for char in shown if unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert shown == text or set(shown) - set(text) == {"\ufffd"} or "\ufffd" in text
