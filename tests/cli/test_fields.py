"""Test cli/fields.py: every field of every endpoint has an option, and options make the request they say."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RequestInvalid, TaskRequest, json_schema, v1
from kling_async.catalog import TASKS
from kling_async.cli.commands import LazyParser
from kling_async.cli.fields import add_field_arguments, option_of, request_of
from kling_async.wire.media import Media
from tests.support import png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDPOINTS = [row.name for row in TASKS]


def parser_of(endpoint: str) -> LazyParser:
    parser = LazyParser(prog="kling create")
    add_field_arguments(parser, endpoint)
    return parser


def made(endpoint: str, *words: str) -> Any:
    """Return the request that options describe."""
    return request_of(parser_of(endpoint).parse_args([*words]), endpoint)


def paths(
    schema: dict[str, Any], parts: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over the fields of a schema as the reader of the JSON has them."""
    for name, field in schema["properties"].items():
        part = parts.get(field.get("$ref", "").rpartition("/")[2], {})
        if "properties" in part:
            yield from paths(part, parts, f"{prefix}{name}.")
        elif name != "endpoint":
            yield f"{prefix}{name}", field


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_field_has_an_option_with_its_description(endpoint: str) -> None:
    """The help names each field of the schema, its description, its bounds and its words."""
    schema = json_schema(endpoint)
    text = " ".join(parser_of(endpoint).format_help().split())
    for path, field in paths(schema, schema.get("$defs", {})):
        assert option_of(path) in text
        assert field["description"].replace("``", "")[:30] in text
        for bound in ("minimum", "maximum"):
            assert str(field.get(bound, "")) in text
        assert [word for word in map(str, field.get("enum", ())) if word not in text] == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_option_has_a_value_that_was_not_given(endpoint: str) -> None:
    """Without options nothing but the endpoint is read, so the vendor's defaults count."""
    assert [name for name in vars(parser_of(endpoint).parse_args([])) if name.startswith("field:")] == []


def test_options_make_the_request_that_python_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, words, flags, nested fields, lists and fields unknown here; either spelling of a name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots.json").write_text(json.dumps([{"index": 1, "prompt": "a", "duration": 5}]))
    zoom = ("--camera-control.type", "simple", "--camera_control.config.zoom", "-2.5")
    words = ("--prompt=--a boat", "--no-sound", "--duration", "10", "--extra", '{"new": 1}')
    assert made("text_to_video", *words, *zoom) == v1.TextToVideo(
        prompt="--a boat",
        sound=False,
        duration=10,
        camera_control=v1.CameraControl(type="simple", config=v1.CameraConfig(zoom=-2.5)),
        extra={"new": 1},
    )
    shot = v1.Shot(index=1, prompt="a", duration=5)
    for text in ('[{"index": 1, "prompt": "a", "duration": 5}]', "@shots.json"):
        assert made("text_to_video", "--multi-prompt", text).multi_prompt == (shot,)


def test_media_are_files_or_addresses_also_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``@`` names a file at the top and within a list; a text of another field keeps its ``@``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    request = made("image_to_video", "--image", "@a.png", "--image-tail", "https://example.com/b.png")
    assert request.image == Media(path="a.png") and request.image_tail.url == "https://example.com/b.png"
    entries = '[{"image_url": "@a.png", "type": "first_frame"}, {"image_url": "https://example.com/b.png"}]'
    listed = made("omni_video", "--prompt", "@a.png", "--image-list", entries)
    assert listed.prompt == "@a.png" and listed.image_list[0].image_url == Media(path="a.png")
    assert listed.image_list[1].image_url.url == "https://example.com/b.png"


@pytest.mark.parametrize(
    ("endpoint", "words", "says"),
    [
        ("text_to_video", ["--prompt", "x", "--mode", "fast"], "--mode: "),
        ("omni_video", ["--prompt", "x", "--image-list", '[{"image_url": "@no.png"}]'], "no such file"),
        ("omni_video", ["--prompt", "x", "--image-list", "{}"], "--image-list: must be a list"),
        ("omni_video", ["--image-list", "@no.json"], "@no.json: No such file"),
        ("text_to_video", ["--prompt", "x", "--extra", "[]"], "--extra: must be an object"),
        ("text_to_video", ["--cfg-scale", "low"], "'low' is not a number"),
        ("custom_elements", ["--element-name", "x"], "--element-description: is required"),
    ],
)
def test_a_wrong_value_is_named_by_its_option(
    endpoint: str, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the parser, or by the check of the request; the message is about the option."""
    with pytest.raises((RequestInvalid, SystemExit)) as caught:
        made(endpoint, *words)
    assert says in f"{caught.value} {capsys.readouterr().err}"


def test_a_picture_named_without_the_sign_gets_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that exists is meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(SystemExit):
        made("image_to_video", "--image", "a.png")
    assert "write @a.png" in capsys.readouterr().err


def test_the_options_of_a_field_read_alike_everywhere() -> None:
    """Names are those of the fields, with hyphens: no two fields of an endpoint meet in one option."""
    for row in TASKS:
        options = re.findall(r"^  (--[\w.-]+)", parser_of(row.name).format_help(), re.MULTILINE)
        assert len(options) == len(set(options)) and issubclass(row.request, TaskRequest)
