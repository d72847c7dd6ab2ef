"""Load the clients of others, isolated from this machine's environment and from the other tests."""

from __future__ import annotations

import os
from importlib import import_module, metadata
from types import SimpleNamespace
from typing import Any

import pytest


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
def klingai_api(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load its module, which is called ``api``, without keys in the environment: they would win over ours."""
    try:
        metadata.version("klingai-api")
    except metadata.PackageNotFoundError:
        pytest.skip("klingai-api is not installed; it needs Python 3.14")
    for name in ("ACCESS_TOKEN", "SECRET_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return pytest.importorskip("api")
