"""Clients that others wrote for the same API, run against the emulator as its independent judges."""
