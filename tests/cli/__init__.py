"""Test the command line, one file per module."""
