"""Tests of the media files that the emulator generates."""
