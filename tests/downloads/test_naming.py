"""downloads/naming.py: any text becomes a safe name within its folder, other texts other names."""

from __future__ import annotations

import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kling_async import RequestInvalid
from kling_async.downloads.naming import FIELDS, Template
from kling_async.wire.requests import File

FILE: Final = File("https://a.example/x", ".mp4", "0")


def named(text: str, *files: File, marked: bool = False, **values: Any) -> list[str]:
    """The names of a result's files."""
    known = {"key": "fox", "index": 7, "task_id": "88", "endpoint": "text_to_video", **values}
    return Template(text).names(known, files or (FILE,), watermarked=marked)


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


# --- values that are joined --------------------------------------------------------------------

HASH: Final = r"\+[a-z2-7]{12}"
STILLS: Final = (File("u", ".png", "0"), File("u", ".png", "1"))


@pytest.mark.parametrize(
    ("text", "values", "names"),
    [
        ("{key}", {"key": "scene-1"}, ["scene-1.mp4"]),
        ("{index}", {"index": 0}, ["0.mp4"]),
        ("{index}", {"index": "0-3f2a9c1b7d20"}, ["0-3f2a9c1b7d20.mp4"]),
        ("{index}-{task_id}", {"index": 12}, ["12-88.mp4"]),
        ("{index}-{task_id}", {"index": "12-3f2a9c1b7d20"}, ["12-3f2a9c1b7d20-88.mp4"]),
        ("{key}-{index}", {"key": "scene-1", "index": "0-3f2a9c1b7d20"}, ["scene-1-0-3f2a9c1b7d20.mp4"]),
        ("{index}-{key}", {"key": "scene-1"}, ["7-scene-1.mp4"]),
        ("{index}{key}", {"index": 11, "key": "x"}, ["11x.mp4"]),
        ("{endpoint}_{key}", {"key": "red_fox"}, ["text_to_video_red_fox.mp4"]),
        ("{endpoint}-{task_id}", {"endpoint": "advanced_lip_sync"}, ["advanced_lip_sync-88.mp4"]),
        ("{index}-{task_id}", {"task_id": "3f2a9c1b-7d20"}, ["7-3f2a9c1b-7d20.mp4"]),
        ("{key}-{key}", {"key": "a-1"}, ["a-1-a-1.mp4"]),
        ("{key}-{name}", {"key": "a-1"}, ["a-1-0.mp4"]),
        ("{key}-{n}", {"key": "a-0"}, ["a-0-0.mp4"]),
    ],
)
def test_ordinary_values_are_joined_as_they_are(text: str, values: Any, names: list[str]) -> None:
    """No hash in the names that templates are made for, though other values could give some of them too."""
    assert named(text, **values) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{task_id}", ["88-0.png", "88-1.png"]),
        ("{index}", ["7-0.png", "7-1.png"]),
        ("{index}-{task_id}", ["7-88-0.png", "7-88-1.png"]),
        ("{key} {index}", ["fox 7-0.png", "fox 7-1.png"]),
        ("{key}", ["fox.0.png", "fox.1.png"]),
        ("{index}-{key}", ["7-fox.0.png", "7-fox.1.png"]),
        ("{key}-{n}", ["fox-0.png", "fox-1.png"]),
        ("{n}{key}", ["0fox.png", "1fox.png"]),
    ],
)
def test_ordinary_files_of_one_result_are_joined_as_they_are(text: str, names: list[str]) -> None:
    """Where what comes before the file's own name cannot hold it."""
    assert named(text, *STILLS) == names


@pytest.mark.parametrize(
    ("text", "values", "files", "start"),
    [
        ("{key}", {"key": "a.0"}, (FILE,), r"a\.0"),
        ("{index}-{key}", {"key": "v1.12"}, (FILE,), r"7-v1\.12"),
        ("{key}", {"key": "a"}, (File("u", ".png", "front"), File("u", ".png", "side")), r"a\.(front|side)"),
        ("{index}{key}", {"index": 1, "key": "1x"}, (FILE,), "11x"),
        ("{key}{name}", {"key": "a"}, STILLS, "a[01]"),
        ("{key}-{name}", {"key": "a"}, (File("u", ".png", "1-0"),), "a-1-0"),
        ("{key}X{name}", {"key": "a"}, (File("u", ".png", "xb"),), "aXxb"),
        ("{index}", {"index": "7-0"}, (FILE,), "7-0"),
        ("{task_id}", {"task_id": "88-0"}, (FILE,), "88-0"),
        ("{key}", {"key": "a-watermarked"}, (FILE,), "a-watermarked"),
        ("{key}", {"key": "a.mp4"}, (File("u", ""),), r"a\.mp4"),
    ],
)
def test_what_reads_like_other_values_is_told_apart_by_a_hash(
    text: str, values: Any, files: Any, start: str
) -> None:
    """The text is the same as that of a more ordinary task or file, which has it as it is."""
    for name in named(text, *files, **values):
        assert re.fullmatch(start + HASH + r"(\.\w+)?", name), name


def test_tasks_that_are_joined_to_the_same_text_do_not_meet() -> None:
    """The files of one and the files of others; one position and another; the marked copies."""
    several = named("{key}", *STILLS, key="a")
    alone = [named("{key}", STILLS[0], key=key)[0] for key in ("a-0", "a.0", "a.1")]
    assert alone[0] == "a-0.png" and len({*several, *alone}) == 5
    assert named("{index}{key}", index=1, key="1x") != named("{index}{key}", index=11, key="x")
    assert named("{key}", key="a", marked=True) == ["a-watermarked.mp4"]
    assert named("{key}", key="a-watermarked") != ["a-watermarked.mp4"]


TEMPLATES: Final = (
    *(f"{{{field}}}" for field in ("key", "index", "task_id", "name")),
    *("{key}{index}", "{index}{key}", "{key}{name}", "{key}-{name}", "{name}-{key}", "{key}-{key}"),
    *("{key}-{n}", "{n}{key}", "{index}-{task_id}", "{index}-{key}", "{key}-{index}", "{index}{n}"),
    *("{task_id}{key}", "{key}-{task_id}", "{endpoint}{key}", "{key}-{endpoint}", "{key}A{name}", "e{key}"),
    *("{key}1{index}", "{index}-{n}-{key}", "{key}+{name}", "{key}.{index}", "{key}-watermarked{name}"),
)


class One(NamedTuple):
    """One file of a task, and all that its name may tell of it."""

    key: str
    at: int | str
    task_id: str
    endpoint: str
    names: tuple[str, ...]
    suffix: str
    marked: bool

    def named(self, text: str) -> dict[tuple[Any, ...], str]:
        """Names by what tells the files apart under a template."""
        files = [File("u", self.suffix, name) for name in self.names]
        template = Template(text)
        values: dict[str, str | int] = {
            "key": self.key,
            "index": self.at,
            "task_id": self.task_id,
            "endpoint": self.endpoint,
        }
        own = tuple(str(values[field]) for field in FIELDS if field in template.fields & set(values))
        several = len(files) > 1 and not template.fields & {"name", "n"}
        keys = [
            (
                *own,
                file.name if several or "name" in template.fields else None,
                n if "n" in template.fields else None,
                self.suffix,
                self.marked,
            )
            for n, file in enumerate(files)
        ]
        return dict(zip(keys, template.names(values, files, watermarked=self.marked), strict=True))


def meeting(text: str, tasks: list[One]) -> list[tuple[Any, Any]]:
    """Pairs of different values that have one name where neither case nor spelling counts."""
    owners: dict[str, tuple[Any, ...]] = {}
    found: list[tuple[Any, Any]] = []
    for task in tasks:
        for own, name in task.named(text).items():
            seen = seen_by_any_file_system(name)
            if owners.setdefault(seen, own) != own:
                found.append((owners[seen], own))
    return found


few = (
    st.text("a1-0", max_size=4)
    | st.text("aAé\u0301ßs1-0.+", max_size=5)
    | st.sampled_from(["x", "a-watermarked"])
)
sibling = few | st.sampled_from(["0", "1", "10", "front", "0-1"])
ones = st.builds(
    One,
    key=few,
    at=st.integers(0, 120) | st.sampled_from(["0-3f2a9c1b7d20", "1-000000000001", "0-1", "x"]) | few,
    task_id=st.sampled_from(["1", "88", "000000000001", "3f-2a", "88-0"]) | few,
    endpoint=st.sampled_from(["avatar", "lip_sync", "advanced_lip_sync", "/v1/x"]) | few,
    names=st.lists(sibling, min_size=1, max_size=3, unique_by=str.casefold).map(tuple),
    suffix=st.sampled_from([".png", ".mp4", ""]),
    marked=st.booleans(),
)
texts = st.sampled_from(TEMPLATES) | st.lists(
    st.sampled_from([*(f"{{{field}}}" for field in FIELDS), "-", "1", "A", "_", "é"]), min_size=1, max_size=5
).map("".join)

ALONE: Final = One("a-0", 0, "1", "avatar", ("0",), ".png", False)


@given(texts, st.lists(ones, min_size=2, max_size=6))
@example("{key}", [One("a", 0, "1", "avatar", ("0", "1"), ".png", False), ALONE])
@example("{index}{key}", [ALONE._replace(at=1, key="1x"), ALONE._replace(at=11, key="x")])
@example("{key}", [ALONE._replace(key="a", marked=True), ALONE._replace(key="a-watermarked")])
@example("{key}A{name}", [ALONE._replace(key="a", names=("ab",)), ALONE._replace(key="aa", names=("b",))])
def test_other_values_get_other_names(text: str, tasks: list[One]) -> None:
    """Under one template no two files share a name unless all that it holds of them is the same."""
    assert meeting(text, tasks) == []


@pytest.mark.parametrize("text", TEMPLATES)
def test_all_short_values_get_other_names(text: str) -> None:
    """Every key of up to three characters with every small position, alone and beside a sibling."""
    keys = ["".join(chars) for size in range(4) for chars in itertools.product("a1-", repeat=size)]
    tasks = [
        One(key, index, str(index), endpoint, names, ".png", False)
        for key in keys
        for index, endpoint in ((1, "avatar"), (11, "lip_sync"), (111, "advanced_lip_sync"))
        for names in (("1",), ("a",), ("1", "11"), ("-1", "a-1"))
    ]
    assert meeting(text, tasks) == []


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
