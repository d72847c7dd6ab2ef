"""Settings of a command: keys, address and limits, from an env file, the environment, or a TOML file.

The nearest source that names a setting counts: ``--env-file``, then the environment, then the TOML file. Keys
count as one setting, so that a pair in one place never meets an API key in another; so do the address and the
region. Nothing is taken from the command line itself, which every user of the machine can read.
"""

from __future__ import annotations

import argparse
import difflib
import os
import stat
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.cli.arguments import by_pool, positive
from kling_async.errors import ConfigurationError
from kling_async.http.auth import CHINA, GLOBAL
from kling_async.options import Polling, Retry, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["VARIABLES", "Configuration", "Setting", "default_path", "read_configuration"]

VARIABLES: Final = {
    "KLING_API_KEY": "api_key",
    "KLING_ACCESS_KEY": "access_key",
    "KLING_SECRET_KEY": "secret_key",
    "KLING_BASE_URL": "base_url",
    "KLING_REGION": "region",
    "KLING_LIMITS": "limits",
    "KLING_CALLBACK_URL": "callback_url",
    "KLING_WEBHOOK_SECRET": "webhook_secret",
    "KLING_WEBHOOK_TOKEN": "webhook_token",
    "KLING_FLEET_DSN": "fleet_dsn",
}
"""Variables of the environment and of env files, and the settings that they are."""

_OTHER_VARIABLES: Final = ("KLING_CONFIG", "KLING_PROFILE", "KLING_DEBUG")
"""Variables that are about the command itself."""

_NAMES: Final = (
    *VARIABLES.values(),
    *("label_limits", "max_units", "max_queued", "max_task_life", "slots", "proxy", "trust_env", "headers"),
    *("dialect", "polling", "retry", "timeouts"),
)
"""Names of settings in a TOML file: all of `kling_async.Client` that a file can hold, and a few more."""

_GROUPS: Final = (("api_key", "access_key", "secret_key"), ("base_url", "region"))
"""Settings that count as one: the nearest source with any of them tells all."""

_SECRETS: Final = {"api_key", "access_key", "secret_key", "webhook_secret", "webhook_token", "fleet_dsn"}
_REGIONS: Final = {"global": GLOBAL, "china": CHINA}
_TABLES: Final[dict[str, type[Polling | Retry | Timeouts]]] = {
    "polling": Polling,
    "retry": Retry,
    "timeouts": Timeouts,
}
_OF_COMMANDS: Final = ("webhook_secret", "webhook_token", "fleet_dsn")
"""Settings of ``kling listen`` and ``kling fleet``, none of the client's."""


class Setting(NamedTuple):
    """A setting that was found."""

    value: Any
    source: str
    """Where it stands: ``environment (KLING_API_KEY)``, or a file."""


class Configuration:
    """The settings of one command, each with its source. Its repr shows no values.

    Attributes:
        settings: Settings by name.
        notes: Sentences about what is odd, such as a file that others can read.
    """

    def __init__(self, settings: Mapping[str, Setting], notes: Iterable[str] = ()) -> None:
        self.settings = dict(settings)
        self.notes = list(notes)

    def __repr__(self) -> str:
        return f"<Configuration {', '.join(self.settings)}>"

    def get(self, name: str) -> Any:
        """Return the value of a setting; None if nobody sets it."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value

    def client_options(self) -> dict[str, Any]:
        """Return the keywords for `kling_async.Client`.

        Raises:
            ConfigurationError: A value is of no use; the message names its source.
        """
        given = {name: setting.value for name, setting in self.settings.items() if name not in _OF_COMMANDS}
        for name, kind in _TABLES.items():
            if name in given:
                given[name] = _struct(kind, self.settings[name], name)
        if (region := given.pop("region", None)) is not None:
            if region not in _REGIONS:
                where = self.settings["region"].source
                raise ConfigurationError(f"{where}: region is one of {', '.join(_REGIONS)}")
            given.setdefault("base_url", _REGIONS[region])
        return given


def _struct(kind: type[Any], setting: Setting, name: str) -> Any:
    if not isinstance(setting.value, dict):
        raise ConfigurationError(f"{setting.source}: {name} is a table, such as [{name}]")
    _check_names(setting.value, kind.__struct_fields__, f"{setting.source}: [{name}] ")
    return kind(**setting.value)


def read_configuration(options: argparse.Namespace, env: Mapping[str, str] | None = None) -> Configuration:
    """Return the settings for a command.

    Args:
        options: With ``env_file``, ``config`` and ``profile``.
        env: The environment; None for that of the process.

    Raises:
        ConfigurationError: A file cannot be read, or names a setting that does not exist.
    """
    env = os.environ if env is None else env
    sources: list[dict[str, Setting]] = []
    notes: list[str] = []
    if options.env_file is not None:
        path = Path(options.env_file)
        sources.append(_of_variables(_read_env_file(path), str(path)))
        notes += _open_to_others(path, sources[-1])
    sources.append(_of_variables(env, "environment"))
    notes += _likely_typos(env)
    given = options.config or env.get("KLING_CONFIG")
    path = Path(given) if given else default_path(env)
    profile = options.profile or env.get("KLING_PROFILE") or None
    if given or profile or path.is_file():
        sources.append(_of_toml(path, profile))
        notes += _open_to_others(path, sources[-1])
    return Configuration(_nearest(sources), notes)


def _nearest(sources: list[dict[str, Setting]]) -> dict[str, Setting]:
    """Return each setting from the first source that has it, or one of its group."""
    found: dict[str, Setting] = {}
    groups = {name: group for group in _GROUPS for name in group}
    for source in sources:
        settled = {name for known in found for name in groups.get(known, (known,))}
        found |= {name: setting for name, setting in source.items() if name not in settled}
    return found


def default_path(env: Mapping[str, str] | None = None) -> Path:
    """Return the path of the user's TOML file, as the platform has it."""
    env = os.environ if env is None else env
    if sys.platform == "win32":
        folder = Path(env.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin" and not env.get("XDG_CONFIG_HOME"):
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "kling" / "config.toml"


def _of_variables(env: Mapping[str, str], source: str) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for variable, name in VARIABLES.items():
        if text := env.get(variable, "").strip():
            where = f"{source} ({variable})"
            found[name] = Setting(_limits(text, where) if name == "limits" else text, where)
    return found


def _limits(text: str, where: str) -> dict[str, int]:
    """Read ``video=20,image=9``."""
    try:
        return by_pool(text, positive)
    except argparse.ArgumentTypeError as error:
        raise ConfigurationError(f"{where}: {error}") from None


# --- files


def _read_env_file(path: Path) -> dict[str, str]:
    """Read NAME=VALUE lines; names of other programs are left alone, misspelt ones of ours are refused."""
    found: dict[str, str] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator:
            # the line is not shown: it may be a key
            raise ConfigurationError(f"{path}, line {number}: write NAME=VALUE")
        if (meant := _meant(name)) is not None:
            raise ConfigurationError(f"{path}, line {number}: no setting {name}{meant}")
        found[name] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()


def _of_toml(path: Path, profile: str | None) -> dict[str, Setting]:
    try:
        tables = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        reason = str(error)
    else:
        return _of_tables(tables, path, profile)
    # raised out here: the TOML error holds the whole document, keys included
    raise ConfigurationError(f"{path}: {reason}")


def _of_tables(tables: dict[str, Any], path: Path, profile: str | None) -> dict[str, Setting]:
    """Return the settings of a TOML document; those of the profile replace those of the top."""
    profiles = tables.pop("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise ConfigurationError(f"{path}: profiles are tables: [profile.NAME]")
    _check_names(tables, _NAMES, f"{path}: ")
    for name, table in profiles.items():
        _check_names(table, _NAMES, f"{path}: [profile.{name}] ")
    top = {name: Setting(value, str(path)) for name, value in tables.items()}
    if profile is None:
        return top
    if profile not in profiles:
        known = f"it has {', '.join(profiles)}" if profiles else "it has none"
        raise ConfigurationError(f"{path}: no profile {profile!r}; {known}")
    where = f"{path} [profile.{profile}]"
    return _nearest([{name: Setting(value, where) for name, value in profiles[profile].items()}, top])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        reason = "is not text in UTF-8"
    raise ConfigurationError(f"{path}: {reason}")


def _open_to_others(path: Path, settings: Mapping[str, Setting]) -> list[str]:
    """Return a warning about a file with secrets that other users can read."""
    if os.name != "posix" or not _SECRETS & settings.keys():
        return []
    mode = path.stat().st_mode
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return []
    return [f"{path} holds keys and others can read it: chmod 600 {path}"]


# --- misspelt names


def _check_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse names that no setting has.

    Raises:
        ConfigurationError: Names the first one, and the one that is meant.
    """
    known = tuple(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"settings are {', '.join(known)}"
            raise ConfigurationError(f"{where}no setting {name}; {hint}")


def _meant(variable: str) -> str | None:
    """Return what a misspelt variable may mean, as the end of a sentence; None if it is none of ours."""
    known = (*VARIABLES, *_OTHER_VARIABLES)
    if variable in known:
        return None
    if close := difflib.get_close_matches(variable, known, n=1, cutoff=0.85):
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(known)}" if variable.startswith("KLING_") else None


def _likely_typos(env: Mapping[str, str]) -> list[str]:
    """Return a warning for each variable of the environment that looks like one of ours."""
    close = (name for name in sorted(env) if name.startswith("KLING_") and _meant(name) is not None)
    return [f"no setting {name} in the environment{_meant(name)}" for name in close]
