"""Run the main example: ``python3 -m examples``, or a fleet of workers: ``python3 -m examples fleet``.

Both set themselves up; see ``.ci/bootstrap.py``.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    fleet = sys.argv[1:2] == ["fleet"]
    runpy.run_path(str(root / ".ci" / "bootstrap.py"))["enter"](
        *(("fleet,cli", "fleet-demo") if fleet else ())
    )
    if fleet:
        del sys.argv[1]
    runpy.run_module("examples.fleet" if fleet else "examples.main_job", run_name="__main__", alter_sys=True)
