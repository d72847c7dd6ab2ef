"""Tests of the drivers, against the emulator on a virtual clock."""
