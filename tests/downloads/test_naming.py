"""Test downloads/naming.py: any text becomes a safe name within its folder, other texts other names."""

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


def named(text: str, *files: File, watermarked: bool = False, **values: Any) -> list[str]:
    """Return the names of a result's files."""
    known = {"key": "fox", "index": 7, "task_id": "88", "endpoint": "text_to_video", **values}
    return Template(text).names(known, files or (FILE,), watermarked=watermarked)


def of_key(key: str) -> str:
    return named("{key}", key=key)[0]


def folded(name: str) -> str:
    """Return a name as a file system sees it that ignores case and spelling."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFC", name).upper().casefold())


# --- templates ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{task_id}", "88.mp4"),
        ("{index}", "7.mp4"),
        ("{index:05d}", "00007.mp4"),
        ("{index:03}-{index:05d}-{index}", "007-00007-7.mp4"),
        ("{n:02d} {index:d}", "00 7.mp4"),
        ("{key}-{index:02d}", "fox-07.mp4"),
        ("{endpoint} {key} {name}-{n}", "text_to_video fox 0-0.mp4"),
        ("The Boat", "The Boat.mp4"),
        ("Boat {{{key}}}", "Boat {fox}.mp4"),
    ],
)
def test_fields_are_filled_in(text: str, name: str) -> None:
    """Every field is filled in, literal text keeps its capitals, and the suffix is the file's."""
    assert named(text) == [name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{taskid}", "no field {taskid}; there are {key}, {index}, {task_id}, {endpoint}, {name}, {n}"),
        ("{}", "no field {};"),
        ("{key.__class__}", "no field {key.__class__};"),
        ("{key!r}", "no field {key};"),
        ("{index:x}", "{index:x}: a format can only ask for leading zeros, such as {index:05d}"),
        ("{index:5d}", "{index:5d}: a format can only ask for leading zeros"),
        ("{n:+d}", "{n:+d}: a format can only ask for leading zeros, such as {n:05d}"),
        ("{index:0999d}", "{index:0999d}: a format"),
        ("{index:{n}}", "{index:{n}}: a format"),
        ("{key:05d}", "{key:05d}: only {index} and {n} take a format, such as {index:05d}"),
        ("{task_id:>30}", "{task_id:>30}: only {index} and {n} take a format"),
        ("{key", "cannot be read"),
        ("", "is empty"),
        (" .", "is empty"),
        ("out/{key}", "'/' cannot be part of a file's name"),
        ("..\\{key}", "'\\\\' cannot be part of a file's name"),
        ("a:b\0{key}", "'\\x00:' cannot be part of a file's name"),
    ],
)
def test_a_wrong_template_is_refused_at_once(text: str, problem: str) -> None:
    """The error names the slip and the fields there are."""
    with pytest.raises(RequestInvalid) as caught:
        Template(text)
    (found,) = caught.value.problems
    assert found.field == "name" and problem in found.text


def test_a_template_knows_its_fields() -> None:
    """A batch checks by them whether a template distinguishes its tasks."""
    assert Template("{key}-{n}").fields == {"key", "n"} and Template("boat").fields == set()
    assert Template("".join(f"{{{field}}}" for field in FIELDS)).fields == set(FIELDS)


@given(
    index=st.one_of(
        st.integers(0, 10**7), st.builds("{}-{:012x}".format, st.integers(0, 99), st.integers(0, 16**12 - 1))
    ),
    width=st.integers(1, 12),
    key=st.text("ab-1", max_size=4),
)
def test_leading_zeros_keep_names_apart(index: int | str, width: int, key: str) -> None:
    """A padded number is found again in its name, and longer numbers keep all their digits."""
    text = f"{{index:0{width}d}} {{key}}"
    (name,) = named(text, index=index, key=key)
    number, _, rest = str(index).partition("-")
    assert name.startswith(number.zfill(width) + (f"-{rest}" if rest else ""))
    if isinstance(index, int):
        others = {index + 1, index * 10 + 1, index + 10**width, 10 * index + 10}
        assert name not in [named(text, index=other, key=key)[0] for other in others]


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
    """A field ``name`` or ``n`` distinguishes them, else the file's own name is added."""
    assert named(text, File("u", ".png", "front"), File("u", ".mp3", "0")) == names


def test_equal_names_of_files_are_replaced_by_numbers() -> None:
    """The vendor may repeat an index or differ in case only; two formats of one sound have suffixes."""
    same = [File("u", ".png", "0"), File("u", ".png", "0")]
    assert named("{task_id}", *same) == ["88-0.png", "88-1.png"]
    assert named("{name}", File("u", ".png", "a"), File("u", ".png", "A")) == ["0.png", "1.png"]
    assert named("{task_id}", File("u", ".mp3"), File("u", ".wav")) == ["88-.mp3", "88-.wav"]


def test_watermarked_copies_have_names_of_their_own() -> None:
    """They are stored beside the clean files, not in their place."""
    assert named("{task_id}", watermarked=True) == ["88-watermarked.mp4"]
    assert named("{task_id}", FILE, FILE, watermarked=True) == [
        "88-0-watermarked.mp4",
        "88-1-watermarked.mp4",
    ]


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
    """Ordinary values give names without a hash, though unusual values could give the same text."""
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
    """Several files of one result need no hash if the text before their own names cannot contain them."""
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
def test_values_that_read_like_others_get_a_hash(text: str, values: Any, files: Any, start: str) -> None:
    """The plain text belongs to a more ordinary task or file; these get a hash behind it."""
    for name in named(text, *files, **values):
        assert re.fullmatch(start + HASH + r"(\.\w+)?", name), name


def test_tasks_that_join_to_the_same_text_get_different_names() -> None:
    """Siblings, positions and watermarked copies never take the name of another task's file."""
    several = named("{key}", *STILLS, key="a")
    alone = [named("{key}", STILLS[0], key=key)[0] for key in ("a-0", "a.0", "a.1")]
    assert alone[0] == "a-0.png" and len({*several, *alone}) == 5
    assert named("{index}{key}", index=1, key="1x") != named("{index}{key}", index=11, key="x")
    assert named("{key}", key="a", watermarked=True) == ["a-watermarked.mp4"]
    assert named("{key}", key="a-watermarked") != ["a-watermarked.mp4"]


TEMPLATES: Final = (
    *(f"{{{field}}}" for field in ("key", "index", "task_id", "name")),
    *("{key}{index}", "{index}{key}", "{key}{name}", "{key}-{name}", "{name}-{key}", "{key}-{key}"),
    *("{key}-{n}", "{n}{key}", "{index}-{task_id}", "{index}-{key}", "{key}-{index}", "{index}{n}"),
    *("{task_id}{key}", "{key}-{task_id}", "{endpoint}{key}", "{key}-{endpoint}", "{key}A{name}", "e{key}"),
    *("{key}1{index}", "{index}-{n}-{key}", "{key}+{name}", "{key}.{index}", "{key}-watermarked{name}"),
)


class One(NamedTuple):
    """A task's files, and all values that their names may hold."""

    key: str
    at: int | str
    task_id: str
    endpoint: str
    names: tuple[str, ...]
    suffix: str
    watermarked: bool

    def named(self, text: str) -> dict[tuple[Any, ...], str]:
        """Return the names by the values that distinguish the files under a template."""
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
                self.watermarked,
            )
            for n, file in enumerate(files)
        ]
        return dict(zip(keys, template.names(values, files, watermarked=self.watermarked), strict=True))


def collisions(text: str, tasks: list[One]) -> list[tuple[Any, Any]]:
    """Return pairs of different values with names that a file system could confuse."""
    owners: dict[str, tuple[Any, ...]] = {}
    found: list[tuple[Any, Any]] = []
    for task in tasks:
        for own, name in task.named(text).items():
            same = folded(name)
            if owners.setdefault(same, own) != own:
                found.append((owners[same], own))
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
    watermarked=st.booleans(),
)
texts = st.sampled_from(TEMPLATES) | st.lists(
    st.sampled_from([*(f"{{{field}}}" for field in FIELDS), "-", "1", "A", "_", "é"]), min_size=1, max_size=5
).map("".join)

ALONE: Final = One("a-0", 0, "1", "avatar", ("0",), ".png", False)


@given(texts, st.lists(ones, min_size=2, max_size=6))
@example("{key}", [One("a", 0, "1", "avatar", ("0", "1"), ".png", False), ALONE])
@example("{index}{key}", [ALONE._replace(at=1, key="1x"), ALONE._replace(at=11, key="x")])
@example("{key}", [ALONE._replace(key="a", watermarked=True), ALONE._replace(key="a-watermarked")])
@example("{key}A{name}", [ALONE._replace(key="a", names=("ab",)), ALONE._replace(key="aa", names=("b",))])
def test_different_values_get_different_names(text: str, tasks: list[One]) -> None:
    """Under one template two files share a name only if all fields of the template are equal."""
    assert collisions(text, tasks) == []


@pytest.mark.parametrize("text", TEMPLATES)
def test_all_short_values_get_different_names(text: str) -> None:
    """No two keys of up to three characters collide, at any position, alone or beside a sibling."""
    keys = ["".join(chars) for size in range(4) for chars in itertools.product("a1-", repeat=size)]
    tasks = [
        One(key, index, str(index), endpoint, names, ".png", False)
        for key in keys
        for index, endpoint in ((1, "avatar"), (11, "lip_sync"), (111, "advanced_lip_sync"))
        for names in (("1",), ("a",), ("1", "11"), ("-1", "a-1"))
    ]
    assert collisions(text, tasks) == []


# --- any text ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["fox", "fox-1.b_c", "red fox, 2", "é", "日本語", "😀", "007", "x" * 196])
def test_a_harmless_key_is_the_name(key: str) -> None:
    """A key that every file system takes and distinguishes gets no hash."""
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
def test_a_key_that_cleaning_changes_gets_a_hash(key: str, start: str) -> None:
    """Separators, controls, devices, ends, length, case, spelling, and texts that look hashed get one."""
    assert re.fullmatch(re.escape(start) + r"\+[a-z2-7]{12}\.mp4", of_key(key))


def test_the_hashes_are_pinned() -> None:
    """A later version with other hashes would fetch everything again under other names."""
    assert of_key("Fox") == "Fox+6vn5ftp246ls.mp4"
    assert named("{key}-{index}", key="a/b") == ["a_b-7+ylltcaitsl2v.mp4"]


anything = st.text(st.characters(), max_size=250) | st.text("aA./\\ éſ+\u0301", max_size=6)


@given(anything)
@example("a" * 300)
@example("COM¹")
@example(" .0")
def test_any_text_becomes_a_safe_name_within_its_folder(key: str) -> None:
    """The name is valid on Linux, macOS and Windows, with room for the suffixes of parts and sidecars."""
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
def test_different_texts_get_different_names(key: str, other: str) -> None:
    """Two texts have two names even for a file system that ignores case and spelling."""
    names = {folded(of_key(text)) for text in (key, other)}
    assert len(names) == len({key, other})
