"""Tests of requests, checks and media."""
