"""Run ``kling`` as ``python -m kling_async``."""

import sys

from kling_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
