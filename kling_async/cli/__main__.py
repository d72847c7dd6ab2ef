"""``python -m kling_async.cli`` is ``kling``."""

import sys

from kling_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
