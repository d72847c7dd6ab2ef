"""Run benchmarks: ``python3 -m benchmarks [name ...]``. The command sets up its ``.venv`` first."""

import runpy
import sys
from pathlib import Path

NAMES = (
    "saturated",
    "alone",
    "callbacks",
    "cost",
    "waiting",
    "codec",
    "journal",
    "downloads",
    "batch",
    "ledger",
    "fleet",
)

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    chosen = sys.argv[1:] or NAMES
    extra = "fleet-demo" if {"ledger", "fleet"} & set(chosen) else ""
    runpy.run_path(str(root / ".ci" / "bootstrap.py"))["enter"](extra)
    if not set(chosen) <= set(NAMES):
        sys.exit(f"usage: python3 -m benchmarks [{'|'.join(NAMES)}]")
    for name in chosen:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
