"""The suite: ``python3 -m tests``."""
