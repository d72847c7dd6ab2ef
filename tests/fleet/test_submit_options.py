"""Names and priorities of batches: every one that is made can be used, and a wrong one is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async.errors import RequestInvalid
from kling_async.fleet.submit_options import batch_name_of, need_batch_name, need_priority, usable_batch_name


@given(st.text())
def test_a_name_that_is_made_can_be_used(text: str) -> None:
    """Whatever a file, or a mark of before, is called; a name that can be used stays as it is."""
    for made in (batch_name_of(text), usable_batch_name(text)):
        need_batch_name(made)
        assert usable_batch_name(made) == made


@pytest.mark.parametrize(
    ("file", "name"),
    [("jobs/summer film.jsonl", "summer-film"), ("run.v2.csv", "run.v2"), ("x" * 70, "x" * 64), ("", "jobs")],
)
def test_a_batch_is_called_like_its_file(file: str, name: str) -> None:
    """Without folder and ending, and with dashes for what names do not have."""
    assert batch_name_of(file) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "two words", "ä", "a\n", None, 5, b"x"])
def test_wrong_names_are_refused(name: Any) -> None:
    """The error says what a name may be."""
    with pytest.raises(RequestInvalid, match="batch: must be 1 to 64 letters"):
        need_batch_name(name)


@pytest.mark.parametrize("priority", [1 << 15, -(1 << 15) - 1, True, 1.0, "1", None])
def test_wrong_priorities_are_refused(priority: Any) -> None:
    """The error says which there are."""
    with pytest.raises(RequestInvalid, match="priority: must be a whole number from -32768 to 32767"):
        need_priority(priority)
