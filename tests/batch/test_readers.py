"""readers.py: jobs out of JSON lines and CSV; a wrong line is told with number, field and what is right."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import LineInvalid, Polling, read_csv, read_jsonl, v1
from kling_async.batch import counter, csv_objects, lines
from kling_async.batch.lines import lines_of
from kling_async.catalog import TASKS
from tests.fuzz.bodies import bodies, drawing
from tests.fuzz.judging import ROWS
from tests.support import pair, png
from tests.v2 import walking as second
from tests.v2.test_fuzz import bodies as second_bodies
from tests.wire.test_json_bridge import CASES, has_blanks, in_our_words, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kling_async.batch.readers import JobReader

Json = dict[str, Any]
CLIP: Final = {"endpoint": "text_to_video", "prompt": "x"}


def stream(text: str | bytes) -> io.BytesIO:
    """Return a stream of bytes."""
    return io.BytesIO(text.encode() if isinstance(text, str) else text)


def anything(_: object) -> None:
    """Take every request: rules between fields are not what is tested."""


def bad_lines(read: Callable[..., JobReader], text: str | bytes, **options: Any) -> dict[int, dict[str, str]]:
    """Return the problems of all wrong lines, by number and field."""
    wrong: list[LineInvalid] = []
    for _ in read(stream(text), on_bad=wrong.append, **options):
        pass
    return {error.line: dict(error.problems) for error in wrong}


def jsonl(*objects: Json) -> str:
    """Return JSON lines."""
    return "".join(json.dumps(item) + "\n" for item in objects)


# --- round trips ---------------------------------------------------------------------------------


def cells_of(draw: Callable[..., Any], data: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield headers and cells of an object: inner ones by a column for each field, or whole as JSON."""
    for name, whole in data.items():
        header, value = f"{prefix}{name}", whole
        if isinstance(whole, list) and whole and draw(st.booleans()):
            value = {str(at): item for at, item in enumerate(whole)}
        if isinstance(value, dict) and value and (prefix or draw(st.booleans())):
            yield from cells_of(draw, value, f"{header}.")
        elif isinstance(whole, str):
            yield header, whole
        else:
            yield header, json.dumps(whole)


@pytest.mark.parametrize("name", [row.name for row in TASKS if row.name in ROWS])
def test_every_request_goes_through_both_formats_and_comes_back(name: str) -> None:
    """Requests of every endpoint are equal after the way through a file; jobs keep their order and keys."""
    kind, read = ROWS[name].request, list[bool]()

    @drawing(CASES // 2)
    @given(body=bodies(name), data=st.data())
    def judged(body: Json, data: st.DataObject) -> None:
        request, _ = reading(kind, in_our_words(kind, body))
        read.append(request is not None)
        if request is None:
            return
        whole = request.to_dict()
        text = jsonl({**whole, "key": "a"}, whole)
        assert list(read_jsonl(stream(text), check=anything)) == [("a", request), (None, request)]
        if has_blanks(whole):  # an empty cell sets nothing, and reads as None
            return
        cells = dict(cells_of(data.draw, whole))
        delimiter = data.draw(st.sampled_from(",;\t|"))
        out = io.StringIO(newline="")
        writer = csv.writer(
            out, delimiter=delimiter, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"]))
        )
        writer.writerow([*cells, "key", ""])
        writer.writerow([*cells.values(), "a", ""])
        writer.writerow([])
        writer.writerow([""] * (len(cells) + 2))
        writer.writerow(cells.values())
        encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig"]))
        found = read_csv(stream(out.getvalue().encode(encoding)), check=anything)
        assert list(found) == [("a", request), (None, request)]

    judged()
    assert any(read)


@pytest.mark.parametrize("name", second.ENDPOINTS)
def test_requests_of_the_second_generation_go_through_lines_and_come_back(name: str) -> None:
    """Drawn from its reference, with the model as a field."""

    @drawing(CASES // 4)
    @given(drawn=second_bodies(name, broken=False))
    def judged(drawn: tuple[Json, str]) -> None:
        model = second.ENDPOINTS[name].get("model")
        request = second.from_body(name, drawn[0], **({"model_name": model} if model else {}))
        text = jsonl({**request.to_dict(), "key": "a"})
        assert list(read_jsonl(stream(text), check=anything)) == [("a", request)]

    judged()


@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=12), min_size=1, max_size=8
    ),
    end=st.sampled_from(["", "\n", "\r\n"]),
    most=st.integers(1, 30),
)
def test_lines_are_read_as_they_are_and_long_ones_are_told(texts: list[str], end: str, most: int) -> None:
    """Each line comes once with its number; one above the bound is passed over, whatever its length."""
    raw = end.join(texts).encode() if end else texts[0].encode()
    expected = raw.split(b"\n")
    found = list(lines_of(stream(raw), most))
    kept = [(n, part) for n, part in enumerate(expected, 1) if part or n < len(expected)]
    assert [line.number for line in found] == [n for n, _ in kept]
    for line, (number, part) in zip(found, kept, strict=True):
        size = len(part) + (number < len(expected))
        assert bool(line.problem) == (size > most + (number < len(expected)))
        if not line.problem:
            assert line.text.removesuffix("\n").encode() in (part, part.removeprefix(b"\xef\xbb\xbf"))


# --- wrong lines ---------------------------------------------------------------------------------

JSON_LINES: Final = {
    "{": {"the line": "is not JSON: Expecting property name"},
    "7": {"the line": "must be an object"},
    "null": {"the line": "must be an object"},
    '{"a": 1, "a": 2}': {"the line": "'a' comes twice"},
    '{"prompt": NaN}': {"the line": "NaN is no number"},
    "[" * 100_000: {"the line": ""},
    '{"prompt": %s}' % ("9" * 5000): {"the line": "is not JSON"},
    '{"prompt": "x"}': {"endpoint": "is required; one of text_to_video"},
    '{"endpoint": "text_to_vidoe"}': {"endpoint": "did you mean 'text_to_video'"},
    '{"endpoint": "text_to_speech"}': {"text": "is required", "voice_id": "is required"},
    '{"endpoint": "text_to_video", "promt": "x"}': {"promt": "did you mean 'prompt'"},
    '{"endpoint": "text_to_video"}': {"prompt": ""},
    '{"endpoint": "text_to_video", "prompt": "x", "key": 7}': {"key": "in quotation marks, not 7"},
    '{"endpoint": "text_to_video", "prompt": "x", "key": ""}': {"key": "not empty"},
    '{"endpoint": "text_to_video", "prompt": "x", "key": "\\ud800"}': {"key": "half a character"},
    '{"endpoint": "text_to_video", "prompt": "x", "duration": 99, "mode": "q"}': {
        "duration": "at most 15",
        "mode": "",
    },
    '{"endpoint": "image_to_video", "image": "../secret.png"}': {"image": "neither an https address nor"},
}


@pytest.mark.parametrize("line", JSON_LINES, ids=lambda line: line[:40])
def test_every_wrong_json_line_is_told_and_concerns_no_other(line: str) -> None:
    """Between good lines a wrong one is told with its number and all of its fields; the others are read."""
    good = json.dumps(CLIP)
    wrong = bad_lines(read_jsonl, f"{good}\n\n{line}\n{good}")
    assert set(wrong) == {3}
    for field, words in JSON_LINES[line].items():
        assert words in wrong[3][field]
    assert len(list(read_jsonl(stream(f"{good}\n\n{line}\n{good}"), on_bad=anything))) == 2


CSV_ROWS: Final = {
    "x,5.5,,,": {"duration": ""},
    'x,"5,0",,,': {"duration": "write a point"},
    "x,five,,,": {"duration": "must be a whole number, not 'five'"},
    "x,inf,,,": {"duration": "must be a whole number"},
    "x,,maybe,,": {"multi_shot": "must be true or false"},
    "x,,,wide,": {"aspect_ratio": ""},
    'x,,,,"[{"': {"multi_prompt": "must be a JSON list, or use columns"},
    "x,,,,,more": {"column 6": "'more' has no header"},
    ",10,,,": {"prompt": ""},
    '"x"y,,,,': {"the line": "writes it twice"},
    "x\ry,,,,": {"the line": "line ends of old Macs"},
}


@pytest.mark.parametrize("row", CSV_ROWS)
def test_every_wrong_row_is_told_and_concerns_no_other(row: str) -> None:
    """A wrong row is told with its first line's number and the headers of its cells; the others are read."""
    head = "prompt,duration,multi_shot,aspect_ratio,multi_prompt"
    text = f'{head}\n"two\nlines",,,,\n{row}\nz,,,,\n'
    wrong = bad_lines(read_csv, text, endpoint="text_to_video")
    assert set(wrong) == {4}
    for field, words in CSV_ROWS[row].items():
        assert words in wrong[4][field]
    good = [request for _, request in read_csv(stream(text), endpoint="text_to_video", on_bad=anything)]
    assert good == [v1.TextToVideo(prompt="two\nlines"), v1.TextToVideo(prompt="z")]


@pytest.mark.parametrize(
    ("head", "problems"),
    [
        ("promt", {"promt": "did you mean 'prompt'"}),
        ("prompt,prompt", {"prompt": "comes twice"}),
        ("prompt,camera.zoom", {"camera.zoom": "did you mean 'camera_control'"}),
        ("prompt,image", {"image": "no such field"}),
    ],
)
def test_wrong_headers_are_told_once(head: str, problems: dict[str, str]) -> None:
    """Headers that no row can use are one error, not one in each row; the endpoint's own fields count."""
    wrong = bad_lines(read_csv, f"{head}\nx,y\nx,y\n", endpoint="text_to_video")
    assert set(wrong) == {1}
    for field, words in problems.items():
        assert words in wrong[1][field]


WHOLE_FILES: Final = {
    "utf-16": ('{"endpoint": 1}'.encode("utf-16"), "is UTF-16; the file must be UTF-8"),
    "an array": (b'[\n{"prompt": "x"},\n{"prompt": "y"}\n]', "one object a line, not one array"),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_a_file_of_another_kind_is_one_error(name: str) -> None:
    """Each of its lines would be wrong: one error says what the file must be."""
    raw, words = WHOLE_FILES[name]
    wrong = bad_lines(read_jsonl, raw)
    assert set(wrong) == {1}
    assert words in wrong[1]["the line"]


def test_an_unclosed_quotation_mark_is_told_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the file belongs to that cell: the row is named in which it began, in bounded memory."""
    text = 'prompt\na\n"open\nb\nc\n'
    assert "never closed" in bad_lines(read_csv, text, endpoint="text_to_video")[3]["the line"]
    monkeypatch.setattr(csv_objects, "LINE_MAX", 10)
    text = 'prompt\na\n"open\n' + "b\n" * 1000
    assert "not closed within" in bad_lines(read_csv, text, endpoint="text_to_video")[3]["the line"]


def test_excel_files_are_read_as_they_are() -> None:
    """Byte order mark, sep=, semicolons, CRLF, upper-case truth, 5.0, empty columns and rows are read."""
    text = (
        "\ufeffsep=;\r\nendpoint ; key;prompt;duration;multi_shot;;\r\n"
        'text_to_video;a;"say ""hi""; twice";5.0;FALSE;;\r\n;;;;;;\r\ntext_to_video;;b;;;;\r\n'
    )
    found = list(read_csv(stream(text)))
    first = v1.TextToVideo(prompt='say "hi"; twice', duration=5, multi_shot=False)
    assert found == [("a", first), (None, v1.TextToVideo(prompt="b"))]


def test_an_id_that_excel_has_rounded_is_told() -> None:
    """7.43E+17 is no id: its last digits are lost."""
    wrong = bad_lines(read_csv, "video_id,prompt\n7.43212E+17,x\n", endpoint="video_extend")
    assert "lost its last digits" in wrong[2]["video_id"]


def test_lists_by_index_and_their_errors_go_by_header() -> None:
    """Gaps close up, and a problem names the column, not the place in the list."""
    head = "prompt,image_list.0.image,image_list.2.image\n"
    good = head + "x,,https://cdn.example/a.png\n"
    ((_, request),) = read_csv(stream(good), endpoint="omni_image")
    assert [item.image.url for item in request.image_list] == ["https://cdn.example/a.png"]  # type: ignore[attr-defined]
    wrong = bad_lines(read_csv, head + "x,https://cdn.example/a.png,no/pe.png\n", endpoint="omni_image")
    assert list(wrong[2]) == ["image_list.2.image"]


HEADERS: Final = st.sampled_from(
    [
        *("prompt", "duration", "endpoint", "key", "extra", "extra.a", "element_list.0.element_id"),
        *("image_list.\u00b2", "camera_control.config.zoom", "multi_prompt", "image_list", "", "[", "a b"),
        *("watermark_info.enabled", "element_list[1]", "element_list." + "9" * 5000),
        "camera_control" + ".x" * 3000,
    ]
)
CELLS: Final = st.sampled_from(
    [
        *("", " ", "x", "5", "1e400", "1_000", "-0", "nan", "\u0665", "9" * 5000, "true", "[", "{}", "[1]"),
        *("[[]]", "omni_image", "text_to_video", "\x00", "\ud7ff", '{"a": 1e999}', "[" * 2000, "a;b", "1,5"),
        *("\r", '"'),
    ]
)


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")  # of what may be refused
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_no_bytes_are_more_than_wrong_lines(raw: bytes) -> None:
    """Whatever a file holds, it is read to its end, and each wrong line is told once, in order."""
    for read in (read_jsonl, read_csv):
        for text in (raw, b"prompt\n" + raw, b'{"prompt": ' + raw):
            errors: list[LineInvalid] = []
            found = list(read(stream(text), endpoint="text_to_video", on_bad=errors.append))
            wrong = [error.line for error in errors]
            assert wrong == sorted(set(wrong))
            assert len(found) + len(wrong) <= text.count(b"\n") + 1


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")  # of what may be refused
@given(
    headers=st.lists(HEADERS, min_size=1, max_size=5),
    rows=st.lists(st.lists(CELLS, max_size=6), min_size=1, max_size=4),
    endpoint=st.sampled_from([None, "omni_image", "text_to_video", "nowhere"]),
)
def test_no_cells_are_more_than_wrong_rows(
    headers: list[str], rows: list[list[str]], endpoint: str | None
) -> None:
    """Whatever headers and cells hold, each wrong row is told with a field; no other error comes out."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([headers, *rows])
    wrong: list[LineInvalid] = []
    for _, request in read_csv(stream(out.getvalue()), endpoint=endpoint, on_bad=wrong.append):
        request.to_dict()
    assert all(error.problems and str(error) for error in wrong)


# --- keys, files, streams ------------------------------------------------------------------------


@given(keys=st.lists(st.sampled_from("abcdefgh") | st.none(), max_size=30), most=st.integers(0, 4))
@settings(max_examples=60)
def test_a_key_that_comes_twice_is_told_with_both_lines(keys: list[str | None], most: int) -> None:
    """Whether the first line's key is still in memory or in the file, its line is named; None may repeat."""
    first: dict[str, int] = {}
    expected = {}
    for number, key in enumerate(keys, 1):
        if key is not None and first.setdefault(key, number) != number:
            expected[number] = first[key]
    text = jsonl(*({**CLIP, **({} if key is None else {"key": key})} for key in keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counter.SpillMap.__init__, "__defaults__", (most,))
        wrong = bad_lines(read_jsonl, text)
    assert {line: f"line {expected[line]}," in told["key"] for line, told in wrong.items()} == dict.fromkeys(
        expected, True
    )


def test_files_are_named_below_their_folder_only(tmp_path: Path) -> None:
    """A file within is read; links out of the folder, dots and absolute paths are refused."""
    inside, outside = tmp_path / "jobs", tmp_path / "secret.png"
    inside.mkdir()
    outside.write_bytes(png(320, 320))
    (inside / "a.png").write_bytes(png(320, 320))
    (inside / "link.png").symlink_to(outside)
    names = ["a.png", "link.png", "../secret.png", str(outside), "./a.png"]
    text = jsonl(*({"endpoint": "image_to_video", "prompt": "x", "image": name} for name in names))
    assert list(bad_lines(read_jsonl, text, files=inside)) == [2, 3, 4]
    assert list(bad_lines(read_jsonl, text)) == [1, 2, 3, 4, 5]


def test_a_file_is_read_anew_and_an_error_carries_its_place(tmp_path: Path) -> None:
    """Iterating twice reads twice; without on_bad the first wrong line is raised, after those before it."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(jsonl({**CLIP, "key": "a"}))
    reader = read_jsonl(path)
    assert list(reader) == list(reader) == [("a", v1.TextToVideo(prompt="x"))]
    path.write_text(jsonl(CLIP, {**CLIP, "key": "b", "duration": 99}))
    iterator = iter(reader)
    next(iterator)
    with pytest.raises(LineInvalid) as caught:
        next(iterator)
    error = caught.value
    assert (error.source, error.line, error.key) == (str(path), 2, "b")
    assert str(error).startswith(f"{path} line 2: duration: 99 is too large")


def test_a_stream_of_text_is_read_too() -> None:
    """``open(...)`` and ``sys.stdin`` give text; a byte order mark is dropped there, too."""
    assert len(list(read_jsonl(io.StringIO("\ufeff" + jsonl(CLIP, CLIP))))) == 2
    broken = io.TextIOWrapper(stream(b"prompt\n\xff\n"), encoding="utf-8")
    wrong: list[LineInvalid] = []
    assert list(read_csv(broken, endpoint="text_to_video", on_bad=wrong.append)) == []
    assert "save it as UTF-8" in str(wrong[0])


def test_memory_does_not_grow_with_the_file() -> None:
    """Twenty times the lines take no more memory at once: nothing is kept of a line but its key's digest."""

    def peak(count: int) -> int:
        class Endless(io.RawIOBase):
            left = count

            def readline(self, size: int | None = -1, /) -> bytes:
                self.left -= 1
                return b'{"endpoint": "text_to_video", "prompt": "x"}\n' if self.left >= 0 else b""

        tracemalloc.start()
        try:
            assert sum(1 for _ in read_jsonl(Endless())) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)
    assert peak(2000) < peak(100) + 50_000


def test_a_line_longer_than_the_bound_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of it is passed over in parts; the next line is read."""
    monkeypatch.setattr(lines.lines_of, "__defaults__", (100,))
    long = json.dumps({**CLIP, "prompt": "y" * 5000})
    text = f"{json.dumps(CLIP)}\n{long}\n{json.dumps(CLIP)}\n"
    wrong = bad_lines(read_jsonl, text)
    assert list(wrong) == [2]
    assert "is longer than" in wrong[2]["the line"]


@pytest.mark.anyio
@pytest.mark.real
async def test_a_batch_takes_the_pairs_also_while_the_stream_blocks() -> None:
    """Outcomes come while the stream still waits for its next line; keys arrive as they are."""
    ends = os.pipe()
    with os.fdopen(ends[0], "rb") as source, os.fdopen(ends[1], "wb", buffering=0) as writer:
        quick = {"polling": Polling(min_interval=0.05, max_interval=0.05)}
        async with pair({"video": 2}, seconds=0.01, client=quick) as (_, client):
            writer.write(jsonl({**CLIP, "key": "a"}).encode())
            async with client.batch(read_jsonl(source, check=client.check)) as results:
                outcome = await anext(results)
                assert (outcome.key, outcome.ok) == ("a", True)
                threading.Timer(0.01, writer.close).start()
                assert [outcome async for outcome in results] == []
