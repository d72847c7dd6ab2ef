"""Test cli/config.py: where settings are found, which place counts, and what a mistake says."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

import pytest

from kling_async import CHINA, GLOBAL, ConfigurationError, Polling
from kling_async.cli.config import VARIABLES, Configuration, default_path, read_configuration
from kling_async.web import ClientOptions
from tests.cli.support import kling

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "k-0123456789-secret"


def read(tmp_path: Path, env: dict[str, str] | None = None, **options: str) -> Configuration:
    """Read the settings of a command whose user has his files below a folder."""
    given = argparse.Namespace(**{"env_file": None, "config": None, "profile": None, **options})
    return read_configuration(given, {"XDG_CONFIG_HOME": str(tmp_path / "home"), **(env or {})})


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_nearest_place_counts(tmp_path: Path) -> None:
    """Env file before environment before TOML; each setting tells its source."""
    written(tmp_path / "home/kling/config.toml", 'api_key = "t"\nproxy = "http://p"\nlimits = {video = 3}\n')
    env_file = written(tmp_path / ".env", "# mine\nexport KLING_API_KEY='f'\nOTHER=1\n\n")
    env = {"KLING_API_KEY": "e", "KLING_LIMITS": "video=20, image=9"}
    toml, environment, nearest = read(tmp_path), read(tmp_path, env), read(tmp_path, env, env_file=env_file)
    assert [found.get("api_key") for found in (toml, environment, nearest)] == ["t", "e", "f"]
    assert toml.get("limits") == {"video": 3} and environment.get("limits") == {"video": 20, "image": 9}
    assert nearest.settings["api_key"].source == f"{env_file} (KLING_API_KEY)"
    assert nearest.settings["limits"].source == "environment (KLING_LIMITS)"
    assert nearest.settings["proxy"].source.endswith("config.toml")


def test_keys_count_as_one_setting_and_so_does_the_address(tmp_path: Path) -> None:
    """A pair in the environment does not meet an API key of the file, nor a region an address."""
    written(tmp_path / "home/kling/config.toml", 'api_key = "t"\nbase_url = "https://example.com"\n')
    pair = {"KLING_ACCESS_KEY": "a", "KLING_SECRET_KEY": "s", "KLING_REGION": "china"}
    assert read(tmp_path, pair).client_options() == {"access_key": "a", "secret_key": "s", "base_url": CHINA}
    assert read(tmp_path, {"KLING_REGION": "global"}).client_options() == {"api_key": "t", "base_url": GLOBAL}


def test_a_profile_replaces_what_stands_at_the_top(tmp_path: Path) -> None:
    """By option or variable; tables become settings of the client."""
    text = 'api_key = "t"\nregion = "china"\n[polling]\nmin_interval = 2\n[profile.studio]\napi_key = "s"\n'
    path = written(tmp_path / "own.toml", text)
    for found in (
        read(tmp_path, config=path, profile="studio"),
        read(tmp_path, {"KLING_CONFIG": path, "KLING_PROFILE": "studio"}),
    ):
        options = found.client_options()
        assert options == {"api_key": "s", "base_url": CHINA, "polling": Polling(min_interval=2)}
    assert read(tmp_path, config=path).get("api_key") == "t"


def test_a_file_may_hold_every_option_of_a_client_that_is_no_object(tmp_path: Path) -> None:
    """A new option of `Client` is a setting of the commands, too, unless it is named here with a reason."""
    objects = {"session", "ssl", "now", "rng", "on_event"}
    queueing = {"queueing"}  # a command waits for its turn
    names = ClientOptions.__annotations__.keys() - objects - queueing
    path = written(tmp_path / "all.toml", "".join(f"{name} = 1\n" for name in names))
    assert read(tmp_path, config=path).settings.keys() == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'api_kye = "{SECRET}"', "no setting api_kye; did you mean api_key?"),
        (f'[profile.a]\napikey = "{SECRET}"', "[profile.a] no setting apikey; did you mean api_key?"),
        ("[polling]\nmin_intervall = 1", "[polling] no setting min_intervall; did you mean min_interval?"),
        (f'colour = "{SECRET}"', "no setting colour; settings are api_key, "),
        (f'api_key = "{SECRET}', "Unterminated string (at "),
        (f'api_key = "{SECRET}"\nretry = 3', "retry is a table"),
        (f'api_key = "{SECRET}"\nregion = "mars"', "region is one of global, china"),
        (f'profile = "{SECRET}"', "profiles are tables"),
    ],
)
def test_a_mistake_in_the_file_is_named_without_its_value(tmp_path: Path, text: str, words: str) -> None:
    """The message has the file, the name, and the one that is meant; no value, which may be a key."""
    path = written(tmp_path / "own.toml", text)
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, config=path).client_options()
    assert words in str(caught.value) and path in str(caught.value)
    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"KLING_APIKEY={SECRET}", "no setting KLING_APIKEY; did you mean KLING_API_KEY?"),
        (f"KLNG_API_KEY={SECRET}", "no setting KLNG_API_KEY; did you mean KLING_API_KEY?"),
        (f"KLING_COLOUR={SECRET}", "there are KLING_API_KEY, "),
        (SECRET, "line 2: write NAME=VALUE"),
        ("KLING_LIMITS=video", "use POOL=N, such as video=20,image=9"),
    ],
)
def test_a_mistake_in_an_env_file_is_named_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    """The message names the line, and never repeats it."""
    path = written(tmp_path / ".env", f"UNRELATED=1\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, env_file=path)
    assert words in str(caught.value) and SECRET not in str(caught.value)


def test_files_that_are_missing_or_unreadable_say_so(tmp_path: Path) -> None:
    """A file that was named must exist; so must a profile."""
    with pytest.raises(ConfigurationError, match=r"no.toml: No such file"):
        read(tmp_path, config=str(tmp_path / "no.toml"))
    with pytest.raises(ConfigurationError, match=r"no.env: No such file"):
        read(tmp_path, env_file=str(tmp_path / "no.env"))
    (tmp_path / "latin.toml").write_bytes(b'proxy = "\xe9"')
    with pytest.raises(ConfigurationError, match="is not text in UTF-8"):
        read(tmp_path, config=str(tmp_path / "latin.toml"))
    path = written(tmp_path / "own.toml", "[profile.a]\n[profile.b]\n")
    with pytest.raises(ConfigurationError, match="no profile 'c'; it has a, b"):
        read(tmp_path, config=path, profile="c")


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644])
def test_a_file_with_keys_that_others_can_read_is_warned_about(tmp_path: Path, mode: int) -> None:
    """One sentence with the command that mends it; a file without keys is nobody's secret."""
    path = written(tmp_path / "own.toml", f'api_key = "{SECRET}"', mode)
    assert [f"chmod 600 {path}" in note for note in read(tmp_path, config=path).notes] == [True] * (
        mode != 0o600
    )
    path = written(tmp_path / "plain.toml", 'region = "china"', mode)
    assert read(tmp_path, config=path).notes == []


def test_a_likely_typo_in_the_environment_is_warned_about(tmp_path: Path) -> None:
    """Other programs may have variables of that kind, so it is no error; known ones are silent."""
    (note,) = read(tmp_path, {"KLING_APIKEY": SECRET, **dict.fromkeys(VARIABLES, "video=1")}).notes
    assert note == "no setting KLING_APIKEY in the environment; did you mean KLING_API_KEY?"


@pytest.mark.parametrize(
    ("platform", "env", "end"),
    [
        ("linux", {}, ".config/kling/config.toml"),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/kling/config.toml"),
        ("darwin", {}, "Library/Application Support/kling/config.toml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/kling/config.toml"),
    ],
)
def test_the_users_file_lies_where_the_platform_has_it(
    platform: str, env: dict[str, str], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG on Linux, Application Support on macOS, APPDATA on Windows."""
    monkeypatch.setattr(sys, "platform", platform)
    assert default_path(env).as_posix().endswith(end)


def test_settings_are_shown_by_source_and_never_by_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``kling settings`` names each setting and its place; neither it nor the repr shows a key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = written(tmp_path / "own.toml", f'api_key = "{SECRET}"\n', 0o644)
    monkeypatch.setenv("KLING_WEBHOOK_SECRET", SECRET)
    for more in ([], ["--json"]):
        ran = kling(capsys, "settings", "--config", path, *more)
        assert ran.status == 0 and "api_key" in ran.out and "environment (KLING_WEBHOOK_SECRET)" in ran.out
        assert "chmod 600" in ran.err and SECRET not in ran.out + ran.err
    assert SECRET not in repr(read(tmp_path, config=path))
