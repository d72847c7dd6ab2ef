"""Test batch/options.py: options are listed once, have defaults, and are checked by name."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
import pytest

from kling_async import Client, RequestInvalid
from kling_async.batch.options import BatchArguments, BatchOptions, ResumeArguments
from tests.support import clip

if TYPE_CHECKING:
    from pathlib import Path


def test_keywords_and_options_are_the_same() -> None:
    """The keywords of ``client.batch()`` are the fields of BatchOptions, in one order, with one type each."""
    fields = {field.name: field.type for field in msgspec.structs.fields(BatchOptions)}
    hints = get_type_hints(BatchArguments)
    assert list(hints.items()) == list(fields.items())


def test_resume_takes_some_of_these_keywords() -> None:
    """Each keyword of ``client.resume()`` means what it means for a batch, and stands in its docstring."""
    hints = get_type_hints(ResumeArguments)
    assert hints.items() <= get_type_hints(BatchArguments).items()
    assert re.findall(r"``(\w+)``", inspect.getdoc(Client.resume) or "") == list(hints)


def test_the_docstring_explains_every_option() -> None:
    """Each keyword stands in the docstring of ``client.batch()`` once, in that order, with its default."""
    doc = inspect.getdoc(Client.batch) or ""
    args = doc.partition("Args:\n")[2].partition("\n\nRaises:")[0]
    explained = re.findall(r"^    (\w+): ", args, re.MULTILINE)
    assert explained == ["requests", *BatchArguments.__annotations__]
    for name, default in ((f.name, f.default) for f in msgspec.structs.fields(BatchOptions)):
        text = re.search(rf"^    {name}: (.*?)(?=^    \w+: |\Z)", args, re.MULTILINE | re.DOTALL)
        assert text is not None
        if default not in (None, ""):
            shown = f'"{default}"' if isinstance(default, str) else str(default)
            assert re.search(rf"Default:\s+`*{re.escape(shown)}", text[1]), name


def test_every_wrong_option_is_named() -> None:
    """One error names them all, each with what it must be."""
    wrong: dict[str, Any] = {"on_error": "ignore", "retries": -1, "max_units": {"videos": 3}, "name": "same"}
    with pytest.raises(RequestInvalid) as caught:
        BatchOptions(**wrong)
    problems = {problem.field: problem.text for problem in caught.value.problems}
    assert set(problems) == {"on_error", "retries", "max_units['videos']", "name"}
    assert "'collect', 'raise', 'stop'" in problems["on_error"]
    assert "a whole number from 0" in problems["retries"]
    assert "video, image, virtual_try_on" in problems["max_units['videos']"]
    assert "{index}, {task_id} or {key}" in problems["name"]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("label", 7, "must be text or a function, not 7"),
        ("label", None, "not None"),
        ("label", "\ud800", "half a character"),
        ("price", 7, "must be None or a function, not 7"),
        ("price", {"video": 2}, "not {'video': 2}"),
    ],
)
def test_functions_of_the_caller_are_functions(option: str, value: Any, says: str) -> None:
    """A label that is no text and a price that is no function are named before anything is read."""
    with pytest.raises(RequestInvalid) as caught:
        BatchOptions(**{option: value})
    (problem,) = caught.value.problems
    assert problem.field == option and says in problem.text


@pytest.mark.parametrize("seconds", [0, -1, True, "60", float("nan"), b"1", [60]])
def test_a_time_limit_is_a_number_of_seconds(seconds: Any) -> None:
    """Above 0, and no text; infinity is allowed."""
    with pytest.raises(RequestInvalid, match="job_timeout: must be a number of seconds above 0"):
        BatchOptions(job_timeout=seconds)
    assert BatchOptions(job_timeout=float("inf")).job_timeout == float("inf")


def test_an_unknown_option_is_a_type_error() -> None:
    """As with any function; the error has its name."""
    options: dict[str, Any] = {"max_unit": 3}
    with pytest.raises(TypeError, match="max_unit"):
        BatchOptions(**options)


def test_options_are_frozen_and_hold_what_follows_from_them(tmp_path: Path) -> None:
    """Folder and template are made once; a label may be a function of the request."""
    options = BatchOptions(
        download_to=str(tmp_path), name="{key}", label=lambda request: type(request).__name__
    )
    assert options.folder == tmp_path and options.template is options.template
    assert options.template.fields == {"key"}
    assert options.label_of(clip()) == "TextToVideo" and BatchOptions(label="x").label_of(clip()) == "x"
    with pytest.raises(AttributeError):
        options.retries = 1  # type: ignore[misc]
