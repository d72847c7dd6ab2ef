"""kling_async/names.py: any text becomes a safe name within its folder, other texts other names."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kling_async import RequestInvalid
from kling_async.names import FIELDS, Template
from kling_async.wire import File

FILE: Final = File("https://a.example/x", ".mp4", "0")


def named(text: str, *files: File, marked: bool = False, **values: Any) -> list[str]:
    """The names of a result's files."""
    known = {"key": "fox", "index": 7, "task_id": "88", "endpoint": "text_to_video", **values}
    return Template(text).names(known, files or (FILE,), marked=marked)


def of_key(key: str) -> str:
    return named("{key}", key=key)[0]


def seen_by_any_file_system(name: str) -> str:
    """What is left where neither case nor spelling counts."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFC", name).upper().casefold())


# --- templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{task_id}", "88.mp4"),
        ("{index}", "7.mp4"),
        ("{endpoint} {key} {name}-{n}", "text_to_video fox 0-0.mp4"),
        ("The Boat", "The Boat.mp4"),
        ("Boat {{{key}}}", "Boat {fox}.mp4"),
    ],
)
def test_fields_are_filled_in(text: str, name: str) -> None:
    """Every field there is; the text around them stays as it is, capitals too; the suffix is the file's."""
    assert named(text) == [name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{taskid}", "no field {taskid}; there are {key}, {index}, {task_id}, {endpoint}, {name}, {n}"),
        ("{}", "no field {};"),
        ("{key.__class__}", "no field {key.__class__};"),
        ("{key!r}", "no field {key};"),
        ("{index:05}", "no field {index};"),
        ("{key", "cannot be read"),
        ("", "is empty"),
        (" .", "is empty"),
        ("out/{key}", "'/' cannot be part of a file's name"),
        ("..\\{key}", "'\\\\' cannot be part of a file's name"),
        ("a:b\0{key}", "'\\x00:' cannot be part of a file's name"),
    ],
)
def test_a_wrong_template_is_refused_at_once(text: str, problem: str) -> None:
    """It names the slip, and what there is."""
    with pytest.raises(RequestInvalid) as caught:
        Template(text)
    (found,) = caught.value.problems
    assert found.field == "name" and problem in found.text


def test_a_template_tells_its_fields() -> None:
    """So that who names many tasks can see whether it tells them apart."""
    assert Template("{key}-{n}").fields == {"key", "n"} and Template("boat").fields == set()
    assert Template("".join(f"{{{field}}}" for field in FIELDS)).fields == set(FIELDS)


# --- several files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{task_id}", ["88-front.png", "88-0.mp3"]),
        ("{name}", ["front.png", "0.mp3"]),
        ("{n} {key}", ["0 fox.png", "1 fox.mp3"]),
    ],
)
def test_files_of_one_result_get_their_own_names(text: str, names: list[str]) -> None:
    """By the template if it has a field for it, else by what is added."""
    assert named(text, File("u", ".png", "front"), File("u", ".mp3", "0")) == names


def test_names_that_do_not_tell_files_apart_are_replaced_by_numbers() -> None:
    """The vendor may leave out an index, or spell two alike; one sound in two formats is told apart."""
    same = [File("u", ".png", "0"), File("u", ".png", "0")]
    assert named("{task_id}", *same) == ["88-0.png", "88-1.png"]
    assert named("{name}", File("u", ".png", "a"), File("u", ".png", "A")) == ["0.png", "1.png"]
    assert named("{task_id}", File("u", ".mp3"), File("u", ".wav")) == ["88-.mp3", "88-.wav"]


def test_watermarked_copies_are_named_so() -> None:
    """Beside the clean ones, not in their place."""
    assert named("{task_id}", marked=True) == ["88-watermarked.mp4"]
    assert named("{task_id}", FILE, FILE, marked=True) == ["88-0-watermarked.mp4", "88-1-watermarked.mp4"]


# --- any text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["fox", "fox-1.b_c", "red fox, 2", "é", "日本語", "😀", "007", "x" * 196])
def test_a_harmless_key_is_the_name(key: str) -> None:
    """Nothing is added to what every file system takes and tells apart."""
    assert of_key(key) == f"{key}.mp4"


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("/etc", "_etc"),
        ("..", "_"),
        ("", "_"),
        (".ssh", "_ssh"),
        ('a\\b:c*d?e"f<g>h|i', "a_b_c_d_e_f_g_h_i"),
        ("a\nb\x7f\u202e\u200bc", "a_b___c"),
        ("fox. . ", "fox"),
        (" fox", "fox"),
        ("con", "_con"),
        ("Nul.txt", "_Nul.txt"),
        ("com1", "_com1"),
        ("lpt\u00b3.x", "_lpt\u00b3.x"),
        ("x" * 197, "x" * 183),
        ("é" * 99, "é" * 91),
        ("\ud800", "_"),
        ("Fox", "Fox"),
        ("e\u0301", "é"),
        ("straße", "straße"),
        ("\u0131", "\u0131"),
        ("fox+abcdefghij23", "fox+abcdefghij23"),
    ],
)  # fmt: skip
def test_what_is_lost_on_the_way_is_made_up_for_by_a_hash(key: str, start: str) -> None:
    """Separators, control characters, devices, ends, length, case, spelling, and what looks hashed."""
    assert re.fullmatch(re.escape(start) + r"\+[a-z2-7]{12}\.mp4", of_key(key))


def test_the_hashes_are_pinned() -> None:
    """Another hash in a later version would fetch everything again under other names."""
    assert of_key("Fox") == "Fox+6vn5ftp246ls.mp4"
    assert named("{key}-{index}", key="a/b") == ["a_b-7+ylltcaitsl2v.mp4"]


anything = st.text(st.characters(), max_size=250) | st.text("aA./\\ éſ+\u0301", max_size=6)


@given(anything)
@example("a" * 300)
@example("COM¹")
@example(" .0")
def test_any_text_becomes_a_safe_name_within_its_folder(key: str) -> None:
    """On Linux, macOS and Windows, with room for what is added to parts and sidecars."""
    name = of_key(key)
    folder = Path("/out/here")
    assert (folder / name).resolve().parent == folder and Path(name).name == name
    assert len(name.encode()) <= 200 and unicodedata.is_normalized("NFC", name)
    assert not set(name) & set('<>:"/\\|?*') and name.isprintable()
    assert name[0] not in " ." and name[-1] not in " ." and name.endswith(".mp4")
    assert name.partition(".")[0].rstrip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9", "COM¹"}


@given(anything, anything)
@example("Fox", "fox")
@example("fox", "fox+" + "a" * 12)
@example("straße", "strasse")
@example("\u0131", "I")
@example("a/b", "a_b")
@example("é", "e\u0301")
def test_other_texts_get_other_names(key: str, other: str) -> None:
    """Also where a file system knows neither case nor spelling."""
    names = {seen_by_any_file_system(of_key(text)) for text in (key, other)}
    assert len(names) == len({key, other})
