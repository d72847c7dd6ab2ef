"""Load the clients of others, isolated from this machine's environment and from the other tests."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.judges.unpack import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _straight_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep their HTTP libraries from using a proxy of the environment for loopback."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")


PROMPTURE = {
    "KlingImageGenDriver": "kling_img_gen_driver",
    "AsyncKlingImageGenDriver": "async_kling_img_gen_driver",
    "KlingVideoGenDriver": "kling_video_gen_driver",
    "AsyncKlingVideoGenDriver": "async_kling_video_gen_driver",
}


@pytest.fixture(scope="session")
def prompture() -> Any:
    """Load its drivers, by name. Importing them reads a ``.env`` into the environment; that is undone."""
    before = dict(os.environ)
    try:
        pytest.importorskip("prompture", reason="prompture is not installed")
        modules = {name: import_module(f"prompture.drivers.{module}") for name, module in PROMPTURE.items()}
    finally:
        os.environ.clear()
        os.environ.update(before)
    return SimpleNamespace(**{name: getattr(module, name) for name, module in modules.items()})


@pytest.fixture
def klingai_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Load its module, which is called ``api``, without keys in the environment: they would win over ours.

    Its modules have names that others may have, too: they are there during one test only.
    """
    if not (FOLDER / "api.py").exists():
        pytest.skip("klingai-api is not unpacked; python -m tests.judges.unpack does it")
    pytest.importorskip("requests", reason="requests comes with prompture, which is not installed")
    for name in ("ACCESS_TOKEN", "SECRET_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    try:
        yield import_module("api")
    finally:
        for name in ("api", "exceptions"):
            if name not in before:
                sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    """Read the OpenAPI description in comfy-cli's wheel."""
    file = FOLDER / "comfy_cli" / "command" / "generate" / "spec" / "openapi.yml"
    if not file.exists():
        pytest.skip("comfy-cli is not unpacked; python -m tests.judges.unpack does it")
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with prompture, which is not installed")
    with file.open(encoding="utf-8") as text:
        document: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document
