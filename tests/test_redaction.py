"""redaction.py: signed queries, tokens and payloads are taken out of texts, plain data and reprs."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async.redaction import Discreet, keepable, redact, without_query

# --- one address -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/p/x.png", "https://a.example/p/x.png"),
        ("https://a.example:8443/x?k=v", "https://a.example:8443/x"),
        ("https://user:pass@a.example/x", "https://a.example/x"),
        ("https://a@b@c.example/x#frag", "https://c.example/x"),
        ("https://[::1]:80/x?y", "https://[::1]:80/x"),
        ("http://[half", "<unreadable address>"),
    ],
)
def test_an_address_loses_its_query_and_its_user(url: str, expected: str) -> None:
    """Scheme, host, port and path stay; query, fragment and userinfo go."""
    assert without_query(url) == expected


# --- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.example/x?k=SECRET now", "see https://a.example/x?... now"),
        ("HTTPS://A.EXAMPLE/x?k=SECRET", "HTTPS://A.EXAMPLE/x?..."),
        (r"https:\/\/a.example\/x?k=SECRET", r"https:\/\/a.example\/x?..."),
        ("https://u:SECRET@a.example/x", "https://a.example/x"),
        ("https://u:SECRET@a.example", "https://a.example"),
        (r"https:\/\/u:SECRET@a.example\/x?y", r"https:\/\/a.example\/x?..."),
        ("https://a.example/@me?k=SECRET?", "https://a.example/@me?..."),
        ("Authorization: Bearer SECRET", "Bearer ..."),
        ('{"authorization": "bearer SECRET"}', '{"Bearer ..."}'),
        ("SECRET" * 20, "..."),
        ("https://a.example/x is fine", "https://a.example/x is fine"),
    ],
)
def test_a_server_s_text_is_redacted(text: str, shown: str) -> None:
    """Queries and userinfo of addresses, tokens and long runs are replaced; the rest stays readable."""
    assert redact(text) == shown


# --- plain data --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("https://a.example/x?k=SECRET", "https://a.example/x"),
        ("see https://a.example/x?k=SECRET, or not", "see https://a.example/x or not"),
        ("HTTP://u:SECRET@a.example/x?k=SECRET", "http://a.example/x"),
        (r"https:\/\/a.example\/x?k=SECRET", "https://a.example/x"),
        ("data:image/png;base64,AAAA", "<26 characters>"),
        ("A" * 4000, "A" * 4000),
        ("A" * 4001, "<4001 characters>"),
        ({"a": [{"url": "https://a.example/x?k=SECRET"}]}, {"a": [{"url": "https://a.example/x"}]}),
        (7, 7),
        (None, None),
        (True, True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_plain_data_is_made_fit_to_be_stored(value: Any, kept: Any) -> None:
    """Addresses lose their queries and payloads become their length, at any depth; the rest stays."""
    assert keepable(value) == kept


# --- reprs -------------------------------------------------------------------------------------


class Sample(Discreet, frozen=True, kw_only=True):
    """A struct with fields of every kind."""

    number: int = 0
    nothing: str | None = None
    empty: str = ""
    text: str = "plain"
    address: str = "https://cdn.example.com/v.mp4?sig=SECRET"
    raw: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it


def test_a_discreet_struct_is_shown_without_raw_unset_fields_and_signatures() -> None:
    """The repr leaves out ``raw``, None and empty text, keeps 0, and cuts queries."""
    shown = "Sample(number=0, text='plain', address='https://cdn.example.com/v.mp4')"
    assert repr(Sample(raw={"url": "https://x/?sig=SECRET"})) == repr(Sample()) == shown


def test_rich_is_shown_no_more_than_the_repr() -> None:
    """Rich and its tracebacks ask ``__rich_repr__`` before ``__repr__``."""
    assert "SECRET" not in repr(Sample(raw={"k": "SECRET"}).__rich_repr__())
