"""Test the HTTP package against small servers on loopback."""
