"""Run the main job, a batch of prompts from queue to file: ``kling demo``; ``--help`` shows its options."""

import sys

from kling_async.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
