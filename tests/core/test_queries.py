"""core/queries.py: which form of query is chosen, and what is learned of the forms."""

from __future__ import annotations

import pytest

from kling_async.core.queries import QueryForms, StatusQuery


@pytest.mark.parametrize(
    ("running", "chosen"),
    [
        ({"a": 1}, {"a": "one"}),
        ({"a": 20}, {"a": "ids"}),
        ({"a": 21}, {"a": "list"}),
        ({"a": 10, "b": 10}, {"a": "ids", "b": "ids"}),
        ({"a": 25, "b": 25}, {"a": "list", "b": "list"}),
        ({"a": 45, "b": 5}, {"a": "list", "b": "ids"}),
        ({f"p{n}": 5 for n in range(10)}, {f"p{n}": "ids" for n in range(10)}),
        ({"a": 1000, "b": 3}, {"a": "list", "b": "ids"}),
        ({}, {}),
    ],
    ids=[
        "one task", "as many as ids take", "one more", "two products in one", "two lists for three ids",
        "the big one listed", "many small ones", "more than a page", "nothing",
    ],
)  # fmt: skip
def test_a_round_uses_the_fewest_requests_then_the_fewest_bytes(
    running: dict[str, int], chosen: dict[str, str]
) -> None:
    """Under an API key ids win ties, for their answers hold nothing else; one task alone is asked by GET."""
    assert QueryForms(batch_ids=True).choose(running) == chosen


def test_without_ids_lists_serve_all_but_single_tasks() -> None:
    """A JWT has no /tasks; a single task's GET is smaller than a list."""
    assert QueryForms(batch_ids=False).choose({"a": 2, "b": 1}) == {"a": "list", "b": "one"}


def test_a_form_that_is_refused_is_not_used_again() -> None:
    """Ids break for the whole account, lists path by path; the single GET always works."""
    forms = QueryForms(batch_ids=True)
    forms.mark_broken("ids", "", 0.0)
    assert forms.choose({"a": 5, "b": 5}) == {"a": "list", "b": "list"}
    forms.mark_broken("list", "a", 0.0)
    assert forms.choose({"a": 5, "b": 5}) == {"a": "one", "b": "list"}
    forms.mark_broken("one", "a", 0.0)
    assert forms.works("one", "a")


def test_a_broken_form_is_tried_again_after_an_hour() -> None:
    """A gateway's bad day does not last for the client's life; a JWT has no /tasks ever."""
    forms = QueryForms(batch_ids=True)
    forms.mark_broken("ids", "", 100.0)
    forms.mark_broken("list", "a", 200.0)
    forms.retry_broken(3699.0)
    assert forms.choose({"a": 5}) == {"a": "one"}
    forms.retry_broken(3700.0)
    assert forms.choose({"a": 5}) == {"a": "ids"} and not forms.works("list", "a")
    without = QueryForms(batch_ids=False)
    without.mark_broken("ids", "", 0.0)
    without.retry_broken(1e9)
    assert not without.works("ids", "a")


def test_a_list_that_is_refused_leaves_ids() -> None:
    """Three queries by ids then serve fifty tasks."""
    forms = QueryForms(batch_ids=True)
    forms.mark_broken("list", "a", 0.0)
    assert forms.choose({"a": 50}) == {"a": "ids"}


def test_a_form_that_leaves_out_what_is_there_is_given_up_for_that_path() -> None:
    """Three tasks in a row that turn out to exist break it; one that it does find begins the count anew."""
    forms = QueryForms(batch_ids=True)
    assert [forms.record_wrong_omission("ids", "a", 0.0) for _ in range(2)] == [False, False]
    forms.record_answer("ids", "a", found=1, missing=1)
    assert [forms.record_wrong_omission("ids", "a", 0.0) for _ in range(3)] == [False, False, True]
    assert forms.choose({"a": 5, "b": 5}) == {"a": "list", "b": "ids"}


def test_pages_grow_when_others_tasks_push_ours_off_and_shrink_slowly() -> None:
    """The number of others' tasks between ours is learned from omissions, within bounds."""
    forms = QueryForms(batch_ids=False)
    assert forms.page_size("a", 5) == 6
    forms.record_answer("list", "a", found=4, missing=1)
    assert forms.page_size("a", 5) == 8
    for _ in range(500):
        forms.record_answer("list", "a", found=5, missing=0)
    assert forms.page_size("a", 5) == 6
    for _ in range(500):
        forms.record_answer("list", "a", found=0, missing=5)
    assert forms.page_size("a", 5) == 60


@pytest.mark.parametrize(("size", "requests"), [(1, 1), (500, 1), (501, 2), (1200, 3)])
def test_a_list_longer_than_a_page_takes_more_requests(size: int, requests: int) -> None:
    """Its pages are priced and paced as so many requests."""
    assert StatusQuery("list", "a", (), size, 0.0, 1).requests == requests
