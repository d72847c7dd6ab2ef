"""Tests of what the emulator answers to creates, queries and synchronous calls."""
