"""Tests of the HTTP side, against small servers on loopback."""
