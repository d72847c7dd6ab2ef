"""Requests and results of the first generation."""
