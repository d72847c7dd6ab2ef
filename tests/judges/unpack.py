"""Unpack the wheels of other judges beside the venv's own packages: ``python -m tests.judges.unpack``.

Installing them would do too much: klingai-api wants Python 3.14 and a server that its client does not need,
and its modules have names such as ``api``; of comfy-cli only an OpenAPI description is read. So pip puts them
into ``judges`` inside the venv, without what they depend on, where only tests that ask for them look.
``python -m tests`` does this once; where it fails, the tests concerned are skipped, and removing the folder
lets the next run try again.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["FOLDER", "prepare"]

WHEELS: Final = ("klingai-api==0.1.0", "requests-toolbelt==1.0.0", "comfy-cli==1.23.0")
"""The very releases whose conduct the tests show; requests itself comes with prompture."""
FOLDER: Final = Path(sys.prefix) / "judges"
PYTHON: Final[str] = sys.executable if find_spec("pip") else getattr(sys, "_base_executable", sys.executable)
"""An interpreter with pip: a venv made without ensurepip, as on a bare Debian, has none of its own."""
PIP: Final = (
    *(PYTHON, "-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet"),
    *("install", "--no-deps", "--ignore-requires-python", "--only-binary", ":all:", "--upgrade"),
)
TIMEOUT: Final = 300.0
"""Seconds for the downloads."""


def pip_install(command: Sequence[str]) -> bool:
    """Run pip; tell whether it succeeded."""
    try:
        return subprocess.run(command, timeout=TIMEOUT, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def prepare(folder: Path = FOLDER, run: Callable[[Sequence[str]], bool] = pip_install) -> bool:
    """Unpack the wheels unless that was tried before; tell whether it was tried now."""
    stamp = folder / "wheels.txt"
    wanted = "\n".join(WHEELS)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    done = run((*PIP, "--target", str(folder), *WHEELS))
    if not done:
        sys.stderr.write(f"without {', '.join(WHEELS)}; remove {folder.name} in the venv to try that again\n")
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted, encoding="utf-8")
    return True


if __name__ == "__main__":
    prepare()
