"""Tests of the command line, one file a source file."""
