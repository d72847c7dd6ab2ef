"""Answer the benchmarks' questions: ``python3 -m benchmarks [question ...]``. It sets itself up."""

import runpy
import sys
from pathlib import Path

QUESTIONS = ("saturated", "alone", "cost", "waiting", "codec", "journal", "downloads", "batch")

if __name__ == "__main__":
    root = Path(__file__).resolve().parent.parent
    runpy.run_path(str(root / ".ci" / "bootstrap.py"))["enter"]()
    asked = sys.argv[1:] or QUESTIONS
    if not set(asked) <= set(QUESTIONS):
        sys.exit(f"usage: python3 -m benchmarks [{'|'.join(QUESTIONS)}]")
    for question in asked:
        runpy.run_module(f"benchmarks.{question}", run_name="__main__", alter_sys=True)
