"""Tests of how the emulator judges requests and the files in them."""
