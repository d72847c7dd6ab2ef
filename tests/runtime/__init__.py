"""Tests of loops, locks and signals."""
