"""Test cli/output.py and cli/formats.py: tables of any width and any letters, words for times and prices."""

from __future__ import annotations

import datetime as dt
import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import Estimate
from kling_async.cli import formats, output
from kling_async.cli.output import Column, Output, cell_width, fitted, plain_table

COLUMNS = [Column("task"), Column("units", right=True), Column("prompt", wide=True)]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_table_is_aligned_also_with_wide_letters() -> None:
    """Characters of two columns and combining ones count as what they take."""
    rows = [["短い", "3", "a"], ["e\u0301tude", "12.5", "b"], ["👩\u200d", "", ""]]
    lines = plain_table(COLUMNS, rows).splitlines()
    assert lines == ["task   units  prompt", "短い       3  a", "e\u0301tude   12.5  b", "👩\u200d"]


words = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=30)


@given(st.lists(st.tuples(words, st.integers(0, 999).map(str), words), max_size=5), st.integers(1, 120))
def test_only_wide_columns_are_cut_and_lines_keep_the_width(rows: list[tuple[str, ...]], width: int) -> None:
    """Ids and numbers stay whole at any width; a line is longer only where they are."""
    cut = fitted(COLUMNS, rows, width)
    assert [row[:2] for row in cut] == [list(row[:2]) for row in rows]
    fixed = max(map(cell_width, ["task", *(row[0] for row in rows)])) + len("units") + 2 * 2
    widest = max(map(cell_width, plain_table(COLUMNS, rows, width).splitlines()))
    assert widest <= max(width, fixed + output._NARROWEST)


def test_messages_go_to_stderr_and_results_to_stdout() -> None:
    """A redirected table is whole and plain; a terminal has it cut, and JSON is one object a line."""
    out, err = io.StringIO(), io.StringIO()
    to = Output(stdout=out, stderr=err)
    to.say("hello\x1b")
    to.warn("odd")
    to.record({"prompt": "日本\n"})
    to.table(COLUMNS, [["1", "2", "x" * 300]])
    assert err.getvalue() == "hello?\nkling: warning: odd\n"
    first, _, last = out.getvalue().splitlines()
    assert first == '{"prompt": "日本\\n"}' and last.endswith("x" * 300)


@pytest.mark.parametrize("rich", [False, True])
@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_gets_lines_that_fit(columns: int, rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without rich: nothing wraps, and an escape of a stranger does not come through."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(output, "has_rich", lambda: rich)
    out = Terminal()
    Output(stdout=out, stderr=io.StringIO()).table(COLUMNS, [["7", "3", "\x1b]0;title\x07" + "long " * 60]])
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["task", "7"] and max(map(len, lines)) <= columns
    assert "…" in lines[1] and "\x07" not in out.getvalue() and "\x1b]" not in out.getvalue()


def test_without_rich_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is looked for, not needed."""
    assert output.has_rich()
    monkeypatch.setitem(sys.modules, "rich", None)
    assert not output.has_rich()
    out = Terminal()
    Output(stdout=out, stderr=io.StringIO()).table(COLUMNS, [["1", "2", "3"]])
    assert out.getvalue().splitlines()[1].split() == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("seconds", "clock", "length"),
    [(0, "0:00", "0 s"), (59.6, "1:00", "59 s"), (150, "2:30", "2 min"), (3723, "1:02:03", "1 h"),
     (200_000, "55:33:20", "2 d"), (-5, "0:00", "0 s")],
)  # fmt: skip
def test_spans_of_time(seconds: float, clock: str, length: str) -> None:
    """A clock for what runs, the largest unit for what is over."""
    assert (formats.clock(seconds), formats.length(seconds)) == (clock, length)


def test_moments_are_spans_or_dates() -> None:
    """Spans count back from now; dates are those of the local zone, aware."""
    now = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
    assert formats.time_span("90min", now) == formats.time_span("90m", now) == now - dt.timedelta(minutes=90)
    assert formats.time_span("3d", now).day == 23
    assert formats.time_span("2026-11-20", now).tzinfo is not None
    for text in ("", "soon", "3 weeks", "-2h"):
        with pytest.raises(ValueError, match="format"):
            formats.time_span(text, now)
    assert formats.moment(0) == "-"


@pytest.mark.parametrize(
    ("units", "most", "text"),
    [
        (3.0, 3.0, "3 video units, $0.42 at the list price (terms)"),
        (0.0, 0.0, "0 video units (terms)"),
        (None, 3.5, "the price is not known: at most 3.5 video units; terms"),
        (None, None, "the price is not known: terms"),
    ],
)
def test_prices_say_what_is_known(units: float | None, most: float | None, text: str) -> None:
    """Units, dollars at the list price, or the bound and the reason."""
    assert formats.price_words(Estimate(units=units, most=most, pool="video", why="terms")) == text
