"""Clients of the same API that others wrote, against our emulator: independent judges of it, and of us."""
