"""Tests of values as HTML."""
