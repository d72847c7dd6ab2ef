"""Tests of fleets: real worker processes, a real PostgreSQL, the emulator."""
