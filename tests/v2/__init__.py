"""Tests of the requests and results of the second generation."""
