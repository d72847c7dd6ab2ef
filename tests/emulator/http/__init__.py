"""Tests of the emulator as an HTTP server: scripted faults and file downloads."""
