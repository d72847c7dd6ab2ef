"""Run the main example: ``python3 -m examples``. It sets itself up; see ``.ci/bootstrap.py``."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    runpy.run_path(str(root / ".ci" / "bootstrap.py"))["enter"]()
    runpy.run_module("examples.main_job", run_name="__main__", alter_sys=True)
