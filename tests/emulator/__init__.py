"""Tests of the emulator, by plain HTTP: never by our own client."""
