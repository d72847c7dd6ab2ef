"""Tests of downloads: fetching, resuming, naming."""
