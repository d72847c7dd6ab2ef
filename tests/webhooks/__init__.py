"""Tests of callbacks: signatures, bodies, admission, and the two ways in."""
