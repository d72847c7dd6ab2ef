"""Tests of the decisions: no clock, no I/O, no chance of their own."""
